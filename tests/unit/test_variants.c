// test_variants.c - one test over every file of variants/ and every folder of tests/golden/ (with its own weights): the
// model is the same whole, in chunks, token by token, and in a padded batch; its cache is what the formula says; its
// parameters are what the count says; a resumed run and any number of threads give the same bits. Models are shrunk
// (never their structure) so that rings wrap and the test is quick.
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/family/import.h"
#include "core/spec/spec_read.h"
#include "core/train/train.h"
#include "tests/unit/kernel_memory.h"

// Largest difference of a logit, relative to the largest logit: float32 sums in another order.
static const double TOL_SAME = 2e-5;

enum { TEXT = 41, V = 61, SMALL = 40 };

// In the CUDA mode: the GPU, whatever the number of threads.
static void open_backend(hy_backend *be, int threads) {
    if (KT_CUDA)
        *be = *kt_device();
    else
        assert_int_equal(hy_backend_cpu(NULL, threads, be), HY_OK);
}

// The emulated GPU takes seconds for what takes a CPU milliseconds: there models are narrow, and a few variants stand
// for all.
static bool emulated(void) { return KT_CUDA && strstr(kt_device()->device, "emulated"); }

static char *files[256];
static int n_files;

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_folder(const char *path) {
    char *config = hy_asprintf("%s/config.json", path);
    const bool yes = hy_file_exists(config);
    free(config);
    return yes;
}

static void find(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        const size_t n = strlen(e->d_name);
        char *path = hy_asprintf("%s/%s", dir, e->d_name);
        if (n_files < 256 && e->d_name[0] != '.' && ((n > 5 && !strcmp(e->d_name + n - 5, ".yaml")) || is_folder(path)))
            files[n_files++] = path;
        else
            free(path);
    }
    closedir(d);
}

static int least(int a, int b) { return a < b ? a : b; }

// Narrower and shorter, the structure untouched: mixers, windows (smaller), groups, heads, fusion, norms.
static void shrink(hy_model_spec *m) {
    const int d = m->d_model;
    m->vocab = V;
    m->meta_tokens = least(m->meta_tokens, 3);
    m->max_len = least(m->max_len, 256);
    m->orig_len = least(m->orig_len, 64);
    // a product neither shrinks nor blows up what it is given, so that rounding is not amplified layer by layer
    m->init_std = 1.0 / sqrt(d <= 192 && m->n_layers <= 16 && !emulated() ? d : SMALL);
    if (d <= 192 && m->n_layers <= 16 && !emulated()) {
        for (int i = 0; i < m->n_layers; i++) m->layers[i].window = least(m->layers[i].window, 7);
        return;
    }
    m->d_model = SMALL;
    for (int i = 0; i < m->n_layers; i++) {
        hy_layer_spec *l = &m->layers[i];
        if (l->window) l->window = 5;
        const int ratio = l->heads ? l->heads / l->kv_heads : 1;
        if (l->heads) {
            l->kv_heads = least(l->kv_heads, 2);
            const int wide = l->d_v > l->d_qk;
            l->heads = l->kv_heads * least(ratio, 3);
            l->d_qk = 8;
            l->d_v = wide ? 16 : 8;
        }
        if (l->d_inner) {
            l->d_inner =
                l->heads && hy_fusion_same_width(l->fusion) && l->mixer == HY_MIXER_PARALLEL ? l->heads * l->d_v : 48;
            l->d_state = least(l->d_state, 5);
            if (l->dt_rank) l->dt_rank = 3;
            if (l->head_dim) l->head_dim = 8, l->groups = least(l->groups, 2);
        }
        if (l->mlp) l->d_ff = 24;
    }
}

typedef struct {
    hy_model_spec spec;
    hy_program *p;
    hy_backend be;
    hy_params *w;
    int m, vocab;
    int32_t ids[4][TEXT];
} subject;

