// metrics.h - what the stored figures mean and how they are shown. The list is results/metrics.def.
#ifndef HY_METRICS_H
#define HY_METRICS_H
#include "core/base/base.h"

typedef enum { HY_IN_NONE = 0, HY_IN_BEST, HY_IN_BOTH } hy_in_table;  // which tables of results have it: metrics.def
typedef enum {
    HY_REAL = 0,
    HY_POSITIVE,
    HY_SHARE,
    HY_COSINE
} hy_range;  // any; from 0 on; 0 to 1; -1 to 1 (differences of shares too)
typedef struct {
    const char *name;
    int version;
    const char *unit, *direction;  // of the stored value; "higher", "lower" or "none" is better
    const char *label, *unit_shown;
    double scale;
    int decimals;
    bool spread;
    hy_range range;
    hy_in_table in_table;
    const char *meaning;
} hy_metric_def;
extern const hy_metric_def hy_metric_defs[];            // name NULL at the end
const hy_metric_def *hy_metric_find(const char *name);  // NULL if there is none

// How values of a metric are shown side by side: each times scale, with so many decimals.
typedef struct {
    char unit[16];
    double scale;
    int decimals;
} hy_metric_look;
// largest: the largest of the values, as stored; INFINITY: the unit of metrics.def, whatever they are (for programs).
hy_metric_look hy_metric_look_of(const hy_metric_def *d, double largest);
// "accuracy (%)": the label of an axis; at: what it is of, " at 100 tokens", or "". The caller frees it.
char *hy_metric_axis(const hy_metric_def *d, const hy_metric_look *look, const char *at);
#endif
