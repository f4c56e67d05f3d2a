// test_save.c - named values and maps in files for others: every format is read here by hand and compared, bit by bit,
// with what a probe of our own sees of the same model on the same tokens.
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/probe/capture.h"
#include "analysis/probe/save.h"
#include "core/format/arrays.h"
#include "core/format/safetensors.h"
#include "core/spec/spec_read.h"

// Min-max in double here, of floats there.
static const double TOL_MINMAX = 1e-6;

#define COMMON "vocab: 13\nd_model: 12\ninit: {std: 0.3}\nmlp: {kind: silu, d_ff: 10}\n"
static const char *const models[] = {
    "name: hymba\nlayers: 3\nmixer: parallel\nmeta_tokens: 3\nattention: {heads: 2, kv_heads: 1, window: 3, "
    "global_layers: [0]}\nkv_share: [[1, 2]]\nssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n" COMMON,
    "name: mixed2\nlayers: 2\nmeta_tokens: 1\nattention: {heads: 3, kv_heads: 3, d_qk: 4, qk_norm: true}\npattern: "
    "[{mixer: attention}, {mixer: ssm}]\nssm: {kind: mamba2, expand: 2, d_state: 3, d_conv: 3, head_dim: 6, groups: "
    "2}\n" COMMON,
};
enum { N_MODELS = sizeof models / sizeof *models, TEXT = 11, MOST = 200 };

typedef struct {
    hy_model_spec *spec;
    hy_program *p;
    hy_backend be;
    hy_params *w;
    int32_t ids[TEXT];
    int S, n;
    struct {
        char name[64];
        int rows, columns;
        float *v;
    } seen[MOST];  // by a probe of our own, and maps as attnmap.c gives them
    hy_map_options o;
} rig;

static char folder[] = "/tmp/hylab-save-XXXXXX";

static void keep(rig *r, const char *name, const float *data, int rows, int columns) {
    assert_true(r->n < MOST);
    snprintf(r->seen[r->n].name, sizeof r->seen[r->n].name, "%s", name);
    r->seen[r->n].rows = rows, r->seen[r->n].columns = columns;
    r->seen[r->n].v = hy_xcalloc((size_t)rows * columns, sizeof(float));
    memcpy(r->seen[r->n++].v, data, (size_t)rows * columns * sizeof(float));
}

static bool wants(void *user, const char *name) {
    (void)user, (void)name;
    return true;
}
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    keep(user, name, data, rows, width);
    return HY_OK;
}

static void keep_map(rig *r, const hy_map_values *v, hy_map_src src, int index, const char *name) {
    float *a = hy_xcalloc((size_t)v->S * v->S, sizeof *a);
    assert_int_equal(hy_map_full(v, src, index, &r->o, 0, a), HY_OK);
    keep(r, name, a, v->S, v->S);
    free(a);
}
static hy_status on_layer(void *user, const hy_map_values *v) {
    rig *r = user;
    char name[64];
    for (int src = 0; src < 3; src++) {
        if (!hy_map_has(v, (hy_map_src)src)) continue;
        snprintf(name, sizeof name, "layers.%d.map.%s", v->layer, hy_map_src_name((hy_map_src)src));
        keep_map(r, v, (hy_map_src)src, -1, name);
    }
    for (int h = 0; h < v->heads; h++) {
        snprintf(name, sizeof name, "layers.%d.map.attention.head.%d", v->layer, h);
        keep_map(r, v, HY_MAP_ATTENTION, h, name);
    }
    for (int k = 0; v->D && k < hy_map_ssm_count(v); k++) {
        snprintf(name, sizeof name, "layers.%d.map.ssm.%s.%d", v->layer, v->ssm_heads ? "head" : "channel", k);
        keep_map(r, v, HY_MAP_SSM, k, name);
    }
    return HY_OK;
}

