// test_kv_append.c - kv_append against its rule on every path: afterwards each slot holds the newest position that maps
// to it, and others are untouched.
#include "tests/unit/kernel_test.h"

typedef struct {
    int B, T, heads, d_qk, d_v, meta, cap, pad;
} append_shape;

static void one(const append_shape *s, int path, int first, int second, int len) {
    const hy_plan_req req = kt_req(path, 2, false);
    const int wk = s->heads * s->d_qk, wv = s->heads * s->d_v, slots = s->B * s->heads * s->cap;
    kt_mat k = kt_new(req.dtype, s->B * s->T, wk, wk + s->pad), v = kt_new(req.dtype, s->B * s->T, wv, wv + 2 * s->pad);
    kt_mat ck = kt_new(req.dtype, slots, s->d_qk, s->d_qk), cv = kt_new(req.dtype, slots, s->d_v, s->d_v);
    int32_t *pos = kt_alloc((size_t)s->B * sizeof *pos), *lens = kt_alloc((size_t)s->B * sizeof *lens);
    kt_random(&k, 1, 1, 0), kt_random(&v, 2, 1, 0);
    for (int b = 0; b < s->B; b++) pos[b] = b % 2 ? second : first, lens[b] = b % 2 ? len : s->T;
    hy_kv_append_args a = {.B = s->B,
                           .T = s->T,
                           .kv_heads = s->heads,
                           .d_qk = s->d_qk,
                           .d_v = s->d_v,
                           .meta = s->meta,
                           .k = k.p,
                           .v = v.p,
                           .ldk = k.ld,
                           .ldv = v.ld,
                           .pos = kt_dev(req.dtype, pos),
                           .len = kt_dev(req.dtype, lens),
                           .cache = {ck.p, cv.p, s->cap}};
    kt_run(HY_K_kv_append, &a, &req);
    for (int b = 0; b < s->B; b++)
        for (int slot = 0; slot < s->cap; slot++) {
            int newest = -1;
            for (int t = 0; t < lens[b]; t++)
                if (hy_attn_slot(pos[b] + t, s->meta, s->cap) == slot) newest = t;
            for (int h = 0; h < s->heads; h++) {
                const int row = (b * s->heads + h) * s->cap + slot, from = b * s->T + newest;
                for (int c = 0; c < s->d_qk; c++)
                    assert_true(kt_at(&ck, row, c) == (newest < 0 ? KT_SENTINEL : kt_at(&k, from, h * s->d_qk + c)));
                for (int c = 0; c < s->d_v; c++)
                    assert_true(kt_at(&cv, row, c) == (newest < 0 ? KT_SENTINEL : kt_at(&v, from, h * s->d_v + c)));
            }
        }
    kt_check(&k, "k"), kt_check(&v, "v"), kt_check(&ck, "cached k"), kt_check(&cv, "cached v");
    kt_free(&k), kt_free(&v), kt_free(&ck), kt_free(&cv);
    kt_release(pos), kt_release(lens);
}

static void append_follows_the_rule(void **state) {
    (void)state;
    const append_shape shapes[] = {{2, 23, 2, 5, 3, 3, 0, 1},
                                   {3, 23, 2, 16, 8, 3, 0, 8},
                                   {2, 1, 1, 8, 16, 0, 0, 0},
                                   {2, 2, 3, 1024, 512, 3, 0, 0}};
    for (int path = 0; path < kt_n_paths(); path++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int cap = 4; cap < 12; cap += 3)
                for (int pos = 0; pos < 9; pos += 4) {
                    append_shape s = shapes[i];
                    s.cap = cap;
                    one(&s, path, pos, 2, (s.T + 1) / 2);
                    one(&s, path, pos + 100000, 7, 0);
                }
}

static void bad_sizes_are_refused(void **state) {
    (void)state;
    const hy_plan_req req = kt_req(0, 1, false);
    const hy_plan_fn plan = KT_CUDA ? kt_device()->plan[HY_K_kv_append] : hy_cpu_plan_kv_append;
    const hy_kv_append_args good = {.B = 1,
                                    .T = 1,
                                    .kv_heads = 2,
                                    .d_qk = 4,
                                    .d_v = 3,
                                    .meta = 2,
                                    .k = HY_PRESENT,
                                    .v = HY_PRESENT,
                                    .ldk = 8,
                                    .ldv = 6,
                                    .pos = HY_PRESENT,
                                    .len = HY_PRESENT,
                                    .cache = {HY_PRESENT, HY_PRESENT, 3}};
    hy_launch l;
    hy_kv_append_args a = good;
    assert_int_equal(plan(&a, &req, &l), HY_OK);
    a.cache.cap = 2;
    assert_int_equal(plan(&a, &req, &l), HY_EINPUT);
    a = good, a.ldv = 5;
    assert_int_equal(plan(&a, &req, &l), HY_EINPUT);
    a = good, a.T = 0;
    assert_int_equal(plan(&a, &req, &l), HY_EINPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(append_follows_the_rule),
                                       cmocka_unit_test(bad_sizes_are_refused)};
    return kt_group(tests);
}
