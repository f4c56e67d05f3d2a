// cache_both.c - `hylab cache --accounting both`: every accounting of each file beside what is printed of it elsewhere.
#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "core/family/model_file.h"
#include "experiments/cli/cache_views.h"

typedef struct {
    char name[64], in[64], printed[24];  // in, printed: "" if none
    int64_t parameters;
    double held, paper, groups;  // bytes
    int order;                   // of the command line
} entry;

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (!x->in[0] != !y->in[0]) return x->in[0] ? -1 : 1;
    int c = hy_published_order(x->in, y->in);
    return c ? c : x->order - y->order;
}

// The entries of one file: one for each printed cache, at least one.
static hy_status add_entries(const hy_cache_request *r, const char *path, hy_model_spec *m, entry **all, int *n) {
    hy_published_list printed = {0};
    hy_param_count count;
    hy_cache_bytes held, paper, groups;
    HY_TRY(hy_model_read_spec(path, r->sets, m));
    // a changed model, or another length, is not what was printed
    if (r->tokens == HY_PUBLISHED_TOKENS && (!r->sets || !r->sets[0])) HY_TRY(hy_model_published(path, &printed));
    hy_model_count(m, &count);
    hy_model_cache(m, HY_CACHE_TRUE, r->tokens, r->bytes, r->conv_bytes, r->ssm_bytes, NULL, &held);
    hy_model_cache(m, HY_CACHE_PAPER, r->tokens, 2, 2, 2, NULL, &paper);
    hy_model_cache(m, HY_CACHE_PAPER_GROUPS, r->tokens, 2, 2, 2, NULL, &groups);
    entry e = {
        .parameters = count.total, .held = held.total, .paper = paper.total, .groups = groups.total, .order = *n};
    snprintf(e.name, sizeof e.name, "%s", m->name);
    *all = hy_xrealloc(*all, sizeof **all * (size_t)(*n + printed.n + 1));
    int before = *n;
    for (int i = 0; i < printed.n; i++) {
        if (!printed.v[i].cache_mb[0]) continue;
        (*all)[*n] = e;
        snprintf((*all)[*n].in, sizeof e.in, "%s", printed.v[i].in);
        snprintf((*all)[*n].printed, sizeof e.printed, "%s", printed.v[i].cache_mb);
        ++*n;
    }
    if (*n == before) (*all)[(*n)++] = e;
    return HY_OK;
}

static hy_table *new_table(void) {
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "published_in", "printed in", NULL, HY_LEFT);
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    hy_table_column(t, "parameters", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "published_mb", "printed", "MB", HY_RIGHT);
    hy_table_column(t, "paper_mb", "here", "MB", HY_RIGHT);
    hy_table_column(t, "difference_mb", "difference", "MB", HY_RIGHT);
    hy_table_column(t, "paper_groups_mb", "real groups", "MB", HY_RIGHT);
    hy_table_column(t, "held_mb", "held", "MB", HY_RIGHT);
    return t;
}

static void add_row(hy_table *t, const entry *e) {
    const char *point = strchr(e->printed, '.');
    int digits = !e->printed[0] ? 3 : point ? (int)strlen(point + 1) : 0;
    hy_table_row(t);
    hy_table_text(t, "%s", e->in);
    hy_table_text(t, "%s", e->name);
    hy_table_int(t, e->parameters);
    hy_table_text(t, "%s", e->printed);
    hy_table_num(t, e->paper / 1e6, digits);
    if (e->printed[0]) {
        char here[32];
        hy_published_round(e->paper / 1e6, e->printed, here);
        hy_table_num(t, strcmp(here, e->printed) ? strtod(here, NULL) - strtod(e->printed, NULL) : 0, digits);
    } else {
        hy_table_empty(t);
    }
    hy_table_num(t, e->groups / 1e6, digits);
    hy_table_num(t, e->held / 1e6, 3);
}

hy_status hy_cache_print_both(const hy_cache_request *r) {
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    entry *all = NULL;
    int n = 0;
    hy_status st = HY_OK;
    for (int i = 0; !st && i < r->files->n; i++) st = add_entries(r, r->files->v[i], m, &all, &n);
    if (!st) {
        qsort(all, (size_t)n, sizeof *all, by_place);
        hy_table *t = new_table();
        for (int i = 0; i < n; i++) add_row(t, &all[i]);
        hy_table_note(t, "one sequence of %d tokens, MB of 10^6 bytes; difference: of the printed digits", r->tokens);
        hy_table_note(t, "here: as the paper counts: 2 bytes a value, window layers exactly their window, those that "
                         "share as exactly");
        hy_table_note(t, "half (real groups: as they are), no convolution state");
        char sizes[96];
        hy_cache_sizes_text(r->bytes, r->conv_bytes, r->ssm_bytes, sizes);
        hy_table_note(t, "held: what a runtime holds, %s; --explain tells the terms of one model", sizes);
        st = hy_table_print(t, r->format, stdout);
        hy_table_free(t);
    }
    free(all);
    free(m);
    return st;
}
