// param.c - every resolved value of a model as a row, so that "accuracy by attention.window" is one query.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "results/identity.h"
#include "results/record_impl.h"

// The values of one path over the layers, each once, in the order of the layers: "16", or "none,16" where they differ.
typedef struct {
    char *path, *values;
} layer_values;
typedef struct {
    hy_query *insert;
    int64_t model_id;
    const char *prefix;
    int n_layer;
    layer_values *layer;
    bool precision;  // seen in the recipe
    hy_status st;
} param_writer;

static bool is_number(const char *v, bool *whole) {
    char *end;
    errno = 0;
    strtod(v, &end);
    *whole = strspn(v, "-0123456789") == strlen(v);
    return strchr("-0123456789.", *v) && end != v && !*end && errno == 0;
}

void hy_query_bind_value(hy_query *q, int i, const char *text) {
    bool whole;
    if (!is_number(text, &whole))
        hy_query_bind_text(q, i, text);
    else if (whole)
        hy_query_bind_int(q, i, strtoll(text, NULL, 10));
    else
        hy_query_bind_double(q, i, strtod(text, NULL));
}

static void insert(param_writer *w, const char *path, const char *value) {
    if (w->st) return;
    hy_query_bind_int(w->insert, 1, w->model_id);
    hy_query_bind_text(w->insert, 2, path);
    hy_query_bind_value(w->insert, 3, value);
    w->st = hy_query_run(w->insert);
}

static bool has_value(const char *values, const char *value) {
    const size_t n = strlen(value);
    for (const char *v = values; *v; v += strcspn(v, ","), v += *v == ',')
        if (!strncmp(v, value, n) && (v[n] == ',' || !v[n])) return true;
    return false;
}

static void note_layer(param_writer *w, const char *path, const char *value) {
    for (int i = 0; i < w->n_layer; i++) {
        layer_values *l = &w->layer[i];
        if (strcmp(l->path, path)) continue;
        if (has_value(l->values, value)) return;
        char *longer = hy_asprintf("%s,%s", l->values, value);
        free(l->values);
        l->values = longer;
        return;
    }
    w->layer = hy_xrealloc(w->layer, (size_t)(w->n_layer + 1) * sizeof *w->layer);
    w->layer[w->n_layer++] = (layer_values){hy_xstrdup(path), hy_xstrdup(value)};
}

static void spec_leaf(void *user, const char *path, const char *value) {
    param_writer *w = user;
    static const char table[] = "layer_table.";
    if (!strcmp(path, "name")) return;  // variant tells it
    if (strncmp(path, table, sizeof table - 1)) {
        insert(w, path, value);
        return;
    }
    const char *number = path + sizeof table - 1, *rest = strchr(number, '.');
    char *full = hy_asprintf("layers.%s", number);
    insert(w, full, value);
    free(full);
    if (rest) note_layer(w, rest + 1, value);
}

static void other_leaf(void *user, const char *path, const char *value) {
    param_writer *w = user;
    char *full = hy_asprintf("%s.%s", w->prefix, path);
    insert(w, full, value);
    w->precision = w->precision || !strcmp(full, "train.precision");
    free(full);
}

static void write_params(param_writer *w, const char *spec, const char *task, const char *train,
                         const char *precision) {
    hy_canonical_leaves(spec, spec_leaf, w);
    for (int i = 0; i < w->n_layer; i++) insert(w, w->layer[i].path, w->layer[i].values);
    w->prefix = "task";
    hy_canonical_leaves(task, other_leaf, w);
    w->prefix = "train";
    hy_canonical_leaves(train, other_leaf, w);
    if (!w->precision) insert(w, "train.precision", precision);  // the text leaves the default out
}

hy_status hy_store_params(hy_store *s, int64_t model_id, const char *spec, const char *task, const char *train,
                          const char *precision) {
    param_writer w = {.model_id = model_id};
    // a path twice: a canonical text has none, and of another one the first is as good
    HY_TRY(hy_query_open(s, "INSERT OR IGNORE INTO model_param(model_id, path, value) VALUES(?1, ?2, ?3)", &w.insert));
    write_params(&w, spec, task, train, precision);
    hy_query_close(w.insert);
    for (int i = 0; i < w.n_layer; i++) {
        free(w.layer[i].path);
        free(w.layer[i].values);
    }
    free(w.layer);
    return w.st;
}
