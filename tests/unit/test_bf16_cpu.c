// test_bf16_cpu.c - computing in bfloat16 on the CPU: blocks of rows, whole models in chunks, in batches and on
// threads. Each kernel over odd shapes is tested beside its other paths (KT_CPU_BF16 of kernel_memory.h).
#include "tests/unit/kernel_test.h"

#include "core/family/model_file.h"

// Products of more rows than a block holds, and of numbers of rows that end in a block too small to stand alone,
// against float32 kernels on the same numbers: outputs are rounded once, gradients of weights not at all.
// With AVX2 products are those of copies in float32, with AVX-512 those of a processor that multiplies bfloat16.
static void blocks(void **state) {
    (void)state;
    const int Ms[] = {257, 271, 272, 600}, K = 1030, N = 1040;
    for (size_t i = 0; i < 2 * (sizeof Ms / sizeof *Ms); i++) {
        const int M = Ms[i / 2];
        const hy_isa isa = i % 2 && hy_isa_best() > HY_ISA_AVX2 ? HY_ISA_AVX2 : hy_isa_best();
        kt_mat x = kt_new(HY_BF16, M, K, K + 3), w = kt_new(HY_BF16, N, K, K), dy = kt_new(HY_BF16, M, N, N + 1),
               y = kt_new(HY_BF16, M, N, N + 2), dx = kt_new(HY_BF16, M, K, K + 1), dw = kt_new(HY_F32, N, K, K),
               db = kt_new(HY_F32, 1, N, N);
        kt_random(&x, 1, 1, 0), kt_random(&w, 2, 1, 0), kt_random(&dy, 3, 1, 0), kt_random(&dx, 4, 1, 0);
        kt_fill(&dw, 1), kt_fill(&db, 1);
        kt_mat half[] = {x, w, dy, y, dx}, wide[5], dw32 = kt_new(HY_F32, N, K, K), db32 = kt_new(HY_F32, 1, N, N);
        for (int k = 0; k < 5; k++) {
            wide[k] = kt_new(HY_F32, half[k].rows, half[k].cols, half[k].ld);
            kt_copy(&wide[k], &half[k]);
        }
        kt_fill(&dw32, 1), kt_fill(&db32, 1);
        for (int b = 0; b < 2; b++) {
            const kt_mat *v = b ? half : wide;
            const hy_linear_args f = {.M = M,
                                      .N = N,
                                      .K = K,
                                      .x = v[0].p,
                                      .w = v[1].p,
                                      .ldx = v[0].ld,
                                      .w_dtype = b ? HY_BF16 : HY_F32,
                                      .y = v[3].p,
                                      .ldy = v[3].ld};
            const hy_linear_bwd_args g = {.f = f,
                                          .dy = v[2].p,
                                          .lddy = v[2].ld,
                                          .dx = v[4].p,
                                          .lddx = v[4].ld,
                                          .dw = b ? dw.p : dw32.p,
                                          .dbias = b ? db.p : db32.p,
                                          .acc = 1};
            const hy_plan_req req = {.dtype = b ? HY_BF16 : HY_F32, .isa = isa, .threads = 2, .training = true};
            kt_run(HY_K_linear, &f, &req);
            kt_run(HY_K_linear_bwd, &g, &req);
        }
        kt_near(&y, &wide[3], 0x1p-9, "y"), kt_near(&dx, &wide[4], 0x1p-9, "dx");
        kt_near(&dw, &dw32, 1e-5, "dw"), kt_near(&db, &db32, 1e-5, "dbias");
        kt_check(&y, "y"), kt_check(&dx, "dx");
        for (int k = 0; k < 5; k++) kt_free(&wide[k]), kt_free(&half[k]);
        kt_free(&dw), kt_free(&db), kt_free(&dw32), kt_free(&db32);
    }
}

