// test_retrieval.c - what there is to copy in sequences written by hand, and scores of heads that look at a known
// place.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/probe/retrieval.h"

static void near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, wanted %.17g", got, want);
}

// "at: sources, at: sources"
static void found(const int32_t *ids, const int32_t *labels, int T, hy_retrieve_source source, hy_retrieve_which which,
                  const char *wanted) {
    hy_retrieval_queries q;
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    hy_retrieval_find(ids, labels, T, source, which, &q);
    for (int k = 0; k < q.n; k++) {
        hy_buf_printf(&b, "%s%d:", k ? ", " : "", q.at[k]);
        for (int s = q.first[k]; s < q.first[k + 1]; s++) hy_buf_printf(&b, " %d", q.sources[s]);
    }
    assert_string_equal(b.s, wanted);
    free(b.s);
    hy_retrieval_free(&q);
}

enum { NO = -100 };
static void queries(void **state) {
    (void)state;
    // MQAR: keys 1 2 with values 7 8; then key 2 (value 8), a filler that is a value, key 1 (value 7)
    const int32_t ids[] = {1, 7, 2, 8, 2, 7, 1, 0}, labels[] = {NO, NO, NO, NO, 8, NO, 7, NO};
    found(ids, labels, 8, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, "4: 3, 6: 1");
    found(ids, labels, 8, HY_RETRIEVE_TOKEN, HY_RETRIEVE_ALL, "4: 3, 6: 5 1");
    found(ids, labels, 8, HY_RETRIEVE_TOKEN, HY_RETRIEVE_LAST, "4: 3, 6: 5");
    found(ids, labels, 6, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, "4: 3");  // cut
    // a pair given twice
    const int32_t again[] = {1, 7, 1, 7, 3, 1}, want[] = {NO, NO, NO, NO, NO, 7};
    found(again, want, 6, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, "5: 3 1");
    found(again, want, 6, HY_RETRIEVE_MATCH, HY_RETRIEVE_LAST, "5: 3");
    // every next token: the second "ab" has the first to copy from; nothing before it
    const int32_t text[] = {5, 6, 9, 5, 6, 9}, next[] = {6, 9, 5, 6, 9, NO};
    found(text, next, 6, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, "3: 1, 4: 2");
    // what is wanted stands first, where nothing is before it; or at the query itself
    const int32_t first[] = {4, 4, 4}, own[] = {NO, 4, 4};
    found(first, own, 3, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, "2: 1");
    found(first, own, 3, HY_RETRIEVE_TOKEN, HY_RETRIEVE_ALL, "1: 0, 2: 1 0");
    found(text, next, 2, HY_RETRIEVE_TOKEN, HY_RETRIEVE_ALL, "");
}

// ---------------------------------------------------------------------------------------------------- attention
enum { S = 10, META = 2, WIDTH = S };
static float q[S * 2 * WIDTH], k[S * WIDTH];

// Head 0 looks at all alike; head 1 from text position `from` at text position `to`.
static hy_map_values heads_of(int from, int to, int window) {
    memset(q, 0, sizeof q), memset(k, 0, sizeof k);
    for (int j = 0; j < S; j++) k[j * WIDTH + j] = 1;
    q[(META + from) * 2 * WIDTH + WIDTH + META + to] = 200;
    return (hy_map_values){.S = S,
                           .meta = META,
                           .heads = 2,
                           .kv_heads = 1,
                           .d_qk = WIDTH,
                           .d_v = 1,
                           .window = window,
                           .scale = 1,
                           .q = q,
                           .k = k};
}

static hy_retrieval score(const hy_map_values *v, hy_map_src src, int head, const int32_t *ids, const int32_t *labels) {
    hy_retrieval_queries found;
    hy_retrieval r;
    const hy_map_options o = {.norm = HY_MAP_ROWSUM};
    hy_retrieval_find(ids, labels, S - META, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, &found);
    if (hy_retrieval_measure(v, src, head, &o, &found, &r)) fail_msg("%s", hy_error_text());
    hy_retrieval_free(&found);
    return r;
}