// A released folder as it is: its own sizes and weights.
static void open_folder(subject *s, const char *path) {
    hy_import *im;
    hy_import_map map;
    if (hy_import_open(path, &im)) fail_msg("%s: %s", path, hy_error_text());
    s->spec = im->spec;
    if (hy_model_build(&s->spec, &s->p)) fail_msg("%s: %s", path, hy_error_text());
    assert_int_equal(hy_params_create(s->p, &s->be, HY_F32, &s->w), HY_OK);
    if (hy_import_map_make(im->family, s->p, &map)) fail_msg("%s: %s", path, hy_error_text());
    if (hy_import_weights(im, &map, s->w, NULL)) fail_msg("%s: %s", path, hy_error_text());
    hy_import_map_free(&map);
    hy_import_close(im);
}

static void open_variant(subject *s, const char *file) {
    if (hy_spec_load(file, NULL, &s->spec)) fail_msg("%s: %s", file, hy_error_text());
    shrink(&s->spec);
    if (hy_model_build(&s->spec, &s->p)) fail_msg("%s: %s", file, hy_error_text());
    assert_int_equal(hy_params_create(s->p, &s->be, HY_F32, &s->w), HY_OK);
    assert_int_equal(hy_params_init(s->w, 5), HY_OK);
}

static void open_subject(subject *s, const char *file, int threads) {
    memset(s, 0, sizeof *s);
    open_backend(&s->be, threads);
    if (is_folder(file))
        open_folder(s, file);
    else
        open_variant(s, file);
    s->m = s->spec.meta_tokens;
    s->vocab = s->spec.vocab;
    assert_true(s->vocab <= V);
    hy_rng r = hy_rng_make(9, 1);
    for (int b = 0; b < 4; b++)
        for (int t = 0; t < TEXT; t++) s->ids[b][t] = (int32_t)hy_rng_below(&r, (uint64_t)s->vocab);
}

static void close_subject(subject *s) {
    hy_params_free(s->w);
    hy_program_free(s->p);
}

// Logits of every text position of one sequence, fed in the given chunks (meta tokens first). chunks NULL: whole, no
// state.
static void logits_of(subject *s, int seq, const int *chunks, int n_chunks, float *out) {
    const int total = s->m + TEXT;
    int32_t full[TEXT + 8];
    int rows[TEXT + 8];
    hy_ids_with_meta(1, TEXT, s->m, s->ids[seq], 0, full);
    hy_exec *e;
    hy_state *st = NULL;
    if (hy_exec_create(s->p, &s->be, HY_F32, HY_EXEC_INFER, 1, total, total, &e)) fail_msg("%s", hy_error_text());
    if (chunks) assert_int_equal(hy_state_create(s->p, &s->be, HY_F32, 1, TEXT, &st), HY_OK);
    const size_t row = (size_t)s->vocab;
    float *all = hy_xcalloc((size_t)total * row, sizeof *all);
    for (int at = 0, i = 0; at < total; i++) {
        const int n = chunks ? least(chunks[i % n_chunks], total - at) : total;
        for (int t = 0; t < n; t++) rows[t] = t;
        const hy_batch b = {.B = 1, .T = n, .ids = full + at, .out_rows = rows, .n_out = n};
        if (hy_exec_forward(e, s->w, &b, st, HY_HEAD_LOGITS, NULL)) fail_msg("%s", hy_error_text());
        memcpy(all + (size_t)at * row, hy_exec_logits(e), (size_t)n * row * sizeof *all);
        at += n;
    }
    memcpy(out, all + (size_t)s->m * row, (size_t)TEXT * row * sizeof *all);
    free(all);
    hy_exec_free(e);
    hy_state_free(st);
}

static void same_in_pieces(void **state) {
    (void)state;
    static float whole[TEXT * V], part[TEXT * V];
    static const int odd[] = {1, 5, 2, 13, 8}, one[] = {1}, two[] = {29, 100};
    const struct {
        const char *what;
        const int *c;
        int n;
    } ways[] = {{"chunks of 1, 5, 2, 13, 8", odd, 5}, {"token by token", one, 1}, {"two chunks", two, 2}};
    for (int f = 0; f < n_files; f++) {
        static subject s;
        open_subject(&s, files[f], 2);
        logits_of(&s, 0, NULL, 0, whole);
        for (size_t k = 0; k < 3; k++) {
            logits_of(&s, 0, ways[k].c, ways[k].n, part);
            const double d = kt_difference(part, whole, (size_t)(TEXT * s.vocab));
            if (!(d <= TOL_SAME))
                fail_msg("%s, %s: logits differ by %.2e from the whole sequence", files[f], ways[k].what, d);
        }
        close_subject(&s);
    }
}

