// contribution.c - see contribution.h.
#include "analysis/probe/contribution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/probe/ssm_alpha.h"
#include "core/base/parallel.h"

// ---------------------------------------------------------------------------------------------------- the way out
// The op of the layer that reads a value, other than those that keep state; NULL: none.
static const hy_op *reader(const hy_program *p, int layer, hy_val v) {
    for (int i = 0; i < p->n_ops; i++)
        for (int k = 0; k < HY_OP_INPUTS; k++)
            if (p->ops[i].layer == layer && p->ops[i].in[k] == v) return &p->ops[i];
    return NULL;
}

// factor times a number, or an array.
static hy_status multiply(hy_contribution_layer *l, int kind, double by, const float *each) {
    const int C = l->of[kind].channels;
    if (by == 1 && !each) return HY_OK;
    if (!l->of[kind].factor) {
        l->of[kind].factor = hy_alloc((size_t)C * sizeof(float));
        if (!l->of[kind].factor) return HY_ENOMEM;
        for (int c = 0; c < C; c++) l->of[kind].factor[c] = 1;
    }
    for (int c = 0; c < C; c++) l->of[kind].factor[c] *= (float)(by * (each ? each[c] : 1));
    return HY_OK;
}

// Columns from .. from + channels - 1 of an out projection, transposed.
static hy_status columns(const hy_params *w, int par, int from, hy_contribution_layer *l, int kind) {
    const hy_param *q = &w->prog->params[par];
    const size_t in = (size_t)q->shape[1], C = (size_t)l->of[kind].channels, d = (size_t)q->shape[0];
    float *all;
    hy_status s = hy_params_read(w, par, &all);
    l->of[kind].W = s ? NULL : hy_alloc(C * d * sizeof(float));
    if (!s && !l->of[kind].W) s = HY_ENOMEM;
    for (size_t c = 0; c < C && !s; c++)
        for (size_t o = 0; o < d; o++) l->of[kind].W[c * d + o] = all[o * in + (size_t)from + c];
    free(all);
    return s;
}

static hy_status through_fusion(const hy_params *w, const hy_op *op, int kind, hy_contribution_layer *l) {
    float *beta;
    hy_status s = hy_params_read(w, op->par[kind], &beta);
    if (!s) s = multiply(l, kind, kind ? op->fuse.by_s : op->fuse.by_a, beta);
    free(beta);
    l->of[kind].normed = true, l->of[kind].eps = op->fuse.eps;
    l->of[kind].share = op->fuse.kind == HY_FUSE_MEAN ? 0.5 : 1;
    l->fuse_gate = op->fuse.kind == HY_FUSE_GATE;
    return s;
}

// From what the heads give (after an SSM's gate) to the residual stream.
static hy_status way_out(const hy_program *p, const hy_params *w, hy_val v, int kind, hy_contribution_layer *l) {
    int from = 0;
    l->of[kind].channels = p->values[v].width;
    l->of[kind].share = 1;
    for (;;) {
        const hy_op *op = reader(p, l->layer, v);
        HY_ASSERT(op);
        if (op->kind == HY_OP_LINEAR) return columns(w, op->par[0], from, l, kind);
        if (op->kind == HY_OP_SCALE) {
            HY_ASSERT(op->scale.parts.n == 1);
            HY_TRY(multiply(l, kind, op->scale.parts.by[0], NULL));
        } else {
            HY_ASSERT(op->kind == HY_OP_FUSE);
            HY_TRY(through_fusion(w, op, kind, l));
            if (kind == HY_MAP_SSM && op->fuse.kind == HY_FUSE_CONCAT) from = p->values[op->in[0]].width;
        }
        v = op->out;
    }
}

