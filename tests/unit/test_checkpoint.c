// test_checkpoint.c - hylab's own checkpoints (bits back, every misfit listed, nothing overwritten by a refused file)
// and the mapping of foreign layouts to rows of parameters.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/model/checkpoint.h"
#include "core/family/import.h"
#include "core/spec/spec_read.h"

static const char hybrid[] =
    "name: small\nvocab: 13\nd_model: 12\nlayers: 3\nmixer: parallel\nmeta_tokens: 2\ntied: false\n"
    "attention: {heads: 2, kv_heads: 1, window: 3, global_layers: [0]}\nkv_share: [[1, 2]]\n"
    "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\nmlp: {kind: silu, d_ff: 10}\n";

static hy_backend backend(void) {
    hy_backend be;
    assert_int_equal(hy_backend_cpu("ref", 1, &be), HY_OK);
    return be;
}

// Builds a model of `hybrid` in which `from` (or NULL) is replaced by `to`.
static hy_program *build(const char *from, const char *to) {
    hy_buf b = {0};
    const char *at = from ? strstr(hybrid, from) : NULL;
    assert_true(!from || at);
    if (at)
        hy_buf_printf(&b, "%.*s%s%s", (int)(at - hybrid), hybrid, to, at + strlen(from));
    else
        hy_buf_printf(&b, "%s", hybrid);
    hy_yaml *y;
    if (hy_yaml_parse("model", b.s, b.n, &y)) fail_msg("%s", hy_error_text());
    free(b.s);
    hy_model_spec spec;
    if (hy_spec_from_yaml(y, &spec)) fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
    hy_program *p;
    if (hy_model_build(&spec, &p)) fail_msg("%s", hy_error_text());
    return p;
}

static hy_params *params(const hy_program *p, const hy_backend *be, hy_dtype dt, uint64_t seed) {
    hy_params *w;
    assert_int_equal(hy_params_create(p, be, dt, &w), HY_OK);
    assert_int_equal(hy_params_init(w, seed), HY_OK);
    return w;
}

static const char *scratch_path(void) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/hylab_test_ckpt.%ld", (long)getpid());
    return path;
}

static bool same_bits(const hy_params *a, const hy_params *b) {
    return !memcmp(a->data, b->data, a->prog->param_elems * hy_dtype_size(a->dtype));
}

static void must_refuse(hy_status s, const char *word) {
    assert_int_equal(s, HY_EINPUT);
    if (!strstr(hy_error_text(), word)) fail_msg("\"%s\" has no \"%s\"", hy_error_text(), word);
}

// ---------------------------------------------------------------------------------------------------- own layout
static void test_same_bits_back(void **state) {
    (void)state;
    const hy_backend be = backend();
    hy_program *p = build(NULL, NULL);
    for (int f64 = 0; f64 < 2; f64++) {
        const hy_dtype dt = f64 ? HY_F64 : HY_F32;
        hy_params *w = params(p, &be, dt, 1), *back = params(p, &be, dt, 2);
        assert_false(same_bits(w, back));
        assert_int_equal(hy_checkpoint_save(w, scratch_path()), HY_OK);
        if (hy_checkpoint_load(back, scratch_path(), HY_CHECKPOINT_SAME_SPEC)) fail_msg("%s", hy_error_text());
        assert_true(same_bits(w, back));
        hy_params_free(w);
        hy_params_free(back);
    }
    // the file now holds doubles: another type gets them rounded
    hy_params *w = params(p, &be, HY_F64, 1), *narrow = params(p, &be, HY_F32, 3);
    assert_int_equal(hy_checkpoint_load(narrow, scratch_path(), HY_CHECKPOINT_SAME_SPEC), HY_OK);
    for (int i = 0; i < p->n_params; i++)
        for (size_t k = 0; k < p->params[i].n; k++)
            assert_true(((float *)hy_params_ptr(narrow, i, false))[k] ==
                        (float)((double *)hy_params_ptr(w, i, false))[k]);
    hy_params_free(w);
    hy_params_free(narrow);
    hy_program_free(p);
    unlink(scratch_path());
}

