// test_corpus.c - training on token shards: which windows there are, in which order, what is held out, what a set's
// identity is. The sets are written here, with an id for each place, so that an example tells where it is from.
#include "task_fixture.h"

#include "core/corpus/corpus_impl.h"
#include "core/exec/exec.h"
#include "core/spec/spec_read.h"
#include "results/identity.h"

// ---------------------------------------------------------------------------------------------------- sets
typedef struct {
    const int *lengths;               // tokens of each document
    int n, per_shard, vocab, change;  // change: of this token the id is another; 0: none
    bool wide;
} plan;

static void write_shard(const char *dir, hy_corpus_manifest *m, const plan *p, int from, int to, int *id,
                        hy_hasher *content) {
    hy_buf ids = {0}, entries = {0};
    hy_corpus_shard s = {.from = {.line = 1}};
    for (int i = from; i < to; i++) {
        const size_t before = ids.n;
        for (int k = 0; k < p->lengths[i]; k++, ++*id) {
            const uint32_t v = (uint32_t)(*id + (*id && *id == p->change ? 1 : 0));
            const uint16_t small = (uint16_t)v;
            hy_buf_write(&ids, m->width == 2 ? (const void *)&small : (const void *)&v, (size_t)m->width);
        }
        s.tokens += p->lengths[i], s.bytes += 3 * p->lengths[i] + i, s.documents++;
        const hy_corpus_entry e = {(uint64_t)s.tokens, (uint64_t)(3 * p->lengths[i] + i),
                                   hy_hash64(ids.s + before, ids.n - before)};
        hy_buf_write(&entries, &e, sizeof e);
        hy_corpus_content_add(content, (uint64_t)p->lengths[i], &e);
    }
    hy_hash_hex(ids.s, ids.n, s.tokens_hash);
    hy_hash_hex(entries.s, entries.n, s.documents_hash);
    char *path = hy_corpus_shard_path(dir, m->n_shards, "tokens");
    assert_int_equal(hy_file_write(path, ids.s, ids.n), HY_OK);
    free(path);
    path = hy_corpus_shard_path(dir, m->n_shards, "documents");
    assert_int_equal(hy_file_write(path, entries.s, entries.n), HY_OK);
    free(path);
    m->shards[m->n_shards++] = s;
    m->tokens += s.tokens, m->documents += s.documents, m->bytes += s.bytes;
    free(ids.s);
    free(entries.s);
}

// Token number i of the set has id i; document i has 3 n + i bytes.
static void write_set(const char *dir, const plan *p) {
    hy_corpus_manifest m = {.width = p->wide ? 4 : 2, .vocab = p->vocab, .finished = true};
    hy_hasher *content = hy_corpus_content_begin(m.width, m.vocab);
    int id = 0;
    m.tokenizer_kind = hy_xstrdup("bytes");
    m.settings = hy_xstrdup("{}");
    hy_hash_hex("tokenizer", 9, m.tokenizer_hash);
    m.shards = hy_xcalloc((size_t)p->n, sizeof *m.shards);
    for (int i = 0; i < p->n; i += p->per_shard)
        write_shard(dir, &m, p, i, i + p->per_shard < p->n ? i + p->per_shard : p->n, &id, content);
    hy_hasher_end(content, m.content);
    char *path = hy_asprintf("%s/" HY_CORPUS_MANIFEST, dir);
    assert_int_equal(hy_corpus_manifest_write(path, &m), HY_OK);
    free(path);
    hy_corpus_manifest_free(&m);
}

static char *new_set(const plan *p) {
    char *dir;
    assert_int_equal(hy_temp_folder("hylab-test-corpus", &dir), HY_OK);
    write_set(dir, p);
    return dir;
}

