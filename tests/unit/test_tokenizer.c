// test_tokenizer.c - the tokenizers against goldens of the reference packages, against a slow BPE, as streams, and what
// is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/json.h"
#include "core/token/tok_impl.h"

#define FOLDER "tests/golden/tokenizers/"
static const char *const files[] = {"llama2.json", "hymba-first.json", "llama3.json", "qwen2.json", "gptneox.json",
                                    "falcon.json", "sp-bpe.model", "sp-unigram.model",
                                    // of small studies; words of theirs end at spaces
                                    "whitespace.json", "whitespace-split.json", "wordlevel.json", "wordpiece.json",
                                    "wordpiece-cased.json", "bpe-suffix.json", "clip.json", "bpe-prefix.json",
                                    "roberta.json", "delimiter.json"};
#define N_FILES ((int)(sizeof files / sizeof *files))

static hy_tokenizer *open_file(const char *name) {
    char path[256];
    hy_tokenizer *t = NULL;
    snprintf(path, sizeof path, FOLDER "%s", name);
    if (hy_tokenizer_open(path, &t)) fail_msg("%s", hy_error_text());
    return t;
}

// ---------------------------------------------------------------------------------------------------- goldens
// Decoding as a stream: each part is UTF-8, all parts together are `want`.
static void check_stream(hy_tokenizer *t, const hy_token_ids *ids, bool skip, const hy_buf *want) {
    hy_token_stream *s = hy_token_stream_new(t, skip);
    for (int again = 0; again < 2; again++) {  // a stream that has ended begins anew
        hy_buf all = {0};
        hy_buf_write(&all, "", 0);
        for (size_t i = 0; i < ids->n; i++) {
            const size_t before = all.n;
            assert_int_equal(hy_token_stream_push(s, ids->v[i], &all), HY_OK);
            assert_int_equal(hy_utf8_bad(all.s + before, all.n - before), all.n - before);
        }
        assert_int_equal(hy_token_stream_end(s, &all), HY_OK);
        assert_int_equal(all.n, want->n);
        assert_memory_equal(all.s, want->s, want->n);
        free(all.s);
    }
    hy_token_stream_free(s);
}

static void next_line(char **at, char **line, size_t *n) {
    *line = *at;
    *n = strcspn(*at, "\n");
    *at += *n + 1;
}

static void check_golden(hy_tokenizer *t, char **at) {
    char *line;
    size_t n;
    hy_buf text = {0}, back = {0}, got = {0};
    hy_token_ids want = {0}, ids = {0};
    next_line(at, &line, &n);
    assert_int_equal(hy_json_parse_string(line, n, "golden", &text), HY_OK);
    next_line(at, &line, &n);
    hy_json *list;
    assert_int_equal(hy_json_parse(line, n, "golden", 0, &list), HY_OK);
    for (size_t i = 0; i < hy_json_size(list); i++) {
        int64_t id;
        assert_int_equal(hy_json_int(hy_json_at(list, i), "golden", 0, INT32_MAX, &id), HY_OK);
        hy_token_ids_add(&want, (int32_t)id);
    }
    hy_json_free(list);
    next_line(at, &line, &n);
    assert_int_equal(hy_json_parse_string(line, n, "golden", &back), HY_OK);
    hy_buf_write(&text, "", 0), hy_buf_write(&back, "", 0);
    assert_int_equal(hy_tokenizer_encode(t, text.s, text.n, true, &ids), HY_OK);
    if (ids.n != want.n || (ids.n && memcmp(ids.v, want.v, ids.n * sizeof *ids.v)))
        fail_msg("%s: \"%s\" gives other ids", hy_tokenizer_path(t), text.s);
    assert_int_equal(hy_tokenizer_decode(t, ids.v, ids.n, false, &got), HY_OK);
    if (got.n != back.n || memcmp(got.s, back.s, got.n))
        fail_msg("%s: \"%s\" comes back as \"%s\"", hy_tokenizer_path(t), back.s, got.s);
    check_stream(t, &ids, false, &back);
    free(text.s), free(back.s), free(got.s), free(want.v), free(ids.v);
}

static void test_goldens(void **state) {
    (void)state;
    for (int f = 0; f < N_FILES; f++) {
        hy_tokenizer *t = open_file(files[f]);
        char path[256], *data;
        size_t n;
        snprintf(path, sizeof path, FOLDER "%.*s.golden", (int)(strrchr(files[f], '.') - files[f]), files[f]);
        assert_int_equal(hy_file_read(path, 1 << 20, &data, &n), HY_OK);
        int cases = 0;
        for (char *at = data; *at; cases++) check_golden(t, &at);
        assert_int_equal(cases, 50);
        free(data);
        hy_tokenizer_close(t);
    }
}

