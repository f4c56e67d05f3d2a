// backend.h - a device that runs kernels: how its memory is handled, which kernels it has, and how one is opened.
#ifndef HY_BACKEND_H
#define HY_BACKEND_H
#include "kernels/kernels.h"

typedef struct hy_backend {
    const char *name;  // "cpu", "cuda"
    char device[128];  // the processor or GPU as its maker names it, stored with results
    hy_plan_fn plan[HY_K_COUNT];
    void *(*alloc)(size_t bytes);  // zeroed; NULL: see hy_error_text
    void (*free)(void *p);         // waits for work that may use it
    hy_status (*zero)(void *p, size_t bytes);
    hy_status (*to_host)(void *dst, const void *src, size_t bytes);    // waits for all work queued so far, then copies
    hy_status (*from_host)(void *dst, const void *src, size_t bytes);  // before work queued later; src may change then
    hy_status (*wait)(void);      // until all work queued so far is done; reports its errors
    size_t (*memory_free)(void);  // bytes that alloc could give now; NULL: not known
    // Recording: between record_begin and record_end, kernels and zero are recorded instead of run; replay queues all
    // of them at once. All four are NULL in a backend without. A recording contains addresses and sizes, and is valid
    // as long as these are.
    hy_status (*record_begin)(void);
    hy_status (*record_end)(void **recording);  // NULL: drops what was recorded
    hy_status (*replay)(void *recording);
    void (*discard_recording)(void *recording);
    bool async;             // kernels return before they have run
    bool no_tf32;           // float32 products have float32 factors
    const char *bf16_slow;  // why computing in bfloat16 is slower than in float32 here, or NULL
    // A row of a product has the same bits in all products of fewer rows than this, and the same in all of more; 0: no
    // promise.
    int few_rows;
    bool by_token;  // CPU: set it in a copy of the backend that an executor is made with; see hy_plan_req
    hy_isa isa;     // CPU: the best path allowed
    int threads;
    hy_math math;
} hy_backend;
// What kernels are planned with on this backend. training: a backward will follow.
static inline hy_plan_req hy_backend_request(const hy_backend *be, hy_dtype dtype, bool training) {
    hy_plan_req r;
    r.dtype = dtype, r.isa = be->isa, r.threads = be->threads, r.training = training, r.math = be->math;
    r.by_token = be->by_token && !training;
    return r;
}

// The CPU backend. isa: the best path to use ("ref", "base", "avx2", "avx512"; NULL, "auto": the best that the machine
// has). threads 0: all cores this process may use. Tells hy_parallel_threads (core/base/parallel.h). Nothing to free.
hy_status hy_backend_cpu(const char *isa, int threads, hy_backend *out);

// The CUDA backend on GPU `device` (in CUDA's numbering; -1: the first that can be used), with one stream. HY_EINPUT
// with the reason if there is none: a build without CUDA, no driver, no such GPU, a compute capability below 8.0. A
// process uses one device: later calls must name the same.
hy_status hy_backend_cuda(int device, hy_math math, hy_backend *out);
hy_status hy_cuda_find(int device);  // checks the same without opening the GPU
// One line about the CUDA of this build and machine: "CUDA 13.0, driver 13.0: NVIDIA H100 (sm_90, 79.1 GiB)". False: no
// GPU can be used, and the line says why. line may be NULL, with n 0.
bool hy_cuda_describe(char *line, size_t n);
const char *hy_isa_name(hy_isa isa);
hy_isa hy_isa_best(void);
// Why computing in bfloat16 is slower than in float32 on this processor, or NULL.
const char *hy_cpu_bf16_slow(void);
#endif
