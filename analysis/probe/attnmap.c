// attnmap.c - see attnmap.h. Rows of maps in double precision; whole maps and statistics go through tiles of rows.
#include "analysis/probe/attnmap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/probe/ssm_alpha.h"
#include "core/base/parallel.h"
#include "kernels/attn_rule.h"

enum { TILE = 64 };  // rows held at once where a whole map is not wanted

static const char *const src_names[] = {"attention", "ssm", "layer"};
const char *hy_map_src_name(hy_map_src s) { return src_names[s]; }

bool hy_map_has(const hy_map_values *v, hy_map_src s) {
    return s == HY_MAP_ATTENTION ? v->heads > 0 : s == HY_MAP_SSM ? v->D > 0 : v->heads > 0 || v->D > 0;
}

void hy_choice_text(hy_buf *out, const char *key, const char *choices, int i) {
    while (i-- > 0) choices += strcspn(choices, "|") + 1;
    hy_buf_printf(out, "%s%s=%.*s", out->n ? " " : "", key, (int)strcspn(choices, "|"), choices);
}

void hy_map_options_text(const hy_map_options *o, hy_buf *out) {
    hy_choice_text(out, "norm", HY_MAP_NORM_CHOICES, (int)o->norm);
    hy_choice_text(out, "ssm_reduce", HY_SSM_REDUCE_CHOICES, (int)o->reduce);
    hy_choice_text(out, "gate", "no|yes", o->gate);
    hy_buf_printf(out, " layer=mean_of_attention_and_ssm");
}

bool hy_map_visible(const hy_map_values *v, hy_map_src src, int i, int j) {
    if (j > i) return false;
    if (src == HY_MAP_SSM || v->heads == 0) return true;
    return (src == HY_MAP_LAYER && v->D > 0) || hy_attn_visible(i, j, v->window, v->meta);
}

// ---------------------------------------------------------------------------------------------------- attention
// One softmax row of one head, added to out with a weight.
static void attention_row(const hy_map_values *v, int head, int i, double weight, double *score, double *out) {
    const float *q = v->q + ((size_t)i * v->heads + head) * v->d_qk;
    int kv = head / (v->heads / v->kv_heads);
    double top = -INFINITY, sum = 0;
    for (int j = 0; j <= i; j++) {
        if (!hy_attn_visible(i, j, v->window, v->meta)) continue;
        const float *k = v->k + ((size_t)j * v->kv_heads + kv) * v->d_qk;
        double s = 0;
        for (int c = 0; c < v->d_qk; c++) s += (double)q[c] * k[c];
        score[j] = s * v->scale;
        if (score[j] > top) top = score[j];
    }
    for (int j = 0; j <= i; j++) {
        if (!hy_attn_visible(i, j, v->window, v->meta)) continue;
        score[j] = exp(score[j] - top);
        sum += score[j];
    }
    for (int j = 0; j <= i; j++)
        if (hy_attn_visible(i, j, v->window, v->meta)) out[j] += weight * score[j] / sum;
}

