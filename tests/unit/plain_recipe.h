// plain_recipe.h - the training step stated a second time, in plain double and by its definition: learning rate, passes
// over a finite set, loss, accumulation, clipping, AdamW with decoupled decay. Only the gradient of one micro-batch
// comes from the executor (test_model.c holds that against finite differences).
#ifndef HY_PLAIN_RECIPE_H
#define HY_PLAIN_RECIPE_H
#include "tests/unit/recipe_fixture.h"

// Both sides add the same numbers in double in another order; AdamW divides by gradients as small as its eps.
static const double TOL_STEP = 1e-11;
static const double TOL_SAME = 1e-12;

static double lr_of(const hy_train_spec *r, int s) {
    const double N = r->steps, w = r->warmup * N, low = r->lr * r->min_lr, span = r->lr - low;
    if (s < w) return r->lr * (s / w);
    if (r->schedule_per == HY_PER_EPOCH) {  // the steps before this epoch, but not fewer than the warm-up
        int before = 0;
        while (before + r->steps / r->epochs < s) before += r->steps / r->epochs;
        if (before < w) return r->lr;
        s = before;
    }
    const double left = N > w ? (N - s) / (N - w) : 0;  // share of what follows the warm-up that is still to come
    switch (r->schedule) {
        case HY_SCHED_CONSTANT: return r->lr;
        case HY_SCHED_LINEAR: return low + span * left;
        case HY_SCHED_COSINE: return low + span * pow(sin(acos(-1) / 2 * left), 2);
        case HY_SCHED_WSD: return N - s >= r->decay * N ? r->lr : low + span * (N - s) / (r->decay * N);
    }
    return NAN;
}

static const char *const models[] = {
    // meta tokens, both kinds of heads, shared keys, biases, inner norms, an output table of its own
    "name: hymba\nvocab: 20\nd_model: 8\nlayers: 3\nmixer: parallel\nmeta_tokens: 2\ntied: false\ninit: {std: 0.3}\n"
    "attention: {heads: 2, kv_heads: 1, window: 3, qkv_bias: true, out_bias: true}\nkv_share: [[0, 1]]\n"
    "ssm: {expand: 1, d_state: 3, d_conv: 3, dt_rank: 2, proj_bias: true}\nmlp: {kind: silu, d_ff: 6, bias: true}\n",
    // Mamba-2 heads, a gate, queries and keys normalised
    "name: gate2\nvocab: 20\nd_model: 8\nlayers: 1\nmixer: parallel\nfusion: gate\ninit: {std: 0.3}\n"
    "attention: {heads: 2, qk_norm: true}\nssm: {kind: mamba2, expand: 1, d_state: 3, d_conv: 3, head_dim: 4}\n"
    "mlp: {kind: relu2, d_ff: 6}\n",
    // learned positions behind a meta token, biases of norms, dropout
    "name: placed\nvocab: 20\nd_model: 8\nlayers: 1\nmeta_tokens: 1\npositions: learned\nmax_len: 16\nrope: {kind: "
    "none}\n"
    "norm: {kind: layer, bias: true}\ninit: {std: 0.3}\nattention: {heads: 2}\nmlp: {d_ff: 6}\ndropout: {embedding: "
    "0.4, attention: 0.3}\n",
    // an out projection for each kind of head, one mixer after another, LayerNorm
    "name: sum\nvocab: 20\nd_model: 8\nlayers: 2\ninit: {std: 0.3}\nattention: {heads: 2}\n"
    "ssm: {expand: 1, d_state: 3, d_conv: 3, dt_rank: 2}\nmlp: {kind: none}\nnorm: {kind: layer}\n"
    "pattern: [{mixer: parallel, fusion: sum}, {mixer: attention_ssm}]\n",
};

// Decay is for what multiplies: matrices, the rows of tables, filters. Not for norms, biases and what the recurrence is
// made of.
static bool decays(const char *name) {
    static const char *const yes[] = {
        "embed",        "positions", "meta",           "head",        "in_proj", "out_proj", "attn_out_proj",
        "ssm_out_proj", "x_proj",    "dt_proj.weight", "conv.weight", "mlp.up",  "mlp.down", "fuse.gate.weight"};
    static const char *const no[] = {"norm", "bias", "A_log", "D"};
    const char *role = role_of(name);
    const size_t n = strlen(role);
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!strcmp(role, yes[i])) return true;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (n >= strlen(no[i]) && !strcmp(role + n - strlen(no[i]), no[i])) return false;
    fail_msg("%s: a parameter that no list here names", name);
    return false;
}

