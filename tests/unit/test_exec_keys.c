// test_exec_keys.c - what an executor keeps from one call to the next (planned shapes, bound addresses) and what a
// state keeps: a call gives the bits that a new executor gives, whatever ran on this one before. Padding, with any
// labels and ids in it, is nothing.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/exec/exec.h"
#include "core/spec/spec_read.h"

enum { V = 13, T = 6, OTHERS = 4 };
static const char model[] = "{vocab: 13, d_model: 12, layers: 3, mixer: parallel, meta_tokens: 2, init: {std: 0.3},"
                            " attention: {heads: 2, kv_heads: 1, window: 3, global_layers: [0]}, kv_share: [[1, 2]],"
                            " ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}, mlp: {kind: silu, d_ff: 10}}";

typedef struct {
    hy_backend be;
    hy_model_spec *spec;
    hy_program *p;
    hy_params *w[2];
} rig;

static void ok(hy_status s) {
    if (s) fail_msg("%s", hy_error_text());
}
static rig *open_rig(void) {
    rig *r = hy_xcalloc(1, sizeof *r);
    hy_yaml *y = NULL;
    ok(hy_backend_cpu(NULL, 2, &r->be));
    r->spec = hy_xcalloc(1, sizeof *r->spec);
    ok(hy_yaml_parse("model", model, strlen(model), &y));
    ok(hy_spec_from_yaml(y, r->spec));
    hy_yaml_free(y);
    ok(hy_model_build(r->spec, &r->p));
    for (int i = 0; i < 2; i++) {
        ok(hy_params_create(r->p, &r->be, HY_F32, &r->w[i]));
        ok(hy_params_init(r->w[i], 11 + (uint64_t)i));
    }
    return r;
}
static void close_rig(rig *r) {
    for (int i = 0; i < 2; i++) hy_params_free(r->w[i]);
    hy_program_free(r->p);
    free(r->spec);
    free(r);
}
static hy_exec *open_exec(const rig *r, hy_exec_mode mode, int B) {
    hy_exec *e = NULL;
    ok(hy_exec_create(r->p, &r->be, HY_F32, mode, B, T, mode == HY_EXEC_INFER ? B * T : 0, &e));
    return e;
}
static hy_state *open_state(const rig *r, int max_tokens) {
    hy_state *s = NULL;
    ok(hy_state_create(r->p, &r->be, HY_F32, 1, max_tokens, &s));
    ok(hy_state_reset(s));
    return s;
}

static const int32_t prompt[T] = {-1, -2, 4, 9, 1, 12}, next[1] = {7};

// A prompt (the logits of n_out of its rows), then one token: logits of both, n_out + 1 rows.
static void answer(hy_exec *e, hy_params *w, hy_state *state, int n_out, float *logits) {
    static const int32_t last_rows[2] = {T - 1, T - 2};
    hy_batch b = {.B = 1, .T = T, .ids = prompt, .out_rows = last_rows, .n_out = n_out};
    ok(hy_exec_forward(e, w, &b, state, HY_HEAD_LOGITS, NULL));
    memcpy(logits, hy_exec_logits(e), (size_t)n_out * V * sizeof *logits);
    if (!state) return;
    const int32_t first = 0;
    b = (hy_batch){.B = 1, .T = 1, .ids = next, .out_rows = &first, .n_out = 1};
    ok(hy_exec_forward(e, w, &b, state, HY_HEAD_LOGITS, NULL));
    memcpy(logits + (size_t)n_out * V, hy_exec_logits(e), V * sizeof *logits);
}

typedef struct {
    int params, tokens, n_out;  // tokens 0: without a state
} call;