static void rig_open(rig *r, int k) {
    hy_yaml *y = NULL;
    *r = (rig){.spec = hy_xcalloc(1, sizeof *r->spec)};
    if (hy_yaml_parse("model", models[k], strlen(models[k]), &y) || hy_spec_from_yaml(y, r->spec) ||
        hy_model_build(r->spec, &r->p) || hy_backend_cpu("auto", 2, &r->be) ||
        hy_params_create(r->p, &r->be, HY_F32, &r->w) || hy_params_init(r->w, 40 + k))
        fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    hy_rng rng = hy_rng_make(7, 5);
    for (int i = 0; i < TEXT; i++) r->ids[i] = (int32_t)hy_rng_below(&rng, 13);
    r->S = TEXT + r->spec->meta_tokens;
}

// What there is to be seen. The logits come of an executor of their own.
static void rig_look(rig *r) {
    bool want[8];
    memset(want, 1, sizeof want);
    hy_capture *c;
    assert_int_equal(hy_capture_open(r->p, r->w, TEXT, &c), HY_OK);
    assert_int_equal(hy_capture_probe(c, r->ids, &(hy_probe){wants, got, r}), HY_OK);
    assert_int_equal(hy_capture_run(c, r->ids, want, on_layer, r), HY_OK);
    hy_capture_close(c);
    hy_exec *e;
    int32_t ids[64], rows[64];
    hy_ids_with_meta(1, TEXT, r->spec->meta_tokens, r->ids, 0, ids);
    for (int i = 0; i < r->S; i++) rows[i] = i;
    assert_int_equal(hy_exec_create(r->p, &r->be, HY_F32, HY_EXEC_INFER, 1, r->S, r->S, &e), HY_OK);
    const hy_batch b = {.B = 1, .T = r->S, .ids = ids, .out_rows = rows, .n_out = r->S};
    assert_int_equal(hy_exec_forward(e, r->w, &b, NULL, HY_HEAD_LOGITS, NULL), HY_OK);
    keep(r, "logits", hy_exec_logits(e), r->S, r->spec->vocab);
    hy_exec_free(e);
}

static void rig_close(rig *r) {
    for (int i = 0; i < r->n; i++) free(r->seen[i].v);
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->spec);
}

static const float *seen(const rig *r, const char *name, int *rows, int *columns) {
    for (int i = 0; i < r->n; i++)
        if (!strcmp(r->seen[i].name, name)) {
            *rows = r->seen[i].rows, *columns = r->seen[i].columns;
            return r->seen[i].v;
        }
    fail_msg("%s was not seen", name);
    return NULL;
}

static void choose(const rig *r, const char *const *patterns, int n, hy_names *names) {
    if (hy_names_choose(r->p, patterns, n, names)) fail_msg("%s", hy_error_text());
}

static const char *const about[] = {"model", "a \"name\"", "positions", "meta first", NULL};
static void save(rig *r, const hy_names *names, const char *path) {
    if (hy_save(r->p, r->w, TEXT, r->ids, names, &r->o, path, about)) fail_msg("%s", hy_error_text());
}

// ---------------------------------------------------------------------------------------------------- readers
static void equal(const rig *r, const char *name, const void *data, size_t bytes) {
    int rows, columns;
    if (!strcmp(name, "ids")) {
        const int32_t *ids = data;
        assert_int_equal(bytes, 4 * (size_t)r->S);
        for (int i = 0; i < r->S; i++)
            assert_int_equal(ids[i], i < r->spec->meta_tokens ? -(i + 1) : r->ids[i - r->spec->meta_tokens]);
        return;
    }
    const float *want = seen(r, name, &rows, &columns);
    assert_int_equal(bytes, 4 * (size_t)rows * columns);
    if (memcmp(want, data, bytes)) fail_msg("%s: other bits than a probe sees", name);
}

