// test_likelihood.c - log-likelihoods of given tokens: what they mean, by a plain log-softmax of the logits; and that
// an item has the same bits whatever is asked beside it, in whole, in chunks and token by token, from a shared prefix
// or not, on any number of threads.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/exec/generate.h"
#include "core/exec/likelihood.h"
#include "core/spec/spec_read.h"

enum { V = 61, ITEMS = 11, MOST = 100 };
static const char *const files[] = {"variants/llama.yaml", "variants/mamba.yaml",    "variants/mamba2.yaml",
                                    "variants/hymba.yaml", "variants/hymba2.yaml",   "variants/samba.yaml",
                                    "variants/jamba.yaml", "variants/falcon-h1.yaml"};
enum { FILES = sizeof files / sizeof *files, SAME_BITS = 5 };  // the first ones: their bits too

typedef struct {
    hy_model_spec *spec;
    hy_backend be;
    hy_program *p;
    hy_params *w;
} subject;

static void open_subject(subject *s, const char *file, const char *isa, int threads, bool by_token) {
    const char *const sets[] = {"vocab=61", "d_model=48", "init.std=0.2", NULL};
    s->spec = hy_xcalloc(1, sizeof *s->spec);
    if (hy_spec_load(file, sets, s->spec)) fail_msg("%s", hy_error_text());
    for (int i = 0; i < s->spec->n_layers; i++)
        if (s->spec->layers[i].window) s->spec->layers[i].window = 6;
    assert_int_equal(hy_model_build(s->spec, &s->p), HY_OK);
    assert_int_equal(hy_backend_cpu(isa, threads, &s->be), HY_OK);
    s->be.by_token = by_token;
    assert_int_equal(hy_params_create(s->p, &s->be, HY_F32, &s->w), HY_OK);
    assert_int_equal(hy_params_init(s->w, 4), HY_OK);
}
static void close_subject(subject *s) {
    hy_params_free(s->w);
    hy_program_free(s->p);
    free(s->spec);
}

// Contexts of 1 to 80 tokens, continuations of 1 to 9; the last ones in threes with the same context.
static int32_t text[ITEMS][MOST];
static void make_items(hy_likelihood_item *items) {
    hy_rng r = hy_rng_make(8, 8);
    for (int i = 0; i < ITEMS; i++) {
        const bool again = i >= 6 && i % 3;
        const int first = again ? items[i - 1].first : 1 + (i * 53) % 80, n = first + 1 + (i * 7) % 9;
        for (int t = 0; t < n; t++) text[i][t] = again && t < first ? text[i - 1][t] : (int32_t)hy_rng_below(&r, V);
        items[i] = (hy_likelihood_item){.ids = text[i], .n = n, .first = first};
    }
}

static void score(const subject *s, int batch, int rows, int n, hy_likelihood_item *items) {
    const hy_likelihood_opts o = {.batch = batch, .rows = rows};
    if (hy_likelihood(s->p, s->w, &o, n, items)) fail_msg("%s", hy_error_text());
}

// ---------------------------------------------------------------------------------------------------- what it is
static void by_logits(const subject *s, const hy_likelihood_item *it, double *sum, bool *greedy) {
    const int m = s->spec->meta_tokens, T = m + it->n - 1;
    int32_t *ids = hy_xcalloc((size_t)T, sizeof *ids);
    int *rows = hy_xcalloc((size_t)it->n, sizeof *rows), n_out = it->n - it->first;
    hy_exec *e;
    hy_ids_with_meta(1, it->n - 1, m, it->ids, 0, ids);
    for (int i = 0; i < n_out; i++) rows[i] = m + it->first - 1 + i;
    assert_int_equal(hy_exec_create(s->p, &s->be, HY_F32, HY_EXEC_INFER, 1, T, n_out, &e), HY_OK);
    const hy_batch b = {.B = 1, .T = T, .ids = ids, .out_rows = rows, .n_out = n_out};
    if (hy_exec_forward(e, s->w, &b, NULL, HY_HEAD_LOGITS, NULL)) fail_msg("%s", hy_error_text());
    const float *l = hy_exec_logits(e);
    *sum = 0, *greedy = true;
    for (int i = 0; i < n_out; i++, l += V) {
        double z = 0;
        int best = 0;
        for (int v = 0; v < V; v++) z += exp((double)l[v]);
        for (int v = 1; v < V; v++) best = l[v] > l[best] ? v : best;
        *sum += (double)l[it->ids[it->first + i]] - log(z);
        *greedy = *greedy && best == it->ids[it->first + i];
    }
    hy_exec_free(e);
    free(ids);
    free(rows);
}

static void meaning(void **state) {
    (void)state;
    hy_likelihood_item items[ITEMS];
    for (int f = 0; f < FILES; f++) {
        subject s;
        open_subject(&s, files[f], NULL, 2, false);
        make_items(items);
        // one continuation that is greedy
        const int32_t *prompt = text[3];
        const uint64_t seed = 1;
        int n;
        const hy_sample_spec greedy = {.max_new = 3, .top_p = 1};
        if (hy_generate(s.p, s.w, 1, &prompt, &items[3].first, &seed, &greedy, NULL, NULL, text[3] + items[3].first,
                        &n))
            fail_msg("%s", hy_error_text());
        items[3].n = items[3].first + 3;
        score(&s, 0, 0, ITEMS, items);
        for (int i = 0; i < ITEMS; i++) {
            double sum;
            bool is_greedy;
            by_logits(&s, &items[i], &sum, &is_greedy);
            if (!(fabs(items[i].sum - sum) <= 2e-5 * (1 - sum)) || items[i].greedy != is_greedy)
                fail_msg("%s, item %d: %.9g, %d instead of %.9g, %d", files[f], i, items[i].sum, items[i].greedy, sum,
                         is_greedy);
        }
        assert_true(items[3].greedy);
        close_subject(&s);
    }
}

