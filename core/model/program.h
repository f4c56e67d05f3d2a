// program.h - a model as a flat program of coarse ops over named values. Built once from a ModelSpec (model.c), then
// frozen; sizes B (sequences) and T (tokens) are given when it runs. One program serves training, prefill, decoding and
// analysis.
#ifndef HY_PROGRAM_H
#define HY_PROGRAM_H
#include "core/spec/spec.h"
#include "kernels/kernels.h"

typedef int hy_val;  // index of a value; -1: none
#define HY_NOVAL (-1)

typedef enum { HY_ROWS_TOKENS = 0, HY_ROWS_OUT } hy_rows;  // B*T rows, or one row per requested output position

typedef struct {
    char name[48];  // "layers.3.attn.q": what probes ask for
    hy_rows rows;
    int width;
    hy_val parent;  // a view: columns col .. col+width-1 of parent; HY_NOVAL: own storage
    int col;
} hy_value;

typedef enum { HY_INIT_ZEROS = 0, HY_INIT_ONES, HY_INIT_NORMAL, HY_INIT_A_LOG, HY_INIT_DT_BIAS,
               HY_INIT_A_LOG_UNIFORM } hy_init;
typedef struct {
    char name[64];   // "layers.3.mixer.in_proj"
    int ndim;
    int shape[3];
    size_t n;        // elements
    size_t offset;   // element offset in the parameter arena, a multiple of HY_DECAY_BLOCK
    hy_init init;
    double init_std;
    bool decay;      // weight decay applies (not to norms, biases, A_log, D)
    hy_dtype kept;   // HY_BF16: see hy_program_keep_bf16; else the values have the type of their set
} hy_param;

typedef enum {
    HY_OP_EMBED, HY_OP_NORM, HY_OP_LINEAR, HY_OP_ROPE, HY_OP_ATTENTION, HY_OP_KV_APPEND, HY_OP_CONV, HY_OP_SCAN,
    HY_OP_ACT, HY_OP_SCALE, HY_OP_FUSE, HY_OP_GATHER, HY_OP_LM_LOSS, HY_OP_SSD, HY_OP_GATED_NORM,
} hy_op_kind;
enum { HY_OP_KINDS = HY_OP_GATED_NORM + 1 };  // how many there are
const char *hy_op_name(hy_op_kind k);

// Which ops a run executes: the body always, the heads on request.
enum { HY_HEAD_LOSS = 1, HY_HEAD_LOGITS = 2 };

// Operand order (in = values, par = parameters; "-" may be none):
//   EMBED      in: -                        par: table, meta-          out: x
//   NORM       in: x                        par: w                     out: y       groups, norm
//   LINEAR     in: x, residual-             par: w, bias-              out: y
//   ROPE       in: x                                                   out: y       heads, base, rope
//   ATTENTION  in: q, k, v                                             out: o       heads.., window, slot
//   KV_APPEND  in: k, v                                                             kv_heads.., slot
//   CONV       in: x                        par: w, bias-              out: y       silu, slot
//   SCAN       in: x, dt, B, C, gate-       par: A_log, skip-          out: y       slot
//   SSD        in: x, dt, B, C              par: A_log, skip-, dt_bias-  out: y    heads, groups, dt_min, dt_max, slot
//   GATED_NORM in: x, gate                  par: w- (kind GATE)     out: y       groups, gated
//   ACT        in: x                                                   out: y       act
//   SCALE      in: x                                                   out: y       parts
//   FUSE       in: a, s, gate-              par: wa, ws                out: z       fuse, parts.by: of a and of s
//   GATHER     in: x                                                   out: y (rows OUT)
//   LM_LOSS    in: x                        par: w                     (nll and pred live in the exec)
typedef struct {
    hy_op_kind kind;
    int layer;      // -1 outside layers
    unsigned head;  // 0: body; else the head it belongs to
    hy_val in[5];
    int par[3];     // index of a parameter, -1: none
    hy_val out;
    int slot;       // state slot (ATTENTION, KV_APPEND, CONV, SCAN, SSD), -1: none
    int heads, kv_heads, d_qk, d_v, window, groups, kernel;
    bool silu;
    double base, scale, eps, dt_min, dt_max;
    hy_rope_scale rope;
    hy_scale_parts parts;
    hy_act_kind act;
    hy_fuse_kind fuse;
    hy_norm_kind norm;
    hy_gated_kind gated;
} hy_op;

// What persists between tokens, one entry per buffer owner.
typedef enum { HY_SLOT_KV, HY_SLOT_CONV, HY_SLOT_SSM } hy_slot_kind;
typedef struct {
    hy_slot_kind kind;
    int layer;
    int kv_heads, d_qk, d_v, window;  // KV
    int d_inner, d_conv, d_state;     // CONV, SSM
} hy_slot;

typedef struct hy_program {
    hy_model_spec spec;
    hy_value *values;
    hy_param *params;
    hy_op *ops;
    hy_slot *slots;
    int n_values, n_params, n_ops, n_slots;
    size_t param_elems;  // arena length, padding included
    hy_val hidden_final; // after the final norm, all positions
    hy_val logits;       // rows OUT
} hy_program;

// Builds the program of a checked spec. model.c is the only place that knows what a layer is.
hy_status hy_model_build(const hy_model_spec *spec, hy_program **out);
void hy_program_free(hy_program *p);
hy_val hy_program_find(const hy_program *p, const char *name);        // HY_NOVAL if there is none
int hy_program_find_param(const hy_program *p, const char *name);     // -1 if there is none
// Whether every op that uses a parameter reads it through a kernel that takes bfloat16 matrices: linear, embedding and output
// matrices.
bool hy_program_is_matrix(const hy_program *p, int param);
// For inference only: parameter sets of this program hold this matrix in bfloat16, half the bytes of float32, and kernels
// read it so. Before parameters and executors are made. False, and nothing changes, where it is not a matrix.
bool hy_program_keep_bf16(hy_program *p, int param);
bool hy_program_keeps_bf16(const hy_program *p);                      // for any parameter
#endif
