// program.c - the program's tables: lookup, names, release. Building one is model.c.
#include "core/model/program.h"

#include <stdlib.h>
#include <string.h>

void hy_program_free(hy_program *p) {
    if (!p) return;
    free(p->values);
    free(p->params);
    free(p->ops);
    free(p->slots);
    free(p);
}

hy_val hy_value_root(const hy_program *p, hy_val v) {
    while (v >= 0 && p->values[v].parent >= 0) v = p->values[v].parent;
    return v;
}
size_t hy_value_column(const hy_program *p, hy_val v) {
    size_t col = 0;
    for (; p->values[v].parent >= 0; v = p->values[v].parent) col += (size_t)p->values[v].col;
    return col;
}

hy_val hy_program_find(const hy_program *p, const char *name) {
    for (int i = 0; i < p->n_values; i++)
        if (!strcmp(p->values[i].name, name)) return i;
    return HY_NOVAL;
}

int hy_program_find_param(const hy_program *p, const char *name) {
    for (int i = 0; i < p->n_params; i++)
        if (!strcmp(p->params[i].name, name)) return i;
    return -1;
}

bool hy_program_is_matrix(const hy_program *p, int param) {
    HY_ASSERT(param >= 0 && param < p->n_params);
    bool used = false;
    for (int i = 0; i < p->n_ops; i++) {
        hy_operand x;
        for (int k = 0; hy_operand_of(hy_op_of(p->ops[i].kind)->parameters, k, &x); k++) {
            if (p->ops[i].par[k] != param) continue;
            if (!x.matrix) return false;
            used = true;
        }
    }
    return used;
}

bool hy_program_keep_bf16(hy_program *p, int param) {
    const bool can = hy_program_is_matrix(p, param);
    if (can) p->params[param].kept = HY_BF16;
    return can;
}

bool hy_program_keeps_bf16(const hy_program *p) {
    for (int i = 0; i < p->n_params; i++)
        if (p->params[i].kept == HY_BF16) return true;
    return false;
}