// NumPy's format 1.0 by its specification.
static void npy_equal(const rig *r, const char *path, const char *name) {
    char *d, shape[64], descr[8], *at;
    size_t n;
    int rows = r->S, columns = 0;
    if (hy_file_read(path, 1 << 24, &d, &n)) fail_msg("%s", hy_error_text());
    assert_true(n > 10 && !memcmp(d, "\x93NUMPY\x01\x00", 8));
    const size_t header = (unsigned char)d[8] + 256u * (unsigned char)d[9];
    assert_true((10 + header) % 64 == 0 && n > 10 + header && d[10 + header - 1] == '\n');
    char *text = hy_asprintf("%.*s", (int)header, d + 10);
    const bool ids = !strcmp(name, "ids");
    if (!ids) seen(r, name, &rows, &columns);
    assert_true(text[0] == '{' && strstr(text, "'fortran_order': False, ") && strchr(text, '}'));
    assert_true((at = strstr(text, "'descr': '")) && sscanf(at, "'descr': '%7[^']'", descr) == 1);
    assert_string_equal(descr, ids ? "<i4" : "<f4");
    assert_true((at = strstr(text, "'shape': ")) && sscanf(at, "'shape': %63[^)]", shape) == 1);
    char *wanted = ids ? hy_asprintf("(%d,", rows) : hy_asprintf("(%d, %d", rows, columns);
    assert_string_equal(shape, wanted);
    equal(r, name, d + 10 + header, n - 10 - header);
    free(wanted), free(text), free(d);
}

// The header as text: the entry of a name, its shape and its place.
static void safetensors_equal(const rig *r, const char *path, const hy_names *names) {
    char *d;
    size_t n, end = 0;
    uint64_t length;
    if (hy_file_read(path, 1 << 24, &d, &n)) fail_msg("%s", hy_error_text());
    memcpy(&length, d, 8);
    assert_true(length < n);
    char *text = hy_asprintf("%.*s", (int)length, d + 8);
    assert_non_null(strstr(text, "\"model\": \"a \\\"name\\\"\""));
    for (int i = 0; i < names->n; i++) {
        const char *name = names->v[i].name;
        const bool ids = !strcmp(name, "ids");
        int rows = r->S, columns = 0, from, to;
        char *key = hy_asprintf("\"%s\": {", name), *at = strstr(text, key), *wanted;
        assert_non_null(at);
        if (!ids) seen(r, name, &rows, &columns);
        wanted = ids ? hy_asprintf("\"dtype\": \"I32\", \"shape\": [%d], \"data_offsets\": [", rows)
                     : hy_asprintf("\"dtype\": \"F32\", \"shape\": [%d, %d], \"data_offsets\": [", rows, columns);
        assert_memory_equal(at + strlen(key), wanted, strlen(wanted));
        assert_int_equal(sscanf(at + strlen(key) + strlen(wanted), "%d, %d", &from, &to), 2);
        assert_true(from >= 0 && to > from && 8 + length + (size_t)to <= n);
        equal(r, name, d + 8 + length + from, (size_t)(to - from));
        end = (size_t)to > end ? (size_t)to : end;
        free(key), free(wanted);
    }
    assert_int_equal(8 + length + end, n);
    free(text), free(d);
    hy_st *st;  // and the project's own reader takes it
    if (hy_st_open(path, 0, &st)) fail_msg("%s", hy_error_text());
    assert_int_equal(hy_st_count(st), names->n);
    assert_string_equal(hy_st_meta(st, "positions"), "meta first");
    hy_st_close(st);
}

static void csv_equal(const rig *r, const char *path, const hy_names *names) {
    char *d, name[64];
    size_t n, lines = 0, wanted = 0;
    int row, column, used, rows, columns;
    float v;
    if (hy_file_read(path, 1 << 26, &d, &n)) fail_msg("%s", hy_error_text());
    assert_memory_equal(d, "name,row,column,value\n", 22);
    for (const char *at = d + 22; *at; at += used + 1, lines++) {
        assert_int_equal(sscanf(at, "%63[^,],%d,%d,%f%n", name, &row, &column, &v, &used), 4);
        assert_true(at[used] == '\n');
        if (!strcmp(name, "ids")) continue;
        const float *want = seen(r, name, &rows, &columns);
        assert_true(row < rows && column < columns && want[row * columns + column] == v);
    }
    for (int i = 0; i < names->n; i++) {
        const int c = hy_named_columns(r->p, &names->v[i], r->S);
        wanted += (size_t)r->S * (size_t)(c ? c : 1);
    }
    assert_int_equal(lines, wanted);
    free(d);
}