// Any ids: a stream gives what decoding the list gives.
static void test_streams(void **state) {
    (void)state;
    hy_rng r = hy_rng_make(5, 5);
    for (int f = -1; f < N_FILES; f++) {
        hy_tokenizer *t = NULL;
        if (f < 0)
            assert_int_equal(hy_tokenizer_open("bytes", &t), HY_OK);
        else
            t = open_file(files[f]);
        for (int k = 0; k < 300; k++) {
            hy_token_ids ids = {0};
            hy_buf want = {0};
            const size_t n = hy_rng_below(&r, 20);
            // half of them from the first 300 ids: byte pieces and special tokens are there
            for (size_t i = 0; i < n; i++)
                hy_token_ids_add(&ids, (int32_t)hy_rng_below(&r, k % 2 ? 256 : (uint64_t)hy_tokenizer_vocab(t)));
            assert_int_equal(hy_tokenizer_decode(t, ids.v, ids.n, k % 3 == 0, &want), HY_OK);
            assert_int_equal(hy_utf8_bad(want.s, want.n), want.n);
            check_stream(t, &ids, k % 3 == 0, &want);
            free(ids.v), free(want.s);
        }
        hy_tokenizer_close(t);
    }
}

// ---------------------------------------------------------------------------------------------------- BPE, slowly
typedef struct {
    int32_t (*v)[3];  // left, right, result
    size_t n;
} merge_list;

static merge_list merges_read(const hy_tokenizer *t, const char *name) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s", name);
    hy_json *root;
    assert_int_equal(hy_json_read(path, 1 << 20, &root), HY_OK);
    const hy_json *list = hy_json_get(hy_json_get(root, "model"), "merges");
    merge_list m = {.n = hy_json_size(list)};
    m.v = hy_xcalloc(m.n, sizeof *m.v);
    for (size_t i = 0; i < m.n; i++) {
        const char *a, *b;
        assert_int_equal(hy_json_string(hy_json_at(hy_json_at(list, i), 0), "", &a), HY_OK);
        assert_int_equal(hy_json_string(hy_json_at(hy_json_at(list, i), 1), "", &b), HY_OK);
        char *both = hy_asprintf("%s%s", a, b);
        m.v[i][0] = hy_tokenizer_id(t, a, strlen(a));
        m.v[i][1] = hy_tokenizer_id(t, b, strlen(b));
        m.v[i][2] = hy_tokenizer_id(t, both, strlen(both));
        free(both);
    }
    hy_json_free(root);
    return m;
}

// For each merge in order of rank: every place of it, from the left. As merges only make later ones possible, the
// lowest rank goes first.
static size_t slow_bpe(const merge_list *m, int32_t *ids, size_t n) {
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t k = 0; k < m->n && !changed; k++)
            for (size_t i = 0; i + 1 < n && !changed; i++) {
                if (ids[i] != m->v[k][0] || ids[i + 1] != m->v[k][1]) continue;
                ids[i] = m->v[k][2];
                memmove(ids + i + 1, ids + i + 2, (n - i - 2) * sizeof *ids);
                n--;
                changed = true;
            }
    }
    return n;
}

static void test_slow_bpe(void **state) {
    (void)state;
    hy_tokenizer *t = open_file("gptneox.json");
    const merge_list m = merges_read(t, "gptneox.json");
    static const size_t lengths[] = {1, 2, 3, 5, 37, 38, 39, 47, 48, 49, 50, 97, 300};
    static const char *const alphabets[] = {"etaoinshrdlu", "a", "the", "ehtr", "abcdefghijklmnopqrstuvwxyz"};
    hy_rng r = hy_rng_make(1, 2);
    int merged = 0;
    for (int round = 0; round < 4; round++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int a = 0; a < 5; a++) {
                const size_t n = lengths[l];
                char *word = hy_xcalloc(n + 1, 1);
                int32_t *want = hy_xcalloc(n, sizeof *want);
                for (size_t i = 0; i < n; i++) {
                    word[i] = alphabets[a][a == 2 ? (i + (size_t)round) % 3 : hy_rng_below(&r, strlen(alphabets[a]))];
                    want[i] = hy_tokenizer_id(t, word + i, 1);
                }
                const size_t k = slow_bpe(&m, want, n);
                merged += k < n;
                for (int again = 0; again < 2; again++) {  // the second time from the cache
                    hy_token_ids ids = {0};
                    assert_int_equal(hy_tokenizer_encode(t, word, n, false, &ids), HY_OK);
                    assert_int_equal(ids.n, k);
                    assert_memory_equal(ids.v, want, k * sizeof *want);
                    free(ids.v);
                }
                free(word);
                free(want);
            }
    assert_true(merged > 100);
    free(m.v);
    hy_tokenizer_close(t);
}