static void remove_set(char *dir) {
    char *command = hy_asprintf("rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    free(command);
    free(dir);
}

enum { DOCS = 60 };
static int lengths[DOCS], first[DOCS + 1];
static plan plan_of(int per_shard) {
    for (int i = 0; i < DOCS; i++) {
        lengths[i] = i % 7 == 3 ? 1 : 1 + (i * 37 + 5) % 41;
        first[i + 1] = first[i] + lengths[i];
    }
    return (plan){.lengths = lengths, .n = DOCS, .per_shard = per_shard, .vocab = 5000};
}

static int document_of(int32_t token) {
    int i = 0;
    while (token >= first[i + 1]) i++;
    return i;
}

static hy_task *open_set(const char *dir, const char *more, uint64_t seed) {
    char *options = hy_asprintf("path: %s\nvalidation: 0.2\ntuning: 0.1\n%s", dir, more);
    hy_task *t = open_task("text", options, seed);
    free(options);
    return t;
}

// Windows of a split: all indices of the cell, or as many as there are in a pass.
static int64_t in_pass(const int *in, hy_split s, int T) {
    int64_t n = 0;
    for (int i = 0; i < DOCS; i++)
        if (in[i] == (int)s && lengths[i] > 1) n += (lengths[i] - 2 + T) / T;
    return n;
}

// Where each document is, by the windows of evaluation and tuning; the rest is training's.
static void splits_of(const hy_task *t, int in[DOCS]) {
    for (int i = 0; i < DOCS; i++) in[i] = HY_SPLIT_TRAIN;
    for (int s = HY_SPLIT_EVAL; s <= HY_SPLIT_TUNE; s++)
        for (int64_t k = 0; k < hy_task_cell(t, (hy_split)s, 0)->count; k++) {
            example e = example_get(t, (hy_split)s, 0, k);
            in[document_of(e.ids[0])] = s;
            example_free(&e);
        }
}

// Adds what a window asks for to `asked`; it is inside one document, and what it sees is what stands before.
static void look_at_window(const example *e, int asked[], const int *in, hy_split s) {
    const int d = document_of(e->ids[0]);
    const bool padded = first[d + 1] - first[d] - 1 < e->T;
    bool ignored_before = true;
    assert_int_equal(in[d], s);
    for (int i = 0; i < e->T; i++) {
        if (padded && i >= lengths[d] - 1) {
            assert_int_equal(e->labels[i], HY_IGNORE);
            assert_int_equal(e->ids[i], 0);
            continue;
        }
        assert_int_equal(e->ids[i], e->ids[0] + i);
        assert_int_equal(document_of(e->ids[i] + 1), d);
        if (e->labels[i] == HY_IGNORE) {
            assert_true(ignored_before);  // only what the window before has
            continue;
        }
        ignored_before = false;
        assert_int_equal(e->labels[i], e->ids[i] + 1);
        asked[e->labels[i]]++;
    }
}

static void windows_of_documents(void **state) {
    (void)state;
    const plan p = plan_of(13);
    char *dir = new_set(&p);
    for (int c = 0; c < 3; c++) {
        static const int lengths_of_windows[] = {1, 7, 64};
        const int T = lengths_of_windows[c];
        char more[64];
        snprintf(more, sizeof more, "train: %d\ntest: %d", T, T);
        hy_task *t = open_set(dir, more, 3), *other = open_set(dir, more, 4);
        int in[DOCS], orders_differ = 0, seeds_differ = 0;
        splits_of(t, in);
        int count[HY_SPLITS] = {0};
        for (int i = 0; i < DOCS; i++) count[in[i]] += lengths[i] > 1;
        assert_true(count[0] > count[1] + count[2] && count[1] > 2 && count[2] > 0);
        for (int s = 0; s < HY_SPLITS; s++) {
            const int64_t n = in_pass(in, (hy_split)s, T);
            assert_int_equal(s == HY_SPLIT_TRAIN ? hy_task_pass(t, 0) : hy_task_cell(t, (hy_split)s, 0)->count, n);
            for (int pass = 0; pass < (s == HY_SPLIT_TRAIN ? 3 : 1); pass++) {
                int asked[5000] = {0};
                for (int64_t k = 0; k < n; k++) {
                    example e = example_get(t, (hy_split)s, 0, pass * n + k), f;
                    look_at_window(&e, asked, in, (hy_split)s);
                    if (s == HY_SPLIT_TRAIN) {
                        f = example_get(t, HY_SPLIT_TRAIN, 0, (pass + 1) * n + k);
                        orders_differ += e.ids[0] != f.ids[0];
                        example_free(&f);
                        f = example_get(other, HY_SPLIT_TRAIN, 0, pass * n + k);
                        seeds_differ += e.ids[0] != f.ids[0];
                        example_free(&f);
                    }
                    example_free(&e);
                }
                for (int i = 0; i < DOCS; i++)
                    for (int k = 0; k < lengths[i]; k++)
                        assert_int_equal(asked[first[i] + k], in[i] == s && k > 0);  // once each, but the first
            }
        }
        assert_true(orders_differ > 10 && seeds_differ > 10);
        hy_task_close(t);
        hy_task_close(other);
    }
    remove_set(dir);
}

// Rows of a batch are the examples in order, so who makes which rows of which batch does not matter.
static void batches_are_examples(void **state) {
    (void)state;
    const plan p = plan_of(60);
    char *dir = new_set(&p);
    hy_task *t = open_set(dir, "train: 9\ntest: 9", 5);
    int32_t ids[6 * 9], labels[6 * 9];
    for (int64_t step = 0; step < 40; step++) {
        int T;
        assert_int_equal(hy_task_batch(t, step, 6, ids, labels, &T), HY_OK);
        for (int b = 0; b < 6; b++) {
            example e = example_get(t, HY_SPLIT_TRAIN, 0, step * 6 + b);
            assert_memory_equal(e.ids, ids + b * 9, sizeof *ids * 9);
            assert_memory_equal(e.labels, labels + b * 9, sizeof *ids * 9);
            example_free(&e);
        }
    }
    hy_task_close(t);
    remove_set(dir);
}

// End to end: the tokens of the split's documents in order, each but the first asked for once in a pass.
static void packed_stream(void **state) {
    (void)state;
    const plan p = plan_of(11);
    char *dir = new_set(&p);
    hy_task *plain = open_set(dir, "train: 1\ntest: 1", 3), *t = open_set(dir, "pack: stream\ntrain: 10\ntest: 10", 3);
    int in[DOCS];
    splits_of(plain, in);
    for (int i = 0; i < DOCS; i++)
        if (lengths[i] == 1) in[i] = -1;  // no window of `plain` shows where these are
    for (int s = 0; s < HY_SPLITS; s++) {
        int next[5000], asked[5000] = {0}, crossed = 0;
        const int64_t n = s == HY_SPLIT_TRAIN ? 4000 : hy_task_cell(t, (hy_split)s, 0)->count;
        memset(next, -1, sizeof next);
        for (int64_t k = 0; k < n; k++) {
            example e = example_get(t, (hy_split)s, 0, k);
            for (int i = 0; i < e.T; i++) {
                const int d = document_of(e.ids[i]);
                if (in[d] == -1) in[d] = s;
                assert_int_equal(in[d], s);
                if (e.labels[i] == HY_IGNORE) continue;
                crossed += document_of(e.labels[i]) != d;
                assert_true(e.labels[i] > e.ids[i] && (next[e.ids[i]] == -1 || next[e.ids[i]] == e.labels[i]));
                if (document_of(e.labels[i]) == d) assert_int_equal(e.labels[i], e.ids[i] + 1);
                next[e.ids[i]] = e.labels[i];
                asked[e.labels[i]]++;
            }
            example_free(&e);
        }
        int starts = 0, least = INT_MAX, most = 0;
        for (int i = 0; i < DOCS; i++) {
            for (int k = 0; in[i] == s && k < lengths[i]; k++) {
                starts += !asked[first[i] + k];
                if (asked[first[i] + k] && asked[first[i] + k] < least) least = asked[first[i] + k];
                if (asked[first[i] + k] > most) most = asked[first[i] + k];
            }
        }
        assert_true(crossed > 0 && starts == 1);  // the very first token
        if (s != HY_SPLIT_TRAIN) assert_true(least == 1 && most == 1);
        if (s == HY_SPLIT_TRAIN) assert_true(most - least <= 1);  // 4000 windows are some passes and a part of one
    }
    hy_task_close(plain);
    hy_task_close(t);
    remove_set(dir);
}

static void crops_of_documents(void **state) {
    (void)state;
    const plan p = plan_of(60);
    char *dir = new_set(&p);
    hy_task *t = open_set(dir, "draw: crops\ntrain: 5\ntest: 5", 3);
    int in[DOCS], seen[5000] = {0};
    splits_of(t, in);
    for (int64_t k = 0; k < 60000; k++) {
        example e = example_get(t, HY_SPLIT_TRAIN, 0, k);
        const int d = document_of(e.ids[0]), n = lengths[d] - 1 < 5 ? lengths[d] - 1 : 5;
        assert_true(in[d] == HY_SPLIT_TRAIN && lengths[d] > 1);
        for (int i = 0; i < 5; i++) assert_int_equal(e.labels[i], i < n ? e.ids[0] + i + 1 : HY_IGNORE);
        seen[e.ids[0]]++;
        example_free(&e);
    }
    int places = 0;
    for (int i = 0; i < DOCS; i++)
        for (int k = 0; k < lengths[i]; k++)
            places += in[i] == HY_SPLIT_TRAIN && lengths[i] > 1 && (k == 0 || k + 5 < lengths[i]);
    for (int i = 0; i < DOCS; i++)
        for (int k = 0; k < lengths[i]; k++) {
            const double wanted = 60000.0 / places;
            if (in[i] == HY_SPLIT_TRAIN && lengths[i] > 1 && (k == 0 || k + 5 < lengths[i]))
                assert_true(fabs(seen[first[i] + k] - wanted) < 6 * sqrt(wanted));  // all places alike
            else
                assert_int_equal(seen[first[i] + k], 0);
        }
    hy_task_close(t);
    remove_set(dir);
}

// ---------------------------------------------------------------------------------------------------- held out
static void split_by_content(void **state) {
    (void)state;
    const plan p = plan_of(13);
    char *dir = new_set(&p);
    int in[DOCS], again[DOCS], moved = 0;
    hy_task *t = open_set(dir, "train: 4\ntest: 4", 3), *other = open_set(dir, "train: 4\ntest: 4", 9);
    splits_of(t, in);
    splits_of(other, again);
    assert_memory_equal(in, again, sizeof in);  // the run's seed has no say
    hy_task_close(other);
    other = open_set(dir, "train: 4\ntest: 4\nsplit_seed: 1", 3);
    splits_of(other, again);
    for (int i = 0; i < DOCS; i++) moved += in[i] != again[i];
    assert_true(moved > 5);
    hy_task_close(other);
    // the rule, from the ids
    double bytes = 0, tokens = 0;
    for (int i = 0; i < DOCS; i++) {
        uint16_t ids[64];
        for (int k = 0; k < lengths[i]; k++) ids[k] = (uint16_t)(first[i] + k);
        const double at = ldexp((double)(hy_mix64(hy_hash64(ids, 2 * (size_t)lengths[i]), 42) >> 11), -53);
        const hy_split s = at < 0.2 ? HY_SPLIT_EVAL : at < 0.3 ? HY_SPLIT_TUNE : HY_SPLIT_TRAIN;
        if (lengths[i] > 1) assert_int_equal(in[i], s);
        if (s == HY_SPLIT_EVAL) bytes += 3 * lengths[i] + i, tokens += lengths[i];
    }
    assert_true(fabs(hy_task_bytes_per_token(t) - bytes / tokens) < 1e-12);
    hy_task_close(t);
    remove_set(dir);
}

// ---------------------------------------------------------------------------------------------------- identity
static void keys_of(const char *dir, char model[33], char measurement[33]) {
    hy_task *t = open_set(dir, "train: 4\ntest: 4", 3);
    hy_buf text = {0};
    hy_task_text(t, &text);
    assert_non_null(strstr(text.s, dir));
    hy_model_identity("spec", "text", text.s, "steps: 1\n", "", model);
    hy_measurement_identity("options", text.s, measurement);
    free(text.s);
    hy_task_close(t);
}

static void identity_of_content(void **state) {
    (void)state;
    plan p = plan_of(13);
    char *dir = new_set(&p), a[2][33], b[2][33];
    keys_of(dir, a[0], a[1]);
    char *moved = hy_asprintf("%s-moved", dir);
    assert_int_equal(rename(dir, moved), 0);
    keys_of(moved, b[0], b[1]);
    assert_memory_equal(a, b, sizeof a);
    remove_set(moved);
    p.per_shard = 7;  // cut otherwise it is the same text
    write_set((mkdir(dir, 0777), dir), &p);
    keys_of(dir, b[0], b[1]);
    assert_memory_equal(a, b, sizeof a);
    p.change = 321;
    write_set(dir, &p);
    keys_of(dir, b[0], b[1]);
    assert_string_not_equal(a[0], b[0]);
    assert_string_not_equal(a[1], b[1]);
    remove_set(dir);
}

// ---------------------------------------------------------------------------------------------------- damage
static void damage(const char *dir, const char *file, long at) {
    char *path = hy_asprintf("%s/%s", dir, file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    const int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 4, f);
    fclose(f);
    free(path);
}

static void damaged_ids(void **state) {
    (void)state;
    const plan p = plan_of(20);
    char *dir = new_set(&p);
    damage(dir, "00001.tokens", 100);
    hy_task *t = open_set(dir, "train: 4\ntest: 4", 3);  // found when it is read
    int32_t ids[4], labels[4];
    int refused = 0;
    for (int64_t k = 0; k < 100; k++) {
        const hy_status s = hy_task_example(t, HY_SPLIT_TRAIN, 0, k, ids, labels);
        const int d = s ? 20 : document_of(ids[0]);
        if (s) assert_true(s == HY_EINPUT && strstr(hy_error_text(), "00001.tokens: damaged"));
        if (!s) assert_true(d < 20 || d >= 40);  // none of the damaged shard's
        refused += s != HY_OK;
    }
    assert_in_range(refused, 10, 60);
    hy_task_close(t);
    remove_set(dir);
}

static void damage_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *file;
        long at;
        const char *says;
    } cases[] = {{"00001.documents", 24, "00001.documents: damaged: its checksum is another"},
                 {"manifest.json", 70, "manifest.json: damaged or changed by hand"}};
    const plan p = plan_of(20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = new_set(&p);
        hy_corpus *c;
        damage(dir, cases[i].file, cases[i].at);
        assert_int_equal(hy_corpus_open(dir, &c), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), cases[i].says));
        remove_set(dir);
    }
    plan high = plan_of(60);  // whole, and wrong: an id at the vocabulary
    high.vocab = first[DOCS] - 1;
    char *dir = new_set(&high);
    hy_corpus *c;
    int32_t ids[4];
    assert_int_equal(hy_corpus_open(dir, &c), HY_OK);
    assert_int_equal(hy_corpus_ids(c, first[DOCS] - 5, 4, ids), HY_OK);
    assert_int_equal(hy_corpus_ids(c, first[DOCS] - 4, 4, ids), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "not below the vocabulary"));
    hy_corpus_close(c);
    remove_set(dir);
}

