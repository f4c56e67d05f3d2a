// test_task.c - tasks: what every example looks like (each label derived by a reader that knows only the definition),
// purity, disjoint streams, distributions, scoring formulas, refused options. Language sources: test_task_sources.c.
#include "tests/unit/task_fixture.h"

// ---------------------------------------------------------------------------------------------------- readers
// Reads pairs from the context and answers queries; returns how many labels it got right.
static int mqar_solve(const example *e, int context, int vocab) {
    int32_t *value = hy_xcalloc((size_t)vocab, sizeof *value);
    int right = 0;
    for (int i = 0; i < context; i += 2) value[e->ids[i]] = e->ids[i + 1];
    for (int i = 0; i < e->T; i++) right += e->labels[i] >= 0 && value[e->ids[i]] == e->labels[i];
    free(value);
    return right;
}

static void mqar_structure(void **state) {
    (void)state;
    static const struct {
        const char *options;
        int passes, updates, filler;
    } cases[] = {
        {"train: [[64, 4], [128, 32], [6, 1]]\ntest: [[256, 64]]", 1, 0, 1},
        {"vocab: 129\ntrain: [[64, 16], [128, 32]]\ntest: [[8, 2]]", 1, 0, 1},
        {"vocab: 5\ntrain: [[4, 1]]\ntest: [[4, 1]]", 1, 0, 1},
        {"random_non_queries: false\npower_a: 1\ntrain: [[64, 4]]\ntest: [[64, 7]]", 1, 0, 0},
        {"passes: 3\ntrain: [[64, 8]]\ntest: [[34, 4]]", 3, 0, 1},
        {"updates: 3\nvocab: 101\ntrain: [[64, 8]]\ntest: [[22, 4]]", 1, 3, 1},
        {"updates: 4\npasses: 2\ntrain: [[64, 4]]\ntest: [[32, 4]]", 2, 4, 1},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        hy_task *t = open_task("mqar", cases[c].options, 7 + c);
        int V = hy_task_vocab(t);
        assert_true(hy_task_entropy(t) == 0);
        for (int s = 0; s < HY_SPLITS; s++) {
            for (int cell = 0; cell < hy_task_cells(t, s); cell++) {
                int K = (int)hy_task_cell(t, s, cell)->y, C = 2 * (K * cases[c].passes + cases[c].updates);
                for (int index = 0; index < 50; index++) {
                    example e = example_get(t, s, cell, index);
                    assert_int_equal(labelled(&e), K);
                    assert_int_equal(mqar_solve(&e, C, V), K);
                    unsigned char *seen = hy_xcalloc((size_t)V, 1);
                    for (int i = 0; i < 2 * K * cases[c].passes; i += 2) {
                        assert_true(e.ids[i] >= 1 && e.ids[i] < V / 2 && e.ids[i + 1] >= V / 2);
                        if (i < 2 * K)
                            assert_true(seen[e.ids[i]]++ == 0 && seen[e.ids[i + 1]]++ == 0);
                        else
                            assert_int_equal(e.ids[i], e.ids[i - 2 * K]);
                    }
                    for (int i = C - 2 * cases[c].updates; i < C; i += 2) {  // old key, new value
                        assert_int_equal(seen[e.ids[i]]++, 1);
                        for (int j = 0; j < 2 * K; j += 2)
                            if (e.ids[j] == e.ids[i]) assert_int_not_equal(e.ids[j + 1], e.ids[i + 1]);
                    }
                    for (int i = 0; i < e.T; i++) {
                        if (e.labels[i] >= 0)
                            assert_true(i >= C && (i - C) % 2 == 0);
                        else if (i >= C && !cases[c].filler)
                            assert_int_equal(e.ids[i], 0);
                    }
                    free(seen);
                    example_free(&e);
                }
            }
        }
        hy_task_close(t);
    }
}