static void test_extras_and_spec(void **state) {
    (void)state;
    const hy_backend be = backend();
    hy_program *p = build(NULL, NULL), *other = build("window: 3", "window: 2");
    hy_params *w = params(p, &be, HY_F32, 1), *o = params(other, &be, HY_F32, 2);
    hy_st_writer *out = hy_st_writer_new();
    hy_checkpoint_add(out, w);
    hy_st_writer_add_i64(out, HY_CHECKPOINT_EXTRA "step", 1,
                         (int64_t[]){17});  // the trainer's: no concern of a reader of weights
    assert_int_equal(hy_st_writer_commit(out, scratch_path()), HY_OK);
    hy_st_writer_free(out);
    hy_params *back = params(p, &be, HY_F32, 3);
    if (hy_checkpoint_load(back, scratch_path(), HY_CHECKPOINT_SAME_SPEC)) fail_msg("%s", hy_error_text());
    assert_true(same_bits(w, back));
    hy_st *st;
    assert_int_equal(hy_checkpoint_open(scratch_path(), &st), HY_OK);
    char *text = hy_model_spec_text(&p->spec);
    assert_string_equal(hy_checkpoint_spec_text(st), text);
    free(text);
    hy_st_close(st);
    must_refuse(hy_checkpoint_load(o, scratch_path(), HY_CHECKPOINT_SAME_SPEC), "window: 3\" where this one has \"");
    assert_int_equal(hy_checkpoint_load(o, scratch_path(), HY_CHECKPOINT_ANY_SPEC), HY_OK);
    assert_true(same_bits(w, o));
    hy_params_free(w);
    hy_params_free(o);
    hy_params_free(back);
    hy_program_free(p);
    hy_program_free(other);
    unlink(scratch_path());
}

static void test_misfits_are_listed(void **state) {
    (void)state;
    const hy_backend be = backend();
    hy_program *p = build(NULL, NULL), *other = build("d_ff: 10", "d_ff: 11"),
               *tied = build("tied: false", "tied: true");
    hy_params *w = params(p, &be, HY_F32, 1), *keep = params(p, &be, HY_F32, 1);
    hy_params *o = params(other, &be, HY_F32, 2), *t = params(tied, &be, HY_F32, 2);
    assert_int_equal(hy_checkpoint_save(o, scratch_path()), HY_OK);
    hy_st *st;
    hy_buf report = {0};
    assert_int_equal(hy_checkpoint_open(scratch_path(), &st), HY_OK);
    must_refuse(hy_checkpoint_read(st, w, HY_CHECKPOINT_ANY_SPEC, &report),
                "0 tensors missing, 6 of wrong shape or type, 0 unknown");
    for (int i = 0; i < 3; i++) {
        char line[128];
        snprintf(line, sizeof line, "wrong shape: layers.%d.mlp.up is [22, 12], but the model makes it [20, 12]\n", i);
        assert_non_null(strstr(report.s, line));
        snprintf(line, sizeof line, "wrong shape: layers.%d.mlp.down is [12, 11], but the model makes it [12, 10]\n",
                 i);
        assert_non_null(strstr(report.s, line));
    }
    free(report.s);
    hy_st_close(st);
    assert_int_equal(hy_checkpoint_save(t, scratch_path()), HY_OK);
    must_refuse(hy_checkpoint_load(w, scratch_path(), HY_CHECKPOINT_ANY_SPEC), "missing: head [13, 12]");
    assert_true(same_bits(w, keep));  // what was refused has changed nothing
    assert_int_equal(hy_checkpoint_save(w, scratch_path()), HY_OK);
    must_refuse(hy_checkpoint_load(t, scratch_path(), HY_CHECKPOINT_ANY_SPEC), "unknown: head [13, 12]");
    hy_params_free(w);
    hy_params_free(keep);
    hy_params_free(o);
    hy_params_free(t);
    hy_program_free(p);
    hy_program_free(other);
    hy_program_free(tied);
    unlink(scratch_path());
}

static void test_foreign_and_damaged(void **state) {
    (void)state;
    hy_st *st;
    must_refuse(hy_checkpoint_open("tests/golden/hymba-tiny/model.safetensors", &st), "is not a hylab checkpoint");
    must_refuse(hy_checkpoint_open("/nonexistent", &st), "cannot open");
    const char *meta[][3] = {{"99", "a", "b"},
                             {HY_CHECKPOINT_VERSION, NULL, "b"},
                             {HY_CHECKPOINT_VERSION, "a", NULL},
                             {HY_CHECKPOINT_VERSION, "a", "b"}};
    const char *words[] = {"checkpoint format 99", "lacks \"hylab.spec\"", "lacks \"hylab.spec_hash\"",
                           "does not have the stored hash"};
    for (int i = 0; i < 4; i++) {
        hy_st_writer *out = hy_st_writer_new();
        hy_st_writer_meta(out, "hylab.format", meta[i][0]);
        if (meta[i][1]) hy_st_writer_meta(out, "hylab.spec", meta[i][1]);
        if (meta[i][2]) hy_st_writer_meta(out, "hylab.spec_hash", meta[i][2]);
        assert_int_equal(hy_st_writer_commit(out, scratch_path()), HY_OK);
        hy_st_writer_free(out);
        must_refuse(hy_checkpoint_open(scratch_path(), &st), words[i]);
        assert_null(st);
    }
    unlink(scratch_path());
}

