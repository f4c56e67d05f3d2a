// probe_reach.h - what `hylab probe --reach` makes of the facts of measure reach: a table and a figure by layer.
#ifndef HY_PROBE_REACH_H
#define HY_PROBE_REACH_H
#include "core/format/table.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"

hy_table *hy_probe_reach_table(const hy_facts *f, const hy_asked *m, const char *title);
hy_status hy_probe_draw_reach(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m);
#endif