static void induction_structure(void **state) {
    (void)state;
    static const char *const cases[] = {"vocab: 16\ntrain: [3, 64]\ntest: [3, 256]",
                                        "vocab: 3\ntriggers: 9\ntrain: 20\ntest: 40",
                                        "loss: all\ntriggers: 2\ntrain: 32\ntest: 32"};
    for (int c = 0; c < 3; c++) {
        hy_task *t = open_task("induction", cases[c], 3);
        int special = hy_task_vocab(t) - 1, most = 0;
        for (int s = 0; s < HY_SPLITS; s++)
            for (int cell = 0; cell < hy_task_cells(t, s); cell++)
                for (int index = 0; index < 200; index++) {
                    example e = example_get(t, s, cell, index);
                    assert_int_equal(e.T, (int)hy_task_cell(t, s, cell)->x + 1);
                    int first = -1, n = 0;
                    for (int i = 0; i < e.T; i++)
                        if (e.ids[i] == special) {
                            if (first < 0)
                                first = i;
                            else if (i < e.T - 1)
                                assert_int_equal(e.ids[i + 1], e.ids[first + 1]);
                            n++;
                        }
                    if (n > most) most = n;
                    assert_true(n >= 2 && e.ids[e.T - 1] == special && first <= e.T - 4);
                    assert_int_equal(e.labels[e.T - 1], e.ids[first + 1]);
                    bool all = c == 2 && s == HY_SPLIT_TRAIN;
                    assert_int_equal(labelled(&e), all ? e.T : 1);
                    for (int i = 0; all && i < e.T - 1; i++) assert_int_equal(e.labels[i], e.ids[i + 1]);
                    example_free(&e);
                }
        assert_true(c == 0 ? most == 2 : most > 2);
        hy_task_close(t);
    }
}

static void copy_structure(void **state) {
    (void)state;
    hy_task *t = open_task("selective_copy", "vocab: 11\nmemorize: 5\ntrain: [10, 64]\ntest: [10, 11, 100]", 3);
    int32_t at_start = 0, n = 0;
    for (int s = 0; s < HY_SPLITS; s++)
        for (int cell = 0; cell < hy_task_cells(t, s); cell++)
            for (int index = 0; index < 200; index++) {
                example e = example_get(t, s, cell, index);
                int next = e.T - 5;
                for (int i = 0; i < e.T; i++) {
                    if (i < e.T - 5) {
                        assert_true(e.ids[i] <= 9 && e.labels[i] == HY_IGNORE);
                        if (e.ids[i]) assert_int_equal(e.labels[next++], e.ids[i]);
                    } else {
                        assert_int_equal(e.ids[i], 10);
                    }
                }
                assert_int_equal(next, e.T);
                if (e.T == 100) n++, at_start += e.ids[0] != 0;
                example_free(&e);
            }
    assert_true(at_start > 0 && at_start < n / 4);  // 5 of 95 places
    hy_task_close(t);
}

