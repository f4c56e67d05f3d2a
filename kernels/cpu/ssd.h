// ssd.h - what the SSD (Mamba-2) kernels and their plan share: chunk lengths and the partition of the work. It depends
// on the shape alone, so that sums over heads, tokens and sequences have one order for any number of threads.
#ifndef HY_CPU_SSD_H
#define HY_CPU_SSD_H
#include "kernels/kernels.h"

#define HY_SSD_REF_CHUNK 64    // tokens between two saved states of the reference
#define HY_SSD_CHUNK 64        // of the fast kernels: enough for matrix products, little beside the states' own work
#define HY_SSD_STEPS 3         // so many tokens at most are done one after another instead (decoding)
#define HY_SSD_PARALLEL 32768  // fewer state updates than this are not worth a second thread
#define HY_SSD_JOBS 16         // (sequence, chunk, group) jobs of backward that are worth waiting for

static inline int hy_ssd_chunks(int n, int chunk) { return n / chunk + (n % chunk != 0); }
static inline size_t hy_ssd_padded(int n) { return ((size_t)n + 15) / 16 * 16; }  // to the widest vector
static inline int hy_ssd_threads(const hy_ssd_args *a, int threads) {
    return (double)a->B * a->T * a->H * a->P * a->N < HY_SSD_PARALLEL ? 1 : threads;
}

// Floats of one head's state, of a chunk of rows of P or N values, of a chunk x chunk matrix.
static inline size_t hy_ssd_state(const hy_ssd_args *a) { return (size_t)a->N * hy_ssd_padded(a->P); }
#define HY_SSD_ROWS_P(a) (HY_SSD_CHUNK * hy_ssd_padded((a)->P))
#define HY_SSD_ROWS_N(a) (HY_SSD_CHUNK * hy_ssd_padded((a)->N))
#define HY_SSD_SQUARE ((size_t)HY_SSD_CHUNK * HY_SSD_CHUNK)

// Workspace of the fast forward, in floats: C B^T of every chunk and group, then what each thread needs.
typedef struct {
    size_t CB, thread, per_thread, total;
} hy_ssd_ws;
static inline hy_ssd_ws hy_ssd_ws_layout(const hy_ssd_args *a, int threads) {
    hy_ssd_ws w = {.CB = 0};
    if (a->T > HY_SSD_STEPS) w.thread = (size_t)a->B * hy_ssd_chunks(a->T, HY_SSD_CHUNK) * a->G * HY_SSD_SQUARE;
    w.per_thread = hy_ssd_state(a) + hy_ssd_padded(a->N) * HY_SSD_CHUNK + 3 * HY_SSD_ROWS_P(a) + HY_SSD_SQUARE;
    w.total = w.thread + (size_t)threads * w.per_thread;
    return w;
}

// Of the fast backward, which goes over `wave` sequences at a time: for each of their chunks and heads the state before
// it and the gradient of the state after it, and sums of the parameters' gradients.
#define HY_SSD_SUMS 3  // A_log, skip, dt_bias
typedef struct {
    int wave;
    size_t states, dstates, sums, thread, per_thread, total;
} hy_ssd_bwd_ws;
static inline hy_ssd_bwd_ws hy_ssd_bwd_ws_layout(const hy_ssd_args *a, int threads) {
    const int chunks = hy_ssd_chunks(a->T, HY_SSD_CHUNK),
              enough = hy_ssd_chunks(HY_SSD_JOBS, chunks > HY_SSD_JOBS ? HY_SSD_JOBS : chunks);
    hy_ssd_bwd_ws w = {.wave = enough < a->B ? enough : a->B};
    const size_t heads = (size_t)w.wave * chunks * a->H, P = hy_ssd_padded(a->P);
    w.dstates = heads * hy_ssd_state(a);
    w.sums = 2 * w.dstates;
    w.thread = w.sums + (heads * HY_SSD_SUMS + 15) / 16 * 16;
    w.per_thread = 5 * HY_SSD_ROWS_P(a) + 5 * HY_SSD_ROWS_N(a) + hy_ssd_padded(a->N) * HY_SSD_CHUNK + P * HY_SSD_CHUNK +
                   2 * P * hy_ssd_padded(a->N) + 4 * HY_SSD_SQUARE;
    w.total = w.thread + (size_t)threads * w.per_thread;
    return w;
}
#endif
