// test_spec.c - variants: what the sugar expands to, that the expanded text is a fixed point, and where each kind of
// nonsense is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/spec/spec_read.h"
#include "core/spec/spec_sections.h"

static hy_status read_text(const char *text, hy_model_spec *m) {
    hy_yaml *y = NULL;
    hy_status s = hy_yaml_parse("v", text, strlen(text), &y);
    if (!s) s = hy_spec_from_yaml(y, m);
    hy_yaml_free(y);
    return s;
}

static void must(const char *text, hy_model_spec *m) {
    if (read_text(text, m)) fail_msg("%s", hy_error_text());
}

// "g w g": windows per layer as letters; "0 1 1": kv sources.
static void windows_are(const char *text, const char *want) {
    hy_model_spec m;
    char got[HY_MAX_LAYERS + 1] = "";
    must(text, &m);
    for (int i = 0; i < m.n_layers; i++)
        got[i] = !hy_layer_has_attention(&m.layers[i]) ? '.' : m.layers[i].window ? 'w' : 'g';
    if (strcmp(got, want)) fail_msg("%s -> %s, not %s", text, got, want);
}
static void sources_are(const char *text, const char *want) {
    hy_model_spec m;
    hy_buf b = {0};
    must(text, &m);
    for (int i = 0; i < m.n_layers; i++) hy_buf_printf(&b, "%s%d", i ? " " : "", m.layers[i].kv_source);
    if (strcmp(b.s, want)) fail_msg("%s -> %s, not %s", text, b.s, want);
    free(b.s);
}

static void test_defaults(void **state) {
    (void)state;
    hy_model_spec m;
    must("name: x\n", &m);
    assert_string_equal(m.name, "x");
    assert_int_equal(m.n_layers, 8);
    const hy_layer_spec *l = &m.layers[7];
    assert_int_equal(l->mixer, HY_MIXER_ATTENTION);
    assert_int_equal(l->heads, 8);
    assert_int_equal(l->kv_heads, 8);
    assert_int_equal(l->d_qk, 32);
    assert_int_equal(l->d_v, 32);
    assert_int_equal(l->window, 0);
    assert_int_equal(l->d_inner, 0);
    assert_int_equal(l->kv_source, 7);
    assert_int_equal(l->d_ff, 704);
    assert_int_equal(m.layers[8].heads, 0);
    assert_true(m.tied && m.norm_eps == 1e-6 && m.rope_base == 10000 && m.init_std == 0.02);
}

static void test_auto_widths(void **state) {
    (void)state;
    hy_model_spec m;
    must("d_model: 96\nmixer: parallel\nattention: {heads: 4, kv_heads: 2}\n", &m);
    assert_int_equal(m.layers[0].d_qk, 24);
    assert_int_equal(m.layers[0].d_inner, 192);
    assert_int_equal(m.layers[0].d_v, 48);
    assert_int_equal(m.layers[0].dt_rank, 6);
    must("d_model: 100\nmixer: parallel\nfusion: concat\nattention: {heads: 5}\nssm: {expand: 1.5}\n", &m);
    assert_int_equal(m.layers[0].d_v, 20);
    assert_int_equal(m.layers[0].d_inner, 150);
    assert_int_equal(m.layers[0].dt_rank, 7);
    must("d_model: 96\nmixer: attention_ssm\nattention: {heads: 3}\nmlp: {kind: relu2}\n", &m);
    assert_int_equal(m.layers[0].d_v, 32);
    assert_int_equal(m.layers[0].d_ff, 384);
    must("mixer: none\nmlp: {kind: none, d_ff: 12}\n", &m);
    assert_int_equal(m.layers[0].d_ff, 0);
    assert_int_equal(m.layers[0].kv_source, -1);
    must("mixer: attention\nfusion: gate\n", &m);  // a key of a part that no layer has does nothing
    assert_int_equal(m.layers[0].fusion, 0);
    // the nearer of d_inner and expand counts
    must("d_model: 64\nlayers: 2\nmixer: ssm\nssm: {d_inner: 32}\npattern: [{}, {ssm: {expand: 2}}]\n", &m);
    assert_int_equal(m.layers[0].d_inner, 32);
    assert_int_equal(m.layers[1].d_inner, 128);
}

