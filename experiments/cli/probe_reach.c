// probe_reach.c - see probe_reach.h.
#include "experiments/cli/probe_reach.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "experiments/cli/facts_table.h"

hy_table *hy_probe_reach_table(const hy_facts *f, const hy_asked *m, const char *title) {
    static const hy_fact_column columns[] = {{"span", NULL, NULL},
                                             {"mean_distance", NULL, NULL},
                                             {"half_life_q05", NULL, NULL},
                                             {"half_life_q50", NULL, NULL},
                                             {"half_life_q95", NULL, NULL},
                                             {"long_memory", NULL, NULL},
                                             {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_CELLS, columns, NULL);
    char *made = hy_asked_line(m);
    hy_table_note(
        t, "span: the smallest distance that holds so much (mass) of what the last position looks at; mean distance: "
           "of SSM channels the Mamba mean distance; means over heads, of an SSM over channels");
    hy_table_note(
        t, "half-life: tokens after which an SSM state holds half; quantiles over channels and states; remember all: "
           "those whose half-life is at least the sequence");
    hy_table_note(t, "%s", made);
    free(made);
    return t;
}

static int points_of(const void *user, const char *metric, const char *kind, int room, double *at) {
    const hy_facts *f = user;
    int n = 0;
    for (int i = 0; i < f->n_facts; i++) {  // layers come in their order
        const hy_fact *a = &f->fact[i];
        if (strcmp(a->name, metric) || !a->kind || strcmp(a->kind, kind) || a->head >= 0) continue;
        at[n] = a->layer;
        at[room + n] = a->value;
        at[2 * room + n] = at[3 * room + n] = NAN;
        n++;
    }
    return n;
}

hy_status hy_probe_draw_reach(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m) {
    char *made = hy_asked_line(m), *heading = hy_asprintf("How far heads of %s look back", p->model);
    char *note = hy_asprintf("%s. " HY_PLOTS_REACH ". %s", p->what, made);
    const hy_fig_head head = {.title = heading, .note = note};
    const hy_fig_out out = {p->folder, "reach", p->formats};
    const hy_status s = hy_plots_draw_reach(&out, &head, f->n_facts + 1, points_of, f);
    free(made), free(heading), free(note);
    return s;
}
