// test_spec_values.c - the values of a variant's keys, written down a second time: defaults, and where ranges begin and
// end.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/spec/spec_read.h"

static hy_status read_text(const char *text, hy_model_spec *m) {
    hy_yaml *y = NULL;
    assert_int_equal(hy_yaml_parse("v", text, strlen(text), &y), HY_OK);
    const hy_status s = hy_spec_from_yaml(y, m);
    hy_yaml_free(y);
    return s;
}
static void must(const char *text, hy_model_spec *m) {
    if (read_text(text, m)) fail_msg("%s: %s", text, hy_error_text());
}

// Every default, written down a second time: a stored variant that leaves a key out must go on meaning the same.
static void defaults_by_hand(void **state) {
    (void)state;
    hy_model_spec m;
    must("mixer: parallel\n", &m);
    assert_true(m.vocab == 8192 && m.d_model == 256 && m.n_layers == 8 && m.meta_tokens == 0 && m.tied == 1);
    assert_true(m.max_len == 2048 && m.orig_len == 2048 && m.rope == HY_ROPE_DEFAULT && m.rope_base == 10000);
    assert_true(m.rope_factor == 1 && m.rope_low == 1 && m.rope_high == 4);
    assert_true(m.norm == HY_NORM_RMS && m.norm_eps == 1e-6 && m.init_std == 0.02 && m.init_residual_scale == 0);
    assert_true(!m.norm_bias && m.positions == HY_POSITIONS_NONE && m.dropout_embedding == 0 && m.dropout_attention == 0);
    const double *f = (const double *)&m.multipliers;
    for (size_t i = 0; i < sizeof m.multipliers / sizeof *f; i++) assert_true(f[i] == 1);
    for (int i = 0; i < m.n_layers; i++) {
        const hy_layer_spec *l = &m.layers[i];
        assert_true(l->heads == 8 && l->kv_heads == 8 && l->d_qk == 32 && l->d_v == 64);  // 512 channels for mean
        assert_true(l->window == 0 && l->kv_source == i && !l->qk_norm && !l->qkv_bias && !l->out_bias);
        assert_true(l->ssm_kind == HY_SSM_MAMBA && l->d_inner == 512 && l->d_state == 16 && l->d_conv == 4);
        assert_true(l->dt_rank == 16 && l->inner_norms == 1 && l->conv_bias == 1 && !l->proj_bias);
        assert_true(l->head_dim == 0 && l->groups == 0 && l->gated_norm == 0 && l->dt_min == 0 && l->dt_max == 0);
        assert_true(l->fusion == HY_FUSION_MEAN && l->mlp == HY_MLP_SILU && !l->mlp_bias);
        assert_int_equal(l->d_ff, 704);  // 8/3 of 256, up to a multiple of 32
    }
    must("mixer: ssm\nssm: {kind: mamba2}\nmlp: {kind: relu2}\n", &m);
    const hy_layer_spec *l = &m.layers[0];
    assert_true(l->head_dim == 64 && l->groups == 1 && l->gated_norm == 1 && l->norm_before_gate == 0);
    assert_true(l->dt_min == 0 && l->dt_max == 0 && l->d_state == 16 && l->d_conv == 4 && l->conv_bias == 1);
    assert_true(l->dt_rank == 0 && l->inner_norms == 0 && l->heads == 0 && l->d_qk == 0 && l->d_v == 0);
    assert_int_equal(l->d_ff, 1024);
}

// The last values inside and the first ones outside, in an otherwise small model.
static void ranges_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *set, *inside[2], *outside[2];
    } keys[] = {
        {"vocab: %s", {"1", "16777216"}, {"0", "16777217"}},
        {"layers: %s", {"1", "256"}, {"0", "257"}},
        {"meta_tokens: %s", {"0", "65536"}, {"-1", "65537"}},
        {"norm: {eps: %s}", {"1e-12", "1"}, {"9e-13", "1.1"}},
        {"dropout: {embedding: %s}", {"0", "0.999"}, {"-1e-9", "1"}},
        {"rope: {base: %s}", {"1", "1e12"}, {"0.9", "2e12"}},
        {"init: {std: %s}", {"0", "10"}, {"-1e-9", "10.1"}},
        {"ssm: {d_conv: %s}", {"1", "256"}, {"0", "257"}},
        {"ssm: {d_state: %s}", {"1", "4096"}, {"0", "4097"}},
        {"attention: {window: %s}", {"1", "none"}, {"0", "-1"}},
        {"mlp: {d_ff: %s}", {"1", "4194304"}, {"0", "4194305"}},
        {"ssm: {kind: mamba2, groups: %s}", {"1", "8"}, {"0", "-1"}},
        {"ssm: {kind: mamba2, dt_min: %s}", {"0", "1e6"}, {"-1e-9", "2e6"}},
        {"multipliers: {key: %s}", {"1e-6", "1e6"}, {"0", "2e6"}},
    };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (int in = 0; in < 2; in++)
            for (int i = 0; i < 2; i++) {
                const char *value = (in ? keys[k].inside : keys[k].outside)[i];
                hy_buf text = {0};
                hy_buf_printf(&text, "mixer: parallel\n");
                if (strncmp(keys[k].set, "layers", 6)) hy_buf_printf(&text, "layers: 1\n");
                const char *at = strstr(keys[k].set, "%s");
                hy_buf_printf(&text, "%.*s%s%s", (int)(at - keys[k].set), keys[k].set, value, at + 2);
                hy_model_spec *m = hy_xcalloc(1, sizeof *m);
                const hy_status s = read_text(text.s, m);
                if (in && s) fail_msg("%s: refused: %s", text.s, hy_error_text());
                if (!in && s != HY_EINPUT) fail_msg("%s: accepted", text.s);
                free(m);
                free(text.s);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_by_hand), cmocka_unit_test(ranges_by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
