// backend.h - a device that runs kernels: how its memory is handled, which kernels it has, and how one is opened.
#ifndef HY_BACKEND_H
#define HY_BACKEND_H
#include "kernels/kernels.h"

typedef struct hy_backend {
    const char *name;    // "cpu", "cuda"
    char device[128];    // as people call it, for provenance
    hy_plan_fn plan[HY_K_COUNT];
    void *(*alloc)(size_t bytes);  // zeroed; NULL: see hy_error_text
    void (*free)(void *p);         // waits for work that may use it
    hy_status (*zero)(void *p, size_t bytes);
    hy_status (*to_host)(void *dst, const void *src, size_t bytes);    // after all work so far; returns when it is there
    hy_status (*from_host)(void *dst, const void *src, size_t bytes);  // before all work to come; src may change on return
    hy_status (*wait)(void);                                           // until all work so far is done; errors of it surface here
    size_t (*memory_free)(void);   // bytes that alloc could give now; NULL: not known
    // Recording: the kernels run and the memory zeroed between begin and end are written down instead; replay queues them all at
    // once. NULL where a backend has none. A recording holds addresses and sizes: it is valid while they are.
    hy_status (*record_begin)(void);
    hy_status (*record_end)(void **recording);  // NULL: what was written down is given up
    hy_status (*replay)(void *recording);
    void (*discard_recording)(void *recording);
    bool async;          // kernels return before they have run
    bool full_precision_only;  // no TF32, no bfloat16
    int few_rows;        // a row of a product has the same bits in all products of fewer rows than this, and in all of more; 0: no such promise
    hy_isa isa;          // CPU: best path allowed
    int threads;
    hy_math math;
} hy_backend;
static inline hy_plan_req hy_backend_request(const hy_backend *be, hy_dtype dtype, bool training) {
    hy_plan_req r;
    r.dtype = dtype, r.isa = be->isa, r.threads = be->threads, r.training = training, r.math = be->math;
    return r;
}

// The CPU backend. isa: the best the machine has, or less if asked ("ref", "base", "avx2", "avx512", NULL or "auto");
// threads 0: all cores this process may use. Sets up OpenMP; call once per configuration, free nothing.
hy_status hy_backend_cpu(const char *isa, int threads, hy_backend *out);

// The CUDA backend: the GPU numbered `device` (as CUDA counts those it is shown; -1: the first that can be used), one stream. HY_EINPUT with the reason where
// there is none to be had: a build without CUDA, no driver, no such GPU, one older than compute capability 8.0. One
// device a process: a second call may only name the same.
hy_status hy_backend_cuda(int device, hy_math math, hy_backend *out);
hy_status hy_cuda_find(int device);  // whether there is that GPU, without taking it: HY_EINPUT with the reason
// One line on what this build and machine have, for people: "CUDA 13.0, driver 13.0: NVIDIA H100 (sm_90, 79.1 GiB)"; false: none
// usable, and the line says why. NULL and 0: only whether.
bool hy_cuda_describe(char *line, size_t n);
const char *hy_isa_name(hy_isa isa);
hy_isa hy_isa_best(void);
#endif
