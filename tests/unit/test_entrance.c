// test_entrance.c - what enters the first layer: learned positions (with meta tokens, in chunks, up to their end and
// not beyond), biases of LayerNorm, dropout (its mask restated, the same for any number of threads, none in
// evaluation). Besides what layers may have less of: rotary positions, weights of norms.
#include <unistd.h>

#include "tests/unit/plain_model.h"
#include "tests/unit/recipe_fixture.h"

enum { TEXT = 11, META = 2, MOST = META + TEXT, V = 20, D = 12 };
static const double TOL_LOGITS = 2e-6;  // logits are told in float

#define MODEL                                                                                                   \
    "vocab: 20\nd_model: 12\nlayers: 2\nmixer: parallel\nmeta_tokens: 2\nmax_len: 11\npositions: learned\n"     \
    "init: {std: 0.3}\nnorm: {kind: layer, bias: true}\nrope: {kind: none}\nattention: {heads: 2, window: 4}\n" \
    "ssm: {expand: 1, d_state: 3, d_conv: 3, dt_rank: 2}\nmlp: {kind: silu, d_ff: 10}\n"

// Layers without rope, with rope on a part of each head, and with norms of dt, B, C that have no weights.
#define LESS                                                                                                     \
    "vocab: 20\nd_model: 12\nlayers: 3\nmeta_tokens: 2\ninit: {std: 0.3}\nrope: {base: 50}\n"                    \
    "attention: {heads: 2, d_qk: 6, rotary: 4, qk_norm: true}\npattern: [{mixer: parallel}, {mixer: attention, " \
    "attention: {rotary: all, no_rope: true}}, {mixer: ssm_attention, attention: {rotary: 2}}]\n"                \
    "ssm: {expand: 1, d_state: 3, d_conv: 3, dt_rank: 2, inner_norms: plain, inner_norm_eps: 0.01}\n"

// Norms away from 1 and biases away from 0.
static hy_params *weights_of(const hy_program *p, const hy_backend *be, hy_dtype dt) {
    hy_params *w;
    hy_rng r = hy_rng_make(4, 4);
    need(hy_params_create(p, be, dt, &w));
    need(hy_params_init(w, 3));
    for (int i = 0; dt == HY_F64 && i < p->n_params; i++)
        for (size_t k = 0; k < p->params[i].n && p->params[i].ndim == 1; k++)
            ((double *)hy_params_ptr(w, i, false))[k] = (float)(0.7 + 0.4 * hy_rng_normal(&r));
    return w;
}

static void text_of(int32_t ids[MOST]) {
    int32_t text[TEXT];
    for (int t = 0; t < TEXT; t++) text[t] = (t * 7 + 3) % V;
    hy_ids_with_meta(1, TEXT, META, text, 0, ids);
}

// Logits of all positions, fed in chunks of n.
static void logits_of(const hy_program *p, hy_params *w, int n, double *out) {
    int32_t ids[MOST], rows[MOST];
    hy_exec *e;
    hy_state *st;
    text_of(ids);
    need(hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, 1, MOST, MOST, &e));
    need(hy_state_create(p, w->be, w->compute, 1, TEXT, &st));
    for (int at = 0; at < MOST; at += n) {
        const int k = at + n < MOST ? n : MOST - at;
        for (int t = 0; t < k; t++) rows[t] = t;
        const hy_batch b = {.B = 1, .T = k, .ids = ids + at, .out_rows = rows, .n_out = k};
        need(hy_exec_forward(e, w, &b, st, HY_HEAD_LOGITS, NULL));
        for (int i = 0; i < k * V; i++) out[at * V + i] = (double)hy_exec_logits(e)[i];
    }
    hy_exec_free(e);
    hy_state_free(st);
}

