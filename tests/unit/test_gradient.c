// test_gradient.c - gradients of any value against differences in double precision, and the receptive field by
// gradients: a case by hand, windows that hide, batches, padding and dropout that change nothing.
#include <math.h>

#include "analysis/probe/gradient.h"
#include "core/exec/exec_impl.h"
#include "tests/unit/tiny_models.h"

#define OK(x)                                                                                 \
    do {                                                                                      \
        if ((x) != HY_OK) fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #x, hy_error_text()); \
    } while (0)

enum { B = 2, TEXT = 7, ROWS = 64, MOST = 32 };  // rows and width of a value at most
typedef struct {
    hy_backend be;
    hy_model_spec *spec;
    hy_program *p;
    hy_params *w;
    hy_exec *infer, *back;
    int T;
    int32_t ids[ROWS], text[B * TEXT];
    // what is read of a pass
    const char *name;
    hy_exec *of;
    double sum;  // of the seed times the value, in double
    const float *seed;
    float *got;
} rig;

static void open_rig(const char *text, uint64_t k, hy_dtype dt, const char *isa, rig *r) {
    *r = (rig){.spec = hy_xcalloc(1, sizeof *r->spec)};
    OK(hy_backend_cpu(isa, 1, &r->be));
    build(text, r->spec, &r->p);
    r->T = r->spec->meta_tokens + TEXT;
    hy_rng rng = hy_rng_make(3, k);
    for (int i = 0; i < B * TEXT; i++) r->text[i] = (int32_t)hy_rng_below(&rng, 13);
    hy_ids_with_meta(B, TEXT, r->spec->meta_tokens, r->text, 0, r->ids);
    OK(hy_params_create(r->p, &r->be, dt, &r->w));
    OK(hy_params_init(r->w, 11));
    for (int i = 0; dt == HY_F64 && i < r->p->n_params; i++) {
        double *x = hy_params_ptr(r->w, i, false);
        const bool table = !strcmp(r->p->params[i].name, "embed") || !strcmp(r->p->params[i].name, "meta");
        for (size_t j = 0; j < r->p->params[i].n; j++) {
            if (r->p->params[i].init == HY_INIT_ONES || r->p->params[i].init == HY_INIT_ZEROS)
                x[j] += 0.2 * hy_rng_normal(&rng);
            if (table) x[j] = round(x[j] * 8192) / 8192;  // an edit, in floats, hits it exactly
        }
    }
    OK(hy_exec_create(r->p, &r->be, dt, HY_EXEC_INFER, B, r->T, 0, &r->infer));
    OK(hy_exec_create(r->p, &r->be, dt, HY_EXEC_GRADIENT, B, r->T, 0, &r->back));
}

static void close_rig(rig *r) {
    hy_exec_free(r->infer), hy_exec_free(r->back);
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->spec);
}

static hy_batch batch_of(const rig *r) { return (hy_batch){.B = B, .T = r->T, .ids = r->ids}; }

static bool wants(void *user, const char *name) { return !strcmp(name, ((rig *)user)->name); }
static hy_status keep(void *user, const char *name, const float *data, int rows, int width) {
    (void)name;
    memcpy(((rig *)user)->got, data, (size_t)rows * (size_t)width * sizeof *data);
    return HY_OK;
}
// The seed times the value as it stands in the executor's memory.
static hy_status weigh(void *user, const char *name, const float *data, int rows, int width) {
    rig *r = user;
    (void)data;
    const hy_val v = hy_program_find(r->p, name), root = hy_value_root(r->p, v);
    const double *x = (const double *)(void *)(r->of->arena + r->of->layout.val[root]);
    const size_t ld = (size_t)r->p->values[root].width, col = hy_value_column(r->p, v), W = (size_t)width;
    r->sum = 0;
    for (size_t i = 0; i < (size_t)rows; i++)
        for (size_t c = 0; c < W; c++) r->sum += (double)r->seed[i * W + c] * x[i * ld + col + c];
    return HY_OK;
}

// The gradient of sum(seed * from) with respect to what embeddings make, in r->got.
static void backward(rig *r, hy_val from, const float *seed) {
    const hy_batch b = batch_of(r);
    char name[64];
    snprintf(name, sizeof name, "grad.%s", r->p->values[r->p->ops[0].out].name);
    r->name = name;
    OK(hy_exec_forward(r->back, r->w, &b, NULL, 0, NULL));
    OK(hy_exec_backward_from(r->back, r->w, from, seed, &(hy_probe){wants, keep, r}));
}

