// tiny_models.h - a small model of every kind of layer, fusion, norm and factor, for tests that compare whole models
// with differences in double precision.
#ifndef HY_TINY_MODELS_H
#define HY_TINY_MODELS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/exec/exec.h"
#include "core/spec/spec_read.h"

#define COMMON "vocab: 13\nd_model: 12\ninit: {std: 0.3}\nmlp: {kind: silu, d_ff: 10}\n"
#define SSM "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
#define FACTORS                                                                                                  \
    "multipliers: {embedding: 5.6, attention_in: 0.9, key: 0.39, attention_out: 0.4, ssm_in: 1.25, ssm_z: 0.7, " \
    "ssm_x: 0.8, ssm_B: 0.5, ssm_C: 1.5, ssm_dt: 0.3, ssm_out: 0.24, mlp_gate: 0.88, mlp_down: 0.2, head: 0.04}\n"
#define SSM2 "ssm: {kind: mamba2, expand: 2, d_state: 3, d_conv: 3, head_dim: 6, groups: 2}\n"
static const char *const models[] = {
    COMMON "name: llama\nlayers: 2\nmixer: attention\nattention: {heads: 3, kv_heads: 1, d_qk: 4}\n",
    COMMON "name: mamba\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\n" SSM,
    COMMON SSM "name: bare-mamba\nlayers: 1\nmixer: ssm\nssm: {inner_norms: false, conv_bias: false}\ntied: false\n",
    COMMON SSM "name: hymba\nlayers: 5\nmixer: parallel\nmeta_tokens: 3\nattention: {heads: 2, kv_heads: 1, window: 3, "
               "global_layers: [0, 4]}\n"
               "kv_share: [[1, 2, 3]]\n",
    COMMON SSM "name: concat\nlayers: 2\nmixer: parallel\nfusion: concat\nmeta_tokens: 1\nattention: {heads: 2, "
               "kv_heads: 2, d_qk: 6, d_v: 3, window: 2, global_layers: none, qk_norm: true}\n",
    COMMON SSM "name: gate\nlayers: 2\nmixer: parallel\nfusion: gate\nattention: {heads: 2, kv_heads: 2}\nrope: {kind: "
               "ntk}\nmax_len: 64\norig_len: 16\n",
    COMMON SSM "name: sum\nlayers: 3\nmixer: parallel\nfusion: sum\nmeta_tokens: 2\nattention: {heads: 2, kv_heads: 1, "
               "d_qk: 6, d_v: 3, qkv_bias: true, out_bias: true}\n"
               "kv_share: [[0, 1]]\ntied: false\nssm: {proj_bias: true}\n" FACTORS,
    COMMON SSM
    "name: mean-factors\nlayers: 2\nmixer: parallel\nmeta_tokens: 1\nattention: {heads: 2, kv_heads: 2}\n" FACTORS,
    COMMON SSM
    "name: concat-factors\nlayers: 1\nmixer: parallel\nfusion: concat\nattention: {heads: 2, kv_heads: 2}\n" FACTORS,
    COMMON SSM
    "name: gate-factors\nlayers: 1\nmixer: parallel\nfusion: gate\nattention: {heads: 2, kv_heads: 2}\n" FACTORS,
    COMMON SSM
    "name: sequential-factors\nlayers: 1\nmixer: ssm_attention\nattention: {heads: 2, kv_heads: 1}\n" FACTORS,
    COMMON SSM
    "name: sequential\nlayers: 2\nmixer: attention_ssm\nattention: {heads: 2, kv_heads: 1}\nrope: {kind: none}\n",
    COMMON SSM "name: reverse\nlayers: 2\nmixer: ssm_attention\nattention: {heads: 2, kv_heads: 2}\nkv_share: [[0, "
               "1]]\nnorm: {kind: layer, eps: 1e-6}\n",
    COMMON SSM
    "name: mixed\nlayers: 4\nmlp: {kind: relu2, d_ff: 9}\nattention: {heads: 2, kv_heads: 1, window: 4, global_layers: "
    "none}\n"
    "pattern: [{mixer: ssm}, {mixer: none}, {mixer: attention, mlp: {kind: none}}, {mixer: none, mlp: {kind: none}}]\n",
    COMMON SSM
    "name: biases\nlayers: 4\nattention: {heads: 3, kv_heads: 1, d_qk: 6, d_v: 8, qkv_bias: true, out_bias: "
    "true}\nssm: {proj_bias: true}\n"
    "mlp: {bias: true}\nrope: {kind: llama3, base: 100, factor: 3, low_freq_factor: 0.2, high_freq_factor: "
    "1}\norig_len: 9\n"
    "pattern: [{mixer: attention}, {mixer: ssm}, {mixer: parallel}, {mixer: ssm_attention, mlp: {kind: relu2}}]\n",
    COMMON "name: mamba2\nlayers: 2\nmixer: ssm\nmlp: {kind: none}\n" SSM2,
    COMMON SSM2 "name: hymba2\nlayers: 3\nmixer: parallel\nmeta_tokens: 2\nattention: {heads: 2, kv_heads: 1, window: "
                "3}\nkv_share: [[1, 2]]\n"
                "ssm: {gated_norm: false}\n",
    COMMON SSM2 "name: gate2\nlayers: 1\nmixer: parallel\nfusion: gate\nattention: {heads: 2}\nssm: {conv_bias: false, "
                "dt_min: 0.01, dt_max: 0.09}\n",
    COMMON SSM2 "name: concat2\nlayers: 2\nmixer: parallel\nfusion: concat\nattention: {heads: 2, d_v: 3}\nssm: "
                "{norm_before_gate: true}\n",
    COMMON SSM2 "name: sum2\nlayers: 2\nmixer: parallel\nfusion: sum\nattention: {heads: 2, d_v: 3}\nssm: {gated_norm: "
                "false}\n" FACTORS,
    COMMON SSM2 "name: bias2\nlayers: 1\nmixer: ssm\nssm: {proj_bias: true}\n",
    COMMON SSM2 "name: sequential2\nlayers: 2\nmixer: ssm_attention\nattention: {heads: 2}\nssm: {groups: 4}\n",
    COMMON SSM "name: placed\nlayers: 2\nmixer: parallel\nmeta_tokens: 2\npositions: learned\nmax_len: 10\nattention: "
               "{heads: 2, kv_heads: 2}\nmultipliers: {embedding: 1.7}\ndropout: {embedding: 0.3, attention: 0.2}\n",
    COMMON SSM "name: norm-bias\nlayers: 2\nmixer: ssm_attention\nattention: {heads: 2, kv_heads: 2}\nnorm: {kind: "
               "layer, eps: 1e-6, bias: true}\n",
    COMMON SSM "name: partial\nlayers: 4\nmax_len: 64\norig_len: 16\nrope: {kind: ntk}\nattention: {heads: 2, "
               "kv_heads: 1, d_qk: 8, "
               "rotary: 4}\nkv_share: [[1, 3]]\nssm: {inner_norms: plain, inner_norm_eps: 0.01}\npattern: [{mixer: "
               "parallel, fusion: "
               "concat, attention: {rotary: all, no_rope: true}}, {mixer: parallel, fusion: concat}]\n",
    COMMON SSM
    "name: grouped\nlayers: 1\nmixer: parallel\nfusion: concat\nattention: {heads: 4, kv_heads: 2, d_qk: 4, d_v: "
    "3}\n",
};

static inline void build(const char *text, hy_model_spec *spec, hy_program **p) {
    hy_yaml *y = NULL;
    hy_buf b = {0};
    hy_buf_printf(&b, "name: x\n");
    if (hy_yaml_parse("model", b.s, b.n, &y)) fail_msg("%s", hy_error_text());
    free(b.s);
    char *copy = hy_xstrdup(text), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        hy_yaml *part = NULL;
        if (hy_yaml_parse("line", line, strlen(line), &part)) fail_msg("%s", hy_error_text());
        hy_yaml *merged = hy_yaml_merge(y, part);
        hy_yaml_free(y);
        hy_yaml_free(part);
        y = merged;
    }
    free(copy);
    if (hy_spec_from_yaml(y, spec)) fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    if (hy_model_build(spec, p)) fail_msg("%s", hy_error_text());
}
#endif
