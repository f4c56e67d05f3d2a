// test_task_sources.c - the language sources: Markov chains of known entropy, and text files.
#include "core/token/tokenizer.h"
#include "tests/unit/task_fixture.h"

// ---------------------------------------------------------------------------------------------------- Markov source
static void markov_entropy(void **state) {
    (void)state;
    static const char *const cases[] = {
        "vocab: 64\norder: 2\nbranch: 4\ntest: 257\ntest_examples: 400",
        "vocab: 7\norder: 3\nbranch: 2\nsharpness: 2\nsmoothing: 0.05\ntest: 64\ntest_examples: 1600",
        "vocab: 50\norder: 1\nbranch: 50\nsharpness: 0\ntest: 100\ntest_examples: 1000",
    };
    static const int order[] = {2, 3, 1};
    for (int c = 0; c < 3; c++) {
        hy_task *t = open_task("markov", cases[c], 31);
        int V = hy_task_vocab(t), T = hy_task_cell(t, HY_SPLIT_EVAL, 0)->T, k = order[c];
        int64_t examples = hy_task_cell(t, HY_SPLIT_EVAL, 0)->count;
        double sum = 0, sum2 = 0, tokens = 0;  // over examples, which are independent
        for (int64_t i = 0; i < examples; i++) {
            example e = example_get(t, HY_SPLIT_EVAL, 0, i);
            double nll = 0;
            for (int j = 0; j < T; j++) {
                assert_true((e.labels[j] == HY_IGNORE) == (j < k - 1));
                if (j < T - 1 && j >= k - 1) assert_int_equal(e.labels[j], e.ids[j + 1]);
                if (j >= k - 1) nll -= log(hy_task_markov_prob(t, e.ids + j - k + 1, e.labels[j])), tokens++;
            }
            sum += nll / (T - k + 1);
            sum2 += nll / (T - k + 1) * (nll / (T - k + 1));
            example_free(&e);
        }
        double mean = sum / (double)examples, n = (double)examples, se = sqrt((sum2 - sum * sum / n) / (n - 1) / n);
        print_message("entropy %.5f, empirical %.5f +- %.5f over %.0f tokens\n", hy_task_entropy(t), mean, se, tokens);
        assert_true(tokens > 9.9e4 && (c == 2 || se > 0));
        assert_true(fabs(mean - hy_task_entropy(t)) <= 4 * se + 1e-9);  // all equal in case 3: no spread, rounding only
        if (c == 2) assert_true(fabs(hy_task_entropy(t) - log(50)) < 1e-9);
        for (int i = 0; i < 5; i++) {  // a conditional distribution
            int32_t context[3] = {i % V, (3 * i) % V, (i + 2) % V};
            double total = 0;
            for (int y = 0; y < V; y++) total += hy_task_markov_prob(t, context, y);
            assert_true(fabs(total - 1) < 1e-12);
        }
        hy_task_close(t);
    }
}

// The entropy by another way: pi as a row of the transition matrix squared 20 times.
static void markov_exact(void **state) {
    (void)state;
    enum { V = 6 };
    for (int seed = 1; seed <= 5; seed++) {
        char options[128];
        snprintf(options, sizeof options, "vocab: 6\norder: 1\nbranch: 3\nsharpness: 3\ntable_seed: %d", seed);
        hy_task *t = open_task("markov", options, 1);
        double p[V][V], q[V][V], h = 0, uniform = 0;
        for (int32_t a = 0; a < V; a++)
            for (int32_t y = 0; y < V; y++) p[a][y] = hy_task_markov_prob(t, &a, y);
        for (int round = 0; round < 20; round++) {
            memset(q, 0, sizeof q);
            for (int a = 0; a < V; a++)
                for (int b = 0; b < V; b++)
                    for (int y = 0; y < V; y++) q[a][y] += p[a][b] * p[b][y];
            memcpy(p, q, sizeof p);
        }
        for (int32_t a = 0; a < V; a++)
            for (int32_t y = 0; y < V; y++) {
                double pr = hy_task_markov_prob(t, &a, y);
                h -= p[0][a] * pr * log(pr);
                uniform -= pr * log(pr) / V;
            }
        assert_true(fabs(h - hy_task_entropy(t)) < 1e-9);
        assert_true(fabs(h - uniform) > 1e-3);  // contexts are not equally frequent, so that would be seen
        hy_task_close(t);
    }
}

