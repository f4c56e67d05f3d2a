// cache_explain.c - `hylab cache --explain`: one model's cache in words for a reader who does not know the code: its
// kinds of layers, every product that is summed, in the true accounting and the paper's, and what leads from one to the
// other. The products are those of hy_layer_cache_terms; nothing is computed a second way.
#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "core/family/model_file.h"
#include "experiments/cli/cache_views.h"

enum { HELD = 0, PAPER = 1 };  // the accountings side by side

// Layers whose part of one kind is the same product.
typedef struct {
    hy_cache_kind kind;
    int first, layers;  // the first of them; how many
    bool in[HY_MAX_LAYERS];
    hy_cache_term term[2];  // share summed over the layers
} group;
typedef struct {
    const hy_model_spec *m;
    const hy_cache_request *r;
    int n;
    group *g;  // [n], kind by kind
} explained;

// ---------------------------------------------------------------------------------------------------- grouping
static bool same_product(const hy_cache_term *a, const hy_cache_term *b) {
    return a->positions == b->positions && a->values == b->values && a->bytes == b->bytes;
}

static bool belongs(const explained *e, const group *g, hy_cache_kind kind, int layer,
                    hy_cache_term t[2][HY_CACHE_KINDS]) {
    const hy_layer_spec *a = &e->m->layers[g->first], *b = &e->m->layers[layer];
    if (g->kind != kind || !same_product(&g->term[HELD], &t[HELD][kind]) ||
        !same_product(&g->term[PAPER], &t[PAPER][kind]))
        return false;
    bool attention = kind == HY_CACHE_KV || kind == HY_CACHE_META;
    return !attention ||
           (a->window == b->window && a->kv_heads == b->kv_heads && a->d_qk == b->d_qk && a->d_v == b->d_v);
}

static void add_layer(explained *e, hy_cache_kind kind, int layer, hy_cache_term t[2][HY_CACHE_KINDS]) {
    int i = 0;
    while (i < e->n && !belongs(e, &e->g[i], kind, layer, t)) i++;
    if (i == e->n) {
        e->g = hy_xrealloc(e->g, sizeof *e->g * (size_t)++e->n);
        e->g[i] = (group){.kind = kind, .first = layer, .term = {t[HELD][kind], t[PAPER][kind]}};
        e->g[i].term[HELD].share = e->g[i].term[PAPER].share = 0;
    }
    e->g[i].layers++;
    e->g[i].in[layer] = true;
    e->g[i].term[HELD].share += t[HELD][kind].share;
    e->g[i].term[PAPER].share += t[PAPER][kind].share;
}

static void group_layers(explained *e) {
    for (hy_cache_kind kind = 0; kind < HY_CACHE_KINDS; kind++)
        for (int i = 0; i < e->m->n_layers; i++) {
            hy_cache_term t[2][HY_CACHE_KINDS];
            hy_layer_cache_terms(e->m, i, HY_CACHE_TRUE, e->r->tokens, e->r->bytes, e->r->conv_bytes, e->r->ssm_bytes,
                                 t[HELD]);
            hy_layer_cache_terms(e->m, i, HY_CACHE_PAPER, e->r->tokens, e->r->bytes, e->r->conv_bytes, e->r->ssm_bytes,
                                 t[PAPER]);
            if (t[HELD][kind].positions && t[HELD][kind].values) add_layer(e, kind, i, t);
        }
}

static double product(const hy_cache_term *t) { return t->share * t->positions * t->values * t->bytes; }
static double total(const explained *e, int how) {
    double sum = 0;
    for (int i = 0; i < e->n; i++) sum += product(&e->g[i].term[how]);
    return sum;
}

// ---------------------------------------------------------------------------------------------------- words
// "layers 0, 15, 31" or "layers 1-14, 16-30"; "every layer".
static char *layers_text(const explained *e, const group *g) {
    hy_buf b = {0};
    if (g->layers == e->m->n_layers) return hy_xstrdup("every layer");
    hy_buf_printf(&b, g->layers == 1 ? "layer" : "layers");
    for (int i = 0, some = 0; i < e->m->n_layers; i++) {
        int end = i;
        if (!g->in[i]) continue;
        while (end + 1 < e->m->n_layers && g->in[end + 1]) end++;
        hy_buf_printf(&b, "%s %d", some++ ? "," : "", i);
        if (end > i) hy_buf_printf(&b, end > i + 1 ? "-%d" : ", %d", end);
        i = end;
    }
    return b.s;
}

