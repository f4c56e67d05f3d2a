// test_folders.c - checkpoint folders as users have them: a tied head in another type, tensors that are not the
// model's, names with prefixes, shards that the index does not name, files and folders that are something else.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/utf8.h"
#include "core/family/model_file.h"

#define TIED "tests/golden/llama3-tiny"  // tied, with the head left out
#define UNTIED "tests/golden/llama-tiny"

static char dir[] = "/tmp/hylab-folders-XXXXXX";

static void put_file(const char *name, const void *data, size_t n) {
    char *path = hy_asprintf("%s/%s", dir, name);
    assert_int_equal(hy_file_write(path, data, n), HY_OK);
    free(path);
}

static void put_text(const char *name, const char *text) { put_file(name, text, strlen(text)); }

static void drop_files(void) {
    char *command = hy_asprintf("rm -rf %s/*", dir);
    assert_int_equal(system(command), 0);
    free(command);
}

static void copy_config(const char *from) {
    char *path = hy_asprintf("%s/config.json", from), *data;
    size_t n;
    assert_int_equal(hy_file_read(path, 1 << 20, &data, &n), HY_OK);
    put_file("config.json", data, n);
    free(data);
    free(path);
}

// Opens the folder and looks at its tensors; *notes (may be NULL): what was left aside.
static hy_status look(char **notes) {
    hy_import *im;
    hy_program *p;
    hy_import_map map;
    HY_TRY(hy_import_open(dir, &im));
    if (notes) *notes = hy_xstrdup(im->notes.s);
    assert_int_equal(hy_model_build(&im->spec, &p), HY_OK);
    assert_int_equal(hy_import_map_make(im->family, p, &map), HY_OK);
    const hy_status s = hy_import_check(im, &map, NULL);
    hy_import_map_free(&map);
    hy_program_free(p);
    hy_import_close(im);
    return s;
}

static void refused(const char *one, const char *two) {
    if (look(NULL) != HY_EINPUT) fail_msg("not refused for \"%s\"", one);
    if (!strstr(hy_error_text(), one) || !strstr(hy_error_text(), two))
        fail_msg("no \"%s\", \"%s\" in: %s", one, two, hy_error_text());
}

// The weights of a golden folder into DIR/model.safetensors, under the names that `name` gives them ("": left out),
// with what `more` adds.
typedef void (*namer)(const char *theirs, char out[256]);
static void rewrite(const char *from, namer name, void (*more)(hy_st_writer *w, const hy_st *st)) {
    char *path = hy_asprintf("%s/model.safetensors", from), *out = hy_asprintf("%s/model.safetensors", dir), to[256];
    hy_st *st;
    hy_st_writer *w = hy_st_writer_new();
    assert_int_equal(hy_st_open(path, 0, &st), HY_OK);
    for (int i = 0; i < hy_st_count(st); i++) {
        const hy_st_tensor *t = hy_st_at(st, i);
        snprintf(to, sizeof to, "%s", t->name);
        if (name) name(t->name, to);
        if (*to) hy_st_writer_add(w, to, t->dtype, t->ndim, t->shape, t->data);
    }
    if (more) more(w, st);
    if (hy_st_writer_commit(w, out)) fail_msg("%s", hy_error_text());
    hy_st_writer_free(w);
    hy_st_close(st);
    free(path);
    free(out);
}

// ---------------------------------------------------------------------------------------------------- tied heads
static hy_st_dtype head_dtype;
static float head_factor;  // of one value, 1: the embedding's own
static void *head;

// A copy of the embedding, each value rounded to head_dtype, one of them times head_factor.
static void add_head(hy_st_writer *w, const hy_st *st) {
    const hy_st_tensor *t = hy_st_find(st, "model.embed_tokens.weight");
    float *v = hy_xcalloc(t->n, sizeof *v);
    hy_st_read_f32(t, 0, t->n, v);
    v[t->n - 1] *= head_factor;
    head = hy_xcalloc(t->n, 8);
    for (size_t i = 0; i < t->n; i++) {
        const uint16_t h = head_dtype == HY_ST_F16 ? hy_f16_from_f32(v[i]) : hy_bf16_from_f32(v[i]);
        const double d = (double)v[i];
        if (head_dtype == HY_ST_F32)
            memcpy((char *)head + 4 * i, &v[i], 4);
        else if (head_dtype == HY_ST_F64)
            memcpy((char *)head + 8 * i, &d, 8);
        else
            memcpy((char *)head + 2 * i, &h, 2);
    }
    hy_st_writer_add(w, "lm_head.weight", head_dtype, t->ndim, t->shape, head);
    free(v);
}

