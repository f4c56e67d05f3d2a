// values.c - see values.h.
#include "core/model/values.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/field.h"

bool hy_name_fits(const char *pattern, const char *name) { return !fnmatch(pattern, name, 0); }

// "layers.3.attn.q" as "layers.*.attn.q"; caller frees.
static char *any_layer(const char *name) {
    static const char start[] = "layers.";
    if (strncmp(name, start, sizeof start - 1)) return hy_xstrdup(name);
    const char *rest = name + sizeof start - 1;
    return hy_asprintf("%s*%s", start, rest + strspn(rest, "0123456789"));
}

hy_status hy_names_no_match(const char *pattern, const char *const *names, int n) {
    hy_buf list = {0};
    for (int i = 0; i < n; i++) {
        char *name = strchr(pattern, '*') ? any_layer(names[i]) : hy_xstrdup(names[i]);
        hy_buf_printf(&list, "%s%s", i ? "|" : "", name);
        free(name);
    }
    char *hint = hy_suggest(pattern, list.s ? list.s : "");
    const hy_status s = hy_error(HY_EINPUT, "nothing of this model is named \"%s\"%s", pattern, hint);
    free(hint), free(list.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- meaning
// How the columns of a value are made up.
typedef enum { FLAT = 0, QUERIES, KEYS, VALUES, HEADS, CHANNELS, STATES } layout;
// By the end of its name, which model.c gives.
static const struct {
    const char *name;
    layout columns;
    const char *meaning;
} meanings[] = {
    {"embed", FLAT, "embeddings of the tokens, meta tokens first"},
    {"embed_placed", FLAT, "embeddings with their learned positions"},
    {"embed_scaled", FLAT, "embeddings times their multiplier"},
    {"embed_dropped", FLAT, "embeddings after dropout"},
    {"input", FLAT, "residual stream that enters the layer"},
    {"final_input", FLAT, "residual stream that leaves the last layer"},
    {"final_norm", FLAT, "after the final norm"},
    {"head_in", FLAT, "after the final norm, times the multiplier of the head"},
    {"out_rows", FLAT, "what the head reads, of positions whose logits are wanted"},
    {"logits", FLAT, "logits of the next token"},
    {"mixer.in", FLAT, "after the layer's norm: what attention and SSM heads read"},
    {"attn.in", FLAT, "after the norm: what the attention heads read"},
    {"ssm.in", FLAT, "after the norm: what the SSM heads read"},
    {"mixer.proj", FLAT, "in projection of attention and SSM heads together"},
    {"attn.proj", FLAT, "in projection of the attention heads"},
    {"ssm.proj", FLAT, "in projection of the SSM heads"},
    {"mixer.proj_scaled", FLAT, "in projection times its multipliers"},
    {"attn.proj_scaled", FLAT, "in projection times its multipliers"},
    {"ssm.proj_scaled", FLAT, "in projection times its multipliers"},
    {"attn.q_raw", QUERIES, "queries as projected, before norm and rotation"},
    {"attn.q_normed", QUERIES, "queries after their norm, before rotation"},
    {"attn.q", QUERIES, "queries as attention uses them"},
    {"attn.k_raw", KEYS, "keys as projected, before norm and rotation"},
    {"attn.k_normed", KEYS, "keys after their norm, before rotation"},
    {"attn.k", KEYS, "keys as attention uses them"},
    {"attn.v", VALUES, "values that attention mixes"},
    {"attn.out", HEADS, "what the attention heads give"},
    {"attn.out_scaled", HEADS, "what the attention heads give, times its multiplier"},
    {"ssm.gate", CHANNELS, "gate of the SSM, before silu"},
    {"ssm.s", FLAT, "what enters the causal convolution"},
    {"ssm.conv", FLAT, "x, B and C after convolution and silu"},
    {"ssm.x", CHANNELS, "what the SSM reads, after convolution and silu"},
    {"ssm.x_proj", FLAT, "projection to step size, B and C"},
    {"ssm.x_proj_scaled", FLAT, "projection to step size, B and C, times its multipliers"},
    {"ssm.dt_raw", FLAT, "step size in low rank, before its norm"},
    {"ssm.dt_in", FLAT, "step size in low rank"},
    {"ssm.dt", FLAT, "step size before softplus"},
    {"ssm.B_raw", STATES, "B, input to the states, before its norm"},
    {"ssm.C_raw", STATES, "C, output of the states, before its norm"},
    {"ssm.B", STATES, "B, input to the states"},
    {"ssm.C", STATES, "C, output of the states"},
    {"ssm.y", CHANNELS, "what the SSM gives before gate and norm"},
    {"ssm.out", CHANNELS, "what the SSM heads give, gated"},
    {"ssm.out_scaled", CHANNELS, "what the SSM heads give, times its multiplier"},
    {"fuse.gate", FLAT, "gate between attention and SSM, before the sigmoid"},
    {"fuse.out", FLAT, "attention and SSM heads joined"},
    {"mixer.mid", FLAT, "residual stream after the first half of the heads"},
    {"mixer.out", FLAT, "residual stream after the heads"},
    {"mlp.in", FLAT, "after the norm: what the MLP reads"},
    {"mlp.up_out", FLAT, "up projection of the MLP (of a GLU: gate, then up)"},
    {"mlp.up_scaled", FLAT, "up projection of the MLP, times its multiplier"},
    {"mlp.act", FLAT, "MLP after its activation"},
    {"mlp.act_scaled", FLAT, "MLP after its activation, times its multiplier"},
    {"out", FLAT, "residual stream that leaves the layer"},
    {"same", FLAT, "residual stream that leaves the layer"},
};

// The name without its layer, which goes to *layer (-1: none).
static const char *local_name(const char *name, int *layer) {
    int n = 0;
    *layer = -1;
    if (sscanf(name, "layers.%d.%n", layer, &n) == 1 && n) return name + n;
    *layer = -1;
    return name;
}

static void groups(hy_buf *out, int n, const char *what, int width) {
    if (n > 0) hy_buf_printf(out, "; %d %s%s of %d", n, what, n == 1 ? "" : "s", width / n);
}

void hy_value_meaning(const hy_program *p, hy_val v, hy_buf *out) {
    int layer;
    const char *name = local_name(p->values[v].name, &layer);
    size_t k = 0;
    while (k < sizeof meanings / sizeof *meanings && strcmp(meanings[k].name, name)) k++;
    if (k == sizeof meanings / sizeof *meanings) {  // a value that model.c has since: by what makes it
        for (int i = 0; i < p->n_ops; i++)
            if (p->ops[i].out == v) hy_buf_printf(out, "output of %s", hy_op_name(p->ops[i].kind));
        return;
    }
    hy_buf_printf(out, "%s", meanings[k].meaning);
    if (layer < 0) return;
    const hy_layer_spec *l = &p->spec.layers[layer];
    const int width = p->values[v].width;
    switch (meanings[k].columns) {
        case FLAT: break;
        case QUERIES:
        case HEADS: groups(out, l->heads, "head", width); break;
        case KEYS:
        case VALUES: groups(out, l->kv_heads, "KV head", width); break;
        case CHANNELS:
            if (hy_layer_is_mamba2(l)) groups(out, hy_layer_ssm_heads(l), "SSM head", width);
            break;
        case STATES:
            if (hy_layer_is_mamba2(l)) groups(out, l->groups, "group", width);
            break;
    }
}
