// attention.c - the slow obvious attention, forward and backward: one query, one key at a time, sums in double.
// Compiled for float and double; the oracle of fast_attention*.c. Not meant to be quick, and single-threaded.
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/dropout_rule.h"

// Row of K and of V that holds position p of sequence b for one KV head: in this call or in the cache.
static const real *key_row(const hy_attention_args *a, int b, int kvh, int p) {
    if (p >= a->pos[b]) return (const real *)a->k + ((size_t)b * a->T + (p - a->pos[b])) * a->ldk + kvh * a->d_qk;
    size_t slot = (size_t)hy_attn_slot(p, a->meta, a->cache.cap);
    return (const real *)a->cache.k + (((size_t)b * a->kv_heads + kvh) * a->cache.cap + slot) * a->d_qk;
}
static const real *value_row(const hy_attention_args *a, int b, int kvh, int p) {
    if (p >= a->pos[b]) return (const real *)a->v + ((size_t)b * a->T + (p - a->pos[b])) * a->ldv + kvh * a->d_v;
    size_t slot = (size_t)hy_attn_slot(p, a->meta, a->cache.cap);
    return (const real *)a->cache.v + (((size_t)b * a->kv_heads + kvh) * a->cache.cap + slot) * a->d_v;
}
static const real *query_row(const hy_attention_args *a, int b, int t, int h) {
    return (const real *)a->q + ((size_t)b * a->T + t) * a->ldq + h * a->d_qk;
}
static real *saved_at(const hy_attention_args *a, int b, int t, int h) {
    return (real *)a->saved + ((size_t)b * a->T + t) * a->heads + h;
}
static double dot(const real *x, const real *y, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) s += (double)x[i] * (double)y[i];
    return s;
}

// What dropout makes of the weight of query t, head h and key j.
static double factor(const hy_attention_args *a, int b, int h, int t, int j) {
    const hy_attention_drop *d = &a->drop;
    if (!d->key) return 1;
    const uint64_t key = hy_dropout_mix(*d->key, (uint64_t)d->place),
                   number = hy_dropout_weight(b, a->heads, h, a->T, t, j);
    return hy_dropout_keeps(key, number, hy_dropout_limit(d->p)) ? 1 / (1 - d->p) : 0;
}

// One query of one head; score holds one value for each position up to q, acc [d_v].
static void attend(const hy_attention_args *a, int b, int t, int h, double *score, double *acc) {
    int kvh = h / (a->heads / a->kv_heads), q = a->pos[b] + t;
    const real *qr = query_row(a, b, t, h);
    double top = -INFINITY, sum = 0;
    int n = 0;
    for (int p = 0; p <= q; p++)
        if (hy_attn_visible(q, p, a->window, a->meta)) {
            score[n] = a->scale * dot(qr, key_row(a, b, kvh, p), a->d_qk);
            if (!(score[n] <= top)) top = score[n];
            n++;
        }
    for (int c = 0; c < a->d_v; c++) acc[c] = 0;
    n = 0;
    for (int p = 0; p <= q; p++)
        if (hy_attn_visible(q, p, a->window, a->meta)) {
            double w = exp(score[n++] - top);
            const real *v = value_row(a, b, kvh, p);
            sum += w;
            w *= factor(a, b, h, t, p);
            for (int c = 0; c < a->d_v; c++) acc[c] += w * (double)v[c];
        }
    real *o = (real *)a->o + ((size_t)b * a->T + t) * a->ldo + h * a->d_v;
    for (int c = 0; c < a->d_v; c++) o[c] = (real)(acc[c] / sum);
    if (a->saved) *saved_at(a, b, t, h) = (real)(top + log(sum));
}

hy_status HY_REF(hy_ref_attention)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_args *a = args;
    (void)req;
    HY_TRY(hy_cpu_attention_check_data(a));
    double *acc = ws, *score = acc + a->d_v;
    for (int b = 0; b < a->B; b++)
        for (int t = 0; t < a->T; t++)
            for (int h = 0; h < a->heads; h++) {
                if (t < a->len[b]) {
                    attend(a, b, t, h, score, acc);
                    continue;
                }
                real *o = (real *)a->o + ((size_t)b * a->T + t) * a->ldo + h * a->d_v;
                for (int c = 0; c < a->d_v; c++) o[c] = 0;
                if (a->saved) *saved_at(a, b, t, h) = 0;
            }
    return HY_OK;
}

