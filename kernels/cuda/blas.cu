// blas.cu - see blas.h. cuBLAS is found by dlopen, so its types come from the toolkit at compile time and its code at
// run time.
#include "kernels/cuda/blas.h"

#include <cstdlib>

#include "kernels/cuda/device.cuh"

#ifdef HY_CUDA_EMU
    #include "tests/cuda_emu/emu_cublas.h"
#else
    #include <cublas_v2.h>
    #include <dlfcn.h>
#endif

#ifdef HY_CUDA_EMU
    #define WORKSPACE ((size_t)256)
#else
    #define WORKSPACE ((size_t)32 << 20)  // bytes: what NVIDIA advises for Hopper
#endif
#define NAME "libcublas.so."
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static struct {
    void *library;
    int version[3];  // major, minor, patch
    cublasHandle_t handle;
    cublasStatus_t (*create)(cublasHandle_t *);
    cublasStatus_t (*set_stream)(cublasHandle_t, cudaStream_t);
    cublasStatus_t (*set_workspace)(cublasHandle_t, void *, size_t);
    cublasStatus_t (*set_math)(cublasHandle_t, cublasMath_t);
    cublasStatus_t (*property)(libraryPropertyType, int *);
    const char *(*status_text)(cublasStatus_t);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void *,
                           const void *, cudaDataType, int, const void *, cudaDataType, int, const void *, void *,
                           cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
} blas;

static hy_status check(cublasStatus_t s, const char *what) {
    if (s == CUBLAS_STATUS_SUCCESS) return HY_OK;
    return hy_error(HY_EFAIL, "cuBLAS %d.%d.%d: %s: %s", blas.version[0], blas.version[1], blas.version[2], what,
                    blas.status_text(s));
}

#ifdef HY_CUDA_EMU
static hy_status load(void) {
    blas.create = emu_cublas_create, blas.set_stream = emu_cublas_set_stream,
    blas.set_workspace = emu_cublas_set_workspace;
    blas.set_math = emu_cublas_set_math, blas.property = emu_cublas_property, blas.status_text = emu_cublas_status_text;
    blas.gemm = emu_cublas_gemm_ex;
    return HY_OK;
}
#else
// The loader's own places first, then the usual folders of a toolkit, that of the build among them.
static void *find_library(void) {
    void *l = dlopen(NAME TEXT(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    const char *homes[] = {getenv("CUDA_HOME"), getenv("CUDA_PATH"),
    #ifdef HY_CUDA_HOME
                           HY_CUDA_HOME,
    #endif
                           "/usr/local/cuda",   "/usr/local/cuda-" TEXT(CUBLAS_VER_MAJOR),
                           "/opt/cuda"};
    static const char *const folders[] = {"lib64", "lib", "targets/x86_64-linux/lib"};
    for (size_t i = 0; i < sizeof homes / sizeof *homes && !l; i++)
        for (size_t j = 0; j < sizeof folders / sizeof *folders && homes[i] && !l; j++) {
            char *path = hy_asprintf("%s/%s/%s", homes[i], folders[j], NAME TEXT(CUBLAS_VER_MAJOR));
            l = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            free(path);
        }
    return l;
}

template <class F> static bool find(F *f, const char *name) {
    *f = reinterpret_cast<F>(dlsym(blas.library, name));
    return *f != NULL;
}

static hy_status load(void) {
    if (blas.library) return HY_OK;
    void *l = find_library();
    if (!l)
        return hy_error(
            HY_EINPUT,
            "cuBLAS " TEXT(CUBLAS_VER_MAJOR) " (" NAME TEXT(
                CUBLAS_VER_MAJOR) ") is not to be found: install it (Debian and Ubuntu "
                                  "packages of NVIDIA: libcublas-" TEXT(
                                      CUBLAS_VER_MAJOR) "-0 or newer) or name its folder in LD_LIBRARY_PATH");
    blas.library = l;
    if (!find(&blas.create, "cublasCreate_v2") || !find(&blas.set_stream, "cublasSetStream_v2") ||
        !find(&blas.set_workspace, "cublasSetWorkspace_v2") || !find(&blas.set_math, "cublasSetMathMode") ||
        !find(&blas.property, "cublasGetProperty") || !find(&blas.status_text, "cublasGetStatusString") ||
        !find(&blas.gemm, "cublasGemmEx")) {
        dlclose(l);
        blas.library = NULL;
        return hy_error(HY_EINPUT, NAME TEXT(CUBLAS_VER_MAJOR) " lacks functions that are needed: install cuBLAS " TEXT(
                                       CUBLAS_VER_MAJOR));
    }
    blas.property(MAJOR_VERSION, &blas.version[0]);
    blas.property(MINOR_VERSION, &blas.version[1]);
    blas.property(PATCH_LEVEL, &blas.version[2]);
    return HY_OK;
}
#endif

bool hy_blas_describe(char *line, size_t n) {
    const bool ok = load() == HY_OK;
    if (ok)
        snprintf(line, n, "cuBLAS %d.%d.%d", blas.version[0], blas.version[1], blas.version[2]);
    else
        snprintf(line, n, "%s", hy_error_text());
    return ok;
}

hy_status hy_blas_open(const hy_cuda_device *d) {
    HY_TRY(load());
    void *workspace;
    HY_TRY(hy_cuda_check(cudaMalloc(&workspace, WORKSPACE), "%zu bytes of workspace for cuBLAS", WORKSPACE));
    HY_TRY(check(blas.create(&blas.handle), "start"));
    // the workspace after the stream: a new stream resets it
    HY_TRY(check(blas.set_stream(blas.handle, d->stream), "taking the stream"));
    HY_TRY(check(blas.set_workspace(blas.handle, workspace, WORKSPACE), "taking the workspace"));
    // partial sums of bfloat16 results stay float32
    return check(blas.set_math(blas.handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
                 "choosing the arithmetic");
}

// Row-major c = op(a) op(b) is column-major c^T = op(b)^T op(a)^T: the factors change places, the rest stays.
static hy_status multiply(const char *op, const hy_blas_args *p, hy_math math) {
    const float alpha = 1, beta = p->add ? 1 : 0;
    const cudaDataType in = p->in == HY_BF16 ? CUDA_R_16BF : CUDA_R_32F,
                       out = p->out == HY_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasComputeType_t compute =
        p->in == HY_F32 && math == HY_MATH_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasStatus_t s = blas.gemm(
        blas.handle, p->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, p->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, p->N, p->M, p->K,
        &alpha, p->b, in, p->ldb, p->a, in, p->lda, &beta, p->c, out, p->ldc, compute, CUBLAS_GEMM_DEFAULT);
    if (s == CUBLAS_STATUS_SUCCESS) return HY_OK;
    char what[160];
    snprintf(what, sizeof what, "%s: product of %d x %d x %d (%s, strides %d, %d, %d)", op, p->M, p->N, p->K,
             p->in == HY_BF16 ? "bfloat16" : "float32", p->lda, p->ldb, p->ldc);
    return check(s, what);
}

hy_status hy_blas_run(const char *op, const hy_blas_args *p, hy_math math) {
    HY_ASSERT((p->in == HY_F32 || p->in == HY_BF16) && (p->out == HY_F32 || (p->out == HY_BF16 && p->in == HY_BF16)));
    if (p->M == 0 || p->N == 0 || p->K == 0) return HY_OK;
    return multiply(op, p, math);
}
