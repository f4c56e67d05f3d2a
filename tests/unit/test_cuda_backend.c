// test_cuda_backend.c - the CUDA backend without its kernels: what it says it is, memory, copies, recordings, failures.
// Over the emulated GPU and, by test-gpu, a real one; a build for the CPU only asks whether there is one.
#include "tests/unit/kernel_test.h"

static const hy_backend *be(void) { return kt_device(); }
static void fails(hy_status s, const char *text) {
    assert_int_not_equal(s, HY_OK);
    if (!strstr(hy_error_text(), text)) fail_msg("\"%s\" is not in: %s", text, hy_error_text());
}

// ---------------------------------------------------------------------------------------------------- what there is
// The line and the backend agree on whether a GPU can be used.
static void says_whether_there_is_one(void **state) {
    (void)state;
    char line[512];
    const bool usable = hy_cuda_describe(line, sizeof line);
    assert_non_null(strstr(line, "CUDA"));
    hy_backend b;
    if (usable) return;
    assert_int_equal(hy_backend_cuda(0, HY_MATH_F32, &b), HY_EINPUT);
    assert_true(strlen(hy_error_text()) > 10);
}

static void is_one_device(void **state) {
    (void)state;
    char line[512];
    assert_true(hy_cuda_describe(line, sizeof line));
    assert_non_null(strstr(line, be()->device));
    assert_string_equal(be()->name, "cuda");
    assert_true(be()->async && be()->math == HY_MATH_F32);
    hy_backend b;
    kt_ok(hy_backend_cuda(-1, HY_MATH_TF32, &b), "the one that is open");
    assert_int_equal(b.math, HY_MATH_TF32);
    assert_string_equal(b.device, be()->device);
    fails(hy_backend_cuda(1, HY_MATH_F32, &b), "already");
    for (int i = 0; i < HY_K_COUNT; i++) assert_non_null(b.plan[i]);
}

// ---------------------------------------------------------------------------------------------------- memory
static void memory(void **state) {
    (void)state;
    const size_t n = 1000;
    unsigned char host[1000], *p = be()->alloc(n), *none = be()->alloc(0);
    assert_true(p && none && (uintptr_t)p % 256 == 0);
    kt_ok(be()->to_host(host, p, n), "to_host");
    for (size_t i = 0; i < n; i++) assert_int_equal(host[i], 0);
    for (size_t i = 0; i < n; i++) host[i] = (unsigned char)(i % 251);
    kt_ok(be()->from_host(p, host, n), "from_host");
    kt_ok(be()->zero(p + 501, 7), "zero");
    kt_ok(be()->zero(p, 0), "zero of nothing");
    memset(host, 77, n);
    kt_ok(be()->to_host(host, p + 500, 10), "to_host");
    kt_ok(be()->to_host(host, p, 0), "to_host of nothing");
    for (int i = 0; i < 10; i++) assert_int_equal(host[i], i >= 1 && i < 8 ? 0 : (500 + i) % 251);
    assert_int_equal(host[10], 77);
    be()->free(p), be()->free(none), be()->free(NULL);
}

static void memory_runs_out(void **state) {
    (void)state;
    const size_t before = be()->memory_free(), some = (size_t)64 << 20;
    void *p = be()->alloc(some);
    assert_non_null(p);
    assert_true(be()->memory_free() + some <= before + (1 << 20));
    be()->free(p);
    assert_true(be()->memory_free() + (1 << 20) >= before);
    assert_null(be()->alloc((size_t)1 << 50));
    assert_non_null(strstr(hy_error_text(), "out of memory"));
    assert_non_null(strstr(hy_error_text(), be()->device));
    assert_non_null(strstr(hy_error_text(), "1048576.000 GiB were asked for"));
    p = be()->alloc(16);  // and goes on
    assert_non_null(p);
    kt_ok(be()->wait(), "wait");
    be()->free(p);
}

// ---------------------------------------------------------------------------------------------------- copies
static unsigned char value(size_t i, unsigned seed) { return (unsigned char)(hy_mix64(i, seed) >> 7); }

// Around the size of what a copy travels in, at odd places; the source changes as soon as the call returns.
static void copies_of_all_sizes(void **state) {
    (void)state;
    const size_t sizes[] = {1, 63, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (size_t)9 * (1 << 20) + 3};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s];
        unsigned char *src = malloc(n), *dst = malloc(n + 2), *p = be()->alloc(n + 8);
        assert_true(src && dst && p);
        for (size_t i = 0; i < n; i++) src[i] = value(i, (unsigned)s);
        kt_ok(be()->from_host(p + 3, src, n), "from_host");
        memset(src, 0xee, n);
        memset(dst, 0x55, n + 2);
        kt_ok(be()->to_host(dst + 1, p + 3, n), "to_host");
        for (size_t i = 0; i < n; i++)
            if (dst[i + 1] != value(i, (unsigned)s)) fail_msg("a copy of %zu bytes: byte %zu is another", n, i);
        assert_true(dst[0] == 0x55 && dst[n + 1] == 0x55);
        be()->free(p);
        free(src), free(dst);
    }
}