typedef struct {
    const hy_map_values *v;
    int head, i0;
    double *score, *out;
} heads_ctx;
static void heads_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const heads_ctx *c = ctx;
    const int first = c->head < 0 ? 0 : c->head, last = c->head < 0 ? c->v->heads - 1 : c->head;
    for (int r = (int)from; r < (int)to; r++) {
        const size_t at = (size_t)r * c->v->S;
        for (int h = first; h <= last; h++)
            attention_row(c->v, h, c->i0 + r, 1.0 / (last - first + 1), c->score + at, c->out + at);
    }
}
static hy_status attention_rows(const hy_map_values *v, int head, int i0, int n, double *out) {
    double *score = hy_alloc((size_t)n * v->S * sizeof *score);
    if (!score) return HY_ENOMEM;
    memset(out, 0, (size_t)n * v->S * sizeof *out);
    const heads_ctx c = {v, head, i0, score, out};
    hy_parallel(0, n, 1, heads_rows, &c);
    free(score);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- SSM
static void row_abs_normalise(double *row, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += row[j] = fabs(row[j]);
    if (sum > 0)
        for (int j = 0; j < n; j++) row[j] /= sum;
}

// What a gate does to row i of a unit: silu(gate) of its channel; of a head of channels, the mean of theirs (or of its
// size).
static double gate_weight(const hy_map_values *v, int unit, int i, bool size) {
    const int per = v->ssm_heads ? v->D / v->ssm_heads : 1;
    double sum = 0;
    for (int p = 0; p < per; p++) {
        const double g = hy_ssm_silu(v->gate[(size_t)i * v->D + (size_t)unit * per + p]);
        sum += size ? fabs(g) : g;
    }
    return sum / per;
}

typedef struct {
    const hy_map_values *v;
    const hy_ssm_alpha *a;
    const hy_map_options *o;
    hy_ssm_reduce reduce;
    int i0, units;      // first row; units that the mean is taken over
    double *row, *out;  // [n, S]
} units_ctx;
// A row is one thread's, channels come in order: the same sums for any thread count.
static void units_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const units_ctx *c = ctx;
    const hy_map_values *v = c->v;
    for (int r = (int)from; r < (int)to; r++)
        for (int d = c->a->first; d < c->a->first + c->a->n; d++) {
            const int i = c->i0 + r;
            double *t = c->row + (size_t)r * v->S, *dst = c->out + (size_t)r * v->S, w = 1.0 / c->units;
            hy_ssm_alpha_row(c->a, d, i, t);
            if (c->reduce == HY_SSM_MEAN_ROWS)
                row_abs_normalise(t, i + 1);  // (a gate would cancel)
            else if (c->o->gate && v->gate)
                w *= gate_weight(v, d, i, c->reduce == HY_SSM_MEAN_ABS);
            if (c->reduce == HY_SSM_MEAN_ABS)
                for (int j = 0; j <= i; j++) dst[j] += fabs(w * t[j]);
            else
                for (int j = 0; j <= i; j++) dst[j] += w * t[j];
        }
}