// All strings of up to 5 letters a and b are pieces, and all ways to put two of them together are merges, in random
// order: everything joins everything, so long words stay whole, and what a symbol was going to join with often changes
// under it.
static void test_dense_merges(void **state) {
    (void)state;
    enum { PIECES = 62, MERGES = 196 };
    hy_rng r = hy_rng_make(8, 1);
    for (int round = 0; round < 6; round++) {
        char piece[PIECES][8];
        int n_pieces = 0;
        hy_buf json = {0};
        hy_buf_printf(&json, "{\"model\": {\"vocab\": {");
        for (int len = 1; len <= 5; len++)
            for (int bits = 0; bits < 1 << len; bits++, n_pieces++) {
                for (int i = 0; i < len; i++) piece[n_pieces][i] = (char)('a' + (bits >> i & 1));
                piece[n_pieces][len] = 0;
                hy_buf_printf(&json, "%s\"%s\": %d", n_pieces ? ", " : "", piece[n_pieces], n_pieces);
            }
        int32_t merges[MERGES][3];
        merge_list m = {.v = merges};
        for (int p = 2; p < PIECES; p++)
            for (size_t cut = 1; cut < strlen(piece[p]); cut++, m.n++)
                for (int q = 0; q < PIECES; q++) {
                    merges[m.n][2] = p;
                    if (strlen(piece[q]) == cut && !strncmp(piece[q], piece[p], cut)) merges[m.n][0] = q;
                    if (!strcmp(piece[q], piece[p] + cut)) merges[m.n][1] = q;
                }
        assert_int_equal(m.n, MERGES);
        for (size_t i = m.n - 1; i > 0; i--) {
            const size_t k = hy_rng_below(&r, i + 1);
            for (int c = 0; c < 3; c++) {
                const int32_t swap = merges[i][c];
                merges[i][c] = merges[k][c], merges[k][c] = swap;
            }
        }
        hy_buf_printf(&json, "}, \"merges\": [");
        for (size_t i = 0; i < m.n; i++)
            hy_buf_printf(&json, "%s\"%s %s\"", i ? ", " : "", piece[merges[i][0]], piece[merges[i][1]]);
        hy_buf_printf(&json, "]}}");
        hy_tokenizer *t;
        if (hy_tokenizer_open_memory(json.s, json.n, true, "f.json", &t)) fail_msg("%s", hy_error_text());
        for (size_t n = 1; n < 400; n += 1 + n / 3) {
            char word[400];
            int32_t want[400];
            for (size_t i = 0; i < n; i++) word[i] = (char)('a' + (want[i] = (int32_t)hy_rng_below(&r, 2)));
            const size_t k = slow_bpe(&m, want, n);
            hy_token_ids ids = {0};
            assert_int_equal(hy_tokenizer_encode(t, word, n, false, &ids), HY_OK);
            assert_int_equal(ids.n, k);
            assert_memory_equal(ids.v, want, k * sizeof *want);
            free(ids.v);
        }
        hy_tokenizer_close(t);
        free(json.s);
    }
}

