// task.c - opening tasks, cells, training batches, scoring. What an example looks like is in task_<kind>.c.
#include "core/task/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task_impl.h"
#include "core/format/yaml.h"

static const struct {
    const char *name;
    const hy_task_kind_def *def;
} kinds[] = {
#define X0(name, def) {name, &def},
#define X(name, def) {name, &def},
#include "core/task/task_kinds.def"
#undef X0
#undef X
};
#define N_KINDS ((int)(sizeof kinds / sizeof kinds[0]))

static const hy_task_kind_def *kind_find(const char *name) {
    for (int i = 0; i < N_KINDS; i++)
        if (!strcmp(kinds[i].name, name)) return kinds[i].def;
    return NULL;
}

// ---------------------------------------------------------------------------------------------------- open, close
static bool blank(const char *s) { return s[strspn(s, " \t\r\n")] == 0; }

static hy_status read_options(hy_task *t, const char *yaml) {
    hy_fields_default(t->def->fields, t->options);
    if (!yaml || blank(yaml)) return HY_OK;
    hy_yaml *root = NULL;
    HY_TRY(hy_yaml_parse("task options", yaml, strlen(yaml), &root));
    hy_status s = hy_yaml_fields(root, t->def->fields, t->options, NULL);
    hy_yaml_free(root);
    return s;
}

// Tuning examples are drawn as those of evaluation are, cell by cell, from streams of their own.
static hy_status tuning_cells(hy_task *t) {
    for (int i = 0; i < t->n_cells[HY_SPLIT_EVAL]; i++)
        HY_TRY(hy_task_cell_add(t, HY_SPLIT_TUNE, t->cells[HY_SPLIT_EVAL][i], "%s", t->cells[HY_SPLIT_EVAL][i].name));
    return HY_OK;
}

hy_status hy_task_open(const char *kind, const char *options_yaml, uint64_t seed, hy_task **out) {
    *out = NULL;
    const hy_task_kind_def *def = kind_find(kind);
    if (!def) return hy_error(HY_EINPUT, "no task kind \"%s\"; there are %s", kind, hy_task_kinds());
    hy_task *t = hy_xcalloc(1, sizeof *t);
    t->def = def;
    t->seed = seed;
    t->entropy = t->bytes_per_token = NAN;
    t->options = hy_xcalloc(1, def->options_size);
    hy_status s = read_options(t, options_yaml);
    if (!s) s = def->setup(t);
    if (!s && !def->of_data) s = tuning_cells(t);
    if (s) {
        hy_task_close(t);
        return hy_error_context(s, "task %s", def->name);
    }
    HY_ASSERT(t->n_cells[HY_SPLIT_TRAIN] && t->n_cells[HY_SPLIT_EVAL] && t->vocab > 0 && t->max_len > 0);
    *out = t;
    return HY_OK;
}

void hy_task_close(hy_task *t) {
    if (!t) return;
    if (t->def->release) t->def->release(t);
    free(t->options);
    for (int s = 0; s < HY_SPLITS; s++) free(t->cells[s]);
    free(t);
}

const char *hy_task_kind(const hy_task *t) { return t->def->name; }
int hy_task_vocab(const hy_task *t) { return t->vocab; }
int hy_task_max_len(const hy_task *t) { return t->max_len; }
int hy_task_cells(const hy_task *t, hy_split s) { return t->n_cells[s]; }
const hy_cell *hy_task_cell(const hy_task *t, hy_split s, int cell) {
    HY_ASSERT(cell >= 0 && cell < t->n_cells[s]);
    return &t->cells[s][cell];
}
double hy_task_entropy(const hy_task *t) { return t->entropy; }
double hy_task_bytes_per_token(const hy_task *t) { return t->bytes_per_token; }
const char *hy_task_piece(const hy_task *t, int32_t id) { return t->def->piece ? t->def->piece(t, id) : NULL; }

