// report_facts.c - the parts of a report that come straight from the store: recipe, provenance, definitions.
#include <stdlib.h>

#include "analysis/report/report_page.h"
#include "core/base/version.h"

static void add_fact(void *to, const char *key, const char *value) { hy_report_fact(to, key, value); }
// A text opens on a click.
static void add_text(void *to, const char *summary, const char *text) { hy_report_code(to, summary, text); }

hy_status hy_report_recipe(const hy_plots *p, hy_report *r) {
    const hy_experiment_id e = hy_plots_id(p);
    HY_TRY(hy_ask_recipe(p->store, &e, add_fact, r));
    return hy_ask_resolved(p->store, &e, add_text, r);
}

static hy_status definitions(const hy_plots *p, hy_report *r) {
    static const hy_report_column col[] = {{NULL, "figure", NULL, false},
                                           {NULL, "version", NULL, true},
                                           {NULL, "unit", NULL, false},
                                           {NULL, "better", NULL, false},
                                           {NULL, "meaning", NULL, false}};
    const hy_experiment_id e = hy_plots_id(p);
    hy_query *q;
    HY_TRY(hy_ask_definitions(p->store, &e, &q));
    char **cell = NULL;
    int n = 0;
    bool row = false;
    hy_status st;
    hy_definition_row d;
    while (!(st = hy_next_definition(q, &row, &d)) && row) {
        const char *text[] = {d.name, d.version, d.unit, d.direction, d.meaning};
        cell = hy_xrealloc(cell, (size_t)(n + 5) * sizeof *cell);
        for (int c = 0; c < 5; c++) cell[n++] = hy_xstrdup(text[c]);
    }
    hy_query_close(q);
    if (!st && n) hy_report_table(r, "What the stored figures mean.", col, 5, (const char *const *)cell, n / 5);
    for (int i = 0; i < n; i++) free(cell[i]);
    free(cell);
    return st;
}

hy_status hy_report_provenance(const hy_plots *p, hy_report *r) {
    const hy_experiment_id e = hy_plots_id(p);
    HY_TRY(hy_ask_provenance(p->store, &e, add_fact, r));
    hy_report_fact(r, "database", hy_store_path(p->store));
    hy_report_fact(r, "page made by", hy_version_commit());
    return definitions(p, r);
}