static void attention_words(const explained *e, const group *g, hy_buf *b) {
    const hy_layer_spec *l = &e->m->layers[g->first];
    const hy_cache_term *t = &g->term[HELD];
    if (l->window)
        hy_buf_printf(b, "attention with a window of %d: the keys and values of the newest %d token%s of text",
                      l->window, t->positions, t->positions == 1 ? "" : "s");
    else
        hy_buf_printf(b, "global attention: the keys and values of all %d token%s of text", t->positions,
                      t->positions == 1 ? "" : "s");
    hy_buf_printf(b, ";\n    %d KV head%s of %d (key) + %d (value) = %d values a token", l->kv_heads,
                  l->kv_heads == 1 ? "" : "s", l->d_qk, l->d_v, t->values);
    if (t->share != g->layers)
        hy_buf_printf(b, ";\n    %g of the %d layers keep%s their own, the others use those of an earlier layer",
                      t->share, g->layers, t->share == 1 ? "s" : "");
}

static void words(const explained *e, const group *g, hy_buf *b) {
    const hy_cache_term *t = &g->term[HELD];
    char *where = layers_text(e, g);
    hy_buf_printf(b, "%s: ", where);
    free(where);
    switch (g->kind) {
        case HY_CACHE_KV: attention_words(e, g, b); break;
        case HY_CACHE_META:
            hy_buf_printf(b, "the keys and values of the %d meta tokens, which are never dropped%s", t->positions,
                          e->m->layers[g->first].window ? " (beside the window)" : "");
            break;
        case HY_CACHE_CONV:
            hy_buf_printf(b, "the causal convolution before the SSM: its last %d input%s in %d channels", t->positions,
                          t->positions == 1 ? "" : "s", t->values);
            break;
        case HY_CACHE_SSM:
            hy_buf_printf(b, "SSM heads: %d channels of %d states, the same at every length", t->values, t->positions);
            break;
        default: break;
    }
}

static void label(const explained *e, const group *g, char out[48]) {
    static const char *const parts[] = {"KV", "meta KV", "convolution", "SSM state"};
    const hy_layer_spec *l = &e->m->layers[g->first];
    if (g->kind == HY_CACHE_CONV || g->kind == HY_CACHE_SSM)
        snprintf(out, 48, "%s", parts[g->kind]);
    else if (l->window)
        snprintf(out, 48, "%s, window %d", parts[g->kind], l->window);
    else
        snprintf(out, 48, "%s, global", parts[g->kind]);
}

// ---------------------------------------------------------------------------------------------------- tables
static hy_table *terms_table(const char *title) {
    static const char *const parts[] = {"layers", "positions", "values", "bytes"};
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "variant", NULL, NULL, HY_LEFT);
    hy_table_hidden(t);
    hy_table_column(t, "part", NULL, NULL, HY_LEFT);
    for (int how = 0; how < 2; how++) {
        hy_table_column(t, how == HELD ? "held" : "paper", how == HELD ? "what a runtime holds" : "as the paper counts",
                        NULL, HY_RIGHT);
        for (int k = 0; k < 4; k++) {
            char name[32];
            snprintf(name, sizeof name, "%s_%s", how == HELD ? "held" : "paper", parts[k]);
            hy_table_column(t, name, NULL, NULL, HY_RIGHT);
            hy_table_hidden(t);
        }
        hy_table_column(t, how == HELD ? "held_mb" : "paper_mb", "", "MB", HY_RIGHT);
    }
    hy_table_column(t, "difference_mb", "difference", "MB", HY_RIGHT);
    return t;
}

static void add_term(hy_table *t, const hy_cache_term *c) {
    if (c->share > 0)
        hy_table_text(t, "%g x %d x %d x %d", c->share, c->positions, c->values, c->bytes);
    else
        hy_table_text(t, "none");
    hy_table_num(t, c->share, -6);
    hy_table_int(t, c->positions);
    hy_table_int(t, c->values);
    hy_table_int(t, c->bytes);
    hy_table_num(t, product(c) / 1e6, 3);
}