// Four-point differences along a direction of +-1 in what the embeddings give.
static double differences(rig *r, hy_val from, const float *seed, const float *base, const float *dir) {
    const size_t n = (size_t)B * (size_t)r->T * (size_t)r->spec->d_model;
    const float h = 1.0f / 8192;
    double f[4];
    float at[ROWS * MOST];
    const hy_batch b = batch_of(r);
    r->name = r->p->values[from].name, r->seed = seed, r->of = r->infer;
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < n; i++) at[i] = base[i] + (float)(k < 2 ? k - 2 : k - 1) * h * dir[i];
        const hy_edit edit = {
            .value = r->p->ops[0].out, .width = r->spec->d_model, .input = -1, .with = at, .ld = r->spec->d_model};
        hy_exec_set_edits(r->infer, &edit, 1);
        OK(hy_exec_forward(r->infer, r->w, &b, NULL, 0, &(hy_probe){wants, weigh, r}));
        f[k] = r->sum;
    }
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * (double)h);
}

// From every value of every kind of model that the loss depends on.
static void any_value(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        rig r;
        open_rig(models[k], k, HY_F64, "ref", &r);
        float base[ROWS * MOST], dir[ROWS * MOST], grad[ROWS * MOST], seed[ROWS * 128];
        const size_t n = (size_t)B * (size_t)r.T * (size_t)r.spec->d_model;
        const hy_batch b = batch_of(&r);
        r.name = r.p->values[r.p->ops[0].out].name, r.got = base;
        OK(hy_exec_forward(r.infer, r.w, &b, NULL, 0, &(hy_probe){wants, keep, &r}));
        hy_rng rng = hy_rng_make(5, k);
        for (size_t i = 0; i < n; i++) dir[i] = hy_rng_below(&rng, 2) ? 1 : -1;
        int tried = 0;
        for (hy_val v = 0; v < r.p->n_values; v++) {
            const int width = r.p->values[v].width;
            assert_true(width <= 128);
            if (r.back->layout.grad[hy_value_root(r.p, v)] == HY_NOWHERE) continue;
            for (int i = 0; i < B * r.T * width; i++) seed[i] = (float)hy_rng_normal(&rng);
            r.got = grad;
            backward(&r, v, seed);
            double want = 0, size = 0;
            for (size_t i = 0; i < n; i++) want += (double)grad[i] * dir[i], size += (double)grad[i] * grad[i];
            const double got = differences(&r, v, seed, base, dir);
            if (!(fabs(got - want) <= 1e-6 * (fabs(got) + sqrt(size)) + 1e-9))
                fail_msg("%s, from %s: backward %.12g, differences %.12g", r.spec->name, r.p->values[v].name, want,
                         got);
            tried++;
        }
        assert_true(tried >= 10);
        close_rig(&r);
    }
}

// What the loss does to the output matrix's input, given as a seed, is the loss's own backward, bit by bit; gradients
// of parameters stay as they are.
typedef struct {
    const hy_program *p;
    float *grad[512];
} all_grads;
static bool wants_all(void *user, const char *name) {
    (void)user;
    return !strncmp(name, "grad.", 5);
}
static hy_status keep_all(void *user, const char *name, const float *data, int rows, int width) {
    all_grads *a = user;
    const hy_val v = hy_program_find(a->p, name + 5);
    assert_true(v >= 0 && v < 512 && !a->grad[v]);
    a->grad[v] = hy_xcalloc((size_t)rows * (size_t)width, sizeof(float));
    memcpy(a->grad[v], data, (size_t)rows * (size_t)width * sizeof(float));
    return HY_OK;
}

static void as_the_loss(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        rig r;
        open_rig(models[k], k, HY_F32, "auto", &r);
        all_grads of[2] = {{.p = r.p}, {.p = r.p}};
        hy_val head = HY_NOVAL;
        for (int i = 0; i < r.p->n_ops; i++)
            if (r.p->ops[i].kind == HY_OP_LM_LOSS) head = r.p->ops[i].in[0];
        hy_batch b = batch_of(&r);
        b.labels = r.ids;
        OK(hy_params_want_grad(r.w));
        memset(r.w->grad, 0, r.p->param_elems * sizeof(float));
        OK(hy_exec_forward(r.back, r.w, &b, NULL, 0, NULL));
        OK(hy_exec_backward(r.back, r.w, 0.5, &(hy_probe){wants_all, keep_all, &of[0]}));
        float *grad = hy_xcalloc(r.p->param_elems, sizeof *grad);
        memcpy(grad, r.w->grad, r.p->param_elems * sizeof *grad);
        OK(hy_exec_forward(r.back, r.w, &b, NULL, 0, NULL));
        OK(hy_exec_backward_from(r.back, r.w, head, of[0].grad[head], &(hy_probe){wants_all, keep_all, &of[1]}));
        assert_memory_equal(grad, r.w->grad, r.p->param_elems * sizeof *grad);
        for (hy_val v = 0; v < r.p->n_values; v++) {
            assert_true(!of[0].grad[v] == !of[1].grad[v]);
            if (of[0].grad[v])
                assert_memory_equal(of[0].grad[v], of[1].grad[v],
                                    (size_t)B * (size_t)r.T * (size_t)r.p->values[v].width * sizeof(float));
            free(of[0].grad[v]), free(of[1].grad[v]);
        }
        free(grad);
        close_rig(&r);
    }
}

