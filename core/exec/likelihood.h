// likelihood.h - how likely a model finds given tokens after given others: what benchmarks ask, thousands at a time.
#ifndef HY_LIKELIHOOD_H
#define HY_LIKELIHOOD_H
#include "core/exec/exec.h"

// ids [n]: tokens of text (meta tokens are added here). Tokens first .. n-1 are asked for, each after all before it:
// 1 <= first < n.
typedef struct {
    const int32_t *ids;
    int n, first;
    double sum;   // of log p(token), in nats
    bool greedy;  // each of these tokens is the likeliest one in its place (the first of equals)
} hy_likelihood_item;

typedef struct {
    int batch;  // sequences at a time, 0: 16
    int rows;  // tokens of all of them in one pass, 0: 1024: what bounds the memory, beside the caches of the sequences
} hy_likelihood_opts;

// Answers all items. Those that have the same tokens before `first` share one pass over them (their cache is copied
// for each continuation); the others are batched by length and padded. w must have been made with a backend whose
// by_token is set, or else results depend on the batch in the last bits: with it, on the CPU in float32, an item has
// the same bits whatever is asked beside it, however it is cut into passes, and as hy_generate's own logits, token by
// token. HY_EINPUT: a token outside the vocabulary, named by item; HY_EDIVERGED: a figure is not finite.
hy_status hy_likelihood(const hy_program *p, hy_params *w, const hy_likelihood_opts *o, int n,
                        hy_likelihood_item *items);
#endif