// More of them than the memory they travel through holds at a time, from one place that always changes.
static void many_copies_in_flight(void **state) {
    (void)state;
    enum { N = 5000, BYTES = 4100 };
    unsigned char *host = malloc((size_t)N * BYTES), *p = be()->alloc((size_t)N * BYTES), src[BYTES];
    assert_true(host && p);
    for (int k = 0; k < N; k++) {
        memset(src, value((size_t)k, 3), BYTES);
        kt_ok(be()->from_host(p + (size_t)k * BYTES, src, BYTES), "from_host");
    }
    kt_ok(be()->to_host(host, p, (size_t)N * BYTES), "to_host");
    for (int k = 0; k < N; k++)
        for (int i = 0; i < BYTES; i++)
            if (host[(size_t)k * BYTES + i] != value((size_t)k, 3)) fail_msg("copy %d: byte %d is another", k, i);
    be()->free(p);
    free(host);
}

// --------------------------------------------------------------------------------------------------- order, recordings
enum { N = 300 };
typedef struct {
    float *x;
    uint16_t *y;
    hy_cast_args a;
    hy_launch l;
    hy_plan_req req;
} caster;
static caster caster_open(void) {
    caster c = {.x = be()->alloc(N * sizeof *c.x),
                .y = be()->alloc(N * sizeof *c.y),
                .req = hy_backend_request(be(), HY_F32, false)};
    c.a = (hy_cast_args){.n = N, .x = c.x, .y = c.y};
    kt_ok(be()->plan[HY_K_cast](&c.a, &c.req, &c.l), "plan");
    assert_int_equal(c.l.workspace, 0);
    return c;
}
static void caster_close(caster *c) {
    be()->free(c->x);
    be()->free(c->y);
}
static void put(const caster *c, float v) {
    float x[N];
    for (int i = 0; i < N; i++) x[i] = v + (float)i;
    kt_ok(be()->from_host(c->x, x, sizeof x), "from_host");
}
static void cast(const caster *c) { kt_ok(c->l.run(&c->a, NULL, &c->req), "cast"); }
static void expect(const caster *c, float v, const char *what) {
    uint16_t y[N];
    kt_ok(be()->to_host(y, c->y, sizeof y), what);
    for (int i = 0; i < N; i++) {
        const float wanted = v == 0 ? 0 : hy_f32_from_bf16(hy_bf16_from_f32(v + (float)i));
        if (hy_f32_from_bf16(y[i]) != wanted)
            fail_msg("%s: element %d is %g, not %g", what, i, hy_f32_from_bf16(y[i]), wanted);
    }
}

static void everything_in_order(void **state) {
    (void)state;
    caster c = caster_open(), d = caster_open();
    d.a.x = c.x;
    put(&c, 1);
    cast(&c);
    put(&c, 1000);  // does not overtake the kernel before
    cast(&d);
    expect(&c, 1, "the first");
    expect(&d, 1000, "the second");
    caster_close(&c), caster_close(&d);
}

static void a_recording_reads_what_is_there(void **state) {
    (void)state;
    caster c = caster_open();
    void *recording = NULL;
    put(&c, 5);
    kt_ok(be()->record_begin(), "begin");
    kt_ok(be()->zero(c.y, N * sizeof *c.y), "zero");
    cast(&c);
    kt_ok(be()->record_end(&recording), "end");
    assert_non_null(recording);
    expect(&c, 0, "recorded, not run");
    for (int v = 7; v < 10; v++) {
        put(&c, (float)v);
        kt_ok(be()->replay(recording), "replay");
        put(&c, -1);  // later
        expect(&c, (float)v, "replay");
    }
    put(&c, 3);
    kt_ok(be()->replay(recording), "replay");
    be()->discard_recording(recording);  // waits for it
    expect(&c, 3, "forgotten after its replay");
    be()->discard_recording(NULL);
    caster_close(&c);
}

// What cannot be done while recording is refused, and does no harm to the recording nor to what follows.
static void what_a_recording_refuses(void **state) {
    (void)state;
    caster c = caster_open();
    void *recording = NULL;
    float x[4] = {0};
    fails(be()->record_end(&recording), "no kernels are being recorded");
    put(&c, 2);
    kt_ok(be()->record_begin(), "begin");
    cast(&c);
    fails(be()->record_begin(), "already");
    fails(be()->to_host(x, c.x, sizeof x), "recorded");
    fails(be()->from_host(c.x, x, sizeof x), "recorded");
    fails(be()->wait(), "recorded");
    assert_null(be()->alloc(100));
    kt_ok(be()->record_end(&recording), "end");
    kt_ok(be()->replay(recording), "replay");
    expect(&c, 2, "replay");
    be()->discard_recording(recording);

    kt_ok(be()->record_begin(), "begin");  // given up
    cast(&c);
    kt_ok(be()->record_end(NULL), "given up");
    put(&c, 4);
    cast(&c);
    expect(&c, 4, "after a recording that was given up");

    void *p = be()->alloc(64);
    kt_ok(be()->record_begin(), "begin");  // memory goes meanwhile
    cast(&c);
    be()->free(p);
    put(&c, 6);
    recording = p;
    fails(be()->record_end(&recording), "lost");
    assert_null(recording);
    cast(&c);
    expect(&c, 6, "after a recording that was lost");
    caster_close(&c);
}

#define cuda_test(f) \
    { #f, KT_CUDA ? f : NULL, NULL, NULL, NULL }
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_whether_there_is_one),
        cuda_test(is_one_device),
        cuda_test(memory),
        cuda_test(memory_runs_out),
        cuda_test(copies_of_all_sizes),
        cuda_test(many_copies_in_flight),
        cuda_test(everything_in_order),
        cuda_test(a_recording_reads_what_is_there),
        cuda_test(what_a_recording_refuses),
    };
    return kt_group(tests);
}
