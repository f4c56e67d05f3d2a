// emu_cublas.h - the few calls of cuBLAS that kernels/cuda/blas.cu makes, as their documentation defines them: matrices
// in columns, leading dimensions checked, one queued kernel a product. For the emulation only, so that the mapping of
// row-major products to these calls is tested too. Included by blas.cu alone, after device.cuh.
#ifndef HY_EMU_CUBLAS_H
#define HY_EMU_CUBLAS_H
#define CUBLAS_VER_MAJOR 0  // emulated

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cublasMath_t { CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum libraryPropertyType { MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL };
typedef struct hy_emu_cublas *cublasHandle_t;

static cublasStatus_t emu_cublas_create(cublasHandle_t *h) { return *h = NULL, CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t emu_cublas_set_stream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t emu_cublas_set_workspace(cublasHandle_t, void *, size_t) { return CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t emu_cublas_set_math(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t emu_cublas_property(libraryPropertyType, int *v) { return *v = 0, CUBLAS_STATUS_SUCCESS; }
static const char *emu_cublas_status_text(cublasStatus_t s) {
    return s == CUBLAS_STATUS_INVALID_VALUE ? "invalid value" : "not supported";
}

struct emu_cublas_gemm {
    bool ta, tb, tf32;
    int m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const void *a, *b;
    void *c;
};
enum { EMU_STRIP = 16 };  // rows of C a thread computes

// C (i, j) = alpha sum over l of op(A) (i, l) op(B) (l, j) + beta C (i, j), element (i, j) of a matrix at i + j ld.
template <class I, class O> static __global__ void emu_cublas_kernel(emu_cublas_gemm p) {
    const int strips = (p.m + EMU_STRIP - 1) / EMU_STRIP;
    const long at = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (long)p.n * strips) return;
    const int j = (int)(at / strips), first = (int)(at % strips) * EMU_STRIP,
              end = first + EMU_STRIP < p.m ? first + EMU_STRIP : p.m;
    for (int i = first; i < end; i++) {
        float sum = 0, part = 0;  // parts of 32 terms, so that rounding grows slowly
        for (int l = 0; l < p.k; l++) {
            float x = hy_load((const I *)p.a + (p.ta ? l + (size_t)i * p.lda : i + (size_t)l * p.lda));
            float y = hy_load((const I *)p.b + (p.tb ? j + (size_t)l * p.ldb : l + (size_t)j * p.ldb));
            if (p.tf32) x = __uint_as_float(hy_emu_tf32(x)), y = __uint_as_float(hy_emu_tf32(y));
            part += x * y;
            if (l % 32 == 31 || l == p.k - 1) sum += part, part = 0;
        }
        O *c = (O *)p.c + i + (size_t)j * p.ldc;
        hy_store(c, p.beta != 0 ? p.alpha * sum + p.beta * hy_load(c) : p.alpha * sum);  // beta 0: C is not read
    }
}

static cublasStatus_t emu_cublas_gemm_ex(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                         int k, const void *alpha, const void *a, cudaDataType ta_type, int lda,
                                         const void *b, cudaDataType tb_type, int ldb, const void *beta, void *c,
                                         cudaDataType c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t) {
    if (m < 0 || n < 0 || k < 0 || lda < (ta == CUBLAS_OP_N ? m : k) || ldb < (tb == CUBLAS_OP_N ? k : n) || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (ta_type != tb_type || (c_type == CUDA_R_16BF && ta_type != CUDA_R_16BF)) return CUBLAS_STATUS_NOT_SUPPORTED;
    const emu_cublas_gemm p = {ta == CUBLAS_OP_T,
                               tb == CUBLAS_OP_T,
                               compute == CUBLAS_COMPUTE_32F_FAST_TF32,
                               m,
                               n,
                               k,
                               lda,
                               ldb,
                               ldc,
                               *(const float *)alpha,
                               *(const float *)beta,
                               a,
                               b,
                               c};
    const int block = 64, grid = hy_ceil_div((long)n * hy_ceil_div(m, EMU_STRIP), block);
    void (*const kernel)(emu_cublas_gemm) = ta_type == CUDA_R_32F  ? emu_cublas_kernel<float, float>
                                            : c_type == CUDA_R_32F ? emu_cublas_kernel<hy_bf16, float>
                                                                   : emu_cublas_kernel<hy_bf16, hy_bf16>;
    return hy_emu_launch("cublasGemmEx", dim3(grid), dim3(block), 0, kernel, p) ? CUBLAS_STATUS_INVALID_VALUE
                                                                                : CUBLAS_STATUS_SUCCESS;
}
#endif
