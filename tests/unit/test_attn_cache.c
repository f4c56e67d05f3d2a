// test_attn_cache.c - attention with a cache and kv_append: whole sequence == any chunking == token by token through a
// ring that wraps several times; a sequence in a ragged, padded batch gives the bits it gives alone (on a GPU: the same
// to rounding, where a token's keys are cut into other ranges). Slots that nothing was written to hold NaN.
#include "tests/unit/attn_fixture.h"

// Chunks sum the same products in another order.
#define TOL_CHUNK_F32 2e-6
#define TOL_CHUNK_F64 1e-13
// On a GPU chunks have other largest scores when weights are rounded, and single tokens multiply in float32; see
// test_attention.c.
static const struct {
    double o, lse;
} limits[KT_PRECISIONS] = {
    [KT_F32] = {TOL_CHUNK_F32, TOL_CHUNK_F32}, [KT_TF32] = {0x1p-10, 0x1p-10}, [KT_BF16] = {0x1p-8, TOL_CHUNK_F32}};
static double limit_o(hy_dtype type, int path) {
    return type == HY_F64 ? TOL_CHUNK_F64 : limits[KT_CUDA ? path : KT_F32].o;
}
static double limit_lse(hy_dtype type, int path) {
    return type == HY_F64 ? TOL_CHUNK_F64 : limits[KT_CUDA ? path : KT_F32].lse;
}

// A cache of NaN between sentinels.
typedef struct {
    mat k, v;
    int cap;
} cache;
static cache cache_make(const prob *p, int B, int cap) {
    cache c = {mat_make(p->type, (size_t)B * p->kv * cap, (size_t)p->dqk, 0),
               mat_make(p->type, (size_t)B * p->kv * cap, (size_t)p->dv, 0), cap};
    mat_fill(&c.k, NAN), mat_fill(&c.v, NAN);
    return c;
}
static void cache_free(cache *c) {
    mat_check_edges(&c->k), mat_check_edges(&c->v);
    mat_free(&c->k), mat_free(&c->v);
}
static void append(const prob *p, cache *c, int path, int threads) {
    hy_kv_append_args a = {.B = p->B,
                           .T = p->T,
                           .kv_heads = p->kv,
                           .d_qk = p->dqk,
                           .d_v = p->dv,
                           .meta = p->meta,
                           .k = p->k.p,
                           .v = p->v.p,
                           .ldk = p->k.ld,
                           .ldv = p->v.ld,
                           .pos = kt_dev(p->type, p->pos),
                           .len = kt_dev(p->type, p->len),
                           .cache = {c->k.p, c->v.p, c->cap}};
    hy_plan_req r = req_of(p->type, path, threads);
    kt_run(HY_K_kv_append, &a, &r);
}
static void attend(const prob *p, cache *c, int path, int threads) {
    hy_attention_args a = prob_args(p);
    a.cache = (hy_kv_view){c->k.p, c->v.p, c->cap};
    hy_plan_req r = req_of(p->type, path, threads);
    kt_run(HY_K_attention, &a, &r);
}
static void copy_rows(mat *dst, size_t to, const mat *src, size_t from, size_t n) {
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < src->cols; c++) set(dst, to + r, c, at(src, from + r, c));
}

