// exec.h - running a program: parameters, sequence state, memory plan, forward, backward, probes.
#ifndef HY_EXEC_H
#define HY_EXEC_H
#include "core/program.h"

// ---------------------------------------------------------------------------------------------------- parameters
typedef struct hy_params {
    const hy_program *prog;
    const hy_backend *be;
    uint64_t id;       // no other set of this process has it
    hy_dtype dtype;    // of every parameter that the program does not keep in bfloat16: HY_F32 or HY_F64
    hy_dtype compute;  // what executors compute in with them: dtype, or HY_BF16 over float32
    void *data;        // device: prog->param_elems elements where all have one type
    size_t *at;        // [n_params] bytes from data
    size_t bytes;
    void *grad;        // device: the same layout, or NULL until hy_params_want_grad
    uint16_t *low;     // device [prog->param_elems], or NULL until hy_params_want_bf16
    bool low_old;      // values were changed since the bfloat16 copy was made
} hy_params;
// dt: what is computed in. HY_BF16: the parameters themselves are float32 (but for those that the program keeps in bfloat16).
hy_status hy_params_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_params **out);
void hy_params_free(hy_params *w);
hy_dtype hy_params_dtype(const hy_params *w, int param);  // of its values
hy_status hy_params_init(hy_params *w, uint64_t seed);  // each tensor from its own stream: adding one changes no other
// Elements first .. first+n-1 of what hy_params_init gives a parameter.
void hy_param_initial(const hy_param *q, uint64_t seed, size_t first, size_t n, double *dst);
hy_status hy_params_want_grad(hy_params *w);  // HY_EINPUT if some parameter is kept in bfloat16
// Copies one whole tensor to host floats (converted); grad: the gradient instead of the value.
hy_status hy_params_get(const hy_params *w, int param, bool grad, float *dst);
void *hy_params_ptr(const hy_params *w, int param, bool grad);  // device address
// Computing in bfloat16 reads matrices in bfloat16: those the program keeps so, and of the others a copy at the program's
// element offsets. want: makes it (once) and brings it up to date. Optimiser steps write it too; whoever changes values
// otherwise, through hy_params_ptr, says so with changed.
hy_status hy_params_want_bf16(hy_params *w);
void hy_params_changed(hy_params *w);
const void *hy_params_matrix(const hy_params *w, int param, hy_dtype compute);  // device address of what a matrix product reads

// ---------------------------------------------------------------------------------------------------- sequence state
// KV rings with pinned meta tokens (one per sharing group), convolution tails, SSM states, and how far each sequence is.
typedef struct hy_state {
    const hy_program *prog;
    const hy_backend *be;
    uint64_t id;        // no other state of this process has it
    hy_dtype dtype;     // of keys, values and convolution tails; SSM states: float32 where that is HY_BF16, else the same
    int B, max_tokens;  // text tokens that fit in a global layer's cache
    int32_t *pos;       // host [B]: next position, meta tokens counted
    void **buf;         // device, per slot; KV: K then V
    size_t *bytes;      // per slot
} hy_state;
hy_status hy_state_create(const hy_program *p, const hy_backend *be, hy_dtype dt, int B, int max_tokens, hy_state **out);
hy_status hy_state_reset(hy_state *s);
void hy_state_free(hy_state *s);
size_t hy_state_bytes(const hy_state *s);  // all slots
// The bytes of one sequence by formula, without making a state: hy_model_cache in the true accounting.
void hy_state_cache(const hy_model_spec *m, hy_dtype dt, int max_tokens, hy_cache_bytes *layers, hy_cache_bytes *sum);
hy_kv_view hy_state_kv(const hy_state *s, int slot);

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
