// ssm_alpha.h - rows of the hidden attention of single SSM channels (attnmap.h has the formula), or of Mamba-2's heads,
// and the recurrence they must agree with. Internal to this folder. A unit is a channel, or a head of Mamba-2.
#ifndef HY_SSMALPHA_H
#define HY_SSMALPHA_H
#include "analysis/probe/attnmap.h"

#define HY_SSM_BLOCK 16  // units prepared together

typedef struct {
    const hy_map_values *v;
    int rows, first, n;  // units first .. first+n-1 are prepared
    double *decay;       // [HY_SSM_BLOCK, rows, N] exp(A delta_t)
    double *in;          // [HY_SSM_BLOCK, rows, N] delta_t B_t
} hy_ssm_alpha;

// Working memory for rows 0 .. rows-1.
hy_status hy_ssm_alpha_open(hy_ssm_alpha *a, const hy_map_values *v, int rows);
void hy_ssm_alpha_close(hy_ssm_alpha *a);
// Prepares units first .. first+n-1, n <= HY_SSM_BLOCK.
void hy_ssm_alpha_units(hy_ssm_alpha *a, int first, int n);
// alpha[i, 0 .. i] of a prepared unit into row; what lies after i is not touched. Threads may share `a`.
void hy_ssm_alpha_row(const hy_ssm_alpha *a, int unit, int i, double *row);
// y[S] of channel d by the recurrence in double, with D x and without the gate.
void hy_ssm_scan_channel(const hy_map_values *v, int d, double *y);

double hy_ssm_delta(const hy_map_values *v, int t, int unit);
double hy_ssm_softplus(double x);
double hy_ssm_silu(double x);
#endif
