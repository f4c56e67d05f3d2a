// test_identity_walk.c - every key of every table of fields: it changes the key of a model or that of a measurement, or
// it stands in a list of those that may not, with its reason. A field that is added and forgotten in a canonical text,
// or that is taken out of an identity without a reason, is found here. And the unique indices of the database, by SQL
// of others.
#include "store_fixture.h"

#include "analysis/measure/measure.h"
#include "core/corpus/corpus.h"
#include "core/spec/spec_read.h"
#include "core/spec/spec_sections.h"
#include "core/task/task.h"
#include "core/train/recipe.h"
#include "results/identity.h"

// ---------------------------------------------------------------------------------------------------- the lists
typedef struct {
    const char *key, *reason;
} exception;

static const exception spec_exceptions[] = {
    {"name", "how a variant is called; two names of one model share its weights and results"},
    {NULL, NULL},
};
// Of a recipe whose training is not ended by an evaluation.
static const exception recipe_exceptions[] = {
    {"log_every", "which steps are points of the curve"},
    {"checkpoint_every", "a run goes on from a checkpoint bit by bit"},
    {"save_seconds", "the same"},
    {"eval_batch", "how many sequences at a time an evaluation computes: rounding of an evaluation, no weight"},
    {"eval_every", "evaluations on the way change no weight"},
    {"eval_epochs", "the same"},
    {"eval_examples", "the same; it is an option of the measure accuracy"},
    {NULL, NULL},
};
static const exception stopping_exceptions[] = {
    {"log_every", "which steps are points of the curve"},
    {"checkpoint_every", "a run goes on from a checkpoint bit by bit"},
    {"save_seconds", "the same"},
    {"eval_batch", "rounding of an evaluation"},
    {NULL, NULL},
};
static const exception random_exceptions[] = {
    {"*", "without a step nothing of a recipe but its precision touches the weights"},
    {NULL, NULL},
};
// Of a task, for the key of a model. All of a task counts for a measurement.
static const exception task_exceptions[] = {
    {"test", "what is evaluated; it is part of every measurement"},
    {"test_examples", "the same"},
    {NULL, NULL},
};
static const exception none[] = {{NULL, NULL}};

static bool excepted(const exception *e, const char *key) {
    for (; e->key; e++)
        if (!strcmp(e->key, key) || (!strcmp(e->key, "*") && strcmp(key, "precision") && strcmp(key, "steps")))
            return true;
    return false;
}

// ---------------------------------------------------------------------------------------------------- other values
enum { TRIES = 24 };

// Values that a field of that type may take, some of which differ from any it has. The caller frees them.
static int other_values(const hy_field *f, char *out[TRIES]) {
    static const char *const ints[] = {"1", "2", "3", "4", "5", "8", "16", "24", "64", "100", "400"},
                             *const doubles[] = {"0.5", "0.25", "2", "0.03", "1e-3", "1.5", "3", "0.75"},
                             *const bools[] = {"true", "false"}, *const texts[] = {"other", "b"},
                             *const lists[] = {"[16]", "[24]", "[3]", "[1]", "[32, 48]"},
                             *const reals[] = {"[0.5]", "[0.25, 0.75]", "[1, 2]", "[3]"},
                             *const pairs[] = {"[[16, 2]]", "[[24, 3]]", "[[32, 1]]"};
    int n = 0;
#define ALL(list) \
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) out[n++] = hy_xstrdup(list[i])
    switch (f->type) {
        case HY_F_INT:
        case HY_F_LONG: ALL(ints); break;
        case HY_F_DOUBLE: ALL(doubles); break;
        case HY_F_BOOL: ALL(bools); break;
        case HY_F_STRING: ALL(texts); break;
        case HY_F_INTS: ALL(lists); break;
        case HY_F_DOUBLES: ALL(reals); break;
        case HY_F_PAIRS: ALL(pairs); break;
        case HY_F_ENUM:
            for (const char *c = f->choices; *c && n < TRIES; c += strcspn(c, "|"), c += *c == '|')
                out[n++] = hy_asprintf("%.*s", (int)strcspn(c, "|"), c);
            break;
    }