static void wide_ids(void **state) {
    (void)state;
    plan p = plan_of(9);
    p.wide = true, p.vocab = 100000;
    char *dir = new_set(&p);
    hy_corpus *c;
    assert_int_equal(hy_corpus_open(dir, &c), HY_OK);
    const int n = first[DOCS];
    int32_t *ids = hy_xcalloc((size_t)n, sizeof *ids);
    assert_int_equal(hy_corpus_ids(c, 0, (size_t)n, ids), HY_OK);  // across all shards
    for (int i = 0; i < n; i++) assert_int_equal(ids[i], i);
    for (int i = 0; i < DOCS; i++) {
        const hy_corpus_document d = hy_corpus_document_at(c, i);
        assert_true(d.from == first[i] && d.tokens == lengths[i] && d.bytes == 3 * lengths[i] + i);
    }
    free(ids);
    hy_corpus_close(c);
    remove_set(dir);
}

// ---------------------------------------------------------------------------------------------------- alone
typedef struct {
    double *nll;  // of each position of the row
    float *grad;  // of all parameters, one after the other
    size_t n_grad;
} pass;

static pass run_row(const hy_program *p, const hy_backend *be, int T, const int32_t *ids, const int32_t *labels) {
    const int m = p->spec.meta_tokens;
    pass r = {.nll = hy_xcalloc((size_t)T, sizeof *r.nll)};
    int32_t *full = hy_xcalloc(2 * (size_t)(m + T), sizeof *full), *wanted = full + m + T;
    hy_params *w;
    hy_exec *e;
    hy_ids_with_meta(1, T, m, ids, 0, full);
    hy_ids_with_meta(1, T, m, labels, HY_IGNORE, wanted);
    assert_int_equal(hy_params_create(p, be, HY_F64, &w), HY_OK);
    assert_int_equal(hy_params_init(w, 4), HY_OK);
    assert_int_equal(hy_params_want_grad(w), HY_OK);
    assert_int_equal(hy_exec_create(p, be, HY_F64, HY_EXEC_TRAIN, 1, m + T, 0, &e), HY_OK);
    const hy_batch b = {.B = 1, .T = m + T, .ids = full, .labels = wanted};
    assert_int_equal(hy_exec_forward(e, w, &b, NULL, HY_HEAD_LOSS, NULL), HY_OK);
    assert_int_equal(hy_exec_backward(e, w, 1, NULL), HY_OK);
    for (int i = 0; i < T; i++) r.nll[i] = (double)hy_exec_nll(e)[m + i];
    for (int i = 0; i < p->n_params; i++) {
        r.grad = hy_xrealloc(r.grad, (r.n_grad + p->params[i].n) * sizeof *r.grad);
        assert_int_equal(hy_params_get(w, i, true, r.grad + r.n_grad), HY_OK);
        r.n_grad += p->params[i].n;
    }
    hy_exec_free(e);
    hy_params_free(w);
    free(full);
    return r;
}