static void needle_structure(void **state) {
    (void)state;
    static const struct {
        const char *options;
        int values, distractors;
    } cases[] = {
        {"vocab: 64\ntrain: [3, 32]\ntest: [3, 64]\ndepths: [0, 0.3, 1]", 1, 0},
        {"vocab: 67\nvalues: 3\ndistractors: 4\ntrain: 64\ntest: [64, 43]\ndepths: [0, 0.5, 1]", 3, 4},
    };
    for (int c = 0; c < 2; c++) {
        hy_task *t = open_task("needle", cases[c].options, 5);
        int V = hy_task_vocab(t), n = cases[c].values, begin = 0, end = 0;
        for (int s = 0; s < HY_SPLITS; s++)
            for (int cell = 0; cell < hy_task_cells(t, s); cell++)
                for (int index = 0; index < 200; index++) {
                    example e = example_get(t, s, cell, index);
                    const hy_cell *at = hy_task_cell(t, s, cell);
                    int body = e.T - n, found = -1, keys = 0, others = 0;
                    for (int i = 0; i < body; i++) {
                        if (e.ids[i] < V / 4)
                            keys++;
                        else if (e.ids[i] < V / 2)
                            others++;
                        if (e.ids[i] == e.ids[body]) assert_int_equal(found, -1), found = i;
                    }
                    assert_int_equal(keys, 1 + cases[c].distractors);
                    assert_true(others >=
                                n * keys);  // V/4*2 may be below V/2: then a filler token is never counted here
                    assert_true(found >= 0 && found + n < body);
                    if (s != HY_SPLIT_TRAIN) assert_int_equal(found, (int)floor(at->y * (body - n - 1) + 0.5));
                    begin += s == HY_SPLIT_TRAIN && found == 0;
                    end += s == HY_SPLIT_TRAIN && found == body - n - 1;
                    assert_int_equal(labelled(&e), n);
                    for (int j = 0; j < n; j++) {
                        assert_int_equal(e.labels[body + j], e.ids[found + 1 + j]);
                        assert_int_equal(e.ids[body + j], e.ids[found + j]);
                    }
                    example_free(&e);
                }
        assert_true(begin > 0 && end > 0);  // training reaches both ends
        hy_task_close(t);
    }
}

// ---------------------------------------------------------------------------------------------------- purity, streams
static const struct {
    const char *kind, *options;
} samples[] = {
    {"mqar", "train: [[64, 4], [32, 4]]\ntrain_examples: [40, 0]\nweights: [1, 3]"},
    {"mqar", "updates: 2"},
    {"induction", "triggers: 3"},
    {"selective_copy", NULL},
    {"needle", "distractors: 3"},
    {"markov", "vocab: 16"},
    {"text", "path: tests/data/shakespeare-100k.txt"},
};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

static void purity(void **state) {
    (void)state;
    for (int k = 0; k < N_SAMPLES; k++) {
        hy_task *a = open_task(samples[k].kind, samples[k].options, 11),
                *b = open_task(samples[k].kind, samples[k].options, 11);
        hy_task *c = open_task(samples[k].kind, samples[k].options, 12);
        int cells = hy_task_cells(a, HY_SPLIT_TRAIN), same_as_other_seed = 0;
        for (int i = 0; i < 20; i++) {  // a forwards, b backwards
            example x = example_get(a, HY_SPLIT_TRAIN, i % cells, i);
            for (int j = 19; j >= i; j -= 3) {
                example skip = example_get(b, j % 2, 0, j);
                example_free(&skip);
            }
            example y = example_get(b, HY_SPLIT_TRAIN, i % cells, i), z = example_get(c, HY_SPLIT_TRAIN, i % cells, i);
            assert_memory_equal(x.ids, y.ids, (size_t)x.T * sizeof *x.ids);
            assert_memory_equal(x.labels, y.labels, (size_t)x.T * sizeof *x.ids);
            same_as_other_seed += !memcmp(x.ids, z.ids, (size_t)x.T * sizeof *x.ids);
            example_free(&x);
            example_free(&y);
            example_free(&z);
        }
        assert_int_equal(same_as_other_seed, 0);
        hy_task_close(a);
        hy_task_close(b);
        hy_task_close(c);
    }
}

