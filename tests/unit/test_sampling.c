// test_sampling.c - what is drawn from logits, stated a second time: the probability of every token under temperature,
// top_k and top_p, and exact bounds on how often each may come; decoding as running the whole text again for every
// token; and the figures of an evaluation, from the logits of one sequence at a time.
#include "core/exec/generate.h"
#include "tests/unit/recipe_fixture.h"

// ---------------------------------------------------------------------------------------------------- probabilities
enum { MOST_V = 64 };

// The place of token i among all, likeliest first, equal logits by number.
static int rank_of(const float *logits, int V, int i) {
    int n = 0;
    for (int j = 0; j < V; j++) n += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
    return n;
}

// What each token's probability is: softmax of logits / temperature over the k first; of these the fewest, from the
// first on, that together have at least top_p of it; over those again.
static void probabilities(const float *logits, int V, const hy_sample_spec *s, double *p) {
    int at[MOST_V];  // the token of each rank
    for (int i = 0; i < V; i++) at[rank_of(logits, V, i)] = i, p[i] = 0;
    if (s->temperature <= 0) {
        p[at[0]] = 1;
        return;
    }
    const int k = s->top_k > 0 && s->top_k < V ? s->top_k : V;
    double sum = 0, kept = 0;
    int n = 0;
    for (int i = 0; i < k; i++) sum += exp((logits[at[i]] - logits[at[0]]) / s->temperature);
    while (n < k && (n == 0 || s->top_p >= 1 || kept < s->top_p * sum))
        kept += exp((logits[at[n++]] - logits[at[0]]) / s->temperature);
    for (int i = 0; i < n; i++) p[at[i]] = exp((logits[at[i]] - logits[at[0]]) / s->temperature) / kept;
}

// The chance that a binomial variable is as far out as x of n, on the side where x is, computed exactly.
static double tail(int n, double p, int x) {
    double sum = 0;
    const int lo = x <= n * p ? 0 : x, hi = x <= n * p ? x : n;
    if (p <= 0 || p >= 1) return x == (p >= 1 ? n : 0) ? 1 : 0;
    for (int i = lo; i <= hi; i++)
        sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) + i * log(p) + (n - i) * log1p(-p));
    return sum;
}

enum { DRAWS = 20000 };

// Each token as often as its probability says. kept: how many may come at all.
static void frequencies(const float *logits, int V, const hy_sample_spec *s, int kept) {
    double p[MOST_V];
    int count[MOST_V] = {0}, possible = 0;
    hy_ranked_token scratch[MOST_V];
    hy_rng r = hy_rng_make(11, 12);
    probabilities(logits, V, s, p);
    for (int i = 0; i < V; i++) possible += p[i] > 0;
    if (possible != kept)
        fail_msg("temperature %g, top_k %d, top_p %.17g: %d tokens are possible, not %d", s->temperature, s->top_k,
                 s->top_p, possible, kept);
    for (int i = 0; i < DRAWS; i++) count[hy_sample_token(logits, V, s, &r, scratch)]++;
    for (int i = 0; i < V; i++)
        if (tail(DRAWS, p[i], count[i]) < 1e-7)
            fail_msg("temperature %g, top_k %d, top_p %.17g: token %d came %d times of %d, its probability is %g",
                     s->temperature, s->top_k, s->top_p, i, count[i], DRAWS, p[i]);
}

