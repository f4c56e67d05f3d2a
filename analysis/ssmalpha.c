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
    size_t n = (size_t)rows * v->N * sizeof(double);
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

void hy_ssm_alpha_channel(hy_ssm_alpha *a, int d) {
    const hy_map_values *v = a->v;
    int N = v->N;
    a->d = d;
#pragma omp parallel for schedule(static)
    for (int t = 0; t < a->rows; t++) {
        double delta = hy_ssm_softplus(v->dt[(size_t)t * v->D + d]);
        for (int n = 0; n < N; n++) {
            a->decay[(size_t)t * N + n] = exp(-exp((double)v->A_log[(size_t)d * N + n]) * delta);
            a->in[(size_t)t * N + n] = delta * v->Bm[(size_t)t * N + n];
        }
    }
}

// Below this every further alpha of the row is zero beside any that matters; stops before denormal numbers slow it down.
static const double negligible = 1e-250;

void hy_ssm_alpha_row(const hy_ssm_alpha *a, int i, double *row) {
    int N = a->v->N, j = i;
    double w[MAX_N];
    for (int n = 0; n < N; n++) w[n] = a->v->Cm[(size_t)i * N + n];
    for (; j >= 0; j--) {
        const double *in = a->in + (size_t)j * N, *decay = a->decay + (size_t)j * N;
        double s = 0, top = 0;
        for (int n = 0; n < N; n++) s += w[n] * in[n];
        for (int n = 0; n < N; n++) w[n] *= decay[n];
        row[j] = s;
        if (j % 8) continue;
        for (int n = 0; n < N; n++) top = fmax(top, fabs(w[n]));
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