// ---------------------------------------------------------------------------------------------------- the same bits
static void assert_same(const char *file, const char *isa, const char *how, int n, const hy_likelihood_item *a,
                        const hy_likelihood_item *b) {
    for (int i = 0; i < n; i++)
        if (memcmp(&a[i].sum, &b[i].sum, sizeof a[i].sum) || a[i].greedy != b[i].greedy)
            fail_msg("%s, %s, %s: item %d (%d of %d tokens) has %.17g, together %.17g", file,
                     isa ? isa : "the best path", how, i, b[i].n, b[i].first, b[i].sum, a[i].sum);
}

// Each token that is asked for as an item of its own, whose context is all before it: from the first to the last.
static void one_by_one(const subject *s, const hy_likelihood_item *all, hy_likelihood_item *out) {
    for (int i = 0; i < ITEMS; i++) {
        hy_likelihood_item each[MOST];
        const int n = all[i].n - all[i].first;
        for (int t = 0; t < n; t++)
            each[t] = (hy_likelihood_item){.ids = all[i].ids, .n = all[i].first + t + 1, .first = all[i].first + t};
        score(s, 4, 64, n, each);
        out[i] = (hy_likelihood_item){.ids = all[i].ids, .n = all[i].n, .first = all[i].first, .greedy = true};
        for (int t = 0; t < n; t++) {
            out[i].sum -= -each[t].sum;
            out[i].greedy = out[i].greedy && each[t].greedy;
        }
    }
}

static void check_bits(const char *file, const char *isa) {
    hy_likelihood_item all[ITEMS], other[ITEMS];
    const struct {
        const char *how;
        int threads, batch, rows;
    } ways[] = {{"one thread", 1, 0, 0},
                {"batches of 5 in chunks", 2, 5, 37},
                {"each alone, whole", 2, 1, 1024},
                {"each alone, in chunks of 33", 3, 1, 33},
                {"each alone, token by token", 1, 1, 1},
                {"a batch, token by token", 2, 16, 16}};
    subject s;
    open_subject(&s, file, isa, 2, true);
    make_items(all);
    score(&s, 0, 0, ITEMS, all);
    one_by_one(&s, all, other);
    assert_same(file, isa, "each token asked for alone", ITEMS, all, other);
    close_subject(&s);
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        open_subject(&s, file, isa, ways[k].threads, true);
        make_items(other);
        if (ways[k].batch == 1)
            for (int i = 0; i < ITEMS; i++) score(&s, 1, ways[k].rows, 1, &other[i]);
        else
            score(&s, ways[k].batch, ways[k].rows, ITEMS, other);
        assert_same(file, isa, ways[k].how, ITEMS, all, other);
        close_subject(&s);
    }
}

static void same_bits(void **state) {
    (void)state;
    for (int f = 0; f < SAME_BITS; f++) check_bits(files[f], NULL);
    for (int f = 2; f < 4; f++) {  // Mamba-2 and Hymba on the others
        if (hy_isa_best() > HY_ISA_AVX2) check_bits(files[f], "avx2");
        if (hy_isa_best() > HY_ISA_BASE) check_bits(files[f], "base");
    }
}

// ---------------------------------------------------------------------------------------------------- refusals
static void refusals(void **state) {
    (void)state;
    subject s;
    open_subject(&s, "variants/llama.yaml", NULL, 1, true);
    static const int32_t ids[] = {5, 6, 61};
    const struct {
        hy_likelihood_item item;
        const char *said;
    } bad[] = {{{.ids = ids, .n = 2, .first = 0}, "item 2: 2 tokens of which those from 0 on"},
               {{.ids = ids, .n = 2, .first = 2}, "at least one must be given and one asked for"},
               {{.ids = ids, .n = 3, .first = 1}, "item 2, token 2: 61 is outside the vocabulary 0 .. 60"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hy_likelihood_item items[] = {{.ids = ids, .n = 2, .first = 1}, bad[i].item};
        assert_int_equal(hy_likelihood(s.p, s.w, NULL, 2, items), HY_EINPUT);
        if (!strstr(hy_error_text(), bad[i].said)) fail_msg("%s", hy_error_text());
    }
    assert_int_equal(hy_likelihood(s.p, s.w, NULL, 0, NULL), HY_OK);
    float *embed = hy_params_ptr(s.w, hy_program_find_param(s.p, "embed"), false);  // tied: of the logits too
    embed[3] = NAN;
    hy_likelihood_item item = {.ids = ids, .n = 2, .first = 1};
    assert_int_equal(hy_likelihood(s.p, s.w, NULL, 1, &item), HY_EDIVERGED);
    assert_non_null(strstr(hy_error_text(), "likelihood of token 6 is no number"));
    close_subject(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(meaning), cmocka_unit_test(same_bits),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
