// probe_gradient.c - see probe_gradient.h.
#include "experiments/cli/probe_gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "experiments/cli/facts_table.h"

hy_table *hy_probe_gradient_table(const hy_facts *f, const hy_asked *m, const char *title) {
    static const hy_fact_column columns[] = {
        {"gradient_distance", NULL, NULL}, {"gradient_span", NULL, NULL}, {"gradient_meta", NULL, NULL}, {0}};
    hy_table *t = hy_facts_table(title, f, HY_ROWS_CELLS, columns, "model");
    char *made = hy_asked_line(m);
    hy_table_note(t, "how strongly the output at the last position depends on each input, by the size of its gradient; "
                     "span: the smallest distance that holds so much (mass) of it");
    hy_table_note(t, "layerN.from: with respect to what enters that layer; layerN.to: of what leaves it, with respect "
                     "to the embeddings");
    hy_table_note(t, "%s", made);
    free(made);
    return t;
}

hy_status hy_probe_draw_gradient(const hy_probe_figure *p, const hy_facts *f, const hy_asked *m) {
    const double scale = hy_metric_find("gradient_share")->scale;
    double *at = hy_xcalloc(4 * (size_t)f->n_facts + 4, sizeof *at);
    const int room = f->n_facts + 1;
    hy_fig_series line = {"whole model", 0, 0, at, at + room, at + 2 * room, at + 3 * room};
    int64_t examples = 1;
    for (int i = 0; i < f->n_facts; i++) {  // distances come in their order
        const hy_fact *a = &f->fact[i];
        if (strcmp(a->name, "gradient_share")) continue;
        at[line.n] = hy_plots_gradient_x(a->x, a->y);
        at[room + line.n] = scale * a->value;
        at[2 * room + line.n] = scale * (a->value - a->se);
        at[3 * room + line.n++] = scale * (a->value + a->se);
        if (a->n > examples) examples = a->n;
    }
    char *made = hy_asked_line(m), *heading = hy_asprintf("What the last output of %s depends on", p->model);
    char *note = hy_asprintf("%s. " HY_PLOTS_GRADIENT ". %s. %s", p->what,
                             examples > 1 ? "Bars: standard error over the examples" : "One example: no bars", made);
    const hy_fig_head head = {.title = heading, .note = note};
    const hy_fig_out out = {p->folder, "gradient-erf", p->formats};
    const hy_status s = hy_plots_draw_gradient(&out, &head, &line, 1);
    free(made), free(heading), free(note), free(at);
    return s;
}
