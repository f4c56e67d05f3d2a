// test_token_kinds.c - parts of tokenizers one at a time: the syntax of patterns, normalizers, WordPiece, ids of added
// tokens, bounds of growth. What is expected was made by tokenizers 0.23.3.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/json.h"
#include "core/token/tok_impl.h"

#define FOLDER "tests/golden/tokenizers/"

static void next_line(char **at, char **line, size_t *n) {
    *line = *at;
    *n = strcspn(*at, "\n");
    *at += *n + 1;
}

#define MODEL(rest) \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]" rest "}"
// The pieces that patterns cut texts into, by the reference (patterns.golden: [pattern, text, pieces] a line).
static void test_pattern_syntax(void **state) {
    (void)state;
    char *data;
    size_t n;
    int cases = 0;
    assert_int_equal(hy_file_read(FOLDER "patterns.golden", 1 << 20, &data, &n), HY_OK);
    for (char *at = data, *line; *at; cases++) {
        hy_json *golden, *step = hy_json_new_object(), *regex = hy_json_new_object();
        const char *pattern, *text, *piece, *out;
        hy_tok_steps steps = {0};
        hy_spans two[2] = {{0}};
        const hy_spans *spans;
        next_line(&at, &line, &n);
        assert_int_equal(hy_json_parse(line, n, "golden", 0, &golden), HY_OK);
        const hy_json *pieces = hy_json_at(golden, 2);
        assert_int_equal(hy_json_string(hy_json_at(golden, 0), "", &pattern), HY_OK);
        assert_int_equal(hy_json_string(hy_json_at(golden, 1), "", &text), HY_OK);
        hy_json_set_string(regex, "Regex", pattern);
        hy_json_set_string(step, "type", "Split");
        hy_json_set(step, "pattern", regex);
        hy_json_set_string(step, "behavior", "Isolated");
        if (hy_tok_steps_pre(step, "f", &steps)) fail_msg("%s", hy_error_text());
        assert_int_equal(hy_presplit(&steps, text, strlen(text), true, two, &spans, &out, NULL), HY_OK);
        bool same = spans->n == hy_json_size(pieces);
        for (size_t k = 0; same && k < spans->n; k++) {
            assert_int_equal(hy_json_string(hy_json_at(pieces, k), "", &piece), HY_OK);
            same = spans->v[k].n == strlen(piece) && !memcmp(out + spans->v[k].at, piece, spans->v[k].n);
        }
        if (!same) fail_msg("pattern %s cuts \"%s\" otherwise", pattern, text);
        for (int k = 0; k < 2; k++) free(two[k].v), free(two[k].text.s);
        hy_tok_steps_free(&steps);
        hy_json_free(step);
        hy_json_free(golden);
    }
    assert_true(cases > 300);
    free(data);
}

