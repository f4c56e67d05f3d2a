// plots_retrieval.c - retrieval heads, a field for each head of each layer, one figure for each variant. See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/format/field.h"
#include "core/spec/spec.h"

typedef char number[16];

enum { MOST_HEADS = 1024 };  // of a layer: a file may say anything

// Rows: the layers that have a value, in their order; columns: heads, then the SSM.
hy_status hy_plots_draw_heads(const hy_fig_out *out, const hy_fig_head *head, const char *label,
                              const hy_plots_head_value *v, int n) {
    int layers = 0, heads = 0, rows = 0, ssm = 0;
    for (int i = 0; i < n; i++) {
        layers = v[i].layer >= layers ? v[i].layer + 1 : layers;
        heads = v[i].head >= heads ? v[i].head + 1 : heads;
        ssm = v[i].head < 0 ? 1 : ssm;
    }
    const int cols = heads + ssm;
    number *text = hy_xcalloc((size_t)layers + (size_t)cols, sizeof *text);
    const char **names = hy_xcalloc((size_t)layers + (size_t)cols, sizeof *names);
    double *a = hy_xcalloc((size_t)layers * (size_t)cols + 1, sizeof *a);
    for (int i = 0; i < layers * cols; i++) a[i] = NAN;
    for (int l = 0; l < layers; l++) {
        bool any = false;
        for (int i = 0; i < n; i++) {
            if (v[i].layer != l) continue;
            a[rows * cols + (v[i].head < 0 ? heads : v[i].head)] = v[i].value;
            any = true;
        }
        snprintf(text[cols + rows], sizeof *text, "%d", l);
        rows += any;
    }
    for (int i = 0; i < cols; i++) snprintf(text[i], sizeof *text, "%d", i);
    if (ssm) snprintf(text[heads], sizeof *text, "SSM");
    for (int i = 0; i < layers + cols; i++) names[i] = text[i];
    const hy_status s = hy_fig_heat(out, head, "head", "layer", label, 0, 100, names, cols, names + cols, rows, a);
    free(text), free(names), free(a);
    return s;
}

char *hy_plots_heads_text(double lo, double hi) {
    char *range = hy_asprintf(100 * (hi - lo) < 0.05 ? "%.1f %%" : "%.1f to %.1f %%", 100 * lo, 100 * hi);
    char *text = hy_asprintf("What each head has, at the positions where a token is asked for, on the token to be "
                             "copied; a head that looks at "
                             "all keys alike has %s",
                             range);
    free(range);
    return text;
}

static hy_status draw(hy_plots *p, int task, const hy_summary_row *r, const hy_metric_def *d,
                      const hy_plots_head_value *v, int n, const double alike[2]) {
    hy_fig_head head;
    const hy_summary_value *any = hy_summary_get(r, d->name, NULL);
    const hy_metric_look look = hy_metric_look_of(d, 1);
    char seeds[40], *title = hy_plots_head(p, task, d->name, "retrieval heads", &head);
    char *full = hy_asprintf("%s, %s", title, r->variant), *options = hy_fields_line(any->options);
    char *label = hy_metric_axis(d, &look, "");
    char *what = hy_plots_heads_text(alike[0], alike[1]), *note = hy_asprintf("%s. Mean over seeds. %s", what, options);
    head.title = full;
    head.note = note;
    head.runs = head.seeds_min = head.seeds_max = any->n;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, "retrieval", r->variant);
    hy_status s = hy_plots_draw_heads(&out, &head, label, v, n);
    s = hy_plots_done(p, s,
                      "%s: the share of what each head looks at that lies on the token to be copied; means over seeds "
                      "(%s).",
                      full, seeds);
    free(title), free(full), free(what), free(note), free(options), free(label);
    return s;
}

hy_status hy_plot_retrieval(hy_plots *p, int task) {
    const hy_metric_def *d = hy_metric_find("retrieval_score");
    hy_status s = HY_OK;
    for (int v = 0; v < p->s->n_variants && !s; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        if (!r) continue;
        hy_plots_head_value *a = hy_xcalloc((size_t)r->n_values + 1, sizeof *a);
        double alike[2] = {INFINITY, 0};
        int n = 0;
        for (int i = 0; i < r->n_values; i++) {
            const hy_summary_value *x = &r->values[i];
            if (x->set || x->layer < 0 || x->layer >= HY_MAX_LAYERS || x->head >= MOST_HEADS) continue;
            if (!strcmp(x->metric, "retrieval_uniform"))
                alike[0] = fmin(alike[0], x->stat.mean), alike[1] = fmax(alike[1], x->stat.mean);
            if (!strcmp(x->metric, d->name) && (x->head >= 0 || !strcmp(x->kind, "ssm")))
                a[n++] = (hy_plots_head_value){x->layer, x->head, d->scale * x->stat.mean};
        }
        if (n) s = draw(p, task, r, d, a, n, alike);
        free(a);
    }
    return s;
}
