// plots_pairs.c - how alike keys and values of every two layers are, one figure for each variant. See plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/format/field.h"

enum { PANELS = 4 };
static const char *const metrics[PANELS] = {"key_cosine", "value_cosine", "key_cka", "value_cka"};

static int fill(const hy_summary_row *r, const char *metric, hy_fig_pair *out) {
    int n = 0;
    for (int i = 0; i < r->n_values; i++) {
        const hy_summary_value *v = &r->values[i];
        if (strcmp(v->metric, metric) || v->set || v->layer < 0 || isnan(v->y)) continue;
        out[n++] = (hy_fig_pair){v->layer, (int)v->y, !strcmp(v->kind, "shared"), v->stat.mean};
    }
    return n;
}

char *hy_plots_pairs_text(bool shared, const char *options) {
    const bool plain = strstr(options, "cka=plain");
    return hy_asprintf("Cosine: of the same KV head at the same position; CKA: of all KV heads together, whatever "
                       "their order%s. 1: alike%s. "
                       "%s",
                       plain ? ", above 0 also for unrelated layers, the more so the fewer the positions" : "",
                       shared ? "; framed: layers that use the same keys and values" : "", options);
}

static hy_status draw(hy_plots *p, int task, const hy_summary_row *r, const hy_summary_value *any,
                      const hy_fig_pair_panel *panels, int n, bool shared) {
    hy_fig_head head;
    char seeds[40], *title = hy_plots_head(p, task, metrics[0], "keys and values of every two layers", &head);
    char *full = hy_asprintf("%s, %s", title, r->variant), *options = hy_fields_line(any->options);
    head.title = full;
    head.runs = head.seeds_min = head.seeds_max = any->n;
    char *what = hy_plots_pairs_text(shared, options), *note = hy_asprintf("Mean over seeds. %s", what);
    head.note = note;
    hy_plots_seeds(&head, seeds);
    const hy_fig_out out = hy_plots_out(p, task, "kv-similarity", r->variant);
    hy_status s = hy_fig_pairs(&out, &head, "layer", "similarity", panels, n);
    s = hy_plots_done(p, s,
                      "%s: how alike the keys, and the values, of two layers are, cosine and linear CKA; means over "
                      "seeds (%s)%s.",
                      full, seeds, shared ? "; framed: layers that use the same ones" : "");
    free(title), free(full), free(what), free(note), free(options);
    return s;
}

hy_status hy_plot_kv_similarity(hy_plots *p, int task) {
    hy_status s = HY_OK;
    for (int v = 0; v < p->s->n_variants && !s; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        hy_fig_pair_panel panel[PANELS];
        int n = 0;
        bool shared = false;
        if (!r) continue;
        hy_fig_pair *pairs = hy_xcalloc((size_t)PANELS * (size_t)r->n_values + 1, sizeof *pairs);
        for (int k = 0; k < PANELS; k++) {
            hy_fig_pair *at = pairs + (size_t)k * (size_t)r->n_values;
            panel[n] = (hy_fig_pair_panel){hy_metric_find(metrics[k])->label, at, fill(r, metrics[k], at)};
            for (int i = 0; i < panel[n].n; i++) shared = shared || at[i].same;
            n += panel[n].n > 0;
        }
        const hy_summary_value *any = hy_summary_get(r, metrics[2], NULL);
        if (!any) any = hy_summary_get(r, metrics[0], NULL);
        if (n && any) s = draw(p, task, r, any, panel, n, shared);
        free(pairs);
    }
    return s;
}
