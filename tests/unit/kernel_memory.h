// kernel_memory.h - memory that kernel tests give to kernels. On the CPU it is plain memory. In the CUDA mode
// (KT_CUDA=1: a test built against the emulated or the real backend) every block has a copy on the device, written
// before each kernel and read back after it, so that tests look at and change their own copy alone. In that mode
// whatever is asked for in float64 still runs on the CPU: it is the oracle.
#ifndef HY_KERNEL_MEMORY_H
#define HY_KERNEL_MEMORY_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/bf16.h"
// cmocka needs the headers above
#include <cmocka.h>

#ifndef KT_CUDA
    #define KT_CUDA 0
#endif

static inline const hy_backend *kt_device(void) {
    static hy_backend be;
    if (!be.name && hy_backend_cuda(0, HY_MATH_F32, &be) != HY_OK) fail_msg("no CUDA: %s", hy_error_text());
    return &be;
}

typedef struct {
    char *h, *d;  // here, on the device
    size_t bytes;
} kt_block;
static kt_block kt_blocks[256];
static int kt_n_blocks;

// Zeroed memory, free with kt_release.
static inline void *kt_alloc(size_t bytes) {
    void *h = hy_alloc(bytes ? bytes : 1);
    assert_non_null(h);
    if (!KT_CUDA) return h;
    assert_true(kt_n_blocks < (int)(sizeof kt_blocks / sizeof *kt_blocks));
    kt_block b = {h, kt_device()->alloc(bytes ? bytes : 1), bytes};
    if (!b.d) fail_msg("%s", hy_error_text());
    kt_blocks[kt_n_blocks++] = b;
    return h;
}
// What to give to a kernel that is planned with this dtype, for a pointer anywhere into a block of kt_alloc.
static inline void *kt_dev(hy_dtype dt, const void *h) {
    if (!KT_CUDA || dt == HY_F64 || !h) return (void *)(uintptr_t)h;
    for (int i = 0; i < kt_n_blocks; i++) {
        const kt_block *b = &kt_blocks[i];
        if ((const char *)h >= b->h && (const char *)h <= b->h + b->bytes) return b->d + ((const char *)h - b->h);
    }
    fail_msg("kt_dev: memory that is not of kt_alloc");
    return NULL;
}
static inline void kt_release(void *h) {
    if (!h) return;
    for (int i = 0; KT_CUDA && i < kt_n_blocks; i++) {
        if (kt_blocks[i].h != h) continue;
        kt_device()->free(kt_blocks[i].d);
        kt_blocks[i] = kt_blocks[--kt_n_blocks];
        break;
    }
    free(h);
}
// A copy of n bytes, for tables of a test.
static inline void *kt_alloc_copy(const void *src, size_t bytes) { return memcpy(kt_alloc(bytes), src, bytes); }
static inline void kt_ok(hy_status s, const char *what) {
    if (s != HY_OK) fail_msg("%s: %s", what, hy_error_text());
}
static inline void kt_push(void) {
    for (int i = 0; i < kt_n_blocks; i++)
        kt_ok(kt_device()->from_host(kt_blocks[i].d, kt_blocks[i].h, kt_blocks[i].bytes), "to the device");
}
static inline void kt_pull(void) {
    for (int i = 0; i < kt_n_blocks; i++)
        kt_ok(kt_device()->to_host(kt_blocks[i].h, kt_blocks[i].d, kt_blocks[i].bytes), "from the device");
}

