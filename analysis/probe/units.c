// units.c - see units.h. Units are found by what ops do, so every mixer that the builder makes has them.
#include "analysis/probe/units.h"

#include "core/model/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hy_unit *add(hy_units *u, hy_unit_kind kind, int layer, int index) {
    static const char *const names[HY_UNIT_KINDS] = {".attention", ".ssm", ".head", ".group",
                                                     "",           ".mlp", ".conv", "meta"};
    u->v = hy_xrealloc(u->v, (size_t)(u->n + 1) * sizeof *u->v);
    hy_unit *x = &u->v[u->n++];
    *x = (hy_unit){.kind = kind, .layer = layer, .index = index};
    if (layer < 0)
        snprintf(x->name, sizeof x->name, "%s%d", names[kind], index);
    else if (index < 0)
        snprintf(x->name, sizeof x->name, "layer%d%s", layer, names[kind]);
    else
        snprintf(x->name, sizeof x->name, "layer%d%s%d", layer, names[kind], index);
    return x;
}

static void part(hy_unit *x, hy_val value, int col, int width, int input, bool silu) {
    HY_ASSERT(x->n < HY_UNIT_PARTS);
    x->part[x->n++] = (hy_edit){.value = value, .col = col, .width = width, .input = input, .silu = silu};
}

// `count` equal shares of the columns of a value.
static void shares(hy_units *u, hy_unit_kind kind, int layer, hy_val value, int width, int count) {
    for (int k = 0; k < count; k++) part(add(u, kind, layer, k), value, k * (width / count), width / count, -1, false);
}

// ops.def: the residual is input 1 of a linear op.
static bool is_block_end(const hy_op *op) { return op->kind == HY_OP_LINEAR && op->in[1] >= 0; }

// The number of the last op of a layer of which the test is true, -1: there is none.
static int find(const hy_program *p, int layer, bool (*test)(const hy_op *op)) {
    int at = -1;
    for (int i = 0; i < p->n_ops; i++)
        if (p->ops[i].layer == layer && test(&p->ops[i])) at = i;
    return at;
}
static bool is_attention(const hy_op *op) { return op->kind == HY_OP_ATTENTION; }
static bool is_conv(const hy_op *op) { return op->kind == HY_OP_CONV; }
// What leaves the SSM heads is the last of these: Mamba-2 has its gate behind the SSD.
static bool is_ssm(const hy_op *op) {
    return op->kind == HY_OP_SCAN || op->kind == HY_OP_SSD || op->kind == HY_OP_GATED_NORM;
}

static void whole(hy_units *u, const hy_program *p, unsigned kinds, hy_unit_kind kind, int layer, int op) {
    if (op < 0 || !(kinds >> kind & 1)) return;
    const hy_val v = p->ops[op].out;
    const bool conv = kind == HY_UNIT_CONV;
    part(add(u, kind, layer, -1), v, 0, p->values[v].width, conv ? 0 : -1, conv);
}

static hy_status head_units(hy_units *u, const hy_program *p, unsigned kinds, int groups, int layer) {
    const int attention = find(p, layer, is_attention), ssm = find(p, layer, is_ssm);
    const hy_layer_spec *l = &p->spec.layers[layer];
    whole(u, p, kinds, HY_UNIT_ATTENTION, layer, attention);
    whole(u, p, kinds, HY_UNIT_SSM, layer, ssm);
    if (attention >= 0 && kinds >> HY_UNIT_HEAD & 1) {
        const hy_val v = p->ops[attention].out;
        shares(u, HY_UNIT_HEAD, layer, v, p->values[v].width, p->ops[attention].attention.heads);
    }
    if (ssm >= 0 && kinds >> HY_UNIT_GROUP & 1) {
        const hy_val v = p->ops[ssm].out;
        const int width = p->values[v].width, n = l->ssm_kind == HY_SSM_MAMBA2 ? hy_layer_ssm_heads(l) : groups;
        if (width % n)
            return hy_error(HY_EINPUT, "groups: the %d channels of layer %d cannot be divided into %d equal groups",
                            width, layer, n);
        shares(u, HY_UNIT_GROUP, layer, v, width, n);
    }
    return HY_OK;
}

static void block_units(hy_units *u, const hy_program *p, unsigned kinds, int layer) {
    const int last = find(p, layer, is_block_end), d = p->spec.d_model;
    if (last < 0) return;
    if (kinds >> HY_UNIT_LAYER & 1) {
        hy_unit *x = add(u, HY_UNIT_LAYER, layer, -1);
        for (int i = 0; i <= last; i++)
            if (p->ops[i].layer == layer && is_block_end(&p->ops[i])) part(x, p->ops[i].out, 0, d, 1, false);
    }
    if (kinds >> HY_UNIT_MLP & 1 && p->spec.layers[layer].mlp != HY_MLP_NONE)
        part(add(u, HY_UNIT_MLP, layer, -1), p->ops[last].out, 0, d, 1, false);
    whole(u, p, kinds, HY_UNIT_CONV, layer, find(p, layer, is_conv));
}

static void meta_units(hy_units *u, const hy_program *p) {
    int at = 0;
    while (p->ops[at].kind != HY_OP_EMBED) at++;
    for (int j = 0; j < p->spec.meta_tokens; j++) {
        hy_unit *x = add(u, HY_UNIT_META, -1, j);
        part(x, p->ops[at].out, 0, p->spec.d_model, -1, false);
        x->part[0].from = j;
        x->part[0].to = j + 1;
    }
}

hy_status hy_units_of(const hy_program *p, unsigned kinds, int groups, hy_units *out) {
    *out = (hy_units){0};
    hy_status s = HY_OK;
    if (kinds >> HY_UNIT_META & 1) meta_units(out, p);
    for (int i = 0; i < p->spec.n_layers && !s; i++) {
        s = head_units(out, p, kinds, groups, i);
        if (!s) block_units(out, p, kinds, i);
    }
    if (s) hy_units_free(out);
    return s;
}

void hy_units_free(hy_units *u) {
    free(u->v);
    *u = (hy_units){0};
}

hy_status hy_units_match(const hy_units *u, const char *patterns, bool *chosen) {
    char *text = hy_xstrdup(patterns), *rest = NULL;
    hy_status s = HY_OK;
    memset(chosen, 0, (size_t)u->n * sizeof *chosen);
    for (char *w = strtok_r(text, ", ", &rest); w && !s; w = strtok_r(NULL, ", ", &rest)) {
        bool any = false;
        for (int i = 0; i < u->n; i++)
            if (hy_name_fits(w, u->v[i].name)) any = chosen[i] = true;
        if (!any)
            s = hy_error(HY_EINPUT, "remove: nothing of this model is named \"%s\" (its parts are named %s ... %s)", w,
                         u->n ? u->v[0].name : "", u->n ? u->v[u->n - 1].name : "");
    }
    free(text);
    return s;
}