// Runs the sequences of `whole` (its B, len; T the longest) in chunks of at most `chunk` tokens, all sequences in one
// ragged batch, and puts the outputs into `out` at their places in whole. Sequence b joins `lag * b` chunks late, so
// that positions differ.
static void run_chunks(const prob *whole, mat *out, mat *lse, int chunk, int lag, int cap, int align, int path,
                       int threads) {
    prob p = prob_make_aligned(whole->type, whole->B, chunk, whole->heads, whole->kv, whole->dqk, whole->dv,
                               whole->window, whole->meta, align, 1);
    cache c = cache_make(&p, p.B, cap);
    int *done = hy_xcalloc((size_t)p.B, sizeof *done), left = p.B;
    for (int step = 0; left > 0; step++) {
        left = 0;
        for (int b = 0; b < p.B; b++) {
            int n = whole->len[b] - done[b];
            if (n > chunk) n = chunk;
            if (step < lag * b) n = 0;
            if (n > 1 && step % 3 == 2) n--;  // ragged
            p.pos[b] = done[b], p.len[b] = n;
            size_t from = (size_t)b * whole->T + done[b], to = (size_t)b * chunk;
            copy_rows(&p.q, to, &whole->q, from, (size_t)n);
            copy_rows(&p.k, to, &whole->k, from, (size_t)n);
            copy_rows(&p.v, to, &whole->v, from, (size_t)n);
        }
        attend(&p, &c, path, threads);
        append(&p, &c, path, threads);
        for (int b = 0; b < p.B; b++) {
            copy_rows(out, (size_t)b * whole->T + done[b], &p.o, (size_t)b * chunk, (size_t)p.len[b]);
            copy_rows(lse, (size_t)b * whole->T + done[b], &p.lse, (size_t)b * chunk, (size_t)p.len[b]);
            for (int t = p.len[b]; t < chunk; t++)
                for (size_t x = 0; x < p.o.cols; x++) assert_true(at(&p.o, (size_t)(b * chunk + t), x) == 0);
            done[b] += p.len[b];
            if (done[b] < whole->len[b]) left++;
        }
        prob_check_edges(&p);
    }
    free(done), cache_free(&c), prob_free(&p);
}

static const int shapes[][8] = {  // T heads kv dqk dv window meta chunk
    {40, 2, 1, 8, 8, 5, 3, 1},      {40, 2, 1, 8, 8, 5, 3, 4},        {90, 4, 2, 20, 3, 7, 0, 5},
    {90, 5, 1, 64, 128, 16, 7, 23}, {90, 3, 3, 16, 16, 0, 2, 17},     {90, 6, 2, 64, 64, 30, 7, 1},
    {290, 1, 1, 32, 20, 0, 130, 1}, {240, 4, 1, 72, 72, 50, 130, 64}, {100, 9, 1, 16, 24, 1, 0, 3},
    {200, 2, 2, 2, 2, 64, 1, 130}};
#define SHAPES (sizeof shapes / sizeof *shapes)

static void check_shape(const int *c, hy_dtype type, int align, int path) {
    prob p = prob_make_aligned(type, 2, c[0], c[1], c[2], c[3], c[4], c[5], c[6], align, (uint64_t)c[0]);
    p.len[1] = c[0] * 2 / 3;
    prob_forward(&p, path, 1);
    mat o = mat_make(type, p.o.rows, p.o.cols, 0), lse = mat_make(p.lse.type, p.lse.rows, p.lse.cols, 0);
    mat_fill(&o, 0), mat_fill(&lse, 0);
    run_chunks(&p, &o, &lse, c[7], 2, hy_attn_cap(c[0], c[5], c[6]), align, path, 2);
    double e = mat_error(&o, &p.o), l = mat_error(&lse, &p.lse);
    if (!(e <= limit_o(type, path) && l <= limit_lse(type, path)))
        fail_msg("T %d chunk %d on %s: o off by %g, lse by %g", c[0], c[7], kt_path_name(path), e, l);
    // each sequence alone, on one thread, with a larger cache: the same bits
    for (int b = 0; b < 2; b++) {
        prob one = prob_make_aligned(type, 1, p.len[b], p.heads, p.kv, p.dqk, p.dv, p.window, p.meta, align, 3);
        size_t from = (size_t)b * p.T, n = (size_t)p.len[b];
        copy_rows(&one.q, 0, &p.q, from, n), copy_rows(&one.k, 0, &p.k, from, n), copy_rows(&one.v, 0, &p.v, from, n);
        prob_forward(&one, path, 1);
        for (size_t r = 0; r < n; r++)
            for (size_t x = 0; x < one.o.cols; x++) assert_true(at(&one.o, r, x) == at(&p.o, from + r, x));
        if (c[7] == 1) {  // chunks of one token are cut the same way however the batch lags
            mat o1 = mat_make(type, n, one.o.cols, 0), l1 = mat_make(p.lse.type, n, one.lse.cols, 0),
                o2 = mat_make(type, n, one.o.cols, 0);
            run_chunks(&one, &o1, &l1, 1, 0, hy_attn_cap(c[0], c[5], c[6]) + 3, align, path, 1);
            copy_rows(&o2, 0, &o, from, n);
            if (!(mat_error(&o1, &o2) <= (KT_CUDA && type != HY_F64 ? limit_o(type, path) : 0)))
                fail_msg("T %d on %s: sequence %d alone differs by %g", c[0], kt_path_name(path), b,
                         mat_error(&o1, &o2));
            mat_free(&o1), mat_free(&l1), mat_free(&o2);
        }
        prob_free(&one);
    }
    mat_free(&o), mat_free(&lse), prob_free(&p);
}
static void chunks_equal_whole_oracle(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) check_shape(shapes[i], HY_F64, 1, 0);
}
static void chunks_equal_whole_fast(void **state) {
    (void)state;
    for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++)
        for (size_t i = 0; i < SHAPES; i++) {
            if (KT_CUDA && shapes[i][0] > 250) continue;         // many small kernels; single_tokens has more keys
            const int wide = KT_CUDA && (i + (size_t)path) % 2;  // rows are read in wide pieces
            check_shape(shapes[i], type_of(path), wide ? 8 : 1, path);
        }
}

