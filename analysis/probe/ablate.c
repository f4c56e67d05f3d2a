// ablate.c - see ablate.h. For each batch: the intact pass, what is put in the place of units, then a pass for each
// set, from the first op on that the set changes: sets go by that op, and what comes before is computed once.
#include "analysis/probe/ablate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const hy_ablation *a;
    const hy_units *u;
    hy_exec *e;
    hy_ablation_scores *out;
    int32_t *ids, *labels, *full_ids, *full_labels;  // of a batch, without and with meta tokens
    int B, T;                                        // of the newest batch, text tokens
    // Values that units are made of, as the newest intact pass had them; with `mean`, their means over the reference.
    float **seen;  // [n_values] [rows, width]
    double **sum;  // [n_values] [width]
    double summed;
    hy_edit *edits;  // of one set
    int *order;      // [sets] sets by the first op that they change
    int *first;      // [sets] that op; 0: none
} work;

// ---------------------------------------------------------------------------------------------------- examples
static hy_split reference_split(const hy_task *task) {
    return hy_task_cells(task, HY_SPLIT_TUNE) > 0 ? HY_SPLIT_TUNE : HY_SPLIT_TRAIN;
}

// So many examples of a cell of a split at most. The cells that are named are those of evaluation, which tuning has
// too.
static int some_of(const hy_ablation *a, hy_split split, int cell, int most) {
    if (split != HY_SPLIT_TRAIN && !hy_ints_want(a->cells, cell)) return 0;
    const int64_t have = hy_task_cell(a->task, split, cell)->count;
    return have && have < most ? (int)have : most;
}

static hy_split split_of(const hy_ablation *a) { return a->on_reference ? reference_split(a->task) : HY_SPLIT_EVAL; }
static int examples_of(const hy_ablation *a, int cell) {
    return some_of(a, split_of(a), cell, a->on_reference ? a->reference : a->examples);
}

// ---------------------------------------------------------------------------------------------------- batches
// Examples first .. first+B-1 of a cell, `shift` further on, around its count.
static hy_status load(work *k, hy_split split, int cell, int first, int B, int shift, int count) {
    const int T = hy_task_cell(k->a->task, split, cell)->T, m = k->a->prog->spec.meta_tokens;
    for (int b = 0; b < B; b++)
        HY_TRY(hy_task_example(k->a->task, split, cell, (first + b + shift) % count, k->ids + (size_t)b * (size_t)T,
                               k->labels + (size_t)b * (size_t)T));
    hy_ids_with_meta(B, T, m, k->ids, 0, k->full_ids);
    hy_ids_with_meta(B, T, m, k->labels, HY_IGNORE, k->full_labels);
    k->B = B;
    k->T = T;
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted at example %d of cell %d", first, cell);
    return HY_OK;
}

static hy_batch batch_of(const work *k) {
    return (hy_batch){
        .B = k->B, .T = k->a->prog->spec.meta_tokens + k->T, .ids = k->full_ids, .labels = k->full_labels};
}

static hy_status intact(work *k, const hy_probe *probe) {
    const hy_batch batch = batch_of(k);
    hy_exec_set_edits(k->e, NULL, 0);
    return hy_exec_forward(k->e, k->a->params, &batch, NULL, HY_HEAD_LOSS, probe);
}

// ---------------------------------------------------------------------------------------------------- what units give
static bool wants(void *user, const char *name) {
    const work *k = user;
    const hy_val v = hy_program_find(k->a->prog, name);
    return v >= 0 && k->seen[v];
}
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    work *k = user;
    memcpy(k->seen[hy_program_find(k->a->prog, name)], data, (size_t)rows * (size_t)width * sizeof *data);
    return HY_OK;
}

// The value that a residual part is added to, HY_NOVAL: the part is no residual.
static hy_val added_to(const work *k, const hy_unit *u, const hy_edit *part) {
    if (!hy_unit_residual(u)) return HY_NOVAL;
    const hy_program *p = k->a->prog;
    for (int i = 0; i < p->n_ops; i++)
        if (p->ops[i].out == part->value) return p->ops[i].in[part->input];
    HY_ASSERT(false);
    return HY_NOVAL;
}

