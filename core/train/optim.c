// optim.c - see optim.h.
#include "core/train/optim.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- kernels
static hy_plan_req request(const hy_optim *s) { return hy_backend_request(s->w->be, s->w->dtype, false); }

static hy_status plan(hy_optim *s, hy_kernel_id id, const void *args, hy_optim_kernel *k) {
    const hy_backend *be = s->w->be;
    const hy_plan_req req = request(s);
    k->l = (hy_launch){0};
    HY_TRY(be->plan[id](args, &req, &k->l));
    if (k->l.workspace <= k->ws_bytes) return HY_OK;
    if (k->ws) be->free(k->ws);
    k->ws_bytes = 0;
    if (!(k->ws = be->alloc(k->l.workspace))) return HY_ENOMEM;
    k->ws_bytes = k->l.workspace;
    return HY_OK;
}

static hy_status run(hy_optim *s, const hy_optim_kernel *k, const void *args) {
    const hy_plan_req req = request(s);
    return k->l.run(args, k->ws, &req);
}

static hy_sumsq_args sumsq_args(const hy_optim *s) {
    return (hy_sumsq_args){.n = s->w->prog->param_elems, .x = s->w->grad, .out = s->ctl + HY_CTL_SUMSQ};
}
static hy_clip_args clip_args(const hy_optim *s) {
    return (hy_clip_args){.ctl = s->ctl, .report = s->report, .cap = s->cap};
}
static hy_adamw_args adamw_args(const hy_optim *s) {
    return (hy_adamw_args){.n = s->w->prog->param_elems,
                           .p = s->w->data,
                           .m = s->m,
                           .v = s->v,
                           .g = s->w->grad,
                           .p16 = s->w->compute == HY_BF16 ? s->w->low : NULL,
                           .decay = s->decay,
                           .beta1 = s->beta1,
                           .beta2 = s->beta2,
                           .eps = s->eps,
                           .wd = s->weight_decay,
                           .ctl = s->ctl};
}

// ---------------------------------------------------------------------------------------------------- opening
static size_t decay_blocks(const hy_program *p) { return p->param_elems / HY_DECAY_BLOCK; }

static hy_status send_decay(const hy_optim *s) {
    const hy_program *p = s->w->prog;
    const size_t blocks = decay_blocks(p);
    uint8_t *flags = hy_xcalloc(blocks, 1);
    for (int i = 0; i < p->n_params; i++)
        memset(flags + p->params[i].offset / HY_DECAY_BLOCK, p->params[i].decay,
               (p->params[i].n + HY_DECAY_BLOCK - 1) / HY_DECAY_BLOCK);
    const hy_status st = s->w->be->from_host(s->decay, flags, blocks);
    free(flags);
    return st;
}

hy_status hy_optim_decay_all(hy_optim *s) {
    const size_t blocks = decay_blocks(s->w->prog);
    uint8_t *flags = hy_xcalloc(blocks, 1);
    memset(flags, 1, blocks);
    const hy_status st = s->w->be->from_host(s->decay, flags, blocks);
    free(flags);
    return st;
}

static hy_status open_all(hy_optim *s) {
    hy_params *w = s->w;
    const hy_program *p = w->prog;
    const size_t bytes = p->param_elems * hy_dtype_size(w->dtype);
    HY_TRY(hy_params_want_grad(w));
    if (w->compute == HY_BF16) HY_TRY(hy_params_want_bf16(w));
    struct {
        void **p;
        size_t bytes;
    } dev[] = {{&s->m, bytes},
               {&s->v, bytes},
               {(void **)&s->decay, decay_blocks(p)},
               {(void **)&s->ctl, HY_CTL_N * sizeof(double)},
               {(void **)&s->report, 2 * (size_t)s->cap * sizeof(double)}};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++)
        if (!(*dev[i].p = w->be->alloc(dev[i].bytes)))
            return hy_error_context(HY_ENOMEM, "optimiser state of %s", p->spec.name);
    const hy_sumsq_args n = sumsq_args(s);
    const hy_clip_args c = clip_args(s);
    const hy_adamw_args a = adamw_args(s);
    HY_TRY(plan(s, HY_K_sumsq, &n, &s->sumsq));
    HY_TRY(plan(s, HY_K_clip, &c, &s->clip));
    HY_TRY(plan(s, HY_K_adamw, &a, &s->adamw));
    return send_decay(s);
}

hy_status hy_optim_open(hy_params *w, int cap, hy_optim *out) {
    *out = (hy_optim){.w = w, .cap = cap};
    const hy_status s = open_all(out);
    if (s) hy_optim_close(out);
    return s;
}

// The stretches of a whole moment, in memory of its own.
static hy_status keep(const hy_optim *s, const hy_optim_stretch *own, int n, size_t kept, void **moment) {
    const hy_backend *be = s->w->be;
    const size_t size = hy_dtype_size(s->w->dtype);
    void *to = be->alloc(kept * size), *host = hy_alloc(kept * size);
    hy_status st = to && host ? HY_OK : HY_ENOMEM;
    size_t at = 0;
    for (int i = 0; !st && i < n; at += own[i++].n)
        st = be->to_host((char *)host + at * size, (const char *)*moment + own[i].from * size, own[i].n * size);
    if (!st) st = be->from_host(to, host, kept * size);
    free(host);
    if (st) {
        if (to) be->free(to);
        return st;
    }
    be->free(*moment);
    *moment = to;
    return HY_OK;
}

