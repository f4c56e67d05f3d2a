// test_count.c - parameters and cache bytes from the spec alone, against the figures of the paper and of released
// models.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/program.h"
#include "core/spec/spec_read.h"

static void load(const char *variant, hy_model_spec *m) {
    char path[256];
    snprintf(path, sizeof path, "variants/%s.yaml", variant);
    if (hy_spec_load(path, NULL, m)) fail_msg("%s", hy_error_text());
}

static void test_released_totals(void **state) {
    (void)state;
    static const struct {
        const char *variant;
        int64_t total;
    } known[] = {
        {"paper/hymba-1.5b", 1522797824},      // nvidia/Hymba-1.5B-Base
        {"paper/llama-3.2-3b", 3212749824},    // meta-llama/Llama-3.2-3B
        {"paper/llama-3.2-1b", 1235814400},    // meta-llama/Llama-3.2-1B
        {"paper/smollm2-1.7b", 1711376384},    // HuggingFaceTB/SmolLM2-1.7B
        {"paper/qwen2.5-1.5b", 1543714304},    // Qwen/Qwen2.5-1.5B
        {"paper/mamba-130m", 129135360},       // state-spaces/mamba-130m
        {"paper/falcon-h1-0.5b", 521411104},   // tiiuae/Falcon-H1-0.5B-Base
        {"paper/falcon-h1-1.5b", 1554863488},  // tiiuae/Falcon-H1-1.5B-Base
        {"paper/mamba2-130m", 128989632},      // state-spaces/mamba2-130m
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        hy_model_spec m;
        hy_param_count c;
        load(known[i].variant, &m);
        hy_model_count(&m, &c);
        if (c.total != known[i].total) fail_msg("%s: %lld", known[i].variant, (long long)c.total);
    }
}