// Frequencies agree with the stated conditional, and the start with the later positions (stationary): order 1, small
// table.
static void markov_frequencies(void **state) {
    (void)state;
    enum { V = 5, N = 20000, T = 6 };
    hy_task *t = open_task("markov", "vocab: 5\norder: 1\nbranch: 2\nsmoothing: 0.1\ntrain: 6\ntest: 6", 2);
    double pair[V][V] = {{0}}, from[V] = {0}, start[V] = {0}, late[V] = {0}, chi = 0, drift = 0;
    int32_t ids[T], labels[T];
    for (int i = 0; i < N; i++) {
        assert_int_equal(hy_task_example(t, HY_SPLIT_TRAIN, 0, i, ids, labels), HY_OK);
        start[ids[0]]++, late[labels[T - 1]]++;
        for (int j = 0; j < T; j++) pair[ids[j]][labels[j]]++, from[ids[j]]++;
    }
    for (int32_t a = 0; a < V; a++) {
        for (int32_t y = 0; y < V; y++) {
            double want = from[a] * hy_task_markov_prob(t, &a, y);
            assert_true(want > 5);
            chi += pow(pair[a][y] - want, 2) / want;
        }
        drift += pow(start[a] - late[a], 2) / (start[a] + late[a]);
    }
    assert_true(chi < 52.4);    // 99.99 % quantile, 20 degrees of freedom
    assert_true(drift < 23.6);  // 4 degrees of freedom
    hy_task *u = open_task("markov", "vocab: 5\norder: 1\nbranch: 2\nsmoothing: 0.1\ntable_seed: 2", 2);
    assert_true(hy_task_entropy(t) != hy_task_entropy(u));  // another language
    hy_task_close(u);
    u = open_task("markov", "vocab: 5\norder: 1\nbranch: 2\nsmoothing: 0.1", 3);
    assert_true(hy_task_entropy(t) == hy_task_entropy(u));  // the data seed does not change it
    hy_task_close(u);
    hy_task_close(t);
}

// ---------------------------------------------------------------------------------------------------- text
static void text_windows(void **state) {
    (void)state;
    char *data = NULL, options[256];
    size_t n = 0;
    assert_int_equal(hy_file_read(text_file, 1 << 20, &data, &n), HY_OK);
    snprintf(options, sizeof options, "path: %s\nvalidation: 0.1\ntrain: [100, 1]\ntest: [1, 7, 64, 1000]", text_file);
    hy_task *t = open_task("text", options, 4);
    size_t n_eval = (size_t)((double)n * 0.1), n_train = n - n_eval;
    assert_true(isnan(hy_task_entropy(t)) && hy_task_vocab(t) == 256);
    for (int cell = 0; cell < 4; cell++) {
        size_t next = n_train + 1;  // the byte that must be scored next
        for (int64_t i = 0; i < hy_task_cell(t, HY_SPLIT_EVAL, cell)->count; i++) {
            example e = example_get(t, HY_SPLIT_EVAL, cell, i);
            assert_true(labelled(&e) > 0);
            size_t at = next;
            for (int j = 0; j < e.T; j++)
                if (e.labels[j] >= 0) {
                    assert_int_equal(e.labels[j], (unsigned char)data[next]);
                    assert_int_equal(e.ids[j], (unsigned char)data[next - 1]);
                    next++;
                }
            at -= (size_t)(e.T - labelled(&e)) + 1;  // where the window begins
            assert_true(at >= n_train);
            for (int j = 0; j < e.T; j++) assert_int_equal(e.ids[j], (unsigned char)data[at + (size_t)j]);
            example_free(&e);
        }
        assert_int_equal(next, n);
    }
    size_t lowest = n, highest = 0;
    for (int i = 0; i < 2000; i++) {
        example e = example_get(t, HY_SPLIT_TRAIN, 0, i);
        char bytes[101];
        for (int j = 0; j < 100; j++) bytes[j] = (char)e.ids[j];
        bytes[100] = (char)e.labels[99];
        for (int j = 0; j < 99; j++) assert_int_equal(e.labels[j], e.ids[j + 1]);
        const char *found = memmem(data, n_train, bytes, 101);
        assert_non_null(found);
        if ((size_t)(found - data) < lowest) lowest = (size_t)(found - data);
        if ((size_t)(found - data) > highest) highest = (size_t)(found - data);
        example_free(&e);
    }
    assert_true(lowest < n_train / 100 && highest > n_train / 100 * 99);
    hy_task_close(t);
    free(data);
}

