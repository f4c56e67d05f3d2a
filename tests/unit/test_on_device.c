// test_on_device.c - the model over a device: steps that nobody waits for, recordings, bfloat16, too little memory. On
// the CPU what needs no device (an asynchronous one is a matter of when the host asks); over a GPU or the emulated one
// all of it.
#include <math.h>
#include <unistd.h>

#include "core/spec/spec_read.h"
#include "core/train/train.h"
#include "tests/unit/kernel_test.h"

enum { V = 61, T = 13, B = 3, META = 2, ROWS = B * (META + T) };

// Largest difference of a logit relative to the largest logit.
static const double TOL_CPU = 2e-5;   // float32 sums in another order
static const double TOL_BF16 = 6e-2;  // every activation and matrix rounded by up to 2^-8, some twenty times on the way
static const double TOL_LOSS = 2e-2;  // of a bfloat16 training loss, relative: the mean over many labels

static const char model_text[] =
    "vocab: 61\nd_model: 32\nlayers: 2\nmixer: parallel\nmeta_tokens: 2\ninit: {std: 0.18}\n"
    "attention: {heads: 2, kv_heads: 1, d_qk: 8, d_v: 16, window: 7}\nssm: {d_inner: 32, d_state: 4, d_conv: 3}\n"
    "mlp: {d_ff: 24}\n";

typedef struct {
    hy_program *p;
    hy_task *task;
    hy_train_spec recipe;
    int32_t ids[ROWS];
} setting;

static void need(hy_status s) {
    if (s) fail_msg("%s", hy_error_text());
}

static void open_setting(setting *x) {
    hy_yaml *y = NULL;
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    need(hy_yaml_parse("model", model_text, strlen(model_text), &y));
    need(hy_spec_from_yaml(y, m));
    hy_yaml_free(y);
    need(hy_model_build(m, &x->p));
    free(m);
    need(hy_task_open("mqar", "vocab: 60\ntrain: [[24, 3]]\ntest: [[24, 3]]\n", 3, &x->task));
    hy_fields_default(hy_train_fields, &x->recipe);
    x->recipe.steps = 7;
    x->recipe.batch = 3;
    x->recipe.log_every = 3;
    x->recipe.eval_every = 5;
    x->recipe.eval_examples = 4;
    hy_rng r = hy_rng_make(9, 1);
    int32_t text[B * T];
    for (int i = 0; i < B * T; i++) text[i] = (int32_t)hy_rng_below(&r, V);
    hy_ids_with_meta(B, T, META, text, 0, x->ids);
}

static void close_setting(setting *x) {
    hy_program_free(x->p);
    hy_task_close(x->task);
}

static hy_backend backend(void) {
    hy_backend be;
    if (KT_CUDA)
        need(hy_backend_cuda(-1, HY_MATH_F32, &be));
    else
        need(hy_backend_cpu(NULL, 2, &be));
    return be;
}

static hy_params *params(const setting *x, const hy_backend *be, hy_dtype dt) {
    hy_params *w;
    need(hy_params_create(x->p, be, dt, &w));
    need(hy_params_init(w, 5));
    return w;
}

// ---------------------------------------------------------------------------------------------------- training
typedef struct {
    int n, evals;
    hy_train_point p[32];
} seen;

static hy_status on_step(void *user, const hy_train_point *p) {
    seen *s = user;
    assert_true(s->n < 32);
    s->p[s->n++] = *p;
    return HY_OK;
}

// An evaluation comes when all steps so far have been told of.
static hy_status on_eval(void *user, long step, const hy_eval *e) {
    seen *s = user;
    assert_true(e->n_cells > 0 && s->n > 0 && s->p[s->n - 1].step == step);
    s->evals++;
    return HY_OK;
}

// A training run; its parameters [param_elems], to be freed.
static float *train(const setting *x, const hy_backend *be, hy_dtype dt, seen *s) {
    hy_trainer *t;
    const hy_train_watch watch = {s, on_step, on_eval};
    *s = (seen){0};
    need(hy_trainer_create(x->p, be, dt, &x->recipe, x->task, 17, &t));
    need(hy_trainer_run(t, &watch, NULL, NULL));
    float *out = hy_xcalloc(x->p->param_elems, sizeof *out);
    for (int i = 0; i < x->p->n_params; i++)
        need(hy_params_get(hy_trainer_params(t), i, false, out + x->p->params[i].offset));
    hy_trainer_free(t);
    return out;
}

