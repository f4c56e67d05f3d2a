// test_safetensors.c - round trips of every element type, and every kind of damage to a file: a clear error, never a
// crash.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/safetensors.h"

// A file of this process alone: two suites may run at once.
static const char *scratch_path(void) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/hylab_test_st.%ld", (long)getpid());
    return path;
}

// ---------------------------------------------------------------------------------------------------- round trip
// Values that every type holds exactly, with the type's own extremes where float32 has them.
static void test_round_trip(void **state) {
    (void)state;
    static const uint8_t bool_[] = {0, 1, 1}, u8[] = {0, 7, 255};
    static const int8_t i8[] = {-128, 0, 127};
    static const uint16_t u16[] = {0, 9, 65535}, f16[] = {0x3c00, 0xc000, 0x7bff}, bf16[] = {0x3f80, 0xc000, 0x4780};
    static const int16_t i16[] = {-32768, 1, 32767};
    static const uint32_t u32[] = {0, 3, 1u << 31};
    static const int32_t i32[] = {INT32_MIN, 5, 1 << 30};
    static const uint64_t u64[] = {0, 3, 1ull << 62};
    static const int64_t i64[] = {INT64_MIN, 5, 1ll << 62};
    static const float f32[] = {-0.5f, 0, 3e38f};
    static const double f64[] = {-0.25, 0, 8};
    static const struct {
        hy_st_dtype t;
        const void *data;
        double want[3];
    } all[] = {
        {HY_ST_BOOL, bool_, {0, 1, 1}},         {HY_ST_U8, u8, {0, 7, 255}},
        {HY_ST_I8, i8, {-128, 0, 127}},         {HY_ST_U16, u16, {0, 9, 65535}},
        {HY_ST_F16, f16, {1, -2, 65504}},       {HY_ST_BF16, bf16, {1, -2, 65536}},
        {HY_ST_I16, i16, {-32768, 1, 32767}},   {HY_ST_U32, u32, {0, 3, 0x1p31}},
        {HY_ST_I32, i32, {-0x1p31, 5, 0x1p30}}, {HY_ST_U64, u64, {0, 3, 0x1p62}},
        {HY_ST_I64, i64, {-0x1p63, 5, 0x1p62}}, {HY_ST_F32, f32, {-0.5, 0, 3e38f}},
        {HY_ST_F64, f64, {-0.25, 0, 8}},
    };
    assert_int_equal(sizeof all / sizeof *all, HY_ST_DTYPE_COUNT);
    const char *path = scratch_path();
    hy_st_writer *w = hy_st_writer_new();
    hy_st_writer_meta(w, "format", "1");
    hy_st_writer_meta(w, "text", "a: b\n\"c\"\n");
    for (size_t i = 0; i < HY_ST_DTYPE_COUNT; i++)
        hy_st_writer_add(w, hy_st_dtype_name(all[i].t), all[i].t, 2, (int64_t[]){3, 1}, all[i].data);
    hy_st_writer_add(w, "scalar", HY_ST_F32, 0, NULL, f32);
    hy_st_writer_add(w, "none", HY_ST_F64, 2, (int64_t[]){0, 7}, NULL);
    assert_int_equal(hy_st_writer_commit(w, path), HY_OK);
    hy_st_writer_free(w);
    hy_st *st;
    if (hy_st_open(path, 0, &st)) fail_msg("%s", hy_error_text());
    assert_int_equal(hy_st_count(st), HY_ST_DTYPE_COUNT + 2);
    assert_string_equal(hy_st_meta(st, "text"), "a: b\n\"c\"\n");
    assert_null(hy_st_meta(st, "absent"));
    assert_null(hy_st_find(st, "absent"));
    for (size_t i = 0; i < HY_ST_DTYPE_COUNT; i++) {
        const hy_st_tensor *t = hy_st_find(st, hy_st_dtype_name(all[i].t));
        assert_non_null(t);
        assert_int_equal((uintptr_t)t->data % hy_st_dtype_size(t->dtype), 0);
        float f[2];
        double d[3];
        hy_st_read_f64(t, 0, 3, d);
        hy_st_read_f32(t, 1, 2, f);
        for (int k = 0; k < 3; k++) assert_true(d[k] == all[i].want[k]);
        for (int k = 0; k < 2; k++) assert_true(f[k] == (float)all[i].want[k + 1]);
        int64_t v[3];
        bool floating = strchr(hy_st_dtype_name(t->dtype), 'F');
        assert_int_equal(hy_st_read_i64(t, 0, 3, v), floating ? HY_EINPUT : HY_OK);
        for (int k = 0; k < 3 && !floating; k++) assert_int_equal(v[k], (int64_t)all[i].want[k]);
    }
    const hy_st_tensor *t;
    assert_int_equal(hy_st_expect(st, "scalar", 0, NULL, &t), HY_OK);
    assert_int_equal(t->n, 1);
    assert_int_equal(hy_st_expect(st, "none", 2, (int64_t[]){0, 7}, &t), HY_OK);
    assert_int_equal(t->n, 0);
    assert_int_equal(hy_st_expect(st, "F32", 1, (int64_t[]){3}, &t), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), ": tensor \"F32\" is [3, 1], but [3] is wanted"));
    assert_int_equal(hy_st_expect(st, "x", 1, (int64_t[]){3}, &t), HY_EINPUT);
    hy_st_close(st);
    unlink(path);
}