// ---------------------------------------------------------------------------------------------------- tests
static void test_all_of_it(void **state) {
    (void)state;
    static const char *const all[] = {"*", "*.map.*", "*.map.*.head.*", "layers.0.*", "*.map.*.channel.*"};
    for (int k = 0; k < N_MODELS; k++) {
        rig r;
        hy_names names;
        rig_open(&r, k);
        rig_look(&r);
        choose(&r, all, k == 0 ? 5 : 4, &names);  // the other has no channels
        assert_int_equal(names.n, r.n + 1);       // with the ids, each once
        char *st = hy_asprintf("%s/all.safetensors", folder), *dir = hy_asprintf("%s/npy", folder),
             *csv = hy_asprintf("%s/all.csv", folder);
        save(&r, &names, st);
        safetensors_equal(&r, st, &names);
        save(&r, &names, dir);
        for (int i = 0; i < names.n; i++) {
            char *path = hy_asprintf("%s/%s.npy", dir, names.v[i].name);
            npy_equal(&r, path, names.v[i].name);
            free(path);
        }
        save(&r, &names, csv);
        csv_equal(&r, csv, &names);
        hy_names_free(&names);
        free(st), free(dir), free(csv);
        rig_close(&r);
    }
}

typedef struct {
    rig *r;
    const hy_named *a;
    const float *saved;
} one_map;
static hy_status compare_map(void *user, const hy_map_values *v) {
    const one_map *m = user;
    const size_t n = (size_t)v->S * v->S;
    float *want = hy_xcalloc(n, sizeof *want);
    assert_int_equal(hy_map_full(v, m->a->src, m->a->index, &m->r->o, 0, want), HY_OK);
    const double tol = m->r->o.norm == HY_MAP_MINMAX ? TOL_MINMAX : 0;
    for (size_t e = 0; e < n; e++)
        if (!(fabs((double)want[e] - m->saved[e]) <= tol)) fail_msg("%s: %g, not %g", m->a->name, m->saved[e], want[e]);
    free(want);
    return HY_OK;
}
static void expected(rig *r, const hy_named *a, const hy_st_tensor *t) {
    bool want[3] = {false};
    float *v = hy_xcalloc((size_t)r->S * r->S, sizeof *v);
    hy_capture *c;
    want[a->layer] = true;
    hy_st_read_f32(t, 0, (size_t)r->S * r->S, v);
    assert_int_equal(hy_capture_open(r->p, r->w, TEXT, &c), HY_OK);
    assert_int_equal(hy_capture_run(c, r->ids, want, compare_map, &(one_map){r, a, v}), HY_OK);
    hy_capture_close(c);
    free(v);
}

// Other norms of maps: those of attnmap.c; min-max up to the rounding of floats.
static void test_norms(void **state) {
    (void)state;
    static const char *const maps[] = {"layers.1.map.attention*", "layers.1.map.ssm", "layers.0.map.ssm.channel.2?"};
    for (int norm = HY_MAP_MINMAX; norm <= HY_MAP_SIGNED; norm++) {
        rig r;
        hy_names names;
        hy_st *f;
        rig_open(&r, 0);
        r.o.norm = (hy_map_norm)norm;
        choose(&r, maps, 3, &names);
        assert_int_equal(names.n, 1 + 1 + 4);  // no single heads: the pattern does not say so
        char *st = hy_asprintf("%s/n.safetensors", folder);
        save(&r, &names, st);
        assert_int_equal(hy_st_open(st, 0, &f), HY_OK);
        for (int i = 0; i < names.n; i++) expected(&r, &names.v[i], hy_st_find(f, names.v[i].name));
        hy_st_close(f);
        hy_names_free(&names);
        free(st);
        rig_close(&r);
    }
}