// Told late or at once, recorded or not: the same points and the same bits.
static void same_training(void **state) {
    (void)state;
    setting x;
    open_setting(&x);
    hy_backend late = backend(), now = late;
    late.async = true;
    now.async = false;
    now.record_begin = NULL;
    seen a, b;
    float *p = train(&x, &late, HY_F32, &a), *q = train(&x, &now, HY_F32, &b);
    assert_int_equal(a.n, x.recipe.steps);
    assert_int_equal(b.n, x.recipe.steps);
    assert_int_equal(a.evals, 2);
    for (int i = 0; i < a.n; i++) {
        assert_int_equal(a.p[i].step, i + 1);
        if (a.p[i].loss != b.p[i].loss || a.p[i].grad_norm != b.p[i].grad_norm || a.p[i].lr != b.p[i].lr)
            fail_msg("step %d: loss %.9g and %.9g, norm %.9g and %.9g", i + 1, a.p[i].loss, b.p[i].loss,
                     a.p[i].grad_norm, b.p[i].grad_norm);
        assert_true(a.p[i].tokens_per_s > 0);
    }
    assert_true(a.p[0].tokens_per_s == a.p[2].tokens_per_s);  // told together
    assert_memory_equal(p, q, x.p->param_elems * sizeof *p);
    free(p), free(q);
    close_setting(&x);
}

static char *diverge(const setting *x, const hy_backend *be, long *step) {
    hy_trainer *t;
    hy_params *w;
    need(hy_trainer_create(x->p, be, HY_F32, &x->recipe, x->task, 17, &t));
    w = hy_trainer_params(t);
    const hy_status s = hy_trainer_run(t, NULL, NULL, NULL);
    if (s != HY_EDIVERGED) fail_msg("status %d: %s", s, s ? hy_error_text() : "");
    char *text = hy_xstrdup(hy_error_text());
    *step = hy_trainer_step_count(t);
    float *v = hy_xcalloc(x->p->param_elems, sizeof *v);  // those before the step: finite
    for (int i = 0; i < x->p->n_params; i++) {
        need(hy_params_get(w, i, false, v));
        for (size_t k = 0; k < x->p->params[i].n; k++) assert_true(isfinite(v[k]));
    }
    free(v);
    hy_trainer_free(t);
    return text;
}

// Steps that were started after one that is not finite change neither what is told nor the parameters.
static void same_divergence(void **state) {
    (void)state;
    setting x;
    open_setting(&x);
    x.recipe.lr = 1e11;
    x.recipe.clip = 0;
    x.recipe.warmup = 0;
    x.recipe.accumulate = 2;
    x.recipe.eval_every = 0;
    hy_backend late = backend(), now = late;
    late.async = true;
    now.async = false;
    now.record_begin = NULL;
    long a, b;
    char *p = diverge(&x, &late, &a), *q = diverge(&x, &now, &b);
    assert_string_equal(p, q);
    assert_int_equal(a, b);
    assert_non_null(strstr(p, "first not finite: "));
    assert_true(a > 1 && a < x.recipe.steps);  // a step with others behind it
    free(p), free(q);
    close_setting(&x);
}

// Saved in the middle of a run that is told late, and gone on with: the same bits.
static void same_resumed(void **state) {
    (void)state;
    setting x;
    open_setting(&x);
    hy_backend be = backend();
    be.async = true;
    seen s;
    float *want = train(&x, &be, HY_F32, &s), *got = hy_xcalloc(x.p->param_elems, sizeof *got);
    char path[] = "/tmp/hylab-on-device-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    hy_trainer *t;
    hy_train_point point;
    need(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t));
    for (int i = 0; i < 4; i++) need(hy_trainer_step(t, &point));
    need(hy_trainer_save(t, path));
    hy_trainer_free(t);
    x.recipe.precision = HY_PRECISION_BF16;
    need(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t));
    assert_int_equal(hy_trainer_load(t, path), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "was trained in f32, this run computes in bf16"));
    hy_trainer_free(t);
    x.recipe.precision = HY_PRECISION_F32;
    need(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t));
    need(hy_trainer_load(t, path));
    need(hy_trainer_run(t, NULL, NULL, NULL));
    for (int i = 0; i < x.p->n_params; i++)
        need(hy_params_get(hy_trainer_params(t), i, false, got + x.p->params[i].offset));
    assert_memory_equal(got, want, x.p->param_elems * sizeof *got);
    hy_trainer_free(t);
    unlink(path);
    free(want), free(got);
    close_setting(&x);
}