// Table 10, attention : Mamba parameters 1:x, to the printed digit; with the paper's label for the row.
static void test_table10_ratios(void **state) {
    (void)state;
    static const struct {
        const char *variant, *ratio;
    } rows[] = {
        {"paper/300m-parallel-4heads", "8.48"},  {"paper/300m-parallel-8heads", "4.24"},
        {"paper/300m-parallel-16heads", "2.12"}, {"paper/300m-parallel", "3.64"},
        {"paper/300m-parallel-window", "3.64"},  {"paper/300m-parallel-local-global", "3.64"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hy_model_spec m;
        hy_param_count c;
        char text[32];
        load(rows[i].variant, &m);
        hy_model_count(&m, &c);
        snprintf(text, sizeof text, "%.2f", (double)c.ratio_ssm / (double)c.ratio_attention);
        assert_string_equal(text, rows[i].ratio);
    }
}

// Cache in MB of 10^6 bytes at 8000 tokens, in the paper's accounting, to the last digit that it prints.
static void test_paper_caches(void **state) {
    (void)state;
    static const struct {
        const char *variant;
        int digits;
        const char *mb;
        hy_cache_accounting how;
    } rows[] = {
        {"paper/300m-mamba", 2, "1.87", HY_CACHE_PAPER},                   // Table 10 row 1
        {"paper/300m-parallel-4heads", 2, "99.09", HY_CACHE_PAPER},        // 2
        {"paper/300m-parallel-8heads", 2, "197.39", HY_CACHE_PAPER},       // 3
        {"paper/300m-parallel-16heads", 2, "394.00", HY_CACHE_PAPER},      // 4
        {"paper/300m-parallel", 2, "148.24", HY_CACHE_PAPER},              // 5
        {"paper/300m-llama", 2, "414.72", HY_CACHE_PAPER},                 // 6
        {"paper/300m-parallel-window", 2, "5.51", HY_CACHE_PAPER},         // 7
        {"paper/300m-parallel-local-global", 2, "41.19", HY_CACHE_PAPER},  // 8
        {"paper/300m-parallel-kv-share", 2, "39.42", HY_CACHE_PAPER},      // 9
        {"paper/300m-llama-compressed", 2, "28.98", HY_CACHE_PAPER},       // 10
        {"paper/300m-hymba-concat", 2, "39.42", HY_CACHE_PAPER},           // 11
        {"paper/300m-mamba-meta", 2, "1.87", HY_CACHE_PAPER},              // 12
        {"paper/300m-hymba", 2, "40.01", HY_CACHE_PAPER},                  // 13
        {"paper/300m-sequential-1080", 1, "156.3", HY_CACHE_PAPER},        // Table 1 row A, inferred
        {"paper/300m-llama", 1, "414.7", HY_CACHE_PAPER},                  // Table 1
        {"paper/300m-mamba", 1, "1.9", HY_CACHE_PAPER},
        {"paper/300m-parallel", 1, "148.2", HY_CACHE_PAPER},              // B
        {"paper/300m-parallel-local-global", 1, "41.2", HY_CACHE_PAPER},  // C
        {"paper/300m-parallel-kv-share", 1, "39.4", HY_CACHE_PAPER},      // D
        {"paper/300m-hymba", 1, "40.0", HY_CACHE_PAPER},                  // E
        {"paper/hymba-1.5b", 1, "78.6", HY_CACHE_PAPER},                  // F
        {"paper/hymba-1.5b", 2, "78.60", HY_CACHE_PAPER},
        {"paper/llama-3.2-3b", 1, "917.5", HY_CACHE_PAPER},  // the abstract's 11.67 times
        {"paper/llama-3.2-3b", 0, "918", HY_CACHE_PAPER},    // Table 2
        {"paper/llama-3.2-1b", 0, "262", HY_CACHE_PAPER},
        {"paper/smollm2-1.7b", 0, "1573", HY_CACHE_PAPER},
        {"paper/qwen2.5-1.5b", 0, "229", HY_CACHE_PAPER},
        {"paper/300m-parallel-kv-share", 2, "39.62", HY_CACHE_PAPER_GROUPS},  // with the groups as they are
        {"paper/hymba-1.5b", 2, "77.62", HY_CACHE_PAPER_GROUPS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hy_model_spec m;
        hy_cache_bytes sum;
        char text[32];
        load(rows[i].variant, &m);
        hy_model_cache(&m, rows[i].how, 8000, 4, 4, 4, NULL, &sum);
        snprintf(text, sizeof text, "%.*f", rows[i].digits, sum.total / 1e6);
        if (strcmp(text, rows[i].mb)) fail_msg("%s: %s MB, not %s", rows[i].variant, text, rows[i].mb);
    }
    hy_model_spec hymba, llama;
    hy_cache_bytes a, b;
    load("paper/hymba-1.5b", &hymba);
    load("paper/llama-3.2-3b", &llama);
    hy_model_cache(&hymba, HY_CACHE_PAPER, 8000, 2, 2, 2, NULL, &a);
    hy_model_cache(&llama, HY_CACHE_PAPER, 8000, 2, 2, 2, NULL, &b);
    assert_true(fabs(b.total / a.total - 11.67) < 0.005);
}

// The true accounting, worked by hand: 2 layers, one window producer with its consumer, 3 meta tokens.
static void test_true_cache(void **state) {
    (void)state;
    const char *text = "d_model: 8\nlayers: 3\nmeta_tokens: 3\nmixer: parallel\n"
                       "attention: {heads: 2, kv_heads: 1, window: 5, global_layers: [0]}\n"
                       "ssm: {expand: 2, d_state: 4, d_conv: 3}\nkv_share: [[1, 2]]\n";
    hy_yaml *y = NULL;
    hy_model_spec m;
    assert_int_equal(hy_yaml_parse("t", text, strlen(text), &y), HY_OK);
    assert_int_equal(hy_spec_from_yaml(y, &m), HY_OK);
    hy_yaml_free(y);
    hy_cache_bytes l[3], sum;
    hy_model_cache(&m, HY_CACHE_TRUE, 100, 2, 4, 4, l, &sum);
    const double row = 1 * (4 + 8) * 2;  // d_qk 8/2, d_v 16/2, 2 bytes
    const double conv = 16 * 2 * 4, ssm = 16 * 4 * 4;
    assert_true(l[0].kv == row * 100 && l[0].meta == row * 3 && l[0].conv == conv && l[0].ssm == ssm);
    assert_true(l[1].kv == row * 5 && l[1].meta == row * 3);
    assert_true(l[2].kv == 0 && l[2].meta == 0 && l[2].conv == conv && l[2].ssm == ssm);
    assert_true(sum.total == row * (100 + 3 + 5 + 3) + 3 * (conv + ssm));
    assert_true(sum.total == sum.kv + sum.meta + sum.conv + sum.ssm);
    hy_model_cache(&m, HY_CACHE_TRUE, 4, 2, 2, 4, l, &sum);  // shorter than the window
    assert_true(l[1].kv == row * 4);
    hy_model_cache(&m, HY_CACHE_PAPER, 100, 4, 4, 4, l, &sum);
    assert_true(l[1].kv == row * 5 / 2 && l[2].kv == row * 5 / 2 && l[1].meta == 0 && l[0].meta == row * 3);
    assert_true(l[0].conv == 0 && l[0].ssm == 16 * 4 * 2);
}

// The terms of a layer are the factors of its bytes; the half stands in share.
static void test_terms(void **state) {
    (void)state;
    hy_model_spec m;
    hy_cache_term t[HY_CACHE_KINDS];
    load("paper/hymba-1.5b", &m);
    hy_layer_cache_terms(&m, 1, HY_CACHE_TRUE, 8000, 4, 2, 2, t);
    assert_true(t[HY_CACHE_KV].share == 1 && t[HY_CACHE_KV].positions == 1024 &&
                t[HY_CACHE_KV].values == 5 * (64 + 128));
    assert_true(t[HY_CACHE_KV].bytes == 4 && t[HY_CACHE_CONV].bytes == 2 && t[HY_CACHE_SSM].bytes == 2);
    assert_true(t[HY_CACHE_META].share == 1 && t[HY_CACHE_META].positions == 128);
    assert_true(t[HY_CACHE_CONV].share == 1 && t[HY_CACHE_CONV].positions == 3 && t[HY_CACHE_CONV].values == 3200);
    assert_true(t[HY_CACHE_SSM].share == 1 && t[HY_CACHE_SSM].positions == 16 && t[HY_CACHE_SSM].values == 3200);
    hy_layer_cache_terms(&m, 2, HY_CACHE_TRUE, 8000, 4, 4, 4, t);  // uses the keys of layer 1
    assert_true(t[HY_CACHE_KV].share == 0 && t[HY_CACHE_META].share == 0);
    hy_layer_cache_terms(&m, 2, HY_CACHE_PAPER, 8000, 4, 4, 4, t);
    assert_true(t[HY_CACHE_KV].share == 0.5 && t[HY_CACHE_META].share == 0 && t[HY_CACHE_CONV].share == 0 &&
                t[HY_CACHE_KV].bytes == 2);
    hy_layer_cache_terms(&m, 0, HY_CACHE_PAPER, 8000, 4, 4, 4, t);
    assert_true(t[HY_CACHE_KV].share == 1 && t[HY_CACHE_KV].positions == 8000 && t[HY_CACHE_META].share == 1);
    load("paper/llama-3.2-1b", &m);
    hy_layer_cache_terms(&m, 0, HY_CACHE_TRUE, 10, 2, 2, 2, t);
    assert_true(t[HY_CACHE_SSM].share == 0 && t[HY_CACHE_CONV].share == 0 && t[HY_CACHE_META].positions == 0);
}

// Every part of each kind of layer, worked by hand.
static void count_is(const char *text, int64_t attention, int64_t ssm, int64_t fusion, int64_t mlp, int64_t norm,
                     int64_t rest) {
    hy_yaml *y = NULL;
    hy_model_spec m;
    hy_param_count c, l;
    assert_int_equal(hy_yaml_parse("t", text, strlen(text), &y), HY_OK);
    if (hy_spec_from_yaml(y, &m)) fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    hy_model_count(&m, &c);
    if (c.attention != attention || c.ssm != ssm || c.fusion != fusion || c.mlp != mlp || c.norm != norm ||
        c.embedding + c.head + c.meta != rest)
        fail_msg("%s: attention %lld ssm %lld fusion %lld mlp %lld norm %lld rest %lld", text, (long long)c.attention,
                 (long long)c.ssm, (long long)c.fusion, (long long)c.mlp, (long long)c.norm,
                 (long long)(c.embedding + c.head + c.meta));
    assert_int_equal(c.total, attention + ssm + fusion + mlp + norm + rest);
    int64_t sum = m.d_model + rest;  // final norm
    for (int i = 0; i < m.n_layers; i++) {
        hy_layer_count(&m, i, &l);
        sum += l.total;
    }
    assert_int_equal(sum, c.total);
}

static void test_parts(void **state) {
    (void)state;
    // 10 wide, vocab 11; attention 2 heads, 1 KV head: d_qk 6, d_v 3
    const int64_t at = 10 * (2 * 6 + 6 + 3), at_out = 10 * 6;
    count_is("vocab: 11\nd_model: 10\nlayers: 1\nattention: {heads: 2, kv_heads: 1, d_qk: 6, d_v: 3}\nmlp: {d_ff: 7}\n",
             at + at_out, 0, 0, 3 * 70, 30, 110);
    count_is("vocab: 11\nd_model: 10\nlayers: 1\ntied: false\nmeta_tokens: 2\n"
             "attention: {heads: 2, kv_heads: 1, d_qk: 6, d_v: 3, qk_norm: true}\nmlp: {kind: relu2, d_ff: 7}\n",
             at + at_out + 12, 0, 0, 2 * 70, 30, 240);
    // a consumer has no k and v, and no k norm
    count_is("vocab: 11\nd_model: 10\nlayers: 2\nkv_share: pairs\nmlp: {kind: none}\n"
             "attention: {heads: 2, kv_heads: 1, d_qk: 6, d_v: 3, qk_norm: true}\n",
             at + at_out + 12 + 10 * 12 + at_out + 6, 0, 0, 0, 30, 110);
    // ssm: d_inner 6, dt_rank 1, d_state 4, d_conv 3
    const int64_t ss = 120 + 18 + 6 + 9 * 6 + 6 + 6 + 24 + 6 + 9, ss_out = 60;
    const char *ssm = "ssm: {d_inner: 6, d_state: 4, d_conv: 3}\nattention: {heads: 2, kv_heads: 1, d_qk: 6, d_v: 3}\n";
    char text[512];
    snprintf(text, sizeof text, "vocab: 11\nd_model: 10\nlayers: 1\nmixer: ssm\nmlp: {kind: none}\n%s", ssm);
    count_is(text, 0, ss + ss_out, 0, 0, 20, 110);
    snprintf(text, sizeof text, "vocab: 11\nd_model: 10\nlayers: 1\nmixer: parallel\nmlp: {kind: none}\n%s", ssm);
    count_is(text, at, ss, 12 + 60, 0, 20, 110);
    snprintf(text, sizeof text,
             "vocab: 11\nd_model: 10\nlayers: 1\nmixer: parallel\nfusion: gate\nmlp: {kind: none}\n%s", ssm);
    count_is(text, at, ss, 12 + 60 + 20 + 2, 0, 20, 110);
    snprintf(text, sizeof text,
             "vocab: 11\nd_model: 10\nlayers: 1\nmixer: parallel\nfusion: concat\nmlp: {kind: none}\n%s", ssm);
    count_is(text, at, ss, 12 + 120, 0, 20, 110);
    snprintf(text, sizeof text,
             "vocab: 11\nd_model: 10\nlayers: 1\nmixer: parallel\nfusion: sum\nmlp: {kind: none}\n%s", ssm);
    count_is(text, at, ss, 120, 0, 20, 110);
    snprintf(text, sizeof text, "vocab: 11\nd_model: 10\nlayers: 1\nmixer: ssm_attention\nmlp: {kind: none}\n%s", ssm);
    count_is(text, at + at_out, ss + ss_out, 0, 0, 30, 110);
    count_is("vocab: 11\nd_model: 10\nlayers: 1\nmixer: ssm\nmlp: {kind: none}\n"
             "ssm: {d_inner: 6, d_state: 4, d_conv: 3, conv_bias: false, inner_norms: false}\n",
             0, ss + ss_out - 6 - 9, 0, 0, 20, 110);
    // mamba2: d_inner 6, 3 heads of 2, 1 group, d_state 4, d_conv 3: z 6, x 6, B and C 8, dt 3; convolution over 14
    count_is("vocab: 11\nd_model: 10\nlayers: 1\nmixer: ssm\nmlp: {kind: none}\n"
             "ssm: {kind: mamba2, d_inner: 6, head_dim: 2, d_state: 4, d_conv: 3}\n",
             0, 230 + 14 * 3 + 14 + 9 + 6 + ss_out, 0, 0, 20, 110);
    count_is("vocab: 11\nd_model: 10\nlayers: 1\nmixer: ssm\nmlp: {kind: none}\n"
             "ssm: {kind: mamba2, d_inner: 6, head_dim: 2, groups: 3, d_state: 4, d_conv: 3, conv_bias: false, "
             "gated_norm: false}\n",
             0, 390 + 30 * 3 + 9 + ss_out, 0, 0, 20, 110);
    count_is("vocab: 11\nd_model: 10\nlayers: 1\nmixer: none\nmlp: {kind: none}\n", 0, 0, 0, 0, 10, 110);
}

static void test_flops(void **state) {
    (void)state;
    hy_model_spec m;
    hy_param_count c;
    load("paper/llama-3.2-1b", &m);
    hy_model_count(&m, &c);
    // a Llama's token costs 2 FLOPs a parameter of a matrix (tied head included, norms not) and 4 T d a layer
    double want = 2.0 * (double)(c.total - c.norm) + 4.0 * 1000 * 2048 * 16;
    assert_true(fabs(hy_model_flops_token(&m, 1000) / want - 1) < 1e-12);
    load("paper/mamba2-130m", &m);  // the same without norms, biases and vectors, and 5 a state, 3 a channel
    hy_model_count(&m, &c);
    want = 2.0 * (double)(c.total - c.norm - 24 * (1792 + 3 * 24 + 1536)) + 24.0 * 1536 * (5 * 128 + 3);
    assert_true(fabs(hy_model_flops_token(&m, 1000) / want - 1) < 1e-12);
    load("hymba", &m);  // windows stop growing, global layers do not
    double a = hy_model_flops_token(&m, 100), b = hy_model_flops_token(&m, 200), d = hy_model_flops_token(&m, 300);
    assert_true(d - b == 3 * 2.0 * 4 * (32 + 64) * 100);
    assert_true(b - a == 3 * 2.0 * 4 * (32 + 64) * 100);
    double c50 = hy_model_flops_token(&m, 50);  // four window layers see at most 64 + itself + 16 meta tokens
    assert_true(a - c50 == 2.0 * 4 * (32 + 64) * (3 * 50 + 4 * (81 - 50)));
}

// The 300M rows are meant to be equal in size: within 3 % of 300M, and of each other.
static void test_300m_totals(void **state) {
    (void)state;
    DIR *dir = opendir("variants/paper");
    assert_non_null(dir);
    int n = 0;
    double least = 1e18, most = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strncmp(e->d_name, "300m-", 5)) continue;
        char variant[300];
        snprintf(variant, sizeof variant, "paper/%.*s", (int)(strlen(e->d_name) - 5), e->d_name);
        hy_model_spec m;
        hy_param_count c;
        load(variant, &m);
        hy_model_count(&m, &c);
        if (fabs((double)c.total / 300e6 - 1) > 0.03) fail_msg("%s: %lld", variant, (long long)c.total);
        if ((double)c.total < least) least = (double)c.total;
        if ((double)c.total > most) most = (double)c.total;
        n++;
    }
    closedir(dir);
    assert_true(n >= 18);
    assert_true(most / least < 1.03);
}