static void test_names(void **state) {
    (void)state;
    rig r;
    hy_names names;
    rig_open(&r, 0);
    choose(&r, (const char *const[]){"layers.*.attn.q", "layers.1.*.q"}, 2, &names);
    assert_int_equal(names.n, 3);
    hy_names_free(&names);
    choose(&r, (const char *const[]){"layers.0.*"}, 1, &names);  // no maps: nothing says so
    for (int i = 0; i < names.n; i++) assert_true(names.v[i].value != HY_NOVAL);
    hy_names_free(&names);
    choose(&r, (const char *const[]){"layers.1.map.*", "layers.0.map.attention.head.1"}, 2, &names);
    assert_int_equal(names.n, 3 + 1);  // each pattern by what it says
    assert_string_equal(names.v[0].name, "layers.0.map.attention.head.1");
    hy_names_free(&names);
    assert_int_equal(hy_names_choose(r.p, (const char *const[]){"ids", "layers.*.map.atention"}, 2, &names), HY_EINPUT);
    assert_string_equal(hy_error_text(), "nothing of this model is named \"layers.*.map.atention\" (did you mean "
                                         "\"layers.*.map.attention\"?)");
    assert_null(names.v);
    hy_names_all(r.p, &names);
    for (int i = 0; i < names.n; i++) {
        hy_buf b = {0};
        hy_named_meaning(r.p, &names.v[i], &b);
        assert_true(b.n > 0);
        free(b.s);
    }
    hy_names_free(&names);
    rig_close(&r);
}

static int files_in(const char *dir) {
    DIR *d = opendir(dir);
    int n = 0;
    for (const struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

// What cannot be is refused before the work, and what breaks off leaves the old file.
static void test_refusals(void **state) {
    (void)state;
    rig r;
    hy_names names;
    rig_open(&r, 0);
    choose(&r, (const char *const[]){"layers.*"}, 1, &names);
    const struct {
        const char *path, *says;
        int S;
    } bad[] = {{"x.csv", "too many for a line each in CSV", 100000},
               {"x.npy", "an .npy file holds one array", 14},
               {"y.csv/x.safetensors", "cannot create folder", 14}};
    char *old = hy_asprintf("%s/y.csv", folder);
    assert_int_equal(hy_file_write(old, "old", 3), HY_OK);
    const int files = files_in(folder);
    for (int i = 0; i < 3; i++) {
        char *path = hy_asprintf("%s/%s", folder, bad[i].path);
        assert_int_equal(hy_save_try(r.p, bad[i].S, &names, path), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), bad[i].says));
        free(path);
    }
    for (int k = 0; k < 2; k++) {
        char *path = hy_asprintf("%s/y.%s", folder, k ? "safetensors" : "csv"), *d;
        size_t n;
        assert_int_equal(hy_file_write(path, "old", 3), HY_OK);
        hy_interrupted = 1;
        assert_int_equal(hy_save(r.p, r.w, TEXT, r.ids, &names, &r.o, path, about), HY_EINTR);
        hy_interrupted = 0;
        assert_int_equal(hy_file_read(path, 100, &d, &n), HY_OK);
        assert_string_equal(d, "old");
        free(d), free(path);
    }
    assert_int_equal(files_in(folder), files + 1);  // y.safetensors; nothing half made is left
    hy_names_free(&names);
    free(old);
    rig_close(&r);
}

// An array of which a part did not come is no file.
static void test_incomplete(void **state) {
    (void)state;
    static const char *const paths[] = {"part.safetensors", "part", "part.csv", "part.npy"};
    const float v[6] = {1, 2, 3, 4, 5, 6};
    const hy_array a = {.name = "a.b", .rows = 2, .columns = 3};
    for (int i = 0; i < 4; i++) {
        char *path = hy_asprintf("%s/%s", folder, paths[i]);
        hy_arrays *w;
        assert_int_equal(hy_arrays_open(path, &a, 1, NULL, &w), HY_OK);
        assert_int_equal(hy_arrays_put(w, 0, 0, v, 3), HY_OK);
        assert_int_equal(hy_arrays_commit(w), HY_EFAIL);
        assert_non_null(strstr(hy_error_text(), "of \"a.b\" 3 of 6 values were made"));
        hy_arrays_free(w);
        if (i != 1) assert_false(hy_file_exists(path));
        if (i == 1) assert_int_equal(files_in(path), 0);
        free(path);
    }
}

static int prepare(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}
static int clean(void **state) {
    (void)state;
    char *command = hy_asprintf("rm -rf %s", folder);
    const int rc = system(command);
    free(command);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_of_it), cmocka_unit_test(test_norms),
                                       cmocka_unit_test(test_names), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_incomplete)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