static hy_status (*real_to_host)(void *dst, const void *src, size_t bytes);
static hy_status (*real_zero)(void *p, size_t bytes);
static int good;   // calls that work before one fails
static bool gone;  // the device fails for good then
static hy_status lost(void) { return hy_error(HY_EFAIL, "the device is lost"); }
static hy_status failing_to_host(void *dst, const void *src, size_t bytes) {
    return gone && good < 0 ? lost() : real_to_host(dst, src, bytes);
}
static hy_status failing_zero(void *p, size_t bytes) { return --good < 0 ? lost() : real_zero(p, bytes); }

// A device that fails in the middle of a run: its error is told, steps that nobody heard of are not saved as progress,
// and those that can still be heard of are told.
static void lost_device(void **state) {
    (void)state;
    setting x;
    hy_trainer *t;
    open_setting(&x);
    hy_backend be = backend();
    be.async = true;
    x.recipe.eval_every = 0;
    real_to_host = be.to_host, real_zero = be.zero;
    be.to_host = failing_to_host;
    be.zero = failing_zero;
    be.record_begin = NULL;
    for (int once = 0; once < 2; once++) {
        seen s = {0};
        const hy_train_watch watch = {&s, on_step, on_eval};
        gone = !once;
        good = 1 << 30;
        need(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t));
        hy_train_point point;
        const int before = good;
        need(hy_trainer_step(t, &point));
        good = (before - good) * 4;  // steps 2 .. 5; 2 .. 4 are told together
        assert_int_equal(hy_trainer_run(t, &watch, NULL, NULL), HY_EFAIL);
        assert_string_equal(hy_error_text(), "the device is lost");
        assert_int_equal(s.n, once ? 4 : 3);
        if (!once) {
            assert_int_equal(hy_trainer_save(t, "/tmp/hylab-on-device-none"), HY_EFAIL);
            assert_false(hy_file_exists("/tmp/hylab-on-device-none"));
        }
        hy_trainer_free(t);
    }
    close_setting(&x);
}

// ---------------------------------------------------------------------------------------------------- inference
// Logits of every position, fed in chunks from a fresh state, the last chunk's shape coming again and again.
static void logits_of(setting *x, hy_exec *e, hy_params *w, hy_state *st, int chunk, float *out) {
    const int total = META + T;
    int32_t ids[ROWS], rows[ROWS];
    need(hy_state_reset(st));
    for (int from = 0; from < total; from += chunk) {
        const int n = total - from < chunk ? total - from : chunk;
        for (int b = 0; b < B; b++)
            for (int t = 0; t < n; t++) ids[b * n + t] = x->ids[b * total + from + t], rows[b * n + t] = b * n + t;
        const hy_batch batch = {.B = B, .T = n, .ids = ids, .out_rows = rows, .n_out = B * n};
        need(hy_exec_forward(e, w, &batch, st, HY_HEAD_LOGITS, NULL));
        const float *l = hy_exec_logits(e);
        assert_non_null(l);
        for (int b = 0; b < B; b++)
            memcpy(out + (size_t)(b * total + from) * V, l + (size_t)b * (size_t)n * V, (size_t)n * V * sizeof *out);
    }
}

