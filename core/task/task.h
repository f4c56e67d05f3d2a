// task.h - where training and evaluation examples come from. Every example is a pure function of (parameters, seed,
// split, cell, index); nothing depends on what was drawn before.
#ifndef HY_TASK_H
#define HY_TASK_H
#include "core/format/field.h"
#include "core/token/tokenizer.h"

#define HY_IGNORE (-100)
// What examples are for: training; evaluation, which is reported; tuning, by which a training may be ended early, so
// that what is reported has decided nothing. No two splits share an example's random stream, nor a token of a text.
typedef enum { HY_SPLIT_TRAIN = 0, HY_SPLIT_EVAL, HY_SPLIT_TUNE } hy_split;
enum { HY_SPLITS = 3 };

// A cell is a setting of the task that is reported on its own: (T, pairs) of MQAR, (length, depth) of needle.
typedef struct {
    char name[48];  // "T64.K8", "len256.depth0.50"
    int T;          // tokens of an example
    double x, y;    // the cell's coordinates (length, depth; length, pairs; ...)
    int64_t count;  // examples: training set size (0: fresh examples for ever); or of evaluation, of tuning
    double weight;  // share of training batches
    // Accuracy of a guess among the answers that an example itself offers; of tasks with classes: of who always names
    // the commonest one. 0: the kind does not tell.
    double chance;
} hy_cell;

typedef struct hy_task hy_task;
// kind: "mqar", "induction", "selective_copy", "needle", "markov", "text", "images", "mnist1d", "speech". options:
// "name: value" YAML of that kind's fields (NULL: defaults). seed: the data seed.
hy_status hy_task_open(const char *kind, const char *options_yaml, uint64_t seed, hy_task **out);
// n sequences of T tokens of the caller's own, copied: one cell (name; NULL: "T" and the length), whose examples are
// those of training and of evaluation. labels as hy_task_example gives them; NULL: the next token. For looking at a
// model: it has no options, and hy_task_open cannot open it again. HY_EINPUT: an id or a label that is not below vocab.
hy_status hy_task_given(const char *name, int n, int T, const int32_t *ids, const int32_t *labels, int vocab,
                        hy_task **out);
void hy_task_close(hy_task *t);
const char *hy_task_kind(const hy_task *t);
int hy_task_vocab(const hy_task *t);
int hy_task_max_len(const hy_task *t);  // longest example of any cell
// How many. Tuning has the cells of evaluation; a text without a tuning part has none.
int hy_task_cells(const hy_task *t, hy_split s);
const char *hy_split_name(hy_split s);  // "train", "eval", "tune"
const hy_cell *hy_task_cell(const hy_task *t, hy_split s, int cell);
// One example: ids[T], labels[T] (the token wanted AT that position; HY_IGNORE elsewhere). index: evaluation and
// tuning 0 .. count-1; training any, modulo count if that is not 0.
hy_status hy_task_example(const hy_task *t, hy_split s, int cell, int64_t index, int32_t *ids, int32_t *labels);
// Training batch number `step` (from 0) of B examples; all of one cell, chosen by weight as a function of (seed, step).
// ids, labels: [B, hy_task_max_len]; *T is the length in use (rows are T long, packed). Loader position = step.
hy_status hy_task_batch(const hy_task *t, int64_t step, int B, int32_t *ids, int32_t *labels, int *T);
// Of a cell of training whose examples are drawn in passes over a fixed set without end (windows of token shards), how
// many a pass has; 0: there are none such.
int64_t hy_task_pass(const hy_task *t, int cell);
// A pass over the finite training sets, instead: cell by cell in order, the examples of each in order, B at a time; the
// last batch of a cell may be smaller. How many batches that is; HY_EINPUT if a set is not finite, or if weights ask
// for other shares than the sets have.
hy_status hy_task_epoch(const hy_task *t, int B, int64_t *batches);
// Batch n (0 ..) of a pass: *rows examples of *T tokens.
hy_status hy_task_epoch_batch(const hy_task *t, int64_t n, int B, int32_t *ids, int32_t *labels, int *T, int *rows);
// Nats per labelled token of evaluation examples that no model can beat on average (entropy of the source given the
// context: 0 where the labels follow from the ids); NAN if unknown.
double hy_task_entropy(const hy_task *t);
// Bytes of source text per token of the evaluation part: loss / ln 2 / this is bits per byte. 1 for bytes; NAN if it is
// no text.
double hy_task_bytes_per_token(const hy_task *t);
// What a token stands for: a piece of a tokenizer, the query, a class; NULL if it is a number or a byte.
const char *hy_task_piece(const hy_task *t, int32_t id);
// Appends the tokens that a text of one's own has in a task of text, as its parts are encoded. HY_EINPUT: its tokens
// stand for no text.
hy_status hy_task_encode(const hy_task *t, const char *text, size_t n, hy_token_ids *out);
// An example drawn in characters, line by line; false: the kind has no picture.
bool hy_task_picture(const hy_task *t, const int32_t *ids, const int32_t *labels, hy_buf *out);
// Table of fields of a kind (for YAML and help), NULL if there is no such kind; names: "mqar|induction|...".
const hy_field *hy_task_fields(const char *kind);
const char *hy_task_kinds(void);
const char *hy_task_about(const char *kind);  // one line: what a model is asked to do; NULL if there is no such kind
// Canonical text: kind, resolved options, for text also size and hash of the bytes. Part of a run's identity.
void hy_task_text(const hy_task *t, hy_buf *out);

// ---- scoring (tasks.md): accuracy = mean over the labelled positions of an example, then mean over examples;
// loss = mean nll over labelled positions; standard errors over examples (sample sd with n - 1, over sqrt(n); NaN for
// fewer than 2 examples). Examples without a labelled position are left out. Zero-initialise, add, finish (may be
// repeated).
typedef struct {
    int64_t examples, labels;
    double loss, loss_se;          // nats per labelled position (micro); se of that ratio over examples
    double accuracy, accuracy_se;  // macro over examples
    double token_accuracy;         // micro over positions
    double exact, exact_se;        // share of examples with every label right
    // running sums
    double s_nll, s_nll2, s_nll_n, s_n2, s_acc, s_acc2, s_right, s_exact;
} hy_score;
void hy_score_add(hy_score *s, int T, const int32_t *labels, const float *nll, const int32_t *pred);  // one example
void hy_score_finish(hy_score *s);
#endif
