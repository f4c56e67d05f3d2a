// metrics.c - see metrics.h.
#include "results/metrics.h"

#include <string.h>

const hy_metric_def hy_metric_defs[] = {
#define X(name, version, unit, direction, label, shown, scale, decimals, spread, range, in_table, meaning) \
    {#name, version, unit, direction, label, shown, scale, decimals, spread, range, in_table, meaning},
#include "results/metrics.def"
#undef X
    {0},
};

const hy_metric_def *hy_metric_find(const char *name) {
    for (const hy_metric_def *d = hy_metric_defs; d->name; d++)
        if (!strcmp(d->name, name)) return d;
    return NULL;
}

hy_metric_look hy_metric_look_of(const hy_metric_def *d, double largest) {
    hy_metric_look look = {.scale = d->scale, .decimals = d->decimals};
    snprintf(look.unit, sizeof look.unit, "%s", d->unit_shown);
    if (*look.unit == 'M' && largest * d->scale < 1) {
        *look.unit = 'k';
        look.scale *= 1000;
    }
    return look;
}

char *hy_metric_axis(const hy_metric_def *d, const hy_metric_look *look, const char *at) {
    return hy_asprintf("%s%s (%s)", d->label, at, look->unit);
}
