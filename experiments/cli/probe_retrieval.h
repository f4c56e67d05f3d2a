// probe_retrieval.h - what `hylab probe --retrieval` makes of the facts of measure retrieval: a table and a figure.
#ifndef HY_PROBE_RETRIEVAL_H
#define HY_PROBE_RETRIEVAL_H
#include "core/format/table.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"

hy_table *hy_probe_retrieval_table(const hy_facts *f, const hy_asked *m, const char *title);
hy_status hy_probe_draw_retrieval(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m);
#endif
