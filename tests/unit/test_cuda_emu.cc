// test_cuda_emu.cc - the emulation of the CUDA execution model (tests/cuda_emu): that faults of kernels show in it,
// that tensor cores, ldmatrix, shuffles and asynchronous copies do what they are documented to do, and that its runtime
// is as asynchronous as the real one. What must end the program is run in a child process.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/cuda/mma.cuh"
// cmocka needs the headers above
extern "C" {
#include <cmocka.h>
}

// ---------------------------------------------------------------------------------------------------- tools
static void ok(hy_status s) {
    if (s != HY_OK) fail_msg("%s", hy_error_text());
}
static void ok(cudaError_t e) {
    if (e != cudaSuccess) fail_msg("%s", cudaGetErrorString(e));
}
template <class T> static T *device(size_t n) {
    void *p = NULL;
    ok(cudaMalloc(&p, n * sizeof(T)));
    return (T *)p;
}
template <class T> static T *device_copy(const T *x, size_t n) {
    T *p = device<T>(n);
    ok(cudaMemcpyAsync(p, x, n * sizeof(T), cudaMemcpyHostToDevice, NULL));
    return p;
}
template <class T> static void host(T *x, const T *p, size_t n) {
    ok(cudaMemcpyAsync(x, p, n * sizeof(T), cudaMemcpyDeviceToHost, NULL));
}
#define LAUNCH(kernel, grid, block, shared, ...) \
    ok(hy_emu_launch(#kernel, dim3(grid), dim3(block), (size_t)(shared), kernel, __VA_ARGS__))
static void wait() { ok(cudaStreamSynchronize(NULL)); }

// Runs f in a child, which must end by that signal and say so.
static void dies(void (*f)(), int sig, const char *says) {
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], 2);
        close(fd[0]), close(fd[1]);
        struct sigaction plain = {};
        plain.sa_handler = SIG_DFL;
        sigaction(SIGSEGV, &plain, NULL), sigaction(SIGABRT, &plain, NULL);
        f();
        _exit(0);
    }
    close(fd[1]);
    char text[8192];
    size_t n = 0;
    for (ssize_t k; n < sizeof text - 1 && (k = read(fd[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)k;
    text[n] = 0;
    close(fd[0]);
    int status = 0;
    waitpid(pid, &status, 0);
#ifdef __SANITIZE_ADDRESS__  // faults are the sanitizer's to tell there, and it is not heard here
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) return;
#endif
    if (!WIFSIGNALED(status) || WTERMSIG(status) != sig) fail_msg("status %x, said: %s", status, text);
    if (!strstr(text, says)) fail_msg("said: %s; wanted: %s", text, says);
}

// ---------------------------------------------------------------------------------------------------- barriers
// Each thread reads what its neighbour wrote, again and again: needs a barrier after writing and one after reading.
static __global__ void ring(int *out, int rounds, bool after_write, bool after_read) {
    HY_SHARED(int, s);
    const int t = (int)threadIdx.x, n = (int)blockDim.x;
    int v = t;
    for (int i = 0; i < rounds; i++) {
        s[t] = v;
        if (after_write) __syncthreads();
        v = s[(t + 1) % n];
        if (after_read) __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = v;
}
static bool ring_is_right(bool after_write, bool after_read) {
    enum { N = 64, BLOCKS = 3, ROUNDS = 5 };
    int *d = device<int>(N * BLOCKS), h[N * BLOCKS];
    LAUNCH(ring, BLOCKS, N, N * sizeof(int), d, ROUNDS, after_write, after_read);
    host(h, d, N * BLOCKS);
    ok(cudaFree(d));
    for (int i = 0; i < N * BLOCKS; i++)
        if (h[i] != (i % N + ROUNDS) % N) return false;
    return true;
}
static void missing_barriers(void **) {
    for (int i = 0; i < 10; i++) {
        assert_true(ring_is_right(true, true));
        assert_false(ring_is_right(false, true));
        assert_false(ring_is_right(true, false));
    }
}
static __global__ void warp_ring(int *out, bool sync) {
    HY_SHARED(int, s);
    const int t = (int)threadIdx.x;
    s[t] = t;
    if (sync) __syncwarp();
    out[t] = s[t ^ 1];
}
static void missing_syncwarp(void **) {
    int *d = device<int>(64), h[64];
    for (int sync = 0; sync < 2; sync++) {
        LAUNCH(warp_ring, 1, 64, 256, d, sync != 0);
        host(h, d, 64);
        int wrong = 0;
        for (int t = 0; t < 64; t++) wrong += h[t] != (t ^ 1);
        assert_true(sync ? wrong == 0 : wrong > 0);
    }
    ok(cudaFree(d));
}
static __global__ void votes(int *out) {
    const int t = (int)threadIdx.x;
    out[0] = __syncthreads_or(t == 70), out[1] = __syncthreads_and(t != 70), out[2] = __syncthreads_count(t % 3 == 0);
}
static __global__ void counts(int *n, unsigned *top) {
    atomicAdd(n, 2);
    atomicMax(top, blockIdx.x * blockDim.x + threadIdx.x);
}
static void barrier_votes_and_atomics(void **) {
    int *d = device<int>(3), h[3];
    LAUNCH(votes, 1, 96, 0, d);
    host(h, d, 3);
    assert_true(h[0] == 1 && h[1] == 0 && h[2] == 32);
    unsigned *top = device<unsigned>(1), highest;
    ok(cudaMemsetAsync(d, 0, sizeof *d, NULL)), ok(cudaMemsetAsync(top, 0, sizeof *top, NULL));
    LAUNCH(counts, 7, 33, 0, d, top);
    host(h, d, 1), host(&highest, top, 1);
    assert_true(h[0] == 2 * 7 * 33 && highest == 7 * 33 - 1);
    ok(cudaFree(d)), ok(cudaFree(top));
}

static __global__ void some_leave(int n) {
    if ((int)threadIdx.x < n) return;
    __syncthreads();
}
static __global__ void two_places(int n) {
    if ((int)threadIdx.x < n)
        __syncthreads();
    else
        __shfl_sync(0xffffffffu, 1, 0);
}
static __global__ void lane_left() {
    if (threadIdx.x == 5) return;
    __syncwarp();
}
static __global__ void two_operations() {
    if (threadIdx.x & 1)
        __syncwarp();
    else
        __shfl_sync(0xffffffffu, 1, 0);
}
static void deadlocks(void **) {
    dies([] { LAUNCH(some_leave, 1, 64, 0, 32), wait(); }, SIGABRT, "some_leave");
    dies([] { LAUNCH(two_places, 1, 32, 0, 3), wait(); }, SIGABRT,
         "thread (0,0,0) and next: wait at __syncthreads\n  thread (3,0,0) and next: wait at __shfl_sync for lanes "
         "ffffffff");
    dies([] { ok(hy_emu_launch("lane_left", 1, 32, 0, lane_left)), wait(); }, SIGABRT, "");
    dies([] { ok(hy_emu_launch("two_operations", 1, 32, 0, two_operations)), wait(); }, SIGABRT,
         "different operations");
    dies([] { ok(hy_emu_launch("lane_left", 1, 20, 0, two_operations)), wait(); }, SIGABRT, "not of the block");
}

// ---------------------------------------------------------------------------------------------------- warps
static __global__ void shuffles(int *out) {
    const int l = (int)threadIdx.x, v = 100 + l;
    int *o = out + l * 8;
    o[0] = __shfl_sync(0xffffffffu, v, 3), o[1] = __shfl_sync(0xffffffffu, v, 3, 8),
    o[2] = __shfl_xor_sync(0xffffffffu, v, 5);
    o[3] = __shfl_up_sync(0xffffffffu, v, 2, 16), o[4] = __shfl_down_sync(0xffffffffu, v, 2, 16);
    o[5] = (int)__ballot_sync(0xffffffffu, l % 5 == 0);
    // halves of the warp go different ways and meet different numbers of times
    int sum = v;
    if (l < 16)
        for (int d = 8; d; d >>= 1) sum += __shfl_xor_sync(0xffffu, sum, d);
    else
        for (int i = 0; i < 9; i++) sum = __shfl_sync(0xffff0000u, sum, 31);
    o[6] = sum;
    const double x = __shfl_xor_sync(0xffffffffu, 0.1 * l, 1);
    o[7] = x == 0.1 * (l ^ 1) && __any_sync(0xffffffffu, l == 7) == 1 && __all_sync(0xffffffffu, l != 7) == 0;
}
static void warp_operations(void **) {
    int *d = device<int>(256), h[256];
    LAUNCH(shuffles, 1, 32, 0, d);
    host(h, d, 256);
    unsigned fives = 0;
    for (int l = 0; l < 32; l += 5) fives |= 1u << l;
    for (int l = 0; l < 32; l++) {
        const int *o = h + l * 8;
        assert_true(o[0] == 103 && o[1] == 100 + l / 8 * 8 + 3 && o[2] == 100 + (l ^ 5));
        assert_true(o[3] == 100 + (l % 16 >= 2 ? l - 2 : l) && o[4] == 100 + (l % 16 < 14 ? l + 2 : l));
        assert_true((unsigned)o[5] == fives && o[6] == (l < 16 ? 1600 + 120 : 131) && o[7]);
    }
    ok(cudaFree(d));
}

// ---------------------------------------------------------------------------------------------------- memory
static __global__ void shared_write(long at) {
    HY_SHARED(char, s);
    if (threadIdx.x == 0) s[at] = 1;
}
static __global__ void global_write(float *p, long at) {
    if (threadIdx.x == 0) p[at] = 1;
}
static __global__ void deep(int *out, int n) {
    volatile char frame[2048];
    frame[n % 2048] = (char)n;
    if (n) deep(out, n - 1);
    out[n] = frame[n % 2048];
}
struct operand {
    float scale;
    const float *p;
};
static __global__ void with_struct(operand o, float *out) { out[0] = o.p[0] * o.scale; }
static float *d100;
static void memory_faults(void **) {
    d100 = device<float>(100);
    LAUNCH(global_write, 1, 1, 0, d100, 99l), wait();
    dies([] { LAUNCH(shared_write, 1, 32, 1000, 1000l), wait(); }, SIGABRT,
         "wrote byte 1000 of its 1000 bytes of shared memory");
    dies([] { LAUNCH(shared_write, 2, 32, 1000, -1l), wait(); }, SIGABRT, "shared memory");
    dies([] { LAUNCH(shared_write, 1, 32, 1000, 5000l), wait(); }, SIGABRT, "shared_write");
    dies([] { LAUNCH(global_write, 1, 32, 0, d100, 100l), wait(); }, SIGABRT,
         "global_write wrote byte 400 of an allocation of 400 bytes");
    dies([] { LAUNCH(global_write, 1, 32, 0, d100, -1l), wait(); }, SIGABRT, "global_write wrote byte -4");
    dies([] { LAUNCH(global_write, 1, 32, 0, d100, 1l << 30), wait(); }, SIGABRT, "device memory never allocated");
    dies([] { LAUNCH(deep, 1, 32, 0, (int *)d100, 400), wait(); }, SIGABRT, "overflow");
    dies([] { LAUNCH(global_write, 1, 1, 0, d100, 0l), wait(), d100[0] = 1; }, SIGSEGV, "the host touched");
    dies([] { LAUNCH(global_write, 1, 1, 0, d100, 0l), wait(), printf("%g\n", d100[5]); }, SIGSEGV, "the host touched");
    static float mine[4];
    dies([] { LAUNCH(global_write, 1, 32, 0, mine, 0l); }, SIGABRT, "argument 0");
    if (hy_emu_checked<operand>)  // not with every compiler
        dies([] { LAUNCH(with_struct, 1, 1, 0, (operand{2, mine}), d100); }, SIGABRT, "with_struct: argument 0");
    ok(cudaFree(d100));
    dies([] { LAUNCH(global_write, 1, 32, 0, d100, 0l); }, SIGABRT, "freed");
}
static __global__ void reads_unwritten(float *out) {
    HY_SHARED(float, s);
    out[threadIdx.x] = s[threadIdx.x];
}
static void unwritten_memory_is_nan(void **) {
    float *d = device<float>(32), h[32];
    host(h, d, 32);
    for (int i = 0; i < 32; i++) assert_true(isnan(h[i]));
    for (int again = 0; again < 2; again++) {
        ok(cudaMemsetAsync(d, 0, sizeof h, NULL));
        LAUNCH(reads_unwritten, 4, 32, 128, d);
        host(h, d, 32);
        for (int i = 0; i < 32; i++) assert_true(isnan(h[i]));
    }
    ok(cudaFree(d));
}
static __global__ void nothing(int) {}
struct large {
    char bytes[5000];
};
static __global__ void takes_large(large) {}
static hy_status launch(dim3 grid, dim3 block, size_t shared) {
    return hy_emu_launch("nothing", grid, block, shared, nothing, 1);
}
static void launch_limits(void **) {
    assert_int_equal(launch(1, 1024, 227 << 10), HY_OK);
    assert_int_equal(launch(dim3(1, 65535, 1), 1, 0), HY_OK);
    assert_int_equal(launch(1, 1025, 0), HY_EFAIL), assert_int_equal(launch(1, dim3(32, 33), 0), HY_EFAIL);
    assert_int_equal(launch(1, 0, 0), HY_EFAIL), assert_int_equal(launch(0, 1, 0), HY_EFAIL);
    assert_int_equal(launch(dim3(1, 65536), 1, 0), HY_EFAIL),
        assert_int_equal(launch(dim3(1, 1, 65536), 1, 0), HY_EFAIL);
    assert_int_equal(launch(1, 1, (227 << 10) + 1), HY_EFAIL);
    assert_non_null(strstr(hy_error_text(), "nothing"));
    assert_int_equal(hy_emu_launch("takes_large", 1, 1, 0, takes_large, large{}), HY_EFAIL);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    wait();
}

// ------------------------------------------------------------------------------------------------- asynchronous copies
// out[0..2]: two groups and an open one, looked at after waiting for all but `left` groups.
static __global__ void copies(const uint4 *in, uint4 *out, int left) {
    HY_SHARED(uint4, s);
    s[0] = s[1] = s[2] = make_uint4(7, 7, 7, 7);
    hy_copy16(s, in, 16), hy_copy_commit();
    hy_copy16(s + 1, in + 1, 0), hy_copy_commit();
    hy_copy16(s + 2, in + 2, 16);
    if (left == 1) hy_copy_wait<1>();
    if (left == 0) hy_copy_wait<0>();
    for (int i = 0; i < 3; i++) out[i] = s[i];
}
static __global__ void copy_misaligned(const char *in) {
    HY_SHARED(char, s);
    hy_copy16(s + 8, in, 16);
}
static const char *d_bytes;
static void async_copies(void **) {
    const unsigned x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    unsigned *in = device_copy(x, 12), *out = device<unsigned>(12), h[12];
    for (int left = 2; left >= 0; left--) {
        LAUNCH(copies, 1, 1, 48, (const uint4 *)in, (uint4 *)out, left);
        host(h, out, 12);
        assert_int_equal(h[0], left < 2 ? 1 : 0xffffffffu);
        assert_int_equal(h[4], left < 1 ? 0 : 0xffffffffu);
        assert_int_equal(h[8], 0xffffffffu);  // never committed
    }
    d_bytes = (const char *)in;
    dies([] { LAUNCH(copy_misaligned, 1, 1, 64, d_bytes), wait(); }, SIGABRT, "multiples of 16");
    ok(cudaFree(in)), ok(cudaFree(out));
}

// ---------------------------------------------------------------------------------------------------- tensor cores
// Fragments as the PTX ISA numbers them, element by element: of mma.m16n8k16 for bf16 (a0..a7, b0..b3), of mma.m16n8k8
// for tf32 (a0..a3, b0, b1), of both for the accumulators (c0..c3). group = lane >> 2, member = lane % 4.
static int bf16_a_row(int group, int i) { return i < 2 || (4 <= i && i < 6) ? group : group + 8; }
static int bf16_a_col(int member, int i) { return i < 4 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8; }
static int bf16_b_row(int member, int i) { return i < 2 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8; }
static int tf32_a_row(int group, int i) { return i == 0 || i == 2 ? group : group + 8; }
static int tf32_a_col(int member, int i) { return i == 0 || i == 1 ? member : member + 4; }
static int tf32_b_row(int member, int i) { return i == 0 ? member : member + 4; }
static int c_row(int group, int i) { return i < 2 ? group : group + 8; }
static int c_col(int member, int i) { return member * 2 + (i & 1); }

// in: registers a [32,4], b [32,2]; d [32,4] in and out.
static __global__ void one_mma(const uint32_t *a, const uint32_t *b, float *d, bool tf32) {
    const int l = (int)threadIdx.x;
    if (tf32)
        hy_mma_tf32(d + 4 * l, a + 4 * l, b + 2 * l);
    else
        hy_mma_bf16(d + 4 * l, a + 4 * l, b + 2 * l);
}
static void products(void **) {
    hy_rng rng = hy_rng_make(1, 2);
    for (int tf32 = 0; tf32 < 2; tf32++) {
        const int K = tf32 ? 8 : 16;
        float A[16][16], B[16][8], C[16][8], d[32 * 4];
        uint32_t a[32 * 4] = {}, b[32 * 2] = {};
        auto value = [&] {
            const float x = (float)hy_rng_normal(&rng);
            return tf32 ? __uint_as_float(hy_tf32(x)) : hy_f32_from_bf16(hy_bf16_from_f32(x));
        };
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < K; k++) A[i][k] = value();
        for (int k = 0; k < K; k++)
            for (int j = 0; j < 8; j++) B[k][j] = value();
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++) C[i][j] = value();
        for (int l = 0; l < 32; l++) {
            const int group = l >> 2, member = l % 4;
            for (int i = 0; i < 4; i++) d[4 * l + i] = C[c_row(group, i)][c_col(member, i)];
            if (tf32) {
                for (int i = 0; i < 4; i++)
                    a[4 * l + i] = __float_as_uint(A[tf32_a_row(group, i)][tf32_a_col(member, i)]);
                for (int i = 0; i < 2; i++) b[2 * l + i] = __float_as_uint(B[tf32_b_row(member, i)][group]);
            } else {
                for (int i = 0; i < 8; i++)
                    a[4 * l + i / 2] |= (uint32_t)hy_bf16_from_f32(A[bf16_a_row(group, i)][bf16_a_col(member, i)])
                                        << 16 * (i & 1);
                for (int i = 0; i < 4; i++)
                    b[2 * l + i / 2] |= (uint32_t)hy_bf16_from_f32(B[bf16_b_row(member, i)][group]) << 16 * (i & 1);
            }
        }
        uint32_t *da = device_copy(a, 128), *db = device_copy(b, 64);
        float *dd = device_copy(d, 128);
        LAUNCH(one_mma, 1, 32, 0, da, db, dd, tf32 != 0);
        host(d, dd, 128);
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++) {
                const int row = c_row(l >> 2, i), col = c_col(l % 4, i);
                double want = C[row][col];
                for (int k = 0; k < K; k++) want += (double)A[row][k] * B[k][col];
                assert_true(d[4 * l + i] == (float)want);
            }
        ok(cudaFree(da)), ok(cudaFree(db)), ok(cudaFree(dd));
    }
}
static __global__ void unrounded(float *d) {
    const uint32_t a[4] = {__float_as_uint(0.1f), 0, 0, 0}, b[2] = {0, 0};
    hy_mma_tf32(d + 4 * threadIdx.x, a, b);
}
static float *d128;
static void tf32_rounding(void **) {
    assert_true(__uint_as_float(hy_tf32(1.0f + 0x1p-11f)) == 1.0f + 0x1p-10f);  // a tie goes away from zero
    assert_true(__uint_as_float(hy_tf32(-1.0f - 0x1p-11f)) == -1.0f - 0x1p-10f);
    assert_true(__uint_as_float(hy_tf32(1.0f + 0x1p-11f - 0x1p-23f)) == 1.0f);
    assert_true(__uint_as_float(hy_tf32(2.0f - 0x1p-23f)) == 2.0f && hy_tf32(0.0f) == 0);
    assert_true(isnan(__uint_as_float(hy_tf32(NAN))) && isinf(__uint_as_float(hy_tf32(INFINITY))));
    d128 = device<float>(128);
    dies([] { LAUNCH(unrounded, 1, 32, 0, d128), wait(); }, SIGABRT, "has not been rounded");
    ok(cudaFree(d128));
}