#undef ALL
    if ((f->type == HY_F_INT || f->type == HY_F_DOUBLE) && f->choices)
        out[n++] = hy_asprintf("%.*s", (int)strcspn(f->choices, "|"), f->choices);
    return n;
}

// ---------------------------------------------------------------------------------------------------- specs
#define TASK "kind: mqar\nvocab: 32\n"
#define TRAIN "steps: 6\nlr: 0.003\n"

static void model_key(const char *spec, const char *task, const char *train, char key[33]) {
    hy_model_identity(spec, "mqar", task, train, "", key);
}

// Variants that have every field between them.
static const char *const variants[] = {
    "d_model: 32\nlayers: 4\nvocab: 64\nmixer: parallel\nattention: {heads: 4, kv_heads: 2, window: 8}\n",
    "d_model: 32\nlayers: 4\nvocab: 64\nmixer: parallel\nfusion: sum\nattention: {heads: 4, kv_heads: 2}\n"
    "ssm: {kind: mamba2, head_dim: 8}\n",
    "d_model: 32\nlayers: 2\nvocab: 64\nmixer: attention\nattention: {heads: 4}\nrope: {kind: llama3, factor: 8}\n"
    "orig_len: 64\nmax_len: 512\n",
    "d_model: 32\nlayers: 2\nvocab: 64\nmixer: attention\nattention: {heads: 4}\nrope: {kind: linear, factor: 2}\n",
    "d_model: 32\nlayers: 2\nvocab: 64\nmixer: ssm\nmlp: {kind: none}\nnorm: {kind: layer}\n",
    "d_model: 32\nlayers: 2\nvocab: 64\nmixer: ssm\nssm: {kind: mamba2, head_dim: 8, groups: 2, dt_max: 9}\nmlp: "
    "{kind: relu2}\n",
    "d_model: 32\nlayers: 2\nvocab: 64\nmixer: attention\nattention: {heads: 4}\nrope: {kind: ntk}\norig_len: 64\n"
    "max_len: 512\n",
};
enum { N_VARIANTS = sizeof variants / sizeof variants[0] };

static bool load(const char *file, const char *path, const char *value, hy_model_spec *m) {
    char *set = hy_asprintf("%s=%s", path, value);
    const char *const sets[] = {set, NULL};
    const bool ok = !hy_spec_load(file, path ? sets : NULL, m);
    free(set);
    return ok;
}

static bool member_differs(const hy_spec_section *s, const hy_field *f, const hy_model_spec *a,
                           const hy_model_spec *b) {
    const size_t size = hy_spec_field_size(f);
    if (!s->of_layer) return memcmp((const char *)a + f->offset, (const char *)b + f->offset, size) != 0;
    for (int i = 0; i < a->n_layers && i < b->n_layers; i++)
        if (memcmp((const char *)&a->layers[i] + f->offset, (const char *)&b->layers[i] + f->offset, size)) return true;
    return false;
}

static int try_spec_key(const hy_spec_section *s, const hy_field *f, const char *file, const hy_model_spec *base) {
    static hy_model_spec other;
    char *path = hy_asprintf("%s%s%s", s->prefix, *s->prefix ? "." : "", f->name), *values[TRIES], a[33], b[33];
    const int n = other_values(f, values);
    int changed = 0;
    char *text = hy_model_spec_text(base);
    model_key(text, TASK, TRAIN, a);
    for (int i = 0; i < n; i++) {
        if (load(file, path, values[i], &other) && member_differs(s, f, base, &other)) {
            char *with = hy_model_spec_text(&other);
            model_key(with, TASK, TRAIN, b);
            const bool same = !strcmp(a, b);
            if (same != excepted(spec_exceptions, path))
                fail_msg("%s: %s gives %s model%s", path, values[i], same ? "the same" : "another",
                         same ? ": is it in the canonical text? If it may not count, give a reason in this test" : "");
            changed++;
            free(with);
        }
        free(values[i]);
    }
    free(text), free(path);
    return changed;
}