static const real *grad_out(const hy_attention_bwd_args *g, int b, int t, int h) {
    return (const real *)g->dout + ((size_t)b * g->f.T + t) * g->lddo + h * g->f.d_v;
}
// Weight p = m s of query t, head h and key j (s: of the softmax, m: what dropout makes of it) and gradient of its
// score, ds = s (m dO.v - dO.o).
static void pair(const hy_attention_bwd_args *g, int b, int t, int h, int j, double *p, double *ds) {
    const hy_attention_args *a = &g->f;
    int kvh = h / (a->heads / a->kv_heads);
    const real *o = (const real *)a->o + ((size_t)b * a->T + t) * a->ldo + h * a->d_v, *go = grad_out(g, b, t, h);
    double s = a->scale * dot(query_row(a, b, t, h), key_row(a, b, kvh, j), a->d_qk);
    const double w = exp(s - (double)*saved_at(a, b, t, h)), m = factor(a, b, h, t, j);
    *p = m * w;
    *ds = w * (m * dot(go, value_row(a, b, kvh, j), a->d_v) - dot(go, o, a->d_v));
}
static void put(real *dst, const double *src, int n, double scale, bool add) {
    for (int i = 0; i < n; i++) dst[i] = (real)((add ? (double)dst[i] : 0.0) + scale * src[i]);
}

// Gradients of one key and value row of one KV head: the sum over all queries and heads that see it.
static void key_gradient(const hy_attention_bwd_args *g, int b, int j, int kvh, double *dk, double *dv) {
    const hy_attention_args *a = &g->f;
    int group = a->heads / a->kv_heads;
    for (int c = 0; c < a->d_qk; c++) dk[c] = 0;
    for (int c = 0; c < a->d_v; c++) dv[c] = 0;
    for (int t = j; j < a->len[b] && t < a->len[b]; t++) {
        if (!hy_attn_visible(t, j, a->window, a->meta)) continue;
        for (int h = kvh * group; h < (kvh + 1) * group; h++) {
            double p, ds;
            pair(g, b, t, h, j, &p, &ds);
            for (int c = 0; c < a->d_qk; c++) dk[c] += ds * (double)query_row(a, b, t, h)[c];
            for (int c = 0; c < a->d_v; c++) dv[c] += p * (double)grad_out(g, b, t, h)[c];
        }
    }
    size_t row = (size_t)b * a->T + j;
    if (g->dk) put((real *)g->dk + row * g->lddk + kvh * a->d_qk, dk, a->d_qk, a->scale, g->acc & 2);
    if (g->dv) put((real *)g->dv + row * g->lddv + kvh * a->d_v, dv, a->d_v, 1.0, g->acc & 4);
}

static void query_gradient(const hy_attention_bwd_args *g, int b, int t, int h, double *dq) {
    const hy_attention_args *a = &g->f;
    int kvh = h / (a->heads / a->kv_heads);
    for (int c = 0; c < a->d_qk; c++) dq[c] = 0;
    for (int j = 0; t < a->len[b] && j <= t; j++) {
        if (!hy_attn_visible(t, j, a->window, a->meta)) continue;
        double p, ds;
        pair(g, b, t, h, j, &p, &ds);
        for (int c = 0; c < a->d_qk; c++) dq[c] += ds * (double)key_row(a, b, kvh, j)[c];
    }
    put((real *)g->dq + ((size_t)b * a->T + t) * g->lddq + h * a->d_qk, dq, a->d_qk, a->scale, g->acc & 1);
}

hy_status HY_REF(hy_ref_attention_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_bwd_args *g = args;
    const hy_attention_args *a = &g->f;
    (void)req;
    HY_TRY(hy_cpu_attention_check_data(a));
    double *sum_k = ws, *sum_v = sum_k + a->d_qk;
    for (int b = 0; b < a->B; b++)
        for (int t = 0; t < a->T; t++) {
            for (int h = 0; g->dq && h < a->heads; h++) query_gradient(g, b, t, h, sum_k);
            for (int h = 0; (g->dk || g->dv) && h < a->kv_heads; h++) key_gradient(g, b, t, h, sum_k, sum_v);
        }
    return HY_OK;
}
