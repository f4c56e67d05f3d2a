// op.c - the table of kinds of ops and the operand lists in it.
#include "core/model/op.h"

#include <string.h>

#define BWD_BOTH(name) HY_K_##name##_bwd
#define BWD_FORWARD(name) HY_K_COUNT
#define BWD_STATE(name) HY_K_COUNT
static const hy_op_info kinds[HY_OP_KINDS] = {
#define OP(KIND, name, inputs, parameters, output, state, passes, ...) \
    [HY_OP_##KIND] = {                                                 \
        #name, inputs, parameters, output, HY_SLOT_##state, HY_PASSES_##passes, HY_K_##name, BWD_##passes(name)},
#include "core/model/ops.def"
};

const hy_op_info *hy_op_of(hy_op_kind kind) {
    HY_ASSERT((unsigned)kind < HY_OP_KINDS);
    return &kinds[kind];
}

bool hy_operand_of(const char *list, int k, hy_operand *out) {
    for (; k > 0 && *list; k--) {
        list += strcspn(list, " ");
        list += strspn(list, " ");
    }
    if (!*list) return false;
    const size_t letters = strcspn(list, " ?*=#"), n = strcspn(list, " ");
    HY_ASSERT(letters > 0 && letters < sizeof out->name);
    *out = (hy_operand){0};
    memcpy(out->name, list, letters);
    out->optional = memchr(list, '?', n) != NULL;
    out->bwd_reads = memchr(list, '*', n) != NULL;
    out->passes_grad = memchr(list, '=', n) != NULL;
    out->matrix = memchr(list, '#', n) != NULL;
    return true;
}

int hy_operand_count(const char *list) {
    int n = 0;
    for (hy_operand x; hy_operand_of(list, n, &x);) n++;
    return n;
}
