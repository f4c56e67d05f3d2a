// mma.cuh - products of small matrices on tensor cores and copies from global to shared memory that run by themselves.
// All are calls of a whole warp (mma, ldmatrix) or a thread (copies); tests/cuda_emu has them in software. Compute
// capability 8.0.
#ifndef HY_MMA_CUH
#define HY_MMA_CUH
#include "kernels/cuda/device.cuh"

// d [16,8] += a [16,16] b [16,8], bfloat16 factors (two in a register, the lower index in the lower half), float32
// sums. With g = lane / 4, t = lane % 4: a0 = (row g, cols 2t, 2t+1), a1 = (g+8, same), a2 = (g, 2t+8, +9), a3 = (g+8,
// 2t+8, +9); b0 = (rows 2t, 2t+1, col g), b1 = (rows 2t+8, +9, col g); d0, d1 = (g, 2t), (g, 2t+1); d2, d3 = (g+8,
// same).
static __device__ __forceinline__ void hy_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
#ifdef HY_CUDA_EMU
    hy_emu_mma_bf16(d, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
// d [16,8] += a [16,8] b [8,8], factors float32 bits rounded to TF32 by hy_tf32. a0 = (g, t), a1 = (g+8, t), a2 = (g,
// t+4), a3 = (g+8, t+4); b0 = (row t, col g), b1 = (row t+4, col g); d as above.
static __device__ __forceinline__ void hy_mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2]) {
#ifdef HY_CUDA_EMU
    hy_emu_mma_tf32(d, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
static __device__ __forceinline__ uint32_t hy_tf32(float x) {
#ifdef HY_CUDA_EMU
    return hy_emu_tf32(x);
#else
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
#endif
}
// Two floats as bfloat16 in one register, lo in the lower half.
static __device__ __forceinline__ uint32_t hy_pack_bf16(float lo, float hi) {
    return (uint32_t)hy_from_float<hy_bf16>(lo).bits | (uint32_t)hy_from_float<hy_bf16>(hi).bits << 16;
}

// Four 8x8 matrices of 16-bit elements from shared memory; lane l gives the 16-byte aligned address of row l % 8 of
// matrix l / 8. Lane l gets in r[i] the elements (l / 4, 2 (l % 4)) and the next of matrix i; with `trans`, of its
// transpose.
static __device__ __forceinline__ void hy_ldmatrix4(uint32_t r[4], const void *row) {
#ifdef HY_CUDA_EMU
    hy_emu_ldmatrix4(r, row, false);
#else
    const uint32_t p = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(p)
                 : "memory");
#endif
}
static __device__ __forceinline__ void hy_ldmatrix4_trans(uint32_t r[4], const void *row) {
#ifdef HY_CUDA_EMU
    hy_emu_ldmatrix4(r, row, true);
#else
    const uint32_t p = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(p)
                 : "memory");
#endif
}

// 16 bytes from global to shared memory (both 16-byte aligned), in the background: of them `bytes` are read (0 or 16),
// the rest is zero. What a thread has started since its last commit is one group; hy_copy_wait<N> returns when all but
// its N newest groups are there for that thread: a __syncthreads() makes them visible to the others.
static __device__ __forceinline__ void hy_copy16(void *shared, const void *global, int bytes) {
#ifdef HY_CUDA_EMU
    hy_emu_copy16(shared, global, bytes);
#else
    const uint32_t p = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(p), "l"(global), "r"(bytes) : "memory");
#endif
}
static __device__ __forceinline__ void hy_copy_commit() {
#ifdef HY_CUDA_EMU
    hy_emu_copy_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int N> static __device__ __forceinline__ void hy_copy_wait() {
#ifdef HY_CUDA_EMU
    hy_emu_copy_wait(N);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}
#endif
