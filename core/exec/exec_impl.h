// exec_impl.h - an executor from inside. exec_create.c makes one, exec_memory.c decides where everything lies,
// exec_bind.c, op_*.c and exec_ops.c turn ops into kernel arguments, exec_launch.c keeps prepared launches and
// recordings, exec_edit.c intervenes, exec_mark.c goes on from the middle of a pass, exec.c runs them.
#ifndef HY_EXEC_IMPL_H
#define HY_EXEC_IMPL_H
#include "core/exec/exec.h"

#define HY_NOWHERE ((size_t)-1)

// Decided once, for the largest batch: byte offsets in the arena, and who writes a gradient first.
typedef struct {
    size_t *val;        // [n_values] of roots
    size_t *grad;       // [n_values] of roots
    size_t *saved;      // [n_ops]
    unsigned *acc;      // [n_ops] acc bits of the backward kernel (bit k: input k)
    hy_val *zero;       // [n_ops] root whose gradient is zeroed before this op's backward, HY_NOVAL: none
    bool *has_bwd;      // [n_ops] a gradient reaches this op
    bool *shares_grad;  // [n_ops] the gradient of its input marked = lies in the buffer of the output's gradient
    size_t arena_bytes;
    hy_exec_memory use;
} hy_exec_layout;

// HY_BWD_##passes(x): x for kinds of ops that have a backward.
#define HY_BWD_BOTH(...) __VA_ARGS__
#define HY_BWD_FORWARD(...)
#define HY_BWD_STATE(...)
typedef union {
#define OP(KIND, name, inputs, parameters, output, state, passes, ...) \
    hy_##name##_args name;                                             \
    HY_BWD_##passes(hy_##name##_bwd_args name##_bwd;)
#include "core/model/ops.def"
} hy_any_args;

// A launch and its arguments: planned for a shape of the batch (launch.run NULL: it does not run in this shape), bound
// to parameters and state when these first come with it.
typedef struct {
    hy_launch launch;
    hy_any_args args;
} hy_prepared;

// What the addresses in the arguments belong to, beside the executor itself.
typedef struct {
    uint64_t params, state;  // ids; 0: none
    const void *grad, *low;
} hy_bound_to;

// The newest few shapes are kept: the tails of prompts and single tokens alternate.
enum { HY_SHAPES = 4, HY_RECORDINGS = 4 };
typedef struct {
    int B, T, n_out;
    int state_tokens;        // text tokens the caches hold, 0: no state
    hy_prepared *fwd, *bwd;  // [n_ops] each, one allocation
    hy_bound_to fwd_to, bwd_to;
    uint64_t used;  // when, by the executor's clock; 0: free
} hy_shape;

// Everything that a recorded run depends on, except the contents of device memory.
typedef struct {
    hy_bound_to to;
    int B, T, n_out, state_tokens;
    unsigned heads;
} hy_run_key;
typedef struct {
    hy_run_key key;
    void *recording;  // NULL: it has run once
    uint64_t used;    // 0: free
} hy_recording;

// A place in a pass that can be gone on from: what ops from `op` on read of those before it.
typedef struct {
    int op;  // -1: nothing is marked
    int n;
    hy_val *value;  // [n] roots
    size_t *at;     // [n] where in data
    char *data;     // in host memory
    size_t bytes;   // allocated
} hy_exec_kept;

struct hy_exec {
    const hy_program *prog;
    const hy_backend *be;
    hy_dtype dt;
    hy_exec_mode mode;
    int max_B, max_T, max_rows, max_out;
    hy_exec_layout layout;
    size_t *saved_most;  // [n_ops] bytes that each op may save
    char *arena;
    unsigned heads;  // of the newest run; before the first: all
    void *workspace;
    size_t workspace_bytes;
    hy_shape shapes[HY_SHAPES];
    hy_recording records[2][HY_RECORDINGS];  // forward, backward
    uint64_t clock;                          // counts uses of shapes and recordings
    hy_shape *shape;                         // the current one
    int B, T, n_out, state_tokens;           // of it
    // device copies of the batch, results
    int32_t *ids, *labels, *pos, *len, *out_rows, *pred;
    void *nll;
    double *scale;      // [1] of the loss, for its backward
    uint64_t *dropout;  // [1] hy_exec_set_dropout
    uint64_t dropout_key;
    // host staging and results
    int32_t *h_ids, *h_labels, *h_pos, *h_len, *h_pred;
    float *h_nll, *h_logits;
    void *h_raw;  // one value or result before conversion
    size_t h_raw_bytes;
    hy_buf path;
    double *seconds;  // [2 n_ops], NULL: not profiled
    const hy_edit *edits;
    int n_edits;
    hy_exec_kept mark;
};