// ---------------------------------------------------------------------------------------------------- running
static inline hy_plan_fn kt_plan_of(hy_kernel_id id) {
    static const hy_plan_fn table[] = {
#define X(name) hy_cpu_plan_##name,
        HY_KERNELS(X)
#undef X
    };
    return table[id];
}
static inline bool kt_runs_on_device(const hy_plan_req *req) { return KT_CUDA && req->dtype != HY_F64; }
static inline hy_launch kt_plan(hy_kernel_id id, const void *args, const hy_plan_req *req) {
    hy_launch l = {0};
    const hy_status s =
        kt_runs_on_device(req) ? kt_device()->plan[id](args, req, &l) : hy_cpu_plan_any(id, args, req, &l);
    if (s != HY_OK) fail_msg("plan refused: %s", hy_error_text());
    return l;
}
static bool kt_used_tf32;  // some kernel run since this was cleared rounds its factors to TF32
#define KT_WS_GUARD 256
// On the device: the workspace ends where the plan says, to the byte.
static inline hy_status kt_launch_device(hy_launch l, const void *args, const hy_plan_req *req) {
    const size_t n = l.workspace + 2 * KT_WS_GUARD;
    unsigned char *ws = kt_alloc(n), *d = kt_dev(HY_F32, ws);
    memset(ws, 0xff, n);
    if (strstr(l.path, "tf32")) kt_used_tf32 = true;
    kt_push();
    hy_status s = l.run(args, l.workspace ? d + KT_WS_GUARD : NULL, req);
    if (s == HY_OK) s = kt_device()->wait();
    if (s == HY_OK) kt_pull();
    for (size_t i = 0; i < n; i++)
        if ((i < KT_WS_GUARD || i >= KT_WS_GUARD + l.workspace) && ws[i] != 0xff)
            fail_msg("%s: written outside the workspace of %zu bytes, at byte %zd", l.path, l.workspace,
                     (ssize_t)i - KT_WS_GUARD);
    kt_release(ws);
    return s;
}
// Runs a planned kernel with a workspace of exactly the planned size, filled with NaN bytes and guarded.
static inline hy_status kt_try(hy_launch l, const void *args, const hy_plan_req *req) {
    if (kt_runs_on_device(req)) return kt_launch_device(l, args, req);
    size_t n = hy_align(l.workspace);
    unsigned char *base = hy_alloc(n + 2 * KT_WS_GUARD);
    assert_non_null(base);
    memset(base, 0xff, n + 2 * KT_WS_GUARD);
    hy_status s = l.run(args, l.workspace ? base + KT_WS_GUARD : NULL, req);
    for (size_t i = 0; i < KT_WS_GUARD; i++)
        if (base[i] != 0xff || base[KT_WS_GUARD + n + i] != 0xff) fail_msg("%s: written outside the workspace", l.path);
    free(base);
    return s;
}
static inline void kt_launch(hy_launch l, const void *args, const hy_plan_req *req) {
    if (kt_try(l, args, req) != HY_OK) fail_msg("%s failed: %s", l.path, hy_error_text());
}
static inline void kt_run(hy_kernel_id id, const void *args, const hy_plan_req *req) {
    kt_launch(kt_plan(id, args, req), args, req);
}

// ---------------------------------------------------------------------------------------------------- paths
// What a test goes through: the instruction sets of this machine on the CPU, the precisions in the CUDA mode.
typedef struct {
    const char *name;
    hy_dtype dt;
    hy_math math;
} kt_precision;
enum { KT_F32, KT_TF32, KT_BF16, KT_PRECISIONS };
static const kt_precision kt_precisions[KT_PRECISIONS] = {
    {"cuda f32", HY_F32, HY_MATH_F32}, {"cuda tf32", HY_F32, HY_MATH_TF32}, {"cuda bf16", HY_BF16, HY_MATH_F32}};
#define KT_FIRST_FAST (KT_CUDA ? 0 : (int)HY_ISA_BASE)  // the paths but for "ref"
static inline int kt_n_paths(void) { return KT_CUDA ? (int)KT_PRECISIONS : (int)hy_isa_best() + 1; }
// Bfloat16 computing on the CPU, by the best instruction set: beside the others, for tests that ask for it.
#define KT_CPU_BF16 100
static inline const char *kt_path_name(int path) {
    if (path == KT_CPU_BF16) return "cpu bf16";
    return KT_CUDA ? kt_precisions[path].name : hy_isa_name((hy_isa)path);
}
static inline hy_plan_req kt_req(int path, int threads, bool training) {
    if (KT_CUDA)
        return (hy_plan_req){
            .dtype = kt_precisions[path].dt, .math = kt_precisions[path].math, .threads = 1, .training = training};
    if (path == KT_CPU_BF16)
        return (hy_plan_req){.dtype = HY_BF16, .isa = hy_isa_best(), .threads = threads, .training = training};
    return (hy_plan_req){.dtype = HY_F32, .isa = (hy_isa)path, .threads = threads, .training = training};
}
static inline hy_plan_req kt_oracle(bool training) {
    return (hy_plan_req){.dtype = HY_F64, .isa = HY_ISA_REF, .threads = 1, .training = training};
}

// A program with the tests: kt_group(tests) in main. Those under kt_cpu_test are about the CPU alone: not in the CUDA
// mode.
#define kt_cpu_test(f) \
    { #f, KT_CUDA ? NULL : f, NULL, NULL, NULL }
static inline int kt_group_(const char *name, const struct CMUnitTest *all, size_t n) {
    struct CMUnitTest *some = hy_xcalloc(n, sizeof *some);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].test_func) some[m++] = all[i];
    const int failed = _cmocka_run_group_tests(name, some, m, NULL, NULL);
    free(some);
    return failed;
}
#define kt_group(tests) kt_group_(#tests, tests, sizeof tests / sizeof *tests)

// Largest difference over the largest magnitude of b; infinity when a value is not a number or b is zero.
static inline double kt_difference(const float *a, const float *b, size_t n) {
    double d = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) return INFINITY;
        d = fmax(d, fabs((double)a[i] - b[i]));
        top = fmax(top, fabs((double)b[i]));
    }
    return top > 0 ? d / top : INFINITY;
}
#endif
