// seq_impl.h - what the tasks share whose examples are a sequence of levels with a class at its end: images, speech,
// mnist1d. Internal, as task_impl.h is. task_seq.c.
//
// Tokens: 0 .. levels - 1 the values of a sequence, `levels` the query (or the start), levels + 1 + c the class c.
//   target label: the values, then the query; the label at the query is the class. T = length + 1.
//   target next:  the start, then all values but the last; the label of a position is the next value. T = length, every
//                 value is scored once, and the classes are no tokens.
#ifndef HY_SEQ_IMPL_H
#define HY_SEQ_IMPL_H
#include "core/task/task_impl.h"

#define HY_SEQ_MAX_BYTES ((size_t)4 << 30)  // of a file, and of all values of a task
#define HY_SEQ_MAX_CLASSES 4096
enum { HY_SEQ_LABEL = 0, HY_SEQ_NEXT = 1, HY_SEQ_ANY = 255 };  // targets; a split that is not told yet

typedef struct {
    int target, levels, train_examples, test_examples;
    double validation, tuning;
    int64_t split_seed;
} hy_seq_options;

// Fields of a type whose first member is `hy_seq_options seq`.
#define HY_SEQ_TOKENS(type, levels_default)                                                              \
    {"target",                                                                                           \
     HY_F_ENUM,                                                                                          \
     offsetof(type, seq.target),                                                                         \
     0,                                                                                                  \
     "label",                                                                                            \
     0,                                                                                                  \
     0,                                                                                                  \
     "label|next",                                                                                       \
     "label: the class, asked for at the end; next: each value from those before it (bits per value)"},  \
    {                                                                                                    \
        "levels", HY_F_INT, offsetof(type, seq.levels), 0, levels_default, 2, 256, NULL,                 \
            "values that a token of the sequence may have; further tokens are the query and the classes" \
    }
#define HY_SEQ_SPLITS(type)                                                                                \
    {"validation",                                                                                         \
     HY_F_DOUBLE,                                                                                          \
     offsetof(type, seq.validation),                                                                       \
     0,                                                                                                    \
     "0",                                                                                                  \
     0,                                                                                                    \
     0.9,                                                                                                  \
     NULL,                                                                                                 \
     "share kept for evaluation, of data that have no test part of their own"},                            \
        {"tuning",                                                                                         \
         HY_F_DOUBLE,                                                                                      \
         offsetof(type, seq.tuning),                                                                       \
         0,                                                                                                \
         "0.1",                                                                                            \
         0,                                                                                                \
         0.9,                                                                                              \
         NULL,                                                                                             \
         "share kept apart for train.stop_accuracy and for choosing; of data that have a part for it: 0"}, \
        {"split_seed",                                                                                     \
         HY_F_LONG,                                                                                        \
         offsetof(type, seq.split_seed),                                                                   \
         0,                                                                                                \
         "42",                                                                                             \
         0,                                                                                                \
         9e15,                                                                                             \
         NULL,                                                                                             \
         "seed of the split; the run's seed orders the training examples only"},                           \
        {"train_examples",                                                                                 \
         HY_F_INT,                                                                                         \
         offsetof(type, seq.train_examples),                                                               \
         0,                                                                                                \
         "all",                                                                                            \
         1,                                                                                                \
         1e9,                                                                                              \
         "all",                                                                                            \
         "training examples, drawn by split_seed"},                                                        \
    {                                                                                                      \
        "test_examples", HY_F_INT, offsetof(type, seq.test_examples), 0, "all", 1, 1e9, "all",             \
            "evaluation examples, and tuning examples, at most"                                            \
    }