hy_status hy_task_encode(const hy_task *t, const char *text, size_t n, hy_token_ids *out) {
    if (t->def->encode) return t->def->encode(t, text, n, out);
    return hy_error(HY_EINPUT, "task %s has tokens of its own, no text", t->def->name);
}

bool hy_task_picture(const hy_task *t, const int32_t *ids, const int32_t *labels, hy_buf *out) {
    if (!t->def->picture) return false;
    t->def->picture(t, ids, labels, out);
    return true;
}

const hy_field *hy_task_fields(const char *kind) {
    const hy_task_kind_def *def = kind_find(kind);
    return def ? def->fields : NULL;
}

const char *hy_task_about(const char *kind) {
    const hy_task_kind_def *def = kind_find(kind);
    return def ? def->about : NULL;
}

const char *hy_task_kinds(void) {
    return
#define X0(name, def) name
#define X(name, def) "|" name
#include "core/task/task_kinds.def"
#undef X0
#undef X
        ;
}

void hy_task_text(const hy_task *t, hy_buf *out) {
    hy_buf_printf(out, "kind: %s\n", t->def->name);
    hy_fields_text(t->def->fields, t->options, 0, out);
    if (t->def->text) t->def->text(t, out);
}

// ---------------------------------------------------------------------------------------------------- examples
static hy_draw draw_of(hy_split s) {
    return s == HY_SPLIT_TRAIN ? HY_DRAW_TRAIN : s == HY_SPLIT_EVAL ? HY_DRAW_EVAL : HY_DRAW_TUNE;
}

hy_status hy_task_example(const hy_task *t, hy_split s, int cell, int64_t index, int32_t *ids, int32_t *labels) {
    if (cell < 0 || cell >= t->n_cells[s])
        return hy_error(HY_EINPUT, "task %s: no %s cell %d, there are %d", t->def->name, hy_split_name(s), cell,
                        t->n_cells[s]);
    int64_t count = t->cells[s][cell].count;
    if (index < 0 || index >= HY_TASK_MAX_INDEX || (s != HY_SPLIT_TRAIN && index >= count))
        return hy_error(HY_EINPUT, "task %s, cell %s: no example %lld", t->def->name, t->cells[s][cell].name,
                        (long long)index);
    if (count) index %= count;
    hy_rng r = hy_task_rng(t->seed, draw_of(s), cell, index);
    return t->def->example(t, s, cell, index, &r, ids, labels);
}

hy_status hy_task_batch(const hy_task *t, int64_t step, int B, int32_t *ids, int32_t *labels, int *T) {
    if (B < 1 || step < 0 || step > HY_TASK_MAX_INDEX / B - 1)
        return hy_error(HY_EINPUT, "task %s: batch %lld of %d examples is out of range", t->def->name, (long long)step,
                        B);
    hy_rng r = hy_task_rng(t->seed, HY_DRAW_CELL, 0, step);
    double u = hy_rng_uniform(&r);
    int cell = -1;
    for (int i = 0; i < t->n_cells[HY_SPLIT_TRAIN]; i++) {
        double w = t->cells[HY_SPLIT_TRAIN][i].weight;
        if (w > 0) cell = i;  // rounding may leave u past the last sum: then the last cell with a weight
        if (w > 0 && u < w) break;
        u -= w;
    }
    HY_ASSERT(cell >= 0);  // a task has a cell to train on
    *T = t->cells[HY_SPLIT_TRAIN][cell].T;
    for (int b = 0; b < B; b++)
        HY_TRY(hy_task_example(t, HY_SPLIT_TRAIN, cell, step * B + b, ids + (size_t)b * (size_t)*T,
                               labels + (size_t)b * (size_t)*T));
    return HY_OK;
}

int64_t hy_task_pass(const hy_task *t, int cell) {
    return t->def->pass && !t->cells[HY_SPLIT_TRAIN][cell].count ? t->def->pass(t, cell) : 0;
}