// Windows of a cell score each token of their part but its first once, in order.
static void windows_score(const hy_task *t, hy_split s, int cell, const hy_token_ids *part) {
    size_t next = 1;
    for (int64_t i = 0; i < hy_task_cell(t, s, cell)->count; i++) {
        example e = example_get(t, s, cell, i);
        for (int j = 0; j < e.T; j++)
            if (e.labels[j] >= 0) {
                assert_int_equal(e.labels[j], part->v[next]);
                assert_int_equal(e.ids[j], part->v[next - 1]);
                next++;
            }
        example_free(&e);
    }
    assert_int_equal(next, part->n);
}

// Training crops, the last label too, are of the training part, and from all over it.
static void crops_lie_in(const hy_task *t, const hy_token_ids *part) {
    size_t last = 0;
    for (int i = 0; i < 3000; i++) {
        example e = example_get(t, HY_SPLIT_TRAIN, 0, i);
        size_t at = 0;
        assert_int_equal(e.T, 3);
        for (size_t j = 0; j + 3 < part->n && !at; j++)
            if (!memcmp(&part->v[j], e.ids, 3 * sizeof *e.ids) && part->v[j + 3] == e.labels[2]) at = j + 3;
        assert_true(at > 0);
        if (at > last) last = at;
        example_free(&e);
    }
    assert_true(last > part->n / 2);
}

// The three parts, of bytes or of tokens.
static void text_parts(void **state) {
    (void)state;
    static const char *const tokenizers[] = {"bytes", "tests/golden/tokenizers/llama3.json"};
    char *data = NULL, options[256];
    size_t n = 0;
    assert_int_equal(hy_file_read(text_file, 1 << 20, &data, &n), HY_OK);
    const size_t tune = n - (size_t)(0.1 * (double)n) - (size_t)(0.25 * (double)n),
                 eval = n - (size_t)(0.1 * (double)n), from[HY_SPLITS] = {0, eval, tune},
                 to[HY_SPLITS] = {tune, n, eval};
    for (int k = 0; k < 2; k++) {
        hy_tokenizer *tok;
        hy_token_ids ids[HY_SPLITS] = {{0}};
        snprintf(options, sizeof options, "path: %s\ntuning: 0.25\ntrain: 3\ntest: [50, 7]\ntokenizer: %s", text_file,
                 tokenizers[k]);
        hy_task *t = open_task("text", options, 4);
        assert_int_equal(hy_tokenizer_open(tokenizers[k], &tok), HY_OK);
        for (int s = 0; s < HY_SPLITS; s++)
            assert_int_equal(hy_tokenizer_encode(tok, data + from[s], to[s] - from[s], false, &ids[s]), HY_OK);
        const double bytes = (double)(n - eval) / (double)ids[HY_SPLIT_EVAL].n;
        assert_true(fabs(hy_task_bytes_per_token(t) - bytes) < 1e-12);
        assert_int_equal(hy_task_cells(t, HY_SPLIT_TUNE), 2);
        for (int cell = 0; cell < 2; cell++) {
            windows_score(t, HY_SPLIT_EVAL, cell, &ids[HY_SPLIT_EVAL]);
            windows_score(t, HY_SPLIT_TUNE, cell, &ids[HY_SPLIT_TUNE]);
        }
        crops_lie_in(t, &ids[HY_SPLIT_TRAIN]);
        for (int s = 0; s < HY_SPLITS; s++) free(ids[s].v);
        hy_task_close(t);
        hy_tokenizer_close(tok);
    }
    free(data);
}

