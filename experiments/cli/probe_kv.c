// probe_kv.c - see probe_kv.h.
#include "experiments/cli/probe_kv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/probe/kv_similarity.h"
#include "analysis/report/plots.h"
#include "experiments/cli/facts_table.h"
#include "results/metrics.h"

enum { FIGURES = 4 };
static const char *const metrics[FIGURES] = {"key_cosine", "value_cosine", "key_cka", "value_cka"};

static bool is_shared(const hy_fact *f) { return f->kind && !strcmp(f->kind, "shared"); }
static bool any_shared(const hy_facts *f) {
    for (int i = 0; i < f->n_facts; i++)
        if (is_shared(&f->fact[i])) return true;
    return false;
}

hy_table *hy_probe_kv_table(const hy_facts *f, const hy_asked *m, const char *title) {
    static const hy_fact_column columns[] = {{"key_cosine", NULL, NULL},
                                             {"value_cosine", NULL, NULL},
                                             {"key_cka", NULL, NULL},
                                             {"value_cka", NULL, NULL},
                                             {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_CELLS, columns, NULL);
    char *made = hy_asked_line(m);
    hy_table_note(
        t, "of two layers: cosine of the same KV head at the same position, mean over heads and positions; linear "
           "CKA of all KV heads together, whatever their order");
    if (strstr(made, "cka=plain"))
        hy_table_note(t, "plain CKA is above 0 also for unrelated layers, the more so the fewer the positions");
    hy_table_note(t, "%s", made);
    if (any_shared(f)) {
        hy_buf b = {0};
        for (int i = 0; i < f->n_facts; i++)
            if (is_shared(&f->fact[i]) && !strcmp(f->fact[i].name, metrics[0]))
                hy_buf_printf(&b, "%s%s", b.n ? ", " : "", f->fact[i].cell);
        hy_table_note(t, "the same keys and values, shared: %s", b.s);
        free(b.s);
    }
    free(made);
    return t;
}

hy_status hy_probe_draw_kv(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m) {
    hy_fig_pair *pairs = hy_xcalloc((size_t)FIGURES * (size_t)f->n_facts + 1, sizeof *pairs);
    hy_fig_pair_panel panel[FIGURES];
    int n = 0;
    for (int k = 0; k < FIGURES; k++) {
        hy_fig_pair *at = pairs + (size_t)k * (size_t)f->n_facts;
        int have = 0;
        for (int i = 0; i < f->n_facts; i++) {
            const hy_fact *a = &f->fact[i];
            if (!strcmp(a->name, metrics[k])) at[have++] = (hy_fig_pair){a->layer, (int)a->y, is_shared(a), a->value};
        }
        if (have) panel[n++] = (hy_fig_pair_panel){hy_metric_find(metrics[k])->label, at, have};
    }
    char *made = hy_asked_line(m), *heading = hy_asprintf("Keys and values of every two layers of %s", p->model);
    char *text = hy_plots_pairs_text(any_shared(f), made), *note = hy_asprintf("%s. %s", p->what, text);
    const hy_fig_head head = {.title = heading, .note = note};
    const hy_fig_out out = {p->folder, "kv-similarity", p->formats};
    const hy_status s = hy_fig_pairs(&out, &head, "layer", "similarity", panel, n);
    free(made), free(heading), free(text), free(note), free(pairs);
    return s;
}

// ---------------------------------------------------------------------------------------------------- sharing
// Mean of keys and values, [n_layers, n_layers]; NAN where one is not known.
static double *similarities(const hy_model_spec *spec, const hy_facts *f, bool cosine) {
    const int L = spec->n_layers;
    double *s = hy_xcalloc((size_t)L * (size_t)L, sizeof *s);
    int *n = hy_xcalloc((size_t)L * (size_t)L, sizeof *n);
    for (int i = 0; i < f->n_facts; i++) {
        const hy_fact *a = &f->fact[i];
        for (int k = 0; k < 2; k++) {
            if (strcmp(a->name, metrics[cosine ? k : 2 + k])) continue;
            s[a->layer * L + (int)a->y] += a->value / 2;
            n[a->layer * L + (int)a->y]++;
        }
    }
    for (int i = 0; i < L * L; i++)
        if (n[i] < 2) s[i] = NAN;
    free(n);
    return s;
}

hy_status hy_probe_propose(const hy_model_spec *spec, const hy_facts *f, const hy_probe_sharing *how, const char *model,
                           hy_buf *out) {
    double *similarity = similarities(spec, f, how->cosine);
    hy_kv_share_text(spec, similarity, how->most, how->least, how->cosine ? "cosines" : "CKA", model, out);
    free(similarity);
    return HY_OK;
}