// A short document in a padded row: losses and gradients are those of the document by itself.
static void documents_by_themselves(void **state) {
    (void)state;
    static const char *const files[] = {"variants/llama.yaml", "variants/hymba.yaml", "variants/hymba2.yaml",
                                        "variants/jamba.yaml"};
    const char *const sets[] = {"vocab=1400", "d_model=16", "init.std=0.2", NULL};
    const plan p = plan_of(60);
    char *dir = new_set(&p);
    hy_task *t = open_set(dir, "train: 50\ntest: 50", 3);
    hy_backend be;
    assert_int_equal(hy_backend_cpu("ref", 1, &be), HY_OK);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
        hy_program *program;
        if (hy_spec_load(files[f], sets, spec)) fail_msg("%s", hy_error_text());
        assert_int_equal(hy_model_build(spec, &program), HY_OK);
        for (int64_t k = 0; k < 2; k++) {
            example e = example_get(t, HY_SPLIT_TRAIN, 0, k);
            const int n = labelled(&e);
            assert_in_range(n, 1, 49);
            pass padded = run_row(program, &be, 50, e.ids, e.labels), alone = run_row(program, &be, n, e.ids, e.labels);
            double largest = 0, apart = 0;
            for (int i = 0; i < 50; i++) assert_true(fabs(padded.nll[i] - (i < n ? alone.nll[i] : 0)) < 1e-6);
            assert_int_equal(padded.n_grad, alone.n_grad);
            for (size_t i = 0; i < alone.n_grad; i++) {
                largest = fmax(largest, fabs((double)alone.grad[i]));
                apart = fmax(apart, fabs((double)alone.grad[i] - (double)padded.grad[i]));
            }
            assert_true(largest > 0 && apart <= 1e-6 * largest);
            free(padded.nll), free(padded.grad), free(alone.nll), free(alone.grad);
            example_free(&e);
        }
        hy_program_free(program);
        free(spec);
    }
    hy_task_close(t);
    remove_set(dir);
}