// Four 8x8 matrices; row r of matrix m lies at 16 * (8 m + (r + m) % 8), so that addresses matter.
static __global__ void load_matrices(const uint16_t *x, uint32_t *out, bool trans) {
    HY_SHARED(uint16_t, s);
    const int l = (int)threadIdx.x;
    for (int i = 0; i < 8; i++) s[l * 8 + i] = x[l * 8 + i];
    __syncwarp();
    const void *row = s + (l / 8 * 8 + (l % 8 + l / 8) % 8) * 8;
    uint32_t r[4];
    if (trans)
        hy_ldmatrix4_trans(r, row);
    else
        hy_ldmatrix4(r, row);
    for (int i = 0; i < 4; i++) out[l * 4 + i] = r[i];
}
static void matrices(void **) {
    uint16_t x[256];
    for (int i = 0; i < 256; i++) x[i] = (uint16_t)(i * 257);
    uint16_t *d = device_copy(x, 256);
    uint32_t *out = device<uint32_t>(128), h[128];
    auto element = [&](int m, int r, int c) { return x[(8 * m + (r + m) % 8) * 8 + c]; };
    for (int trans = 0; trans < 2; trans++) {
        LAUNCH(load_matrices, 1, 32, 512, d, out, trans != 0);
        host(h, out, 128);
        for (int l = 0; l < 32; l++)
            for (int m = 0; m < 4; m++) {
                const int r = l / 4, c = l % 4 * 2;
                const uint32_t lo = trans ? element(m, c, r) : element(m, r, c),
                               hi = trans ? element(m, c + 1, r) : element(m, r, c + 1);
                assert_int_equal(h[l * 4 + m], lo | hi << 16);
            }
    }
    ok(cudaFree(d)), ok(cudaFree(out));
}