static void add_terms(const explained *e, hy_table *t) {
    for (int i = 0; i < e->n; i++) {
        char part[48];
        label(e, &e->g[i], part);
        hy_table_row(t);
        hy_table_text(t, "%s", e->m->name);
        hy_table_text(t, "%s", part);
        add_term(t, &e->g[i].term[HELD]);
        add_term(t, &e->g[i].term[PAPER]);
        hy_table_num(t, (product(&e->g[i].term[HELD]) - product(&e->g[i].term[PAPER])) / 1e6, 3);
    }
    hy_table_rule(t);
    hy_table_row(t);
    hy_table_text(t, "%s", e->m->name);
    hy_table_text(t, "total");
    for (int how = 0; how < 2; how++) {
        for (int k = 0; k < 5; k++) hy_table_empty(t);
        hy_table_num(t, total(e, how) / 1e6, 3);
    }
    hy_table_num(t, (total(e, HELD) - total(e, PAPER)) / 1e6, 3);
    hy_table_note(
        t,
        "layers x positions x values x bytes; convolution: layers x inputs x channels x bytes; SSM: states for inputs");
}

// Why the two differ in a kind, counted over its groups: how many layers, how many of them held, as how many the paper
// counts.
static char *reason(const explained *e, hy_cache_kind kind) {
    int layers = 0, positions = 0;
    double held = 0, paper = 0;
    for (int i = 0; i < e->n; i++) {
        const group *g = &e->g[i];
        if (g->kind != kind || g->term[HELD].share == g->term[PAPER].share) continue;
        layers += g->layers;
        held += g->term[HELD].share;
        paper += g->term[PAPER].share;
        positions = g->term[HELD].positions;
    }
    if (kind == HY_CACHE_KV)
        return hy_asprintf("of %d window layers %g keep keys and values of their own; the paper counts half, %g",
                           layers, held, paper);
    if (kind == HY_CACHE_META)
        return hy_asprintf("the %d meta tokens are kept in %g window layers too; the paper counts the window alone",
                           positions, held);
    return hy_asprintf("%d inputs of the convolution are kept in %g layers; the paper leaves them out", positions,
                       held);
}

static hy_table *bridge_table(const explained *e, const char *title) {
    hy_table *t = hy_table_new(title);
    double at = total(e, PAPER), end = total(e, HELD);
    int paper_bytes = e->n ? e->g[0].term[PAPER].bytes : 0;
    hy_table_column(t, "step", "from the paper's figure to what is held", NULL, HY_LEFT);
    hy_table_column(t, "change_mb", "", "MB", HY_RIGHT);
    hy_table_column(t, "mb", "", "MB", HY_RIGHT);
    hy_table_row(t);
    hy_table_text(t, "as the paper counts");
    hy_table_empty(t);
    hy_table_num(t, at / 1e6, 3);
    for (hy_cache_kind kind = 0; kind < HY_CACHE_KINDS; kind++) {
        double change = 0;  // at the paper's element size
        for (int i = 0; i < e->n; i++)
            if (e->g[i].kind == kind)
                change += product(&e->g[i].term[HELD]) / e->g[i].term[HELD].bytes * paper_bytes -
                          product(&e->g[i].term[PAPER]);
        if (change == 0) continue;
        char *why = reason(e, kind);
        at += change;
        hy_table_row(t);
        hy_table_text(t, "%s", why);
        hy_table_num(t, change / 1e6, 3);
        hy_table_num(t, at / 1e6, 3);
        free(why);
    }
    if (end != at) {
        hy_table_row(t);
        char sizes[96];
        hy_cache_sizes_text(e->r->bytes, e->r->conv_bytes, e->r->ssm_bytes, sizes);
        hy_table_text(t, "%s are held (--elem, --state-elem%s); the paper counts %d", sizes,
                      e->r->conv_bytes == e->r->ssm_bytes ? "" : ", --ssm-elem", paper_bytes);
        hy_table_num(t, (end - at) / 1e6, 3);
        hy_table_num(t, end / 1e6, 3);
    }
    hy_table_row(t);
    hy_table_text(t, "what a runtime holds");
    hy_table_empty(t);
    hy_table_num(t, end / 1e6, 3);
    return t;
}