// What a split does with its matches: the example of the reference's documentation, and the same inverted.
static void test_splits(void **state) {
    (void)state;
    static const struct {
        const char *behavior, *plain, *inverted;
    } cases[] = {
        {"Removed", "the|final|countdown", "-|-|-"},
        {"Isolated", "the|-|final|-|-|countdown", "the|-|final|-|-|countdown"},
        {"MergedWithPrevious", "the-|final-|-|countdown", "the|-final|-|-countdown"},
        {"MergedWithNext", "the|-final|-|-countdown", "the-|final-|-|countdown"},
        {"Contiguous", "the|-|final|--|countdown", "the|-|final|--|countdown"},
    };
    for (int i = 0; i < 10; i++) {
        char text[256];
        hy_json *j;
        hy_tok_steps steps = {0};
        hy_spans two[2] = {{0}};
        const hy_spans *spans;
        const char *out;
        bool bytes;
        hy_buf got = {0};
        snprintf(text, sizeof text,
                 "{\"type\": \"Split\", \"pattern\": {\"%s\": \"-\"}, \"behavior\": \"%s\", \"invert\": %s}",
                 i % 4 < 2 ? "String" : "Regex", cases[i / 2].behavior, i % 2 ? "true" : "false");
        assert_int_equal(hy_json_parse(text, strlen(text), "f", 0, &j), HY_OK);
        assert_int_equal(hy_tok_steps_pre(j, "f", &steps), HY_OK);
        assert_int_equal(hy_presplit(&steps, "the-final--countdown", 20, true, two, &spans, &out, &bytes), HY_OK);
        for (size_t k = 0; k < spans->n; k++)
            hy_buf_printf(&got, "%s%.*s", k ? "|" : "", (int)spans->v[k].n, out + spans->v[k].at);
        assert_string_equal(got.s, i % 2 ? cases[i / 2].inverted : cases[i / 2].plain);
        for (int k = 0; k < 2; k++) free(two[k].v), free(two[k].text.s);
        free(got.s);
        hy_tok_steps_free(&steps);
        hy_json_free(j);
    }
}

// A word of a million symbols takes a moment, not hours; and one of an empty text nothing.
static void test_long_word(void **state) {
    (void)state;
    const size_t n = 300000;
    char *word = hy_xcalloc(n, 1);
    for (size_t i = 0; i < n; i++) word[i] = "the"[i % 3];
    for (int f = 0; f < 6; f++) {
        hy_tokenizer *t = open_file(files[f]);
        hy_token_ids ids = {0};
        hy_buf back = {0};
        assert_int_equal(hy_tokenizer_encode(t, word, n, false, &ids), HY_OK);
        assert_int_equal(hy_tokenizer_decode(t, ids.v, ids.n, true, &back), HY_OK);
        assert_int_equal(back.n, n);
        assert_memory_equal(back.s, word, n);
        assert_true(ids.n < n);
        free(ids.v), free(back.s);
        hy_tokenizer_close(t);
    }
    free(word);
}

// ---------------------------------------------------------------------------------------------------- bytes, bad text
static void test_bytes(void **state) {
    (void)state;
    hy_tokenizer *t;
    hy_token_ids ids = {0};
    hy_buf back = {0};
    const char text[] = "a\0\xff\xc3\xa9\xe2\x82";  // a broken character at the end
    assert_int_equal(hy_tokenizer_open("bytes", &t), HY_OK);
    assert_int_equal(hy_tokenizer_encode(t, text, sizeof text - 1, true, &ids), HY_OK);
    assert_int_equal(ids.n, sizeof text - 1);
    for (size_t i = 0; i < ids.n; i++) assert_int_equal(ids.v[i], (uint8_t)text[i]);
    assert_int_equal(hy_tokenizer_decode(t, ids.v, ids.n, true, &back), HY_OK);
    assert_int_equal(back.n, 10);
    assert_memory_equal(back.s, "a\0\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd", 10);
    assert_int_equal(hy_tokenizer_vocab(t), 256);
    free(ids.v), free(back.s);
    hy_tokenizer_close(t);
}

static void test_bad_text(void **state) {
    (void)state;
    static const char *const texts[] = {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80", "ab\xf4\x90\x80\x80"};
    for (int f = 0; f < N_FILES; f++) {
        hy_tokenizer *t = open_file(files[f]);
        hy_token_ids ids = {0};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            assert_int_equal(hy_tokenizer_encode(t, texts[i], strlen(texts[i]), true, &ids), HY_EINPUT);
            assert_non_null(strstr(hy_error_text(), "offset 2"));
        }
        free(ids.v);
        hy_tokenizer_close(t);
    }
}