enum { MOST_LISTED = 32 };
// The batches of a pass over the training set, written down one after the other.
typedef struct {
    int n, cell[MOST_LISTED], first[MOST_LISTED], rows[MOST_LISTED];
} pass;
static pass pass_of(const hy_task *task, int B) {
    pass p = {0};
    for (int c = 0; c < hy_task_cells(task, HY_SPLIT_TRAIN); c++)
        for (int i = 0, count = (int)hy_task_cell(task, HY_SPLIT_TRAIN, c)->count; i < count; i += B, p.n++) {
            assert_true(p.n < MOST_LISTED);
            p.cell[p.n] = c, p.first[p.n] = i, p.rows[p.n] = i + B < count ? B : count - i;
        }
    return p;
}

enum { LONGEST = 16, MOST_BATCH = 4 };

typedef struct {
    const hy_program *p;
    hy_train_spec r;
    const hy_task *task;
    hy_backend be;
    hy_params *w;  // where gradients are taken
    hy_exec *e;
    double *g, *m, *v;  // [param_elems]
    double loss, norm;  // of the newest step
    uint64_t seed;
    int mixed;  // steps whose micro-batches have different numbers of labels
} plain;

static void plain_open(plain *x, uint64_t seed) {
    x->be = reference();
    x->seed = seed;
    need(hy_params_create(x->p, &x->be, HY_F64, &x->w));
    need(hy_params_init(x->w, hy_trainer_init_seed(seed)));
    need(hy_params_want_grad(x->w));
    need(hy_exec_create(x->p, &x->be, HY_F64, HY_EXEC_TRAIN, x->r.batch, x->p->spec.meta_tokens + LONGEST, 0, &x->e));
    x->g = hy_xcalloc(3 * x->p->param_elems, sizeof *x->g);
    x->m = x->g + x->p->param_elems;
    x->v = x->m + x->p->param_elems;
}

static void plain_close(plain *x) {
    hy_exec_free(x->e);
    hy_params_free(x->w);
    free(x->g);
}

// Micro-batch k of a step: its examples, 0 where an epoch is over before it.
static int plain_batch(const plain *x, int step, int k, int32_t *ids, int32_t *labels, int *T) {
    if (!x->r.epochs) {
        need(hy_task_batch(x->task, (int64_t)(step - 1) * x->r.accumulate + k, x->r.batch, ids, labels, T));
        return x->r.batch;
    }
    const pass p = pass_of(x->task, x->r.batch);
    int at = 0;  // where the step's first micro-batch is in the list
    for (int s = 1; s < step; s++) at = at + x->r.accumulate < p.n ? at + x->r.accumulate : 0;
    if ((at += k) >= p.n) return 0;
    *T = hy_task_cell(x->task, HY_SPLIT_TRAIN, p.cell[at])->T;
    for (int b = 0; b < p.rows[at]; b++)
        need(hy_task_example(x->task, HY_SPLIT_TRAIN, p.cell[at], p.first[at] + b, ids + b * *T, labels + b * *T));
    return p.rows[at];
}

// Adds the gradient of the summed loss of a micro-batch; its labels.
static int plain_add(plain *x, int step, int k, double *nll) {
    int32_t ids[MOST_BATCH * LONGEST], labels[MOST_BATCH * LONGEST], full[2][MOST_BATCH * (LONGEST + 2)];
    int T, labelled = 0;
    const int m = x->p->spec.meta_tokens;
    const int B = plain_batch(x, step, k, ids, labels, &T);
    if (!B) return 0;
    for (int b = 0; b < B; b++)
        for (int t = 0; t < m + T; t++) {
            full[0][b * (m + T) + t] = t < m ? -1 - t : ids[b * T + t - m];
            full[1][b * (m + T) + t] = t < m ? -1 : labels[b * T + t - m];
            labelled += full[1][b * (m + T) + t] >= 0;
        }
    const hy_batch b = {.B = B, .T = m + T, .ids = full[0], .labels = full[1]};
    need(x->be.zero(x->w->grad, x->p->param_elems * sizeof(double)));
    // each micro-batch of the run drops by a key of its own
    hy_exec_set_dropout(x->e,
                        hy_mix64(hy_mix64(x->seed, 2), (uint64_t)(step - 1) * (uint64_t)x->r.accumulate + (uint64_t)k));
    need(hy_exec_forward(x->e, x->w, &b, NULL, HY_HEAD_LOSS, NULL));
    need(hy_exec_backward(x->e, x->w, 1.0, NULL));
    for (int i = 0; i < b.B * b.T; i++) *nll += ((const double *)hy_exec_device_nll(x->e))[i];
    for (int i = 0; i < x->p->n_params; i++) {
        const double *g = hy_params_ptr(x->w, i, true);
        for (size_t j = 0; j < x->p->params[i].n; j++) x->g[x->p->params[i].offset + j] += g[j];
    }
    return labelled;
}

