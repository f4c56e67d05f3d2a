// emu_device.h - the part of CUDA C++ that kernels/cuda uses, for the host: qualifiers, vector types, indices,
// barriers, warp operations, mathematics, and in software what mma.cuh writes in PTX. What is missing here is not to be
// used there: floating-point atomics (results would depend on the order of threads), __activemask, static __shared__
// arrays.
#ifndef HY_EMU_DEVICE_H
#define HY_EMU_DEVICE_H
#include <math.h>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

// ---------------------------------------------------------------------------------------------------- vector types
#define HY_EMU_VECTOR(T, name, align2, align4)                                \
    struct alignas(align2) name##2 {                                          \
        T x, y;                                                               \
    };                                                                        \
    struct name##3 {                                                          \
        T x, y, z;                                                            \
    };                                                                        \
    struct alignas(align4) name##4 {                                          \
        T x, y, z, w;                                                         \
    };                                                                        \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
    static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
HY_EMU_VECTOR(float, float, 8, 16)
HY_EMU_VECTOR(int, int, 8, 16)
HY_EMU_VECTOR(unsigned, uint, 8, 16)
HY_EMU_VECTOR(double, double, 16, 16)
HY_EMU_VECTOR(unsigned short, ushort, 4, 8)
#undef HY_EMU_VECTOR
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
extern uint3 threadIdx, blockIdx;  // of the fiber that runs
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

// ---------------------------------------------------------------------------------------------------- barriers, warps
enum hy_emu_op {
    HY_EMU_SYNC,
    HY_EMU_SHFL,
    HY_EMU_SHFL_XOR,
    HY_EMU_SHFL_UP,
    HY_EMU_SHFL_DOWN,
    HY_EMU_BALLOT,
    HY_EMU_ANY,
    HY_EMU_ALL,
    HY_EMU_MMA_BF16,
    HY_EMU_MMA_TF32,
    HY_EMU_LDMATRIX,
    HY_EMU_LDMATRIX_TRANS,
    HY_EMU_BARRIER,
    HY_EMU_BARRIER_OR,
    HY_EMU_BARRIER_AND,
    HY_EMU_BARRIER_COUNT
};
int hy_emu_barrier(hy_emu_op op, int predicate);
// Meets the other lanes of the mask, which must make the same call. Returns this lane's result.
uint64_t hy_emu_warp(hy_emu_op op, unsigned mask, uint64_t value, int param, int width);

