// plots_common.c - what the figures of an experiment share: rows, headings, axes, names of files. See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/base/plural.h"

const char *hy_plots_task(const hy_plots *p, int task) {
    for (int i = 0; i < p->s->n_rows; i++)
        if (p->s->rows[i].task_ord == task) return p->s->rows[i].task;
    return "";
}

const hy_summary_row *hy_plots_row(const hy_plots *p, int task, int variant) {
    for (int i = 0; i < p->s->n_rows; i++) {
        const hy_summary_row *r = &p->s->rows[i];
        if (r->best && r->task_ord == task && r->variant_ord == variant && r->done > 0) return r;
    }
    return NULL;
}

const char **hy_plots_variants(const hy_plots *p) {
    const char **names = hy_xcalloc((size_t)p->s->n_variants + 1, sizeof *names);
    for (int i = 0; i < p->s->n_variants; i++) names[i] = "";
    for (int i = 0; i < p->s->n_rows; i++) names[p->s->rows[i].variant_ord] = p->s->rows[i].variant;
    return names;
}

void hy_plots_count(const hy_plots *p, int task, const char *metric, hy_fig_head *head) {
    head->runs = head->seeds_min = head->seeds_max = 0;
    for (int v = 0; v < p->s->n_variants; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        const hy_summary_value *x = r ? hy_summary_get(r, metric, NULL) : NULL;
        if (!x) continue;
        head->seeds_min = head->runs == 0 || x->n < head->seeds_min ? x->n : head->seeds_min;
        head->seeds_max = x->n > head->seeds_max ? x->n : head->seeds_max;
        head->runs += x->n;
    }
}

void hy_plots_disturbed(const hy_plots *p, char out[120]) {
    snprintf(out, 120, "%s", "");
    if (p->s->waited > HY_SUMMARY_WAITED)
        snprintf(out, 120, "; throughput is disturbed: threads waited up to %.0f %% of the time for other programs",
                 100 * p->s->waited);
}

char *hy_plots_head(const hy_plots *p, int task, const char *metric, const char *title, hy_fig_head *head) {
    *head = (hy_fig_head){.scale = *p->scale ? p->scale : NULL};
    hy_plots_count(p, task, metric, head);
    hy_buf b = {0};
    hy_buf_printf(&b, "%s: %s", p->s->experiment, title);
    if (p->s->n_tasks > 1) hy_buf_printf(&b, ", %s", hy_plots_task(p, task));
    char *set = hy_summary_first_set_text(p->s, metric);  // a figure shows the first: the title says which
    if (set) hy_buf_printf(&b, " (%s)", set);
    free(set);
    head->title = b.s;
    return b.s;
}

const char *hy_plots_bars(const hy_fig_head *h) {
    HY_ASSERT(HY_STAT_LEAST == 3 && HY_STAT_LEVEL == 0.95);  // as the texts say
    return h->seeds_max < HY_STAT_LEAST ? "no error bars: an interval takes 3 seeds"
           : h->seeds_min < HY_STAT_LEAST
               ? "bars: 95 % interval of the mean (Student's t), where there are 3 seeds and they differ"
               : "bars: 95 % interval of the mean (Student's t), where seeds differ";
}

void hy_plots_seeds(const hy_fig_head *h, char out[40]) {
    if (h->seeds_min < h->seeds_max)
        snprintf(out, 40, "n = %d to %d seeds", h->seeds_min, h->seeds_max);
    else
        snprintf(out, 40, "n = %d seed%s", h->seeds_max, hy_s(h->seeds_max));
}

hy_fig_out hy_plots_out(hy_plots *p, int task, const char *name, const char *variant) {
    const char *parts[3] = {name}, *of = p->s->n_tasks > 1 && task >= 0 ? hy_plots_task(p, task) : NULL;
    int n = 1;
    bool alike = false;
    for (int i = 0; i < p->s->n_rows && !alike; i++)
        alike =
            (of && hy_fig_alike(of, p->s->rows[i].task)) || (variant && hy_fig_alike(variant, p->s->rows[i].variant));
    if (of) parts[n++] = of;
    if (variant) parts[n++] = variant;
    char *stem = hy_fig_name(parts, n, alike);
    p->file = hy_xrealloc(p->file, (size_t)(p->n + 1) * sizeof *p->file);
    p->file[p->n] = (hy_plot_file){.name = stem, .kind = p->kind, .task = task, .variant = variant};
    return (hy_fig_out){p->dir, stem, p->formats};
}

hy_fig_axis hy_plots_axis(const char *label, bool log) { return (hy_fig_axis){label, log, NAN, NAN, HY_TICS_AUTO}; }

void hy_plots_context(const hy_summary_value *v, char out[40]) {
    snprintf(out, 40, "%s", "");
    if (v && v->x > 0 && isfinite(v->x) && (!*v->cell || !strncmp(v->metric, "throughput", 10)))
        snprintf(out, 40, " at %.0f tokens", v->x);
}

void hy_plots_insert(int n, int room, double *at, double x, const hy_stat *stat, double scale) {
    double *xs = at, *y = at + room, *lo = at + 2 * room, *hi = at + 3 * room;
    int i = n;
    for (; i > 0 && xs[i - 1] > x; i--) xs[i] = xs[i - 1], y[i] = y[i - 1], lo[i] = lo[i - 1], hi[i] = hi[i - 1];
    xs[i] = x, y[i] = scale * stat->mean, lo[i] = scale * stat->lo, hi[i] = scale * stat->hi;
}

int hy_plots_by_layer(const hy_summary_row *r, const char *metric, const char *kind, int room, double *at) {
    const hy_metric_def *d = hy_metric_find(metric);
    int n = 0;
    for (int k = 0; k < r->n_values; k++) {
        const hy_summary_value *v = &r->values[k];
        if (strcmp(v->metric, d->name) || v->set || strcmp(v->kind, kind) || v->layer < 0 || v->head >= 0) continue;
        hy_plots_insert(n++, room, at, v->layer, &v->stat, d->scale);
    }
    return n;
}

hy_status hy_plots_done(hy_plots *p, hy_status s, const char *caption, ...) {
    if (s) {
        free(p->file[p->n].name);
        return s;
    }
    va_list ap;
    va_start(ap, caption);
    if (vasprintf(&p->file[p->n].caption, caption, ap) < 0) p->file[p->n].caption = hy_xstrdup("");
    va_end(ap);
    p->n++;
    return HY_OK;
}

void hy_plots_free(hy_plots *p) {
    for (int i = 0; i < p->n; i++) free(p->file[i].name), free(p->file[i].caption);
    free(p->file);
    p->file = NULL;
    p->n = 0;
}

hy_experiment_id hy_plots_id(const hy_plots *p) {
    return (hy_experiment_id){p->s->experiment, p->s->scale, p->s->sets};
}