static void test_conversions(void **state) {
    (void)state;
    assert_true(hy_f32_from_f16(1) == 0x1p-24f);  // smallest subnormal
    assert_true(hy_f32_from_f16(0x03ff) == 1023 * 0x1p-24f);
    assert_true(hy_f32_from_f16(0xfc00) == -INFINITY);
    assert_true(isnan(hy_f32_from_f16(0x7e00)));
    for (uint32_t h = 0; h < 0x7c00; h++) {  // every half and its negative; the middle of two is a tie, to the even one
        const float x = hy_f32_from_f16((uint16_t)h), y = h == 0x7bff ? 65536 : hy_f32_from_f16((uint16_t)(h + 1)),
                    mid = (x + y) / 2;
        assert_int_equal(hy_f16_from_f32(x), h);
        assert_int_equal(hy_f16_from_f32(-x), h | 0x8000);
        assert_int_equal(hy_f16_from_f32(mid), h % 2 ? h + 1 : h);
        assert_int_equal(hy_f16_from_f32(nextafterf(mid, 0)), h);
        assert_int_equal(hy_f16_from_f32(nextafterf(mid, INFINITY)), h + 1);
    }
    assert_int_equal(hy_f16_from_f32(-INFINITY), 0xfc00);
    assert_int_equal(hy_f16_from_f32(1e30f), 0x7c00);
    assert_int_equal(hy_f16_from_f32(1e-30f), 0);
    assert_int_equal(hy_f16_from_f32(NAN) & 0x7fff, 0x7e00);
    assert_int_equal(hy_bf16_from_f32(1.00390625f), 0x3f80);  // a tie: to even, down
    assert_int_equal(hy_bf16_from_f32(1.01171875f), 0x3f82);  // a tie: to even, up
    assert_int_equal(hy_bf16_from_f32(1.00390637f), 0x3f81);
    assert_int_equal(hy_bf16_from_f32(3.4e38f), 0x7f80);  // rounds to infinity
    assert_true(isnan(hy_f32_from_bf16(hy_bf16_from_f32(NAN))));
    for (uint32_t h = 0; h < 65536; h++) {
        float f = hy_f32_from_bf16((uint16_t)h);
        if (!isnan(f)) assert_int_equal(hy_bf16_from_f32(f), h);
    }
}

// ---------------------------------------------------------------------------------------------------- damage
static hy_status open_bytes(const void *data, size_t n, unsigned flags, hy_st **st) {
    void *copy = malloc(n ? n : 1);  // exactly n bytes, so that a sanitizer sees a read past the end
    memcpy(copy, data, n);
    *st = NULL;
    hy_status s = hy_st_open_memory(copy, n, "f.st", flags, st);
    if (s) {
        assert_null(*st);
        free(copy);
    } else {
        hy_st_close(*st);
        free(copy);
    }
    return s;
}

static hy_status open_header(const char *header, size_t header_n, size_t data, unsigned flags) {
    size_t n = 8 + header_n + data;
    char *b = calloc(1, n);
    uint64_t length = header_n;
    memcpy(b, &length, 8);
    memcpy(b + 8, header, header_n);
    hy_st *st;
    hy_status s = open_bytes(b, n, flags, &st);
    free(b);
    return s;
}

