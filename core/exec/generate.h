// generate.h - decoding with caches: batches of prompts of different lengths, each giving what it gives alone.
#ifndef HY_GENERATE_H
#define HY_GENERATE_H
#include "core/exec/exec.h"

typedef struct {
    int max_new;         // tokens to add to each prompt
    double temperature;  // 0: greedy (the first of equal logits)
    int top_k;           // keep the k likeliest, 0: all
    double top_p;        // keep the smallest set with at least this probability, 1: all
    const int32_t *eos;  // [n_eos]: a sequence stops after any of these tokens
    int n_eos;           // 0: never
    int prefill_chunk;   // positions of a prompt per call, at least the backend's few_rows; 0: 512
    // Asked after every new token, of the n that a sequence has by then: true ends it. NULL: never.
    bool (*ends)(void *user, int sequence, const int32_t *out, int n);
    void *ends_user;
} hy_sample_spec;

// One draw from finite logits [V], in time linear in V. scratch: [V].
typedef struct {
    double weight;  // exp((logit - the largest) / temperature)
    float logit;
    int32_t token;
} hy_ranked_token;
int32_t hy_sample_token(const float *logits, int V, const hy_sample_spec *s, hy_rng *rng, hy_ranked_token *scratch);

// Called for every new token, step by step, in a step sequence by sequence (on a backend with few_rows, one group of
// fewer sequences than that after the other). Another status than HY_OK ends the generation with it.
typedef hy_status (*hy_on_token)(void *user, int sequence, int32_t token);

// Continues B prompts (text ids, len >= 1 each; meta tokens are added here). Each sequence draws from its own
// generator, seeds [B], so that it gives the same tokens in any batch: exactly on a backend with few_rows, elsewhere as
// far as rounding in products with another number of rows does not tip the scales. out [B, max_new], out_len [B]: the
// new tokens. HY_EDIVERGED: a logit is not finite.
hy_status hy_generate(const hy_program *p, hy_params *w, int B, const int32_t *const *prompts, const int *len,
                      const uint64_t *seeds, const hy_sample_spec *s, hy_on_token on_token, void *user, int32_t *out,
                      int *out_len);
#endif