static void test_globals(void **state) {
    (void)state;
    windows_are("layers: 6\nattention: {window: 4}\n", "wwwwww");
    windows_are("layers: 6\nattention: {window: none}\n", "gggggg");
    windows_are("layers: 6\nattention: {window: 4, global_layers: none}\n", "wwwwww");
    windows_are("layers: 6\nattention: {window: 4, global_layers: all}\n", "gggggg");
    windows_are("layers: 6\nattention: {window: 4, global_layers: [first, middle, last]}\n", "gwgwwg");
    windows_are("layers: 7\nattention: {window: 4, global_layers: [first, middle, last]}\n", "gwwgwwg");
    windows_are("layers: 1\nattention: {window: 4, global_layers: [first, middle, last]}\n", "g");
    windows_are("layers: 6\nattention: {window: 4, global_layers: [0, 3, 5]}\n", "gwwgwg");
    windows_are("layers: 6\nattention: {window: 4, global_layers: last}\n", "wwwwwg");
    windows_are("layers: 6\nattention: {window: 4, global_layers: 2}\n", "wwgwww");
    windows_are("layers: 6\nattention: {window: 4, global_layers: []}\n", "wwwwww");
    windows_are("layers: 7\nattention: {window: 4, global_layers: {every: 3}}\n", "gwwgwwg");
    windows_are("layers: 7\nattention: {window: 4, global_layers: {every: 3, offset: 1}}\n", "wgwwgww");
    // words and strides count the layers with attention
    windows_are("layers: 6\nattention: {window: 4, global_layers: [first, last]}\npattern: [{mixer: ssm}, {mixer: "
                "attention}]\n",
                ".g.w.g");
    windows_are("layers: 4\nmixer: ssm\nattention: {window: 4, global_layers: [first, last]}\n", "....");
    hy_model_spec m;
    must("layers: 32\nattention: {window: 4, global_layers: middle}\n", &m);
    assert_int_equal(m.layers[15].window, 0);
    assert_int_equal(m.layers[16].window, 4);
}

static void test_sharing(void **state) {
    (void)state;
    sources_are("layers: 3\n", "0 1 2");
    sources_are("layers: 5\nkv_share: none\n", "0 1 2 3 4");
    sources_are("layers: 7\nkv_share: pairs\nattention: {window: 4, global_layers: [first, middle, last]}\n",
                "0 1 1 3 4 4 6");
    sources_are("layers: 8\nkv_share: pairs\nattention: {window: 4, global_layers: [0, 4]}\n", "0 1 1 3 4 5 5 7");
    sources_are("layers: 5\nkv_share: pairs\n", "0 0 2 2 4");  // all global: neighbours of one kind
    sources_are("layers: 6\nkv_share: pairs\npattern: [{}, {attention: {rotary: 8}}, {attention: {rotary: 8}}]\n",
                "0 1 1 3 4 4");
    sources_are(
        "layers: 4\nkv_share: pairs\npattern: [{}, {attention: {no_rope: true}}, {attention: {no_rope: true}}]\n",
        "0 1 1 3");
    sources_are("layers: 6\nkv_share: [[1, 2], [3, 4, 5]]\n", "0 1 1 3 3 3");
    sources_are("layers: 6\nkv_share: [[0, 5], [1, 4]]\n", "0 1 2 3 1 0");
    sources_are("layers: 6\nkv_share: pairs\npattern: [{mixer: ssm}, {mixer: attention}]\n", "-1 1 -1 1 -1 5");
    sources_are("layers: 3\nkv_share: []\n", "0 1 2");
    hy_model_spec m;  // the even runs of Hymba-1.5B
    must("layers: 32\nkv_share: pairs\nattention: {window: 4, global_layers: [first, middle, last]}\n", &m);
    for (int i = 1; i < 15; i++) assert_int_equal(m.layers[i].kv_source, i - (i + 1) % 2);
}

static void test_pattern(void **state) {
    (void)state;
    hy_model_spec m;
    must("layers: 7\nattention: {window: 8}\nmlp: {d_ff: 50}\n"
         "pattern: [{mixer: ssm, times: 2}, {mixer: parallel, fusion: gate, attention: {window: none}, mlp: {kind: "
         "relu2}}]\n",
         &m);
    const hy_mixer want[] = {HY_MIXER_SSM, HY_MIXER_SSM,      HY_MIXER_PARALLEL, HY_MIXER_SSM,
                             HY_MIXER_SSM, HY_MIXER_PARALLEL, HY_MIXER_SSM};
    for (int i = 0; i < 7; i++) assert_int_equal(m.layers[i].mixer, want[i]);
    assert_int_equal(m.layers[2].fusion, HY_FUSION_GATE);
    assert_int_equal(m.layers[2].window, 0);
    assert_int_equal(m.layers[2].mlp, HY_MLP_RELU2);
    assert_int_equal(m.layers[2].d_ff, 50);
    assert_int_equal(m.layers[0].mlp, HY_MLP_SILU);
    assert_int_equal(m.layers[0].fusion, 0);
}

static void test_rope_base(void **state) {
    (void)state;
    hy_model_spec m;
    must("max_len: 8192\norig_len: 2048\nrope: {kind: ntk}\n", &m);
    assert_true(fabs(hy_model_rope_base(&m, 64) / (10000 * pow(7, 64.0 / 62)) - 1) < 1e-14);
    must("rope: {base: 500}\n", &m);
    assert_true(hy_model_rope_base(&m, 64) == 500);
}

// ---------------------------------------------------------------------------------------------------- nonsense
static void refused(const char *text, const char *message) {
    hy_model_spec m;
    if (read_text(text, &m) != HY_EINPUT) fail_msg("accepted: %s", text);
    if (strncmp(hy_error_text(), message, strlen(message)))
        fail_msg("\n\"%s\" does not begin with\n\"%s\"", hy_error_text(), message);
}