// ---------------------------------------------------------------------------------------------------- refusals
#define MODEL(rest) \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]" rest "}"
static const struct {
    const char *text, *word;
} bad_files[] = {
    {"[]", "an object is wanted"},
    {"{}", "\"model\" is missing"},
    {"{\"model\": {\"type\": \"Unigram\"}}", "model: \"type\": \"Unigram\" is not supported"},
    {"{\"model\": {\"vocab\": {}, \"merges\": []}}", "vocab: is empty"},
    {"{\"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}}", "vocab[\"a\"]: -1 is outside"},
    {"{\"model\": {\"vocab\": {\"a\": 99999999999}, \"merges\": []}}", "vocab[\"a\"]: 99999999999 is outside"},
    {"{\"model\": {\"vocab\": {\"a\": 0.5}, \"merges\": []}}", "vocab[\"a\"]: is a number"},
    {"{\"model\": {\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []}}", "id 1 belongs to \"a\" already"},
    {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a c\"]}}", "merges[0]: \"c\" is not in the vocabulary"},
    {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a a\"]}}", "merges[0]: \"a\" and \"a\" together"},
    {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a\"]}}", "merges[0]: \"a\" is not two pieces"},
    {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [[\"a\"]]}}", "merges[0]: two pieces are wanted"},
    {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [7]}}", "merges[0]: is an integer"},
    {"{" MODEL(", \"dropout\": 0.1") "}", "\"dropout\": 0.1 would make ids random"},
    {"{" MODEL(", \"end_of_word_suffix\": 5") "}", "\"end_of_word_suffix\": is an integer"},
    {"{" MODEL("") ", \"normalizer\": {\"type\": \"Nmt\"}}", "normalizer: \"type\": \"Nmt\" is not supported"},
    {"{" MODEL("") ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, 5]}}",
     "normalizer.normalizers[1]: an object"},
    {"{" MODEL("") ", \"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}}",
     "pre_tokenizer: \"type\": \"UnicodeScripts\""},
    {"{" MODEL("") ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"__\"}}",
     "\"__\" is not one character"},
    {"{" MODEL("") ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": "
                   "\"last\"}}",
     "\"last\" is not always"},
    {"{" MODEL("") ", \"decoder\": {\"type\": \"CTC\"}}", "decoder: \"type\": \"CTC\""},
    {"{" MODEL("") ", \"post_processor\": {\"type\": \"BertProcessing\"}}", "post_processor: \"cls\" is missing"},
    {"{" MODEL("") ", \"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"a\", 0], \"sep\": [\"x\", 7]}}",
     "\"sep\": there is no token 7"},
    {"{" MODEL("") ", \"post_processor\": {\"type\": \"Odd\"}}", "post_processor: \"type\": \"Odd\""},
    {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}, \"max_input_chars_per_word\": 1000000}}",
     "\"max_input_chars_per_word\": 1000000 is outside"},
    {"{" MODEL("") ", \"decoder\": {\"type\": \"BPEDecoder\", \"suffix\": \"\"}}", "\"suffix\": is empty"},
    {"{\"model\": {\"vocab\": {\"a\": 0, \"b\": 5}, \"merges\": []}, \"post_processor\": {\"type\": "
     "\"TemplateProcessing\", \"single\": "
     "[{\"SpecialToken\": {\"id\": \"x\"}}, {\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {\"x\": "
     "{\"ids\": [3]}}}}",
     "\"x\": there is no token 3"},
    {"{" MODEL("") ", \"added_tokens\": [{\"id\": 3, \"content\": \"x\"}, {\"id\": 4, \"content\": \"x\"}]}",
     "is there twice"},
    {"{" MODEL("") ", \"added_tokens\": [{\"id\": 3, \"content\": \"\"}]}", "has 0 bytes"},
    {"{" MODEL("") ", \"added_tokens\": [{\"id\": 1e300, \"content\": \"x\"}]}", "added_tokens[0]: \"id\""},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        hy_tokenizer *t = NULL;
        if (hy_tokenizer_open_memory(bad_files[i].text, strlen(bad_files[i].text), true, "f.json", &t) != HY_EINPUT)
            fail_msg("not refused: %s", bad_files[i].text);
        assert_null(t);
        if (!strstr(hy_error_text(), bad_files[i].word) || strncmp(hy_error_text(), "f.json: ", 8))
            fail_msg("%s: no \"%s\"", hy_error_text(), bad_files[i].word);
    }
    hy_buf deep = {0};
    for (int i = 0; i < 100000; i++) hy_buf_write(&deep, "[", 1);
    hy_tokenizer *t = NULL;
    assert_int_equal(hy_tokenizer_open_memory(deep.s, deep.n, true, "f.json", &t), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "nested deeper"));
    free(deep.s);
}