static void recorded_is_eager(void **state) {
    (void)state;
    setting x;
    open_setting(&x);
    hy_backend be = backend(), plain = be;
    plain.record_begin = NULL;
    const hy_dtype types[] = {HY_F32, HY_BF16};
    for (int k = 0; k < (KT_CUDA ? 2 : 1); k++) {
        static float want[2][ROWS * V], got[ROWS * V];
        hy_params *w[2] = {params(&x, &be, types[k]), params(&x, &be, types[k])};
        need(hy_params_init(w[1], 6));
        hy_exec *e, *f;
        hy_state *st;
        need(hy_exec_create(x.p, &be, types[k], HY_EXEC_INFER, B, META + T, ROWS, &e));
        need(hy_exec_create(x.p, &plain, types[k], HY_EXEC_INFER, B, META + T, ROWS, &f));
        need(hy_state_create(x.p, &be, types[k], B, T, &st));
        const int chunks[] = {META + T, 4, 1};
        for (int c = 0; c < 3; c++) {
            for (int i = 0; i < 2; i++) logits_of(&x, f, w[i], st, chunks[c], want[i]);
            assert_true(memcmp(want[0], want[1], sizeof want[0]) != 0);
            for (int again = 0; again < 6; again++) {  // eager, recorded, replayed, for either set of parameters
                if (again == 4) {                      // another state
                    hy_state *first = st;
                    need(hy_state_create(x.p, &be, types[k], B, T, &st));
                    hy_state_free(first);
                }
                logits_of(&x, e, w[again % 2], st, chunks[c], got);
                if (memcmp(got, want[again % 2], sizeof got))
                    fail_msg("type %d, chunks of %d, run %d: other bits", (int)types[k], chunks[c], again);
            }
        }
        need(hy_params_init(w[0], 6));  // changed from outside: the bfloat16 copy follows
        logits_of(&x, e, w[0], st, 1, got);
        assert_memory_equal(got, want[1], sizeof got);
        hy_state_free(st);
        hy_exec_free(e), hy_exec_free(f);
        hy_params_free(w[0]), hy_params_free(w[1]);
    }
    close_setting(&x);
}

// One pass without a state: logits of the last position of the first sequence, then the losses of all.
static void pass(setting *x, hy_exec *e, hy_params *w, int sequences, unsigned heads, float *out) {
    const int32_t last = META + T - 1;
    const hy_batch batch = {
        .B = sequences, .T = META + T, .ids = x->ids, .labels = x->ids, .out_rows = &last, .n_out = 1};
    memset(out, 0, (V + ROWS) * sizeof *out);
    need(hy_exec_forward(e, w, &batch, NULL, heads, NULL));
    if (heads & HY_HEAD_LOGITS) memcpy(out, hy_exec_logits(e), V * sizeof *out);
    if (heads & HY_HEAD_LOSS) memcpy(out + V, hy_exec_nll(e), (size_t)sequences * (META + T) * sizeof *out);
}

// What a recording depends on, each alone: other heads, fewer sequences, an edit of a value.
static void recordings_are_told_apart(void **state) {
    (void)state;
    setting x;
    open_setting(&x);
    hy_backend be = backend(), plain = be;
    plain.record_begin = NULL;
    hy_params *w = params(&x, &be, HY_F32);
    hy_exec *e, *f;
    need(hy_exec_create(x.p, &be, HY_F32, HY_EXEC_INFER, B, META + T, ROWS, &e));
    need(hy_exec_create(x.p, &plain, HY_F32, HY_EXEC_INFER, B, META + T, ROWS, &f));
    const hy_val input = hy_program_find(x.p, "layers.1.input");
    const hy_edit zeros = {.value = input, .width = x.p->values[input].width, .input = -1};
    static const struct {
        int sequences;
        unsigned heads;
        bool edited;
    } calls[] = {{B, HY_HEAD_LOGITS, false}, {B, HY_HEAD_LOSS, false}, {B, HY_HEAD_LOSS | HY_HEAD_LOGITS, false},
                 {1, HY_HEAD_LOGITS, false}, {1, HY_HEAD_LOSS, false}, {B, HY_HEAD_LOSS | HY_HEAD_LOGITS, true}};
    enum { CALLS = sizeof calls / sizeof *calls };
    static float got[V + ROWS], want[V + ROWS], whole[V + ROWS];
    for (int i = 0; i < 8 * CALLS; i++) {  // each after each, eager, recorded, replayed
        const int k = i / 3 * (1 + i / 3 / CALLS) % CALLS;
        hy_exec_set_edits(e, &zeros, calls[k].edited);
        hy_exec_set_edits(f, &zeros, calls[k].edited);
        pass(&x, e, w, calls[k].sequences, calls[k].heads, got);
        pass(&x, f, w, calls[k].sequences, calls[k].heads, want);
        if (memcmp(got, want, sizeof got)) fail_msg("call %d of kind %d: other bits", i, k);
        if (k == 2) memcpy(whole, want, sizeof whole);
        if (k == 5) assert_true(memcmp(whole, want, sizeof whole) != 0);
    }
    hy_exec_free(e), hy_exec_free(f);
    hy_params_free(w);
    close_setting(&x);
}