static void but_embedding(const char *theirs, char out[256]) {
    snprintf(out, 256, "%s", strcmp(theirs, "model.embed_tokens.weight") ? theirs : "");
}

// The embedding in bfloat16 and its copy as it was in float32.
static void *low;
static void add_both(hy_st_writer *w, const hy_st *st) {
    const hy_st_tensor *t = hy_st_find(st, "model.embed_tokens.weight");
    float *v = hy_xcalloc(t->n, sizeof *v);
    uint16_t *h = low = hy_xcalloc(t->n, sizeof *h);
    hy_st_read_f32(t, 0, t->n, v);
    for (size_t i = 0; i < t->n; i++) h[i] = hy_bf16_from_f32(v[i]);
    hy_st_writer_add(w, t->name, HY_ST_BF16, t->ndim, t->shape, h);
    head_dtype = HY_ST_F32;
    add_head(w, st);
    free(v);
}

static void test_tied_table(void **state) {
    (void)state;
    drop_files();
    copy_config(TIED);
    for (int i = 0; i < 2; i++) {
        head_factor = i ? 1.05f : 1;
        rewrite(TIED, but_embedding, add_both);
        free(head), free(low);
        if (i)
            refused("tied to the embedding", "differ");
        else if (look(NULL))
            fail_msg("%s", hy_error_text());
    }
}

static void test_tied_head(void **state) {
    (void)state;
    static const hy_st_dtype types[] = {HY_ST_F32, HY_ST_F64, HY_ST_F16, HY_ST_BF16};
    drop_files();
    copy_config(TIED);
    for (int i = 0; i < 8; i++) {
        char *notes = NULL;
        head_dtype = types[i / 2];
        head_factor = i % 2 ? 1.05f : 1;
        rewrite(TIED, NULL, add_head);
        free(head);
        if (i % 2)
            refused("tied to the embedding", "differ");
        else {
            if (look(&notes)) fail_msg("%s: %s", hy_st_dtype_name(types[i / 2]), hy_error_text());
            assert_string_equal(notes, "");  // the copy is the model's own
        }
        free(notes);
    }
}

// ---------------------------------------------------------------------------------------------------- left aside
static const char *extra_name;
static void add_extra(hy_st_writer *w, const hy_st *st) {
    static const float one[3] = {1, 2, 3};
    (void)st;
    hy_st_writer_add_f32(w, extra_name, 3, one);
}

static void test_left_aside(void **state) {
    (void)state;
    static const char *const aside[] = {"model.layers.1.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq",
                                        "model.layers.0.self_attn.masked_bias", "score.weight", "v_head.summary.bias"};
    // what may be a piece of the model is none of them
    static const char *const pieces[] = {"model.layers.1.self_attn.q_norm.weight", "model.layers.7.mlp.up_proj.weight",
                                         "model.embed_positions.weight", "lm_head.bias", "model.norm.bias"};
    drop_files();
    copy_config(UNTIED);
    for (size_t i = 0; i < sizeof aside / sizeof *aside; i++) {
        char *notes;
        extra_name = aside[i];
        rewrite(UNTIED, NULL, add_extra);
        if (look(&notes)) fail_msg("%s", hy_error_text());
        if (!strstr(notes, aside[i]) || !strstr(notes, "left aside 1 tensor that a llama model")) fail_msg("%s", notes);
        free(notes);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        extra_name = pieces[i];
        rewrite(UNTIED, NULL, add_extra);
        refused("unknown: ", pieces[i]);
    }
}

// ---------------------------------------------------------------------------------------------------- prefixes
static const char *prefix;
static void with_prefix(const char *theirs, char out[256]) { snprintf(out, 256, "%s%s", prefix, theirs); }
static void inside(const char *theirs, char out[256]) {  // model.layers.0._orig_mod.mlp...
    const char *at = strstr(theirs, "model.layers.");
    const size_t n = at ? strlen("model.layers.0.") : 0;
    snprintf(out, 256, "%.*s%s%s", (int)n, theirs, n ? "_orig_mod." : "", theirs + n);
}
static void without_model(const char *theirs, char out[256]) {
    snprintf(out, 256, "%s", strncmp(theirs, "model.", 6) ? "" : theirs + 6);
}

