// ceilings.h - what a device can do at most, for benchmarks: no kernel is faster than this.
#ifndef HY_CEILINGS_H
#define HY_CEILINGS_H
#include "kernels/backend.h"

// For benchmarks. Seconds of the device, between events, that the launches of `work` take.
hy_status hy_cuda_time(hy_status (*work)(void *user), void *user, double *seconds);
// What the device can do at most, medians: bytes read and written per second by a copy of copy_bytes, floating-point
// operations per second in the library's n x n x n products of bfloat16, TF32 and float32 factors, 2^x per second.
typedef struct {
    double copy, bf16, tf32, f32, exp2;
} hy_cuda_ceilings;
hy_status hy_cuda_measure_ceilings(size_t copy_bytes, int n, int reps, hy_cuda_ceilings *out);
void hy_gemm_library(char out[64]);  // name and version of the library of matrix products
// For benchmarks: computes n values of 2^x with the polynomial of the scan on so many threads and returns their sum. No
// scan can be faster than its exps alone. isa: HY_ISA_BASE or better.
double hy_cpu_exp2_floor(hy_isa isa, int threads, size_t n);
#endif