// Rounding: to nearest, ties to even, NaN stays NaN, over every upper half and what matters of the lower.
static void rounding(void **state) {
    (void)state;
    const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (uint32_t i = 0; i < 65536; i++)
        for (int k = 0; k < 6; k++) {
            const uint32_t u = i << 16 | low[k];
            float f;
            uint16_t got[3];
            memcpy(&f, &u, 4);
            hy_fast_row_round_base(&got[0], &f, 1);
            got[1] = got[2] = got[0];
            if (hy_isa_best() >= HY_ISA_AVX2) hy_fast_row_round_avx2(&got[1], &f, 1);
            if (hy_isa_best() >= HY_ISA_AVX512) hy_fast_row_round_avx512(&got[2], &f, 1);
            for (int b = 0; b < 3; b++) assert_int_equal(got[b], hy_bf16_from_f32(f));
        }
}

enum { T = 40 };
// Logits of sequence 0 of B, read `step` tokens at a time.
static float *logits_of(const hy_model *m, const hy_backend *be, int B, int step) {
    const int meta = m->p->spec.meta_tokens, total = meta + T, V = m->p->spec.vocab;
    if (!step) step = total;
    int32_t text[4 * T], ids[4 * (T + 64)], part[4 * (T + 64)];
    int rows[T + 64];
    hy_rng r = hy_rng_make(3, 3);
    for (int i = 0; i < B * T; i++) text[i] = (int32_t)hy_rng_below(&r, (uint64_t)V);
    hy_ids_with_meta(B, T, meta, text, 0, ids);
    hy_exec *e;
    hy_state *st;
    kt_ok(hy_exec_create(m->p, be, HY_BF16, HY_EXEC_INFER, B, step, step, &e), "executor");
    kt_ok(hy_state_create(m->p, be, HY_BF16, B, T, &st), "state");
    float *out = hy_xcalloc((size_t)total * (size_t)V, sizeof *out);
    for (int i = 0; i < total; i++) rows[i] = i;
    for (int at = 0; at < total; at += step) {
        const int n = total - at < step ? total - at : step;
        for (int b = 0; b < B; b++) memcpy(part + b * n, ids + b * total + at, (size_t)n * sizeof *ids);
        const hy_batch batch = {.B = B, .T = n, .ids = part, .out_rows = rows, .n_out = n};
        kt_ok(hy_exec_forward(e, m->w, &batch, st, HY_HEAD_LOGITS, NULL), "forward");
        memcpy(out + (size_t)at * (size_t)V, hy_exec_logits(e), (size_t)n * (size_t)V * sizeof *out);
    }
    hy_exec_free(e);
    hy_state_free(st);
    return out;
}

// The reference adds in one order whatever the shape: there the bits are the same in every way. The library's order may
// depend on the number of rows on processors without AVX-512 (gemm.h): there threads and batches of the same length.
static void models(void **state) {
    (void)state;
    const char *const files[] = {"hymba", "samba", "mamba", "mamba2", "llama"};
    for (size_t k = 0; k < sizeof files / sizeof *files; k++)
        for (int fast = 0; fast < 2; fast++) {
            char *path = hy_asprintf("variants/%s.yaml", files[k]);
            const char *const sets[] = {"vocab=97", "d_model=32", "layers=3", NULL};
            hy_backend be[3];
            hy_model m;
            float *want = NULL;
            for (int t = 0; t < 3; t++) {
                kt_ok(hy_backend_cpu(fast ? "auto" : "ref", t + 1, &be[t]), "backend");
                kt_ok(hy_model_open(path, sets, &be[t], HY_WEIGHTS_AUTO, HY_PRECISION_BF16, 7, &m), path);
                const size_t n = (size_t)(m.p->spec.meta_tokens + T) * (size_t)m.p->spec.vocab * sizeof(float);
                const int ways[][2] = {{1, 0}, {3, 0}, {1, 1}, {1, 7}, {2, 7}};
                for (int i = 0; i < (fast ? 1 : 5); i++) {
                    float *got = logits_of(&m, &be[t], ways[i][0], ways[i][1]);
                    if (want && memcmp(got, want, n))
                        fail_msg("%s on %s: %d threads, %d sequences in steps of %d give other bits", path,
                                 fast ? "auto" : "ref", t + 1, ways[i][0], ways[i][1]);
                    if (want) free(got);
                    if (!want) want = got;
                }
                hy_model_close(&m);
            }
            free(want);
            free(path);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks), cmocka_unit_test(rounding), cmocka_unit_test(models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