static void test_refused_keys(void **state) {
    (void)state;
    refused("", "v:1:1: the variant is empty");
    refused("[1]\n", "v:1:1: a variant is a map");
    refused("d_modle: 3\n", "v:1:1: unknown key \"d_modle\" (did you mean \"d_model\"?)");
    refused("attention:\n  head: 3\n", "v:2:3: unknown key \"head\" (did you mean \"heads\"?)");
    refused("attention: {d_state: 3}\n", "v:1:13: unknown key \"d_state\"");
    refused("mlp: none\n", "v:1:6: mlp holds keys: write mlp: {kind: ...}, not mlp: none");
    refused("mixer: mamba\n",
            "v:1:8: mixer must be one of none, attention, ssm, parallel, attention_ssm, ssm_attention");
    refused("vocab: 0\n", "v:1:8: vocab is 0; it must be 1 to 16777216");
    refused("layers: 257\n", "v:1:9: layers is 257; it must be 1 to 256");
    refused("layers: 2.5\n", "v:1:9: layers must be a whole number");
    refused("layers: 99999999999999999999\n", "v:1:9: layers is 99999999999999999999; it must be 1 to 256");
    refused("meta_tokens: -1\n", "v:1:14: meta_tokens is -1; it must be 0 to 65536");
    refused("norm: {eps: 0}\n", "v:1:13: eps is 0");
    refused("name: a b\n", "v:1:1: name \"a b\" must be of letters");
    refused("name: ../x\n", "v:1:1: name \"../x\" must be of letters");
    refused("name: \"\"\n", "v:1:1: the name is empty");
    refused("base: [a]\n", "v:1:7: base must be the path of a variant");
    refused("base: nothing.yaml\n", "v:1:7: the base file nothing.yaml does not exist");
}

static void test_refused_widths(void **state) {
    (void)state;
    refused("attention: {window: 0}\n", "v:1:21: window is 0; it must be 1 to 268435456, or none");
    refused("attention: {window: -5}\n", "v:1:21: window is -5");
    refused("d_model: 100\nattention:\n  heads: 8\n", "v:3:3: d_model 100 cannot be split over 8 heads");
    refused("d_model: 100\n", "v:1:1: d_model 100 cannot be split over 8 heads");  // heads by default
    refused("attention:\n  heads: 8\n  kv_heads: 3\n", "v:3:3: 8 query heads cannot be shared out to 3 kv_heads");
    refused("attention: {heads: 2, kv_heads: 4}\n", "v:1:23: 2 query heads cannot be shared out to 4 kv_heads");
    refused("d_model: 24\nattention: {heads: 8}\n", "v:2:1: rope turns pairs of values: d_qk (3) must be even");
    refused("attention: {d_qk: 7}\n", "v:1:13: rope turns pairs of values: d_qk (7) must be even");
    refused("rope: {kind: ntk}\nattention: {d_qk: 2}\n", "v:2:13: rope ntk needs d_qk of at least 4");
    refused("rope: {kind: ntk}\nattention: {rotary: 2}\n", "v:2:13: rope ntk needs rotary of at least 4, not 2");
    refused("attention: {rotary: 7}\n", "v:1:13: rope turns pairs of values: rotary (7) must be even");
    refused("attention: {d_qk: 8, rotary: 8}\n", "v:1:22: rotary (8) must be below d_qk (8); all: all of them");
    refused("rope: {kind: none}\nattention: {rotary: 4}\n", "v:2:13: rope.kind is none: no values turn");
    refused("rope: {kind: none}\nattention: {no_rope: true}\n", "v:2:13: rope.kind is none already: leave it out");
    refused("attention: {rotary: 4, no_rope: true}\n",
            "v:1:24: a layer without rope turns no values: leave out rotary");
    refused("layers: 2\nkv_share: [[0, 1]]\npattern: [{attention: {rotary: 8}}, {}]\n",
            "v:2:16: layers 0 and 1 cannot share: rope turns 8 and 32 values of a head");
    refused("mixer: ssm\nssm: {inner_norms: false, inner_norm_eps: 0.1}\n",
            "v:2:27: without inner_norms there is nothing that it could be added to");
    refused("rope: {kind: ntk}\nmax_len: 10\norig_len: 20\n", "v:2:1: rope ntk stretches");
    refused("mixer: parallel\nattention: {heads: 4, d_v: 32}\n",
            "v:1:1: fusion by mean needs equal widths, but attention gives heads * d_v = 128 and the ssm d_inner = "
            "512; make "
            "them equal or use fusion: concat");
    refused("mixer: parallel\nfusion: gate\nattention: {heads: 4, d_v: 32}\n",
            "v:2:1: fusion by gate needs equal widths");
    refused("mixer: parallel\nattention: {heads: 8}\nssm: {d_inner: 100}\n",
            "v:2:13: the ssm's d_inner 100 cannot be split over 8");
    refused("d_model: 10\nmixer: ssm\nssm: {expand: 1.25}\n",
            "v:3:7: d_inner = expand * d_model = 1.25 * 10 = 12.5 must be");
    refused("d_model: 1048576\nmixer: ssm\n", "v:2:1: d_inner = expand * d_model = 2 * 1048576");
    refused("attention: {heads: 1048576, kv_heads: 1, d_qk: 4096, d_v: 1}\n",
            "v:1:13: heads * d_qk is 4294967296; at most");
    refused("attention: {heads: 1048576, kv_heads: 1, d_qk: 1, d_v: 4096}\nrope: {kind: none}\n",
            "v:1:51: heads * d_v is 4294967296");
    refused("d_model: 1048576\nlayers: 256\nmlp: {d_ff: 4194304}\n",
            "v:2:1: the model has 4.5e+15 parameters; at most 1e+12");
    refused("ssm: {d_conv: 0}\n", "v:1:15: d_conv is 0");
    refused("ssm: {d_state: 99999}\n", "v:1:16: d_state is 99999");
}