static void refused(void **state) {
    (void)state;
    rig r;
    open_rig(models[3], 0, HY_F32, "auto", &r);
    const hy_batch b = batch_of(&r);
    float seed[ROWS * MOST] = {0};
    OK(hy_exec_forward(r.back, r.w, &b, NULL, 0, NULL));
    assert_int_equal(hy_exec_backward_from(r.back, r.w, r.p->logits, seed, NULL), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "logits: the loss does not depend on it"));
    close_rig(&r);
}

// ---------------------------------------------------------------------------------------------------- receptive field
static void sizes_of(const rig *r, const int32_t *ids, int T, int at, hy_gradient_options o, double *size,
                     double *from) {
    hy_gradient *g;
    OK(hy_gradient_open(r->p, r->w, T, &g));
    OK(hy_gradient_run(g, ids, at, &o, size, from));
    hy_gradient_close(g);
}

// Attention alone: L layers of window w see L w positions back and no more; the last of them is seen.
static void windows(void **state) {
    (void)state;
    enum { T = 20, W = 3, L = 2 };
    rig r;
    open_rig(COMMON
             "name: w\nlayers: 2\nmixer: attention\nattention: {heads: 2, kv_heads: 1, window: 3, global_layers: "
             "none}\n",
             0, HY_F32, "auto", &r);
    int32_t ids[T];
    double size[T], from[L * T];
    for (int t = 0; t < T; t++) ids[t] = (t * 5 + 1) % 13;
    for (int at = T - 1; at > 11; at -= 6) {
        sizes_of(&r, ids, T, at, (hy_gradient_options){0}, size, from);
        for (int s = 0; s < T; s++) {
            assert_true((size[s] > 0) == (s <= at && s >= at - L * W));
            assert_true((from[T + s] > 0) == (s <= at && s >= at - W));
            assert_true(from[s] == size[s]);
        }
    }
    // what leaves the first layer has seen one window
    hy_gradient *g;
    OK(hy_gradient_open(r.p, r.w, T, &g));
    OK(hy_gradient_to(g, ids, T - 1, 0, &(hy_gradient_options){0}, size));
    for (int s = 0; s < T; s++) assert_true((size[s] > 0) == (s >= T - 1 - W));
    hy_gradient_close(g);
    close_rig(&r);
}

// No layers' parts at all: the gradient is that of the final norm, at the position itself.
static void by_hand(void **state) {
    (void)state;
    rig r;
    open_rig("vocab: 13\nd_model: 4\ninit: {std: 1}\nname: none\nlayers: 1\nmixer: none\nmlp: {kind: none}\n", 0,
             HY_F64, "ref", &r);
    double size[TEXT], table[13 * 4], w[4];
    memcpy(table, hy_params_ptr(r.w, hy_program_find_param(r.p, "embed"), false), sizeof table);
    memcpy(w, hy_params_ptr(r.w, hy_program_find_param(r.p, "final_norm"), false), sizeof w);
    const int at = 4;
    const double *x = table + 4 * r.text[at];
    for (int of = 0; of < 3; of++) {
        double rms = r.spec->norm_eps, y[4], dot = 0, d[4], l1 = 0, l2 = 0;
        int token = 9, best = 0;
        for (int c = 0; c < 4; c++) rms += x[c] * x[c] / 4;
        rms = sqrt(rms);
        double top = -INFINITY;
        for (int v = 0; v < 13; v++) {
            double logit = 0;
            for (int c = 0; c < 4; c++) logit += table[4 * v + c] * w[c] * x[c] / rms;
            if (logit > top) top = logit, best = v;
        }
        if (of == HY_GRADIENT_TOP) token = best;
        hy_rng rng = hy_rng_make(HY_GRADIENT_SEED, 5);
        for (int c = 0; c < 4; c++) y[c] = (of ? table[4 * token + c] : hy_rng_normal(&rng)) * w[c];
        for (int c = 0; c < 4; c++) dot += y[c] * x[c] / rms / 4;
        for (int c = 0; c < 4; c++) d[c] = (y[c] - dot * x[c] / rms) / rms, l1 += fabs(d[c]), l2 += d[c] * d[c];
        for (int norm = 0; norm < 2; norm++) {
            const hy_gradient_options o = {
                .of = (hy_gradient_of)of, .norm = (hy_gradient_norm)norm, .token = 9, .draw = 5};
            sizes_of(&r, r.text, TEXT, at, o, size, NULL);
            for (int s = 0; s < TEXT; s++) {
                const double want = s != at ? 0 : norm ? l1 : sqrt(l2);
                if (!(fabs(size[s] - want) <= 1e-6 * want)) fail_msg("of %d, %d: %g, not %g", of, s, size[s], want);
            }
        }
    }
    close_rig(&r);
}

