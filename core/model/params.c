// params.c - the parameter arena: allocation, initial values, access by tensor. Values on the device, conversion here.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/parallel.h"
#include "core/model/params.h"

// One type: the offsets of the program, which training relies on. Otherwise one after the other in the same order.
static void lay_out(hy_params *w) {
    const hy_program *p = w->prog;
    const bool mixed = hy_program_keeps_bf16(p);
    w->bytes = mixed ? 0 : p->param_elems * hy_dtype_size(w->dtype);
    for (int i = 0; i < p->n_params; i++) {
        w->at[i] = mixed ? w->bytes : p->params[i].offset * hy_dtype_size(w->dtype);
        if (mixed) w->bytes += hy_align(p->params[i].n * hy_dtype_size(hy_params_dtype(w, i)));
    }
}

hy_dtype hy_params_dtype(const hy_params *w, int param) {
    return w->prog->params[param].kept == HY_BF16 ? HY_BF16 : w->dtype;
}

hy_status hy_params_create(const hy_program *p, const hy_backend *be, hy_dtype dt, hy_params **out) {
    *out = NULL;
    hy_params *w = hy_xcalloc(1, sizeof *w);
    *w = (hy_params){.prog = p,
                     .be = be,
                     .id = hy_unique_id(),
                     .dtype = dt == HY_BF16 ? HY_F32 : dt,
                     .compute = dt,
                     .at = hy_xcalloc((size_t)p->n_params, sizeof *w->at)};
    lay_out(w);
    w->data = be->alloc(w->bytes);
    if (!w->data) {
        const size_t bytes = w->bytes;
        hy_params_free(w);
        return hy_error_context(HY_ENOMEM, "parameters of %s: %.1f MB", p->spec.name, (double)bytes / 1e6);
    }
    *out = w;
    return HY_OK;
}

void hy_params_free(hy_params *w) {
    if (!w) return;
    if (w->data) w->be->free(w->data);
    free(w->at);
    if (w->grad) w->be->free(w->grad);
    if (w->low) w->be->free(w->low);
    free(w);
}

hy_status hy_params_want_grad(hy_params *w) {
    if (w->grad) return HY_OK;
    if (hy_program_keeps_bf16(w->prog))
        return hy_error(HY_EINPUT,
                        "%s: its weights are kept in bfloat16, which is for inference; gradients need them in float32",
                        w->prog->spec.name);
    w->grad = w->be->alloc(w->prog->param_elems * hy_dtype_size(w->dtype));
    return w->grad ? HY_OK : hy_error_context(HY_ENOMEM, "gradients of %s", w->prog->spec.name);
}

void *hy_params_ptr(const hy_params *w, int param, bool grad) {
    HY_ASSERT(param >= 0 && param < w->prog->n_params && (!grad || w->grad));
    return (char *)(grad ? w->grad : w->data) + w->at[param];
}

// ---------------------------------------------------------------------------------------------------- bfloat16 copy
static hy_status cast(const hy_params *w, size_t n, const float *x, uint16_t *y) {
    const hy_cast_args a = {.n = n, .x = x, .y = y};
    const hy_plan_req req = hy_backend_request(w->be, HY_F32, false);
    hy_launch l = {0};
    HY_TRY(w->be->plan[HY_K_cast](&a, &req, &l));
    HY_ASSERT(l.workspace == 0);
    return l.run(&a, NULL, &req);
}

hy_status hy_params_want_bf16(hy_params *w) {
    const hy_program *p = w->prog;
    const bool mixed = hy_program_keeps_bf16(p);
    bool any = !mixed;
    for (int i = 0; i < p->n_params && mixed; i++)
        any = any || (p->params[i].kept != HY_BF16 && hy_program_is_matrix(p, i));
    HY_ASSERT(w->dtype == HY_F32);
    if (!any || (w->low && !w->low_old)) return HY_OK;
    if (!w->low && !(w->low = w->be->alloc(p->param_elems * sizeof *w->low)))
        return hy_error_context(HY_ENOMEM, "weights of %s in bfloat16: %.1f MB", p->spec.name,
                                (double)(p->param_elems * sizeof *w->low) / 1e6);
    if (!mixed) HY_TRY(cast(w, p->param_elems, w->data, w->low));
    for (int i = 0; i < p->n_params && mixed; i++)
        if (p->params[i].kept != HY_BF16 && hy_program_is_matrix(p, i))
            HY_TRY(cast(w, p->params[i].n, hy_params_ptr(w, i, false), w->low + p->params[i].offset));
    w->low_old = false;
    return HY_OK;
}

void hy_params_changed(hy_params *w) { w->low_old = true; }

const void *hy_params_matrix(const hy_params *w, int param, hy_dtype compute) {
    if (compute != HY_BF16 || w->prog->params[param].kept == HY_BF16) return hy_params_ptr(w, param, false);
    HY_ASSERT(w->low);
    return w->low + w->prog->params[param].offset;
}

// ---------------------------------------------------------------------------------------------------- values
#define PIECE ((size_t)1 << 16)  // elements converted at a time: large tensors pass through a small buffer

