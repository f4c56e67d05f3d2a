// throughput.h - how fast a model trains, reads a prompt and decodes, on whatever backend its parameters live. Every
// repetition is returned; medians are the caller's business.
#ifndef HY_THROUGHPUT_H
#define HY_THROUGHPUT_H
#include "core/exec/exec.h"

typedef enum {
    HY_TP_TRAIN = 0,  // a step on `batch` sequences of `context` tokens: forward, backward, gradient norm, AdamW update
    HY_TP_PREFILL,  // `batch` prompts of `context` tokens from an empty state, state kept, logits of the last position
    HY_TP_DECODE,   // one token for each of `batch` sequences at a time, logits on the host, greedy choice, starting at
                    // depth `context` (the state is filled by prefill before the clock starts)
} hy_tp_kind;
typedef struct {
    hy_tp_kind kind;
    int batch, context;  // text tokens; meta tokens are processed too but not counted
    int reps;            // 0: 5
    int warmup;          // untimed repetitions before; 0: 1
    int tokens;          // decode: steps in one repetition; 0: 16
    int chunk;           // prefill (also before decode): positions in one call; 0: 512
} hy_tp_spec;
typedef struct {
    int n;
    double *rate;  // [n] tokens per second of each repetition, in order
    char *path;    // kernel paths in use
} hy_tp_result;

// Weights are what they are (random will do) and stay bit for bit the same: the update runs with learning rate 0. TRAIN
// leaves gradients in w, allocated if there were none. Free the result with hy_throughput_free.
hy_status hy_throughput_measure(const hy_program *p, hy_params *w, const hy_tp_spec *spec, hy_tp_result *out);
void hy_throughput_free(hy_tp_result *r);
#endif