static void test_prefixes(void **state) {
    (void)state;
    static const char *const prefixes[][2] = {{"_orig_mod.", "torch.compile"},
                                              {"module.", "DistributedDataParallel"},
                                              {"_orig_mod.module.", "rename them"},
                                              {"base_model.model.", "PEFT"},
                                              {"language_model.", "part of another one"}};
    drop_files();
    copy_config(UNTIED);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        prefix = prefixes[i][0];
        rewrite(UNTIED, with_prefix, NULL);
        refused(i == 2 ? "under names with \"_orig_mod." : prefix, prefixes[i][1]);
        assert_null(strstr(hy_error_text(), "\nmissing: "));  // one line, no list
    }
    rewrite(UNTIED, inside, NULL);
    refused("_orig_mod.", "torch.compile");
    rewrite(UNTIED, without_model, NULL);
    refused("without \"model.\"", "without its head");
    extra_name = "model.layers.0.self_attn.extra.weight";  // one odd name is no habit
    rewrite(UNTIED, NULL, add_extra);
    refused("1 unknown", extra_name);
}

// ---------------------------------------------------------------------------------------------------- shards
static void only_norm(const char *theirs, char out[256]) {
    snprintf(out, 256, "%s", strcmp(theirs, "model.norm.weight") ? "" : theirs);
}
static void but_norm(const char *theirs, char out[256]) {
    snprintf(out, 256, "%s", strcmp(theirs, "model.norm.weight") ? theirs : "");
}

// Two files, and an index of all but `unlisted` (the tensor that extra_name adds to the second, or a weight).
static void shards(const char *unlisted) {
    hy_buf index = {0};
    hy_st *st;
    char *one = hy_asprintf("%s/model.safetensors", dir), *two = hy_asprintf("%s/one.safetensors", dir);
    drop_files();
    copy_config(UNTIED);
    rewrite(UNTIED, but_norm, NULL);
    assert_int_equal(rename(one, two), 0);
    rewrite(UNTIED, only_norm, add_extra);
    free(two);
    two = hy_asprintf("%s/two.safetensors", dir);
    assert_int_equal(rename(one, two), 0);
    hy_buf_printf(&index, "{\"weight_map\": {");
    assert_int_equal(hy_st_open(UNTIED "/model.safetensors", 0, &st), HY_OK);
    for (int i = 0, n = 0; i < hy_st_count(st); i++) {
        const char *name = hy_st_at(st, i)->name;
        if (!strcmp(name, unlisted)) continue;
        hy_buf_printf(&index, "%s\"%s\": \"%s.safetensors\"", n++ ? ", " : "", name,
                      strcmp(name, "model.norm.weight") ? "one" : "two");
    }
    if (strcmp(unlisted, "model.norm.weight"))
        hy_buf_printf(&index, "}}");
    else
        hy_buf_printf(&index, ", \"%s\": \"two.safetensors\"}}", extra_name);
    put_file("model.safetensors.index.json", index.s, index.n);
    hy_st_close(st);
    free(index.s);
    free(one);
    free(two);
}

static void test_unlisted(void **state) {
    (void)state;
    char *notes;
    extra_name = "model.rotary_emb.inv_freq";
    shards(extra_name);
    if (look(&notes)) fail_msg("%s", hy_error_text());
    assert_non_null(strstr(notes, "left aside 1 tensor that a llama model has no use for: model.rotary_emb.inv_freq"));
    free(notes);
    extra_name = "model.layers.0.self_attn.q_norm.weight";
    shards(extra_name);
    refused("unknown: ", extra_name);
    extra_name = "model.layers.0.self_attn.k_proj.weight";  // a second one of what the first file has
    shards(extra_name);
    refused(extra_name, "two.safetensors");
    extra_name = "score.weight";
    shards("model.norm.weight");
    refused("\"model.norm.weight\" is in one of them but not listed", "index.json");
}

