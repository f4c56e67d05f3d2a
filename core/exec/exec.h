// exec.h - running a program: the batch, forward, backward, probes, memory.
#ifndef HY_EXEC_H
#define HY_EXEC_H
#include "core/model/params.h"
#include "core/model/state.h"

// ---------------------------------------------------------------------------------------------------- a batch
// In host memory. Meta tokens are part of the sequence: id -(j+1) is meta token j, and all of them come before the
// first text token (hy_ids_with_meta puts them there).
typedef struct {
    int B, T;
    const int32_t *ids;       // [B,T]
    const int32_t *labels;    // [B,T] the token to predict at each position, negative: none; NULL without HY_HEAD_LOSS
    const int32_t *len;       // [B] valid tokens of each sequence, the rest is padding; NULL: T
    const int32_t *out_rows;  // [n_out] positions whose logits are wanted, as b * T + t; with HY_HEAD_LOGITS
    int n_out;
} hy_batch;
// Puts `meta` positions before each row of src [B,T]: dst [B, meta+T]. They hold the ids -1 .. -meta if fill is 0 (for
// ids), else fill (HY_IGNORE for labels).
void hy_ids_with_meta(int B, int T, int meta, const int32_t *src, int32_t fill, int32_t *dst);

// ---------------------------------------------------------------------------------------------------- probes
// A look at the values while they exist: most are overwritten by later ops.
typedef struct hy_probe {
    bool (*wants)(void *user, const char *value_name);
    // Called on the host as soon as a wanted value is computed. data [rows, width], float32, valid during the call.
    hy_status (*got)(void *user, const char *value_name, const float *data, int rows, int width);
    void *user;
} hy_probe;

// ---------------------------------------------------------------------------------------------------- interventions
// What is put in the place of some columns of a value as soon as an op has made it: ops that read the value, logits,
// losses and probes see the new one. new = (what the op read as input `input`, or 0) + (with, or 0).
typedef struct {
    hy_val value;       // the output of an op, or a view of one; its rows are positions
    int col, width;     // columns col .. col + width - 1 of it
    int input;          // operand of the op, as wide as the value; -1: 0
    bool silu;          // silu(input)
    const float *with;  // row r (of B * T) begins at with[r * ld]; NULL: 0
    int ld;             // 0: the same row for all positions
    int from, to;       // positions of each sequence in the batch, to excluded; both 0: all
} hy_edit;
typedef struct hy_exec hy_exec;
// Edits of all later passes of an executor for inference, until they are set again; n 0: none. They are borrowed, and
// made in their order. Passes with edits are not recorded.
void hy_exec_set_edits(hy_exec *e, const hy_edit *edits, int n);
// Passes over one batch that differ from some op on only need not begin anew. hy_exec_mark runs the ops before `op`
// without edits and keeps what later ones read of them: of batch b, whose sequences start empty, or, b NULL, on from
// the place marked before, which is no later. hy_exec_forward_marked does the rest, as often as is wanted and with the
// edits that are set: the same bits as a whole pass with edits of outputs of ops from `op` on. The mark stays until the
// next hy_exec_forward. Not while profiling; of executors for inference.
hy_status hy_exec_mark(hy_exec *e, hy_params *w, const hy_batch *b, unsigned heads, int op);
hy_status hy_exec_forward_marked(hy_exec *e, hy_params *w);

// ---------------------------------------------------------------------------------------------------- execution
typedef enum {
    HY_EXEC_INFER = 0,
    HY_EXEC_TRAIN,
    HY_EXEC_GRADIENT,  // backward passes as in HY_EXEC_TRAIN, and nothing is dropped
} hy_exec_mode;
// Plans the kernels and all memory for batches of up to B sequences of T tokens (meta tokens counted) and max_out rows
// of logits, and allocates it. What the backend does not support is an error here. dt HY_BF16 computes in bfloat16 with
// float32 parameters.
hy_status hy_exec_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T,
                         int max_out, hy_exec **out);