static void test_specs(void **state) {
    (void)state;
    static hy_model_spec base[N_VARIANTS];
    char *file[N_VARIANTS];
    for (int v = 0; v < N_VARIANTS; v++) {
        file[v] = hy_asprintf("%s/v%d.yaml", g_dir, v);
        OK(hy_file_write(file[v], variants[v], strlen(variants[v])));
        OK(hy_spec_load(file[v], NULL, &base[v]));
    }
    int keys = 0;
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        if (s->derived) continue;
        for (const hy_field *f = s->fields; f->name; f++, keys++) {
            int changed = 0;
            for (int v = 0; v < N_VARIANTS; v++) changed += try_spec_key(s, f, file[v], &base[v]);
            if (!changed) fail_msg("%s.%s: no variant of this test can have another value of it", s->prefix, f->name);
        }
    }
    assert_true(keys > 50);
    // what is written short
    static const char *const sugar[][2] = {{"kv_share", "pairs"},
                                           {"kv_share", "[[0, 1]]"},
                                           {"kv_share", "[[2, 3]]"},
                                           {"attention.global_layers", "[first]"},
                                           {"attention.global_layers", "[last]"},
                                           {"pattern", "[{mixer: attention}, {mixer: ssm}]"}};
    char found[8][33];
    for (size_t i = 0; i < sizeof sugar / sizeof sugar[0]; i++) {
        static hy_model_spec other;
        if (!load(file[0], sugar[i][0], sugar[i][1], &other)) fail_msg("%s: %s", sugar[i][0], hy_error_text());
        char *text = hy_model_spec_text(&other);
        model_key(text, TASK, TRAIN, found[i]);
        free(text);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(found[i], found[k]);
    }
    for (int v = 0; v < N_VARIANTS; v++) free(file[v]);
}

// ---------------------------------------------------------------------------------------------------- recipes
static void recipe_key(const hy_train_spec *t, char key[33]) {
    hy_buf b = {0};
    hy_fields_text(hy_train_fields, t, 0, &b);
    model_key("d_model: 16\n", TASK, b.s, key);
    free(b.s);
}

static void walk_recipe(const hy_train_spec *base, const exception *exceptions, const char *what) {
    char a[33], b[33];
    recipe_key(base, a);
    for (const hy_field *f = hy_train_fields; f->name; f++) {
        char *values[TRIES];
        const int n = other_values(f, values);
        int changed = 0;
        for (int i = 0; i < n; i++) {
            hy_train_spec t = *base;
            const bool set = !hy_fields_set(f, &t, f->name, values[i]) && memcmp(&t, base, sizeof t);
            // other keys may become others with these
            const bool kind = strcmp(f->name, "steps") && strcmp(f->name, "stop_accuracy");
            if (set && (kind || !excepted(exceptions, f->name))) {
                recipe_key(&t, b);
                const bool same = !strcmp(a, b);
                if (same != excepted(exceptions, f->name))
                    fail_msg("train.%s of %s: %s gives %s model; if it may not count, give a reason in this test",
                             f->name, what, values[i], same ? "the same" : "another");
                changed++;
            }
            free(values[i]);
        }
        if (!changed && !excepted(exceptions, f->name)) fail_msg("train.%s: no other value was tried", f->name);
    }
}

static void test_recipes(void **state) {
    (void)state;
    hy_train_spec plain, stops, random;
    memset(&plain, 0, sizeof plain);
    hy_fields_default(hy_train_fields, &plain);
    plain.steps = 7;
    stops = random = plain;
    stops.stop_accuracy = 0.9;
    random.steps = 0;
    walk_recipe(&plain, recipe_exceptions, "a training");
    walk_recipe(&stops, stopping_exceptions, "a training that stops early");
    walk_recipe(&random, random_exceptions, "random weights");
    for (const exception *e = recipe_exceptions; e->key; e++) {  // the list names fields that there are
        const hy_field *f = hy_train_fields;
        while (f->name && strcmp(f->name, e->key)) f++;
        if (!f->name) fail_msg("train.%s is gone", e->key);
    }
}

