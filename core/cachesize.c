// cachesize.c - see spec.h. Bytes of the state that one sequence keeps between tokens, from the spec alone, in the true
// accounting (what hy_state allocates) and in the paper's.
#include <string.h>

#include "core/spec.h"
#include "kernels/attn_rule.h"

enum { PAPER_BYTES = 2 };  // a value, in the paper's tables

static bool windows_share(const hy_model_spec *m) {
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        if (hy_layer_has_attention(l) && l->window && l->kv_source != i) return true;
    }
    return false;
}

static void layer_true(const hy_model_spec *m, int i, int tokens, int elem, int state_elem, hy_cache_bytes *c) {
    const hy_layer_spec *l = &m->layers[i];
    if (hy_layer_has_attention(l) && l->kv_source == i) {
        double row = (double)l->kv_heads * ((double)l->d_qk + l->d_v) * elem;
        c->kv = row * (hy_attn_cap(tokens, l->window, m->meta_tokens) - m->meta_tokens);
        c->meta = row * m->meta_tokens;
    }
    c->conv = l->d_inner ? (double)l->d_inner * (l->d_conv - 1) * state_elem : 0;
    c->ssm = (double)l->d_inner * l->d_state * state_elem;
}

static void layer_paper(const hy_model_spec *m, int i, int tokens, bool half, hy_cache_bytes *c) {
    const hy_layer_spec *l = &m->layers[i];
    if (hy_layer_has_attention(l)) {
        double row = (double)l->kv_heads * ((double)l->d_qk + l->d_v) * PAPER_BYTES;
        bool own = l->kv_source == i;
        if (l->window) {
            int seen = l->window < tokens ? l->window : tokens;
            c->kv = row * seen * (half ? 0.5 : own);
        } else if (own) {
            c->kv = row * tokens;
            c->meta = row * m->meta_tokens;
        }
    }
    c->ssm = (double)l->d_inner * l->d_state * PAPER_BYTES;
}

void hy_model_cache(const hy_model_spec *m, hy_cache_accounting how, int tokens, int elem, int state_elem,
                    hy_cache_bytes *layers, hy_cache_bytes *sum) {
    bool half = how == HY_CACHE_PAPER && windows_share(m);
    memset(sum, 0, sizeof *sum);
    for (int i = 0; i < m->n_layers; i++) {
        hy_cache_bytes c = {0};
        if (how == HY_CACHE_TRUE) layer_true(m, i, tokens, elem, state_elem, &c);
        else layer_paper(m, i, tokens, half, &c);
        c.total = c.kv + c.meta + c.conv + c.ssm;
        sum->kv += c.kv;
        sum->meta += c.meta;
        sum->conv += c.conv;
        sum->ssm += c.ssm;
        sum->total += c.total;
        if (layers) layers[i] = c;
    }
}