hy_status hy_params_read(const hy_params *w, int param, float **out) {
    *out = NULL;
    if (param < 0) return HY_OK;
    *out = hy_alloc(w->prog->params[param].n * sizeof **out);
    return *out ? hy_params_get(w, param, false, *out) : HY_ENOMEM;
}

hy_status hy_params_get(const hy_params *w, int param, bool grad, float *dst) {
    const size_t n = w->prog->params[param].n;
    const hy_dtype dt = grad ? w->dtype : hy_params_dtype(w, param);
    const char *src = hy_params_ptr(w, param, grad);
    if (dt == HY_F32) return w->be->to_host(dst, src, n * 4);
    void *tmp = hy_alloc((n < PIECE ? n : PIECE) * hy_dtype_size(dt));
    if (!tmp) return HY_ENOMEM;
    hy_status s = HY_OK;
    for (size_t i = 0; !s && i < n; i += PIECE) {
        const size_t m = n - i < PIECE ? n - i : PIECE;
        s = w->be->to_host(tmp, src + i * hy_dtype_size(dt), m * hy_dtype_size(dt));
        for (size_t j = 0; !s && j < m; j++)
            dst[i + j] = dt == HY_BF16 ? hy_f32_from_bf16(((const uint16_t *)tmp)[j]) : (float)((const double *)tmp)[j];
    }
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
        case HY_INIT_A_LOG: return log((double)(i % (size_t)q->shape[1]) + 1);  // A = -(1 .. d_state) per channel
        case HY_INIT_A_LOG_UNIFORM: return log(1 + 15 * hy_rng_uniform(r));     // A = -U(1, 16)
        case HY_INIT_DT_BIAS: {  // softplus(bias) log-uniform in [1e-3, 1e-1]
            double dt = exp(log(1e-3) + hy_rng_uniform(r) * (log(1e-1) - log(1e-3)));
            return dt + log(-expm1(-dt));
        }
        case HY_INIT_ZEROS:
        case HY_INIT_NORMAL: break;  // hy_param_initial
    }
    return 0;
}

// Random words that initial() takes for each value of a kind, so that a stream can be entered anywhere.
static size_t words(hy_init init) {
    switch (init) {
        case HY_INIT_NORMAL: return 4;
        case HY_INIT_DT_BIAS: return 2;
        case HY_INIT_A_LOG_UNIFORM: return 2;
        case HY_INIT_ZEROS:
        case HY_INIT_ONES:
        case HY_INIT_A_LOG: return 0;
    }
    HY_ASSERT(!"init kind");
    return 0;
}

void hy_param_initial(const hy_param *q, uint64_t seed, size_t first, size_t n, double *dst) {
    hy_rng r = hy_rng_make(seed, name_stream(q->name));
    const size_t skip = first * words(q->init);
    r.counter = skip / 4;  // four words a block
    for (size_t i = 0; i < skip % 4; i++) hy_rng_u32(&r);
    if (q->init == HY_INIT_NORMAL) {
        hy_rng_normals(&r, n, dst);
        for (size_t i = 0; i < n; i++) dst[i] *= q->init_std;
        return;
    }
    for (size_t i = 0; i < n; i++) dst[i] = initial(q, first + i, &r);
}

#define STEP ((size_t)1024)  // values that one thread makes at a time
typedef struct {
    const hy_param *q;
    uint64_t seed;
    size_t first, n;  // of the parameter's values
    hy_dtype dtype;
    void *out;
} values_ctx;
static void make_values(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const values_ctx *c = ctx;
    for (size_t i = (size_t)from * STEP; i < c->n && i < (size_t)to * STEP; i += STEP) {
        double v[STEP];
        const size_t m = c->n - i < STEP ? c->n - i : STEP;
        hy_param_initial(c->q, c->seed, c->first + i, m, v);
        for (size_t k = 0; k < m; k++)
            if (c->dtype == HY_F64)
                ((double *)c->out)[i + k] = v[k];
            else if (c->dtype == HY_BF16)
                ((uint16_t *)c->out)[i + k] = hy_bf16_from_f32((float)v[k]);
            else
                ((float *)c->out)[i + k] = (float)v[k];
    }
}

void hy_param_initial_as(const hy_param *q, uint64_t seed, size_t first, size_t n, hy_dtype dtype, int threads,
                         void *dst) {
    const values_ctx c = {q, seed, first, n, dtype, dst};
    hy_parallel(n > 4 * STEP ? threads : 1, (long)((n + STEP - 1) / STEP), 0, make_values, &c);
}

hy_status hy_params_init(hy_params *w, uint64_t seed) {
    hy_status s = HY_OK;
    void *v = hy_alloc(PIECE * sizeof(double));
    if (!v) return HY_ENOMEM;
    hy_params_changed(w);
    for (int i = 0; !s && i < w->prog->n_params; i++) {
        const hy_param *q = &w->prog->params[i];
        const hy_dtype dt = hy_params_dtype(w, i);
        for (size_t j = 0; !s && j < q->n; j += PIECE) {
            const size_t m = q->n - j < PIECE ? q->n - j : PIECE;
            hy_param_initial_as(q, seed, j, m, dt, w->be->threads, v);
            s = w->be->from_host((char *)hy_params_ptr(w, i, false) + j * hy_dtype_size(dt), v, m * hy_dtype_size(dt));
        }
    }
    free(v);
    return s;
}
