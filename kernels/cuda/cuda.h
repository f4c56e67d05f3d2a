// cuda.h - inside the CUDA backend, host side: what every <op>.cu includes first. One file an op: its kernels, then its
// plan function (support check and launch choice in one). Every kernel works on one stream, allocates nothing and
// synchronises with nothing; scratch memory comes with the call. The same sources run on a GPU (nvcc) and, for tests,
// on the host (C++ and tests/cuda_emu), so they keep to what device.cuh and mma.cuh offer.
#ifndef HY_CUDA_H
#define HY_CUDA_H
extern "C" {
#include "kernels/ceilings.h"
}
#ifdef HY_CUDA_EMU
    #include "tests/cuda_emu/cuda_emu.h"
#else
    #include <cuda_bf16.h>
    #include <cuda_runtime.h>
#endif

// ---------------------------------------------------------------------------------------------------- the device
typedef struct {
    int device, cc;   // compute capability, 90 for 9.0
    int sms;          // multiprocessors
    size_t smem_max;  // bytes of shared memory a block may have
    size_t l2;
    cudaStream_t stream;
} hy_cuda_device;
const hy_cuda_device *hy_cuda(void);  // after hy_backend_cuda

// HY_EFAIL with what was being done, the call's own words and the device; HY_OK for cudaSuccess.
hy_status hy_cuda_check(cudaError_t e, const char *what, ...) __attribute__((format(printf, 2, 3)));

// ---------------------------------------------------------------------------------------------------- launching
// HY_LAUNCH(kernel, grid, block, shared bytes, arguments...): kernel may be a template-id in parentheses; the error of
// the launch is returned from the enclosing function, which returns hy_status. All shared memory is dynamic:
// HY_SHARED(T, name) in the kernel. More than 48 KB is asked for here.
#ifdef HY_CUDA_EMU
    #define HY_LAUNCH(kernel, grid, block, shared, ...) \
        HY_TRY(hy_emu_launch(#kernel, dim3(grid), dim3(block), (size_t)(shared), kernel, __VA_ARGS__))
    #define HY_SHARED(T, name) T *const name = (T *)hy_emu_shared()
#else
    #define HY_LAUNCH(kernel, grid, block, shared, ...)                                                             \
        do {                                                                                                        \
            auto hy_kernel_ = (kernel);                                                                             \
            const size_t hy_shared_ = (shared);                                                                     \
            if (hy_shared_ > 48 * 1024)                                                                             \
                HY_TRY(hy_cuda_check(                                                                               \
                    cudaFuncSetAttribute(hy_kernel_, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)hy_shared_), \
                    "%s: %zu bytes of shared memory a block", #kernel, hy_shared_));                                \
            hy_kernel_<<<dim3(grid), dim3(block), hy_shared_, hy_cuda()->stream>>>(__VA_ARGS__);                    \
            HY_TRY(hy_cuda_check(cudaGetLastError(), "launch of %s", #kernel));                                     \
        } while (0)
    #define HY_SHARED(T, name)                                     \
        extern __shared__ __align__(128) unsigned char hy_smem_[]; \
        T *const name = (T *)hy_smem_
#endif

// ---------------------------------------------------------------------------------------------------- plans
extern "C" {
#define X(name) hy_status hy_cuda_plan_##name(const void *args, const hy_plan_req *req, hy_launch *out);
HY_KERNELS(X)
#undef X
}
// A plan refuses what the kernel cannot do: HY_EINPUT with the op and the condition that does not hold.
#define HY_NEED(op, cond)                                                             \
    do {                                                                              \
        if (!(cond)) return hy_error(HY_EINPUT, "%s on the GPU needs %s", op, #cond); \
    } while (0)
// Only float32 and bfloat16 are computed on the GPU.
#define HY_NEED_TYPE(op, req)                                                                                        \
    do {                                                                                                             \
        if ((req)->dtype != HY_F32 && (req)->dtype != HY_BF16)                                                       \
            return hy_error(HY_EINPUT,                                                                               \
                            "%s on the GPU computes in float32, TF32 or bfloat16; float64 is for --device cpu", op); \
    } while (0)
// Calls fn<T>(args...) with T = float or hy_bf16 for the activations of the request: run functions are templates over
// T.
#define HY_BY_TYPE(req, fn) ((req)->dtype == HY_BF16 ? fn<hy_bf16> : fn<float>)
static inline const char *hy_cuda_path(const hy_plan_req *req) {  // for kernels without matrix products
    return req->dtype == HY_BF16 ? "cuda (bf16)" : "cuda";
}
static inline const char *hy_cuda_mma_path(const hy_plan_req *req) {  // for those with
    return req->dtype == HY_BF16 ? "cuda (bf16)" : req->math == HY_MATH_TF32 ? "cuda (tf32)" : "cuda";
}
static inline int hy_ceil_div(long a, long b) { return (int)((a + b - 1) / b); }
#endif