static hy_status open_layer(const hy_program *p, const hy_params *w, hy_contribution_layer *l) {
    for (int i = 0; i < p->n_ops; i++) {
        const hy_op *op = &p->ops[i];
        if (op->layer != l->layer) continue;
        if (op->kind == HY_OP_ATTENTION) HY_TRY(way_out(p, w, op->out, HY_MAP_ATTENTION, l));
        if (op->kind == HY_OP_SCAN || op->kind == HY_OP_GATED_NORM) HY_TRY(way_out(p, w, op->out, HY_MAP_SSM, l));
        if (op->kind != HY_OP_GATED_NORM) continue;
        l->gated_norm = true, l->gated_kind = op->gated_norm.kind, l->gated_groups = op->gated_norm.groups;
        l->gated_eps = op->gated_norm.eps;
        HY_TRY(hy_params_read(w, op->par[0], &l->gated_w));
    }
    return HY_OK;
}

hy_status hy_contribution_open(const hy_program *p, const hy_params *w, int layer, hy_contribution_layer *out) {
    *out = (hy_contribution_layer){.layer = layer, .d = p->spec.d_model};
    const hy_status s = open_layer(p, w, out);
    if (s) hy_contribution_close(out);
    return s;
}

void hy_contribution_close(hy_contribution_layer *l) {
    for (int k = 0; k < HY_CONTRIBUTION_KINDS; k++) free(l->of[k].W), free(l->of[k].factor);
    free(l->gated_w);
    *l = (hy_contribution_layer){0};
}

// ---------------------------------------------------------------------------------------------------- scales of a row
static double inverse_rms(const float *x, const double *by, int n, double eps) {
    double sum = 0;
    for (int c = 0; c < n; c++) {
        const double y = by ? x[c] * by[c] : (double)x[c];
        sum += y * y;
    }
    return 1 / sqrt(sum / n + eps);
}

// The gate of row i, and the norm on either side of it.
static void gate_scale(const hy_contribution_layer *l, const hy_map_values *v, int i, double *scale) {
    const size_t at = (size_t)i * (size_t)v->D;
    for (int c = 0; c < v->D; c++) scale[c] = v->gate ? hy_ssm_silu((double)v->gate[at + (size_t)c]) : 1;
    if (!l->gated_norm || l->gated_kind == HY_GATED_ONLY) return;
    const int n = v->D / l->gated_groups;
    for (int g = 0; g < l->gated_groups; g++) {
        const bool first = l->gated_kind == HY_GATED_GATE_FIRST;
        const double r = inverse_rms(v->ssm_y + at + (size_t)(g * n), first ? scale + g * n : NULL, n, l->gated_eps);
        for (int c = g * n; c < (g + 1) * n; c++) scale[c] *= r * l->gated_w[c];
    }
}

static void scales(const hy_contribution_layer *l, const hy_map_values *v, int i, int kind, double *scale) {
    const int C = l->of[kind].channels;
    const float *out = (kind == HY_MAP_SSM ? v->ssm_out : v->attn_out) + (size_t)i * (size_t)C;
    for (int c = 0; c < C; c++) scale[c] = 1;
    if (kind == HY_MAP_SSM) gate_scale(l, v, i, scale);
    const double r = l->of[kind].share * (l->of[kind].normed ? inverse_rms(out, NULL, C, l->of[kind].eps) : 1);
    for (int c = 0; c < C; c++) {
        scale[c] *= r * (l->of[kind].factor ? (double)l->of[kind].factor[c] : 1);
        if (!l->fuse_gate) continue;
        const int group = c / (C / v->fuse_groups);
        const double g = 1 / (1 + exp(-(double)v->fuse_gate[(size_t)i * (size_t)v->fuse_groups + (size_t)group]));
        scale[c] *= kind == HY_MAP_SSM ? 1 - g : g;
    }
}

// ---------------------------------------------------------------------------------------------------- rows
enum { TILE_BYTES = 64 << 20, TILE_MOST = 32 };

int hy_contribution_tile(const hy_map_values *v) {
    const size_t row = (size_t)v->S * ((size_t)hy_map_ssm_count(v) * sizeof(float) + (size_t)v->heads * sizeof(double));
    const size_t fit = row ? TILE_BYTES / row : TILE_MOST;
    return fit < 1 ? 1 : fit > TILE_MOST ? TILE_MOST : (int)fit;
}