// As a plain model has it, whole, in chunks and token by token; dropout drops nothing when a model is asked.
static void as_restated(void **state) {
    (void)state;
    const hy_backend be = reference();
    static const char *const texts[] = {
        "name: m\n" MODEL, "name: m\n" MODEL "dropout: {embedding: 0.5, attention: 0.5}\n", "name: m\n" LESS};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        hy_program *p = program_of(texts[i]);
        hy_params *w = weights_of(p, &be, HY_F64);
        static plain_weights plain;
        static plain_run r;
        double got[MOST * V];
        int32_t ids[MOST];
        text_of(ids);
        plain_from_params(&plain, w);
        plain_forward(&plain, ids + META, TEXT, &r);
        for (int n = 1; n <= MOST; n += n == 1 ? 4 : 8) {
            logits_of(p, w, n, got);
            for (int k = META * V; k < MOST * V; k++)
                if (!(fabs(got[k] - r.logits[k]) <= TOL_LOGITS * (1 + fabs(r.logits[k]))))
                    fail_msg("model %zu, chunks of %d, position %d: logit %.9g, not %.9g", i, n, k / V, got[k],
                             r.logits[k]);
        }
        plain_run_free(&r);
        plain_weights_free(&plain);
        hy_params_free(w);
        hy_program_free(p);
    }
}

// A text that has no positions left is refused: whole, in its last token, and before anything is trained on it.
static void the_end_of_positions(void **state) {
    (void)state;
    const hy_backend be = reference();
    hy_program *p = program_of("name: short\n" MODEL);
    hy_params *w = weights_of(p, &be, HY_F64);
    int32_t ids[MOST + 1];
    hy_exec *e;
    hy_state *st;
    text_of(ids);
    ids[MOST] = 1;
    need(hy_exec_create(p, &be, HY_F64, HY_EXEC_INFER, 1, MOST + 1, 0, &e));
    need(hy_state_create(p, &be, HY_F64, 1, TEXT + 9, &st));
    hy_batch b = {.B = 1, .T = MOST + 1, .ids = ids};
    assert_int_equal(hy_exec_forward(e, w, &b, NULL, 0, NULL), HY_EINPUT);
    assert_error("12 tokens of text, but short has learned positions for max_len 11");
    const int32_t len = MOST;  // padding behind a whole text is no text
    b.len = &len;
    need(hy_exec_forward(e, w, &b, NULL, 0, NULL));
    b = (hy_batch){.B = 1, .T = MOST, .ids = ids};
    need(hy_exec_forward(e, w, &b, st, 0, NULL));
    b = (hy_batch){.B = 1, .T = 1, .ids = ids + MOST};
    assert_int_equal(hy_exec_forward(e, w, &b, st, 0, NULL), HY_EINPUT);
    assert_error("12 tokens of text");
    hy_state_free(st);
    hy_exec_free(e);
    hy_params_free(w);
    const hy_train_spec r = recipe_of("steps=1");
    static const char *const options[] = {"vocab: 20\ntrain: [[8, 1]]\ntest: [[8, 1]]",
                                          "vocab: 20\ntrain: [[8, 1]]\ntest: [[12, 1]]"};
    for (int i = 0; i < 2; i++) {
        hy_task *task = task_of("mqar", options[i], 1);
        hy_trainer *t;
        assert_int_equal(hy_trainer_create(p, &be, HY_F64, &r, task, 1, &t), i ? HY_EINPUT : HY_OK);
        if (i) assert_error("12 tokens of text");
        hy_trainer_free(t);
        hy_task_close(task);
    }
    hy_program_free(p);
}

// ---------------------------------------------------------------------------------------------------- dropout
typedef struct {
    float before[2 * MOST * D], after[2 * MOST * D];
} entered;

static bool wants(void *user, const char *name) {
    (void)user;
    return !strcmp(name, "embed_placed") || !strcmp(name, "layers.0.input");
}
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    entered *x = user;
    assert_true(rows == 2 * MOST && width == D);
    memcpy(strcmp(name, "embed_placed") ? x->after : x->before, data, sizeof x->after);
    return HY_OK;
}