static const struct {
    const char *json, *text;
    size_t text_n;
    const char *want;
    size_t want_n;
} normal_cases[] = {
    {"{\"type\": \"Lowercase\"}",
     "AZ\304\260\341\272\236\316\243\341\262\211\352\237\213\352\237\214\352\237\234\360\220\265\220\360\226\272"
     "\240\360\220\220\200\303\237",
     35,
     "azi\314\207\303\237\317\203\341\262\212\311\244\352\237\215\306\233\360\220\265\260\360\226\272\273\360\220"
     "\220\250\303\237",
     33},
    {"{\"type\": \"StripAccents\"}", "e\314\201\314\247\342\203\235\340\244\203x\341\252\277\340\270\261", 18,
     "ex\341\252\277", 5},
    {"{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": false}", "\343\200\200\011\302\205\013 a b \302\240",
     14, "a b \302\240", 6},
    {"{\"type\": \"Strip\", \"strip_left\": false, \"strip_right\": true}",
     "\343\200\200\011 a b \014\302\240\342\200\250", 15, "\343\200\200\011 a b", 8},
    {"{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}", " \342\200\203 ", 5, "", 0},
    {"{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": false, \"strip_accents\": "
     "null, \"lowercase\": false}",
     "a\000b\357\277\275c\302\255d\011e\302\240f\013g\356\200\200\363\260\200\201\364\217\277\275\302\205\303\211", 32,
     "abcd e fg\303\211", 11},
    {"{\"type\": \"BertNormalizer\", \"clean_text\": false, \"handle_chinese_chars\": true, \"strip_accents\": "
     "false, \"lowercase\": false}",
     "a\346\274\242\343\201\202\352\260\200\343\220\200\357\244\200\360\240\200\200b", 21,
     "a \346\274\242 \343\201\202\352\260\200 \343\220\200  \357\244\200  \360\240\200\200 b", 29},
    {"{\"type\": \"BertNormalizer\", \"clean_text\": false, \"handle_chinese_chars\": false, \"strip_accents\": "
     "null, \"lowercase\": true}",
     "\303\211\303\205\340\244\203e\342\203\235", 11, "ea\340\244\203e\342\203\235", 9},
    {"{\"type\": \"BertNormalizer\", \"clean_text\": false, \"handle_chinese_chars\": false, \"strip_accents\": "
     "true, \"lowercase\": false}",
     "\303\211\341\271\251", 5, "Es", 2},
    {"{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, \"strip_accents\": "
     "false, \"lowercase\": true}",
     "\303\211\346\274\242\304\260", 7, "\303\251 \346\274\242 i\314\207", 10},
    {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Lowercase\"}, {\"type\": \"Replace\", \"pattern\": "
     "{\"String\": \"a\"}, \"content\": \"A\"}]}",
     "aAbB", 4, "AAbb", 4},
    {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, "
     "\"content\": \"A\"}, {\"type\": \"Lowercase\"}]}",
     "aAbB", 4, "aabb", 4},
    {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"StripAccents\"}]}",
     "\303\251e\314\201", 5, "\303\251\303\251", 4},
    {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"StripAccents\"}]}",
     "\303\251e\314\201", 5, "ee", 2},
    {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"_\"}, {\"type\": "
     "\"Strip\", \"strip_left\": true, \"strip_right\": true}]}",
     " a ", 3, "_ a", 3},
};

// What normalizers make of letters, marks, spaces, controls and ideographs: by tokenizers 0.23.3.
static void test_normalizers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof normal_cases / sizeof *normal_cases; i++) {
        hy_json *j;
        hy_tok_steps steps = {0};
        hy_buf got = {0};
        assert_int_equal(hy_json_parse(normal_cases[i].json, strlen(normal_cases[i].json), "f", 0, &j), HY_OK);
        if (hy_tok_steps_normalizer(j, "f", &steps)) fail_msg("%s", hy_error_text());
        assert_int_equal(hy_normalize(&steps, normal_cases[i].text, normal_cases[i].text_n, &got), HY_OK);
        if (got.n != normal_cases[i].want_n || memcmp(got.s, normal_cases[i].want, got.n))
            fail_msg("%s makes \"%.*s\" of \"%s\"", normal_cases[i].json, (int)got.n, got.s, normal_cases[i].text);
        free(got.s);
        hy_tok_steps_free(&steps);
        hy_json_free(j);
    }
}

// WordPiece: the longest piece each time; a word that is too long or has a part that is no piece is unknown as a whole.
static void test_wordpiece(void **state) {
    (void)state;
    static const char json[] =
        "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"U\", \"continuing_subword_prefix\": \"##\", "
        "\"max_input_chars_per_word\": 4, \"vocab\": {\"U\": 0, \"a\": 1, \"##a\": 2, \"##aa\": 3, \"\u00e9\": 4, "
        "\"##\u00e9\": 5, \"ab\": 6, \"##\": 7}}, \"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}}";
    static const struct {
        const char *text;
        int n;
        int32_t ids[4];
    } cases[] = {{"aaaa", 3, {1, 3, 2}},
                 {"aaaaa", 1, {0}},
                 {"\u00e9\u00e9\u00e9\u00e9", 4, {4, 5, 5, 5}},
                 {"\u00e9\u00e9\u00e9\u00e9\u00e9", 1, {0}},
                 {"aab", 1, {0}},
                 {"ab", 1, {6}},
                 {"a##", 1, {0}},
                 {"##", 1, {7}},
                 {"aba", 2, {6, 2}},
                 {"abx a", 2, {0, 1}}};
    hy_tokenizer *t;
    if (hy_tokenizer_open_memory(json, strlen(json), true, "f.json", &t)) fail_msg("%s", hy_error_text());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hy_token_ids ids = {0};
        assert_int_equal(hy_tokenizer_encode(t, cases[i].text, strlen(cases[i].text), true, &ids), HY_OK);
        if ((int)ids.n != cases[i].n || memcmp(ids.v, cases[i].ids, ids.n * sizeof *ids.v))
            fail_msg("%s", cases[i].text);
        free(ids.v);
    }
    assert_string_equal(hy_tokenizer_kind(t), "WordPiece");
    hy_tokenizer_close(t);
    static const char none[] = "{\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": {\"a\": 0}}}";
    hy_token_ids ids = {0};
    assert_int_equal(hy_tokenizer_open_memory(none, strlen(none), true, "f.json", &t), HY_OK);
    assert_int_equal(hy_tokenizer_encode(t, "b", 1, true, &ids), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "unk_token \"?\" is none either"));
    free(ids.v);
    hy_tokenizer_close(t);
}