// A sequence alone, beside another and with padding behind it; dropout in the recipe of the model drops nothing here.
static void alone(void **state) {
    (void)state;
    static const size_t which[] = {3, 6, 15, 16, 22};
    for (size_t k = 0; k < sizeof which / sizeof *which; k++) {
        rig r;
        open_rig(models[which[k]], k, HY_F64, "ref", &r);
        const int C = r.spec->d_model, at = 4, S = r.T, n = r.spec->meta_tokens + at + 1;
        float seed[ROWS * MOST] = {0}, got[ROWS * MOST], first[ROWS * MOST];
        hy_batch b = batch_of(&r);
        const int32_t len[B] = {n, S};
        hy_rng rng = hy_rng_make(HY_GRADIENT_SEED, 2);
        for (int c = 0; c < C; c++) seed[(n - 1) * C + c] = (float)hy_rng_normal(&rng);
        for (int pad = 0; pad < 2; pad++) {
            if (pad) b.len = len;
            r.name = "grad.layers.0.input", r.got = pad ? got : first;
            OK(hy_exec_forward(r.back, r.w, &b, NULL, 0, NULL));
            OK(hy_exec_backward_from(r.back, r.w, r.p->hidden_final, seed, &(hy_probe){wants, keep, &r}));
        }
        assert_memory_equal(got, first, (size_t)(B * S * C) * sizeof *got);
        for (int i = n * C; i < B * S * C; i++) assert_true(got[i] == 0);
        double size[ROWS];
        sizes_of(&r, r.text, at + 1, at, (hy_gradient_options){.draw = 2}, size, NULL);
        for (int s = 0; s < n; s++) {
            double sum = 0;
            for (int c = 0; c < C; c++) sum += (double)got[s * C + c] * got[s * C + c];
            assert_true(fabs(size[s] - sqrt(sum)) <= 1e-12 * sqrt(sum));
        }
        close_rig(&r);
    }
}

// In bfloat16 the seed and what comes of it are rounded.
static void bf16(void **state) {
    (void)state;
    rig f, h;
    double a[ROWS], b[ROWS], ab = 0, aa = 0, bb = 0;
    open_rig(models[3], 1, HY_F32, "auto", &f);
    open_rig(models[3], 1, HY_BF16, "auto", &h);
    sizes_of(&f, f.text, TEXT, TEXT - 1, (hy_gradient_options){0}, a, NULL);
    sizes_of(&h, h.text, TEXT, TEXT - 1, (hy_gradient_options){0}, b, NULL);
    for (int s = 0; s < f.T; s++) ab += a[s] * b[s], aa += a[s] * a[s], bb += b[s] * b[s];
    assert_true(ab / sqrt(aa * bb) > 0.999 && fabs(sqrt(bb / aa) - 1) < 0.02 && memcmp(a, b, sizeof *a * (size_t)f.T));
    close_rig(&f), close_rig(&h);
}

static void ranges(void **state) {
    (void)state;
    int first, last, next = 0;
    for (int k = 0; k < 40; k++, next = last + 1) {  // one after another, none missing
        hy_gradient_range(k, &first, &last);
        assert_true(first == next && last >= first);
        if (k >= 4) assert_int_equal(last - first + 1, 1 << (k / 2 - 1));
    }
    assert_int_equal(next, 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_value), cmocka_unit_test(as_the_loss), cmocka_unit_test(refused),
        cmocka_unit_test(windows),   cmocka_unit_test(by_hand),     cmocka_unit_test(alone),
        cmocka_unit_test(bf16),      cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests_name("gradient", tests, NULL, NULL);
}