// ---------------------------------------------------------------------------------------------------- foreign layouts
// A layout that keeps every projection apart: the parts of in_proj and mlp.up must tile them exactly.
static const hy_import_row apart[] = {
    {"e", "embed", HY_PART_ALL, HY_ROW_PLAIN},
    {"m", "meta", HY_PART_ALL, HY_ROW_PLAIN},
    {"h", "head", HY_PART_ALL, HY_ROW_PLAIN},
    {"f", "final_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.n", "layers.%d.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.q", "layers.%d.in_proj", HY_PART_Q, HY_ROW_PLAIN},
    {"l%d.k", "layers.%d.in_proj", HY_PART_K, HY_ROW_PLAIN},
    {"l%d.v", "layers.%d.in_proj", HY_PART_V, HY_ROW_PLAIN},
    {"l%d.s", "layers.%d.in_proj", HY_PART_S, HY_ROW_PLAIN},
    {"l%d.g", "layers.%d.in_proj", HY_PART_G, HY_ROW_PLAIN},
    {"l%d.o", "layers.%d.out_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.cw", "layers.%d.conv.weight", HY_PART_ALL, HY_ROW_CONV},
    {"l%d.cb", "layers.%d.conv.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.x", "layers.%d.x_proj", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.dw", "layers.%d.dt_proj.weight", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.db", "layers.%d.dt_proj.bias", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.A", "layers.%d.A_log", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.D", "layers.%d.D", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.dn", "layers.%d.dt_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.bn", "layers.%d.B_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.cn", "layers.%d.C_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.fa", "layers.%d.fuse.attn_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.fs", "layers.%d.fuse.ssm_norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.mn", "layers.%d.mlp.norm", HY_PART_ALL, HY_ROW_PLAIN},
    {"l%d.gate", "layers.%d.mlp.up", HY_PART_GATE, HY_ROW_PLAIN},
    {"l%d.up", "layers.%d.mlp.up", HY_PART_UP, HY_ROW_PLAIN},
    {"l%d.down", "layers.%d.mlp.down", HY_PART_ALL, HY_ROW_PLAIN},
    {NULL, NULL, HY_PART_ALL, HY_ROW_PLAIN},
};
enum { APART = sizeof apart / sizeof *apart };

static void expect_range(const hy_import_map *m, const hy_program *p, const char *theirs, const char *ours, int first,
                         int rows) {
    const hy_import_tensor *t = hy_import_map_find(m, theirs);
    assert_non_null(t);
    assert_int_equal(t->n, 1);
    const hy_import_piece *r = &m->pieces[t->first];
    assert_string_equal(p->params[r->param].name, ours);
    const int width = (int)(p->params[r->param].n / (size_t)p->params[r->param].shape[0]);
    assert_int_equal(r->first, first * width);
    assert_int_equal(r->n, rows * width);
    assert_int_equal(r->at, 0);
    assert_int_equal(t->theirs.shape[0], rows);
}

static void test_parts_tile(void **state) {
    (void)state;
    hy_program *p = build(NULL, NULL);  // heads 2, kv_heads 1, d_qk 6, d_v 12, d_inner 24
    const hy_import_family f = {.model_type = "apart", .rows = apart};
    hy_import_map m;
    if (hy_import_map_make(&f, p, &m)) fail_msg("%s", hy_error_text());
    expect_range(&m, p, "l1.q", "layers.1.in_proj", 0, 12);
    expect_range(&m, p, "l1.k", "layers.1.in_proj", 12, 6);
    expect_range(&m, p, "l1.v", "layers.1.in_proj", 18, 12);
    expect_range(&m, p, "l1.s", "layers.1.in_proj", 30, 24);
    expect_range(&m, p, "l1.g", "layers.1.in_proj", 54, 24);
    expect_range(&m, p, "l2.s", "layers.2.in_proj", 12, 24);  // a consumer has no k and v
    expect_range(&m, p, "l2.g", "layers.2.in_proj", 36, 24);
    assert_null(hy_import_map_find(&m, "l2.k"));
    assert_null(hy_import_map_find(&m, "l2.v"));
    expect_range(&m, p, "l0.gate", "layers.0.mlp.up", 0, 10);
    expect_range(&m, p, "l0.up", "layers.0.mlp.up", 10, 10);
    const hy_import_tensor *conv = hy_import_map_find(&m, "l0.cw");
    assert_int_equal(conv->theirs.ndim, 3);
    assert_int_equal(conv->theirs.shape[1], 1);
    assert_int_equal(conv->theirs.shape[2], 3);
    hy_import_map_free(&m);
    hy_program_free(p);
}

static void test_layout_must_cover(void **state) {
    (void)state;
    hy_program *p = build(NULL, NULL);
    for (int drop = 0; drop < APART - 1; drop++) {  // any tensor left out, or a part taken twice, is noticed
        hy_import_row rows[APART];
        memcpy(rows, apart, sizeof rows);
        rows[drop].ours = "layers.%d.none";
        const hy_import_family f = {.model_type = "apart", .rows = rows};
        hy_import_map m;
        must_refuse(hy_import_map_make(&f, p, &m), "has no tensor for row");
        if (rows[drop].part == HY_PART_ALL) continue;
        memcpy(rows, apart, sizeof rows);
        rows[drop].part = HY_PART_ALL;
        must_refuse(hy_import_map_make(&f, p, &m), "has two tensors for row");
    }
    hy_program_free(p);
}

// A tensor that joins several of our parts, in another order than ours; and what a gather gives of it.
static void test_joined_parts(void **state) {
    (void)state;
    const hy_backend be = backend();
    hy_program *p = build(NULL, NULL);
    hy_import_row rows[APART];
    memcpy(rows, apart, sizeof rows);
    int g = 0;
    while (rows[g].part != HY_PART_S) g++;
    rows[g].part = HY_PART_G;  // l%d.gs = [g | s]
    rows[g + 1].part = HY_PART_S;
    rows[g].theirs = "l%d.gs";
    rows[g + 1].theirs = "l%d.gs";
    const hy_import_family f = {.model_type = "joined", .rows = rows};
    hy_import_map m;
    if (hy_import_map_make(&f, p, &m)) fail_msg("%s", hy_error_text());
    const hy_import_tensor *t = hy_import_map_find(&m, "l1.gs");
    assert_non_null(t);
    assert_int_equal(t->n, 2);
    assert_int_equal(t->theirs.shape[0], 48);
    assert_int_equal(m.pieces[t->first + 1].at, 24 * t->theirs.shape[1]);
    hy_params *w = params(p, &be, HY_F64, 7);
    const int param = hy_program_find_param(p, "layers.1.in_proj"), width = p->params[param].shape[1];
    float *all = hy_xcalloc(p->params[param].n, sizeof *all), *theirs = hy_xcalloc(t->elems, sizeof *theirs);
    assert_int_equal(hy_params_get(w, param, false, all), HY_OK);
    assert_int_equal(hy_import_gather(&m, t, w, false, theirs), HY_OK);
    assert_memory_equal(theirs, all + 54 * width, (size_t)(24 * width) * sizeof *all);
    assert_memory_equal(theirs + 24 * width, all + 30 * width, (size_t)(24 * width) * sizeof *all);
    free(all);
    free(theirs);
    hy_params_free(w);
    hy_import_map_free(&m);
    hy_program_free(p);
}

// Each tensor of the golden file lies in the parameter where the table says, and every value of the model comes from
// the file.
static void test_import_values(void **state) {
    (void)state;
    const hy_backend be = backend();
    hy_import *im;
    hy_program *p;
    hy_import_map map;
    if (hy_import_open("tests/golden/hymba-tiny-groups", &im)) fail_msg("%s", hy_error_text());
    assert_int_equal(im->spec.layers[2].kv_source, 1);
    assert_int_equal(im->spec.layers[3].window, 0);
    assert_int_equal(im->spec.layers[4].window, 5);
    assert_int_equal(im->spec.rope, HY_ROPE_DEFAULT);
    assert_int_equal(hy_model_build(&im->spec, &p), HY_OK);
    assert_int_equal(hy_import_map_make(im->family, p, &map), HY_OK);
    assert_int_equal(map.n, hy_st_count(im->weights->files[0]));
    hy_params *w = params(p, &be, HY_F32, 1);
    if (hy_import_weights(im, &map, w, NULL)) fail_msg("%s", hy_error_text());
    const hy_st_tensor *up = hy_shards_find(im->weights, "model.layers.2.moe.experts.0.up_proj.weight");
    const int param = hy_program_find_param(p, "layers.2.mlp.up");
    assert_memory_equal((const float *)hy_params_ptr(w, param, false) + 48 * 32, up->data, 48 * 32 * 4);
    for (int i = 0; i < map.n; i++) {
        const hy_st_tensor *t = hy_shards_find(im->weights, map.v[i].theirs.name);
        const hy_import_piece *x = &map.pieces[map.v[i].first];
        assert_int_equal(map.v[i].n, 1);
        assert_memory_equal((const float *)hy_params_ptr(w, x->param, false) + x->first, t->data, x->n * 4);
    }
    hy_params_free(w);
    hy_import_map_free(&map);
    hy_program_free(p);
    hy_import_close(im);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_back),     cmocka_unit_test(test_extras_and_spec),
        cmocka_unit_test(test_misfits_are_listed), cmocka_unit_test(test_foreign_and_damaged),
        cmocka_unit_test(test_parts_tile),         cmocka_unit_test(test_layout_must_cover),
        cmocka_unit_test(test_import_values),      cmocka_unit_test(test_joined_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
