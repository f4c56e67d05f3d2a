// train_plan.h - what a training on several devices will take, before there are any: memory by kind, bytes that move,
// and the time of a step by a plain model. Nothing is allocated.
#ifndef HY_TRAIN_PLAN_H
#define HY_TRAIN_PLAN_H
#include "core/exec/exec.h"

typedef struct {
    int ranks, batch, accumulate;  // sequences of a micro-batch; micro-batches of a step, of all ranks together
    int length;                    // tokens of a sequence, meta tokens not counted
    hy_dtype dt;
    bool sharded;   // moments: hy_trainer_shard_moments
    bool separate;  // a device's memory is not the host's: sums of gradients are made in the host's
    double flops;   // that a device does a second; 0: not known
    double bandwidth,
        latency;  // bytes a second out of each rank; seconds until a message begins to arrive. 0: not known
} hy_plan_wish;
typedef struct {
    // bytes of a device
    double weights, gradients, moments, low;  // low: the bfloat16 copy of the weights
    double sums;                              // of gradients in parts, if separate: of the host
    double arena, workspace, rest;            // of the executor: activations, their gradients and what backward passes
                                              // need; scratch; batch and results. rest: the optimiser's small ones too
    double total;                             // of the device
    // a step
    double tokens;         // of all ranks
    double work;           // FLOPs of the rank with most: 3 times those of its forward passes
    double sent;           // bytes out of the rank that sends most
    int64_t exchanges;     // that follow each other
    double compute, talk;  // seconds: work / flops; exchanges * latency + sent / bandwidth. NAN: not known
} hy_train_plan;
// HY_EINPUT: fewer micro-batches than ranks, or what a trainer refuses.
hy_status hy_train_plan_make(const hy_program *p, const hy_backend *be, const hy_plan_wish *wish, hy_train_plan *out);
// The largest micro-batch, at most `most`, with which a device's total is at most `bytes`; 0: none.
int hy_train_plan_batch(const hy_program *p, const hy_backend *be, const hy_plan_wish *wish, int most, double bytes);
#endif
