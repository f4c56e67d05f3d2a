// test_bf16_model.c - whole models whose matrices are kept in bfloat16 against the same values in float32: folders of
// bfloat16, mixed and half files, variants, checkpoints; the bytes they take; what is refused.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/model/checkpoint.h"
#include "core/family/model_file.h"

// On AVX-512 machines every product has one order of sums, so the two agree in every bit. Elsewhere the library may add
// widened blocks in another order than a float32 matrix (kernels/cpu/gemm.h): rounding of float32 through a few layers.
#define LIBRARY_LIMIT 1e-4

enum { T = 40 };  // text tokens of a run: more than HY_GEMM_ROWS, so that prefill takes the library's path

static hy_backend backend(const char *isa) {
    hy_backend be;
    assert_int_equal(hy_backend_cpu(isa, 2, &be), HY_OK);
    return be;
}
static void need(hy_status s) {
    if (s) fail_msg("%s", hy_error_text());
}

// ---------------------------------------------------------------------------------------------------- folders
static const char golden[] = "tests/golden/hymba-tiny";
static const char *folder(void) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/hylab_test_bf16.%ld", (long)getpid());
    return path;
}
static void write_config(void) {
    char *text, *to = hy_asprintf("%s/config.json", folder()), *from = hy_asprintf("%s/config.json", golden);
    size_t n;
    need(hy_mkdirs(folder()));
    need(hy_file_read(from, 1 << 20, &text, &n));
    need(hy_file_write(to, text, n));
    free(text), free(to), free(from);
}
static void drop_folder(void) {
    const char *const names[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        char *path = hy_asprintf("%s/%s", folder(), names[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder());
}
// Half of a float that is a half: of small whole numbers.
static uint16_t half_of(int i) {
    static const uint16_t halves[] = {0x0000, 0x3c00, 0x4000, 0x4200, 0xbc00};  // 0, 1, 2, 3, -1
    return halves[i % 5];
}
// The golden weights as bfloat16, but tensors whose names contain f32 (or NULL) in float32, and contain f16 in half.
static void write_folder(const char *f32, const char *f16) {
    hy_st *st;
    char *path = hy_asprintf("%s/model.safetensors", golden);
    need(hy_st_open(path, 0, &st));
    free(path);
    hy_st_writer *w = hy_st_writer_new();
    const int n = hy_st_count(st);
    void **data = hy_xcalloc((size_t)n, sizeof *data);
    for (int i = 0; i < n; i++) {
        const hy_st_tensor *t = hy_st_at(st, i);
        const bool wide = f32 && strstr(t->name, f32), half = f16 && strstr(t->name, f16);
        float *v = data[i] = malloc(t->n * sizeof *v);
        hy_st_read_f32(t, 0, t->n, v);
        for (size_t k = 0; k < t->n && !wide; k++)
            ((uint16_t *)data[i])[k] = half ? half_of((int)k) : hy_bf16_from_f32(v[k]);
        hy_st_writer_add(w, t->name, wide ? HY_ST_F32 : half ? HY_ST_F16 : HY_ST_BF16, t->ndim, t->shape, data[i]);
    }
    write_config();
    path = hy_asprintf("%s/model.safetensors", folder());
    need(hy_st_writer_commit(w, path));
    free(path);
    for (int i = 0; i < n; i++) free(data[i]);
    free(data);
    hy_st_writer_free(w);
    hy_st_close(st);
}

// ---------------------------------------------------------------------------------------------------- running
// Logits of T text tokens, read whole (chunk 0) or `chunk` at a time, [T, vocab], and the mean loss if wanted.
static float *logits_of(const hy_model *m, const hy_backend *be, int chunk, double *loss) {
    const int meta = m->p->spec.meta_tokens, total = meta + T, V = m->p->spec.vocab, step = chunk ? chunk : total;
    int32_t text[T], ids[T + 64], labels[T + 64];
    int rows[T + 64];
    hy_rng r = hy_rng_make(3, 3);
    for (int i = 0; i < T; i++) text[i] = (int32_t)hy_rng_below(&r, (uint64_t)V);
    hy_ids_with_meta(1, T, meta, text, 0, ids);
    hy_ids_with_meta(1, T, meta, text, -1, labels);
    hy_exec *e;
    hy_state *st;
    need(hy_exec_create(m->p, be, HY_F32, HY_EXEC_INFER, 1, step, step, &e));
    need(hy_state_create(m->p, be, HY_F32, 1, T, &st));
    float *out = hy_xcalloc((size_t)total * (size_t)V, sizeof *out);
    for (int i = 0; i < total; i++) rows[i] = i;
    for (int at = 0; at < total; at += step) {
        const int n = total - at < step ? total - at : step;
        const hy_batch b = {.B = 1, .T = n, .ids = ids + at, .labels = labels + at, .out_rows = rows, .n_out = n};
        need(hy_exec_forward(e, m->w, &b, st, HY_HEAD_LOGITS | HY_HEAD_LOSS, NULL));
        memcpy(out + (size_t)at * (size_t)V, hy_exec_logits(e), (size_t)n * (size_t)V * sizeof *out);
        if (loss) *loss = hy_exec_nll_sum(e);
    }
    hy_exec_free(e);
    hy_state_free(st);
    return out;
}

static void compare(const hy_model *a, const hy_model *b, const hy_backend *be, const char *what) {
    const size_t n = (size_t)(a->p->spec.meta_tokens + T) * (size_t)a->p->spec.vocab;
    for (int chunk = 0; chunk <= 3; chunk += 1 + chunk) {  // whole, token by token, three at a time
        double la = 0, lb = 0, d = 0, s = 0;
        float *x = logits_of(a, be, chunk, &la), *y = logits_of(b, be, chunk, &lb);
        for (size_t i = 0; i < n; i++) d += pow((double)x[i] - y[i], 2), s += pow(y[i], 2);
        if (hy_isa_best() >= HY_ISA_AVX512 || be->isa == HY_ISA_REF) {
            if (memcmp(x, y, n * sizeof *x) || la != lb)
                fail_msg("%s: other bits than with the same weights in float32", what);
        } else if (!(sqrt(d) <= LIBRARY_LIMIT * sqrt(s)) || !(fabs(la - lb) <= LIBRARY_LIMIT * fabs(lb))) {
            fail_msg("%s: relative difference %.3g", what, sqrt(d / s));
        }
        assert_true(s > 0);
        free(x);
        free(y);
    }
}

static void same_values(const hy_model *a, const hy_model *b) {
    for (int i = 0; i < a->p->n_params; i++) {
        const size_t n = a->p->params[i].n;
        float *x = hy_xcalloc(n, sizeof *x), *y = hy_xcalloc(n, sizeof *y);
        need(hy_params_get(a->w, i, false, x));
        need(hy_params_get(b->w, i, false, y));
        if (memcmp(x, y, n * sizeof *x)) fail_msg("%s: other values", a->p->params[i].name);
        free(x);
        free(y);
    }
}
static hy_dtype type_of(const hy_model *m, const char *name) {
    const int i = hy_program_find_param(m->p, name);
    assert_true(i >= 0);
    return hy_params_dtype(m->w, i);
}

// ---------------------------------------------------------------------------------------------------- tests
// The matrices, and only they, are kept; the set has the bytes that this makes.
static void folder_of_bf16(void **state) {
    (void)state;
    write_folder(NULL, NULL);
    const char *const isas[] = {"auto", "ref", "base"};
    for (int k = 0; k < 3; k++) {
        const hy_backend be = backend(isas[k]);
        hy_model m, wide;
        need(hy_model_open(folder(), NULL, &be, HY_WEIGHTS_AUTO, HY_PRECISION_F32, 1, &m));
        need(hy_model_open(folder(), NULL, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &wide));
        const char *const matrices[] = {"in_proj", "out_proj", "x_proj", "dt_proj.weight", "mlp.up", "mlp.down"};
        int kept = 0;
        size_t bytes = 0;
        for (int i = 0; i < m.p->n_params; i++) {
            const hy_param *q = &m.p->params[i];
            const char *last = strncmp(q->name, "layers.", 7) ? q->name : strchr(q->name + 7, '.') + 1;
            bool matrix = !strcmp(last, "embed");
            for (int j = 0; j < 6; j++) matrix = matrix || !strcmp(last, matrices[j]);
            if (matrix != (hy_params_dtype(m.w, i) == HY_BF16)) fail_msg("%s: kept in the wrong type", q->name);
            bytes += hy_align(q->n * (matrix ? 2 : 4));
            kept += matrix;
        }
        assert_true(kept == 1 + 6 * m.p->spec.n_layers && m.w->bytes == bytes && !hy_program_keeps_bf16(wide.p));
        same_values(&m, &wide);
        compare(&m, &wide, &be, isas[k]);
        hy_model_close(&m);
        hy_model_close(&wide);
    }
    drop_folder();
}

// A parameter of two tensors of unlike types, and half, become float32; the others stay.
static void mixed_folder(void **state) {
    (void)state;
    const hy_backend be = backend("auto");
    hy_model m, wide, all;
    write_folder("layers.1.moe.experts.0.gate_proj", "layers.2.mamba.out_proj");
    need(hy_model_open(folder(), NULL, &be, HY_WEIGHTS_AUTO, HY_PRECISION_F32, 1, &m));
    need(hy_model_open(folder(), NULL, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &wide));
    need(hy_model_open(folder(), NULL, &be, HY_WEIGHTS_BF16, HY_PRECISION_F32, 1, &all));
    assert_int_equal(type_of(&m, "layers.1.mlp.up"), HY_F32);
    assert_int_equal(type_of(&m, "layers.2.out_proj"), HY_F32);
    assert_int_equal(type_of(&m, "layers.0.mlp.up"), HY_BF16);
    assert_int_equal(type_of(&m, "layers.1.out_proj"), HY_BF16);
    assert_int_equal(type_of(&all, "layers.1.mlp.up"), HY_BF16);
    assert_int_equal(type_of(&all, "layers.1.conv.weight"), HY_F32);
    same_values(&m, &wide);
    compare(&m, &wide, &be, "mixed");
    const int i = hy_program_find_param(m.p, "layers.2.out_proj");
    const float *v = hy_params_ptr(m.w, i, false);
    assert_true(v[0] == 0 && v[1] == 1 && v[2] == 2 && v[3] == 3 && v[4] == -1);
    hy_model_close(&m), hy_model_close(&wide), hy_model_close(&all);
    drop_folder();
}

// A file that was cut, and a tensor that is missing: refused before parameters are made, whatever the choice.
static void damaged_folder(void **state) {
    (void)state;
    const hy_backend be = backend("auto");
    hy_model m;
    write_folder(NULL, NULL);
    char *path = hy_asprintf("%s/model.safetensors", folder());
    assert_int_equal(truncate(path, 20000), 0);
    for (int how = HY_WEIGHTS_F32; how <= HY_WEIGHTS_BF16; how++) {
        assert_int_equal(hy_model_open(folder(), NULL, &be, (hy_weights)how, HY_PRECISION_F32, 1, &m), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), "model.safetensors"));
    }
    hy_st_writer *w = hy_st_writer_new();
    hy_st_writer_add(w, "model.embed_tokens.weight", HY_ST_BF16, 2, (int64_t[]){1, 1}, "ab");
    need(hy_st_writer_commit(w, path));
    hy_st_writer_free(w);
    assert_int_equal(hy_model_open(folder(), NULL, &be, HY_WEIGHTS_AUTO, HY_PRECISION_F32, 1, &m), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "model.memory_tokens"));
    free(path);
    drop_folder();
}