static void attention(void **state) {
    (void)state;
    const int32_t ids[] = {1, 7, 2, 8, 2, 7, 1, 0}, labels[] = {NO, NO, NO, NO, 8, NO, 7, NO};
    hy_map_values v = heads_of(4, 3, 0);
    hy_retrieval r = score(&v, HY_MAP_ATTENTION, 0, ids, labels);
    near(r.score, (1.0 / 7 + 1.0 / 9) / 2, 1e-12);  // of 7 and of 9 keys, meta tokens counted
    near(r.uniform, r.score, 1e-12);
    near(r.top, 0, 0);
    r = score(&v, HY_MAP_ATTENTION, 1, ids, labels);  // one of two queries; the other looks at all alike
    near(r.score, (1 + 1.0 / 9) / 2, 1e-12);
    near(r.top, 0.5, 0);
    v = heads_of(4, 3, 3);  // of 6 keys; the window of the second query ends before its source, at text 3
    r = score(&v, HY_MAP_ATTENTION, 1, ids, labels);
    near(r.score, 0.5, 1e-12);
    near(r.uniform, (1.0 / 6) / 2, 1e-12);
    v = heads_of(4, 2, 0);  // at the key instead of its value
    r = score(&v, HY_MAP_ATTENTION, 1, ids, labels);
    near(r.score, (0 + 1.0 / 9) / 2, 1e-12);
    near(r.top, 0, 0);
}

// ---------------------------------------------------------------------------------------------------- SSM
// One state that loses half a token: of row i the token j has 2^-(i-j) / (2 - 2^-i).
static void ssm(void **state) {
    (void)state;
    float one[S], dt[S], A_log = 0;
    for (int i = 0; i < S; i++) one[i] = 1, dt[i] = (float)log(expm1(log(2)));
    const hy_map_values v = {
        .S = S, .meta = META, .D = 1, .N = 1, .x = one, .dt = dt, .Bm = one, .Cm = one, .A_log = &A_log};
    const int32_t ids[] = {1, 7, 2, 8, 2, 7, 1, 0}, labels[] = {NO, NO, NO, NO, 8, NO, 7, NO};
    const hy_retrieval r = score(&v, HY_MAP_SSM, -1, ids, labels);
    near(r.score, (0.5 / (2 - pow(2, -6)) + pow(2, -5) / (2 - pow(2, -8))) / 2, 1e-6);
    near(r.uniform, (1.0 / 7 + 1.0 / 9) / 2, 1e-12);
    near(r.top, 0, 0);
}

// Many queries, more than a tile of rows: each alone gives the same.
static void tiles(void **state) {
    (void)state;
    enum { LONG = 90, D = 3 };
    static float one[LONG * D], dt[LONG * D], A_log[D];
    int32_t ids[LONG], labels[LONG];
    for (int i = 0; i < LONG * D; i++) one[i] = 1, dt[i] = (float)(-3 + 0.1 * (i % 7));
    for (int i = 0; i < D; i++) A_log[i] = (float)i;
    for (int i = 0; i < LONG; i++) ids[i] = i % 5, labels[i] = i % 3 ? (i + 1) % 5 : NO;
    const hy_map_values v = {.S = LONG, .D = D, .N = 1, .x = one, .dt = dt, .Bm = one, .Cm = one, .A_log = A_log};
    const hy_map_options o = {.norm = HY_MAP_ROWSUM};
    hy_retrieval_queries all;
    hy_retrieval together, alone;
    hy_retrieval_find(ids, labels, LONG, HY_RETRIEVE_MATCH, HY_RETRIEVE_ALL, &all);
    assert_true(all.n > 40);
    assert_int_equal(hy_retrieval_measure(&v, HY_MAP_SSM, -1, &o, &all, &together), HY_OK);
    double sum = 0;
    for (int i = 0; i < all.n; i++) {
        int first[] = {0, all.first[i + 1] - all.first[i]};
        const hy_retrieval_queries single = {1, all.at + i, first, all.sources + all.first[i]};
        assert_int_equal(hy_retrieval_measure(&v, HY_MAP_SSM, -1, &o, &single, &alone), HY_OK);
        sum += alone.score / all.n;
    }
    near(together.score, sum, 1e-12);
    hy_retrieval_free(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries),
        cmocka_unit_test(attention),
        cmocka_unit_test(ssm),
        cmocka_unit_test(tiles),
    };
    return cmocka_run_group_tests_name("retrieval", tests, NULL, NULL);
}
