// probe_contribution.h - what `hylab probe --contributions` makes of the facts of measure contributions: a table by
// layer, maps of some layers and bars of the shares.
#ifndef HY_PROBE_CONTRIBUTION_H
#define HY_PROBE_CONTRIBUTION_H
#include "core/format/table.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"

hy_table *hy_probe_contribution_table(const hy_facts *f, const hy_asked *m, const char *title);
hy_status hy_probe_draw_contribution(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m);
#endif