// The formulas against the program that is run: every variant.
static void folder_equals_program(const char *folder, int *n) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".yaml")) continue;
        char path[512];
        hy_model_spec m;
        hy_param_count c;
        hy_program *p = NULL;
        int64_t total = 0;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (hy_spec_load(path, NULL, &m) || hy_model_build(&m, &p)) fail_msg("%s: %s", path, hy_error_text());
        hy_model_count(&m, &c);
        for (int i = 0; i < p->n_params; i++) total += (int64_t)p->params[i].n;
        if (total != c.total)
            fail_msg("%s: %lld by formula, %lld in the program", path, (long long)c.total, (long long)total);
        hy_program_free(p);
        ++*n;
    }
    closedir(dir);
}
static void test_equals_program(void **state) {
    (void)state;
    int n = 0;
    folder_equals_program("variants", &n);
    folder_equals_program("variants/paper", &n);
    assert_true(n > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_released_totals), cmocka_unit_test(test_table10_ratios),
        cmocka_unit_test(test_paper_caches),    cmocka_unit_test(test_terms),
        cmocka_unit_test(test_true_cache),      cmocka_unit_test(test_parts),
        cmocka_unit_test(test_flops),           cmocka_unit_test(test_300m_totals),
        cmocka_unit_test(test_equals_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