static void plain_update(plain *x, int step, const hy_param *q, double *p, double scale) {
    const hy_train_spec *r = &x->r;
    const double lr = lr_of(r, step), wd = r->weight_decay_on || decays(q->name) ? r->weight_decay : 0;
    for (size_t j = 0; j < q->n; j++) {
        const double g = x->g[q->offset + j] * scale;
        double *m = &x->m[q->offset + j], *v = &x->v[q->offset + j];
        *m += (1 - r->beta1) * (g - *m);
        *v += (1 - r->beta2) * (g * g - *v);
        const double mean = *m / (1 - pow(r->beta1, step)), square = *v / (1 - pow(r->beta2, step));
        p[j] = p[j] * (1 - lr * wd) - lr * mean / (sqrt(square) + r->eps);
    }
}

static void plain_step(plain *x, int step) {
    double nll = 0, square = 0;
    int labels = 0, first = 0, mixed = 0;
    memset(x->g, 0, x->p->param_elems * sizeof *x->g);
    for (int k = 0; k < x->r.accumulate; k++) {
        const int n = plain_add(x, step, k, &nll);
        if (!k) first = n;
        mixed |= n != first;
        labels += n;
    }
    x->mixed += mixed;
    x->loss = nll / labels;  // the mean over all labels of the step, not of the means of its micro-batches
    for (size_t j = 0; j < x->p->param_elems; j++) square += pow(x->g[j] /= labels, 2);
    x->norm = sqrt(square);
    const double scale = x->r.clip > 0 && x->norm > x->r.clip ? x->r.clip / x->norm : 1;
    for (int i = 0; i < x->p->n_params; i++)
        plain_update(x, step, &x->p->params[i], hy_params_ptr(x->w, i, false), scale);
}

static void same_parameters(const plain *x, hy_trainer *t, int step, const char *recipe) {
    for (int i = 0; i < x->p->n_params; i++) {
        const double *a = hy_params_ptr(hy_trainer_params(t), i, false), *b = hy_params_ptr(x->w, i, false);
        for (size_t j = 0; j < x->p->params[i].n; j++)
            if (!(fabs(a[j] - b[j]) <= TOL_STEP * (1 + fabs(b[j]))))
                fail_msg("%s, %s: after step %d %s[%zu] is %.15g, not %.15g", x->p->spec.name, recipe, step,
                         x->p->params[i].name, j, a[j], b[j]);
    }
}

// One model with one recipe, step by step; steps that were clipped. mixed: steps of unequal micro-batches, added to.
static int steps_of(const char *model, const hy_train_spec *r, const hy_task *task, uint64_t seed, const char *recipe,
                    int *mixed) {
    hy_program *p = program_of(model);
    plain x = {.p = p, .r = *r, .task = task};
    hy_trainer *t;
    hy_train_point at;
    int clipped = 0;
    plain_open(&x, seed);
    need(hy_trainer_create(p, &x.be, HY_F64, r, task, seed, &t));
    for (int s = 1; s <= x.r.steps; s++) {
        plain_step(&x, s);
        need(hy_trainer_step(t, &at));
        assert_true(at.step == s && hy_trainer_step_count(t) == s);
        if (!(fabs(at.loss - x.loss) <= TOL_STEP * x.loss && fabs(at.grad_norm - x.norm) <= TOL_STEP * x.norm &&
              fabs(at.lr - lr_of(&x.r, s)) <= TOL_SAME))
            fail_msg("%s, %s, step %d: loss %.15g, norm %.15g, lr %.15g, not %.15g, %.15g, %.15g", p->spec.name, recipe,
                     s, at.loss, at.grad_norm, at.lr, x.loss, x.norm, lr_of(&x.r, s));
        clipped += x.r.clip > 0 && x.norm > x.r.clip;
        same_parameters(&x, t, s, recipe);
    }
    *mixed += x.mixed;
    hy_trainer_free(t);
    plain_close(&x);
    hy_program_free(p);
    return clipped;
}
#endif