void hy_exec_free(hy_exec *e);
// Runs the body of the program and `heads` (HY_HEAD_LOSS, HY_HEAD_LOGITS). state NULL: sequences start empty and
// nothing is kept of them; else they continue from the state, which is updated. probe may be NULL. In HY_EXEC_TRAIN and
// HY_EXEC_GRADIENT the loss is computed by hy_exec_backward, in one kernel with its gradient.
// A backend that records does so when a batch of the same shape comes a second time with the same parameters and state;
// from then on the recording is replayed. Passes with a probe, or while profiling, are not recorded.
hy_status hy_exec_forward(hy_exec *e, hy_params *w, const hy_batch *b, hy_state *state, unsigned heads,
                          const hy_probe *probe);
// What dropout drops in later passes in HY_EXEC_TRAIN: a function of this key (0 at first) and of places in the model
// and in the batch. Other executors drop nothing.
void hy_exec_set_dropout(hy_exec *e, uint64_t key);
// Backward of the newest hy_exec_forward, which must not have had one, not in HY_EXEC_INFER: adds the gradient of scale
// * sum(nll) to w->grad and computes nll and pred. probe is shown the gradient of each wanted value as "grad.<value>",
// just before the backward of the op that made the value.
hy_status hy_exec_backward(hy_exec *e, hy_params *w, double scale, const hy_probe *probe);
// The same of sum(seed * from) instead of the loss: gradients of any value with respect to those it was made of, for
// the probe alone; nothing is computed of what comes after `from`. seed [B*T, width of from] in host memory. Gradients
// of parameters are neither made nor touched, and w needs none. Values that `from` does not depend on have gradient 0.
// Not in HY_EXEC_INFER (an assertion); HY_EINPUT: the loss does not depend on `from`, so no memory is planned for its
// gradient.
hy_status hy_exec_backward_from(hy_exec *e, hy_params *w, hy_val from, const float *seed, const hy_probe *probe);
// Results on the host, valid until the next run. NULL: they cannot be fetched (see hy_error_text).
const float *hy_exec_logits(hy_exec *e);           // [n_out, vocab]
const float *hy_exec_nll(hy_exec *e);              // [B*T] nats, 0 at positions without a label
const int32_t *hy_exec_pred(hy_exec *e);           // [B*T] the likeliest token, -1 at positions without a label
double hy_exec_nll_sum(hy_exec *e);                // their sum, in double and in order; NAN if they cannot be fetched
const void *hy_exec_device_nll(const hy_exec *e);  // [B*T] on the device, in the type the loss kernel writes
// Kernel paths of the newest run, e.g. "avx512: norm rope; avx512+onednn: linear"; valid until the next call.
const char *hy_exec_path(hy_exec *e);
// Seconds spent in each op since hy_exec_profile was switched on: [n_ops] forward, then [n_ops] backward; NULL when it
// is off. The host waits for each op, so on an asynchronous backend each figure includes one wait.
void hy_exec_profile(hy_exec *e, bool on);
const double *hy_exec_seconds(const hy_exec *e);

// ---------------------------------------------------------------------------------------------------- memory
typedef struct {                           // bytes
    size_t activations, gradients, saved;  // sums over all buffers of each kind
    size_t arena;                          // together: buffers that are never in use at the same time share memory
    size_t workspace;                      // scratch of the most demanding kernel
    size_t device;                         // all that the executor allocates on the device, batch and results included
} hy_exec_memory;
hy_exec_memory hy_exec_memory_use(const hy_exec *e);
// The memory that hy_exec_create with these arguments would take.
hy_status hy_exec_memory_plan(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int B, int T,
                              int max_out, hy_exec_memory *out);
// The largest batch, at most `most`, whose executor fits in `bytes`; 0 if none does. logits: with a row of logits per
// sequence.
int hy_exec_fitting(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_exec_mode mode, int most, int T,
                    bool logits, size_t bytes);
#endif