static void test_refused_globals(void **state) {
    (void)state;
    refused("layers: 8\nattention:\n  window: 4\n  global_layers: [0, 8]\n",
            "v:4:22: global layer 8 does not exist: the model has layers 0 to 7");
    refused("attention: {window: 4, global_layers: [-1]}\n", "v:1:40: global layer -1 does not exist");
    refused("attention: {window: 4, global_layers: [fist]}\n",
            "v:1:40: \"fist\" is not a layer: write a number, first, middle "
            "or last (did you mean \"first\"?)");
    refused("attention: {window: 4, global_layers: [[1]]}\n",
            "v:1:40: a layer number must be a whole number, not a list");
    refused("attention: {window: 4, global_layers: {offset: 1}}\n", "v:1:39: global_layers needs every");
    refused("attention: {window: 4, global_layers: {every: 0}}\n", "v:1:47: every is 0");
    refused("layers: 4\nattention: {window: 4, global_layers: {every: 2, offset: 4}}\n",
            "v:2:58: offset 4 is past the last of 4");
    refused("attention: {window: 4, global_layers: {evry: 2}}\n",
            "v:1:40: unknown key \"evry\" (did you mean \"every\"?)");
    refused("layers: 2\nattention: {window: 4, global_layers: [0]}\npattern: [{mixer: ssm}, {mixer: attention}]\n",
            "v:2:40: layer 0 has no attention");
    refused("layers: 2\npattern: [{attention: {global_layers: [0]}}]\n",
            "v:2:24: global_layers belongs to attention: at the top");
}

static void test_refused_sharing(void **state) {
    (void)state;
    refused("kv_share: 3\n", "v:1:11: kv_share must be none, pairs, or a list of groups");
    refused("kv_share: {a: 3}\n", "v:1:11: kv_share must be");
    refused("kv_share: [1, 2]\n", "v:1:12: a group is a list of at least two layers");
    refused("kv_share: [[1]]\n", "v:1:12: a group is a list of at least two layers");
    refused("layers: 4\nkv_share: [[0, 1], [1, 2]]\n", "v:2:21: layer 1 is in two groups or twice in one");
    refused("layers: 4\nkv_share: [[0, 1, 1]]\n", "v:2:19: layer 1 is in two groups or twice in one");
    refused("layers: 4\nkv_share: [[2, 1]]\n", "v:2:16: layer 1 comes before layer 2");
    refused("layers: 4\nkv_share: [[2, 4]]\n", "v:2:16: layer 4 does not exist: the model has layers 0 to 3");
    refused("layers: 4\nkv_share: [[0, x]]\n", "v:2:16: a layer number must be a whole number, not \"x\"");
    refused("layers: 4\nkv_share: [[0, 1]]\nmixer: ssm\n", "v:2:13: layer 0 has no attention");
    refused("layers: 4\nkv_share: [[0, 1]]\nattention: {window: 4, global_layers: [0]}\n",
            "v:2:16: layers 0 and 1 cannot share: one is global, the other has a window");
    refused("layers: 2\nkv_share: [[0, 1]]\npattern: [{attention: {window: 4}}, {attention: {window: 5}}]\n",
            "v:2:16: layers 0 and 1 cannot share: their windows are 4 and 5");
    refused("layers: 2\nkv_share: [[0, 1]]\npattern: [{}, {attention: {kv_heads: 2}}]\n",
            "v:2:16: layers 0 and 1 cannot share: kv_heads x d_qk / d_v are 8 x 32 / 32 and 2 x 32 / 32");
}

static void test_refused_pattern(void **state) {
    (void)state;
    refused("pattern: []\n", "v:1:10: pattern must be a list of at least one layer");
    refused("pattern: {mixer: ssm}\n", "v:1:10: pattern must be a list");
    refused("pattern: [ssm]\n", "v:1:11: a layer is a map");
    refused("pattern: [{mixer: ssm, times: 0}]\n", "v:1:31: times is 0");
    refused("layers: 3\npattern: [{mixer: ssm, times: 2}, {mixer: attention, times: 2}]\n",
            "v:2:35: the pattern is longer than the model, which has 3 layers");
    refused("pattern: [{mixr: ssm}]\n", "v:1:12: unknown key \"mixr\" (did you mean \"mixer\"?)");
    refused("layers: 2\npattern:\n  - mixer: ssm\n  - attention: {kv_heads: 3}\n",
            "v:4:17: layer 1: 8 query heads cannot be shared out to 3 kv_heads");
    refused("layers: 2\nattention: {kv_heads: 3}\npattern: [{mixer: ssm}, {mixer: attention}]\n",
            "v:2:13: layer 1: 8 query heads cannot be shared out to 3 kv_heads");
    refused("layer_table: []\n", "v:1:14: layer_table must be a list of layers");
    refused("layers: 3\nlayer_table: [{}]\n", "v:2:14: layer_table has 1 layers, but layers is 3");
    refused("mixer: ssm\nlayer_table: [{}]\n", "v:1:1: layer_table says all about each layer: remove mixer");
    refused("layer_table: [{}, {}]\nkv_share: pairs\n",
            "v:2:1: layer_table says all about each layer: remove kv_share");
    refused("layer_table: [{}, {times: 2}]\n", "v:1:20: unknown key \"times\"");
    refused("layer_table: [{}, {kv_source: 2}]\n", "v:1:31: layer 1: there is no layer 2");
    refused("layer_table: [{kv_source: 1}, {}]\n",
            "v:1:27: layer 0 cannot use the keys of layer 1, which comes after it");
    refused("layer_table: [{}, {kv_source: 0}, {kv_source: 1}]\n",
            "v:1:47: layer 1 makes no keys itself; share those of layer 0");
    refused("layer_table: [{mixer: ssm}, {kv_source: 0}]\n", "v:1:41: layer 0 has no attention, so no keys to share");
    refused("layer_table: [{mixer: ssm, kv_source: 0}]\n", "v:1:39: layer 0 has no attention");
}