// A template puts tokens on both sides of the text, RobertaProcessing one on each; none without special tokens.
#define TOKEN(c, id) "\"" c "\": {\"id\": \"" c "\", \"ids\": [" id "], \"tokens\": [\"" c "\"]}"
#define PIECE(c) "{\"SpecialToken\": {\"id\": \"" c "\", \"type_id\": 0}}"
#define TEMPLATE                                                          \
    "{\"type\": \"TemplateProcessing\", \"single\": [" PIECE(             \
        "a") ", {\"Sequence\": {\"id\": \"A\", \"type_id\": "             \
             "0}}, " PIECE("b") ", " PIECE("a") "], \"special_tokens\": " \
                                                "{" TOKEN("a", "0") ", " TOKEN("b", "1") "}}"
#define ROBERTA "{\"type\": \"RobertaProcessing\", \"cls\": [\"ab\", 2], \"sep\": [\"b\", 1]}"
static void test_template(void **state) {
    (void)state;
    static const struct {
        const char *json;
        size_t n;
        int32_t ids[4];
    } cases[] = {{"{" MODEL("") ", \"post_processor\": " TEMPLATE "}", 4, {0, 2, 1, 0}},
                 {"{" MODEL("") ", \"post_processor\": " ROBERTA "}", 3, {2, 2, 1}}};
    hy_tokenizer *t;
    for (int i = 0; i < 2; i++) {
        hy_token_ids ids = {0};
        if (hy_tokenizer_open_memory(cases[i].json, strlen(cases[i].json), true, "f.json", &t))
            fail_msg("%s", hy_error_text());
        assert_int_equal(hy_tokenizer_encode(t, "ab", 2, true, &ids), HY_OK);
        assert_int_equal(ids.n, cases[i].n);
        assert_memory_equal(ids.v, cases[i].ids, ids.n * sizeof *ids.v);
        ids.n = 0;
        assert_int_equal(hy_tokenizer_encode(t, "ab", 2, false, &ids), HY_OK);
        assert_true(ids.n == 1 && ids.v[0] == 2);
        free(ids.v);
        hy_tokenizer_close(t);
    }
    static const char both[] =
        "{" MODEL("") ", \"post_processor\": {\"type\": \"Sequence\", \"processors\": [" TEMPLATE ", " ROBERTA "]}}";
    assert_int_equal(hy_tokenizer_open_memory(both, strlen(both), true, "f.json", &t), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "processors[1]: \"RobertaProcessing\" together with another"));
}