// One executor for all calls in turn, each twice, with states of several lengths; a new one for each.
static void calls_do_not_know_of_each_other(void **unused) {
    (void)unused;
    static const call calls[] = {{0, 0, 1}, {0, 9, 1}, {0, 300, 1}, {0, 9, 2},   {1, 9, 2},
                                 {1, 0, 2}, {0, 0, 2}, {1, 300, 1}, {0, 300, 1}, {0, 0, 1}};
    rig *r = open_rig();
    hy_exec *all = open_exec(r, HY_EXEC_INFER, 1);
    for (size_t k = 0; k < 2 * sizeof calls / sizeof *calls; k++) {
        const call *c = &calls[k / 2];
        float got[3 * V] = {0}, want[3 * V] = {0};
        for (int fresh = 0; fresh < 2; fresh++) {
            hy_exec *e = fresh ? open_exec(r, HY_EXEC_INFER, 1) : all;
            hy_state *s = c->tokens ? open_state(r, c->tokens) : NULL;
            answer(e, r->w[c->params], s, c->n_out, fresh ? want : got);
            hy_state_free(s);
            if (fresh) hy_exec_free(e);
        }
        if (memcmp(got, want, sizeof got)) fail_msg("call %zu gives other logits than on a new executor", k / 2);
    }
    hy_exec_free(all);
    close_rig(r);
}

// Two states side by side on one executor, token by token: each as alone.
static void states_are_told_apart(void **unused) {
    (void)unused;
    rig *r = open_rig();
    hy_exec *e = open_exec(r, HY_EXEC_INFER, 1);
    float alone[2][OTHERS * V], both[2][OTHERS * V];
    static const int32_t tokens[2][OTHERS] = {{1, 2, 3, 4}, {9, 8, 7, 6}}, row = 0;
    for (int together = 0; together < 2; together++) {
        hy_state *s[2] = {open_state(r, 20), open_state(r, 20)};
        for (int i = 0; i < 2 * OTHERS; i++) {
            const int which = together ? i % 2 : i / OTHERS, t = together ? i / 2 : i % OTHERS;
            hy_batch b = {.B = 1, .T = 1, .ids = &tokens[which][t], .out_rows = &row, .n_out = 1};
            ok(hy_exec_forward(e, r->w[0], &b, s[which], HY_HEAD_LOGITS, NULL));
            memcpy((together ? both : alone)[which] + t * V, hy_exec_logits(e), V * sizeof(float));
        }
        hy_state_free(s[0]), hy_state_free(s[1]);
    }
    assert_memory_equal(alone, both, sizeof alone);
    hy_exec_free(e);
    close_rig(r);
}

// A state that is reset is a new one: keys, convolution tails, SSM states.
static void reset_is_new(void **unused) {
    (void)unused;
    rig *r = open_rig();
    hy_exec *e = open_exec(r, HY_EXEC_INFER, 1);
    hy_state *s = open_state(r, 20);
    float first[2 * V], again[2 * V];
    answer(e, r->w[0], s, 1, first);
    ok(hy_state_reset(s));
    answer(e, r->w[0], s, 1, again);
    assert_memory_equal(first, again, sizeof first);
    hy_state_free(s);
    hy_exec_free(e);
    close_rig(r);
}