// A spec made by hand, not by the reader.
static void test_check(void **state) {
    (void)state;
    hy_model_spec m, bad;
    hy_spec_fault fault;
    must("layers: 2\nmixer: parallel\n", &m);
    assert_int_equal(hy_model_spec_check(&m, NULL), HY_OK);
    bad = m;
    bad.layers[1].kv_heads = 3;
    assert_int_equal(hy_model_spec_check(&bad, &fault), HY_EINPUT);
    assert_string_equal(fault.field, "attention.kv_heads");
    assert_non_null(strstr(hy_error_text(), "model model: layer 1: attention.kv_heads: 8 query heads"));
#define BAD(change, path)                                               \
    do {                                                                \
        bad = m;                                                        \
        change;                                                         \
        assert_int_equal(hy_model_spec_check(&bad, &fault), HY_EINPUT); \
        assert_string_equal(fault.field, path);                         \
    } while (0)
    BAD(bad.vocab = 0, "vocab");
    BAD(bad.n_layers = 0, "layers");
    BAD(bad.n_layers = 257, "layers");
    BAD(bad.norm_eps = NAN, "norm.eps");
    BAD(bad.rope = 9, "rope.kind");
    BAD(bad.rope_factor = 2, "rope.factor");
    BAD(bad.rope_high = 5, "rope.low_freq_factor");
    BAD(bad.norm_bias = 1, "norm.bias");
    BAD(bad.positions = (hy_positions)2, "positions");
    BAD(bad.dropout_embedding = 1, "dropout.embedding");
    BAD((bad.rope = HY_ROPE_LLAMA3, bad.rope_low = 4), "rope.low_freq_factor");
    BAD(bad.layers[0].qkv_bias = 1, "ssm.proj_bias");
    BAD(bad.layers[0].proj_bias = 1, "ssm.proj_bias");
    BAD((bad.layers[0].mlp = HY_MLP_NONE, bad.layers[0].d_ff = 0, bad.layers[0].mlp_bias = 1), "mlp.bias");
    BAD(bad.tied = 2, "tied");
    BAD(memset(bad.name, 'a', sizeof bad.name), "name");
    BAD(bad.layers[0].mixer = 9, "mixer");
    BAD(bad.layers[0].window = -1, "attention.window");
    BAD(bad.layers[0].d_qk = 0, "attention");
    BAD(bad.layers[0].d_inner = 0, "ssm");
    BAD(bad.layers[0].d_ff = 0, "mlp.d_ff");
    BAD(bad.layers[0].mlp = HY_MLP_NONE, "mlp.d_ff");
    BAD((bad.layers[0].mixer = HY_MIXER_SSM, bad.layers[0].fusion = 0), "kv_source");
    BAD((bad.layers[0].mixer = HY_MIXER_SSM, bad.layers[0].kv_source = -1), "attention.heads");
    BAD(bad.layers[0].mixer = HY_MIXER_ATTENTION, "ssm.d_inner");
    BAD(bad.multipliers.key = 0, "multipliers.key");
    BAD((bad.layers[0].mlp = bad.layers[1].mlp = HY_MLP_RELU2, bad.multipliers.mlp_gate = 2), "multipliers.mlp_gate");
    BAD((bad.layers[0].mixer = HY_MIXER_ATTENTION_SSM, bad.layers[0].fusion = HY_FUSION_GATE), "fusion");
    BAD(bad.layers[0].kv_source = -1, "kv_source");
    BAD(bad.layers[0].kv_source = 1, "kv_source");
#undef BAD
}

// The tables: no two fields share a byte, every member is a field, and none that a layer lacks may be set.
static void every_field(bool of_layer, size_t size, size_t *covered) {
    unsigned char *seen = calloc(1, size);
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++)
        for (const hy_field *f = s->fields; s->of_layer == of_layer && f->name; f++)
            for (size_t i = 0; i < hy_spec_field_size(f); i++) {
                assert_true(f->offset + i < size);
                if (seen[f->offset + i]++) fail_msg("%s.%s overlaps another field", s->prefix, f->name);
                ++*covered;
            }
    free(seen);
}