// The padded tail of T changes nothing: on the CPU T 9 with len 1 is the decode path, as T 1 is; on a GPU T 1 is
// another kernel.
static void padding_changes_no_bit(void **state) {
    (void)state;
    for (int path = 0; path < kt_n_paths(); path++)
        for (int len = 1; len <= 9; len += 4) {
            const hy_dtype type = type_of(path);
            prob seed = prob_make(type, 1, 80, 4, 2, 16, 16, 30, 5, 9);
            prob a = prob_make(type, 1, len, 4, 2, 16, 16, 30, 5, 9),
                 b = prob_make(type, 3, 9, 4, 2, 16, 16, 30, 5, 10);
            cache ca = cache_make(&a, 1, 35), cb = cache_make(&b, 3, 35);
            seed.len[0] = 70;
            append(&seed, &ca, path, 1);
            copy_rows(&cb.k, 70, &ca.k, 0, 70), copy_rows(&cb.v, 70, &ca.v, 0, 70);
            copy_rows(&b.q, 9, &a.q, 0, (size_t)len), copy_rows(&b.k, 9, &a.k, 0, (size_t)len),
                copy_rows(&b.v, 9, &a.v, 0, (size_t)len);
            a.pos[0] = b.pos[1] = 70, b.len[0] = 9, b.len[1] = len, b.len[2] = 0;
            attend(&a, &ca, path, 1), attend(&b, &cb, path, 2);
            mat got = mat_make(type, (size_t)len, a.o.cols, 0);
            copy_rows(&got, 0, &b.o, 9, (size_t)len);
            if (!(mat_error(&got, &a.o) <= (KT_CUDA && len == 1 ? limit_o(type, path) : 0)))
                fail_msg("len %d on %s: off by %g", len, kt_path_name(path), mat_error(&got, &a.o));
            for (size_t r = 0; r < 9; r++)
                for (size_t x = 0; x < a.o.cols; x++)
                    assert_true((r < (size_t)len || at(&b.o, 9 + r, x) == 0) && at(&b.o, 18 + r, x) == 0);
            mat_free(&got), cache_free(&ca), cache_free(&cb), prob_free(&seed), prob_free(&a), prob_free(&b);
        }
}