static hy_status want(work *k, hy_val v, size_t rows) {
    if (v < 0 || k->seen[v]) return HY_OK;
    const size_t width = (size_t)k->a->prog->values[v].width;
    k->seen[v] = hy_alloc(rows * width * sizeof **k->seen);
    k->sum[v] = hy_xcalloc(width, sizeof **k->sum);
    return k->seen[v] ? HY_OK : HY_ENOMEM;
}

static hy_status want_units(work *k, size_t rows) {
    for (int i = 0; i < k->u->n; i++)
        for (int j = 0; j < k->u->v[i].n; j++) {
            const hy_edit *part = &k->u->v[i].part[j];
            HY_TRY(want(k, part->value, rows));
            HY_TRY(want(k, added_to(k, &k->u->v[i], part), rows));
        }
    return HY_OK;
}

// Turns the values that residual blocks made into what they added. From the last op on: an input is an output before.
static void subtract_residuals(work *k) {
    const hy_program *p = k->a->prog;
    const size_t rows = (size_t)k->B * (size_t)(p->spec.meta_tokens + k->T);
    for (int i = p->n_ops - 1; i >= 0; i--) {
        const hy_op *op = &p->ops[i];
        if (op->kind != HY_OP_LINEAR || op->in[1] < 0 || !k->seen[op->out] || !k->seen[op->in[1]]) continue;
        const size_t n = rows * (size_t)p->values[op->out].width;
        for (size_t c = 0; c < n; c++) k->seen[op->out][c] -= k->seen[op->in[1]][c];
    }
}

static hy_status look(work *k) {
    const hy_probe probe = {wants, got, k};
    HY_TRY(intact(k, &probe));
    subtract_residuals(k);
    return HY_OK;
}

static void add_to_sums(work *k) {
    const hy_program *p = k->a->prog;
    const size_t rows = (size_t)k->B * (size_t)(p->spec.meta_tokens + k->T);
    for (int v = 0; v < p->n_values; v++) {
        const size_t width = (size_t)p->values[v].width;
        for (size_t r = 0; k->seen[v] && r < rows; r++)
            for (size_t c = 0; c < width; c++) k->sum[v][c] += (double)k->seen[v][r * width + c];
    }
    k->summed += (double)rows;
}