static void test_sections(void **state) {
    (void)state;
    size_t layer = 0, model = 0;
    every_field(true, sizeof(hy_layer_spec), &layer);
    every_field(false, offsetof(hy_model_spec, layers), &model);
    assert_in_range(layer, sizeof(hy_layer_spec) - 7, sizeof(hy_layer_spec));  // all but padding
    assert_in_range(model, offsetof(hy_model_spec, layers) - 16, offsetof(hy_model_spec, layers));
    const char *const models[] = {"mixer: attention\n", "mixer: ssm\nmlp: {kind: none}\n",
                                  "mixer: ssm\nssm: {kind: mamba2}\n", "mixer: none\n", "mixer: attention_ssm\n"};
    int absent = 0;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        hy_model_spec m, bad;
        hy_spec_fault fault;
        must(models[k], &m);
        for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
            if (!s->of_layer || !s->present || s->present(&m.layers[2])) continue;
            for (const hy_field *f = s->fields; f->name; f++, absent++) {
                if (!strcmp(f->name, "kind")) continue;  // makes it present
                char path[64];
                snprintf(path, sizeof path, "%s%s%s", s->prefix, s->prefix[0] ? "." : "", f->name);
                bad = m;
                ((unsigned char *)&bad.layers[2])[f->offset] ^= 1;
                if (!hy_model_spec_fault(&bad, &fault)) fail_msg("%s: %s may be set", models[k], path);
                assert_string_equal(fault.field, path);
                assert_int_equal(fault.layer, 2);
                hy_spec_clear_absent(&bad.layers[2]);
                assert_memory_equal(&bad, &m, sizeof m);
            }
        }
    }
    assert_true(absent > 50);
}

// ---------------------------------------------------------------------------------------------------- text, files
static void round_trip(const hy_model_spec *m) {
    static hy_model_spec again;
    char *text = hy_model_spec_text(m), h1[33], h2[33];
    if (read_text(text, &again)) fail_msg("%s: %s\n%s", m->name, hy_error_text(), text);
    assert_memory_equal(m, &again, sizeof again);
    hy_model_spec_hash(m, h1);
    hy_model_spec_hash(&again, h2);
    assert_string_equal(h1, h2);
    free(text);
}

static void test_multipliers(void **state) {
    (void)state;
    static hy_model_spec m;
    must("name: x\n", &m);
    assert_true(m.multipliers.key == 1 && m.multipliers.head == 1);
    char *text = hy_model_spec_text(&m);
    assert_null(strstr(text, "multipliers"));  // models from before this section keep their text and hash
    free(text);
    must("mixer: parallel\nfusion: sum\nmultipliers: {key: 0.39, mlp_gate: 1, ssm_B: 3}\n", &m);
    assert_true(m.multipliers.key == 0.39 && m.multipliers.ssm_B == 3 && m.multipliers.ssm_C == 1);
    assert_int_equal(m.layers[0].fusion, HY_FUSION_SUM);
    assert_int_equal(m.layers[0].d_v, m.layers[0].d_qk);  // branches need not be equally wide
    text = hy_model_spec_text(&m);
    assert_non_null(strstr(text, "multipliers:\n  key: 0.39\n  ssm_B: 3\nlayer_table:"));
    free(text);
    round_trip(&m);
    refused("multipliers: {keys: 2}\n", "v:1:15: unknown key \"keys\" (did you mean \"key\"?)");
    refused("multipliers: {key: 0}\n", "v:1:20: key is 0; it must be 1e-06 to 1000000");
    refused("multipliers: {key: nan}\n", "v:1:20: key must be a number");
    refused("multipliers: {ssm_dt: 2}\n", "v:1:15: no layer has an ssm, so ssm_dt would do nothing: it must be 1");
    refused("mixer: ssm\nmultipliers: {key: 2}\n", "v:2:15: no layer has attention, so key would do nothing");
    refused("mlp: {kind: relu2}\nmultipliers: {mlp_gate: 2}\n",
            "v:2:15: no layer has an mlp of kind silu, so mlp_gate would do nothing");
    refused("mlp: {kind: none}\nmultipliers: {mlp_down: 2}\n",
            "v:2:15: no layer has an mlp, so mlp_down would do nothing");
    hy_model_spec_init(&m);
    assert_true(m.multipliers.embedding == 1 && m.multipliers.mlp_down == 1 && m.vocab == 0);
}

static int every_file(const char *folder) {
    static hy_model_spec m;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".yaml")) continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (hy_spec_load(path, NULL, &m)) fail_msg("%s", hy_error_text());
        if (strncmp(m.name, e->d_name, (size_t)(dot - e->d_name)) || strlen(m.name) != (size_t)(dot - e->d_name))
            fail_msg("%s is named %s", path, m.name);
        round_trip(&m);
        n++;
    }
    closedir(dir);
    return n;
}

static void test_every_variant(void **state) {
    (void)state;
    assert_true(every_file("variants") >= 15);
    assert_true(every_file("variants/paper") >= 15);
}

