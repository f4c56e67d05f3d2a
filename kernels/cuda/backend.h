// backend.h - what the files of the CUDA backend itself share (backend.cu, device.cu, transfer.cu); kernels need none
// of it.
#ifndef HY_CUDA_BACKEND_H
#define HY_CUDA_BACKEND_H
#include "kernels/cuda/cuda.h"

// The GPU that kernels get from hy_cuda() from now on; d NULL: only its name, for messages while it is being opened.
void hy_cuda_take(const char *name, const hy_cuda_device *d);
// Gets the page-locked memory through which copies go. Once, before the other two.
hy_status hy_cuda_transfer_open(cudaStream_t stream);
// As hy_backend.from_host and to_host.
hy_status hy_cuda_from_host(void *dst, const void *src, size_t bytes);
hy_status hy_cuda_to_host(void *dst, const void *src, size_t bytes);
#endif