typedef struct {
    const hy_contribution_rows *r;
    const hy_ssm_alpha *a;
    double *scratch;  // [n, S]
} alpha_ctx;
static void alpha_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const alpha_ctx *x = ctx;
    const size_t S = (size_t)x->r->v->S, units = (size_t)hy_map_ssm_count(x->r->v);
    for (long k = from; k < to; k++)
        for (int u = x->a->first; u < x->a->first + x->a->n; u++) {
            double *row = x->scratch + (size_t)k * S;
            float *to_row = x->r->alpha + ((size_t)k * units + (size_t)u) * S;
            hy_ssm_alpha_row(x->a, u, x->r->rows[k], row);
            for (int j = 0; j <= x->r->rows[k]; j++) to_row[j] = (float)row[j];
        }
}

static hy_status fill_alpha(const hy_contribution_rows *r) {
    const int units = hy_map_ssm_count(r->v);
    int most = 0;
    for (int k = 0; k < r->n; k++) most = r->rows[k] > most ? r->rows[k] : most;
    hy_ssm_alpha a;
    HY_TRY(hy_ssm_alpha_open(&a, r->v, most + 1));
    double *scratch = hy_alloc((size_t)r->n * (size_t)r->v->S * sizeof *scratch);
    const alpha_ctx ctx = {r, &a, scratch};
    for (int u = 0; scratch && u < units; u += HY_SSM_BLOCK) {
        hy_ssm_alpha_units(&a, u, units - u < HY_SSM_BLOCK ? units - u : HY_SSM_BLOCK);
        hy_parallel(0, r->n, 1, alpha_rows, &ctx);
    }
    free(scratch);
    hy_ssm_alpha_close(&a);
    return scratch ? HY_OK : HY_ENOMEM;
}

static hy_status fill_rows(hy_contribution_rows *r) {
    const hy_map_values *v = r->v;
    const size_t n = (size_t)r->n, S = (size_t)v->S;
    const hy_map_options o = {.norm = HY_MAP_ROWSUM};
    for (int k = 0; k < HY_CONTRIBUTION_KINDS; k++) {
        const size_t C = (size_t)r->l->of[k].channels;
        if (!C) continue;
        r->scale[k] = hy_alloc(n * C * sizeof(double));
        if (!r->scale[k]) return HY_ENOMEM;
        for (size_t i = 0; i < n; i++) scales(r->l, v, r->rows[i], k, r->scale[k] + i * C);
    }
    if (v->heads) r->A = hy_alloc(n * (size_t)v->heads * S * sizeof *r->A);
    if (v->D) r->alpha = hy_alloc(n * (size_t)hy_map_ssm_count(v) * S * sizeof *r->alpha);
    if ((v->heads && !r->A) || (v->D && !r->alpha)) return HY_ENOMEM;
    for (int i = 0; i < r->n; i++)
        for (int h = 0; h < v->heads; h++)
            HY_TRY(hy_map_rows(v, HY_MAP_ATTENTION, h, &o, r->rows[i], 1,
                               r->A + ((size_t)i * (size_t)v->heads + (size_t)h) * S));
    return v->D ? fill_alpha(r) : HY_OK;
}

hy_status hy_contribution_rows_open(const hy_contribution_layer *l, const hy_map_values *v, const int *rows, int n,
                                    hy_contribution_rows *r) {
    *r = (hy_contribution_rows){.l = l, .v = v, .rows = rows, .n = n};
    const hy_status s = fill_rows(r);
    if (s) hy_contribution_rows_close(r);
    return s;
}

void hy_contribution_rows_close(hy_contribution_rows *r) {
    free(r->A), free(r->alpha), free(r->scale[0]), free(r->scale[1]);
    *r = (hy_contribution_rows){0};
}

// ---------------------------------------------------------------------------------------------------- vectors
static void add_channel(const hy_contribution_layer *l, int kind, int c, double z, float *out) {
    const float x = (float)z, *W = l->of[kind].W + (size_t)c * (size_t)l->d;
    for (int o = 0; o < l->d; o++) out[o] += x * W[o];
}