static void test_mamba2(void **state) {
    (void)state;
    hy_model_spec m, bad;
    hy_spec_fault fault;
    must("d_model: 64\nlayers: 3\nmixer: ssm\nssm: {kind: mamba2, head_dim: 16, groups: 4, d_state: 5, dt_rank: 9, "
         "dt_max: 0.5}\n"
         "pattern: [{}, {ssm: {kind: mamba}}, {mixer: attention}]\n",
         &m);
    const hy_layer_spec *l = m.layers;
    assert_true(hy_layer_is_mamba2(&l[0]) && !hy_layer_is_mamba2(&l[1]) && !hy_layer_is_mamba2(&l[2]));
    assert_int_equal(hy_layer_ssm_heads(&l[0]), 8);
    assert_int_equal(hy_layer_conv_width(&l[0]), 128 + 2 * 4 * 5);
    assert_int_equal(hy_layer_conv_width(&l[1]), 128);
    assert_true(l[0].gated_norm && l[0].dt_max == 0.5 && !l[0].dt_rank && !l[0].inner_norms);
    assert_true(!l[1].groups && !l[1].head_dim && !l[1].gated_norm && l[1].dt_max == 0 && l[1].dt_rank == 9 &&
                l[1].inner_norms);
    round_trip(&m);
    bad = m, bad.layers[1].groups = 1;
    assert_int_equal(hy_model_spec_check(&bad, &fault), HY_EINPUT);
    assert_string_equal(fault.field, "ssm.groups");
    assert_string_equal(fault.text, "the layer has no Mamba-2 heads, so groups must be 0");
    bad = m, bad.layers[0].dt_rank = 1;
    assert_int_equal(hy_model_spec_check(&bad, &fault), HY_EINPUT);
    assert_string_equal(fault.field, "ssm.dt_rank");
    bad = m, bad.layers[2].ssm_kind = HY_SSM_MAMBA2;
    assert_int_equal(hy_model_spec_check(&bad, &fault), HY_EINPUT);
    assert_string_equal(fault.field, "ssm.kind");
#define TWO "mixer: ssm\nssm: {kind: mamba2, "
    refused("mixer: ssm\nssm: {kind: mamba3}\n", "v:2:13: kind must be one of mamba, mamba2");
    refused("ssm: {head_dims: 3}\n", "v:1:7: unknown key \"head_dims\" (did you mean \"head_dim\"?)");
    refused("d_model: 40\n" TWO "head_dim: 64}\n",
            "v:3:21: the ssm's d_inner 80 cannot be split into heads of head_dim 64");
    refused(TWO "groups: 3}\n", "v:2:21: 8 ssm heads cannot be shared out to 3 groups");
    refused(TWO "groups: 0}\n", "v:2:29: groups is 0");
    refused(TWO "dt_min: 1, dt_max: 0.5}\n", "v:2:32: dt_max (0.5) is below dt_min (1)");
    refused(TWO "gated_norm: false, norm_before_gate: true}\n", "v:2:40: norm_before_gate without gated_norm");
    refused("d_model: 262144\nlayers: 1\nmlp: {kind: none}\n" TWO "d_state: 4096, groups: 4096}\n",
            "v:5:21: d_inner + 2 groups d_state is");
#undef TWO
}

static void test_text(void **state) {
    (void)state;
    hy_model_spec a, b;
    must("name: x\nlayers: 6\nrope: {kind: ntk, base: 12345.678}\nnorm: {kind: layer, eps: 3e-7}\n"
         "kv_share: pairs\npattern: [{mixer: parallel, attention: {window: 9}}, {mixer: none, mlp: {kind: relu2}}, "
         "{mixer: ssm}]\n",
         &a);
    round_trip(&a);
    must("name: y\nlayers: 3\nrope: {kind: llama3, factor: 32, low_freq_factor: 1.5, high_freq_factor: 5}\norig_len: "
         "64\n"
         "attention: {qkv_bias: true}\nssm: {proj_bias: true}\nmlp: {bias: true}\n"
         "pattern: [{mixer: attention}, {mixer: ssm}, {mixer: parallel, attention: {out_bias: true}}]\n",
         &a);
    assert_int_equal(a.layers[0].qkv_bias + a.layers[1].proj_bias + a.layers[1].mlp_bias, 3);
    assert_int_equal(a.layers[1].qkv_bias + a.layers[0].proj_bias + a.layers[0].out_bias, 0);
    round_trip(&a);
    // the same model, said otherwise, is the same bytes and the same hash; any difference is another hash
    must("mixer: attention\nattention: {window: 5, global_layers: [first]}\nlayers: 2\n", &a);
    must("layers: 2\npattern: [{attention: {window: none}}, {attention: {window: 5}}]\n", &b);
    assert_memory_equal(&a, &b, sizeof a);
    char h1[33], h2[33];
    hy_model_spec_hash(&a, h1);
    b.layers[1].window = 6;
    hy_model_spec_hash(&b, h2);
    assert_string_not_equal(h1, h2);
    // stored results and checkpoints live by the hash: fields that came later must not change the one of a model
    // without them
    must("name: pinned\nlayers: 4\nd_model: 64\nmixer: parallel\nattention: {heads: 4, kv_heads: 2, window: 8, "
         "global_layers: [first]}\n"
         "kv_share: pairs\nmeta_tokens: 3\nrope: {kind: ntk}\nmax_len: 4096\n"
         "pattern: [{mixer: parallel}, {mixer: attention}, {mixer: ssm, mlp: {kind: none}}, {mixer: ssm_attention, "
         "mlp: {kind: relu2}}]\n",
         &a);
    hy_model_spec_hash(&a, h1);
    assert_string_equal(h1, "bf429bcc262673b79105dcc4887c366b");
}