// Of a text so short that every place is drawn: a crop begins anywhere from the first token to where its last label is
// the last token of the training part, each place as often as another.
static void crops_of_a_short_text(void **state) {
    (void)state;
    enum { N = 40, T = 3, PLACES = 20 - T, CROPS = 3400 };
    char path[] = "/tmp/hylab_test_XXXXXX", options[256], text[N];
    const int fd = mkstemp(path);
    int count[PLACES] = {0};
    assert_true(fd >= 0 && !close(fd));
    for (int i = 0; i < N; i++) text[i] = (char)('A' + i);
    assert_int_equal(hy_file_write(path, text, N), HY_OK);
    snprintf(options, sizeof options, "path: %s\nvalidation: 0.25\ntuning: 0.25\ntrain: %d\ntest: 5", path, T);
    hy_task *t = open_task("text", options, 4);
    for (int i = 0; i < CROPS; i++) {
        example e = example_get(t, HY_SPLIT_TRAIN, 0, i);
        const int at = e.ids[0] - 'A';
        assert_true(at >= 0 && at < PLACES);
        for (int j = 0; j < T; j++) assert_true(e.ids[j] == 'A' + at + j && e.labels[j] == e.ids[j] + 1);
        count[at]++;
        example_free(&e);
    }
    for (int i = 0; i < PLACES; i++) assert_true(fabs(count[i] - CROPS / (double)PLACES) < 5 * sqrt(CROPS / PLACES));
    hy_task_close(t);
    unlink(path);
}

// Where there is no part for tuning there are no such cells, and the identity is what it was before there were any.
static void text_without_tuning(void **state) {
    (void)state;
    char options[256];
    hy_buf text = {0};
    snprintf(options, sizeof options, "path: %s", text_file);
    hy_task *none = open_task("text", options, 4);
    assert_int_equal(hy_task_cells(none, HY_SPLIT_TUNE), 0);
    hy_task_text(none, &text);
    assert_null(strstr(text.s, "tuning"));
    free(text.s);
    hy_task_close(none);
    snprintf(options, sizeof options, "path: %s\ntuning: 0.6\nvalidation: 0.4", text_file);
    assert_int_equal(hy_task_open("text", options, 1, &none), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "tuning 0.6 and validation 0.4 leave nothing to train on"));
    snprintf(options, sizeof options, "path: %s\ntuning: 0.001\ntest: 256", text_file);
    assert_int_equal(hy_task_open("text", options, 1, &none), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "its tuning part has"));
}