// Variants with random weights: those of float32, rounded.
static void variants(void **state) {
    (void)state;
    const hy_backend be = backend("auto");
    const char *const files[] = {"hymba", "hymba-gate", "parallel-sum", "samba", "llama-relu2", "mamba", "mamba2"};
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
        char *path = hy_asprintf("variants/%s.yaml", files[k]);
        const char *const sets[] = {"vocab=97", NULL};
        hy_model m, wide;
        need(hy_model_open(path, sets, &be, HY_WEIGHTS_BF16, HY_PRECISION_F32, 7, &m));
        need(hy_model_open(path, sets, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 7, &wide));
        assert_true(hy_program_keeps_bf16(m.p));
        for (int i = 0; i < m.p->n_params; i++) {
            float *v = hy_params_ptr(wide.w, i, false);
            for (size_t j = 0; j < m.p->params[i].n && m.p->params[i].kept == HY_BF16; j++)
                v[j] = hy_f32_from_bf16(hy_bf16_from_f32(v[j]));
        }
        same_values(&m, &wide);
        compare(&m, &wide, &be, path);
        hy_model_close(&m), hy_model_close(&wide);
        free(path);
    }
}

// A checkpoint of such a set holds each tensor in its type, and comes back so, or as float32.
static void checkpoint(void **state) {
    (void)state;
    const hy_backend be = backend("auto");
    hy_model m, back, wide;
    char *path = hy_asprintf("%s.safetensors", folder());
    need(hy_model_open("variants/hymba.yaml", NULL, &be, HY_WEIGHTS_BF16, HY_PRECISION_F32, 7, &m));
    need(hy_checkpoint_save(m.w, path));
    need(hy_model_open(path, NULL, &be, HY_WEIGHTS_AUTO, HY_PRECISION_F32, 1, &back));
    need(hy_model_open(path, NULL, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &wide));
    assert_true(back.w->bytes == m.w->bytes && !memcmp(back.w->data, m.w->data, m.w->bytes));
    assert_true(!hy_program_keeps_bf16(wide.p));
    same_values(&wide, &m);
    hy_model_close(&m), hy_model_close(&back), hy_model_close(&wide);
    unlink(path);
    free(path);
}

static void training_is_refused(void **state) {
    (void)state;
    const hy_backend be = backend("auto");
    hy_model m;
    hy_exec *e;
    hy_weights how;
    need(hy_model_open("variants/hymba.yaml", NULL, &be, HY_WEIGHTS_BF16, HY_PRECISION_F32, 7, &m));
    assert_int_equal(hy_params_want_grad(m.w), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "inference"));
    assert_int_equal(hy_exec_create(m.p, &be, HY_F32, HY_EXEC_TRAIN, 1, 20, 0, &e), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "inference"));
    hy_model_close(&m);
    assert_int_equal(hy_weights_parse("f16", &how), HY_EINPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folder_of_bf16), cmocka_unit_test(mixed_folder), cmocka_unit_test(damaged_folder),
        cmocka_unit_test(variants),       cmocka_unit_test(checkpoint),   cmocka_unit_test(training_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