// Offsets, gradient bookkeeping, sizes. saved[i]: bytes op i keeps for its backward at the largest size.
void hy_exec_layout_make(const hy_program *p, hy_exec_mode mode, hy_dtype dt, int rows, int out_rows,
                         const size_t *saved, hy_exec_layout *out);
void hy_exec_layout_free(hy_exec_layout *plan);

// Fills in the kernel arguments of op i for the current shape and names the kernel. w NULL: placeholders, for planning.
hy_kernel_id hy_bind_forward(const hy_exec *e, int i, const hy_params *w, const hy_state *state, hy_any_args *a);
hy_kernel_id hy_bind_backward(const hy_exec *e, int i, const hy_params *w, hy_any_args *a);

// Element i of an array that was copied from the device, or that will be copied there.
static inline void hy_host_put(hy_dtype dt, void *x, size_t i, double v) {
    if (dt == HY_F64)
        ((double *)x)[i] = v;
    else if (dt == HY_BF16)
        ((uint16_t *)x)[i] = hy_bf16_from_f32((float)v);
    else
        ((float *)x)[i] = (float)v;
}
static inline double hy_host_element(hy_dtype dt, const void *x, size_t i) {
    return dt == HY_F64    ? ((const double *)x)[i]
           : dt == HY_BF16 ? (double)hy_f32_from_bf16(((const uint16_t *)x)[i])
                           : (double)((const float *)x)[i];
}

// ---- exec.c
// Checks a batch and brings it to the device.
hy_status hy_exec_load(hy_exec *e, hy_params *w, const hy_batch *b, const hy_state *st, unsigned heads);
// Runs ops first .. end - 1 of the forward pass, nothing before or after.
hy_status hy_exec_run_ops(hy_exec *e, const hy_params *w, int first, int end, bool edits);

// ---- exec_mark.c
void hy_exec_mark_free(hy_exec *e);

// ---- exec_edit.c
// Makes the edits of what op i has just computed.
hy_status hy_exec_edit_output(hy_exec *e, int i);

// ---- exec_launch.c
// Backward passes follow forward ones.
static inline bool hy_exec_keeps(hy_exec_mode mode) { return mode != HY_EXEC_INFER; }
// The type of what is float32 in bfloat16 computing: nll, SSM states.
static inline hy_dtype hy_wide_type(hy_dtype dt) { return dt == HY_BF16 ? HY_F32 : dt; }
// Plans every op for the current shape; the largest workspace, and what each op saves [n_ops].
hy_status hy_exec_plan_ops(hy_exec *e, size_t *workspace, size_t *saved);
// Makes a shape the current one and plans it if it is not among the newest.
hy_status hy_exec_set_shape(hy_exec *e, int B, int T, int n_out, int state_tokens);
// Before a pass: makes the arguments of the current shape point to these parameters and this state (NULL: none).
void hy_exec_bind_forward(hy_exec *e, const hy_params *w, const hy_state *state);
void hy_exec_bind_backward(hy_exec *e, const hy_params *w);
// Runs body(user), or replays what it launched before under the same key.
hy_status hy_exec_run_recorded(hy_exec *e, bool backward, const hy_run_key *key, hy_status (*body)(void *user),
                               void *user);
void hy_exec_discard_recordings(hy_exec *e);
void hy_exec_free_shapes(hy_exec *e);  // and all recordings
#endif
