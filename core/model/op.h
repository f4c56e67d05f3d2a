// op.h - what an op is: its kind, operands and fields, all generated from ops.def.
#ifndef HY_OP_H
#define HY_OP_H
#include "kernels/kernels.h"

typedef int hy_val;  // index of a value of the program
#define HY_NOVAL (-1)
enum { HY_OP_INPUTS = 5, HY_OP_PARAMETERS = 3 };  // most operands of any kind

typedef enum {
#define OP(KIND, ...) HY_OP_##KIND,
#include "core/model/ops.def"
    HY_OP_KINDS
} hy_op_kind;

// What persists between tokens.
typedef enum { HY_SLOT_NONE = 0, HY_SLOT_KV, HY_SLOT_CONV, HY_SLOT_SSM } hy_slot_kind;

// ---- one op of a program. hy_norm_op, hy_rope_op, ...: the fields of each kind.
#define OP(KIND, name, inputs, parameters, output, state, passes, ...) \
    typedef struct {                                                   \
        __VA_ARGS__                                                    \
    } hy_##name##_op;
#include "core/model/ops.def"
typedef struct {
    hy_op_kind kind;
    int layer;                  // -1: outside layers
    unsigned head;              // 0: body; else the head it belongs to (HY_HEAD_LOSS, HY_HEAD_LOGITS)
    hy_val in[HY_OP_INPUTS];    // HY_NOVAL: absent
    int par[HY_OP_PARAMETERS];  // indices of parameters, -1: absent
    hy_val out;                 // HY_NOVAL: none
    int slot;                   // of the state, -1: none
    union {                     // of its kind
#define OP(KIND, name, ...) hy_##name##_op name;
#include "core/model/ops.def"
    };
} hy_op;

// ---- what ops.def says of a kind
typedef enum { HY_PASSES_BOTH, HY_PASSES_FORWARD, HY_PASSES_STATE } hy_op_passes;
typedef struct {
    const char *name;                          // "attention"
    const char *inputs, *parameters, *output;  // with their marks
    hy_slot_kind state;
    hy_op_passes passes;
    hy_kernel_id forward, backward;  // backward: HY_K_COUNT if there is none
} hy_op_info;
const hy_op_info *hy_op_of(hy_op_kind kind);
static inline const char *hy_op_name(hy_op_kind kind) { return hy_op_of(kind)->name; }

typedef struct {
    char name[16];
    bool optional;     // ?
    bool bwd_reads;    // *
    bool passes_grad;  // =
    bool matrix;       // #
} hy_operand;
// Operand k (from 0) of one of the three lists of a kind; false: the list has no more than k.
bool hy_operand_of(const char *list, int k, hy_operand *out);
int hy_operand_count(const char *list);
#endif