static void drawn_as_often(void **state) {
    (void)state;
    // powers of two have exact logarithms' exps nearly: weights 8, 4, 4, 2, 1, 1 of 20, not in order of rank
    const float l[6] = {0, logf(4), logf(2), logf(8), logf(4), 0}, equal[4] = {2, 2, 2, 2},
                far[5] = {100, -100, 99, 101, 0}, one[1] = {-3};
    const struct {
        const float *logits;
        int V;
        double temperature;
        int top_k;
        double top_p;
        int kept;
    } cases[] = {
        {l, 6, 1, 0, 1, 6},        {l, 6, 0.5, 0, 1, 6},  // weights 64, 16, 16, 4, 1, 1
        {l, 6, 3, 0, 1, 6},                               // nearer to each other
        {l, 6, 1, 3, 1, 3},                               // 8, 4, 4
        {l, 6, 1, 2, 1, 2},                               // of two equal ones the first
        {l, 6, 1, 6, 1, 6},        {l, 6, 1, 7, 1, 6},       {l, 6, 1, 1, 1, 1},    {l, 6, 0, 0, 1, 1},  // greedy
        {l, 6, 1, 0, 0.39, 1},  // 8 of 20 are 0.4
        {l, 6, 1, 0, 0.41, 2},     {l, 6, 1, 0, 0.59, 2},    {l, 6, 1, 0, 0.61, 3}, {l, 6, 1, 0, 0.79, 3},
        {l, 6, 1, 0, 0.91, 5},     {l, 6, 1, 0, 0.999, 6},   {l, 6, 1, 0, 0, 1},  // never none
        {l, 6, 0.5, 0, 0.7, 2},                               // the share is that at this temperature: 64 + 16 of 102
        {l, 6, 3, 0, 0.7, 4},                                 // here 2, 1.587, 1.587, 1.26 of 8.43
        {l, 6, 1, 3, 0.6, 2},                                 // the share is of what top_k keeps: 8 + 4 of 16
        {l, 6, 1, 3, 0.49, 1},     {equal, 4, 1, 0, 0.5, 2},  // exactly half is enough
        {equal, 4, 1, 0, 0.51, 3}, {equal, 4, 2, 3, 1, 3},   {far, 5, 1, 0, 1, 5},  {far, 5, 0, 0, 1, 1},
        {one, 1, 0.7, 0, 0.5, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hy_sample_spec s = {
            .temperature = cases[i].temperature, .top_k = cases[i].top_k, .top_p = cases[i].top_p};
        frequencies(cases[i].logits, cases[i].V, &s, cases[i].kept);
    }
}

// A draw is one uniform number laid over the probabilities in order of rank; nothing but that number moves the stream.
static void drawn_by_one_number(void **state) {
    (void)state;
    float logits[MOST_V];
    double p[MOST_V];
    hy_ranked_token scratch[MOST_V];
    hy_rng make = hy_rng_make(5, 5);
    const double temperatures[] = {0.3, 1, 2.5}, shares[] = {1, 0.9, 0.4};
    const int ks[] = {0, 1, 5, 40};
    for (int c = 0; c < 3 * 3 * 4; c++) {
        const hy_sample_spec s = {.temperature = temperatures[c % 3], .top_p = shares[c / 3 % 3], .top_k = ks[c / 9]};
        hy_rng a = hy_rng_make((uint64_t)c, 1), b = a;
        for (int i = 0; i < MOST_V; i++) logits[i] = (float)hy_rng_normal(&make);
        probabilities(logits, MOST_V, &s, p);
        for (int k = 0; k < 200; k++) {
            double left = hy_rng_uniform(&a), near = 1;
            int want = -1;
            for (int rank = 0; rank < MOST_V && want < 0; rank++)
                for (int i = 0; i < MOST_V && want < 0; i++)
                    if (rank_of(logits, MOST_V, i) == rank) {
                        near = fmin(near, fabs(left - p[i]));
                        if (left < p[i]) want = i;
                        left -= p[i];
                    }
            const int32_t got = hy_sample_token(logits, MOST_V, &s, &b, scratch);
            assert_true(near > 1e-12);  // else rounding decides
            if (got != want) fail_msg("case %d, draw %d: token %d, not %d", c, k, (int)got, want);
        }
    }
}

// ---------------------------------------------------------------------------------------------------- decoding
static const char *const models[] = {
    "name: hymba\nvocab: 24\nd_model: 16\nlayers: 3\nmixer: parallel\nmeta_tokens: 2\ninit: {std: 0.5}\n"
    "attention: {heads: 2, kv_heads: 1, window: 4, global_layers: [0]}\nkv_share: [[1, 2]]\n"
    "ssm: {expand: 1, d_state: 3, d_conv: 3, dt_rank: 2}\nmlp: {d_ff: 16}\n",
    "name: llama\nvocab: 24\nd_model: 16\nlayers: 2\ninit: {std: 0.5}\nattention: {heads: 2}\nmlp: {d_ff: 16}\n",
};
enum { TEXT = 40, NEW = 14 };

// The logits after a text, all of it run from the start.
static void logits_after(hy_exec *e, hy_params *w, const int32_t *text, int n, float *out) {
    const hy_program *p = w->prog;
    int32_t full[TEXT];
    const int m = p->spec.meta_tokens, row = m + n - 1;
    for (int t = 0; t < m + n; t++) full[t] = t < m ? -1 - t : text[t - m];
    const hy_batch b = {.B = 1, .T = m + n, .ids = full, .out_rows = &row, .n_out = 1};
    need(hy_exec_forward(e, w, &b, NULL, HY_HEAD_LOGITS, NULL));
    memcpy(out, hy_exec_logits(e), (size_t)p->spec.vocab * sizeof *out);
}

// Token by token: the text so far gives logits, the sequence's own stream the draw; an end token is the last one.
static int decoded(hy_params *w, const int32_t *prompt, int n, uint64_t seed, const hy_sample_spec *s, int32_t *out) {
    const int V = w->prog->spec.vocab;
    float logits[MOST_V];
    hy_ranked_token scratch[MOST_V];
    int32_t text[TEXT];
    hy_exec *e;
    hy_rng r = hy_rng_make(seed, 0x67656e);
    need(hy_exec_create(w->prog, w->be, HY_F64, HY_EXEC_INFER, 1, TEXT, 1, &e));
    memcpy(text, prompt, (size_t)n * sizeof *text);
    int made = 0;
    for (bool end = false; made < s->max_new && !end; made++) {
        logits_after(e, w, text, n + made, logits);
        out[made] = text[n + made] = hy_sample_token(logits, V, s, &r, scratch);
        for (int k = 0; k < s->n_eos; k++) end |= out[made] == s->eos[k];
    }
    hy_exec_free(e);
    return made;
}

typedef struct {
    int n;
    int32_t token[3 * NEW];
    int sequence[3 * NEW];
} heard;

static hy_status hear(void *user, int sequence, int32_t token) {
    heard *h = user;
    h->token[h->n] = token;
    h->sequence[h->n++] = sequence;
    return HY_OK;
}

static void generated_as_defined(void **state) {
    (void)state;
    const int32_t eos[] = {3, 17}, a[] = {5}, b[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, c[] = {20, 20, 19};
    const int32_t *const prompts[] = {a, b, c};
    const int len[] = {1, 11, 3};
    const uint64_t seeds[] = {7, 8, 7};
    const hy_sample_spec cases[] = {
        {.max_new = NEW, .temperature = 0, .top_p = 1},
        {.max_new = NEW, .temperature = 1, .top_p = 1, .eos = eos, .n_eos = 2},
        {.max_new = NEW, .temperature = 1.5, .top_p = 0.9, .prefill_chunk = 3, .eos = eos, .n_eos = 1},
        {.max_new = NEW, .temperature = 0.8, .top_k = 4, .top_p = 0.95, .prefill_chunk = 1},
        {.max_new = 1, .temperature = 2, .top_p = 1},
    };
    int ended = 0;
    for (int k = 0; k < 2; k++) {
        const hy_backend be = reference();
        hy_program *p = program_of(models[k]);
        hy_params *w;
        need(hy_params_create(p, &be, HY_F64, &w));
        need(hy_params_init(w, 4));
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const hy_sample_spec *s = &cases[i];
            int32_t out[3 * NEW], want[NEW];
            int n[3], at[3] = {0}, all = 0;
            heard h = {0};
            need(hy_generate(p, w, 3, prompts, len, seeds, s, hear, &h, out, n));
            for (int q = 0; q < 3; q++) {
                const int made = decoded(w, prompts[q], len[q], seeds[q], s, want);
                if (made != n[q] || memcmp(want, out + q * s->max_new, (size_t)made * sizeof *want))
                    fail_msg("%s, case %zu, prompt %d: other tokens than by running all of the text each time",
                             p->spec.name, i, q);
                ended += made < s->max_new;
                all += made;
            }
            assert_int_equal(h.n, all);
            for (int j = 0; j < h.n; j++)
                assert_int_equal(h.token[j], out[h.sequence[j] * s->max_new + at[h.sequence[j]]++]);
        }
        hy_params_free(w);
        hy_program_free(p);
    }
    assert_true(ended > 0);
}

// ---------------------------------------------------------------------------------------------------- evaluation
typedef struct {
    double nll, labels, accuracy, right, exact, n;
    double nlls[64], counts[64], accuracies[64], exacts[64];
} tally;

// One example: its loss and hits from the logits of its positions, one sequence alone.
static void add_example(tally *a, hy_exec *e, hy_params *w, int T, const int32_t *ids, const int32_t *labels) {
    const int V = w->prog->spec.vocab;
    float l[MOST_V];
    double nll = 0;
    int n = 0, right = 0;
    for (int t = 0; t < T; t++) {
        if (labels[t] < 0) continue;
        double sum = 0;
        int best = 0;
        logits_after(e, w, ids, t + 1, l);
        for (int i = 0; i < V; i++) sum += exp(l[i]), best = l[i] > l[best] ? i : best;
        nll += log(sum) - l[labels[t]];
        right += best == labels[t];
        n++;
    }
    const int at = (int)a->n++;
    a->nlls[at] = nll, a->counts[at] = n, a->accuracies[at] = (double)right / n, a->exacts[at] = right == n;
    a->nll += nll, a->labels += n, a->right += right;
    a->accuracy += a->accuracies[at], a->exact += a->exacts[at];
}

static double standard_error(const double *v, int n, double mean) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (v[i] - mean) * (v[i] - mean);
    return sqrt(sum / (n - 1) / n);
}

