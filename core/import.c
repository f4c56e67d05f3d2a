// import.c - see import.h: the mapping and the copying, the same for every family.
#include "core/import.h"

#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"

#define CONFIG_MAX ((size_t)4 << 20)  // bytes of config.json: far above any real one

const hy_import_family *hy_import_find(const char *model_type) {
    static const hy_import_family *const all[] = {&hy_import_hymba};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->model_type, model_type)) return all[i];
    return NULL;
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
        case HY_PART_S: *first = rows - 2 * l->d_inner; return l->d_inner;  // s and g are the last rows with and without attention
        case HY_PART_G: *first = rows - l->d_inner; return l->d_inner;
        case HY_PART_GATE: return l->mlp == HY_MLP_SILU ? l->d_ff : 0;
        case HY_PART_UP: *first = l->mlp == HY_MLP_SILU ? l->d_ff : 0; return l->d_ff;
        default: return rows;
    }
}

static void layer_name(const char *pattern, int layer, char *out, size_t cap) {
    const char *at = strstr(pattern, "%d");
    int n = at ? snprintf(out, cap, "%.*s%d%s", (int)(at - pattern), pattern, layer, at + 2) : snprintf(out, cap, "%s", pattern);
    HY_ASSERT(n >= 0 && (size_t)n < cap);
}

static void add_range(hy_import_map *m, const hy_program *p, const hy_import_row *row, int layer) {
    char ours[128];
    layer_name(row->ours, layer, ours, sizeof ours);
    const int param = hy_program_find_param(p, ours);
    if (param < 0) return;
    const hy_param *q = &p->params[param];
    int first = 0;
    const int rows = row->part == HY_PART_ALL ? q->shape[0] : part_rows(&p->spec.layers[layer], layer, row->part, q->shape[0], &first);
    if (rows == 0) return;
    HY_ASSERT(first >= 0 && rows > 0 && rows <= q->shape[0] - first);
    const size_t width = q->n / (size_t)q->shape[0];
    m->v = hy_xrealloc(m->v, sizeof *m->v * (size_t)(m->n + 1));
    hy_import_range *r = &m->v[m->n++];
    *r = (hy_import_range){.param = param, .first = (size_t)first * width, .n = (size_t)rows * width};
    layer_name(row->theirs, layer, r->theirs.name, sizeof r->theirs.name);
    int64_t *shape = r->theirs.shape;
    shape[r->theirs.ndim++] = rows;
    if (row->middle_one) shape[r->theirs.ndim++] = 1;
    for (int d = 1; d < q->ndim; d++) shape[r->theirs.ndim++] = q->shape[d];
}

// Every element of every parameter must come from exactly one tensor.
static hy_status check_covered(const hy_import_family *f, const hy_program *p, const hy_import_map *m) {
    hy_status s = HY_OK;
    for (int i = 0; i < p->n_params && !s; i++) {
        uint8_t *seen = hy_xcalloc((size_t)p->params[i].shape[0], 1);
        const size_t rows = (size_t)p->params[i].shape[0], width = p->params[i].n / rows;
        for (int k = 0; k < m->n; k++)
            for (size_t r = 0; m->v[k].param == i && r < m->v[k].n / width; r++) seen[m->v[k].first / width + r]++;
        for (size_t r = 0; r < rows && !s; r++)
            if (seen[r] != 1)
                s = hy_error(HY_EINPUT, "the %s layout has %s for row %zu of parameter \"%s\"", f->model_type,
                             seen[r] ? "two tensors" : "no tensor", r, p->params[i].name);
        free(seen);
    }
    return s;
}

hy_status hy_import_map_make(const hy_import_family *f, const hy_program *p, hy_import_map *out) {
    *out = (hy_import_map){0};
    for (const hy_import_row *row = f->rows; row->theirs; row++) {
        const int times = strstr(row->ours, "%d") ? p->spec.n_layers : 1;
        for (int layer = 0; layer < times; layer++) add_range(out, p, row, layer);
    }
    hy_status s = check_covered(f, p, out);
    if (s) hy_import_map_free(out);
    return s;
}

void hy_import_map_free(hy_import_map *m) {
    free(m->v);
    *m = (hy_import_map){0};
}

const hy_import_range *hy_import_map_find(const hy_import_map *m, const char *theirs) {
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->v[i].theirs.name, theirs)) return &m->v[i];
    return NULL;
}

// ---------------------------------------------------------------------------------------------------- a folder
static hy_status read_spec(hy_import *m) {
    hy_json *config;
    HY_TRY(hy_json_read(m->config_path, CONFIG_MAX, &config));
    const char *type;
    hy_status s = hy_json_get_string(config, m->config_path, "model_type", &type);
    if (!s && !(m->family = hy_import_find(type)))
        s = hy_error(HY_EINPUT, "%s: \"model_type\": \"%.60s\" is not a family that this build reads (hymba is)", m->config_path, type);
    if (!s) s = m->family->spec(config, m->config_path, &m->spec);
    hy_json_free(config);
    if (!s) {
        s = hy_model_spec_check(&m->spec, NULL);
        if (s) hy_error_context(s, "%s", m->config_path);
    }
    return s;
}

hy_status hy_import_open(const char *dir, hy_import **out) {
    *out = NULL;
    hy_import *m = hy_xcalloc(1, sizeof *m);
    m->config_path = hy_asprintf("%s/config.json", dir);
    hy_status s = read_spec(m);
    if (!s) {
        char *path = hy_asprintf("%s/model.safetensors", dir);
        s = hy_st_open(path, 0, &m->weights);
        free(path);
    }
    if (s) hy_import_close(m);
    else *out = m;
    return s;
}

void hy_import_close(hy_import *m) {
    if (!m) return;
    hy_st_close(m->weights);
    free(m->config_path);
    free(m);
}

// A tied model's file may hold the output matrix too; another one would make the file a different model from its configuration.
static hy_status check_tied(const hy_import *m) {
    const hy_import_family *f = m->family;
    const hy_st_tensor *copy = f->tied_copy ? hy_st_find(m->weights, f->tied_copy) : NULL;
    const hy_st_tensor *table = f->tied_copy ? hy_st_find(m->weights, f->tied_to) : NULL;
    if (!m->spec.tied || !copy || !table) return HY_OK;
    if (copy->n == table->n && copy->dtype == table->dtype && !memcmp(copy->data, table->data, copy->n * hy_st_dtype_size(copy->dtype)))
        return HY_OK;
    return hy_error(HY_EINPUT, "%s says that the output matrix is tied to the embedding, but in %s \"%s\" and \"%s\" differ",
                    m->config_path, hy_st_path(m->weights), f->tied_copy, f->tied_to);
}

hy_status hy_import_weights(const hy_import *m, const hy_import_map *map, hy_params *w, hy_buf *report) {
    hy_st_want *want = hy_xcalloc((size_t)map->n, sizeof *want);
    for (int i = 0; i < map->n; i++) want[i] = map->v[i].theirs;
    hy_status s = check_tied(m);
    if (!s) s = hy_st_match(m->weights, want, map->n, m->config_path, m->spec.tied ? m->family->tied_copy : NULL, report);
    for (int i = 0; i < map->n && !s; i++) {
        const hy_import_range *r = &map->v[i];
        s = hy_checkpoint_set(w, r->param, r->first, hy_st_find(m->weights, r->theirs.name), 0, r->n);
    }
    free(want);
    return s;
}
