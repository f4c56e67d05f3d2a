// score_rules.h - from texts to tokens and back by the rules of lm-evaluation-harness (its class for models of
// transformers), so that scores mean what printed ones mean.
//
// A pair of context and continuation is encoded as one text; the continuation's tokens are those after as many as the
// context alone has. White space at the end of the context goes to the continuation before. A context that is empty is
// one token, BOS or else EOS. Too long a pair loses tokens on the left. A text is scored in windows: the first one
// begins with that token, later ones go on where it ended, every token is scored once, and the last window looks back
// as far as it can.
#ifndef HY_SCORE_RULES_H
#define HY_SCORE_RULES_H
#include "core/exec/likelihood.h"
#include "core/token/tokenizer.h"
#include "experiments/cli/score_lines.h"

typedef struct {
    hy_tokenizer *t;
    int max_length;     // tokens that the model is given at most
    int32_t prefix;     // the token that stands for an empty context; -1: none
    char *prefix_text;  // what it decodes to
    char *bos_text;     // of the tokenizer's BOS; "": it has none
    hy_token_ids eos;   // tokens that end a generation
    char *eos_text;     // a text that does
} hy_score_rules;
// eos: tokens at which generation ends (copied). prefix: -1: the tokenizer's BOS, else its EOS.
hy_status hy_score_rules_make(hy_tokenizer *t, int max_length, int prefix, const hy_token_ids *eos,
                              hy_score_rules *out);
void hy_score_rules_free(hy_score_rules *r);

// Items to be scored, with the request that each belongs to, and their tokens, which are owned here.
typedef struct {
    hy_likelihood_item *v;
    int *request;
    int n, cap;
    int32_t **ids;  // [n] of each
} hy_score_items;
void hy_score_items_free(hy_score_items *items);
// Appends what request `index` asks for: one item, or the windows of a text. HY_EINPUT: "WHERE: FIELD: reason".
hy_status hy_score_rules_items(const hy_score_rules *r, const hy_ask_request *q, int index, hy_score_items *out);
// The tokens that a generation begins with.
hy_status hy_score_rules_prompt(const hy_score_rules *r, const hy_ask_request *q, hy_token_ids *out);
// What was generated as text, ended at the first text that ends it; *ended: there was one.
hy_status hy_score_rules_text(const hy_score_rules *r, const hy_ask_request *q, const int32_t *ids, int n, hy_buf *out,
                              bool *ended);
#endif