static void same_score(const char *what, const hy_score *s, const tally *a) {
    const int n = (int)a->n;
    const double loss = a->nll / a->labels;
    double rest[64];
    for (int i = 0; i < n; i++) rest[i] = (a->nlls[i] - loss * a->counts[i]) / (a->labels / n);
    const double got[] = {(double)s->examples, (double)s->labels, s->loss,  s->loss_se, s->accuracy,
                          s->accuracy_se,      s->token_accuracy, s->exact, s->exact_se};
    const double want[] = {a->n,
                           a->labels,
                           loss,
                           standard_error(rest, n, 0),
                           a->accuracy / n,
                           standard_error(a->accuracies, n, a->accuracy / n),
                           a->right / a->labels,
                           a->exact / n,
                           standard_error(a->exacts, n, a->exact / n)};
    for (size_t i = 0; i < sizeof got / sizeof *got; i++)
        if (!(fabs(got[i] - want[i]) <= 2e-6 * (1 + fabs(want[i]))))  // logits and losses come as floats
            fail_msg("%s: figure %zu is %.9g, not %.9g", what, i, got[i], want[i]);
}

// Of both splits that are evaluated, in batches of any size, all examples or some.
static void evaluated_as_defined(void **state) {
    (void)state;
    static const struct {
        const char *kind, *options;
    } tasks[] = {
        {"mqar", "vocab: 24\ntrain: [[8, 1]]\ntest: [[8, 1], [16, 3]]\ntest_examples: [7, 10]"},
        {"needle", "vocab: 24\nvalues: 2\ntrain: 12\ntest: [10, 14]\ndepths: [0, 1]\ntest_examples: [3, 5]"},
        {"markov", "vocab: 6\norder: 2\ntrain: 12\ntest: [9, 14]\ntest_examples: [6, 4]"},
    };
    const hy_backend be = reference();
    for (int k = 0; k < 2; k++)
        for (int c = 0; c < 3 * 2 * 4; c++) {
            const int batch = c / 6 % 2 ? 3 : 16, most = c / 12 ? 4 : 0;
            const hy_split split = c / 3 % 2 ? HY_SPLIT_TUNE : HY_SPLIT_EVAL;
            hy_program *p = program_of(models[k]);
            hy_task *task = task_of(tasks[c % 3].kind, tasks[c % 3].options, 6);
            hy_params *w;
            hy_exec *e;
            hy_eval got;
            tally total = {0};
            need(hy_params_create(p, &be, HY_F64, &w));
            need(hy_params_init(w, 4));
            need(hy_exec_create(p, &be, HY_F64, HY_EXEC_INFER, 1, TEXT, 1, &e));
            need(hy_evaluate(p, w, task, split, batch, most, &got));
            assert_int_equal(got.n_cells, hy_task_cells(task, split));
            for (int cell = 0; cell < got.n_cells; cell++) {
                const hy_cell *at = hy_task_cell(task, split, cell);
                tally one = {0};
                for (int64_t i = 0; i < at->count && (!most || i < most); i++) {
                    int32_t ids[TEXT], labels[TEXT];
                    need(hy_task_example(task, split, cell, i, ids, labels));
                    add_example(&one, e, w, at->T, ids, labels);
                    add_example(&total, e, w, at->T, ids, labels);
                }
                same_score(at->name, &got.cells[cell], &one);
            }
            same_score("all cells", &got.total, &total);
            hy_eval_free(&got);
            hy_exec_free(e);
            hy_params_free(w);
            hy_task_close(task);
            hy_program_free(p);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(drawn_as_often), cmocka_unit_test(drawn_by_one_number),
                                       cmocka_unit_test(generated_as_defined), cmocka_unit_test(evaluated_as_defined)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
