// spec_count.c - see spec.h. Parameters and FLOPs of a model from its spec alone.
#include <string.h>

#include "core/spec/spec.h"

// All weights are [out, in]; linear layers have no bias unless one is written here.
static int64_t attention_rows(const hy_model_spec *m, int i) {  // of W_q, and of W_k, W_v where the layer makes its own
    const hy_layer_spec *l = &m->layers[i];
    int64_t rows = (int64_t)l->heads * l->d_qk;
    if (l->kv_source == i) rows += (int64_t)l->kv_heads * (l->d_qk + l->d_v);
    return rows;
}
static int64_t attention_params(const hy_model_spec *m, int i) { return attention_rows(m, i) * m->d_model; }

static int64_t qk_norm_params(const hy_model_spec *m, int i) {
    const hy_layer_spec *l = &m->layers[i];
    return l->qk_norm ? (int64_t)l->d_qk * (l->kv_source == i ? 2 : 1) : 0;
}

static int64_t mamba2_params(const hy_model_spec *m, const hy_layer_spec *l) {  // without the out projection
    int64_t heads = hy_layer_ssm_heads(l), wide = hy_layer_conv_width(l);
    int64_t n = (int64_t)hy_layer_ssm_rows(l) * m->d_model;
    n += wide * l->d_conv + (l->conv_bias ? wide : 0);  // convolution
    n += 3 * heads;                                     // dt_bias, A_log, D
    return n + (l->gated_norm ? l->d_inner : 0);
}

static int64_t ssm_params(const hy_model_spec *m, const hy_layer_spec *l) {  // without the out projection
    if (l->ssm_kind == HY_SSM_MAMBA2) return mamba2_params(m, l);
    int64_t d = l->d_inner, n = 2 * d * m->d_model;   // s and g
    n += d * l->d_conv + (l->conv_bias ? d : 0);      // convolution
    n += (int64_t)(l->dt_rank + 2 * l->d_state) * d;  // x_proj
    n += d * l->dt_rank + d;                          // dt_proj and its bias
    n += d * l->d_state + d;                          // A_log, D
    if (l->inner_norms == HY_INNER_NORMS_WEIGHTED) n += l->dt_rank + 2 * l->d_state;
    return n;
}

// One norm of the residual stream.
static int64_t norm_params(const hy_model_spec *m) { return (int64_t)m->d_model * (m->norm_bias ? 2 : 1); }

static void mixer_count(const hy_model_spec *m, int i, hy_param_count *c) {
    const hy_layer_spec *l = &m->layers[i];
    bool at = hy_layer_has_attention(l), ss = hy_layer_has_ssm(l);
    int64_t d = m->d_model, wide = (int64_t)l->heads * l->d_v;
    if (at) {
        c->attention += attention_params(m, i) + qk_norm_params(m, i);
        c->ratio_attention += attention_params(m, i);
    }
    if (ss) {
        c->ssm += ssm_params(m, l);
        c->ratio_ssm += ssm_params(m, l) + d * l->d_inner;
    }
    if (l->mixer == HY_MIXER_PARALLEL) {
        int64_t norms = l->fusion == HY_FUSION_SUM ? 0 : wide + l->d_inner;
        int64_t gate = l->fusion == HY_FUSION_GATE ? (int64_t)l->heads * d + l->heads : 0;
        int64_t out = d * (hy_fusion_same_width(l->fusion) ? l->d_inner : wide + l->d_inner);
        c->fusion += norms + gate + out;
        c->ratio_ssm += norms;
        c->norm += norm_params(m);
        if (l->proj_bias)  // of the one in projection and of the out projections
            c->fusion += attention_rows(m, i) + hy_layer_ssm_rows(l) + (l->fusion == HY_FUSION_SUM ? 2 : 1) * d;
    } else {  // sub-blocks with an input norm and an out projection each
        if (at) c->attention += d * wide, c->norm += norm_params(m);
        if (ss) c->ssm += d * l->d_inner, c->norm += norm_params(m);
        c->attention += (l->qkv_bias ? attention_rows(m, i) : 0) + (l->out_bias ? d : 0);
        if (l->proj_bias) c->ssm += hy_layer_ssm_rows(l) + d;
    }
}