// ---------------------------------------------------------------------------------------------------- tasks
// Small ones, so that much fits.
static const struct {
    const char *kind, *options;
} tasks[] = {
    {"mqar", "vocab: 100\ntrain: [[64, 4]]\ntest: [[64, 4]]\n"},
    {"induction", "vocab: 20\ntrain: [40]\ntest: [40]\n"},
    {"selective_copy", "vocab: 20\ntrain: [80]\ntest: [80]\n"},
    {"needle", "vocab: 300\ntrain: [200]\ntest: [200]\n"},
    {"markov", "vocab: 24\ntrain: [16]\ntest: [16]\n"},
    {"text", "path: tests/data/shakespeare-100k.txt\ntrain: [40]\ntest: [40]\n"},
    {"images", "validation: 0.2\n"},  // their paths: test_tasks
    {"mnist1d", "levels: 32\n"},
    {"speech", "validation: 0.2\nsamples: 12\n"},
};

// 20 images of 8 x 8 pixels, and 20 recordings of 400 bytes, whatever they show and say.
static void data_write(void) {
    unsigned char images[16 + 20 * 64] = {0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 0, 8};
    unsigned char labels[8 + 20] = {0, 0, 8, 1, 0, 0, 0, 20};
    char wav[44 + 400] = "RIFF\0\0\0\0WAVEfmt \20\0\0\0\1\0\1\0\100\37\0\0\100\37\0\0\1\0\10\0data\220\1\0\0";
    hy_buf list = {0};
    char *pics = hy_asprintf("%s/train-images-idx3-ubyte", g_dir),
         *classes = hy_asprintf("%s/train-labels-idx1-ubyte", g_dir);
    char *csv = hy_asprintf("%s/list.csv", g_dir);
    for (int i = 0; i < 20 * 64; i++) images[16 + i] = (unsigned char)(i * i % 251);
    for (int i = 0; i < 20; i++) labels[8 + i] = (unsigned char)(i % 3);
    OK(hy_file_write(pics, images, sizeof images));
    OK(hy_file_write(classes, labels, sizeof labels));
    hy_buf_printf(&list, "path,label\n");
    for (int i = 0; i < 20; i++) {
        char *name = hy_asprintf("%s/%d.wav", g_dir, i);
        for (int k = 0; k < 400; k++) wav[44 + k] = (char)(k * (i + 3) % 256);
        OK(hy_file_write(name, wav, sizeof wav));
        hy_buf_printf(&list, "%d.wav,%c\n", i, 'a' + i % 2);
        free(name);
    }
    OK(hy_file_write(csv, list.s, list.n));
    free(list.s), free(pics), free(classes), free(csv);
}

static char *task_text(const char *kind, const char *options) {
    hy_task *t;
    hy_buf b = {0};
    if (hy_task_open(kind, options, 1, &t)) return NULL;
    hy_task_text(t, &b);
    hy_task_close(t);
    return b.s;
}

// The options with one of them set anew.
static char *with_option(const char *options, const char *name, const char *value) {
    hy_buf b = {0};
    const size_t n = strlen(name);
    for (const char *line = options, *next; *line; line = next) {
        next = strchr(line, '\n') + 1;
        if (strncmp(line, name, n) || line[n] != ':') hy_buf_write(&b, line, (size_t)(next - line));
    }
    hy_buf_printf(&b, "%s: %s\n", name, value);
    return b.s;
}

// Options of a text that only a .bin file, or a set of token shards, has: walked with one.
static bool of_another_source(const char *kind, const char *name) {
    return !strcmp(kind, "text") && (!strcmp(name, "vocab") || !strcmp(name, "pack"));
}

// All options, or one.
static void walk_task(const char *kind, const char *options, const char *only) {
    char *base = task_text(kind, options), a[33], b[33], c[33], d[33];
    if (!base) fail_msg("%s: %s", kind, hy_error_text());
    hy_model_identity("d_model: 16\n", kind, base, TRAIN, "", a);
    hy_measurement_identity("", base, c);
    for (const hy_field *f = hy_task_fields(kind); f->name; f++) {
        if (!strcmp(f->name, "path") || !strcmp(f->name, "tokenizer")) continue;  // test_content
        if (only ? strcmp(only, f->name) != 0 : of_another_source(kind, f->name)) continue;
        char *values[TRIES];
        const int n = other_values(f, values);
        int changed = 0;
        for (int i = 0; i < n; i++) {
            char *set = with_option(options, f->name, values[i]), *text = task_text(kind, set);
            if (text && strcmp(text, base)) {
                hy_model_identity("d_model: 16\n", kind, text, TRAIN, "", b);
                hy_measurement_identity("", text, d);
                const bool same = !strcmp(a, b);
                if (same != excepted(task_exceptions, f->name))
                    fail_msg("%s.%s: %s gives %s model", kind, f->name, values[i], same ? "the same" : "another");
                if (!strcmp(c, d)) fail_msg("%s.%s: %s gives the same measurement", kind, f->name, values[i]);
                changed++;
            }
            free(set), free(text), free(values[i]);
        }
        if (!changed)
            fail_msg("%s.%s: no value of this test changes the text of the task: is it in there?", kind, f->name);
    }
    free(base);
}