#define T(name, dtype, shape, offsets) \
    "\"" name "\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": " offsets "}"

static void test_damaged_header(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *word;  // of the message; NULL: the file is good
    } cases[] = {
        {"{" T("a", "F32", "[2]", "[0, 8]") "}", 8, NULL},
        {"{" T("a", "F32", "[2]", "[0, 8]") "}      ", 8, NULL},
        {"{}", 0, NULL},
        {"{" T("a", "F32", "[0]", "[8, 8]") ", " T("b", "F32", "[2]", "[0, 8]") "}", 8, NULL},
        {"{" T("a", "F32", "[0]", "[0, 0]") ", " T("b", "F32", "[2]", "[0, 8]") "}", 8, NULL},
        {"{\"__metadata__\": {\"k\": \"v\"}, " T("a", "F32", "[2]", "[0, 8]") "}", 8, NULL},
        {"{}", 4, "belong to no tensor"},
        {"{" T("a", "F32", "[2]", "[0, 8]") "}", 7, "not inside"},
        {"{" T("a", "F32", "[2]", "[0, 8]") "}", 9, "belong to no tensor"},
        {"{" T("a", "F32", "[2]", "[4, 12]") "}", 12, "before tensor \"a\""},
        {"{" T("a", "F32", "[2]", "[0, 8]") ", " T("b", "F32", "[2]", "[4, 12]") "}", 12, "\"a\" and \"b\" overlap"},
        {"{" T("a", "F32", "[2]", "[0, 8]") ", " T("b", "F32", "[2]", "[0, 8]") "}", 8, "overlap"},
        {"{" T("a", "F32", "[0]", "[4, 4]") ", " T("b", "F32", "[2]", "[0, 8]") "}", 8, "overlap"},
        {"{" T("a", "F32", "[2]", "[0, 4]") ", " T("b", "F32", "[1]", "[4, 8]") "}", 8, "not F32 of [2]"},
        {"{" T("a", "F32", "[3]", "[0, 8]") "}", 8, "not F32 of [3]"},
        {"{" T("a", "F32", "[-2]", "[0, 8]") "}", 8, "-2 is outside"},
        {"{" T("a", "F32", "[-2, -1]", "[0, 8]") "}", 8, "-2 is outside"},
        {"{" T("a", "F32", "[4294967296, 4294967296, 2]", "[0, 8]") "}", 8, "overflow"},
        {"{" T("a", "F64", "[4611686018427387904, 2]", "[0, 0]") "}", 0, "not F64"},
        {"{" T("a", "F32", "[18446744073709551618]", "[0, 8]") "}", 8, "too big"},
        {"{" T("a", "F32", "[1e300]", "[0, 8]") "}", 8, "1e+300 is outside"},
        {"{" T("a", "F32", "[2.0]", "[0, 8]") "}", 8, "is a number, but an integer"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0, 8]") "}", 8, "dimensions"},
        {"{" T("a", "F32", "2", "[0, 8]") "}", 8, "a list is wanted"},
        {"{" T("a", "F32", "[2]", "[8, 0]") "}", 8, "not inside"},
        {"{" T("a", "F32", "[2]", "[-8, 0]") "}", 8, "-8 is outside"},
        {"{" T("a", "F32", "[2]", "[0, 9223372036854775807]") "}", 8, "not inside"},
        {"{" T("a", "F32", "[2]", "[0, 8, 9]") "}", 8, "two numbers"},
        {"{" T("a", "F32", "[2]", "[0]") "}", 8, "two numbers"},
        {"{" T("a", "F31", "[2]", "[0, 8]") "}", 8, "\"F31\" is not known"},
        {"{" T("", "F32", "[2]", "[0, 8]") "}", 8, "empty name"},
        {"{" T("a", "F32", "[1]", "[0, 4]") ", " T("a", "F32", "[1]", "[4, 8]") "}", 8, "duplicate"},
        {"{\"a\": {\"dtype\": \"F32\", \"shape\": [2]}}", 8, "\"data_offsets\" is missing"},
        {"{\"a\": {\"dtype\": \"F32\", \"data_offsets\": [0, 8]}}", 8, "\"shape\" is missing"},
        {"{\"a\": {\"dtype\": 3, \"shape\": [2], \"data_offsets\": [0, 8]}}", 8, "a string is wanted"},
        {"{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8], \"x\": 1}}", 8, "keys beside"},
        {"{\"a\": 3}", 8, "an object is wanted"},
        {"{\"a\": []}", 8, "an object is wanted"},
        {"{\"__metadata__\": {\"k\": 1}}", 0, "a string is wanted"},
        {"{\"__metadata__\": [1]}", 0, "object of strings"},
        {"{\"__metadata__\": {\"k\": {\"a\": {\"b\": {}}}}}", 0, "deeper"},
        {"[]", 0, "not a JSON object"},
        {" {}", 0, "not a JSON object"},
        {"{", 0, "not a JSON object"},
        {"{\"a\"", 0, "JSON"},
        {"{} x", 0, "JSON"},
        {"{\"a\xff\": 1}", 0, "decode byte 0xff"},
        {"{\"a\\u0000\": 1}", 0, "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hy_status s = open_header(cases[i].header, strlen(cases[i].header), cases[i].data, 0);
        if (!cases[i].word) {
            if (s) fail_msg("%s: %s", cases[i].header, hy_error_text());
            continue;
        }
        if (s != HY_EINPUT) fail_msg("%s: status %d", cases[i].header, s);
        if (strncmp(hy_error_text(), "f.st: ", 6) || !strstr(hy_error_text(), cases[i].word))
            fail_msg("%s\n: \"%s\" has no \"%s\"", cases[i].header, hy_error_text(), cases[i].word);
    }
    const char *holes = "{" T("a", "F32", "[1]", "[4, 8]") "}";
    assert_int_equal(open_header(holes, strlen(holes), 12, HY_ST_ALLOW_HOLES), HY_OK);
    const char *overlap = "{" T("a", "F32", "[2]", "[0, 8]") ", " T("b", "F32", "[2]", "[4, 12]") "}";
    assert_int_equal(open_header(overlap, strlen(overlap), 12, HY_ST_ALLOW_HOLES), HY_EINPUT);
}

