// attention.c - plans of attention and of the KV cache on the CPU: the support check and the choice of kernel, and the
// checks of positions and lengths that every run repeats because a plan never looks at data.
#include "kernels/cpu/attention.h"

static hy_status check(const char *op, const hy_attention_args *a) {
    if (a->B < 1 || a->T < 1 || a->heads < 1 || a->kv_heads < 1 || a->d_qk < 1 || a->d_v < 1)
        return hy_error(HY_EINPUT, "%s: B %d, T %d, heads %d, KV heads %d, d_qk %d and d_v %d must be at least 1", op,
                        a->B, a->T, a->heads, a->kv_heads, a->d_qk, a->d_v);
    if (a->heads % a->kv_heads != 0)
        return hy_error(HY_EINPUT, "%s: %d query heads do not divide evenly among %d KV heads", op, a->heads,
                        a->kv_heads);
    if (a->window < 0 || a->meta < 0)
        return hy_error(HY_EINPUT, "%s: window %d and meta %d must not be negative", op, a->window, a->meta);
    if (a->cache.k && a->cache.cap <= a->meta)
        return hy_error(HY_EINPUT, "%s: a cache of %d slots has no room beside %d meta tokens", op, a->cache.cap,
                        a->meta);
    if (a->drop.key && (a->cache.k || !(a->drop.p >= 0 && a->drop.p < 1)))
        return hy_error(HY_EINPUT, "%s: dropout of %g needs a share of 0 .. 1 and no cache", op, a->drop.p);
    if (a->ldq / a->heads < a->d_qk || a->ldk / a->kv_heads < a->d_qk || a->ldv / a->kv_heads < a->d_v ||
        a->ldo / a->heads < a->d_v)
        return hy_error(HY_EINPUT, "%s: a row stride (q %d, k %d, v %d, o %d) is below the row's width", op, a->ldq,
                        a->ldk, a->ldv, a->ldo);
    return HY_OK;
}

hy_status hy_cpu_plan_attention(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_attention_args *a = args;
    *out = (hy_launch){0};
    HY_TRY(check("attention", a));
    if (req->training) out->saved = (size_t)a->B * a->T * a->heads * hy_dtype_size(req->dtype);
    if (req->dtype == HY_F32 && req->isa != HY_ISA_REF) {
        out->workspace = hy_attn_fwd_sizes(a, req).bytes;
        HY_FAST_CHOOSE(hy_fast_attention, req, out);
        return HY_OK;
    }
    size_t positions = (size_t)a->T + (a->cache.k ? (size_t)a->cache.cap : 0);
    out->workspace = hy_align(((size_t)a->d_v + positions) * sizeof(double));
    return hy_cpu_choose_ref("attention", req, out, hy_ref_attention_f32, hy_ref_attention_f64);
}

hy_status hy_cpu_plan_attention_bwd(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_attention_bwd_args *g = args;
    const hy_attention_args *a = &g->f;
    *out = (hy_launch){0};
    HY_TRY(check("attention_bwd", a));
    if (a->cache.k) return hy_error(HY_EINPUT, "attention_bwd: there is no gradient through a cache");
    if (g->lddo / a->heads < a->d_v || (g->dq && g->lddq / a->heads < a->d_qk) ||
        (g->dk && g->lddk / a->kv_heads < a->d_qk) || (g->dv && g->lddv / a->kv_heads < a->d_v))
        return hy_error(HY_EINPUT,
                        "attention_bwd: a row stride (dout %d, dq %d, dk %d, dv %d) is below the row's width", g->lddo,
                        g->lddq, g->lddk, g->lddv);
    if (req->dtype == HY_F32 && req->isa != HY_ISA_REF) {
        out->workspace = hy_attn_bwd_sizes(a, req->threads).bytes;
        HY_FAST_CHOOSE(hy_fast_attention_bwd, req, out);
        return HY_OK;
    }
    out->workspace = hy_align(((size_t)a->d_qk + a->d_v) * sizeof(double));
    return hy_cpu_choose_ref("attention_bwd", req, out, hy_ref_attention_bwd_f32, hy_ref_attention_bwd_f64);
}

hy_status hy_cpu_plan_kv_append(const void *args, const hy_plan_req *req, hy_launch *out) {
    const hy_kv_append_args *a = args;
    *out = (hy_launch){0};
    if (a->B < 1 || a->T < 1 || a->kv_heads < 1 || a->d_qk < 1 || a->d_v < 1 || a->meta < 0 || a->cache.cap <= a->meta)
        return hy_error(
            HY_EINPUT,
            "kv_append: B %d, T %d, KV heads %d, d_qk %d, d_v %d must be at least 1 and the cache's %d slots more "
            "than its %d meta tokens",
            a->B, a->T, a->kv_heads, a->d_qk, a->d_v, a->cache.cap, a->meta);
    if (a->ldk / a->kv_heads < a->d_qk || a->ldv / a->kv_heads < a->d_v)
        return hy_error(HY_EINPUT, "kv_append: a row stride (k %d, v %d) is below the row's width", a->ldk, a->ldv);
    if (req->dtype == HY_F32 && req->isa != HY_ISA_REF) {
        HY_FAST_CHOOSE(hy_fast_kv_append, req, out);
        return HY_OK;
    }
    return hy_cpu_choose_ref("kv_append", req, out, hy_ref_kv_append_f32, hy_ref_kv_append_f64);
}