// ---------------------------------------------------------------------------------------------------- printing
static void print_words(const explained *e, const hy_published_list *printed) {
    printf("%s: the cache of one sequence of %d tokens of text", e->m->name, e->r->tokens);
    if (e->m->meta_tokens) printf(" after %d meta tokens", e->m->meta_tokens);
    printf(", MB of 10^6 bytes\n\n");
    for (int i = 0; i < e->n; i++) {
        hy_buf b = {0};
        words(e, &e->g[i], &b);
        printf("  %s\n", b.s);
        free(b.s);
    }
    if (!e->n) printf("  no layer keeps anything\n");
    for (int i = 0; i < printed->n; i++)
        if (printed->v[i].cache_mb[0]) printf("  printed in %s: %s MB\n", printed->v[i].in, printed->v[i].cache_mb);
    printf("\n");
}

static hy_json *to_json(const explained *e, const hy_published_list *printed, hy_table *terms, hy_table *bridge) {
    hy_json *j = hy_json_new_object(), *kinds = hy_json_new_array(), *places = hy_json_new_array();
    hy_json_set_string(j, "variant", e->m->name);
    hy_json_set_int(j, "tokens", e->r->tokens);
    hy_json_set_int(j, "meta_tokens", e->m->meta_tokens);
    for (int i = 0; i < e->n; i++) {
        hy_buf b = {0};
        words(e, &e->g[i], &b);
        for (char *c = b.s; (c = strstr(c, "\n    "));) memmove(c + 1, c + 5, strlen(c + 5) + 1), *c = ' ';
        hy_json_add(kinds, hy_json_new_string(b.s));
        free(b.s);
    }
    for (int i = 0; i < printed->n; i++) {
        if (!printed->v[i].cache_mb[0]) continue;
        hy_json *p = hy_json_new_object();
        hy_json_set_string(p, "in", printed->v[i].in);
        hy_json_set_double(p, "cache_mb", strtod(printed->v[i].cache_mb, NULL));
        hy_json_add(places, p);
    }
    hy_json_set(j, "words", kinds);
    hy_json_set(j, "published", places);
    hy_json_set(j, "terms", hy_table_json(terms));
    hy_json_set(j, "steps", hy_table_json(bridge));
    return j;
}

// One file; csv collects the terms of all files in `all`, json its object in `list`.
static hy_status explain(const hy_cache_request *r, const char *path, hy_model_spec *m, hy_table *all, hy_json *list) {
    explained e = {.m = m, .r = r};
    hy_published_list printed = {0};
    HY_TRY(hy_model_read_spec(path, r->sets, m));
    if (r->tokens == HY_PUBLISHED_TOKENS && (!r->sets || !r->sets[0])) HY_TRY(hy_model_published(path, &printed));
    group_layers(&e);
    hy_status st = HY_OK;
    if (r->format == HY_TABLE_CSV) {
        add_terms(&e, all);
    } else {
        hy_table *terms = terms_table(NULL), *bridge = bridge_table(&e, NULL);
        add_terms(&e, terms);
        if (r->format == HY_TABLE_JSON) {
            hy_json_add(list, to_json(&e, &printed, terms, bridge));
        } else {
            print_words(&e, &printed);
            st = hy_table_print(terms, HY_TABLE_TEXT, stdout);
            printf("\n");
            if (total(&e, HELD) == total(&e, PAPER))
                printf("the two accountings agree\n");
            else if (!st)
                st = hy_table_print(bridge, HY_TABLE_TEXT, stdout);
        }
        hy_table_free(terms);
        hy_table_free(bridge);
    }
    free(e.g);
    return st;
}

hy_status hy_cache_print_explained(const hy_cache_request *r) {
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    hy_table *all = terms_table(NULL);
    hy_json *list = hy_json_new_array();
    hy_status st = HY_OK;
    for (int i = 0; !st && i < r->files->n; i++) {
        if (i && r->format == HY_TABLE_TEXT) printf("\n\n");
        st = explain(r, r->files->v[i], m, all, list);
    }
    if (!st && r->format == HY_TABLE_CSV) st = hy_table_print(all, HY_TABLE_CSV, stdout);
    if (!st && r->format == HY_TABLE_JSON) st = hy_json_print(list, stdout);
    hy_json_free(list);
    hy_table_free(all);
    free(m);
    return st;
}