// With the options' norm: ROWSUM as documented, SIGNED keeps signs, MINMAX stops before anything is normalised as a
// whole.
static hy_status ssm_rows(const hy_map_values *v, int channel, const hy_map_options *o, int i0, int n, double *out) {
    int first = channel < 0 ? 0 : channel, last = channel < 0 ? hy_map_ssm_count(v) - 1 : channel, S = v->S;
    hy_ssm_alpha a;
    HY_TRY(hy_ssm_alpha_open(&a, v, i0 + n));
    double *row = hy_alloc((size_t)n * S * sizeof *row);
    if (!row) {
        hy_ssm_alpha_close(&a);
        return HY_ENOMEM;
    }
    memset(out, 0, (size_t)n * S * sizeof *out);
    const units_ctx c = {.v = v,
                         .a = &a,
                         .o = o,
                         .reduce = o->norm == HY_MAP_SIGNED ? HY_SSM_ABS_MEAN : o->reduce,  // signs until the end
                         .i0 = i0,
                         .units = last - first + 1,
                         .row = row,
                         .out = out};
    for (int d0 = first; d0 <= last; d0 += HY_SSM_BLOCK) {
        hy_ssm_alpha_units(&a, d0, last + 1 - d0 < HY_SSM_BLOCK ? last + 1 - d0 : HY_SSM_BLOCK);
        hy_parallel(0, n, 4, units_rows, &c);
    }
    if (o->norm == HY_MAP_ROWSUM)
        for (int r = 0; r < n; r++) row_abs_normalise(out + (size_t)r * S, i0 + r + 1);
    free(row);
    hy_ssm_alpha_close(&a);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- maps
static hy_status check(const hy_map_values *v, hy_map_src src, int index, hy_map_norm norm) {
    int n = src == HY_MAP_ATTENTION ? v->heads : src == HY_MAP_SSM ? hy_map_ssm_count(v) : 0;
    if (!hy_map_has(v, src))
        return hy_error(HY_EINPUT, "layer %d has no %s map: it has no such heads", v->layer, hy_map_src_name(src));
    if (index < -1 || (index >= 0 && index >= n))
        return hy_error(HY_EINPUT, "layer %d has no %s %d: there are %d", v->layer,
                        src != HY_MAP_SSM ? "head"
                        : v->ssm_heads    ? "SSM head"
                                          : "SSM channel",
                        index, n);
    if (src == HY_MAP_LAYER && v->heads > 0 && v->D > 0 && norm != HY_MAP_ROWSUM)
        return hy_error(HY_EINPUT,
                        "layer %d: the map of a layer with attention and SSM heads is the mean of two row-normalised "
                        "maps; ask for norm rowsum, or for attention and ssm apart",
                        v->layer);
    return HY_OK;
}

static hy_status rows(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, int i0, int n,
                      double *out) {
    if (src == HY_MAP_ATTENTION || (src == HY_MAP_LAYER && v->D == 0)) return attention_rows(v, index, i0, n, out);
    if (src == HY_MAP_SSM || v->heads == 0) return ssm_rows(v, index, o, i0, n, out);
    size_t len = (size_t)n * v->S;
    double *s = hy_alloc(len * sizeof *s);
    if (!s) return HY_ENOMEM;
    hy_status st = attention_rows(v, -1, i0, n, out);
    if (!st) st = ssm_rows(v, -1, o, i0, n, s);
    for (size_t e = 0; e < len && !st; e++) out[e] = 0.5 * (out[e] + s[e]);
    free(s);
    return st;
}

hy_status hy_map_rows(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, int i0, int n,
                      double *out) {
    HY_ASSERT(i0 >= 0 && n >= 1 && i0 + n <= v->S && o->norm != HY_MAP_MINMAX);
    HY_TRY(check(v, src, index, o->norm));
    return rows(v, src, index, o, i0, n, out);
}

// Each tile of rows prepares the SSM once: longer ones for long sequences, in bounds of some dozens of MB.
int hy_map_tile_rows(int S) { return S > 2048 ? 4 * TILE : TILE; }

hy_status hy_map_walk(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, int i0, int i1,
                      hy_map_row_fn fn, void *user) {
    HY_TRY(check(v, src, index, o->norm));
    HY_ASSERT(i0 >= 0 && i0 <= i1 && i1 <= v->S);
    const int most = hy_map_tile_rows(v->S);
    double *tile = hy_alloc((size_t)most * v->S * sizeof *tile);
    hy_status s = tile ? HY_OK : HY_ENOMEM;
    for (int i = i0; i < i1 && !s; i += most) {
        const int n = i1 - i < most ? i1 - i : most;
        s = hy_interrupted ? hy_error(HY_EINTR, "interrupted") : rows(v, src, index, o, i, n, tile);
        for (int r = 0; r < n && !s; r++) {
            double *row = tile + (size_t)r * v->S;
            if (o->norm == HY_MAP_MINMAX)
                for (int j = 0; j <= i + r; j++) row[j] = fabs(row[j]);
            s = fn(user, i + r, row);
        }
    }
    free(tile);
    return s;
}

hy_status hy_map_walk_layer(const hy_map_values *v, const hy_map_options *o, int i0, int i1, hy_map_layer_row_fn fn,
                            void *user) {
    HY_TRY(check(v, HY_MAP_LAYER, -1, o->norm));
    HY_ASSERT(v->heads > 0 && v->D > 0 && i0 >= 0 && i0 <= i1 && i1 <= v->S);
    const int most = hy_map_tile_rows(v->S);
    const size_t size = (size_t)most * v->S;
    double *tile = hy_alloc(3 * size * sizeof *tile);
    hy_status s = tile ? HY_OK : HY_ENOMEM;
    for (int i = i0; i < i1 && !s; i += most) {
        const int n = i1 - i < most ? i1 - i : most;
        s = hy_interrupted ? hy_error(HY_EINTR, "interrupted") : rows(v, HY_MAP_ATTENTION, -1, o, i, n, tile);
        if (!s) s = rows(v, HY_MAP_SSM, -1, o, i, n, tile + size);
        for (size_t e = 0; e < (size_t)n * v->S && !s; e++) tile[2 * size + e] = 0.5 * (tile[e] + tile[size + e]);
        for (int r = 0; r < n && !s; r++) {
            const double *at = tile + (size_t)r * v->S;
            s = fn(user, i + r, (const double *const[]){at, at + size, at + 2 * size});
        }
    }
    free(tile);
    return s;
}

static void minmax(const hy_map_values *v, hy_map_src src, float *out) {
    float lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < v->S; i++)
        for (int j = 0; j <= i; j++) {
            float a = fabsf(out[(size_t)i * v->S + j]);
            if (!hy_map_visible(v, src, i, j)) continue;
            lo = a < lo ? a : lo;
            hi = a > hi ? a : hi;
        }
    float range = hi > lo ? hi - lo : 1;
    for (size_t e = 0; e < (size_t)v->S * v->S; e++) out[e] = (fabsf(out[e]) - lo) / range;
}

