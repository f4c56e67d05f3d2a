// show_published.c - `hylab show published`: every figure that variant files say is printed elsewhere (caches,
// parameter ratios, totals), beside the same figure worked out here; and so an index of the paper's tables: which row
// is which file.
#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "core/spec/spec_read.h"
#include "experiments/cli/args.h"
#include "experiments/cli/show_spec.h"

typedef struct {
    char in[64], variant[64], printed[24];
    const char *figure, *unit;
    double here;
    int order;
} entry;
typedef struct {
    int n;
    entry *v;
} entries;

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    int c = hy_published_order(x->in, y->in);
    return c ? c : x->order - y->order;
}

static void add(entries *all, const hy_published *p, const hy_model_spec *m, const char *figure, const char *unit,
                const char *printed, double here) {
    all->v = hy_xrealloc(all->v, sizeof *all->v * (size_t)(all->n + 1));
    entry *e = &all->v[all->n];
    *e = (entry){.figure = figure, .unit = unit, .here = here, .order = all->n++};
    snprintf(e->in, sizeof e->in, "%s", p->in);
    snprintf(e->variant, sizeof e->variant, "%s", m->name);
    snprintf(e->printed, sizeof e->printed, "%s", printed);
}

static hy_status add_file(entries *all, const char *path, hy_model_spec *m) {
    hy_published_list list;
    hy_param_count c;
    hy_cache_bytes paper;
    HY_TRY(hy_spec_load(path, NULL, m));
    HY_TRY(hy_published_load(path, &list));
    hy_model_count(m, &c);
    hy_model_cache(m, HY_CACHE_PAPER, HY_PUBLISHED_TOKENS, 2, 2, 2, NULL, &paper);
    for (int i = 0; i < list.n; i++) {
        const hy_published *p = &list.v[i];
        if (p->cache_mb[0]) add(all, p, m, "cache", "MB", p->cache_mb, paper.total / 1e6);
        if (p->ratio[0])
            add(all, p, m, "SSM / attention parameters", "", p->ratio, (double)c.ratio_ssm / (double)c.ratio_attention);
        if (p->parameters[0]) add(all, p, m, "parameters", "", p->parameters, (double)c.total);
        if (!p->cache_mb[0] && !p->ratio[0] && !p->parameters[0]) add(all, p, m, "", "", "", 0);
    }
    return HY_OK;
}

static hy_status print_entries(entries *all, hy_table_format format) {
    hy_table *t = hy_table_new(NULL);
    int same = 0, figures = 0;
    hy_table_column(t, "in", "printed in", NULL, HY_LEFT);
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    hy_table_column(t, "figure", NULL, NULL, HY_LEFT);
    hy_table_column(t, "unit", "", NULL, HY_LEFT);
    hy_table_column(t, "printed", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "here", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "equal", "", NULL, HY_LEFT);
    if (all->n) qsort(all->v, (size_t)all->n, sizeof *all->v, by_place);
    for (int i = 0; i < all->n; i++) {
        const entry *e = &all->v[i];
        char here[32] = "";
        if (e->printed[0]) hy_published_round(e->here, e->printed, here);
        bool equal = !strcmp(here, e->printed);
        figures += e->printed[0] != 0;
        same += e->printed[0] && equal;
        hy_table_row(t);
        hy_table_text(t, "%s", e->in);
        hy_table_text(t, "%s", e->variant);
        hy_table_text(t, "%s", e->figure);
        hy_table_text(t, "%s", e->unit);
        hy_table_text(t, "%s", e->printed);
        hy_table_text(t, "%s", here);
        hy_table_text(t, "%s", !e->printed[0] ? "" : equal ? "equal" : "differs");
    }
    hy_table_note(t, "%d of %d figures are equal to the last printed digit; caches of %d tokens as the paper counts",
                  same, figures, HY_PUBLISHED_TOKENS);
    hy_status st = hy_table_print(t, format, stdout);
    hy_table_free(t);
    return st;
}

int hy_show_published(int argc, char **argv) {
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab show published VARIANT.yaml... [options]",
        .text =
            "Prints what the key `published` of variant files says is printed elsewhere (the paper's tables, released\n"
            "weights) beside the same figures worked out here, in the order of the tables.\n\n"
            "example:\n"
            "  hylab show published variants/paper/*.yaml",
        .args = args,
        .min_rest = 1,
        .max_rest = -1,
    };
    hy_arg_list rest = {0};
    entries all = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) {
        hy_model_spec *m = hy_xcalloc(1, sizeof *m);
        for (int i = 0; !st && i < rest.n; i++) st = add_file(&all, rest.v[i], m);
        if (!st) st = print_entries(&all, format);
        free(m);
    }
    free(all.v);
    free(rest.v);
    return hy_command_end("show published", st);
}