// One byte that two tensors share is an overlap; a bool is 0 or 1 whatever its byte is.
static void test_one_byte(void **state) {
    (void)state;
    static const char header[] = "{" T("a", "U8", "[4]", "[0, 4]") ", " T("b", "U8", "[4]", "[3, 7]") "}";
    assert_int_equal(open_header(header, strlen(header), 7, 0), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "overlap"));
    const unsigned char bytes[3] = {0, 1, 2};
    float f[3];
    int64_t i[3];
    const hy_st_tensor t = {.name = "x", .dtype = HY_ST_BOOL, .ndim = 1, .shape = {3}, .n = 3, .data = bytes};
    hy_st_read_f32(&t, 0, 3, f);
    assert_int_equal(hy_st_read_i64(&t, 0, 3, i), HY_OK);
    for (int k = 0; k < 3; k++) assert_true(f[k] == (float)(k > 0) && i[k] == (k > 0));
}

static void test_deep_and_long(void **state) {
    (void)state;
    size_t n = 2 << 20;
    char *s = malloc(n);
    memset(s, '[', n);
    memcpy(s, "{\"a\":", 5);
    assert_int_equal(open_header(s, n, 0, 0), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "deeper"));
    memset(s, 'n', n);  // a name of two million letters: the message is cut, not the stack
    char *tail = "\": 3}";
    memcpy(s, "{\"", 2);
    memcpy(s + n - strlen(tail), tail, strlen(tail));
    assert_int_equal(open_header(s, n, 0, 0), HY_EINPUT);
    assert_true(strlen(hy_error_text()) < 1000);
    free(s);
    hy_st *st;
    static const uint64_t lengths[] = {UINT64_MAX, 1ull << 63, (uint64_t)INT64_MAX, HY_ST_MAX_HEADER + 1, 9, 2};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char b[16] = "xxxxxxxx{}      ";
        memcpy(b, &lengths[i], 8);
        assert_int_equal(open_bytes(b, 16, 0, &st), HY_EINPUT);
        const char *word = i < 4 ? "above the limit" : i == 4 ? "cut short" : "belong to no tensor";
        if (!strstr(hy_error_text(), word)) fail_msg("%s", hy_error_text());
    }
}