static int compare_ids(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// All examples of a kind, of any split, as hex strings: none twice. (Text: each split has bytes of its own.)
static void disjoint(void **state) {
    (void)state;
    enum { N = 400 };
    for (int k = 0; k < N_SAMPLES - 1; k++) {
        hy_task *t = open_task(samples[k].kind, samples[k].options, 11);
        char *hash[HY_SPLITS * N];
        int count = (int)hy_task_cell(t, HY_SPLIT_EVAL, 0)->count, n = 0;
        for (int s = 0; s < HY_SPLITS; s++) {
            int cell = s == HY_SPLIT_TRAIN ? hy_task_cells(t, s) - 1 : 0;
            for (int i = 0; i < N && (s == HY_SPLIT_TRAIN || i < count); i++) {
                example e = example_get(t, s, cell, i);
                hash[n] = hy_xcalloc(1, 33);
                hy_hash_hex(e.ids, (size_t)(e.T < 33 ? e.T : 33) * sizeof *e.ids,
                            hash[n++]);  // the same length for both
                example_free(&e);
            }
        }
        qsort(hash, (size_t)n, sizeof *hash, compare_ids);
        int twice = 0;
        for (int i = 1; i < n; i++) twice += !strcmp(hash[i], hash[i - 1]);
        if (strcmp(samples[k].kind, "selective_copy"))
            assert_int_equal(twice, 0);  // 33 positions may all be blank there
        for (int i = 0; i < n; i++) free(hash[i]);
        hy_task_close(t);
    }
    // The streams themselves: no two of (purpose, cell, index) share a name.
    hy_rng r[] = {hy_task_rng(1, HY_DRAW_TRAIN, 0, 1),
                  hy_task_rng(1, HY_DRAW_EVAL, 0, 1),
                  hy_task_rng(1, HY_DRAW_TUNE, 0, 1),
                  hy_task_rng(1, HY_DRAW_TABLE, 0, 1),
                  hy_task_rng(1, HY_DRAW_CELL, 0, 1),
                  hy_task_rng(1, HY_DRAW_TRAIN, 1, 1),
                  hy_task_rng(1, HY_DRAW_TRAIN, 0, 2),
                  hy_task_rng(1, HY_DRAW_TRAIN, HY_TASK_MAX_CELLS - 1, HY_TASK_MAX_INDEX - 1),
                  hy_task_rng(1, HY_DRAW_EVAL, 0, 0)};
    for (size_t i = 0; i < sizeof r / sizeof *r; i++)
        for (size_t j = 0; j < i; j++) assert_true(r[i].stream != r[j].stream && r[i].seed == r[j].seed);
}

// Tuning has the cells of evaluation, and as many examples.
static void tuning_like_evaluation(void **state) {
    (void)state;
    for (int k = 0; k < N_SAMPLES - 1; k++) {
        hy_task *t = open_task(samples[k].kind, samples[k].options, 11);
        const int n = hy_task_cells(t, HY_SPLIT_EVAL);
        assert_int_equal(hy_task_cells(t, HY_SPLIT_TUNE), n);
        for (int c = 0; c < n; c++) {
            const hy_cell *a = hy_task_cell(t, HY_SPLIT_EVAL, c), *b = hy_task_cell(t, HY_SPLIT_TUNE, c);
            assert_string_equal(a->name, b->name);
            assert_true(a->T == b->T && a->x == b->x && a->count == b->count && (a->y == b->y || isnan(a->y)));
            example e = example_get(t, HY_SPLIT_TUNE, c, b->count - 1);
            assert_true(labelled(&e) > 0);
            assert_int_equal(hy_task_example(t, HY_SPLIT_TUNE, c, b->count, e.ids, e.labels), HY_EINPUT);
            example_free(&e);
        }
        hy_task_close(t);
    }
}

static void batches(void **state) {
    (void)state;
    hy_task *t = open_task(samples[0].kind, samples[0].options, 9);
    enum { B = 8 };
    int longest = hy_task_max_len(t), T = 0, T2 = 0, short_ones = 0, steps = 4000;
    size_t n = (size_t)(B * longest);
    int32_t *ids = hy_xcalloc(n, sizeof *ids), *labels = hy_xcalloc(n, sizeof *ids), *ids2 = hy_xcalloc(n, sizeof *ids),
            *labels2 = hy_xcalloc(n, sizeof *ids);
    assert_int_equal(longest, 64);
    for (int step = 0; step < steps; step++) {
        assert_int_equal(hy_task_batch(t, step, B, ids, labels, &T), HY_OK);
        short_ones += T == 32;
        if (step % 100) continue;
        int cell = T == 32;
        for (int b = 0; b < B; b++) {
            example e = example_get(t, HY_SPLIT_TRAIN, cell, (int64_t)step * B + b);
            assert_memory_equal(e.ids, ids + b * T, (size_t)T * sizeof *ids);
            assert_memory_equal(e.labels, labels + b * T, (size_t)T * sizeof *ids);
            example_free(&e);
        }
        assert_int_equal(hy_task_batch(t, step + 1, B, ids2, labels2, &T2), HY_OK);
        assert_int_equal(hy_task_batch(t, step, B, ids2, labels2, &T2), HY_OK);
        assert_true(T == T2 && !memcmp(ids, ids2, (size_t)(B * T) * sizeof *ids));
    }
    double sd = sqrt(steps * 0.75 * 0.25);
    assert_true(fabs(short_ones - 0.75 * steps) < 4 * sd);  // 4 standard deviations
    // A fixed set of 40 comes back after 40; a set without end does not.
    example a = example_get(t, HY_SPLIT_TRAIN, 0, 3), b = example_get(t, HY_SPLIT_TRAIN, 0, 43),
            c = example_get(t, HY_SPLIT_TRAIN, 0, 4);
    assert_memory_equal(a.ids, b.ids, (size_t)a.T * sizeof *a.ids);
    assert_memory_not_equal(a.ids, c.ids, (size_t)a.T * sizeof *a.ids);
    example_free(&a), example_free(&b), example_free(&c);
    a = example_get(t, HY_SPLIT_TRAIN, 1, 3), b = example_get(t, HY_SPLIT_TRAIN, 1, 43);
    assert_memory_not_equal(a.ids, b.ids, (size_t)a.T * sizeof *a.ids);
    example_free(&a), example_free(&b);
    assert_int_equal(hy_task_batch(t, -1, B, ids, labels, &T), HY_EINPUT);
    assert_int_equal(hy_task_batch(t, INT64_MAX / 2, B, ids, labels, &T), HY_EINPUT);
    assert_int_equal(hy_task_example(t, HY_SPLIT_EVAL, 0, 1000, ids, labels), HY_EINPUT);
    assert_int_equal(hy_task_example(t, HY_SPLIT_EVAL, 1, 0, ids, labels), HY_EINPUT);
    free(ids), free(labels), free(ids2), free(labels2);
    hy_task_close(t);
}

// Default weights are the sizes of the sets, as when every segment is gone through once.
static void default_weights(void **state) {
    (void)state;
    hy_task *t = open_task("mqar", "train: [[64, 4], [64, 8], [128, 8]]\ntrain_examples: [100, 20, 80]", 1);
    assert_true(fabs(hy_task_cell(t, HY_SPLIT_TRAIN, 0)->weight - 0.5) < 1e-15);
    assert_true(fabs(hy_task_cell(t, HY_SPLIT_TRAIN, 1)->weight - 0.1) < 1e-15);
    assert_string_equal(hy_task_cell(t, HY_SPLIT_TRAIN, 2)->name, "T128.K8");
    hy_task_close(t);
    t = open_task("mqar", "train: [[64, 4], [64, 8]]\ntrain_examples: [100, 0]", 1);
    assert_true(hy_task_cell(t, HY_SPLIT_TRAIN, 0)->weight == 0.5);
    hy_task_close(t);
}

// ---------------------------------------------------------------------------------------------------- distributions
// Probability that slot s is among the first three draws, by summing over all ordered draws of the definition.
static void inclusion_of_three(const double *w, int S, double *first, double *included) {
    double sum = 0;
    for (int i = 0; i < S; i++) sum += w[i], included[i] = 0;
    for (int i = 0; i < S; i++) {
        first[i] = w[i] / sum;
        for (int j = 0; j < S; j++)
            for (int k = 0; k < S; k++) {
                if (i == j || j == k || i == k) continue;
                double p = w[i] / sum * w[j] / (sum - w[i]) * w[k] / (sum - w[i] - w[j]);
                included[i] += p, included[j] += p, included[k] += p;
            }
    }
}

static void mqar_slots(void **state) {
    (void)state;
    enum { S = 13, T = 32, N = 40000 };  // 3 pairs: context 6, 13 slots
    static const double power[] = {0.01, 1};
    // 99.99 % quantiles of chi-square with 12 degrees of freedom: 39.1; sampling without replacement only makes it
    // smaller.
    const double limit = 39.1;
    for (int a = 0; a < 2; a++) {
        char options[128];
        snprintf(options, sizeof options, "power_a: %g\ntrain: [[32, 3]]\ntrain_examples: 0", power[a]);
        hy_task *t = open_task("mqar", options, 21);
        double w[S], first[S], included[S], n_first[S] = {0}, n_any[S] = {0}, chi_first = 0, chi_any = 0;
        for (int s = 0; s < S; s++) w[s] = power[a] * pow(s + 1, power[a] - 1);
        inclusion_of_three(w, S, first, included);
        int32_t ids[T], labels[T];
        for (int i = 0; i < N; i++) {
            assert_int_equal(hy_task_example(t, HY_SPLIT_TRAIN, 0, i, ids, labels), HY_OK);
            for (int s = 0; s < S; s++)
                if (labels[6 + 2 * s] >= 0) {
                    n_any[s]++;
                    n_first[s] += labels[6 + 2 * s] == ids[1];  // the slot of key 1
                }
        }
        for (int s = 0; s < S; s++) {
            chi_first += pow(n_first[s] - N * first[s], 2) / (N * first[s]);
            chi_any += pow(n_any[s] - N * included[s], 2) / (N * included[s]);
        }
        print_message("power %g: chi-square of the first slot %.1f, of any slot %.1f\n", power[a], chi_first, chi_any);
        assert_true(chi_first < limit && chi_any < limit);
        hy_task_close(t);
    }
}

// Keys, values and filler are uniform: chi-square over a small vocabulary.
static void mqar_tokens(void **state) {
    (void)state;
    enum { V = 40, N = 20000 };
    hy_task *t = open_task("mqar", "vocab: 40\ntrain: [[16, 4]]\ntest: [[16, 4]]\ntrain_examples: 0", 5);
    double key[V] = {0}, value[V] = {0}, filler[V] = {0}, n_filler = 0, ck = 0, cv = 0, cf = 0;
    int32_t ids[16], labels[16];
    for (int i = 0; i < N; i++) {
        assert_int_equal(hy_task_example(t, HY_SPLIT_TRAIN, 0, i, ids, labels), HY_OK);
        for (int j = 0; j < 8; j += 2) key[ids[j]]++, value[ids[j + 1]]++;
        for (int j = 9; j < 16; j += 2) filler[ids[j]]++, n_filler++;
    }
    for (int v = 0; v < V; v++) {
        if (v >= 1 && v < 20) ck += pow(key[v] - N * 4 / 19.0, 2) / (N * 4 / 19.0);
        if (v >= 20) cv += pow(value[v] - N * 4 / 20.0, 2) / (N * 4 / 20.0);
        cf += pow(filler[v] - n_filler / V, 2) / (n_filler / V);
    }
    assert_true(key[0] == 0 && key[20] == 0 && value[19] == 0);
    assert_true(ck < 50.1 && cv < 51.5 && cf < 82.1);  // 99.99 % quantiles of 18, 19, 39 degrees of freedom
    hy_task_close(t);
}

// ---------------------------------------------------------------------------------------------------- options
static void refused(void **state) {
    (void)state;
    static const struct {
        const char *kind, *options, *says;
    } cases[] = {
        {"mqr", NULL, "no task kind"},
        {"mqar", "vocab: 64\ntrain: [[64, 4]]", "needs a vocab above 64"},
        {"mqar", "train: [[63, 4]]", "odd"},
        {"mqar", "train: [[64, 17]]", "at least 68"},
        {"mqar", "test: [[64, 16]]\npasses: 2", "at least 96"},
        {"mqar", "updates: 5", "only 4 pairs"},
        {"mqar", "train: []", "at least one"},
        {"mqar", "train: [[64, 4], [64, 8]]\ntrain_examples: [1, 2, 3]", "3 values"},
        {"mqar", "train: [[64, 4], [64, 8]]\nweights: [0, 0]", "above 0"},
        {"mqar", "weights: [-1]", "weights"},
        {"mqar", "power_a: 0", "power_a"},
        {"mqar", "vocabulary: 10", "vocab"},
        {"mqar", "test_examples: 0", "test_examples"},
        {"mqar", "train: [[64, 4]", "task options"},
        {"induction", "train: 2", "train"},
        {"induction", "loss: some", "loss"},
        {"induction", "test: []", "test"},
        {"selective_copy", "train: 31", "at least 32"},
        {"selective_copy", "vocab: 2", "vocab"},
        {"needle", "train: 2", "train"},
        {"needle", "values: 4\ntest: 8", "at least 9"},
        {"needle", "vocab: 16\ndistractors: 4", "4 keys"},
        {"needle", "distractors: 10\ntrain: 40", "at least 45"},
        {"needle", "depths: [1.5]", "depths"},
        {"markov", "branch: 65", "only 64 tokens"},
        {"markov", "vocab: 4096\norder: 2", "vocab^order"},
        {"markov", "order: 3\nvocab: 8\ntrain: 2", "below the order"},
        {"markov", "smoothing: 0", "smoothing"},
        {"text", NULL, "path"},
        {"text", "path: /nonexistent/file", "No such file"},
        {"text", "path: /dev/null", "empty"},
        {"text", "path: tests/data/shakespeare-100k.txt\ntest: 20000", "validation part"},
        {"text", "path: tests/data/shakespeare-100k.txt\ntrain: 200000", "training part"},
        {"text", "path: tests/data/shakespeare-100k.txt\nvalidation: 0", "validation"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hy_task *t = NULL;
        hy_status s = hy_task_open(cases[i].kind, cases[i].options, 1, &t);
        if (s != HY_EINPUT || !strstr(hy_error_text(), cases[i].says))
            print_message("case %zu: %s %s: status %d, \"%s\" lacks \"%s\"\n", i, cases[i].kind,
                          cases[i].options ? cases[i].options : "", s, hy_error_text(), cases[i].says);
        assert_int_equal(s, HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), cases[i].says));
        assert_null(t);
    }
}