static void attention_vector(const hy_contribution_rows *r, int k, int j, float *out) {
    const hy_map_values *v = r->v;
    const double *scale = r->scale[HY_MAP_ATTENTION] + (size_t)k * (size_t)(v->heads * v->d_v);
    for (int h = 0; h < v->heads; h++) {
        const double a = r->A[((size_t)k * (size_t)v->heads + (size_t)h) * (size_t)v->S + (size_t)j];
        const float *value = v->v + ((size_t)j * (size_t)v->kv_heads + (size_t)(h / (v->heads / v->kv_heads))) * v->d_v;
        if (a == 0) continue;
        for (int c = 0; c < v->d_v; c++)
            add_channel(r->l, HY_MAP_ATTENTION, h * v->d_v + c, scale[h * v->d_v + c] * a * value[c], out);
    }
}

static void ssm_vector(const hy_contribution_rows *r, int k, int j, float *out) {
    const hy_map_values *v = r->v;
    const int units = hy_map_ssm_count(v), per = v->D / units;
    const double *scale = r->scale[HY_MAP_SSM] + (size_t)k * (size_t)v->D;
    const float *x = v->x + (size_t)j * (size_t)v->D;
    for (int u = 0; u < units; u++) {
        double a = (double)r->alpha[((size_t)k * (size_t)units + (size_t)u) * (size_t)v->S + (size_t)j];
        if (j == r->rows[k] && v->skip) a += (double)v->skip[u];
        if (a == 0) continue;
        for (int c = u * per; c < (u + 1) * per; c++) add_channel(r->l, HY_MAP_SSM, c, scale[c] * a * x[c], out);
    }
}

bool hy_contribution_vector(const hy_contribution_rows *r, int k, int j, hy_map_src kind, float *out) {
    HY_ASSERT(k >= 0 && k < r->n && j >= 0 && j <= r->rows[k] && kind != HY_MAP_LAYER);
    if (!hy_map_has(r->v, kind) || !hy_map_visible(r->v, kind, r->rows[k], j)) return false;
    memset(out, 0, (size_t)r->l->d * sizeof *out);
    (kind == HY_MAP_SSM ? ssm_vector : attention_vector)(r, k, j, out);
    return true;
}

typedef struct {
    const hy_contribution_rows *r;
    int k;
    float *vectors;  // [threads, 2 d]
    double *size[3];
} sizes_ctx;
static void sizes_of(const void *ctx, long from, long to, int thread) {
    const sizes_ctx *x = ctx;
    const int d = x->r->l->d;
    float *v[2] = {x->vectors + (size_t)thread * 2 * (size_t)d, x->vectors + ((size_t)thread * 2 + 1) * (size_t)d};
    for (long j = from; j < to; j++) {
        bool has[2];
        double sum[3] = {0};
        for (int kind = 0; kind < 2; kind++)
            has[kind] = hy_contribution_vector(x->r, x->k, (int)j, (hy_map_src)kind, v[kind]);
        for (int o = 0; o < d; o++) {
            const double a = has[0] ? (double)v[0][o] : 0, s = has[1] ? (double)v[1][o] : 0;
            sum[0] += a * a, sum[1] += s * s, sum[2] += (a + s) * (a + s);
        }
        for (int kind = 0; kind < 3; kind++) x->size[kind][j] = sqrt(sum[kind]);
    }
}

hy_status hy_contribution_sizes(const hy_contribution_rows *r, int k, double *attention, double *ssm, double *layer) {
    const size_t bytes = (size_t)hy_parallel_threads() * 2 * (size_t)r->l->d * sizeof(float);
    sizes_ctx x = {r, k, hy_alloc(bytes), {attention, ssm, layer}};
    if (!x.vectors) return HY_ENOMEM;
    for (int i = 0; i < 3; i++) memset(x.size[i], 0, (size_t)r->v->S * sizeof(double));
    hy_parallel(0, r->rows[k] + 1, 1, sizes_of, &x);
    free(x.vectors);
    return HY_OK;
}