static void infer(setting *x, const hy_backend *be, hy_dtype dt, bool keep, int chunk, float *out) {
    for (int i = 0; i < x->p->n_params; i++) {
        x->p->params[i].kept = HY_F32;
        if (keep) hy_program_keep_bf16(x->p, i);
    }
    hy_params *w = params(x, be, dt);
    hy_exec *e;
    hy_state *st;
    need(hy_exec_create(x->p, be, dt, HY_EXEC_INFER, B, META + T, ROWS, &e));
    need(hy_state_create(x->p, be, dt, B, T, &st));
    logits_of(x, e, w, st, chunk, out);
    hy_state_free(st);
    hy_exec_free(e);
    hy_params_free(w);
}

// As the CPU computes it, and in bfloat16 nearly so; kept matrices and a copy of float32 ones give the same bits.
static void near_the_cpu(void **state) {
    (void)state;
    setting x;
    hy_backend be = backend(), cpu;
    static float want[ROWS * V], got[ROWS * V], low[ROWS * V];
    open_setting(&x);
    need(hy_backend_cpu(NULL, 1, &cpu));
    infer(&x, &cpu, HY_F32, false, META + T, want);
    const int chunks[] = {META + T, 5, 1};
    for (int c = 0; c < 3; c++) {
        infer(&x, &be, HY_F32, false, chunks[c], got);
        double d = kt_difference(got, want, ROWS * V);
        if (!(d <= TOL_CPU)) fail_msg("float32, chunks of %d: %.2e from the CPU", chunks[c], d);
        infer(&x, &be, HY_BF16, false, chunks[c], low);
        d = kt_difference(low, want, ROWS * V);
        if (!(d <= TOL_BF16 && d > TOL_CPU)) fail_msg("bfloat16, chunks of %d: %.2e from float32", chunks[c], d);
        infer(&x, &be, HY_BF16, true, chunks[c], got);
        assert_memory_equal(got, low, sizeof got);
    }
    seen a, b;
    for (int i = 0; i < x.p->n_params; i++) x.p->params[i].kept = HY_F32;
    free(train(&x, &be, HY_F32, &a));
    free(train(&x, &be, HY_BF16, &b));
    for (int i = 0; i < a.n; i++)
        if (!(fabs(a.p[i].loss - b.p[i].loss) <= TOL_LOSS * a.p[i].loss))
            fail_msg("step %d: loss %.6f, in bfloat16 %.6f", i + 1, a.p[i].loss, b.p[i].loss);
    assert_true(a.p[a.n - 1].loss != b.p[a.n - 1].loss);
    close_setting(&x);
}

static void bf16_states(void **state) {
    (void)state;
    setting x;
    open_setting(&x);
    hy_backend be = backend();
    const hy_dtype types[] = {HY_F32, HY_BF16};
    for (int k = 0; k < 2; k++)
        for (int tokens = 1; tokens < 60; tokens += 29) {
            hy_cache_bytes sum;
            hy_state *st;
            hy_state_cache(&x.p->spec, types[k], tokens, NULL, &sum);
            need(hy_state_create(x.p, &be, types[k], 1, tokens, &st));
            assert_true((double)hy_state_bytes(st) == sum.total);
            hy_state_free(st);
        }
    hy_cache_bytes wide, low;
    hy_state_cache(&x.p->spec, HY_F32, 40, NULL, &wide);
    hy_state_cache(&x.p->spec, HY_BF16, 40, NULL, &low);
    assert_true(low.ssm == wide.ssm && low.kv * 2 == wide.kv && low.conv * 2 == wide.conv);
    close_setting(&x);
}