typedef struct {
    int S;
    float *out;
} full_ctx;
static hy_status full_row(void *user, int i, const double *row) {
    const full_ctx *c = user;
    for (int j = 0; j < c->S; j++) c->out[(size_t)i * c->S + j] = (float)row[j];
    return HY_OK;
}

hy_status hy_map_full(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o, float hidden,
                      float *out) {
    full_ctx c = {v->S, out};
    HY_TRY(hy_map_walk(v, src, index, o, 0, v->S, full_row, &c));
    if (o->norm == HY_MAP_MINMAX) minmax(v, src, out);
    for (int i = 0; i < v->S; i++)
        for (int j = 0; j < v->S; j++)
            if (!hy_map_visible(v, src, i, j)) out[(size_t)i * v->S + j] = hidden;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- statistics
void hy_map_stats_add(const hy_map_values *v, hy_map_src src, int i, const double *a, hy_map_stats *s) {
    double h = 0, dist = 0, bos = 0, meta = 0, cross = 0;
    int visible = 0;
    for (int j = 0; j <= i; j++) {
        visible += hy_map_visible(v, src, i, j);
        if (a[j] > 0) h -= a[j] * log(a[j]);
        dist += a[j] * (i - j);
        if (j < v->meta)
            meta += a[j];
        else if (j < i && j == v->meta)
            bos += a[j];
        else if (j < i)
            cross += a[j];
    }
    s->meta += meta;
    s->bos += bos;
    s->self += a[i];
    s->cross += cross;
    s->entropy += h;
    s->distance += dist;
    if (visible < 2) return;
    s->entropy_rel += h / log(visible);
    s->wide++;
}

static void stats_tile(const hy_map_values *v, hy_map_src src, int i0, int n, const double *tile, hy_map_stats *s) {
    for (int r = 0; r < n; r++) hy_map_stats_add(v, src, i0 + r, tile + (size_t)r * v->S, s);
}

void hy_map_stats_mean(hy_map_stats *s) {
    const double rows = (double)s->rows * s->heads;
    if (rows > 0)
        s->meta /= rows, s->bos /= rows, s->self /= rows, s->cross /= rows, s->entropy /= rows, s->distance /= rows;
    if (s->wide > 0) s->entropy_rel /= s->wide;
}

typedef struct {
    const hy_map_values *v;
    hy_map_src src;
    hy_map_stats *s;
} stats_work;
static hy_status stats_row(void *user, int i, const double *row) {
    const stats_work *w = user;
    hy_map_stats_add(w->v, w->src, i, row, w->s);
    return HY_OK;
}

hy_status hy_map_stats_of(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o,
                          hy_map_stats *out) {
    HY_TRY(check(v, src, index, HY_MAP_ROWSUM));
    hy_map_options u = *o;
    u.norm = HY_MAP_ROWSUM;
    bool each = src == HY_MAP_ATTENTION && index < 0;
    int first = each ? 0 : index, last = each ? v->heads - 1 : index;
    hy_map_stats s = {.heads = last - first + 1, .rows = v->S - v->meta};
    stats_work w = {v, src, &s};
    hy_status st = HY_OK;
    for (int h = first; h <= last && !st; h++) st = hy_map_walk(v, src, h, &u, v->meta, v->S, stats_row, &w);
    hy_map_stats_mean(&s);
    *out = s;
    return st;
}

hy_status hy_map_stats_layer(const hy_map_values *v, const hy_map_options *o, hy_map_stats out[3]) {
    hy_map_options u = *o;
    u.norm = HY_MAP_ROWSUM;
    const size_t size = (size_t)TILE * v->S;
    double *tile = hy_alloc(2 * size * sizeof *tile), *mean = tile ? tile + size : NULL,
           share = v->heads > 0 && v->D > 0 ? 0.5 : 1;
    hy_status st = tile ? HY_OK : HY_ENOMEM;
    for (int k = 0; k < 3; k++)
        out[k] = (hy_map_stats){.heads = k == 0 ? v->heads : k == 1 ? v->D > 0 : 1, .rows = v->S - v->meta};
    for (int i0 = v->meta; i0 < v->S && !st; i0 += TILE) {
        const int n = v->S - i0 < TILE ? v->S - i0 : TILE;
        memset(mean, 0, size * sizeof *mean);
        for (int h = 0; h < v->heads + (v->D > 0) && !st; h++) {
            const bool ssm = h == v->heads;
            st = hy_interrupted ? hy_error(HY_EINTR, "interrupted")
                                : rows(v, ssm ? HY_MAP_SSM : HY_MAP_ATTENTION, ssm ? -1 : h, &u, i0, n, tile);
            if (st) break;
            stats_tile(v, ssm ? HY_MAP_SSM : HY_MAP_ATTENTION, i0, n, tile, &out[ssm]);
            for (size_t e = 0; e < (size_t)n * v->S; e++) mean[e] += share * tile[e] / (ssm ? 1 : v->heads);
        }
        if (!st) stats_tile(v, HY_MAP_LAYER, i0, n, mean, &out[HY_MAP_LAYER]);
    }
    free(tile);
    for (int k = 0; k < 3; k++) hy_map_stats_mean(&out[k]);
    return st;
}

double hy_map_delta_entropy(const hy_map_values *v) {
    double mean = 0;
    const int units = hy_map_ssm_count(v);
    for (int d = 0; d < units; d++) {
        double sum = 0, h = 0;
        for (int i = 0; i < v->S; i++) sum += hy_ssm_delta(v, i, d);
        for (int i = 0; i < v->S; i++) {
            double p = hy_ssm_delta(v, i, d) / sum;
            if (p > 0) h -= p * log(p);
        }
        mean += h / units;
    }
    return mean;
}

// ---------------------------------------------------------------------------------------------------- self-test
static hy_status check_attention(const hy_map_values *v, hy_map_check *c) {
    double *row = hy_alloc((size_t)TILE * v->S * sizeof *row);
    if (!row) return HY_ENOMEM;
    hy_status s = HY_OK;
    c->attn = c->attn_scale = 0;
    for (int h = 0; h < v->heads && !s; h++)
        for (int i0 = 0; i0 < v->S && !s; i0 += TILE) {
            int n = v->S - i0 < TILE ? v->S - i0 : TILE, kv = h / (v->heads / v->kv_heads);
            s = attention_rows(v, h, i0, n, row);
            for (int r = 0; r < n && !s; r++)
                for (int e = 0; e < v->d_v; e++) {
                    double y = 0, want = v->attn_out[((size_t)(i0 + r) * v->heads + h) * v->d_v + e];
                    for (int j = 0; j <= i0 + r; j++)
                        y += row[(size_t)r * v->S + j] * v->v[((size_t)j * v->kv_heads + kv) * v->d_v + e];
                    c->attn = fmax(c->attn, fabs(y - want));
                    c->attn_scale = fmax(c->attn_scale, fabs(want));
                }
        }
    free(row);
    return s;
}

// Errors of one unit; row is scratch of S, y of S for each of its channels.
static void check_unit(const hy_ssm_alpha *a, int unit, double *row, double *y, hy_map_check *c) {
    const hy_map_values *v = a->v;
    const int per = v->ssm_heads ? v->D / v->ssm_heads : 1;
    const float *seen = v->ssm_heads ? v->ssm_y : v->ssm_out, *gate = v->ssm_heads ? NULL : v->gate;
    for (int p = 0; p < per; p++) hy_ssm_scan_channel(v, unit * per + p, y + (size_t)p * v->S);
    for (int i = 0; i < v->S; i++) {
        hy_ssm_alpha_row(a, unit, i, row);
        for (int p = 0; p < per; p++) {
            const size_t d = (size_t)unit * per + p, at = (size_t)i * v->D + d;
            double by_map = 0;
            for (int j = 0; j <= i; j++) by_map += row[j] * v->x[(size_t)j * v->D + d];
            if (v->skip) by_map += (double)v->skip[unit] * v->x[at];
            c->ssm = fmax(c->ssm, fabs(by_map - y[(size_t)p * v->S + i]));
            c->ssm_scale = fmax(c->ssm_scale, fabs(y[(size_t)p * v->S + i]));
            if (!seen) continue;
            c->model = fmax(c->model, fabs(seen[at] - (gate ? hy_ssm_silu(gate[at]) : 1) * by_map));
            c->model_scale = fmax(c->model_scale, fabs(seen[at]));
        }
    }
}

typedef struct {
    const hy_ssm_alpha *a;
    double *scratch;  // part_size for each unit
    size_t part_size;
    hy_map_check *part;
} check_ctx;
static void check_units(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const check_ctx *c = ctx;
    for (long k = from; k < to; k++) {
        double *row = c->scratch + (size_t)k * c->part_size;
        check_unit(c->a, c->a->first + (int)k, row, row + c->a->v->S, &c->part[k]);
    }
}

static hy_status check_ssm(const hy_map_values *v, hy_map_check *c) {
    const int units = hy_map_ssm_count(v);
    const size_t S = (size_t)v->S, part_size = S * (size_t)(1 + v->D / units);
    hy_ssm_alpha a;
    HY_TRY(hy_ssm_alpha_open(&a, v, v->S));
    double *scratch = hy_alloc(HY_SSM_BLOCK * part_size * sizeof *scratch);
    hy_status s = scratch ? HY_OK : HY_ENOMEM;
    c->ssm = c->ssm_scale = 0;
    if (v->ssm_heads ? v->ssm_y : v->ssm_out) c->model = c->model_scale = 0;
    for (int d0 = 0; d0 < units && !s; d0 += HY_SSM_BLOCK) {
        const int nd = units - d0 < HY_SSM_BLOCK ? units - d0 : HY_SSM_BLOCK;
        hy_map_check part[HY_SSM_BLOCK] = {{0}};
        hy_ssm_alpha_units(&a, d0, nd);
        hy_parallel(0, nd, 1, check_units, &(check_ctx){&a, scratch, part_size, part});
        for (int k = 0; k < nd; k++) {
            c->ssm = fmax(c->ssm, part[k].ssm), c->ssm_scale = fmax(c->ssm_scale, part[k].ssm_scale);
            c->model = fmax(c->model, part[k].model), c->model_scale = fmax(c->model_scale, part[k].model_scale);
        }
        if (hy_interrupted) s = hy_error(HY_EINTR, "interrupted");
    }
    free(scratch);
    hy_ssm_alpha_close(&a);
    return s;
}

hy_status hy_map_selftest(const hy_map_values *v, hy_map_check *out) {
    *out = (hy_map_check){-1, -1, -1, -1, -1, -1};
    if (v->heads > 0 && v->attn_out) HY_TRY(check_attention(v, out));
    return v->D > 0 ? check_ssm(v, out) : HY_OK;
}