// Sequences of different lengths in one batch of `total` positions, prefill then four single tokens. One that fills it
// is told no lengths: there is no padding that it could take part of.
static void batch_logits(subject *s, int B, int total, const int *which, const int *len, float *out) {
    const int new = 4;
    static int32_t full[4 * (TEXT + 8)], ids[4 * (TEXT + 8)];
    int32_t lens[4];
    int rows[4];
    hy_exec *e, *one;
    hy_state *st;
    for (int b = 0; b < B; b++) {
        hy_ids_with_meta(1, total - s->m, s->m, s->ids[which[b]], 0, full + b * total);
        for (int t = 0; t < total; t++) ids[b * total + t] = full[b * total + t];
        lens[b] = s->m + len[b];
        rows[b] = b * total + lens[b] - 1;
    }
    assert_int_equal(hy_exec_create(s->p, &s->be, HY_F32, HY_EXEC_INFER, B, total, B, &e), HY_OK);
    assert_int_equal(hy_exec_create(s->p, &s->be, HY_F32, HY_EXEC_INFER, B, 1, B, &one), HY_OK);
    assert_int_equal(hy_state_create(s->p, &s->be, HY_F32, B, TEXT + new, &st), HY_OK);
    const bool fills = B == 1 && lens[0] == total;
    hy_batch b = {.B = B, .T = total, .ids = ids, .len = fills ? NULL : lens, .out_rows = rows, .n_out = B};
    if (hy_exec_forward(e, s->w, &b, st, HY_HEAD_LOGITS, NULL)) fail_msg("%s", hy_error_text());
    const size_t row = (size_t)s->vocab;
    memcpy(out, hy_exec_logits(e), (size_t)B * row * sizeof *out);
    for (int i = 0; i < new; i++) {
        int32_t next[4];
        for (int k = 0; k < B; k++) {
            next[k] = (which[k] * 7 + i * 3) % s->vocab;
            rows[k] = k;
        }
        const hy_batch d = {.B = B, .T = 1, .ids = next, .out_rows = rows, .n_out = B};
        if (hy_exec_forward(one, s->w, &d, st, HY_HEAD_LOGITS, NULL)) fail_msg("%s", hy_error_text());
        memcpy(out + (size_t)(i + 1) * (size_t)B * row, hy_exec_logits(one), (size_t)B * row * sizeof *out);
    }
    hy_exec_free(e);
    hy_exec_free(one);
    hy_state_free(st);
}

static void same_in_a_batch(void **state) {
    (void)state;
    static float many[5 * 4 * V], alone[5 * V];
    const int which[] = {0, 1, 2, 3}, len[] = {TEXT, 17, 1, 30};
    int exact = 0, all = 0;
    for (int f = 0; f < n_files; f++) {
        static subject s;
        open_subject(&s, files[f], 2);
        batch_logits(&s, 4, s.m + TEXT, which, len, many);
        for (int b = 0; b < 4; b++) {
            batch_logits(&s, 1, s.m + len[b], &which[b], &len[b], alone);
            for (int i = 0; i < 5; i++) {
                const size_t row = (size_t)s.vocab;
                const float *x = many + ((size_t)i * 4 + (size_t)b) * row, *y = alone + (size_t)i * row;
                const double d = kt_difference(x, y, row);
                if (!(d <= TOL_SAME))
                    fail_msg("%s: sequence %d of %d tokens, step %d: %.2e from the same alone", files[f], b, len[b], i,
                             d);
                exact += !memcmp(x, y, row * sizeof *x);
                all++;
            }
        }
        close_subject(&s);
    }
    print_message("padded batch: %d of %d rows of logits are the same bits as alone\n", exact, all);
}

