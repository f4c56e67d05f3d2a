// program.h - a model as a flat program of coarse ops over named values. Built once from a ModelSpec (model.c), then
// frozen; sizes B (sequences) and T (tokens) are given when it runs. One program serves training, prefill, decoding and
// analysis.
#ifndef HY_PROGRAM_H
#define HY_PROGRAM_H
#include "core/model/op.h"
#include "core/spec/spec.h"

typedef enum { HY_ROWS_TOKENS = 0, HY_ROWS_OUT } hy_rows;  // B*T rows, or one row per requested output position

typedef struct {
    char name[48];  // "layers.3.attn.q": what probes ask for
    hy_rows rows;
    int width;
    hy_val parent;  // a view: columns col .. col+width-1 of parent; HY_NOVAL: own storage
    int col;
} hy_value;

// First values of a parameter.
typedef enum {
    HY_INIT_ZEROS = 0,  // biases
    HY_INIT_ONES,       // weights of norms, D
    HY_INIT_NORMAL,     // N(0, init_std): matrices and tables init.std, the embedding init.embedding_std, matrices that
                        // write to the residual stream init.std over sqrt(2 layers) with init.residual_scale; filters
                        // 1 / sqrt(3 d_conv); meta tokens 1
    HY_INIT_A_LOG,      // Mamba: log(1 .. d_state) of every channel
    HY_INIT_DT_BIAS,    // softplus of it is log-uniform in [0.001, 0.1]
    HY_INIT_A_LOG_UNIFORM,  // Mamba-2: exp of it is uniform in [1, 16]
} hy_init;
typedef struct {
    char name[64];  // "layers.3.mixer.in_proj"
    int ndim;
    int shape[3];
    size_t n;       // elements
    size_t offset;  // element offset in the parameter arena, a multiple of HY_DECAY_BLOCK
    hy_init init;
    double init_std;
    bool decay;     // weight decay applies: to matrices, tables, filters; not to norms, biases, A_log, D
    hy_dtype kept;  // HY_BF16: see hy_program_keep_bf16; else the values have the type of their set
} hy_param;

// Which ops a run executes: the body always, the heads on request.
enum { HY_HEAD_LOSS = 1, HY_HEAD_LOGITS = 2 };

// What persists between tokens, one entry per buffer owner.
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
    size_t param_elems;   // arena length, padding included
    hy_val hidden_final;  // after the final norm, all positions
    hy_val logits;        // rows OUT
} hy_program;

// Builds the program of a checked spec. model.c is the only place that knows what a layer is.
hy_status hy_model_build(const hy_model_spec *spec, hy_program **out);
void hy_program_free(hy_program *p);
hy_val hy_program_find(const hy_program *p, const char *name);     // HY_NOVAL if there is none
int hy_program_find_param(const hy_program *p, const char *name);  // -1 if there is none
// The value in whose memory a value lies, itself unless it is a view, and the column where it begins there.
hy_val hy_value_root(const hy_program *p, hy_val v);
size_t hy_value_column(const hy_program *p, hy_val v);
// Whether every op that uses a parameter reads it through a kernel that takes bfloat16 matrices: linear, embedding and
// output matrices.
bool hy_program_is_matrix(const hy_program *p, int param);
// For inference only: parameter sets of this program hold this matrix in bfloat16, half the bytes of float32, and
// kernels read it so. Before parameters and executors are made. False, and nothing changes, where it is not a matrix.
bool hy_program_keep_bf16(hy_program *p, int param);
bool hy_program_keeps_bf16(const hy_program *p);  // for any parameter
#endif
