// ssmalpha.h - rows of the hidden attention of single SSM channels (attnmap.h has the formula), and the recurrence they
// must agree with. Used by attnmap.c and erf.c only.
#ifndef HY_SSMALPHA_H
#define HY_SSMALPHA_H
#include "analysis/attnmap.h"

#define HY_SSM_BLOCK 16  // channels prepared together

typedef struct {
    const hy_map_values *v;
    int rows, first, n;  // channels first .. first+n-1 are prepared
    double *decay;       // [HY_SSM_BLOCK, rows, N] exp(A delta_t)
    double *in;          // [HY_SSM_BLOCK, rows, N] delta_t B_t
} hy_ssm_alpha;

// Working memory for rows 0 .. rows-1.
hy_status hy_ssm_alpha_open(hy_ssm_alpha *a, const hy_map_values *v, int rows);
void hy_ssm_alpha_close(hy_ssm_alpha *a);
// Prepares channels first .. first+n-1, n <= HY_SSM_BLOCK.
void hy_ssm_alpha_channels(hy_ssm_alpha *a, int first, int n);
// alpha_d[i, 0 .. i] of a prepared channel into row; what lies after i is not touched. Threads may share `a`.
void hy_ssm_alpha_row(const hy_ssm_alpha *a, int d, int i, double *row);
// y[S] of channel d by the recurrence in double, with D x and without the gate.
void hy_ssm_scan_channel(const hy_map_values *v, int d, double *y);

double hy_ssm_softplus(double x);
double hy_ssm_silu(double x);
#endif