size_t hy_optim_kept(const hy_optim *s) {
    size_t n = 0;
    for (int i = 0; i < s->n_own; i++) n += s->own[i].n;
    return s->n_own ? n : s->w->prog->param_elems;
}

hy_status hy_optim_keep(hy_optim *s, const hy_optim_stretch *own, int n) {
    HY_ASSERT(!s->n_own && n > 0);
    s->own = hy_xcalloc((size_t)n, sizeof *s->own);
    memcpy(s->own, own, (size_t)n * sizeof *own);
    s->n_own = n;
    const size_t kept = hy_optim_kept(s);
    HY_TRY(keep(s, own, n, kept, &s->m));
    return keep(s, own, n, kept, &s->v);
}

void hy_optim_close(hy_optim *s) {
    if (!s->w) return;
    free(s->own);
    void *dev[] = {s->m, s->v, s->decay, s->ctl, s->report, s->nll_sum.ws, s->sumsq.ws, s->clip.ws, s->adamw.ws};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++)
        if (dev[i]) s->w->be->free(dev[i]);
    *s = (hy_optim){0};
}

void hy_optim_memory_text(const hy_optim *s, hy_buf *out) {
    const double one = (double)(s->w->prog->param_elems * hy_dtype_size(s->w->dtype)) / 1e6;
    hy_buf_printf(out, "weights %.1f, gradients %.1f, optimiser moments %.1f", one, one, 2 * one);
    if (s->w->low)
        hy_buf_printf(out, ", weights in bfloat16 %.1f", (double)(s->w->prog->param_elems * sizeof *s->w->low) / 1e6);
}

// ---------------------------------------------------------------------------------------------------- a step
hy_status hy_optim_begin(hy_optim *s, const double ctl[HY_CTL_HOST]) {
    HY_TRY(s->w->be->from_host(s->ctl, ctl, HY_CTL_HOST * sizeof *ctl));
    return s->w->be->zero(s->w->grad, s->w->prog->param_elems * hy_dtype_size(s->w->dtype));
}

hy_status hy_optim_add(hy_optim *s, hy_exec *e, const hy_batch *b, double scale) {
    HY_TRY(hy_exec_forward(e, s->w, b, NULL, HY_HEAD_LOSS, NULL));
    HY_TRY(hy_exec_backward(e, s->w, scale, NULL));
    const hy_nll_sum_args a = {.rows = b->B * b->T, .nll = hy_exec_device_nll(e), .sum = s->ctl + HY_CTL_NLL};
    if (a.rows != s->nll_sum.rows) HY_TRY(plan(s, HY_K_nll_sum, &a, &s->nll_sum));
    s->nll_sum.rows = a.rows;
    return run(s, &s->nll_sum, &a);
}

hy_status hy_optim_clear(hy_optim *s) {
    HY_TRY(hy_optim_set_nll(s, 0));
    return s->w->be->zero(s->w->grad, s->w->prog->param_elems * hy_dtype_size(s->w->dtype));
}

hy_status hy_optim_nll(const hy_optim *s, double *out) {
    return s->w->be->to_host(out, s->ctl + HY_CTL_NLL, sizeof *out);
}

hy_status hy_optim_set_nll(hy_optim *s, double nll) {
    return s->w->be->from_host(s->ctl + HY_CTL_NLL, &nll, sizeof nll);
}

// Stretch after stretch of the parameters whose moments are here. Those of other processes change too: the bfloat16
// copy is made anew of all.
static hy_status step_own(hy_optim *s) {
    const size_t size = hy_dtype_size(s->w->dtype);
    size_t at = 0;
    hy_params_changed(s->w);
    for (int i = 0; i < s->n_own; at += s->own[i++].n) {
        const hy_optim_stretch o = s->own[i];
        hy_adamw_args a = adamw_args(s);
        if (!o.n) continue;
        HY_ASSERT(o.from % HY_DECAY_BLOCK == 0);
        a.n = o.n;
        a.p = (char *)a.p + o.from * size;
        a.g = (const char *)a.g + o.from * size;
        a.m = (char *)a.m + at * size;
        a.v = (char *)a.v + at * size;
        a.decay += o.from / HY_DECAY_BLOCK;
        a.p16 = NULL;
        HY_TRY(plan(s, HY_K_adamw, &a, &s->adamw));
        HY_TRY(run(s, &s->adamw, &a));
    }
    return HY_OK;
}

hy_status hy_optim_end(hy_optim *s) {
    const hy_sumsq_args n = sumsq_args(s);
    const hy_clip_args c = clip_args(s);
    const hy_adamw_args a = adamw_args(s);
    HY_TRY(run(s, &s->sumsq, &n));
    HY_TRY(run(s, &s->clip, &c));
    if (s->n_own) return step_own(s);
    if (!a.p16) hy_params_changed(s->w);
    return run(s, &s->adamw, &a);
}

hy_status hy_optim_reports(const hy_optim *s, double *out) {
    return s->w->be->to_host(out, s->report, 2 * (size_t)s->cap * sizeof *out);
}

hy_status hy_optim_reset(hy_optim *s) { return s->w->be->zero(s->ctl, HY_CTL_N * sizeof *s->ctl); }
