// task_impl.h - what the files of the task kinds (task_*.c), task.c and task_cells.c share. Internal: users of tasks
// include task.h.
#ifndef HY_TASK_IMPL_H
#define HY_TASK_IMPL_H
#include <limits.h>

#include "core/task/task.h"

#define HY_TASK_MAX_CELLS (1 << 13)           // cell numbers take 13 bits of a stream's name
#define HY_TASK_MAX_INDEX ((int64_t)1 << 48)  // example numbers take 48
#define HY_TASK_MAX_VOCAB 16777216.0
#define HY_TASK_MAX_LEN 16777216.0

// What a stream of random numbers is for: the three highest bits of its name, so no two purposes share a number.
typedef enum { HY_DRAW_TRAIN = 0, HY_DRAW_EVAL = 2, HY_DRAW_TUNE = 3, HY_DRAW_TABLE = 4, HY_DRAW_CELL = 6 } hy_draw;

typedef struct {
    const char *name, *about;
    const hy_field *fields;
    size_t options_size;
    // Checks the options, adds cells of training and evaluation, sets vocab and entropy (NAN before the call), may put
    // its own data into t->data.
    hy_status (*setup)(hy_task *t);
    // One example of a valid cell and index; r is that example's own stream. May be called from several threads.
    hy_status (*example)(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                         int32_t *labels);
    int64_t (*pass)(const hy_task *t, int cell);         // as hy_task_pass; may be NULL
    void (*release)(hy_task *t);                         // frees what setup put into t->data; may be NULL
    void (*text)(const hy_task *t, hy_buf *out);         // adds identity that the options lack; may be NULL
    const char *(*piece)(const hy_task *t, int32_t id);  // what a token stands for; NULL: tokens are numbers
    hy_status (*encode)(const hy_task *t, const char *text, size_t n, hy_token_ids *out);  // NULL: tokens are no text
    // An example as a person sees it; NULL: nothing to see.
    void (*picture)(const hy_task *t, const int32_t *ids, const int32_t *labels, hy_buf *out);
    // Examples are cut from what there is, not drawn: setup adds the cells of tuning too, if there is a part for it.
    bool of_data;
} hy_task_kind_def;

struct hy_task {
    const hy_task_kind_def *def;
    uint64_t seed;
    void *options;  // [def->options_size]
    void *data;     // the kind's own
    hy_cell *cells[HY_SPLITS];
    int n_cells[HY_SPLITS];
    int vocab, max_len;
    double entropy;
    double bytes_per_token;  // of the evaluation text; NAN: no text
};

// All kinds there are: a new one is its file and its row of task_kinds.def.
#define X0(name, def) extern const hy_task_kind_def def;
#define X(name, def) extern const hy_task_kind_def def;
#include "core/task/task_kinds.def"
#undef X0
#undef X

// The stream of (seed, purpose, cell, index).
hy_rng hy_task_rng(uint64_t seed, hy_draw purpose, int cell, int64_t index);
// Adds a cell; the name is printf style.
hy_status hy_task_cell_add(hy_task *t, hy_split s, hy_cell cell, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// Value i of a list that has one value for each of n cells, or one for all. The list is checked by hy_task_list_check.
int hy_task_list_at(const hy_ints *list, int i);
hy_status hy_task_list_check(const char *name, int list_n, int n, const char *of);
// Gives the training cells their weights: as listed; an empty list: by set size when all sets are finite, else equal.
hy_status hy_task_weights(hy_task *t, const hy_doubles *weights);
// One cell for each length of a list, named PREFIX and length, of length + extra tokens; x: the length, y as given.
hy_status hy_task_lengths(hy_task *t, hy_split s, const hy_ints *lengths, const hy_ints *examples, int extra, double y,
                          const char *prefix);
// A path that begins with ~, as what it stands for.
void hy_task_at_home(char path[PATH_MAX]);
// Fields that most kinds have in common, with the same meaning everywhere.
#define HY_TASK_FIELD_SETS(type, train_default, test_default)                                                 \
    {"train_examples",                                                                                        \
     HY_F_INTS,                                                                                               \
     offsetof(type, train_examples),                                                                          \
     0,                                                                                                       \
     train_default,                                                                                           \
     0,                                                                                                       \
     1e9,                                                                                                     \
     NULL,                                                                                                    \
     "size of the fixed training set, one number or one per training cell; 0: fresh examples for ever"},      \
        {"test_examples",                                                                                     \
         HY_F_INTS,                                                                                           \
         offsetof(type, test_examples),                                                                       \
         0,                                                                                                   \
         test_default,                                                                                        \
         1,                                                                                                   \
         1e9,                                                                                                 \
         NULL,                                                                                                \
         "evaluation examples, one number or one per evaluation cell"},                                       \
    {                                                                                                         \
        "weights", HY_F_DOUBLES, offsetof(type, weights), 0, "[]", 0, 1e12, NULL,                             \
            "share of training batches of each training cell; empty: by train_examples, or equal if any is 0" \
    }

// Markov source: probability of `next` after the `order` tokens at context.
double hy_task_markov_prob(const hy_task *t, const int32_t *context, int32_t next);
#endif