// Labels and tokens in the padding of a batch change neither loss nor gradient, and score nothing.
static void padding_is_nothing(void **unused) {
    (void)unused;
    rig *r = open_rig();
    hy_exec *e = open_exec(r, HY_EXEC_TRAIN, 2);
    ok(hy_params_want_grad(r->w[0]));
    double sum[2];
    const size_t n = r->p->param_elems;
    float *grad[2] = {hy_xcalloc(n, sizeof(float)), hy_xcalloc(n, sizeof(float))};
    static const int32_t len[2] = {T, 4};
    for (int k = 0; k < 2; k++) {
        int32_t ids[2 * T], labels[2 * T];
        for (int i = 0; i < 2 * T; i++) {
            const bool padding = i >= T + len[1];
            ids[i] = padding ? (k ? 5 : 0) : prompt[i % T];
            labels[i] = padding ? (k ? 3 : -1) : i % V;
        }
        const hy_batch b = {.B = 2, .T = T, .ids = ids, .labels = labels, .len = len};
        ok(r->be.zero(r->w[0]->grad, n * sizeof(float)));
        ok(hy_exec_forward(e, r->w[0], &b, NULL, HY_HEAD_LOSS, NULL));
        ok(hy_exec_backward(e, r->w[0], 1, NULL));
        sum[k] = hy_exec_nll_sum(e);
        for (int i = T + len[1]; i < 2 * T; i++) {
            assert_true(hy_exec_nll(e)[i] == 0);
            assert_int_equal(hy_exec_pred(e)[i], -1);
        }
        assert_true(sum[k] > 0);
        memcpy(grad[k], r->w[0]->grad, n * sizeof(float));
    }
    assert_true(sum[0] == sum[1]);
    assert_memory_equal(grad[0], grad[1], n * sizeof(float));
    free(grad[0]), free(grad[1]);
    hy_exec_free(e);
    close_rig(r);
}

// Position j before the text shows meta token j, in every sequence; labels of those positions are `fill`.
static void meta_tokens_in_order(void **unused) {
    (void)unused;
    const int32_t text[4] = {7, 8, 9, 10}, ids[10] = {-1, -2, -3, 7, 8, -1, -2, -3, 9, 10},
                  labels[10] = {-9, -9, -9, 7, 8, -9, -9, -9, 9, 10};
    int32_t got[10];
    hy_ids_with_meta(2, 2, 3, text, 0, got);
    assert_memory_equal(got, ids, sizeof ids);
    hy_ids_with_meta(2, 2, 3, text, -9, got);
    assert_memory_equal(got, labels, sizeof labels);
}

// Layers that share keys and a window, over more tokens than the ring holds: a token at a time, and in pieces, gives
// what the whole gives. float32 in another order: 1e-5 of logits around 1.
static void pieces_of_shared_windows(void **unused) {
    (void)unused;
    enum { ALL = 14 };
    rig *r = open_rig();
    hy_exec *e = NULL;
    ok(hy_exec_create(r->p, &r->be, HY_F32, HY_EXEC_INFER, 1, ALL, ALL, &e));
    int32_t ids[ALL], rows[ALL];
    for (int i = 0; i < ALL; i++) ids[i] = i < 2 ? -(i + 1) : (i * 5) % V, rows[i] = i;
    float whole[ALL * V];
    hy_batch b = {.B = 1, .T = ALL, .ids = ids, .out_rows = rows, .n_out = ALL};
    ok(hy_exec_forward(e, r->w[0], &b, NULL, HY_HEAD_LOGITS, NULL));
    memcpy(whole, hy_exec_logits(e), sizeof whole);
    for (int piece = 1; piece <= 5; piece += 2) {
        hy_state *s = open_state(r, ALL);
        for (int at = 0; at < ALL; at += piece) {
            const int n = ALL - at < piece ? ALL - at : piece;
            b = (hy_batch){.B = 1, .T = n, .ids = ids + at, .out_rows = rows, .n_out = n};
            ok(hy_exec_forward(e, r->w[0], &b, s, HY_HEAD_LOGITS, NULL));
            const float *logits = hy_exec_logits(e);
            for (int k = 0; k < n * V; k++)
                if (!(fabsf(logits[k] - whole[at * V + k]) <= 1e-5f))
                    fail_msg("pieces of %d, position %d: %g, in the whole %g", piece, at + k / V, (double)logits[k],
                             (double)whole[at * V + k]);
        }
        hy_state_free(s);
    }
    hy_exec_free(e);
    close_rig(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls_do_not_know_of_each_other),
                                       cmocka_unit_test(states_are_told_apart),
                                       cmocka_unit_test(reset_is_new),
                                       cmocka_unit_test(meta_tokens_in_order),
                                       cmocka_unit_test(pieces_of_shared_windows),
                                       cmocka_unit_test(padding_is_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
