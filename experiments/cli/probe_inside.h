// probe_inside.h - the measures for which `hylab probe` has a table and a figure of their own.
#ifndef HY_PROBE_INSIDE_H
#define HY_PROBE_INSIDE_H
#include "core/format/table.h"
#include "experiments/cli/measure_arg.h"
#include "experiments/cli/probe_figures.h"

enum { HY_INSIDE_KV = 0, HY_INSIDE_REACH, HY_INSIDE_RETRIEVAL, HY_INSIDE_GRADIENT, HY_INSIDE_CONTRIBUTIONS, HY_INSIDE };
typedef struct {
    const char *measure, *title;  // title MODEL on PROMPTS
    const char *set[2];           // an option that is not at its default; NULL: all are
    hy_table *(*table)(const hy_facts *f, const hy_asked *m, const char *title);
    hy_status (*draw)(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m);
} hy_probe_measure;
extern const hy_probe_measure hy_probe_inside[HY_INSIDE];
#endif
