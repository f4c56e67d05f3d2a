// spec_cache.c - see spec.h. Bytes of the state that one sequence keeps between tokens, from the spec alone, in the
// true accounting (what hy_state allocates) and in the paper's.
#include <string.h>

#include "core/spec/spec.h"
#include "kernels/attn_rule.h"

enum { PAPER_BYTES = 2 };  // a value, in the paper's tables

static bool windows_share(const hy_model_spec *m) {
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        if (hy_layer_has_attention(l) && l->window && l->kv_source != i) return true;
    }
    return false;
}

void hy_layer_cache_terms(const hy_model_spec *m, int i, hy_cache_accounting how, int tokens, int elem, int conv_elem,
                          int ssm_elem, hy_cache_term out[HY_CACHE_KINDS]) {
    const hy_layer_spec *l = &m->layers[i];
    bool paper = how != HY_CACHE_TRUE, ssm = hy_layer_has_ssm(l);
    if (paper) elem = conv_elem = ssm_elem = PAPER_BYTES;
    memset(out, 0, HY_CACHE_KINDS * sizeof *out);
    if (hy_layer_has_attention(l)) {
        int values = l->kv_heads * (l->d_qk + l->d_v),
            seen = hy_attn_cap(tokens, l->window, m->meta_tokens) - m->meta_tokens;
        double own = l->kv_source == i;
        bool half = how == HY_CACHE_PAPER && l->window && windows_share(m);
        out[HY_CACHE_KV] = (hy_cache_term){half ? 0.5 : own, seen, values, elem};
        out[HY_CACHE_META] = (hy_cache_term){paper && l->window ? 0 : own, m->meta_tokens, values, elem};
    }
    out[HY_CACHE_CONV] = (hy_cache_term){ssm && !paper, ssm ? l->d_conv - 1 : 0, hy_layer_conv_width(l), conv_elem};
    out[HY_CACHE_SSM] = (hy_cache_term){ssm, l->d_state, l->d_inner, ssm_elem};
}

void hy_model_cache(const hy_model_spec *m, hy_cache_accounting how, int tokens, int elem, int conv_elem, int ssm_elem,
                    hy_cache_bytes *layers, hy_cache_bytes *sum) {
    memset(sum, 0, sizeof *sum);
    for (int i = 0; i < m->n_layers; i++) {
        hy_cache_term t[HY_CACHE_KINDS];
        double b[HY_CACHE_KINDS];
        hy_layer_cache_terms(m, i, how, tokens, elem, conv_elem, ssm_elem, t);
        for (int k = 0; k < HY_CACHE_KINDS; k++) b[k] = t[k].share * t[k].positions * t[k].values * t[k].bytes;
        hy_cache_bytes c = {
            .kv = b[HY_CACHE_KV], .meta = b[HY_CACHE_META], .conv = b[HY_CACHE_CONV], .ssm = b[HY_CACHE_SSM]};
        c.total = c.kv + c.meta + c.conv + c.ssm;
        sum->kv += c.kv;
        sum->meta += c.meta;
        sum->conv += c.conv;
        sum->ssm += c.ssm;
        sum->total += c.total;
        if (layers) layers[i] = c;
    }
}