// ---------------------------------------------------------------------------------------------------- runtime
static __global__ void add_one(int *x) { x[threadIdx.x] += 1; }
static void work_is_queued(void **) {
    int *d = device<int>(4), *page_locked, plain[4] = {1, 2, 3, 4};
    ok(cudaMallocHost((void **)&page_locked, 2 * sizeof plain));
    int *back = page_locked + 4;
    memcpy(page_locked, plain, sizeof plain);
    // pageable memory is read at the call
    ok(cudaMemcpyAsync(d, plain, sizeof plain, cudaMemcpyHostToDevice, NULL));
    plain[0] = 50;
    LAUNCH(add_one, 1, 4, 0, d);
    ok(cudaMemcpyAsync(back, d, sizeof plain, cudaMemcpyDeviceToHost, NULL));
    assert_int_equal(back[0], -1);  // not there yet
    wait();
    assert_int_equal(back[0], 2);
    // page-locked memory when its turn comes
    ok(cudaMemcpyAsync(d, page_locked, sizeof plain, cudaMemcpyHostToDevice, NULL));
    page_locked[0] = 60;
    host(plain, d, 4);
    assert_int_equal(plain[0], 60);
    cudaEvent_t e, f;
    ok(cudaEventCreate(&e)), ok(cudaEventCreate(&f));
    ok(cudaEventRecord(e, NULL));
    LAUNCH(add_one, 1, 4, 0, d);
    ok(cudaEventRecord(f, NULL));
    assert_int_equal(cudaEventQuery(f), cudaErrorNotReady);
    assert_int_equal(cudaEventQuery(f), cudaSuccess);
    float ms = -1;
    ok(cudaEventElapsedTime(&ms, e, f));
    assert_true(ms >= 0);
    ok(cudaEventDestroy(e)), ok(cudaEventDestroy(f));
    assert_int_equal(cudaMemcpyAsync(d + 2, plain, sizeof plain, cudaMemcpyHostToDevice, NULL), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    ok(cudaFree(d)), ok(cudaFreeHost(page_locked));
}
static void recordings(void **) {
    int *d = device<int>(4), h[4];
    ok(cudaMemsetAsync(d, 0, 16, NULL));
    ok(cudaStreamBeginCapture(NULL, cudaStreamCaptureModeRelaxed));
    LAUNCH(add_one, 1, 4, 0, d);
    LAUNCH(add_one, 1, 2, 0, d);
    assert_int_equal(cudaStreamSynchronize(NULL), cudaErrorStreamCaptureUnsupported);
    cudaGetLastError();
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    ok(cudaStreamEndCapture(NULL, &graph));
    ok(cudaGraphInstantiate(&exec, graph, 0));
    ok(cudaGraphDestroy(graph));
    host(h, d, 4);
    assert_int_equal(h[0], 0);  // written down only
    for (int i = 0; i < 3; i++) ok(cudaGraphLaunch(exec, NULL));
    host(h, d, 4);
    assert_true(h[0] == 6 && h[3] == 3);
    ok(cudaGraphExecDestroy(exec)), ok(cudaFree(d));
}
static void memory_is_limited(void **) {
    size_t available, total, after;
    ok(cudaMemGetInfo(&available, &total));
    assert_int_equal(total, 1 << 20);
    void *p, *q;
    ok(cudaMalloc(&p, 700000));
    assert_int_equal(cudaMalloc(&q, 700000), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    ok(cudaFree(p));
    ok(cudaMalloc(&q, 700000)), ok(cudaFree(q));
    ok(cudaMemGetInfo(&after, &total));
    assert_int_equal(after, available);
    assert_int_equal(cudaFree((char *)q + 256), cudaErrorInvalidValue);
    cudaGetLastError();
}

int main(void) {
    setenv("HYLAB_EMU_MEMORY", "1048576", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(missing_barriers),
                                       cmocka_unit_test(missing_syncwarp),
                                       cmocka_unit_test(barrier_votes_and_atomics),
                                       cmocka_unit_test(deadlocks),
                                       cmocka_unit_test(warp_operations),
                                       cmocka_unit_test(memory_faults),
                                       cmocka_unit_test(unwritten_memory_is_nan),
                                       cmocka_unit_test(launch_limits),
                                       cmocka_unit_test(async_copies),
                                       cmocka_unit_test(products),
                                       cmocka_unit_test(tf32_rounding),
                                       cmocka_unit_test(matrices),
                                       cmocka_unit_test(work_is_queued),
                                       cmocka_unit_test(recordings),
                                       cmocka_unit_test(memory_is_limited)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
