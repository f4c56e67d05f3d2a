// text_impl.h - what task_text.c (options, reading of plain text) and task_text_docs.c (documents, windows) share.
// Internal, as task_impl.h is.
#ifndef HY_TEXT_IMPL_H
#define HY_TEXT_IMPL_H
#include "core/corpus/corpus.h"
#include "core/task/task_impl.h"

// How training examples are drawn: at places drawn uniformly; or windows end to end, in an order of their own in each
// pass over all of them (of several training lengths, each sees a share of the numbers that its passes are counted in).
// Whether a window stays in a document.
enum { HY_DRAW_AUTO = 0, HY_DRAW_CROPS, HY_DRAW_WINDOWS };
enum { HY_PACK_NONE = 0, HY_PACK_STREAM, HY_PACK_CUT };

typedef struct {
    char path[PATH_MAX], tokenizer[PATH_MAX];
    double validation, tuning;
    hy_ints train, test, train_examples;
    hy_doubles weights;
    int vocab, draw, pack;
    int64_t split_seed;
} hy_text_options;

// The documents of a split: document i is the tokens from[i] .. from[i] + (upto[i + 1] - upto[i]) - 1 of the text.
typedef struct {
    int64_t n, cap, bytes;  // bytes: of their text; -1: unknown
    int64_t *from, *upto;   // [n], [n + 1]
} hy_text_docs;

typedef struct {
    // where the tokens are: bytes, or ids, or a set
    hy_buf all;
    hy_token_ids ids;  // of `all`, with a tokenizer
    hy_corpus *corpus;
    hy_tokenizer *tokenizer;  // NULL: bytes, or it was not named
    hy_text_docs docs[HY_SPLITS];
    bool whole;  // there are no documents: every split is one, no shorter than a window
    // windows, or places, of the documents before each, by cell; of a split that is one document NULL
    int64_t **before[HY_SPLITS];
    int n_before[HY_SPLITS];
} hy_text_data;

// Puts a document, or a part of the text, into a split.
void hy_text_docs_add(hy_text_docs *d, int64_t from, int64_t tokens, int64_t bytes);
// The documents of a set: each in a split by a hash of its ids and split_seed. A set of one is cut as plain text is.
hy_status hy_text_split_set(const hy_text_options *o, hy_text_data *d);
// Adds the cells of a split, when its documents are known.
hy_status hy_text_cells(hy_task *t, hy_split s);
void hy_text_docs_free(hy_text_data *d);
// hy_task_kind_def.pass, .example
int64_t hy_text_pass(const hy_task *t, int cell);
hy_status hy_text_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                          int32_t *labels);
#endif