// ---------------------------------------------------------------------------------------------------- orders
static void permutations(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4097};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const uint64_t n = (uint64_t)sizes[i];
        uint8_t *hit = hy_xcalloc(n, 1);
        uint64_t same = 0, fixed = 0;
        for (uint64_t k = 0; k < n; k++) {
            const uint64_t at = hy_permuted(7, n, k);
            assert_true(at < n && !hit[at]);
            hit[at] = 1;
            same += at == hy_permuted(8, n, k);
            fixed += at == k;
        }
        if (n > 100) assert_true(same < 10 && fixed < 10);  // 1 is expected of each
        free(hit);
    }
    // each of three goes everywhere about as often
    int at[3][3] = {{0}};
    for (uint64_t key = 0; key < 3000; key++)
        for (uint64_t k = 0; k < 3; k++) at[k][hy_permuted(key, 3, k)]++;
    for (int k = 0; k < 9; k++) assert_in_range(at[k / 3][k % 3], 850, 1150);
    assert_true(hy_permuted(1, 1ull << 40, 12345) < 1ull << 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permutations),
        cmocka_unit_test(windows_of_documents),
        cmocka_unit_test(batches_are_examples),
        cmocka_unit_test(packed_stream),
        cmocka_unit_test(crops_of_documents),
        cmocka_unit_test(split_by_content),
        cmocka_unit_test(identity_of_content),
        cmocka_unit_test(damaged_ids),
        cmocka_unit_test(documents_by_themselves),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(wide_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