// A good file cut at every length, and with every byte of its header changed, must never do worse than an error.
static void test_cut_and_flipped(void **state) {
    (void)state;
    const char *path = scratch_path();
    hy_st_writer *w = hy_st_writer_new();
    hy_st_writer_meta(w, "k", "v");
    hy_st_writer_add_f32(w, "weights", 5, (float[]){1, 2, 3, 4, 5});
    hy_st_writer_add_i64(w, "step", 1, (int64_t[]){7});
    hy_st_writer_add(w, "bytes", HY_ST_U8, 1, (int64_t[]){3}, "abc");
    assert_int_equal(hy_st_writer_commit(w, path), HY_OK);
    hy_st_writer_free(w);
    char *b;
    size_t n;
    assert_int_equal(hy_file_read(path, 1 << 20, &b, &n), HY_OK);
    unlink(path);
    hy_st *st;
    assert_int_equal(open_bytes(b, n, 0, &st), HY_OK);
    for (size_t i = 0; i < n; i++) assert_int_equal(open_bytes(b, i, 0, &st), HY_EINPUT);
    int refused = 0;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 8; k++) {
            b[i] ^= (char)(1 << k);
            hy_status s = open_bytes(b, n, 0, &st);
            assert_true(s == HY_OK || s == HY_EINPUT);
            refused += s == HY_EINPUT;
            b[i] ^= (char)(1 << k);
        }
    assert_true(refused > 100 * 8 / 2);
    free(b);
}

static void test_open_bad_paths(void **state) {
    (void)state;
    hy_st *st;
    assert_int_equal(hy_st_open("/nonexistent/x", 0, &st), HY_EINPUT);
    assert_int_equal(hy_st_open("/tmp", 0, &st), HY_EINPUT);
    assert_int_equal(hy_st_open("/dev/null", 0, &st), HY_EINPUT);
    assert_null(st);
}

// ---------------------------------------------------------------------------------------------------- writer
static hy_status fill_ones(void *user, const char *name, void *dst, size_t bytes) {
    (void)name;
    if (user) return hy_error(HY_EFAIL, "the source failed");
    memset(dst, 1, bytes);
    return HY_OK;
}

static void test_writer_refuses(void **state) {
    (void)state;
    const char *path = scratch_path();
    assert_int_equal(hy_file_write(path, "old", 3), HY_OK);
    static const int64_t huge[] = {INT64_MAX, 4}, negative[] = {-1};
    for (int c = 0; c < 6; c++) {
        hy_st_writer *w = hy_st_writer_new();
        if (c == 0) hy_st_writer_add_f32(w, "", 0, NULL);
        if (c == 1) hy_st_writer_add_f32(w, "__metadata__", 0, NULL);
        if (c == 2) hy_st_writer_add(w, "a", HY_ST_F32, 2, huge, "");
        if (c == 3) hy_st_writer_add(w, "a", HY_ST_F32, 1, negative, "");
        if (c == 4) hy_st_writer_add_fill(w, "a", HY_ST_U8, 1, (int64_t[]){4}, fill_ones, w);
        for (int i = 0; i < 2 && c == 5; i++) hy_st_writer_add_f64(w, "twice", 1, (double[]){1});
        assert_int_equal(hy_st_writer_commit(w, path), c == 4 ? HY_EFAIL : HY_EINPUT);
        assert_int_equal(hy_st_writer_commit(w, "/nonexistent/x"), HY_EINPUT);
        hy_st_writer_free(w);
    }
    char *b;
    size_t n;
    assert_int_equal(hy_file_read(path, 100, &b, &n), HY_OK);
    assert_string_equal(b, "old");
    free(b);
    hy_st_writer *w = hy_st_writer_new();
    hy_st_writer_add_fill(w, "a", HY_ST_U8, 1, (int64_t[]){4}, fill_ones, NULL);
    assert_int_equal(hy_st_writer_commit(w, path), HY_OK);
    hy_st_writer_free(w);
    hy_st *st;
    assert_int_equal(hy_st_open(path, 0, &st), HY_OK);
    assert_memory_equal(hy_st_at(st, 0)->data, "\1\1\1\1", 4);
    hy_st_close(st);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_damaged_header), cmocka_unit_test(test_one_byte),
        cmocka_unit_test(test_deep_and_long),  cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_open_bad_paths), cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