static void cpu_refuses_tf32(void **state) {
    (void)state;
    hy_backend be = backend();
    assert_int_equal(hy_precision_set(HY_PRECISION_TF32, &be), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "tf32 computing needs --device cuda"));
    assert_int_equal(hy_precision_set(HY_PRECISION_F32, &be), HY_OK);
    assert_int_equal(hy_precision_set(HY_PRECISION_BF16, &be), HY_OK);
    assert_ptr_equal(hy_precision_slow(HY_PRECISION_BF16, &be), hy_cpu_bf16_slow());  // as the processor has it
    assert_null(hy_precision_slow(HY_PRECISION_F32, &be));
}

// --------------------------------------------------------------------------------------------------- too little memory
static size_t room;  // bytes left
static void *(*real_alloc)(size_t bytes);
static void (*real_free)(void *p);
static struct {
    void *p;
    size_t bytes;
} given[512];

static void *small_alloc(size_t bytes) {
    if (bytes > room) {
        hy_error(HY_ENOMEM, "out of memory");
        return NULL;
    }
    int i = 0;
    while (given[i].p) i++;
    assert_true(i < 511);
    given[i].p = real_alloc(bytes);
    given[i].bytes = bytes;
    room -= bytes;
    return given[i].p;
}
static void small_free(void *p) {
    for (int i = 0; p && i < 512; i++)
        if (given[i].p == p) room += given[i].bytes, given[i].p = NULL;
    real_free(p);
}
static size_t small_left(void) { return room; }

// The message names what is held by class, what is free, and a batch that then really fits, while one more does not.
static void says_what_fits(void **state) {
    (void)state;
    setting x;
    hy_trainer *t;
    hy_exec_memory one, all;
    open_setting(&x);
    hy_backend be = backend();
    real_alloc = be.alloc, real_free = be.free;
    be.alloc = small_alloc, be.free = small_free, be.memory_free = small_left;
    x.recipe.batch = 64;
    const int length = META + hy_task_max_len(x.task);
    need(hy_exec_memory_plan(x.p, &be, HY_F32, HY_EXEC_TRAIN, 1, length, 0, &one));
    need(hy_exec_memory_plan(x.p, &be, HY_F32, HY_EXEC_TRAIN, 64, length, 0, &all));
    const size_t fixed = x.p->param_elems * 16 + 65536, before = fixed + all.device / 2;
    room = before;
    assert_int_equal(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t), HY_ENOMEM);
    assert_int_equal(room, before);  // nothing is kept
    const char *const words[] = {"weights", "gradients", "optimiser moments", "activations", "activation gradients",
                                 "saved",   "workspace", "MB are free",       "accumulate",  "out of memory"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(hy_error_text(), words[i])) fail_msg("no \"%s\" in: %s", words[i], hy_error_text());
    const char *at = strstr(hy_error_text(), "enough for a batch of ");
    if (!at) fail_msg("%s", hy_error_text());
    const int fits = atoi(at + strlen("enough for a batch of "));
    assert_true(fits > 1 && fits < 64);
    x.recipe.batch = fits;
    x.recipe.steps = 1;
    need(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t));
    need(hy_trainer_run(t, NULL, NULL, NULL));  // the evaluation has room too
    hy_trainer_free(t);
    x.recipe.batch = fits + 1;
    assert_int_equal(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t), HY_ENOMEM);
    room = fixed;
    assert_int_equal(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t), HY_ENOMEM);
    assert_non_null(strstr(hy_error_text(), "lower train.eval_batch"));
    x.recipe.eval_batch = 1;
    room = fixed + one.device / 2;
    assert_int_equal(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t), HY_ENOMEM);
    assert_non_null(strstr(hy_error_text(), "too little for one sequence"));
    room = 1000;
    assert_int_equal(hy_trainer_create(x.p, &be, HY_F32, &x.recipe, x.task, 17, &t), HY_ENOMEM);
    assert_non_null(strstr(hy_error_text(), "needs weights, gradients and two moments"));
    close_setting(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_training),     cmocka_unit_test(same_divergence),
        cmocka_unit_test(same_resumed),      cmocka_unit_test(lost_device),
        cmocka_unit_test(recorded_is_eager), cmocka_unit_test(recordings_are_told_apart),
        cmocka_unit_test(bf16_states),       cmocka_unit_test(says_what_fits),
        kt_cpu_test(cpu_refuses_tf32),       {"near_the_cpu", KT_CUDA ? near_the_cpu : NULL, NULL, NULL, NULL},
    };
    return kt_group(tests);
}