static void test_tasks(void **state) {
    (void)state;
    int kinds = 1, walked = sizeof tasks / sizeof tasks[0];
    for (const char *k = hy_task_kinds(); *k; k++) kinds += *k == '|';
    assert_int_equal(kinds, walked);  // a new kind of task is a row of this test
    data_write();
    for (int i = 0; i < walked; i++) {
        const char *at = !strcmp(tasks[i].kind, "images") ? "" : !strcmp(tasks[i].kind, "speech") ? "/list.csv" : NULL;
        char *options = at ? hy_asprintf("path: %s%s\n%s", g_dir, at, tasks[i].options) : hy_xstrdup(tasks[i].options);
        walk_task(tasks[i].kind, options, NULL);
        free(options);
    }
    char *ids = hy_asprintf("%s/ids.bin", g_dir), *set = hy_asprintf("%s/set", g_dir);
    static const uint16_t zeros[4000];
    const char *const files[] = {"tests/data/shakespeare-100k.txt"};
    hy_corpus_counts counts;
    OK(hy_file_write(ids, zeros, sizeof zeros));
    OK(hy_corpus_make(&(hy_corpus_job){.tokenizer = "bytes",
                                       .files = files,
                                       .n_files = 1,
                                       .cut = HY_CUT_BLANK,
                                       .max_document = 1 << 20,
                                       .shard_bytes = 1 << 20,
                                       .threads = 1},
                      set, &counts));
    char *of_bin = hy_asprintf("path: %s\nvocab: 300\ntrain: [40]\ntest: [40]\n", ids);
    char *of_set = hy_asprintf("path: %s\ntrain: [40]\ntest: [40]\n", set);
    walk_task("text", of_bin, "vocab");
    walk_task("text", of_set, "pack");
    free(ids), free(set), free(of_bin), free(of_set);
}

// A text counts by what it says, not by where it lies.
static void test_content(void **state) {
    (void)state;
    char *one = hy_asprintf("%s/one.txt", g_dir), *two = hy_asprintf("%s/two.txt", g_dir), key[4][33], measured[4][33];
    static const char text[] = "to be or not to be, that is the question; whether it is nobler in the mind to suffer "
                               "the slings and arrows of outrageous fortune, or to take arms against a sea of troubles";
    OK(hy_file_write(one, text, sizeof text - 1));
    OK(hy_file_write(two, text, sizeof text - 1));
    for (int i = 0; i < 3; i++) {
        if (i == 2) OK(hy_file_write(two, text, sizeof text - 2));
        char *options = hy_asprintf("path: %s\ntrain: [8]\ntest: [8]\nvalidation: 0.5\n", i ? two : one);
        char *t = task_text("text", options);
        if (!t) fail_msg("%s", hy_error_text());
        hy_model_identity("d_model: 16\n", "text", t, TRAIN, "", key[i]);
        hy_measurement_identity("", t, measured[i]);
        free(options), free(t);
    }
    assert_string_equal(key[0], key[1]);
    assert_string_equal(measured[0], measured[1]);
    assert_string_not_equal(key[1], key[2]);
    assert_string_not_equal(measured[1], measured[2]);
    free(one), free(two);
}

