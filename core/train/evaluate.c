// evaluate.c - accuracy and loss of given parameters on the evaluation or tuning cells of a task.
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train/evaluate.h"

void hy_eval_free(hy_eval *e) {
    free(e->cells);
    *e = (hy_eval){0};
}

static void add_sums(hy_score *to, const hy_score *s) {
    to->examples += s->examples;
    to->labels += s->labels;
    to->s_nll += s->s_nll;
    to->s_nll2 += s->s_nll2;
    to->s_nll_n += s->s_nll_n;
    to->s_n2 += s->s_n2;
    to->s_acc += s->s_acc;
    to->s_acc2 += s->s_acc2;
    to->s_right += s->s_right;
    to->s_exact += s->s_exact;
}

typedef struct {
    const hy_program *p;
    hy_exec *e;
    hy_params *w;
    const hy_task *task;
    hy_split split;
    int batch;
    int32_t *ids, *labels, *full_ids, *full_labels;
    hy_status (*tick)(void *user);  // or NULL
    void *user;
} evaluation;

// A loss that is not finite is no figure: the weights hold NaN, or values so large that the forward pass overflows.
static hy_status check_finite(const hy_cell *cell, hy_split split, int64_t example, int T, const int32_t *labels,
                              const float *nll) {
    for (int t = 0; t < T; t++)
        if (labels[t] >= 0 && !isfinite(nll[t]))
            return hy_error(HY_EDIVERGED,
                            "the loss of example %lld of %s cell %s is %g at token %d: the weights hold NaN or"
                            " infinity, or are too large",
                            (long long)example, split == HY_SPLIT_TUNE ? "tuning" : "evaluation", cell->name,
                            (double)nll[t], t);
    return HY_OK;
}

static hy_status eval_cell(evaluation *ev, int cell, int64_t n, hy_score *score) {
    const hy_cell *at = hy_task_cell(ev->task, ev->split, cell);
    const int T = at->T, m = ev->p->spec.meta_tokens;
    for (int64_t done = 0; done < n;) {
        const int B = n - done < ev->batch ? (int)(n - done) : ev->batch;
        if (ev->tick) HY_TRY(ev->tick(ev->user));
        for (int b = 0; b < B; b++)
            HY_TRY(hy_task_example(ev->task, ev->split, cell, done + b, ev->ids + (size_t)b * (size_t)T,
                                   ev->labels + (size_t)b * (size_t)T));
        hy_ids_with_meta(B, T, m, ev->ids, 0, ev->full_ids);
        hy_ids_with_meta(B, T, m, ev->labels, HY_IGNORE, ev->full_labels);
        const hy_batch batch = {.B = B, .T = m + T, .ids = ev->full_ids, .labels = ev->full_labels};
        HY_TRY(hy_exec_forward(ev->e, ev->w, &batch, NULL, HY_HEAD_LOSS, NULL));
        const float *nll = hy_exec_nll(ev->e);
        const int32_t *pred = hy_exec_pred(ev->e);
        if (!nll || !pred) return HY_EFAIL;
        for (int b = 0; b < B; b++) {
            const size_t first = (size_t)b * (size_t)(m + T) + (size_t)m;
            HY_TRY(check_finite(at, ev->split, done + b, T, ev->full_labels + first, nll + first));
            hy_score_add(score, T, ev->full_labels + first, nll + first, pred + first);
        }
        done += B;
        if (hy_interrupted) return hy_error(HY_EINTR, "interrupted during evaluation");
    }
    return HY_OK;
}

// Tokens of the longest example, those of meta counted. Tuning has the lengths of evaluation.
static int longest(const hy_program *p, const hy_task *task) {
    int T = 0;
    for (int c = 0; c < hy_task_cells(task, HY_SPLIT_EVAL); c++)
        if (hy_task_cell(task, HY_SPLIT_EVAL, c)->T > T) T = hy_task_cell(task, HY_SPLIT_EVAL, c)->T;
    return p->spec.meta_tokens + T;
}

hy_status hy_evaluate_memory(const hy_program *p, const hy_backend *be, hy_dtype dt, const hy_task *task, int batch,
                             size_t *bytes) {
    hy_exec_memory m;
    HY_TRY(hy_exec_memory_plan(p, be, dt, HY_EXEC_INFER, batch, longest(p, task), 0, &m));
    *bytes = m.device;
    return HY_OK;
}

hy_status hy_evaluate(const hy_program *p, hy_params *w, const hy_task *task, hy_split split, int batch,
                      int max_examples, hy_eval *out) {
    return hy_evaluate_ticking(p, w, task, split, batch, max_examples, NULL, NULL, out);
}

hy_status hy_evaluate_ticking(const hy_program *p, hy_params *w, const hy_task *task, hy_split split, int batch,
                              int max_examples, hy_status (*tick)(void *user), void *user, hy_eval *out) {
    *out = (hy_eval){.n_cells = hy_task_cells(task, split)};
    const int m = p->spec.meta_tokens, T = longest(p, task) - m;
    evaluation ev = {.p = p, .w = w, .task = task, .split = split, .batch = batch, .tick = tick, .user = user};
    if ((int64_t)batch * (m + T) > INT_MAX)
        return hy_error(HY_EINPUT,
                        "%d sequences of %d tokens at a time are more than %d positions: take a smaller batch", batch,
                        m + T, INT_MAX);
    HY_TRY(hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, batch, m + T, 0, &ev.e));
    out->cells = hy_xcalloc((size_t)out->n_cells, sizeof *out->cells);
    const size_t small = (size_t)batch * (size_t)T, full = (size_t)batch * (size_t)(m + T);
    ev.ids = hy_xcalloc(2 * small + 2 * full, sizeof(int32_t));
    ev.labels = ev.ids + small;
    ev.full_ids = ev.labels + small;
    ev.full_labels = ev.full_ids + full;
    hy_status s = HY_OK;
    for (int c = 0; !s && c < out->n_cells; c++) {
        int64_t n = hy_task_cell(task, split, c)->count;
        if (max_examples && n > max_examples) n = max_examples;
        s = eval_cell(&ev, c, n, &out->cells[c]);
        add_sums(&out->total, &out->cells[c]);
        hy_score_finish(&out->cells[c]);
    }
    hy_score_finish(&out->total);
    free(ev.ids);
    hy_exec_free(ev.e);
    if (s) hy_eval_free(out);
    return s;
}
