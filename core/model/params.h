// params.h - the parameters of a program on a device: values, gradients, and what matrix products read of them.
#ifndef HY_PARAMS_H
#define HY_PARAMS_H
#include "core/model/program.h"
#include "kernels/backend.h"

typedef struct hy_params {
    const hy_program *prog;
    const hy_backend *be;
    uint64_t id;       // no other set of this process has it
    hy_dtype dtype;    // of every parameter that the program does not keep in bfloat16: HY_F32 or HY_F64
    hy_dtype compute;  // what executors compute in with them: dtype, or HY_BF16 over float32
    void *data;        // device: prog->param_elems elements where all have one type
    size_t *at;        // [n_params] bytes from data
    size_t bytes;
    void *grad;     // device: the same layout, or NULL until hy_params_want_grad
    uint16_t *low;  // device [prog->param_elems], or NULL until hy_params_want_bf16
    bool low_old;   // values were changed since the bfloat16 copy was made
} hy_params;
// dt: what is computed in. HY_BF16: the parameters themselves are float32 (but for those that the program keeps in
// bfloat16).
hy_status hy_params_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_params **out);
void hy_params_free(hy_params *w);
hy_dtype hy_params_dtype(const hy_params *w, int param);  // of its values
hy_status hy_params_init(hy_params *w, uint64_t seed);  // each tensor from its own stream: adding one changes no other
// Elements first .. first+n-1 of what hy_params_init gives a parameter.
void hy_param_initial(const hy_param *q, uint64_t seed, size_t first, size_t n, double *dst);
// The same as elements of a type, made by so many threads (0: hy_parallel_threads). Which one makes a value is all one.
void hy_param_initial_as(const hy_param *q, uint64_t seed, size_t first, size_t n, hy_dtype dtype, int threads,
                         void *dst);
hy_status hy_params_want_grad(hy_params *w);  // HY_EINPUT if some parameter is kept in bfloat16
// Copies one whole tensor to host floats (converted); grad: the gradient instead of the value.
hy_status hy_params_get(const hy_params *w, int param, bool grad, float *dst);
// The same of a value, into memory of its own that the caller frees; param -1: none, NULL.
hy_status hy_params_read(const hy_params *w, int param, float **out);
void *hy_params_ptr(const hy_params *w, int param, bool grad);  // device address
// Computing in bfloat16 reads matrices in bfloat16: those the program keeps so, and of the others a copy at the
// program's element offsets. hy_params_want_bf16 makes it (once) and brings it up to date. Optimiser steps write it
// too; code that changes values otherwise, through hy_params_ptr, must call hy_params_changed.
hy_status hy_params_want_bf16(hy_params *w);
void hy_params_changed(hy_params *w);
const void *hy_params_matrix(const hy_params *w, int param,
                             hy_dtype compute);  // device address of what a matrix product reads
#endif
