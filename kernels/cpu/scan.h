// scan.h - what the scan kernels and their plan share: chunk lengths and the partition of the work. It depends on the
// shape alone, so that sums over channels and sequences have one order for any number of threads.
#ifndef HY_CPU_SCAN_H
#define HY_CPU_SCAN_H
#include "kernels/kernels.h"

#define HY_SCAN_REF_CHUNK 64  // tokens between two saved states of the reference
#define HY_SCAN_CHUNK 16      // of the fast kernels: what backward recomputes for 8 states stays in the L1 cache
#define HY_SCAN_GROUP_FWD \
    256  // of a forward job: wide rows stream better, but one sequence must still keep threads busy
#define HY_SCAN_GROUP_BWD 256   // of a backward job, which sums dB and dC over them
#define HY_SCAN_STATES_BWD 8    // states that stay in registers in backward
#define HY_SCAN_PARALLEL 32768  // fewer state updates than this are not worth a second thread

// hy_fast_exp2_floor computes n values of 2^x on req->threads threads (at most so many) and adds them up.
#define HY_EXP2_FLOOR_THREADS 256
typedef struct {
    size_t n;
    double *sum;
} hy_exp2_floor_args;

static inline int hy_scan_chunks(int n, int chunk) { return n / chunk + (n % chunk != 0); }
static inline size_t hy_scan_padded(int D) { return ((size_t)D + 15) / 16 * 16; }  // to the widest vector

// Workspace of the fast backward, in floats. Parts: dB and dC summed over the channels of a group [B, groups, T, N]
// each; A * dA [B, D padded, N]; dskip [B, D padded]; then what each thread needs for itself: A, dh and dA of its
// group; for a chunk and some states dB and dC with one sum per lane, states and decays; for a chunk eight operands of
// its group.
typedef struct {
    size_t dB, dC, dA, dskip, thread, per_thread, total;
} hy_scan_ws;
static inline hy_scan_ws hy_scan_ws_layout(const hy_scan_args *a, int threads) {
    const size_t N = a->N, B = a->B, groups = hy_scan_chunks(a->D, HY_SCAN_GROUP_BWD), padded = hy_scan_padded(a->D);
    const size_t sums = (B * groups * a->T * N + 15) / 16 * 16;
    hy_scan_ws w = {.dB = 0, .dC = sums, .dA = 2 * sums};
    w.dskip = w.dA + B * padded * N;
    w.thread = w.dskip + B * padded;
    w.per_thread = HY_SCAN_GROUP_BWD * (3 * N + 8 * HY_SCAN_CHUNK + 1) + 4 * HY_SCAN_CHUNK * HY_SCAN_STATES_BWD * 16;
    w.total = w.thread + (size_t)threads * w.per_thread;
    return w;
}
// Of the fast forward, per thread, in floats: A and h of its group; delta, delta x and y of a chunk of it.
static inline size_t hy_scan_ws_forward(int N) { return HY_SCAN_GROUP_FWD * (2 * (size_t)N + 3 * HY_SCAN_CHUNK); }
static inline int hy_scan_threads(const hy_scan_args *a, int threads) {
    return (double)a->B * a->T * a->D * a->N < HY_SCAN_PARALLEL ? 1 : threads;
}
#endif