static void tables(void **state) {
    (void)state;
    char *names = hy_xstrdup(hy_task_kinds()), *rest = names, *name;
    int n = 0;
    while ((name = strsep(&rest, "|"))) {
        assert_non_null(hy_task_fields(name));
        n++;
        if (!strcmp(name, "images") || !strcmp(name, "speech")) continue;  // files of theirs: test_task_images, _speech
        hy_buf a = {0}, b = {0};
        hy_task *t = open_task(name, strcmp(name, "text") ? NULL : samples[N_SAMPLES - 1].options, 1);
        assert_string_equal(hy_task_kind(t), name);
        hy_task_text(t, &a);
        hy_task_close(t);
        if (strcmp(name, "text")) {  // the text of the options opens the same task again
            t = open_task(name, strchr(a.s, '\n') + 1, 1);
            hy_task_text(t, &b);
            assert_string_equal(a.s, b.s);
            hy_task_close(t);
        }
        free(a.s), free(b.s);
    }
    free(names);
    assert_int_equal(n, 9);
    assert_null(hy_task_fields("nothing"));
}

// ---------------------------------------------------------------------------------------------------- scoring
static void near_to(double got, double want) {
    if (!(fabs(got - want) < 1e-12)) print_message("got %.17g, want %.17g\n", got, want);
    assert_true(fabs(got - want) < 1e-12);
}