// Sequences that were read from files: items of the same length. Zero-initialised; a reader fills in n to names.
typedef struct {
    int64_t n, cap;
    int len, classes;
    uint8_t *values;              // [n, len] levels
    int32_t *label;               // [n]
    uint8_t *split;               // [n] hy_split or HY_SEQ_ANY
    int64_t *group;               // [n] items of one group are in one split; hy_seq_room: each is its own
    char **names;                 // [classes]; NULL: numbers
    int height, width, channels;  // of images: len = height * width * channels
    hy_hasher *hasher;            // of all files' names and bytes
    // made by hy_seq_finish:
    int64_t *order[HY_SPLITS], count[HY_SPLITS];  // the items of each split
    int32_t *from;                                // [len] position i holds value from[i]; NULL: i
    char content[33];
    char (*pieces)[64];  // [1 + classes] the query and the classes, as words
} hy_seq;

void hy_seq_free(hy_seq *d);
// Room for `more` items of len values each behind those that there are, split HY_SEQ_ANY; HY_EINPUT names `path` if
// that would be too many, or if len is another than before.
hy_status hy_seq_room(hy_seq *d, const char *path, int64_t more, int len);
// A file in the hash of the content: its name and bytes.
void hy_seq_hash(hy_seq *d, const char *name, const void *data, size_t n);
// Splits what is not split yet, orders the training examples by t->seed, adds the cells; sets vocab. path: for
// messages.
hy_status hy_seq_finish(hy_task *t, hy_seq *d, const hy_seq_options *o, const char *path);
// A permutation of 0 .. n-1 by a seed: Fisher and Yates. Caller frees. lane: another is another permutation.
int64_t *hy_seq_permutation(int64_t n, uint64_t seed, int lane);
// The order of permuted values, as hy_seq.from. Caller frees.
int32_t *hy_seq_order(int len, int64_t seed);
// An example's tokens from its values and class; from: as in hy_seq.
void hy_seq_tokens(const hy_seq_options *o, int len, const uint8_t *values, const int32_t *from, int label,
                   int32_t *ids, int32_t *labels);
int hy_seq_length(const hy_seq_options *o, int len);  // T
int hy_seq_vocab(const hy_seq_options *o, int classes);
// The values of an example as a drawing: rows of a picture, or a curve. values: [len], levels.
void hy_seq_draw_image(const int32_t *values, int height, int width, int channels, int levels, hy_buf *out);
void hy_seq_draw_curve(const int32_t *values, int len, int levels, hy_buf *out);
// An example's values, in their places, from its tokens; caller frees.
int32_t *hy_seq_values(const hy_seq_options *o, int len, const int32_t *from, const int32_t *ids,
                       const int32_t *labels);

// Of a kind with such options and a hy_seq as its data: what hy_task_kind_def asks for.
void hy_seq_release(hy_task *t);
hy_status hy_seq_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                         int32_t *labels);
void hy_seq_identity(const hy_task *t, hy_buf *out);
const char *hy_seq_piece(const hy_task *t, int32_t id);

// Readers. Each adds the items of one file; HY_EINPUT names the file, what is wrong and what to do.
hy_status hy_idx_images(hy_seq *d, const char *images, const char *labels, hy_split split);  // values 0 .. 255
typedef enum { HY_CIFAR_10 = 0, HY_CIFAR_100_FINE, HY_CIFAR_100_COARSE } hy_cifar;
hy_status hy_cifar_images(hy_seq *d, const char *path, hy_cifar kind, bool grey, hy_split split);
typedef struct {
    int rate;
    int64_t n;
    float *v;  // [n] -1 .. 1, the first channel; the caller frees
} hy_wav;
hy_status hy_wav_read(const char *path, const void *data, size_t n, hy_wav *out);
// A recording as a list of them tells it.
typedef struct {
    char *path, *label, *group;  // group "": its own
    uint8_t split;
} hy_clip;
typedef struct {
    int64_t n, cap;
    hy_clip *v;
} hy_clips;
void hy_clips_free(hy_clips *c);
hy_status hy_clips_add(hy_clips *c, const char *path, const char *label, const char *group, int split);
hy_status hy_clips_manifest(hy_clips *c, const char *path, const char *text, size_t n);  // CSV
hy_status hy_clips_folder(hy_clips *c, const char *path);
#endif