// ---------------------------------------------------------------------------------------------------- measures
static void test_measures(void **state) {
    (void)state;
    int options = 0;
    for (const hy_measure *const *p = hy_measures; *p; p++) {
        const hy_measure *m = *p;
        hy_measure_options base;
        OK(hy_measure_options_read(m, "", &base));
        hy_buf text = {0};
        hy_buf_printf(&text, "%s", "");
        hy_measure_options_text(m, &base, &text);
        char a[33], b[33];
        hy_measurement_identity(text.s, "", a);
        for (const hy_field *f = m->fields; f && f->name; f++, options++) {
            char *values[TRIES];
            const int n = other_values(f, values);
            int changed = 0;
            for (int i = 0; i < n; i++) {
                hy_measure_options other = base;
                if (!hy_fields_set(f, &other, f->name, values[i]) && memcmp(&other, &base, m->options_size)) {
                    hy_buf with = {0};
                    hy_measure_options_text(m, &other, &with);
                    hy_measurement_identity(with.s, "", b);
                    if (!strcmp(a, b) != excepted(none, f->name))
                        fail_msg("%s.%s: %s gives the same measurement", m->name, f->name, values[i]);
                    changed++;
                    free(with.s);
                }
                free(values[i]);
            }
            if (!changed) fail_msg("%s.%s: no other value was tried", m->name, f->name);
        }
        free(text.s);
    }
    assert_true(options > 20);
}