// The means over the reference examples become the first row of `seen`.
static hy_status find_means(work *k) {
    const hy_task *task = k->a->task;
    const hy_split split = reference_split(task);
    for (int cell = 0; cell < hy_task_cells(task, split); cell++) {
        const int n = some_of(k->a, split, cell, k->a->reference);
        for (int done = 0; done < n; done += k->B) {
            const int B = n - done < k->a->batch ? n - done : k->a->batch;
            HY_TRY(load(k, split, cell, done, B, 0, n));
            HY_TRY(look(k));
            add_to_sums(k);
        }
    }
    for (int v = 0; v < k->a->prog->n_values; v++)
        for (int c = 0; k->seen[v] && c < k->a->prog->values[v].width; c++)
            k->seen[v][c] = (float)(k->sum[v][c] / k->summed);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- sets
static int edits_of(work *k, const bool *chosen) {
    const hy_program *p = k->a->prog;
    int n = 0;
    for (int i = 0; i < k->u->n; i++)
        for (int j = 0; chosen[i] && j < k->u->v[i].n; j++) {
            hy_edit *d = &k->edits[n++];
            *d = k->u->v[i].part[j];
            if (k->a->how == HY_ABLATE_ZERO) continue;
            d->with = k->seen[d->value] + d->col;
            d->ld = k->a->how == HY_ABLATE_MEAN ? 0 : p->values[d->value].width;
            if (!hy_unit_residual(&k->u->v[i])) d->input = -1;
        }
    return n;
}

// The op that makes the first value that taking a unit out changes.
static int first_op(const hy_program *p, const hy_unit *u) {
    int first = p->n_ops;
    for (int j = 0; j < u->n; j++) {
        const hy_val root = hy_value_root(p, u->part[j].value);
        for (int o = 0; o < first; o++)
            if (p->ops[o].out == root) first = o;
    }
    return first;
}

static void put_in_order(work *k, int sets, const bool *chosen) {
    const int units = k->u->n;
    int *of_unit = hy_xcalloc((size_t)units + 1, sizeof *of_unit);
    for (int i = 0; i < units; i++) of_unit[i] = first_op(k->a->prog, &k->u->v[i]);
    for (int s = 0; s < sets; s++) {
        int at = s, *first = &k->first[s];
        *first = k->a->prog->n_ops;
        for (int i = 0; i < units; i++)
            if (chosen[(size_t)s * (size_t)units + (size_t)i] && of_unit[i] < *first) *first = of_unit[i];
        if (*first == k->a->prog->n_ops) *first = 0;
        for (; at > 0 && k->first[k->order[at - 1]] > *first; at--) k->order[at] = k->order[at - 1];
        k->order[at] = s;
    }
    free(of_unit);
}

// The scores of the newest pass as those of a set, from example `at` on; returns how many have labels.
static hy_status keep_scores(work *k, int set, int at, int *n) {
    const int m = k->a->prog->spec.meta_tokens, S = m + k->T;
    const float *nll = hy_exec_nll(k->e);
    const int32_t *pred = hy_exec_pred(k->e);
    if (!nll || !pred) return HY_EFAIL;
    *n = 0;
    for (int b = 0; b < k->B; b++) {
        const int first = b * S + m;
        hy_score one = {0};
        hy_score_add(&one, k->T, k->full_labels + first, nll + first, pred + first);
        if (!one.examples) continue;
        if (!isfinite(one.s_nll))
            return hy_error(HY_EDIVERGED, "a loss is not finite%s: the weights hold NaN or infinity, or are too large",
                            set ? " without a part of the model" : "");
        const size_t i = (size_t)set * (size_t)k->out->n + (size_t)(at + (*n)++);
        k->out->loss[i] = one.s_nll / (double)one.labels;
        k->out->accuracy[i] = one.s_acc;
    }
    return HY_OK;
}

static hy_status run_batch(work *k, int cell, int first, int B, int count, int sets, const bool *chosen, int at,
                           int *n) {
    const hy_split split = split_of(k->a);
    if (k->a->how == HY_ABLATE_RESAMPLE) {
        HY_TRY(load(k, split, cell, first, B, 1, count));
        HY_TRY(look(k));
    }
    HY_TRY(load(k, split, cell, first, B, 0, count));
    HY_TRY(intact(k, NULL));
    HY_TRY(keep_scores(k, 0, at, n));
    const hy_batch batch = batch_of(k);
    for (int i = 0; i < sets; i++) {
        const int s = k->order[i];
        if (hy_interrupted) return hy_error(HY_EINTR, "interrupted at set %d of %d", i, sets);
        if (!i || k->first[s] > k->first[k->order[i - 1]])
            HY_TRY(hy_exec_mark(k->e, k->a->params, i ? NULL : &batch, HY_HEAD_LOSS, k->first[s]));
        hy_exec_set_edits(k->e, k->edits, edits_of(k, chosen + (size_t)s * (size_t)k->u->n));
        HY_TRY(hy_exec_forward_marked(k->e, k->a->params));
        HY_TRY(keep_scores(k, s + 1, at, n));
    }
    return HY_OK;
}

static hy_status run_cells(work *k, int sets, const bool *chosen) {
    const hy_split split = split_of(k->a);
    int at = 0;
    for (int cell = 0; cell < hy_task_cells(k->a->task, split); cell++) {
        const int n = examples_of(k->a, cell);
        if (n == 1 && k->a->how == HY_ABLATE_RESAMPLE)
            return hy_error(HY_EINPUT, "how: resample: cell %s has one example, another one is wanted to take from",
                            hy_task_cell(k->a->task, split, cell)->name);
        for (int done = 0; done < n;) {
            const int B = n - done < k->a->batch ? n - done : k->a->batch;
            int with_labels = 0;
            HY_TRY(run_batch(k, cell, done, B, n, sets, chosen, at, &with_labels));
            at += with_labels;
            done += B;
        }
    }
    // rows were laid out for all examples: close the gaps of those without labels
    for (int s = 1; s <= sets && at < k->out->n; s++) {
        memmove(k->out->loss + (size_t)s * (size_t)at, k->out->loss + (size_t)s * (size_t)k->out->n,
                (size_t)at * sizeof *k->out->loss);
        memmove(k->out->accuracy + (size_t)s * (size_t)at, k->out->accuracy + (size_t)s * (size_t)k->out->n,
                (size_t)at * sizeof *k->out->accuracy);
    }
    k->out->n = at;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- all
static hy_status open(work *k, int sets) {
    const hy_program *p = k->a->prog;
    const size_t T = (size_t)hy_task_max_len(k->a->task), S = T + (size_t)p->spec.meta_tokens, B = (size_t)k->a->batch;
    int parts = 0;
    for (int cell = 0; cell < hy_task_cells(k->a->task, split_of(k->a)); cell++) k->out->n += examples_of(k->a, cell);
    k->out->sets = sets + 1;
    const size_t scores = (size_t)k->out->n * (size_t)k->out->sets;
    k->out->loss = hy_alloc(scores * sizeof(double) + 1);
    k->out->accuracy = hy_alloc(scores * sizeof(double) + 1);
    k->ids = hy_alloc(2 * B * (T + S) * sizeof *k->ids);
    if (!k->out->loss || !k->out->accuracy || !k->ids) return HY_ENOMEM;
    k->labels = k->ids + B * T;
    k->full_ids = k->labels + B * T;
    k->full_labels = k->full_ids + B * S;
    for (int i = 0; i < k->u->n; i++) parts += k->u->v[i].n;
    k->edits = hy_xcalloc((size_t)parts + 1, sizeof *k->edits);
    k->order = hy_xcalloc(2 * (size_t)sets + 1, sizeof *k->order);
    k->first = k->order + sets;
    k->seen = hy_xcalloc((size_t)p->n_values, sizeof *k->seen);
    k->sum = hy_xcalloc((size_t)p->n_values, sizeof *k->sum);
    if (k->a->how != HY_ABLATE_ZERO) HY_TRY(want_units(k, B * S));
    return hy_exec_create(p, k->a->params->be, k->a->params->compute, HY_EXEC_INFER, (int)B, (int)S, 0, &k->e);
}

static void close(work *k) {
    for (int v = 0; k->seen && v < k->a->prog->n_values; v++) free(k->seen[v]), free(k->sum[v]);
    free(k->seen), free(k->sum), free(k->edits), free(k->order), free(k->ids);
    hy_exec_free(k->e);
}

void hy_ablation_scores_free(hy_ablation_scores *s) {
    free(s->loss), free(s->accuracy);
    *s = (hy_ablation_scores){0};
}

hy_status hy_ablate_check(const hy_units *u, hy_ablate_how how) {
    for (int i = 0; i < u->n && how == HY_ABLATE_RESAMPLE; i++)
        if (u->v[i].kind == HY_UNIT_META)
            return hy_error(HY_EINPUT, "how: resample: meta tokens are the same in every example; zero or mean");
    return HY_OK;
}

hy_status hy_ablate(const hy_ablation *a, const hy_units *u, int sets, const bool *chosen, hy_ablation_scores *out) {
    *out = (hy_ablation_scores){0};
    HY_TRY(hy_ablate_check(u, a->how));
    work k = {.a = a, .u = u, .out = out};
    hy_status s = open(&k, sets);
    if (!s && a->how == HY_ABLATE_MEAN) s = find_means(&k);
    if (!s) put_in_order(&k, sets, chosen);
    if (!s) s = run_cells(&k, sets, chosen);
    close(&k);
    if (s) hy_ablation_scores_free(out);
    return s;
}