// Added tokens that take the spaces before or after them, or that stand alone as words.
static void test_added_flags(void **state) {
    (void)state;
    static const char json[] =
        "{\"model\": {\"merges\": [], \"vocab\": {\"a\": 0, \" \": 1, \"w\": 2, \"\u00e9\": 3}}, \"added_tokens\": ["
        "{\"id\": 4, \"content\": \"<l>\", \"lstrip\": true}, {\"id\": 5, \"content\": \"<r>\", \"rstrip\": true}, "
        "{\"id\": 6, \"content\": \"ww\", \"single_word\": true}]}";
    static const struct {
        const char *text;
        size_t n;
        int32_t ids[5];
    } cases[] = {
        {"a  <l> a", 4, {0, 4, 1, 0}},  {"<r>  <l>a", 3, {5, 4, 0}}, {"<r> \u3000<l>", 2, {5, 4}},
        {"a <r>  a", 4, {0, 1, 5, 0}},  {"aww", 3, {0, 2, 2}},       {"wwa", 3, {2, 2, 0}},
        {"a ww a", 5, {0, 1, 6, 1, 0}}, {"\u00e9ww", 3, {3, 2, 2}},  {"ww", 1, {6}},
        {"<l>ww<r>", 3, {4, 6, 5}},     {"www", 3, {2, 2, 2}},
    };
    hy_tokenizer *t;
    if (hy_tokenizer_open_memory(json, strlen(json), true, "f.json", &t)) fail_msg("%s", hy_error_text());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hy_token_ids ids = {0};
        assert_int_equal(hy_tokenizer_encode(t, cases[i].text, strlen(cases[i].text), true, &ids), HY_OK);
        if (ids.n != cases[i].n || memcmp(ids.v, cases[i].ids, ids.n * sizeof *ids.v))
            fail_msg("\"%s\"", cases[i].text);
        free(ids.v);
    }
    hy_tokenizer_close(t);
}

// A character of which one byte is no piece is unknown; its other bytes are not written.
static void test_half_fallback(void **state) {
    (void)state;
    static const char json[] = "{\"model\": {\"byte_fallback\": true, \"unk_token\": \"?\", \"merges\": [], \"vocab\": "
                               "{\"a\": 0, \"<0xC3>\": 1, \"?\": 2, \"<0xA9>\": 3}}}";
    static const int32_t want[] = {0, 1, 3, 2, 0};
    hy_tokenizer *t;
    hy_token_ids ids = {0};
    assert_int_equal(hy_tokenizer_open_memory(json, strlen(json), true, "f.json", &t), HY_OK);
    assert_int_equal(hy_tokenizer_encode(t,
                                         "a\xc3\xa9\xc3\xa8"
                                         "a",
                                         6, true, &ids),
                     HY_OK);
    assert_int_equal(ids.n, 5);
    assert_memory_equal(ids.v, want, sizeof want);
    free(ids.v);
    hy_tokenizer_close(t);
}

