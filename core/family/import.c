// import.c - see import.h: the families and the mapping of their tensors, the same for all. Folders: import_folder.c.
#include "core/family/import.h"

#include <stdlib.h>
#include <string.h>

#include "core/family/import_impl.h"

static const hy_import_family *const families[] = {
#define X(name) &hy_import_##name,
#include "core/family/families.def"
#undef X
};

const hy_import_family *hy_import_find(const char *model_type) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i]->model_type, model_type)) return families[i];
    return NULL;
}

const char *hy_import_families(void) {
#define X(name) ", " #name
    static const char list[] = ""
#include "core/family/families.def"
        ;
#undef X
    return list + 2;
}

hy_status hy_import_spec(const hy_import_family *f, const hy_json *config, const char *where, hy_model_spec *out) {
    hy_json *whole;
    hy_model_spec_init(out);
    HY_TRY(hy_config_complete(config, where, f->keys, &whole));
    const hy_status s = f->spec(whole, where, out);
    hy_json_free(whole);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the mapping
// Rows `part` of a parameter with `rows` rows in layer l (number i): *first and the count.
static int part_rows(const hy_layer_spec *l, int i, hy_import_part part, int rows, int *first) {
    const int q = l->heads * l->d_qk, own = l->kv_source == i;
    const int k = own ? l->kv_heads * l->d_qk : 0, v = own ? l->kv_heads * l->d_v : 0;
    *first = 0;
    switch (part) {
        case HY_PART_Q: return q;
        case HY_PART_K: *first = q; return k;
        case HY_PART_V: *first = q + k; return v;
        case HY_PART_S:
            *first = rows - 2 * l->d_inner;
            return l->d_inner;  // s and g are the last rows with and without attention
        case HY_PART_G: *first = rows - l->d_inner; return l->d_inner;
        case HY_PART_SSM: *first = q + k + v; return rows - *first;
        case HY_PART_GATE: return l->mlp == HY_MLP_SILU ? l->d_ff : 0;
        case HY_PART_UP: *first = l->mlp == HY_MLP_SILU ? l->d_ff : 0; return l->d_ff;
        case HY_PART_OF_ATTENTION: return hy_layer_has_attention(l) ? rows : 0;
        case HY_PART_OF_SSM: return hy_layer_has_ssm(l) ? rows : 0;
        default: return rows;
    }
}

static void layer_name(const char *pattern, int layer, char *out, size_t cap) {
    const char *at = strstr(pattern, "%d");
    int n = at ? snprintf(out, cap, "%.*s%d%s", (int)(at - pattern), pattern, layer, at + 2)
               : snprintf(out, cap, "%s", pattern);
    HY_ASSERT(n >= 0 && (size_t)n < cap);
}

static void add_dim(hy_import_tensor *t, int64_t size) {
    HY_ASSERT(t->theirs.ndim < HY_ST_MAX_DIMS);
    t->theirs.shape[t->theirs.ndim++] = size;
}

// Adds the rows that a line of the table names to a tensor; nothing if the model lacks them.
static void add_piece(hy_import_map *m, const hy_program *p, const hy_import_row *row, int layer, hy_import_tensor *t) {
    char ours[128];
    layer_name(row->ours, layer, ours, sizeof ours);
    const int param = hy_program_find_param(p, ours);
    if (param < 0) return;
    const hy_param *q = &p->params[param];
    int first = 0;
    const int rows = row->part == HY_PART_ALL
                         ? q->shape[0]
                         : part_rows(&p->spec.layers[layer], layer, row->part, q->shape[0], &first);
    if (rows == 0) return;
    HY_ASSERT(first >= 0 && rows > 0 && rows <= q->shape[0] - first);
    const size_t width = q->n / (size_t)q->shape[0];
    if (t->n == 0) {
        add_dim(t, 0);
        if (row->kind == HY_ROW_CONV) add_dim(t, 1);
        for (int d = 1; d < q->ndim; d++) add_dim(t, q->shape[d]);
    }
    HY_ASSERT(t->elems % width == 0);  // pieces of one tensor are equally wide: the table's matter
    m->pieces = hy_xrealloc(m->pieces, sizeof *m->pieces * (size_t)(m->n_pieces + 1));
    m->pieces[m->n_pieces++] =
        (hy_import_piece){.param = param, .first = (size_t)first * width, .n = (size_t)rows * width, .at = t->elems};
    t->theirs.shape[0] += rows;
    t->elems += (size_t)rows * width;
    t->n++;
}

// The tensor that `lines` lines of the table make in this layer.
static void add_tensor(hy_import_map *m, const hy_program *p, const hy_import_row *row, int lines, int layer) {
    hy_import_tensor t = {.first = m->n_pieces};
    layer_name(row->theirs, layer, t.theirs.name, sizeof t.theirs.name);
    for (int i = 0; i < lines; i++) add_piece(m, p, &row[i], layer, &t);
    if (!t.n) return;
    m->v = hy_xrealloc(m->v, sizeof *m->v * (size_t)(m->n + 1));
    m->v[m->n++] = t;
}

static int by_first(const void *a, const void *b) {
    const hy_import_piece *const *x = a, *const *y = b;
    return (*x)->first < (*y)->first ? -1 : (*x)->first > (*y)->first;
}

// Every element of every parameter must come from exactly one tensor.
static hy_status check_covered(const hy_import_family *f, const hy_program *p, const hy_import_map *m) {
    const hy_import_piece **own = hy_xcalloc((size_t)m->n_pieces + 1, sizeof *own);
    hy_status s = HY_OK;
    for (int i = 0; i < p->n_params && !s; i++) {
        const hy_param *q = &p->params[i];
        size_t at = 0;  // covered so far
        int n = 0;
        for (int k = 0; k < m->n_pieces; k++)
            if (m->pieces[k].param == i) own[n++] = &m->pieces[k];
        qsort(own, (size_t)n, sizeof *own, by_first);
        for (int k = 0; k <= n && !s; k++) {
            size_t next = k < n ? own[k]->first : q->n;
            if (next != at)
                s = hy_error(HY_EINPUT, "the %s layout has %s for row %zu of parameter \"%s\"", f->model_type,
                             next < at ? "two tensors" : "no tensor",
                             (next < at ? next : at) / (q->n / (size_t)q->shape[0]), q->name);
            if (k < n) at = next + own[k]->n;
        }
    }
    free(own);
    return s;
}

hy_status hy_import_map_make(const hy_import_family *f, const hy_program *p, hy_import_map *out) {
    *out = (hy_import_map){0};
    for (const hy_import_row *row = f->rows; row->theirs;) {
        int lines = 1;
        while (row[lines].theirs && !strcmp(row[lines].theirs, row->theirs)) lines++;
        const int times = strstr(row->ours, "%d") ? p->spec.n_layers : 1;
        for (int layer = 0; layer < times; layer++) add_tensor(out, p, row, lines, layer);
        row += lines;
    }
    hy_status s = check_covered(f, p, out);
    if (s) hy_import_map_free(out);
    return s;
}

void hy_import_map_free(hy_import_map *m) {
    free(m->v);
    free(m->pieces);
    *m = (hy_import_map){0};
}

const hy_import_tensor *hy_import_map_find(const hy_import_map *m, const char *theirs) {
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->v[i].theirs.name, theirs)) return &m->v[i];
    return NULL;
}

hy_status hy_import_gather(const hy_import_map *m, const hy_import_tensor *t, const hy_params *w, bool grad,
                           float *dst) {
    hy_status s = HY_OK;
    for (int i = t->first; i < t->first + t->n && !s; i++) {
        const hy_import_piece *x = &m->pieces[i];
        float *whole = hy_alloc(w->prog->params[x->param].n * sizeof *whole);
        if (!whole) return HY_ENOMEM;
        s = hy_params_get(w, x->param, grad, whole);
        if (!s) memcpy(dst + x->at, whole + x->first, x->n * sizeof *dst);
        free(whole);
    }
    return s;
}
