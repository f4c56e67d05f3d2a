// params.c - the parameter arena: allocation, initial values, access by tensor. Values on the device, conversion here.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/exec.h"

hy_status hy_params_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_params **out) {
    *out = NULL;
    void *data = be->alloc(p->param_elems * hy_dtype_size(dt));
    if (!data) return hy_error_context(HY_ENOMEM, "parameters of %s (%zu values)", p->spec.name, p->param_elems);
    hy_params *w = hy_xcalloc(1, sizeof *w);
    *w = (hy_params){.prog = p, .be = be, .dtype = dt, .data = data};
    *out = w;
    return HY_OK;
}

void hy_params_free(hy_params *w) {
    if (!w) return;
    w->be->free(w->data);
    if (w->grad) w->be->free(w->grad);
    free(w);
}

hy_status hy_params_want_grad(hy_params *w) {
    if (w->grad) return HY_OK;
    w->grad = w->be->alloc(w->prog->param_elems * hy_dtype_size(w->dtype));
    return w->grad ? HY_OK : hy_error_context(HY_ENOMEM, "gradients of %s", w->prog->spec.name);
}

void *hy_params_ptr(const hy_params *w, int param, bool grad) {
    HY_ASSERT(param >= 0 && param < w->prog->n_params && (!grad || w->grad));
    return (char *)(grad ? w->grad : w->data) + w->prog->params[param].offset * hy_dtype_size(w->dtype);
}

hy_status hy_params_get(const hy_params *w, int param, bool grad, float *dst) {
    const size_t n = w->prog->params[param].n;
    if (w->dtype == HY_F32) return w->be->to_host(dst, hy_params_ptr(w, param, grad), n * 4);
    HY_ASSERT(w->dtype == HY_F64);
    double *tmp = hy_alloc(n * 8);
    if (!tmp) return HY_ENOMEM;
    hy_status s = w->be->to_host(tmp, hy_params_ptr(w, param, grad), n * 8);
    for (size_t i = 0; !s && i < n; i++) dst[i] = (float)tmp[i];
    free(tmp);
    return s;
}

static hy_status set_double(hy_params *w, int param, const double *src) {
    const size_t n = w->prog->params[param].n;
    if (w->dtype == HY_F64) return w->be->from_host(hy_params_ptr(w, param, false), src, n * 8);
    HY_ASSERT(w->dtype == HY_F32);
    float *tmp = hy_alloc(n * 4);
    if (!tmp) return HY_ENOMEM;
    for (size_t i = 0; i < n; i++) tmp[i] = (float)src[i];
    hy_status s = w->be->from_host(hy_params_ptr(w, param, false), tmp, n * 4);
    free(tmp);
    return s;
}

// A tensor's random stream depends on its name only.
static uint64_t name_stream(const char *name) {
    uint64_t h = 1469598103934665603u;  // FNV-1a
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}

static double initial(const hy_param *q, size_t i, hy_rng *r) {
    switch (q->init) {
        case HY_INIT_ONES: return 1;
        case HY_INIT_NORMAL: return q->init_std * hy_rng_normal(r);
        case HY_INIT_A_LOG: return log((double)(i % (size_t)q->shape[1]) + 1);  // A = -(1 .. d_state) per channel
        case HY_INIT_A_LOG_UNIFORM: return log(1 + 15 * hy_rng_uniform(r));  // A = -U(1, 16)
        case HY_INIT_DT_BIAS: {  // softplus(bias) log-uniform in [1e-3, 1e-1]
            double dt = exp(log(1e-3) + hy_rng_uniform(r) * (log(1e-1) - log(1e-3)));
            return dt + log(-expm1(-dt));
        }
        default: return 0;
    }
}

// Random words that initial() takes for each value of a kind, so that a stream can be entered anywhere.
static size_t words(hy_init init) { return init == HY_INIT_NORMAL ? 4 : init == HY_INIT_DT_BIAS ? 2 : 0; }

void hy_param_initial(const hy_param *q, uint64_t seed, size_t first, size_t n, double *dst) {
    hy_rng r = hy_rng_make(seed, name_stream(q->name));
    const size_t skip = first * words(q->init);
    r.counter = skip / 4;  // four words a block
    for (size_t i = 0; i < skip % 4; i++) hy_rng_u32(&r);
    for (size_t i = 0; i < n; i++) dst[i] = initial(q, first + i, &r);
}

hy_status hy_params_init(hy_params *w, uint64_t seed) {
    hy_status s = HY_OK;
    for (int i = 0; !s && i < w->prog->n_params; i++) {
        const hy_param *q = &w->prog->params[i];
        double *v = hy_alloc(q->n * sizeof *v);
        if (!v) return HY_ENOMEM;
        hy_param_initial(q, seed, 0, q->n, v);
        s = set_double(w, i, v);
        free(v);
    }
    return s;
}
