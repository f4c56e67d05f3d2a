// ssm_alpha.c - see ssm_alpha.h.
//
// exp(A (c_i - c_j)) is taken as the product of exp(A delta_k) over k = j+1 .. i, built up from j = i downwards: one
// multiplication instead of one exp per (i, j, n), never a division (prefix products underflow), and the relative error
// of a product of i - j factors in double stays below (i - j) 1e-16.
#include "analysis/probe/ssm_alpha.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/parallel.h"

int hy_map_ssm_count(const hy_map_values *v) { return v->ssm_heads ? v->ssm_heads : v->D; }

double hy_ssm_softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
double hy_ssm_silu(double x) { return x / (1 + exp(-x)); }

double hy_ssm_delta(const hy_map_values *v, int t, int unit) {
    if (!v->ssm_heads) return hy_ssm_softplus(v->dt[(size_t)t * v->D + unit]);
    const double d =
        hy_ssm_softplus((double)v->dt[(size_t)t * v->ssm_heads + unit] + (v->dt_bias ? v->dt_bias[unit] : 0));
    return d < v->dt_min ? v->dt_min : v->dt_max != 0 && d > v->dt_max ? v->dt_max : d;
}

// What a unit reads of token t: its B or C. And its A of state n.
static const float *of_group(const hy_map_values *v, const float *m, int t, int unit) {
    if (!v->ssm_heads) return m + (size_t)t * v->N;
    return m + ((size_t)t * v->groups + unit / (v->ssm_heads / v->groups)) * v->N;
}
static double decay_rate(const hy_map_values *v, int unit, int n) {
    return -exp((double)v->A_log[v->ssm_heads ? (size_t)unit : (size_t)unit * v->N + n]);
}

enum { MAX_N = 1024 };

hy_status hy_ssm_alpha_open(hy_ssm_alpha *a, const hy_map_values *v, int rows) {
    const size_t n = (size_t)HY_SSM_BLOCK * (size_t)rows * (size_t)v->N * sizeof(double);
    *a = (hy_ssm_alpha){.v = v, .rows = rows};
    if (v->N > MAX_N)
        return hy_error(HY_EINPUT, "layer %d: maps are made for d_state up to %d, not %d", v->layer, MAX_N, v->N);
    a->decay = hy_alloc(n);
    a->in = hy_alloc(n);
    if (a->decay && a->in) return HY_OK;
    hy_ssm_alpha_close(a);
    return HY_ENOMEM;
}

void hy_ssm_alpha_close(hy_ssm_alpha *a) {
    free(a->decay);
    free(a->in);
    a->decay = a->in = NULL;
}

static void prepare_units(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hy_ssm_alpha *a = ctx;
    const hy_map_values *v = a->v;
    const int N = v->N, rows = a->rows;
    for (int k = (int)from; k < (int)to; k++) {
        double A[MAX_N];
        for (int s = 0; s < N; s++) A[s] = decay_rate(v, a->first + k, s);
        for (int t = 0; t < rows; t++) {
            const double delta = hy_ssm_delta(v, t, a->first + k);
            const float *B = of_group(v, v->Bm, t, a->first + k);
            double *decay = a->decay + ((size_t)k * rows + t) * N, *in = a->in + ((size_t)k * rows + t) * N;
            for (int s = 0; s < N; s++) {
                decay[s] = s && v->ssm_heads ? decay[0] : exp(A[s] * delta);
                in[s] = delta * B[s];
            }
        }
    }
}
void hy_ssm_alpha_units(hy_ssm_alpha *a, int first, int n) {
    HY_ASSERT(n <= HY_SSM_BLOCK && first + n <= hy_map_ssm_count(a->v));
    a->first = first;
    a->n = n;
    hy_parallel(0, n, 1, prepare_units, a);
}

// Below this every further alpha of the row is zero beside any that matters; stops before denormal numbers slow it
// down.
static const double negligible = 1e-250;

void hy_ssm_alpha_row(const hy_ssm_alpha *a, int unit, int i, double *row) {
    const int N = a->v->N;
    const size_t base = (size_t)(unit - a->first) * a->rows;
    int j = i;
    double w[MAX_N];
    const float *C = of_group(a->v, a->v->Cm, i, unit);
    for (int n = 0; n < N; n++) w[n] = C[n];
    for (; j >= 0; j--) {
        const double *in = a->in + (base + j) * N, *decay = a->decay + (base + j) * N;
        double s[4] = {0}, top = 0;
        int n = 0;
        for (; n + 4 <= N; n += 4)  // four sums: one chain of additions would be the slowest part
            for (int k = 0; k < 4; k++) {
                s[k] += w[n + k] * in[n + k];
                w[n + k] *= decay[n + k];
            }
        for (; n < N; n++) {
            s[0] += w[n] * in[n];
            w[n] *= decay[n];
        }
        row[j] = (s[0] + s[1]) + (s[2] + s[3]);
        if (j % 8) continue;
        for (n = 0; n < N; n++) top = fmax(top, fabs(w[n]));
        if (top < negligible) break;
    }
    for (j--; j >= 0; j--) row[j] = 0;
}

void hy_ssm_scan_channel(const hy_map_values *v, int d, double *y) {
    double h[MAX_N] = {0};
    const int unit = v->ssm_heads ? d / (v->D / v->ssm_heads) : d;
    for (int t = 0; t < v->S; t++) {
        double x = v->x[(size_t)t * v->D + d], delta = hy_ssm_delta(v, t, unit), s = 0;
        const float *B = of_group(v, v->Bm, t, unit), *C = of_group(v, v->Cm, t, unit);
        for (int n = 0; n < v->N; n++) {
            h[n] = exp(delta * decay_rate(v, unit, n)) * h[n] + delta * B[n] * x;
            s += C[n] * h[n];
        }
        y[t] = s + (v->skip ? (double)v->skip[unit] * x : 0);
    }
}
