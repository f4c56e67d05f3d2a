// probe_retrieval.c - see probe_retrieval.h.
#include "experiments/cli/probe_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "experiments/cli/facts_table.h"

hy_table *hy_probe_retrieval_table(const hy_facts *f, const hy_asked *m, const char *title) {
    static const hy_fact_column columns[] = {
        {"retrieval_score", NULL, NULL}, {"retrieval_top", NULL, NULL}, {"retrieval_uniform", NULL, NULL}, {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_CELLS, columns, NULL);
    char *made = hy_asked_line(m);
    hy_table_note(
        t, "at the positions where a token is asked for that stands earlier: what a head has on it; how often that is "
           "the largest; what a head has that looks at all keys alike");
    hy_table_note(t, "%s", made);
    free(made);
    return t;
}

hy_status hy_probe_draw_retrieval(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m) {
    hy_plots_head_value *v = hy_xcalloc((size_t)f->n_facts + 1, sizeof *v);
    const hy_metric_def *d = hy_metric_find("retrieval_score");
    const hy_metric_look look = hy_metric_look_of(d, 1);
    double alike[2] = {INFINITY, 0};
    int n = 0;
    for (int i = 0; i < f->n_facts; i++) {
        const hy_fact *a = &f->fact[i];
        if (!strcmp(a->name, "retrieval_uniform"))
            alike[0] = fmin(alike[0], a->value), alike[1] = fmax(alike[1], a->value);
        if (!strcmp(a->name, d->name) && (a->head >= 0 || !strcmp(a->kind, "ssm")))
            v[n++] = (hy_plots_head_value){a->layer, a->head, d->scale * a->value};
    }
    char *made = hy_asked_line(m), *heading = hy_asprintf("Retrieval heads of %s", p->model);
    char *label = hy_metric_axis(d, &look, "");
    char *what = hy_plots_heads_text(alike[0], alike[1]), *note = hy_asprintf("%s. %s. %s", p->what, what, made);
    const hy_fig_head head = {.title = heading, .note = note};
    const hy_fig_out out = {p->folder, "retrieval", p->formats};
    const hy_status s = hy_plots_draw_heads(&out, &head, label, v, n);
    free(made), free(heading), free(label), free(what), free(note), free(v);
    return s;
}
