// probe_gradient.h - what `hylab probe --gradient-erf` makes of the facts of measure gradient_erf: a table of the whole
// model and of its layers, and a figure by distance.
#ifndef HY_PROBE_GRADIENT_H
#define HY_PROBE_GRADIENT_H
#include "core/format/table.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"

hy_table *hy_probe_gradient_table(const hy_facts *f, const hy_asked *m, const char *title);
hy_status hy_probe_draw_gradient(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m);
#endif