// ---------------------------------------------------------------------------------------------------- what is no text
// Seed, kind of device, measure and its version are columns beside the key. Kernels (--isa), threads, host and commit
// are told and do not count: they round differently at most, or are how and not what.
static void test_columns(void **state) {
    (void)state;
    hy_store *s;
    hy_claim c;
    int64_t id, first;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    hy_model_record r = model("k", 1);
    OK(hy_model_claim(s, &r, 0, &c, &first));
    settle_model(s, first, 2, NULL, NULL, NULL);
    OK(hy_model_claim(s, &r, 0, &c, &id));
    assert_int_equal(c, HY_CLAIM_DONE);
    hy_model_record same = r;
    same.by =
        (hy_provenance){.commit = "other", .build = "other", .dirty = true, .device_name = "another cpu", .threads = 7};
    same.variant = "another name", same.experiment = "another", same.grid = "g";
    OK(hy_model_claim(s, &same, 0, &c, &id));
    assert_int_equal(c, HY_CLAIM_DONE);
    hy_model_record others[] = {r, r, r};
    others[0].seed = 2;
    others[1].device = "cuda";
    strcpy(others[2].model_key, "k2");
    for (int i = 0; i < 3; i++) {
        OK(hy_model_claim(s, &others[i], 0, &c, &id));
        if (c != HY_CLAIM_NEW) fail_msg("case %d is taken for the same model", i);
    }
    const hy_measurement_record m = {
        .model_id = first, .measure = "accuracy", .version = 1, .options = "a: 1\n", .task = "t"};
    hy_measurement_record all[] = {m, m, m, m, m, m};
    all[1].measure = "erf", all[2].version = 2, all[3].options = "a: 2\n", all[4].task = "u", all[5].model_id = id;
    for (int i = 0; i < 6; i++) {
        OK(hy_measurement_claim(s, &all[i], 0, &c, &id));
        if (c != HY_CLAIM_NEW) fail_msg("case %d is taken for the same measurement", i);
    }
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- unique indices
// Copies a row of a table, with one column set to an expression; whether it was let in.
static bool let_in(hy_store *s, const char *table, const char *where, const char *column, const char *value) {
    hy_query *q;
    bool row;
    hy_buf names = {0}, values = {0};
    OK(hy_store_query(s, &q, "SELECT name, pk, type FROM pragma_table_info(?1)", "s", table));
    while (!hy_query_step(q, &row) && row) {
        const char *name = hy_query_text(q, 0);
        const bool id = !strcmp(name, "id");  // rows get a number of their own
        hy_buf_printf(&names, "%s%s", names.n ? ", " : "", name);
        hy_buf_printf(&values, "%s%s", values.n ? ", " : "",
                      id                                ? "NULL"
                      : column && !strcmp(name, column) ? value
                                                        : name);
    }
    hy_query_close(q);
    char *sql =
        hy_asprintf("INSERT INTO %s(%s) SELECT %s FROM %s WHERE %s LIMIT 1", table, names.s, values.s, table, where);
    const hy_status st = hy_store_exec(s, sql);
    if (!st && hy_store_changes(s) != 1) fail_msg("no row of %s where %s", table, where);
    if (st && !strstr(hy_error_text(), "UNIQUE")) fail_msg("%s: %s", sql, hy_error_text());
    free(names.s), free(values.s), free(sql);
    return !st;
}

// A row of every table.
static hy_store *one_of_each(void) {
    hy_store *s;
    int64_t id, m;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    claim_model(s, "k", 0, &id);
    settle_model(s, id, 2, NULL, NULL, NULL);
    claim_measure(s, id, "", 0, &m);
    settle_measure(s, m, 0.5, NULL);
    claim_model(s, "k", HY_CLAIM_FORCE, &id);
    claim_measure(s, 1, "", HY_CLAIM_FORCE, &m);
    const hy_planned_key key = {"accuracy", 1, "x"};
    const hy_planned_row plan = one_run(&key);
    const hy_paper_row paper = {"v", "p", 1};
    const hy_grid_row grid = {0, "train.lr", "1"};
    hy_experiment_record e = experiment_of(&plan);
    e.n_paper = e.n_grid = 1, e.paper = &paper, e.grid = &grid;
    OK(hy_experiment_store(s, &e, &id));
    OK(hy_store_exec(s, "PRAGMA foreign_keys = OFF"));
    return s;
}

static const struct {
    const char *table, *where, *columns;  // of the index
} unique[] = {
    {"model", "status = 'done'", "model_key seed device"},
    {"model", "status = 'running'", "model_key seed device"},
    {"measurement", "status = 'done' AND measure = 'accuracy'", "model_id measure version key"},
    {"measurement", "status = 'running'", "model_id measure version key"},
    {"metric_def", "1", "name version"},
    {"metric", "value = 0.5", "measurement_id def_id cell step final"},
    {"sample", "1", "metric_id rep"},
    {"artifact", "1", "measurement_id name"},
    {"curve", "1", "measurement_id step"},
    {"model_param", "1", "model_id path"},
    {"experiment", "1", "name scale sets"},
    {"planned", "1", "experiment_id ord"},
    {"planned_grid", "1", "experiment_id grid_ord path"},
    {"planned_measure", "1", "experiment_id ord measure version key"},
    {"paper", "1", "experiment_id variant name"},
};

static void test_unique_indices(void **state) {
    (void)state;
    hy_store *s = one_of_each();
    for (size_t i = 0; i < sizeof unique / sizeof unique[0]; i++) {
        if (let_in(s, unique[i].table, unique[i].where, NULL, NULL))
            fail_msg("%s: the same row twice", unique[i].table);
        for (const char *c = unique[i].columns; *c; c += strcspn(c, " "), c += *c == ' ') {
            char *column = hy_asprintf("%.*s", (int)strcspn(c, " "), c);
            const char *value = !strcmp(column, "final") ? "1 - final"
                                : strstr("seed version model_id measurement_id def_id "
                                         "step metric_id rep experiment_id ord grid_ord",
                                         column)
                                    ? "1000"
                                    : "'another'";
            if (!let_in(s, unique[i].table, unique[i].where, column, value))
                fail_msg("%s: a row with another %s is refused", unique[i].table, column);
            free(column);
        }
    }
    // an interrupted one is open as a running one is; a failed one is settled as a done one is
    assert_false(let_in(s, "model", "status = 'running' AND model_key = 'k'", "status", "'interrupted'"));
    assert_false(let_in(s, "model", "status = 'done' AND model_key = 'k'", "status", "'failed'"));
    assert_false(let_in(s, "measurement", "status = 'running'", "status", "'interrupted'"));
    assert_false(let_in(s, "measurement", "status = 'done' AND measure = 'accuracy'", "status", "'failed'"));
    assert_true(let_in(s, "model", "status = 'done' AND model_key = 'k'", "superseded_by", "2"));
    assert_true(let_in(s, "measurement", "status = 'done' AND measure = 'accuracy'", "superseded_by", "3"));
    // every unique index of the schema is in the list above: its own, of a constraint, and the keys of tables without
    // rowid
    NUMBER(s,
           "SELECT count(*) FROM sqlite_schema m, pragma_index_list(m.name) l WHERE m.type = 'table' AND l.\"unique\"",
           15);
    hy_store_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_specs),    T(test_recipes), T(test_tasks),          T(test_content),
        T(test_measures), T(test_columns), T(test_unique_indices),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