static void sum_parts(hy_param_count *c) {
    c->total = c->embedding + c->head + c->meta + c->attention + c->ssm + c->fusion + c->mlp + c->norm;
}

void hy_layer_count(const hy_model_spec *m, int i, hy_param_count *c) {
    const hy_layer_spec *l = &m->layers[i];
    memset(c, 0, sizeof *c);
    if (l->mixer != HY_MIXER_NONE) mixer_count(m, i, c);
    if (l->mlp != HY_MLP_NONE) {
        c->mlp = (l->mlp == HY_MLP_SILU ? 3 : 2) * (int64_t)m->d_model * l->d_ff;
        if (l->mlp_bias) c->mlp += (l->mlp == HY_MLP_SILU ? 2 : 1) * (int64_t)l->d_ff + m->d_model;
        c->norm += norm_params(m);
    }
    sum_parts(c);
}

void hy_model_count(const hy_model_spec *m, hy_param_count *c) {
    memset(c, 0, sizeof *c);
    for (int i = 0; i < m->n_layers; i++) {
        hy_param_count l;
        hy_layer_count(m, i, &l);
        c->attention += l.attention;
        c->ssm += l.ssm;
        c->fusion += l.fusion;
        c->mlp += l.mlp;
        c->norm += l.norm;
        c->ratio_attention += l.ratio_attention;
        c->ratio_ssm += l.ratio_ssm;
    }
    c->norm += norm_params(m);  // the final one
    c->embedding = (int64_t)m->vocab * m->d_model;
    c->head = m->tied ? 0 : c->embedding;
    if (m->positions == HY_POSITIONS_LEARNED) c->embedding += (int64_t)m->max_len * m->d_model;
    c->meta = (int64_t)m->meta_tokens * m->d_model;
    sum_parts(c);
}

hy_status hy_model_check_length(const hy_model_spec *m, int tokens) {
    if (m->positions != HY_POSITIONS_LEARNED || tokens <= m->max_len) return HY_OK;
    return hy_error(HY_EINPUT, "%d tokens of text, but %s has learned positions for max_len %d: set max_len", tokens,
                    m->name, m->max_len);
}

double hy_model_flops_token(const hy_model_spec *m, int context) {
    double f = 2.0 * m->vocab * m->d_model;
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        bool at = hy_layer_has_attention(l), ss = hy_layer_has_ssm(l);
        double wide = (double)l->heads * l->d_v, d = m->d_model, inner = l->d_inner;
        if (at) {
            double seen = context, most = (double)l->window + 1 + m->meta_tokens;
            if (l->window && seen > most) seen = most;
            f += 2.0 * (double)attention_params(m, i) + 2.0 * l->heads * ((double)l->d_qk + l->d_v) * seen;
        }
        if (ss && l->ssm_kind == HY_SSM_MAMBA2) {
            const double conv = hy_layer_conv_width(l);
            f += 2.0 * hy_layer_ssm_rows(l) * d;
            f += 2.0 * conv * l->d_conv + 5.0 * inner * l->d_state + 3.0 * inner;
        } else if (ss) {
            f += 2.0 * (2 * inner * d + (l->dt_rank + 2.0 * l->d_state) * inner + inner * l->dt_rank);
            f += 2.0 * inner * l->d_conv + 7.0 * inner * l->d_state + 5.0 * inner;
        }
        if (l->mixer == HY_MIXER_PARALLEL) {
            f += 2.0 * d * (hy_fusion_same_width(l->fusion) ? inner : wide + inner);
            if (l->fusion == HY_FUSION_GATE) f += 2.0 * l->heads * d;
        } else {
            f += 2.0 * d * (wide + inner);  // the absent one is 0
        }
        if (l->mlp != HY_MLP_NONE) f += 2.0 * (l->mlp == HY_MLP_SILU ? 3 : 2) * d * l->d_ff;
    }
    return f;
}