// Steps that double a text again and again are stopped: normalizer, pre-tokenizer, decoder.
static void test_growth(void **state) {
    (void)state;
    static const char *const part[] = {"normalizer", "pre_tokenizer", "decoder"};
    static const char *const list[] = {"normalizers", "pretokenizers", "decoders"};
    static const char replace[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aa\"}";
    static const char bytes[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}";
    for (int k = 0; k < 3; k++) {
        for (int steps = 4; steps <= 40; steps += 36) {  // a little growth is everyday business
            hy_buf json = {0}, text = {0};
            hy_tokenizer *t;
            hy_token_ids ids = {0};
            hy_buf_printf(&json, "{" MODEL(", \"unk_token\": \"a\"") ", \"%s\": {\"type\": \"Sequence\", \"%s\": [",
                          part[k], list[k]);
            for (int i = 0; i < steps; i++) hy_buf_printf(&json, "%s%s", i ? ", " : "", k == 1 ? bytes : replace);
            hy_buf_printf(&json, "]}}");
            if (hy_tokenizer_open_memory(json.s, json.n, true, "f.json", &t)) fail_msg("%s", hy_error_text());
            hy_status s = hy_tokenizer_encode(t, "a\xc3\xa9", 3, false, &ids);
            if (k == 2) assert_int_equal(s, HY_OK);
            if (k == 2) s = hy_tokenizer_decode(t, ids.v, ids.n, true, &text);
            assert_int_equal(s, steps == 4 ? HY_OK : HY_EINPUT);
            const char *bound = s ? strstr(hy_error_text(), "longer than ") : NULL;
            if (s) assert_non_null(strstr(hy_error_text(), "far above what it was"));
            if (s) assert_true(bound && strtoul(bound + strlen("longer than "), NULL, 10) <= 8192);  // of 3 bytes
            free(ids.v), free(json.s), free(text.s);
            hy_tokenizer_close(t);
        }
    }
    // what one character may become at most: 18, by NFKD
    static const char nfkd[] = "{" MODEL(", \"unk_token\": \"a\"") ", \"normalizer\": {\"type\": \"NFKD\"}}";
    hy_tokenizer *t;
    hy_token_ids ids = {0};
    hy_buf many = {0};
    for (int i = 0; i < 5000; i++) hy_buf_write(&many, "\xef\xb7\xba", 3);
    assert_int_equal(hy_tokenizer_open_memory(nfkd, strlen(nfkd), true, "f.json", &t), HY_OK);
    assert_int_equal(hy_tokenizer_encode(t, many.s, many.n, false, &ids), HY_OK);
    assert_int_equal(ids.n, 5000 * 18);
    free(ids.v), free(many.s);
    hy_tokenizer_close(t);
}

// Added tokens get the ids that the reference (tokenizers 0.23.3) gives them, not those of the file: the vocabulary's,
// or the next ones after as many as there are pieces, on top of a piece where the vocabulary has holes.
static void test_added_ids(void **state) {
    (void)state;
    static const char json[] =
        "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"d\": 4, \"f\": 9}, \"merges\": []},"
        " \"added_tokens\": [{\"id\": 11, \"content\": \"<s>\", \"special\": true}, {\"id\": 0, \"content\": \"b\"},"
        " {\"id\": 6, \"content\": \"<t>\"}, {\"id\": 9, \"content\": \"f\"}, {\"id\": 10, \"content\": \"<u>\"}]}";
    static const int32_t want[] = {0, 5, 1, 6, 4, 9, 7};
    hy_tokenizer *t;
    hy_token_ids ids = {0};
    hy_buf text = {0};
    if (hy_tokenizer_open_memory(json, strlen(json), true, "f.json", &t)) fail_msg("%s", hy_error_text());
    assert_int_equal(hy_tokenizer_encode(t, "a<s>b<t>df<u>", 13, true, &ids), HY_OK);
    assert_int_equal(ids.n, 7);
    assert_memory_equal(ids.v, want, sizeof want);
    assert_int_equal(hy_tokenizer_vocab(t), 10);
    assert_int_equal(hy_tokenizer_decode(t, ids.v, ids.n, true, &text), HY_OK);
    assert_string_equal((hy_buf_write(&text, "", 1), text.s), "a b <t> d f <u>");  // <s> is special
    assert_non_null(
        strstr(hy_tokenizer_notes(t), "added_tokens[0]: \"<s>\" has id 5, by its place in the file, and not 11"));
    assert_non_null(strstr(hy_tokenizer_notes(t), "added_tokens[1]: \"b\" has id 1, by the vocabulary, and not 0"));
    assert_null(strstr(hy_tokenizer_notes(t), "added_tokens[2]"));
    free(ids.v), free(text.s);
    hy_tokenizer_close(t);
    static const char hole[] = "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 2}, \"merges\": []},"
                               " \"added_tokens\": [{\"id\": 3, \"content\": \"<s>\"}]}";
    ids = (hy_token_ids){0}, text = (hy_buf){0};
    if (hy_tokenizer_open_memory(hole, strlen(hole), true, "f.json", &t)) fail_msg("%s", hy_error_text());
    assert_int_equal(hy_tokenizer_encode(t, "b<s>", 4, true, &ids), HY_OK);
    assert_true(ids.n == 2 && ids.v[0] == 2 && ids.v[1] == 2);
    assert_int_equal(hy_tokenizer_decode(t, ids.v, 1, true, &text), HY_OK);
    assert_string_equal((hy_buf_write(&text, "", 1), text.s), "<s>");
    free(ids.v), free(text.s);
    hy_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_syntax), cmocka_unit_test(test_growth),      cmocka_unit_test(test_added_ids),
        cmocka_unit_test(test_normalizers),    cmocka_unit_test(test_wordpiece),   cmocka_unit_test(test_half_fallback),
        cmocka_unit_test(test_template),       cmocka_unit_test(test_added_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
