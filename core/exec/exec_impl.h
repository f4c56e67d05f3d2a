// exec_impl.h - shared by exec_memory.c (where everything lies), exec_bind.c (program op -> kernel arguments), exec_launch.c (launches planned for a
// shape, recordings of them) and exec.c (running).
#ifndef HY_EXEC_IMPL_H
#define HY_EXEC_IMPL_H
#include "core/exec/exec.h"

#define HY_NOWHERE ((size_t)-1)

// What the planner decides once: byte offsets in the arena at the largest size, and who writes a gradient first.
typedef struct {
    size_t *val;        // [n_values] of roots
    size_t *grad;       // [n_values] of roots
    size_t *saved;      // [n_ops]
    unsigned *acc;      // [n_ops] acc bits of the backward kernel (bit i: input i)
    hy_val *zero;       // [n_ops] root whose gradient is zeroed before this op's backward, HY_NOVAL: none
    bool *has_bwd;      // [n_ops] a gradient reaches this op
    bool *res_alias;    // [n_ops] LINEAR: the residual's gradient is the output's gradient, in place
    size_t arena_bytes;
    hy_exec_memory use;
} hy_exec_layout;

typedef union {
    hy_embed_args embed;
    hy_embed_bwd_args embed_bwd;
    hy_norm_args norm;
    hy_norm_bwd_args norm_bwd;
    hy_linear_args linear;
    hy_linear_bwd_args linear_bwd;
    hy_rope_args rope;
    hy_rope_bwd_args rope_bwd;
    hy_attention_args attention;
    hy_attention_bwd_args attention_bwd;
    hy_kv_append_args kv_append;
    hy_conv_args conv;
    hy_conv_bwd_args conv_bwd;
    hy_scan_args scan;
    hy_scan_bwd_args scan_bwd;
    hy_ssd_args ssd;
    hy_ssd_bwd_args ssd_bwd;
    hy_gated_norm_args gated_norm;
    hy_gated_norm_bwd_args gated_norm_bwd;
    hy_act_args act;
    hy_act_bwd_args act_bwd;
    hy_scale_args scale;
    hy_scale_bwd_args scale_bwd;
    hy_fuse_args fuse;
    hy_fuse_bwd_args fuse_bwd;
    hy_gather_args gather;
    hy_lm_loss_args lm_loss;
    hy_lm_loss_bwd_args lm_loss_bwd;
} hy_any_args;

// Launches planned for one shape of the batch. The newest few are kept: prompts' tails and single tokens alternate.
enum { HY_SHAPES = 4, HY_RECORDINGS = 4 };
typedef struct {
    int B, T, n_out;
    int state_tokens;      // text tokens the caches hold, 0: no state
    hy_launch *fwd, *bwd;  // [n_ops] each, one allocation
    uint64_t used;         // when, by the executor's clock; 0: free
} hy_launches;

// Everything that a recorded run depends on but the contents of device memory.
typedef struct {
    uint64_t params, state;  // ids; 0: no state
    const void *grad, *low;
    int B, T, n_out, state_tokens;
    unsigned heads;
} hy_run_key;
typedef struct {
    hy_run_key key;
    void *recording;  // NULL: seen once
    uint64_t used;    // 0: free
} hy_recording;

struct hy_exec {
    const hy_program *prog;
    const hy_backend *be;
    hy_dtype dt;
    hy_exec_mode mode;
    int max_B, max_T, max_rows, max_out;
    hy_exec_layout layout;
    size_t *saved_most;  // [n_ops] what each op may save
    char *arena;
    unsigned heads;  // of the newest run; before the first: all
    void *workspace;
    size_t workspace_bytes;
    hy_launches shapes[HY_SHAPES];
    hy_recording records[2][HY_RECORDINGS];  // forward, backward
    uint64_t clock;        // counts uses of shapes and recordings
    hy_launch *fwd, *bwd;  // [n_ops], of the current shape
    int B, T, n_out, state_tokens;  // current shape, see hy_launches
    // device copies of the batch, results
    int32_t *ids, *labels, *pos, *len, *out_rows, *pred;
    void *nll;
    double *scale;  // [1] of the loss, for its backward
    // host staging and results
    int32_t *h_ids, *h_labels, *h_pos, *h_len, *h_pred;
    float *h_nll, *h_logits;
    void *h_raw;  // one value or result before conversion
    size_t h_raw_bytes;
    hy_buf path;
    double *seconds;  // [2 n_ops], NULL: not profiled
};

hy_val hy_value_root(const hy_program *p, hy_val v);
// Offsets, gradient bookkeeping, sizes. saved[i]: bytes op i keeps for its backward at the largest size.
void hy_exec_layout_make(const hy_program *p, hy_exec_mode mode, hy_dtype dt, int rows, int out_rows, const size_t *saved, hy_exec_layout *out);
void hy_exec_layout_free(hy_exec_layout *plan);

// Kernel arguments of op i for the executor's current shape. w NULL: placeholders, for planning.
hy_kernel_id hy_bind_fwd(const hy_exec *e, int i, const hy_params *w, const hy_state *state, hy_any_args *a);
hy_kernel_id hy_bind_bwd(const hy_exec *e, int i, const hy_params *w, hy_any_args *a);
bool hy_op_runs(const hy_exec *e, const hy_op *op, unsigned heads);  // in forward

// ---- exec_launch.c
// The type of what is float32 in bfloat16 computing: nll, SSM states.
static inline hy_dtype hy_wide_type(hy_dtype dt) { return dt == HY_BF16 ? HY_F32 : dt; }
// Plans every op for the executor's current shape; the largest workspace and what each op saves [n_ops].
hy_status hy_exec_plan_ops(hy_exec *e, size_t *workspace, size_t *saved);
// Makes a shape the current one: planned before, or now.
hy_status hy_exec_set_shape(hy_exec *e, int B, int T, int n_out, int state_tokens);
// Runs body(user), or replays what it launched before under the same key.
hy_status hy_exec_run_recorded(hy_exec *e, bool backward, const hy_run_key *key, hy_status (*body)(void *user), void *user);
void hy_exec_forget(hy_exec *e);       // all recordings
void hy_exec_free_shapes(hy_exec *e);  // and all planned launches
#endif