static void enter(const char *isa, int threads, uint64_t key, hy_exec_mode mode, entered *out) {
    hy_backend be;
    need(hy_backend_cpu(isa, threads, &be));
    hy_program *p = program_of("name: m\n" MODEL "dropout: {embedding: 0.3}\n");
    hy_params *w = weights_of(p, &be, HY_F32);
    int32_t ids[2 * MOST];
    hy_exec *e;
    text_of(ids), text_of(ids + MOST);
    need(hy_params_want_grad(w));
    need(hy_exec_create(p, &be, HY_F32, mode, 2, MOST, 0, &e));
    hy_exec_set_dropout(e, key);
    const hy_batch b = {.B = 2, .T = MOST, .ids = ids, .labels = ids};
    const hy_probe probe = {.wants = wants, .got = got, .user = out};
    need(hy_exec_forward(e, w, &b, NULL, 0, &probe));
    hy_exec_free(e);
    hy_params_free(w);
    hy_program_free(p);
}

// Element i of the rows is kept where the upper half of the mixed key and number, as a fraction, is not below the
// share.
static void mask_as_restated(void **state) {
    (void)state;
    entered x, y, other;
    enter("ref", 1, 77, HY_EXEC_TRAIN, &x);
    int dropped = 0;
    for (int i = 0; i < 2 * MOST * D; i++) {
        const double u = (double)(hy_mix64(hy_mix64(77, 0), (uint64_t)i) >> 32) / 4294967296.0;
        const float want = u < 0.3 ? 0 : (float)(1 / 0.7) * x.before[i];
        dropped += u < 0.3;
        if (x.after[i] != want) fail_msg("element %d: %g of %g, not %g", i, x.after[i], x.before[i], want);
    }
    assert_true(fabs(dropped - 0.3 * 2 * MOST * D) < 4 * sqrt(0.21 * 2 * MOST * D));
    for (int threads = 1; threads <= 3; threads++) {
        enter(NULL, threads, 77, HY_EXEC_TRAIN, &y);
        assert_memory_equal(x.after, y.after, sizeof x.after);
    }
    enter(NULL, 1, 78, HY_EXEC_TRAIN, &other);
    assert_memory_equal(x.before, other.before, sizeof x.before);
    assert_memory_not_equal(x.after, other.after, sizeof x.after);
    enter(NULL, 1, 77, HY_EXEC_INFER, &other);
    assert_memory_equal(other.after, x.before, sizeof x.before);
}

// Every micro-batch of a run has a mask of its own, of the run's seed and its number alone: going on from a checkpoint
// gives the same weights.
static void masks_of_a_run(void **state) {
    (void)state;
    const hy_backend be = reference();
    hy_program *p = program_of("name: m\n" MODEL "dropout: {embedding: 0.3}\n");
    hy_task *task = task_of("mqar", "vocab: 20\ntrain: [[8, 1]]\ntest: [[8, 1]]", 1);
    const hy_train_spec r = recipe_of("steps=4 batch=2 accumulate=2 lr=0.01 schedule=constant warmup=0 clip=0");
    char path[] = "/tmp/hylab-entrance-XXXXXX";
    const int fd = mkstemp(path);
    hy_trainer *a, *b;
    hy_train_point at, again;
    assert_true(fd >= 0 && !close(fd));
    need(hy_trainer_create(p, &be, HY_F64, &r, task, 5, &a));
    need(hy_trainer_create(p, &be, HY_F64, &r, task, 5, &b));
    for (int s = 1; s <= 4; s++) {
        need(hy_trainer_step(a, &at));
        if (s == 2) need(hy_trainer_save(a, path));
    }
    need(hy_trainer_load(b, path));
    for (int s = 3; s <= 4; s++) need(hy_trainer_step(b, &again));
    assert_true(at.loss == again.loss);
    for (int i = 0; i < p->n_params; i++)
        assert_memory_equal(hy_params_ptr(hy_trainer_params(a), i, false),
                            hy_params_ptr(hy_trainer_params(b), i, false), p->params[i].n * sizeof(double));
    hy_trainer_free(a), hy_trainer_free(b);
    unlink(path);
    // the keys of a run differ from batch to batch, and from run to run
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < i; k++)
            assert_true(hy_trainer_dropout_key(5, i) != hy_trainer_dropout_key(5, k) &&
                        hy_trainer_dropout_key(5, i) != hy_trainer_dropout_key(6, k));
    hy_task_close(task);
    hy_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_restated),
        cmocka_unit_test(the_end_of_positions),
        cmocka_unit_test(mask_as_restated),
        cmocka_unit_test(masks_of_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