hy_status hy_task_epoch(const hy_task *t, int B, int64_t *batches) {
    int64_t all = 0;
    *batches = 0;
    for (int i = 0; i < t->n_cells[HY_SPLIT_TRAIN]; i++) {
        const hy_cell *c = &t->cells[HY_SPLIT_TRAIN][i];
        if (!c->count)
            return hy_error(HY_EINPUT,
                            "task %s, training cell %s: epochs need a finite set of examples: set train_examples",
                            t->def->name, c->name);
        all += c->count;
        *batches += (c->count + B - 1) / B;
    }
    for (int i = 0; i < t->n_cells[HY_SPLIT_TRAIN]; i++) {
        const hy_cell *c = &t->cells[HY_SPLIT_TRAIN][i];
        if (fabs(c->weight - (double)c->count / (double)all) > 1e-9)
            return hy_error(HY_EINPUT,
                            "task %s, training cell %s: an epoch shows every example once, so weights have no say: "
                            "leave them out, and set its share with train_examples",
                            t->def->name, c->name);
    }
    return HY_OK;
}

hy_status hy_task_epoch_batch(const hy_task *t, int64_t n, int B, int32_t *ids, int32_t *labels, int *T, int *rows) {
    int cell = 0;
    const hy_cell *c = t->cells[HY_SPLIT_TRAIN];
    for (; cell < t->n_cells[HY_SPLIT_TRAIN] && n >= (c->count + B - 1) / B; cell++, c++) n -= (c->count + B - 1) / B;
    if (n < 0 || cell == t->n_cells[HY_SPLIT_TRAIN])
        return hy_error(HY_EINPUT, "task %s: no such batch of an epoch", t->def->name);
    const int64_t left = c->count - n * B;
    *T = c->T;
    *rows = left < B ? (int)left : B;
    for (int b = 0; b < *rows; b++)
        HY_TRY(hy_task_example(t, HY_SPLIT_TRAIN, cell, n * B + b, ids + (size_t)b * (size_t)*T,
                               labels + (size_t)b * (size_t)*T));
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- scoring
void hy_score_add(hy_score *s, int T, const int32_t *labels, const float *nll, const int32_t *pred) {
    double sum = 0;
    int n = 0, right = 0;
    for (int t = 0; t < T; t++) {
        if (labels[t] < 0) continue;
        n++;
        sum += (double)nll[t];
        right += pred[t] == labels[t];
    }
    if (!n) return;
    double acc = (double)right / n;
    s->examples++;
    s->labels += n;
    s->s_nll += sum;
    s->s_nll2 += sum * sum;
    s->s_nll_n += sum * n;
    s->s_n2 += (double)n * n;
    s->s_acc += acc;
    s->s_acc2 += acc * acc;
    s->s_right += right;
    s->s_exact += right == n;
}

// Standard error of a mean from the sum and the sum of squares of n values.
static double mean_se(double sum, double sum2, double n) {
    if (n < 2) return NAN;
    double var = (sum2 - sum * sum / n) / (n - 1);
    return var < 0 ? 0 : sqrt(var / n);  // below 0 only by rounding; NaN stays NaN
}

void hy_score_finish(hy_score *s) {
    double n = (double)s->examples, m = (double)s->labels;
    s->loss = s->s_nll / m;  // 0 / 0 is NaN: nothing was scored
    s->accuracy = s->s_acc / n;
    s->token_accuracy = s->s_right / m;
    s->exact = s->s_exact / n;
    s->accuracy_se = mean_se(s->s_acc, s->s_acc2, n);
    s->exact_se = mean_se(s->s_exact, s->s_exact, n);
    // The loss is a ratio of sums over examples: the residuals (sum nll - loss * labels) of the examples give its
    // variance.
    double rest = s->s_nll2 - 2 * s->loss * s->s_nll_n + s->loss * s->loss * s->s_n2;
    s->loss_se = n < 2 ? NAN : rest < 0 ? 0 : sqrt(n * rest / (n - 1)) / m;
}
