// ssmalpha.c - see ssmalpha.h.
//
// exp(A (c_i - c_j)) is taken as the product of exp(A delta_k) over k = j+1 .. i, built up from j = i downwards: one
// multiplication instead of one exp per (i, j, n), never a division (prefix products underflow), and the relative error
// of a product of i - j factors in double stays below (i - j) 1e-16.
#include "analysis/ssmalpha.h"

#include <math.h>
#include <stdlib.h>

double hy_ssm_softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
double hy_ssm_silu(double x) { return x / (1 + exp(-x)); }

enum { MAX_N = 1024 };

hy_status hy_ssm_alpha_open(hy_ssm_alpha *a, const hy_map_values *v, int rows) {
    const size_t n = (size_t)HY_SSM_BLOCK * (size_t)rows * (size_t)v->N * sizeof(double);
    *a = (hy_ssm_alpha){.v = v, .rows = rows};
    if (v->N > MAX_N) return hy_error(HY_EINPUT, "layer %d: maps are made for d_state up to %d, not %d", v->layer, MAX_N, v->N);
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

void hy_ssm_alpha_channels(hy_ssm_alpha *a, int first, int n) {
    const hy_map_values *v = a->v;
    const int N = v->N, rows = a->rows;
    HY_ASSERT(n <= HY_SSM_BLOCK && first + n <= v->D);
    a->first = first;
    a->n = n;
#pragma omp parallel for schedule(static)
    for (int k = 0; k < n; k++) {
        double A[MAX_N];
        for (int s = 0; s < N; s++) A[s] = -exp((double)v->A_log[(size_t)(first + k) * N + s]);
        for (int t = 0; t < rows; t++) {
            const double delta = hy_ssm_softplus(v->dt[(size_t)t * v->D + first + k]);
            double *decay = a->decay + ((size_t)k * rows + t) * N, *in = a->in + ((size_t)k * rows + t) * N;
            for (int s = 0; s < N; s++) {
                decay[s] = exp(A[s] * delta);
                in[s] = delta * v->Bm[(size_t)t * N + s];
            }
        }
    }
}

// Below this every further alpha of the row is zero beside any that matters; stops before denormal numbers slow it down.
static const double negligible = 1e-250;

void hy_ssm_alpha_row(const hy_ssm_alpha *a, int d, int i, double *row) {
    const int N = a->v->N;
    const size_t base = (size_t)(d - a->first) * a->rows;
    int j = i;
    double w[MAX_N];
    for (int n = 0; n < N; n++) w[n] = a->v->Cm[(size_t)i * N + n];
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
    for (int t = 0; t < v->S; t++) {
        double x = v->x[(size_t)t * v->D + d], delta = hy_ssm_softplus(v->dt[(size_t)t * v->D + d]), s = 0;
        for (int n = 0; n < v->N; n++) {
            double A = -exp((double)v->A_log[(size_t)d * v->N + n]);
            h[n] = exp(delta * A) * h[n] + delta * v->Bm[(size_t)t * v->N + n] * x;
            s += v->Cm[(size_t)t * v->N + n] * h[n];
        }
        y[t] = s + (v->skip ? (double)v->skip[d] * x : 0);
    }
}