static void test_patterns(void **state) {
    (void)state;
    static const char *const bad[] = {"a(",
                                      "[a",
                                      "\\p{Nonsense}",
                                      "\\p{L",
                                      "a{2}+",
                                      "[a&&]",
                                      "[&&a]",
                                      "[[:nonsense:]]",
                                      "[[:alpha]]",
                                      "[[a]",
                                      "[]",
                                      "[a-\\w]",
                                      "[a-[b]]",
                                      "\\1",
                                      "\\G",
                                      "\\K",
                                      "(?#x)",
                                      "*",
                                      "^*",
                                      "\\b+",
                                      "\\x{110000}",
                                      "(?i:\\p{Upper})",
                                      "(?i:[[:lower:]])",
                                      "[a[b[c[d[e[f[g[h[i]]]]]]]]]",
                                      ""};
    hy_regex *r = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (hy_regex_new(bad[i], "f.json: x", &r) != HY_EINPUT) fail_msg("not refused: %s", bad[i]);
        assert_null(r);
        assert_int_equal(strncmp(hy_error_text(), "f.json: x", 9), 0);
    }
    // one that explodes is stopped
    const hy_regex_at zero = {0};
    hy_regex_at at = zero;
    char text[4096];
    size_t start, end;
    bool found;
    memset(text, 'a', sizeof text);
    assert_int_equal(hy_regex_new("(?:a+a+)+b", "x", &r), HY_OK);
    text[40] = 'c';
    const hy_status s = hy_regex_next(r, text, sizeof text, &at, &start, &end, &found);
    assert_true(s == HY_EINPUT || (s == HY_OK && !found));  // the library may see that there is no b
    hy_regex_free(r);
    at = zero;
    assert_int_equal(hy_regex_new("(?:a+a+)+[bd]e?\\d", "x", &r), HY_OK);
    text[sizeof text - 1] = 'd';
    assert_int_equal(hy_regex_next(r, text, sizeof text, &at, &start, &end, &found), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "match limit"));
    hy_regex_free(r);
}

// U+180E is no space, U+1C89 (Unicode 16) is a letter; what follows a class is no range.
static void test_classes(void **state) {
    (void)state;
    hy_regex *r = NULL;
    hy_regex_at at = {0};
    const hy_regex_at zero = {0};
    size_t start, end;
    bool found;
    assert_int_equal(hy_regex_new("[\\s-!]|\\p{L}", "x", &r), HY_OK);
    assert_int_equal(hy_regex_next(r, "\xe1\xa0\x8e", 3, &at, &start, &end, &found), HY_OK);
    assert_false(found);
    at = zero;
    assert_int_equal(hy_regex_next(r, "\xe1\xb2\x89", 3, &at, &start, &end, &found), HY_OK);
    assert_true(found && end == 3);
    at = zero;
    assert_int_equal(hy_regex_next(r, "\"-", 2, &at, &start, &end, &found), HY_OK);
    assert_true(found && start == 1);
    hy_regex_free(r);
}

// Every truncation of a SentencePiece model, and every byte of its character map turned round, is refused or read.
static void test_hostile_sp(void **state) {
    (void)state;
    char *data;
    size_t n;
    hy_tokenizer *t;
    assert_int_equal(hy_file_read(FOLDER "sp-unigram.model", 1 << 20, &data, &n), HY_OK);
    int refused = 0;
    for (size_t k = 0; k < n; k += 1 + n / 150) {
        const hy_status s = hy_tokenizer_open_memory(data, k, false, "f.model", &t);
        assert_true(s == HY_OK || (s == HY_EINPUT && !strncmp(hy_error_text(), "f.model: ", 9)));
        refused += s != HY_OK;
        hy_tokenizer_close(t);
    }
    assert_true(refused > 100);
    refused = 0;
    for (size_t k = 1; k < n; k += 7) {
        data[k] ^= 0x5a;
        if (!hy_tokenizer_open_memory(data, n, false, "f.model", &t)) {
            hy_token_ids ids = {0};
            assert_int_equal(hy_tokenizer_encode(t, "\xef\xac\x81 A\xcc\x8a the", 12, true, &ids), HY_OK);
            free(ids.v);
        } else
            refused += strstr(hy_error_text(), "points outside it") != NULL;
        hy_tokenizer_close(t);
        data[k] ^= 0x5a;
    }
    assert_true(refused > 0);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),   cmocka_unit_test(test_streams),      cmocka_unit_test(test_slow_bpe),
        cmocka_unit_test(test_long_word), cmocka_unit_test(test_dense_merges), cmocka_unit_test(test_splits),
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_bad_text),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_patterns),  cmocka_unit_test(test_classes),      cmocka_unit_test(test_hostile_sp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