// Single tokens of several sequences at once, one of them without any, against the oracle: every width and number of
// heads that the GPU has a kernel for, ranges of keys that a wrapped ring and meta tokens lie across.
static void single_tokens(void **state) {
    (void)state;
    static const int cases[][7] = {// heads kv dqk dv window meta cap
                                   {1, 1, 8, 72, 0, 0, 200},      {2, 1, 64, 64, 100, 7, 107},
                                   {8, 2, 40, 128, 150, 30, 190}, {5, 1, 64, 64, 0, 66, 330},
                                   {11, 1, 136, 24, 90, 3, 93},   {6, 6, 256, 256, 9, 1, 10},
                                   {10, 2, 128, 64, 64, 128, 192}};
    for (int path = KT_FIRST_FAST; path < kt_n_paths(); path++)
        for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
            const int *c = cases[i / 2], tokens = c[6] * 3 / 2;
            const hy_dtype type = type_of(path);
            prob seed = prob_make(type, 3, tokens, c[0], c[1], c[2], c[3], c[4], c[5], i), sd = prob_oracle(&seed);
            prob p = prob_make_aligned(type, 3, 1, c[0], c[1], c[2], c[3], c[4], c[5], i % 2 ? 8 : 1, 77),
                 d = prob_oracle(&p);
            cache k = cache_make(&p, 3, c[6]), kd = cache_make(&d, 3, c[6]);
            const int n[3] = {c[4] ? tokens : c[6], c[6] / 3, 5};
            for (int b = 0; b < 3; b++) sd.len[b] = seed.len[b] = n[b], d.pos[b] = p.pos[b] = n[b];
            d.len[2] = p.len[2] = 0;
            append(&seed, &k, path, 1), append(&sd, &kd, 0, 1);
            attend(&p, &k, path, 1), attend(&d, &kd, 0, 1);
            const double e = mat_error(&p.o, &d.o), l = mat_error(&p.lse, &d.lse);
            if (!(e <= limit_o(type, path) && l <= TOL_CHUNK_F32))
                fail_msg("case %zu on %s: o off by %g, lse by %g", i, kt_path_name(path), e, l);
            prob_check_edges(&p);
            cache_free(&k), cache_free(&kd), prob_free(&seed), prob_free(&sd), prob_free(&p), prob_free(&d);
        }
}

// kv_append against its rule: afterwards each slot holds the newest position that maps to it, others are untouched.
static void append_follows_the_rule(void **state) {
    (void)state;
    for (int path = 0; path < kt_n_paths(); path++)
        for (int cap = 4; cap < 12; cap += 3)
            for (int pos = 0; pos < 9; pos += 4) {
                prob p = prob_make(type_of(path), 2, 23, 2, 2, 5, 3, 0, 3, (uint64_t)cap);
                cache c = cache_make(&p, 2, cap);
                p.pos[0] = pos, p.pos[1] = 2, p.len[1] = 11;
                append(&p, &c, path, 2);
                for (int b = 0; b < 2; b++)
                    for (int h = 0; h < 2; h++)
                        for (int slot = 0; slot < cap; slot++) {
                            int newest = -1;
                            for (int t = 0; t < p.len[b]; t++)
                                if (hy_attn_slot(p.pos[b] + t, 3, cap) == slot) newest = t;
                            size_t r = (size_t)((b * 2 + h) * cap + slot), from = (size_t)(b * 23 + newest);
                            for (size_t x = 0; x < 5; x++)
                                assert_true(newest < 0 ? isnan(at(&c.k, r, x))
                                                       : at(&c.k, r, x) == at(&p.k, from, (size_t)h * 5 + x));
                            for (size_t x = 0; x < 3; x++)
                                assert_true(newest < 0 ? isnan(at(&c.v, r, x))
                                                       : at(&c.v, r, x) == at(&p.v, from, (size_t)h * 3 + x));
                        }
                cache_free(&c), prob_free(&p);
            }
}

static void a_ring_too_small_is_refused(void **state) {
    (void)state;
    for (int isa = HY_ISA_REF; isa <= (int)hy_isa_best(); isa++) {
        prob p = prob_make(HY_F32, 1, 1, 1, 1, 4, 4, 8, 2, 1);
        cache c = cache_make(&p, 1, 2 + 7);  // a window of 8 needs 8
        mat_fill(&c.k, 0), mat_fill(&c.v, 0);
        hy_attention_args a = prob_args(&p);
        a.cache = (hy_kv_view){c.k.p, c.v.p, c.cap};
        hy_plan_req r = req_of(HY_F32, isa, 1);
        hy_launch l = kt_plan(HY_K_attention, &a, &r);
        p.pos[0] = 9;
        assert_int_equal(kt_try(l, &a, &r), HY_OK);
        p.pos[0] = 10;
        assert_int_equal(kt_try(l, &a, &r), HY_EINPUT);
        cache_free(&c), prob_free(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        kt_cpu_test(chunks_equal_whole_oracle),    cmocka_unit_test(chunks_equal_whole_fast),
        cmocka_unit_test(padding_changes_no_bit),  cmocka_unit_test(single_tokens),
        cmocka_unit_test(append_follows_the_rule), kt_cpu_test(a_ring_too_small_is_refused),
    };
    return kt_group(tests);
}
