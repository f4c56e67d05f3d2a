// train_plan.c - see train_plan.h. Memory of an executor is planned as hy_exec_create plans it; the rest is what a
// trainer allocates (optim.c, train_ranks.c).
#include "core/train/train_plan.h"

#include <math.h>

#include "core/dist/dist.h"

// Forward FLOPs of a sequence: each position sees those before it.
static double sequence_flops(const hy_model_spec *m, int length) {
    double sum = 0;
    for (int t = 1; t <= m->meta_tokens + length; t++) sum += hy_model_flops_token(m, t);
    return sum;
}

// Flags of weight decay.
static double flags(const hy_program *p) {
    const size_t blocks = p->param_elems / HY_DECAY_BLOCK;
    return (double)blocks;
}

static void plan_state(const hy_program *p, const hy_plan_wish *w, hy_train_plan *out) {
    const size_t wide = w->dt == HY_F64 ? sizeof(double) : sizeof(float);
    const double one = (double)(p->param_elems * wide);
    out->weights = out->gradients = one;
    out->moments = 2 * (w->sharded ? (double)(hy_dist_sum_largest(p->param_elems, wide, w->ranks) * wide) : one);
    out->low = w->dt == HY_BF16 ? (double)(p->param_elems * sizeof(uint16_t)) : 0;
    out->sums = (double)hy_dist_sum_bytes(p->param_elems, wide, w->ranks) + (w->separate ? one : 0);
}

static void plan_step(const hy_program *p, const hy_plan_wish *w, hy_train_plan *out) {
    const size_t wide = w->dt == HY_F64 ? sizeof(double) : sizeof(float);
    const int most = (w->accumulate + w->ranks - 1) / w->ranks;  // micro-batches of the first rank
    const int tokens = p->spec.meta_tokens + w->length;
    size_t bytes, exchanges;
    hy_dist_sum_moves(p->param_elems, wide, w->ranks, w->accumulate, w->sharded ? 2 : 1, &bytes, &exchanges);
    out->tokens = (double)w->batch * w->accumulate * tokens;
    out->work = 3 * most * (double)w->batch * sequence_flops(&p->spec, w->length);
    out->sent = (double)bytes;
    out->exchanges = (int64_t)exchanges;
    out->compute = w->flops > 0 ? out->work / w->flops : NAN;
    out->talk = w->ranks == 1 ? 0 : w->bandwidth > 0 ? (double)exchanges * w->latency + out->sent / w->bandwidth : NAN;
}

hy_status hy_train_plan_make(const hy_program *p, const hy_backend *be, const hy_plan_wish *wish, hy_train_plan *out) {
    hy_exec_memory m;
    *out = (hy_train_plan){0};
    if (wish->accumulate < wish->ranks)
        return hy_error(HY_EINPUT, "%d ranks share %d micro-batch%s: --accumulate must be at least --ranks",
                        wish->ranks, wish->accumulate, wish->accumulate == 1 ? "" : "es");
    HY_TRY(hy_model_check_length(&p->spec, wish->length));
    HY_TRY(hy_exec_memory_plan(p, be, wish->dt, HY_EXEC_TRAIN, wish->batch, p->spec.meta_tokens + wish->length, 0, &m));
    plan_state(p, wish, out);
    plan_step(p, wish, out);
    out->arena = (double)m.arena;
    out->workspace = (double)m.workspace;
    out->rest = (double)(m.device - m.arena - m.workspace) + flags(p);
    out->total = out->weights + out->gradients + out->moments + out->low + (wish->separate ? 0 : out->sums) +
                 out->arena + out->workspace + out->rest;
    return HY_OK;
}

int hy_train_plan_batch(const hy_program *p, const hy_backend *be, const hy_plan_wish *wish, int most, double bytes) {
    hy_train_plan plan = {0};
    plan_state(p, wish, &plan);
    const double left =
        bytes - plan.weights - plan.gradients - plan.moments - plan.low - (wish->separate ? 0 : plan.sums) - flags(p);
    return left > 0 ? hy_exec_fitting(p, be, wish->dt, HY_EXEC_TRAIN, most, p->spec.meta_tokens + wish->length, false,
                                      (size_t)left)
                    : 0;
}