static void formulas(void **state) {
    (void)state;
    for (int f = 0; f < n_files; f++) {
        static subject s;
        open_subject(&s, files[f], 1);
        hy_param_count c;
        int64_t n = 0;
        hy_model_count(&s.spec, &c);
        for (int i = 0; i < s.p->n_params; i++) n += (int64_t)s.p->params[i].n;
        if (n != c.total)
            fail_msg("%s: the count says %lld parameters, the program has %lld", files[f], (long long)c.total,
                     (long long)n);
        for (int tokens = 1; tokens < 60; tokens += 29) {
            hy_cache_bytes sum;
            hy_state *st;
            hy_model_cache(&s.spec, HY_CACHE_TRUE, tokens, 4, 4, 4, NULL, &sum);
            assert_int_equal(hy_state_create(s.p, &s.be, HY_F32, 1, tokens, &st), HY_OK);
            if ((double)hy_state_bytes(st) != sum.total)
                fail_msg("%s, %d tokens: formula %.0f bytes, allocated %zu", files[f], tokens, sum.total,
                         hy_state_bytes(st));
            hy_state_free(st);
        }
        close_subject(&s);
    }
}

// ---------------------------------------------------------------------------------------------------- training
static void train_bits(const subject *s, int threads, int steps, bool resume, hy_task *task, float *out) {
    hy_backend be;
    hy_train_spec t;
    hy_trainer *tr;
    hy_train_point p;
    char path[] = "/tmp/hylab-variants-XXXXXX";
    open_backend(&be, threads);
    hy_fields_default(hy_train_fields, &t);
    t.steps = steps;
    t.batch = 3;
    if (hy_trainer_create(s->p, &be, HY_F32, &t, task, 17, &tr)) fail_msg("%s", hy_error_text());
    for (int i = 0; i < steps; i++) {
        if (hy_trainer_step(tr, &p)) fail_msg("%s: %s", s->spec.name, hy_error_text());
        if (!resume || i != steps / 2) continue;
        const int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        if (hy_trainer_save(tr, path)) fail_msg("%s", hy_error_text());
        hy_trainer_free(tr);
        assert_int_equal(hy_trainer_create(s->p, &be, HY_F32, &t, task, 17, &tr), HY_OK);
        if (hy_trainer_load(tr, path)) fail_msg("%s", hy_error_text());
        unlink(path);
    }
    for (int i = 0; i < s->p->n_params; i++)
        assert_int_equal(hy_params_get(hy_trainer_params(tr), i, false, out + s->p->params[i].offset), HY_OK);
    hy_trainer_free(tr);
}

static void same_bits(void **state) {
    (void)state;
    hy_task *task;
    if (hy_task_open("mqar", "vocab: 60\ntrain: [[24, 3]]\ntest: [[24, 3]]\n", 3, &task))
        fail_msg("%s", hy_error_text());
    for (int f = 0; f < n_files; f++) {
        static subject s;
        if (is_folder(files[f])) continue;  // trains from random weights: the variants say it all
        open_subject(&s, files[f], 1);
        const size_t n = s.p->param_elems;
        float *one = hy_xcalloc(n * 2, sizeof *one), *other = one + n;
        train_bits(&s, 1, 3, false, task, one);
        train_bits(&s, 2, 3, false, task, other);
        if (memcmp(one, other, n * sizeof *one))
            fail_msg("%s: 1 and 2 threads give different weights after 3 steps", files[f]);
        train_bits(&s, 2, 3, true, task, other);
        if (memcmp(one, other, n * sizeof *one)) fail_msg("%s: a resumed run gives other weights", files[f]);
        free(one);
        close_subject(&s);
    }
    hy_task_close(task);
}

int main(int argc, char **argv) {
    if (argc > 1)
        files[n_files++] = argv[1];  // one file alone: for a closer look
    else {
        if (!emulated()) find("variants"), find("variants/paper");
        find("tests/golden");
        static const char *const few[] = {"hymba", "hymba2", "falcon-h1", "samba", "mamba-mlp", "llama-qk-norm"};
        for (size_t i = 0; emulated() && i < sizeof few / sizeof *few; i++)
            files[n_files++] = hy_asprintf("variants/%s.yaml", few[i]);
    }
    qsort(files, (size_t)n_files, sizeof *files, by_name);
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_in_pieces), cmocka_unit_test(same_in_a_batch),
                                       cmocka_unit_test(formulas), cmocka_unit_test(same_bits)};
    if (!n_files) {
        fprintf(stderr, "no variants found: run from the project's folder\n");
        return 1;
    }
    const int rc = kt_group(tests);
    for (int i = 0; i < n_files; i++)
        if (argc < 2) free(files[i]);
    return rc;
}