static void text_folders(void **state) {
    (void)state;
    char dir[] = "/tmp/hylab_test_XXXXXX", path[256], options[512];
    assert_non_null(mkdtemp(dir));
    static const char *const names[] = {"b.txt", "a/z.txt", "a.txt", ".hidden"}, *const texts[] = {"bbbb", "zzzz",
                                                                                                   "aaaa", "hhhh"};
    snprintf(path, sizeof path, "%s/a", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(hy_file_write(path, texts[i], 4), HY_OK);
    }
    snprintf(path, sizeof path, "%s/loop", dir);
    assert_int_equal(symlink(dir, path), 0);
    snprintf(options, sizeof options, "path: %s\nvalidation: 0.5\ntrain: 5\ntest: 5", dir);
    hy_task *t = open_task("text", options, 1);
    example e = example_get(t, HY_SPLIT_EVAL, 0, 0);  // "a" < "a.txt" < "b.txt": zzzz aaaa bbbb
    const char *want = "aabbb";
    for (int i = 0; i < 5; i++) assert_int_equal(e.ids[i], want[i]);
    example_free(&e);
    hy_buf before = {0}, after = {0};
    hy_task_text(t, &before);
    assert_non_null(strstr(before.s, "bytes: 12\ncontent: "));
    hy_task_close(t);
    snprintf(path, sizeof path, "%s/b.txt", dir);
    assert_int_equal(hy_file_write(path, "bbbc", 4), HY_OK);
    t = open_task("text", options, 1);
    hy_task_text(t, &after);
    assert_string_not_equal(before.s, after.s);  // other bytes, another identity
    hy_task_close(t);
    free(before.s), free(after.s);
    hy_task *none = NULL;
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (i < 3) assert_int_equal(hy_file_write(path, "", 0), HY_OK);
    }
    assert_int_equal(hy_task_open("text", options, 1, &none), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "no file in it has any bytes"));
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
    assert_int_equal(hy_task_open("text", options, 1, &none), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "No such file"));
}

// With a tokenizer: every token of the evaluation part but the first is scored once, the parts are those of the bytes,
// and the identity names the tokenizer; without, it is what it was before there were any.
static void text_tokens(void **state) {
    (void)state;
    char options[256];
    snprintf(options, sizeof options,
             "path: %s\nvalidation: 0.1\ntrain: 50\ntest: [7, 64]\ntokenizer: tests/golden/tokenizers/llama3.json",
             text_file);
    hy_task *t = open_task("text", options, 4);
    hy_tokenizer *tok;
    char *data;
    size_t n;
    hy_token_ids ids = {0};
    hy_buf plain = {0}, with = {0};
    assert_int_equal(hy_tokenizer_open("tests/golden/tokenizers/llama3.json", &tok), HY_OK);
    assert_int_equal(hy_file_read(text_file, 1 << 20, &data, &n), HY_OK);
    const size_t n_train = n - (size_t)((double)n * 0.1);
    assert_int_equal(hy_tokenizer_encode(tok, data + n_train, n - n_train, false, &ids), HY_OK);
    assert_int_equal(hy_task_vocab(t), hy_tokenizer_vocab(tok));
    assert_true(fabs(hy_task_bytes_per_token(t) - (double)(n - n_train) / (double)ids.n) < 1e-12);
    for (int cell = 0; cell < 2; cell++) {
        size_t next = 1;
        for (int64_t i = 0; i < hy_task_cell(t, HY_SPLIT_EVAL, cell)->count; i++) {
            example e = example_get(t, HY_SPLIT_EVAL, cell, i);
            for (int j = 0; j < e.T; j++)
                if (e.labels[j] >= 0) {
                    assert_int_equal(e.labels[j], ids.v[next]);
                    assert_int_equal(e.ids[j], ids.v[next - 1]);
                    next++;
                }
            example_free(&e);
        }
        assert_int_equal(next, ids.n);
    }
    hy_task_text(t, &with);
    assert_non_null(strstr(with.s, "tokenizer_content: "));
    hy_task_close(t);
    *strstr(options, "\ntokenizer") = 0;
    t = open_task("text", options, 4);
    hy_task_text(t, &plain);
    assert_null(strstr(plain.s, "token"));
    assert_true(hy_task_bytes_per_token(t) == 1);
    hy_task_close(t);
    hy_tokenizer_close(tok);
    free(data), free(ids.v), free(plain.s), free(with.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markov_entropy),      cmocka_unit_test(markov_frequencies),
        cmocka_unit_test(text_windows),        cmocka_unit_test(text_parts),
        cmocka_unit_test(text_without_tuning), cmocka_unit_test(crops_of_a_short_text),
        cmocka_unit_test(text_folders),        cmocka_unit_test(text_tokens),
        cmocka_unit_test(markov_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