static void put(const char *dir, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(hy_file_write(path, text, strlen(text)), HY_OK);
}

static void test_bases_and_sets(void **state) {
    (void)state;
    char dir[] = "/tmp/hylab-spec-XXXXXX", path[512];
    assert_non_null(mkdtemp(dir));
    put(dir, "a.yaml", "name: first\nd_model: 64\nlayers: 4\nattention: {heads: 4, window: 8}\n");
    put(dir, "b.yaml", "base: a.yaml\nattention:\n  heads: 2\n  kv_heads: 1\n");
    put(dir, "c d.yaml", "base: b.yaml\nmixer: parallel\n");
    put(dir, "loop.yaml", "base: loop.yaml\n");
    put(dir, "bad.yaml", "base: a.yaml\nattention: {kv_heads: 3}\n");
    put(dir, "empty.yaml", "# nothing\n");
    hy_model_spec m;
    snprintf(path, sizeof path, "%s/c d.yaml", dir);
    assert_int_equal(hy_spec_load(path, NULL, &m), HY_OK);
    assert_string_equal(m.name, "c_d");  // after the file, not after its base
    assert_int_equal(m.d_model, 64);
    assert_int_equal(m.layers[0].heads, 2);
    assert_int_equal(m.layers[0].kv_heads, 1);
    assert_int_equal(m.layers[0].window, 8);
    assert_int_equal(m.layers[0].mixer, HY_MIXER_PARALLEL);
    const char *sets[] = {"attention.window=none", "name=other", "layers=2", NULL};
    assert_int_equal(hy_spec_load(path, sets, &m), HY_OK);
    assert_string_equal(m.name, "other");
    assert_int_equal(m.layers[1].window, 0);
    assert_int_equal(m.n_layers, 2);
    const char *rebase[] = {"base=a.yaml", NULL};
    assert_int_equal(hy_spec_load(path, rebase, &m), HY_OK);
    assert_int_equal(m.layers[0].heads, 4);
    const char *wrong[] = {"attention.kv_heads=3", NULL};
    assert_int_equal(hy_spec_load(path, wrong, &m), HY_EINPUT);
    assert_string_equal(hy_error_text(),
                        "--set attention.kv_heads=3:1:11: 2 query heads cannot be shared out to 3 kv_heads: it "
                        "must divide heads");
    const char *unknown[] = {"atention.heads=3", NULL};
    assert_int_equal(hy_spec_load(path, unknown, &m), HY_EINPUT);
    assert_string_equal(hy_error_text(),
                        "--set atention.heads=3:1:1: unknown key \"atention\" (did you mean \"attention\"?)");
    snprintf(path, sizeof path, "%s/bad.yaml", dir);
    assert_int_equal(hy_spec_load(path, NULL, &m), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "/bad.yaml:2:13: 4 query heads cannot be shared out to 3 kv_heads"));
    const char *base_at_fault[] = {"d_model=62", NULL};  // a default is at fault: its section
    snprintf(path, sizeof path, "%s/b.yaml", dir);
    assert_int_equal(hy_spec_load(path, base_at_fault, &m), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "/b.yaml:2:1: rope turns pairs"));
    snprintf(path, sizeof path, "%s/loop.yaml", dir);
    assert_int_equal(hy_spec_load(path, NULL, &m), HY_EINPUT);
    assert_non_null(
        strstr(hy_error_text(), "loop.yaml:1:7: more than 8 base files on top of each other: is there a circle?"));
    snprintf(path, sizeof path, "%s/empty.yaml", dir);
    assert_int_equal(hy_spec_load(path, NULL, &m), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "empty.yaml:1:1: the variant is empty"));
    snprintf(path, sizeof path, "%s/none.yaml", dir);
    assert_int_equal(hy_spec_load(path, NULL, &m), HY_EINPUT);
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

static void test_help(void **state) {
    (void)state;
    hy_buf b = {0};
    hy_spec_fields_help(&b);
    static const char *const keys[] = {"d_model",     "kv_heads",       "d_conv",   "fusion",
                                       "expand",      "global_layers",  "kv_share", "pattern",
                                       "layer_table", "residual_scale", "base:"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_non_null(strstr(b.s, keys[i]));
    free(b.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_auto_widths),
        cmocka_unit_test(test_globals),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_pattern),
        cmocka_unit_test(test_rope_base),
        cmocka_unit_test(test_refused_keys),
        cmocka_unit_test(test_refused_widths),
        cmocka_unit_test(test_refused_globals),
        cmocka_unit_test(test_refused_sharing),
        cmocka_unit_test(test_refused_pattern),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_every_variant),
        cmocka_unit_test(test_multipliers),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_mamba2),
        cmocka_unit_test(test_bases_and_sets),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