static inline void __syncthreads() { hy_emu_barrier(HY_EMU_BARRIER, 0); }
static inline int __syncthreads_or(int p) { return hy_emu_barrier(HY_EMU_BARRIER_OR, p); }
static inline int __syncthreads_and(int p) { return hy_emu_barrier(HY_EMU_BARRIER_AND, p); }
static inline int __syncthreads_count(int p) { return hy_emu_barrier(HY_EMU_BARRIER_COUNT, p); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { hy_emu_warp(HY_EMU_SYNC, mask, 0, 0, 32); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
template <class T> static inline T hy_emu_shuffle(hy_emu_op op, unsigned mask, T x, int param, int width) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "warps exchange 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof x);
    bits = hy_emu_warp(op, mask, bits, param, width);
    memcpy(&x, &bits, sizeof x);
    return x;
}
template <class T> static inline T __shfl_sync(unsigned mask, T x, int lane, int width = 32) {
    return hy_emu_shuffle(HY_EMU_SHFL, mask, x, lane, width);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T x, int lane, int width = 32) {
    return hy_emu_shuffle(HY_EMU_SHFL_XOR, mask, x, lane, width);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T x, unsigned d, int width = 32) {
    return hy_emu_shuffle(HY_EMU_SHFL_UP, mask, x, (int)d, width);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T x, unsigned d, int width = 32) {
    return hy_emu_shuffle(HY_EMU_SHFL_DOWN, mask, x, (int)d, width);
}
static inline unsigned __ballot_sync(unsigned mask, int p) {
    return (unsigned)hy_emu_warp(HY_EMU_BALLOT, mask, p != 0, 0, 32);
}
static inline int __any_sync(unsigned mask, int p) { return (int)hy_emu_warp(HY_EMU_ANY, mask, p != 0, 0, 32); }
static inline int __all_sync(unsigned mask, int p) { return (int)hy_emu_warp(HY_EMU_ALL, mask, p != 0, 0, 32); }

// ---------------------------------------------------------------------------------------------------- memory
template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> struct hy_emu_integer {
    static_assert(std::is_integral<T>::value, "no floating-point atomics: their order is not fixed");
    typedef T type;
};
template <class T> static inline T atomicAdd(T *p, typename hy_emu_integer<T>::type v) {
    const T old = *p;
    *p = (T)(old + v);
    return old;
}
template <class T> static inline T atomicMax(T *p, typename hy_emu_integer<T>::type v) {
    const T old = *p;
    *p = old < v ? v : old;
    return old;
}
template <class T> static inline T atomicMin(T *p, typename hy_emu_integer<T>::type v) {
    const T old = *p;
    *p = v < old ? v : old;
    return old;
}
template <class T> static inline T atomicExch(T *p, typename hy_emu_integer<T>::type v) {
    const T old = *p;
    *p = v;
    return old;
}
template <class T> static inline T atomicOr(T *p, typename hy_emu_integer<T>::type v) {
    const T old = *p;
    *p = old | v;
    return old;
}
template <class T>
static inline T atomicCAS(T *p, typename hy_emu_integer<T>::type old, typename hy_emu_integer<T>::type v) {
    const T was = *p;
    if (was == old) *p = v;
    return was;
}
void *hy_emu_shared();
void hy_emu_mma_bf16(float *d, const uint32_t *a, const uint32_t *b);
void hy_emu_mma_tf32(float *d, const uint32_t *a, const uint32_t *b);
uint32_t hy_emu_tf32(float x);  // to nearest, ties away from zero
void hy_emu_ldmatrix4(uint32_t *r, const void *row, bool trans);
void hy_emu_copy16(void *shared, const void *global, int bytes);  // lands at the wait, and not before
void hy_emu_copy_commit();
void hy_emu_copy_wait(int groups);

// ---------------------------------------------------------------------------------------------------- mathematics
template <class To, class From> static inline To hy_emu_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
static inline float __uint_as_float(unsigned x) { return hy_emu_bits<float>(x); }
static inline float __int_as_float(int x) { return hy_emu_bits<float>(x); }
static inline unsigned __float_as_uint(float x) { return hy_emu_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return hy_emu_bits<int>(x); }
static inline long long __double_as_longlong(double x) { return hy_emu_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return hy_emu_bits<double>(x); }
// glibc has functions of these names in its headers
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
static inline float hy_emu_rounded(float x) {  // a result that no fused multiply-add swallows
    __asm__("" : "+m"(x));
    return x;
}
static inline float __fadd_rn(float x, float y) { return hy_emu_rounded(x + y); }
static inline float __fmul_rn(float x, float y) { return hy_emu_rounded(x * y); }
static inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline void sincospif(float x, float *s, float *c) { *s = (float)sin(x * M_PI), *c = (float)cos(x * M_PI); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
#define HY_EMU_MIN_MAX(T)                                   \
    static inline T min(T a, T b) { return b < a ? b : a; } \
    static inline T max(T a, T b) { return a < b ? b : a; }
HY_EMU_MIN_MAX(int)
HY_EMU_MIN_MAX(unsigned)
HY_EMU_MIN_MAX(long)
HY_EMU_MIN_MAX(unsigned long)
HY_EMU_MIN_MAX(long long)
HY_EMU_MIN_MAX(unsigned long long)
#undef HY_EMU_MIN_MAX
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
#endif