// ---------------------------------------------------------------------------------------------------- something else
static void test_other_folders(void **state) {
    (void)state;
    drop_files();
    refused("config.json: cannot open", dir);
    put_file("model-q4.gguf", "GGUF", 4);
    refused("GGUF file model-q4.gguf", "give that file itself");
    put_file("params.json", "{}", 2);
    refused("authors' own release", "-hf");
    put_file("adapter_config.json", "{}", 2);
    refused("PEFT adapter", "merge_and_unload");
    copy_config(UNTIED);
    refused("model.safetensors: cannot open", dir);
    static const char *const files[] = {"flax_model.msgpack",        "tf_model.h5",
                                        "consolidated.00.pth",       "consolidated.safetensors",
                                        "adapter_model.safetensors", "pytorch_model.bin"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        put_file(files[i], "", 0);
        refused("has its weights in", i == 2 ? "consolidated.*.pth" : files[i]);
        char *path = hy_asprintf("%s/%s", dir, files[i]);
        unlink(path);
        free(path);
    }
    static const char state_spaces[] = "{\"d_model\": 24, \"n_layer\": 3, \"vocab_size\": 57, \"ssm_cfg\": {}}";
    put_file("config.json", state_spaces, strlen(state_spaces));
    refused("model.safetensors: cannot open", "");  // read as it is, were there weights
}

static void test_other_files(void **state) {
    (void)state;
    static const struct {
        const char *name, *data;
        size_t n;
        const char *word;
    } files[] = {
        {"a.gguf", "GGUF\3\0\0\0........", 16, "tensors, more than the file has room for"},
        {"gguf.yaml", "GGUF\3\0\0\0........", 16, "is a GGUF file, but its name does not end in .gguf"},
        {"a.pt", "PK\3\4..............", 16, "is a zip file, as torch.save writes"},
        {"pytorch_model.bin", "\x80\2}q.............", 16, "is a pickle"},
        {"a.h5", "\x89HDF\r\n\x1a\n........", 16, "is an HDF5 file"},
        {"a.npy", "\x93NUMPY\1\0..........", 16, "is a NumPy file"},
        {"weights.st", "\2\0\0\0\0\0\0\0{}......", 16, "looks like safetensors"},
        {"model.safetensors", "\2\0\0\0\0\0\0\0{}", 10, "of a released model give the folder"},
    };
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    drop_files();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = hy_asprintf("%s/%s", dir, files[i].name);
        put_file(files[i].name, files[i].data, files[i].n);
        assert_int_equal(hy_model_read_spec(path, NULL, spec), HY_EINPUT);
        if (!strstr(hy_error_text(), files[i].word) || !strstr(hy_error_text(), path)) fail_msg("%s", hy_error_text());
        free(path);
    }
    free(spec);
}

// ---------------------------------------------------------------------------------------------------- byte order marks
static void test_marks(void **state) {
    (void)state;
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    char *yaml = hy_asprintf("%s/v.yaml", dir), *data;
    size_t n;
    drop_files();
    put_text("v.yaml", "\xef\xbb\xbf---\nvocab: 9\nd_model: 64\nlayers: 1\n");
    if (hy_model_read_spec(yaml, NULL, spec)) fail_msg("%s", hy_error_text());
    assert_int_equal(spec->vocab, 9);
    put_text("v.yaml", "\xef\xbb\xbfvocab: 9\nd_modl: 8\n");  // places are those of the text
    assert_int_equal(hy_model_read_spec(yaml, NULL, spec), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "v.yaml:2:1"));
    put_file("v.yaml", "\xff\xfev\0o\0", 6);
    assert_int_equal(hy_model_read_spec(yaml, NULL, spec), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "UTF-16"));
    assert_int_equal(hy_file_read(UNTIED "/config.json", 1 << 20, &data, &n), HY_OK);
    hy_buf b = {0};
    hy_buf_printf(&b, "\xef\xbb\xbf%s", data);
    put_file("config.json", b.s, b.n);
    if (hy_model_read_spec(dir, NULL, spec)) fail_msg("%s", hy_error_text());
    put_file("config.json", "\xfe\xff\0{", 4);
    assert_int_equal(hy_model_read_spec(dir, NULL, spec), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "config.json: begins with the byte order mark of UTF-16"));
    const char *s = "\xef\xbb\xbf\xef\xbb\xbf";  // one mark, then text
    n = 6;
    assert_int_equal(hy_utf8_begin("x", &s, &n), HY_OK);
    assert_int_equal(n, 3);
    free(b.s), free(data), free(yaml), free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tied_head),   cmocka_unit_test(test_tied_table), cmocka_unit_test(test_left_aside),
        cmocka_unit_test(test_prefixes),    cmocka_unit_test(test_unlisted),   cmocka_unit_test(test_other_folders),
        cmocka_unit_test(test_other_files), cmocka_unit_test(test_marks),
    };
    if (!mkdtemp(dir)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_files();
    rmdir(dir);
    return failed;
}
