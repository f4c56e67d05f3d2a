// exec.h - running a program: the batch, forward, backward, probes, memory.
#ifndef HY_EXEC_H
#define HY_EXEC_H
#include "core/model/params.h"
#include "core/model/state.h"

// ---------------------------------------------------------------------------------------------------- a batch
// Host memory. Meta tokens are part of the sequence: id -(j+1) is meta token j; hy_batch users put all of them before
// the first text token (hy_ids_with_meta).
typedef struct {
    int B, T;
    const int32_t *ids;     // [B,T]
    const int32_t *labels;  // [B,T] token wanted at this position, negative: ignored; NULL without HY_HEAD_LOSS
    const int32_t *len;     // [B] valid tokens of each; NULL: T
    const int32_t *out_rows;  // rows (b*T + t) whose logits are wanted; with HY_HEAD_LOGITS
    int n_out;
} hy_batch;
// Puts `meta` positions before each row of src [B,T]: dst [B, meta+T]. They hold the meta token ids -1 .. -meta where
// fill is 0 (for ids), else fill (HY_IGNORE for labels).
void hy_ids_with_meta(int B, int T, int meta, const int32_t *src, int32_t fill, int32_t *dst);

// ---------------------------------------------------------------------------------------------------- probes
// Called on the host right after the op that makes a wanted value. data: float32 [rows, width], valid during the call.
typedef struct hy_probe {
    bool (*wants)(void *user, const char *value_name);
    hy_status (*got)(void *user, const char *value_name, const float *data, int rows, int width);
    void *user;
} hy_probe;

// ---------------------------------------------------------------------------------------------------- execution
typedef enum { HY_EXEC_INFER = 0, HY_EXEC_TRAIN } hy_exec_mode;
typedef struct hy_exec hy_exec;
// Plans memory for at most B sequences of T tokens (meta counted) and max_out logit rows, and every kernel; what a
// backend does not support is an error here. Allocation happens here only.
hy_status hy_exec_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T,
                         int max_out, hy_exec **out);
void hy_exec_free(hy_exec *e);
// Runs body and `heads`. state NULL: from an empty state, nothing kept. probe may be NULL. In HY_EXEC_TRAIN the loss head
// runs in backward (forward and backward of the loss are one kernel). dt HY_BF16 goes with float32 parameters. On a backend that
// records, the launches of a shape are written down when it comes a second time with the same parameters and state, and
// replayed from then on; not with a probe, nor while profiling.
hy_status hy_exec_forward(hy_exec *e, hy_params *w, const hy_batch *b, hy_state *state, unsigned heads, const hy_probe *probe);
// Gradients of scale * sum(nll) are added to w->grad; fills nll and pred. After hy_exec_forward in HY_EXEC_TRAIN.
// probe: sees "grad.<value>" of wanted values, just before the backward of the op that made the value.
hy_status hy_exec_backward(hy_exec *e, hy_params *w, double scale, const hy_probe *probe);
// Results on the host, valid until the next run.
const float *hy_exec_logits(hy_exec *e);      // [n_out, vocab]
const float *hy_exec_nll(hy_exec *e);         // [B*T] nats, 0 where ignored
const void *hy_exec_device_nll(const hy_exec *e);  // the same on the device, before any conversion
double hy_exec_nll_sum(hy_exec *e);           // their sum, in double and row order; NAN if they cannot be fetched
const int32_t *hy_exec_pred(hy_exec *e);      // [B*T], -1 where ignored
// Kernel paths of the newest run, e.g. "avx512: norm rope; avx512+onednn: linear"; valid while e lives.
const char *hy_exec_path(hy_exec *e);
// Seconds spent in each op since hy_exec_profile was switched on: [n_ops] forward, then [n_ops] backward. For finding what is
// slow; the clock is the host's and waits for each op, which on a backend that runs asynchronously adds the time of a wait to each.
void hy_exec_profile(hy_exec *e, bool on);
const double *hy_exec_seconds(const hy_exec *e);  // NULL when off
// Memory by lifetime class, for the plan printed before step 0.
typedef struct {
    size_t activations, gradients, saved;  // sums over the buffers
    size_t arena;                          // what they take together: those whose times do not overlap share memory
    size_t workspace;
    size_t device;                         // all that an executor allocates on the device, the batch and the results too
} hy_exec_memory;
hy_exec_memory hy_exec_memory_use(const hy_exec *e);
// The same of an executor that is not made.
hy_status hy_exec_memory_plan(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T, int max_out,
                              hy_exec_memory *out);
// The largest B up to `most` of which an executor takes at most `bytes`; 0: none does.
int hy_exec_fitting(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int most, int T, bool logits, size_t bytes);
#endif