static void scoring(void **state) {
    (void)state;
    hy_score s = {0};
    // 3 examples: 2 of 2, 1 of 4, 0 of 1 right; nll sums 1, 6, 2
    static const int32_t labels[3][4] = {{5, -100, 6, -100}, {1, 2, 3, 4}, {-100, 7, -100, -100}};
    static const int32_t pred[3][4] = {{5, 1, 6, 1}, {1, 0, 0, 0}, {-1, 8, -1, -1}};
    static const float nll[3][4] = {{0.25f, 9, 0.75f, 9}, {1, 1, 1, 3}, {0, 2, 0, 0}};
    static const int32_t nothing[2] = {-100, -100};
    for (int i = 0; i < 3; i++) hy_score_add(&s, 4, labels[i], nll[i], pred[i]);
    hy_score_add(&s, 2, nothing, nll[0], pred[0]);
    hy_score_finish(&s);
    assert_int_equal(s.examples, 3);
    assert_int_equal(s.labels, 7);
    near_to(s.loss, 9.0 / 7);
    near_to(s.accuracy, (1 + 0.25 + 0) / 3);
    near_to(s.token_accuracy, 3.0 / 7);
    near_to(s.exact, 1.0 / 3);
    double m = 1.25 / 3, var = ((1 - m) * (1 - m) + (0.25 - m) * (0.25 - m) + m * m) / 2;
    near_to(s.accuracy_se, sqrt(var / 3));
    near_to(s.exact_se, sqrt((4.0 / 9 + 1.0 / 9 + 1.0 / 9) / 2 / 3));
    double r = 9.0 / 7, d1 = 1 - 2 * r, d2 = 6 - 4 * r, d3 = 2 - r;  // residuals of the ratio
    near_to(s.loss_se, sqrt((d1 * d1 + d2 * d2 + d3 * d3) / 2 / 3) / (7.0 / 3));
    hy_score_finish(&s);  // may be repeated
    near_to(s.loss, 9.0 / 7);

    // Equal numbers of labels: the ratio's error is that of a mean of per-example means.
    hy_score e = {0};
    static const int32_t two[2] = {1, 1};
    static const float n2[3][2] = {{1, 2}, {0, 1}, {3, 4}};
    for (int i = 0; i < 3; i++) hy_score_add(&e, 2, two, n2[i], two);
    hy_score_finish(&e);
    double mm = (1.5 + 0.5 + 3.5) / 3,
           v2 = ((1.5 - mm) * (1.5 - mm) + (0.5 - mm) * (0.5 - mm) + (3.5 - mm) * (3.5 - mm)) / 2;
    near_to(e.loss_se, sqrt(v2 / 3));
    near_to(e.exact, 1);
    near_to(e.exact_se, 0);

    hy_score one = {0};
    hy_score_add(&one, 2, two, n2[0], two);
    hy_score_finish(&one);
    near_to(one.loss, 1.5);
    assert_true(isnan(one.loss_se) && isnan(one.accuracy_se) && isnan(one.exact_se));
    hy_score zero = {0};
    hy_score_finish(&zero);
    assert_true(isnan(zero.loss) && isnan(zero.accuracy) && isnan(zero.exact_se));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mqar_structure), cmocka_unit_test(induction_structure),
        cmocka_unit_test(copy_structure), cmocka_unit_test(needle_structure),
        cmocka_unit_test(purity),         cmocka_unit_test(disjoint),
        cmocka_unit_test(batches),        cmocka_unit_test(default_weights),
        cmocka_unit_test(mqar_slots),     cmocka_unit_test(mqar_tokens),
        cmocka_unit_test(refused),        cmocka_unit_test(tables),
        cmocka_unit_test(scoring),        cmocka_unit_test(tuning_like_evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
