// ssmalpha.h - rows of the hidden attention of single SSM channels (attnmap.h has the formula), and the recurrence they
// must agree with. Used by attnmap.c and erf.c only.
#ifndef HY_SSMALPHA_H
#define HY_SSMALPHA_H
#include "analysis/attnmap.h"

typedef struct {
    const hy_map_values *v;
    int rows, d;
    double *decay;  // [rows, N] exp(A delta_t) of the channel
    double *in;     // [rows, N] delta_t B_t
} hy_ssm_alpha;

// Working memory for rows 0 .. rows-1: 2 rows N doubles.
hy_status hy_ssm_alpha_open(hy_ssm_alpha *a, const hy_map_values *v, int rows);
void hy_ssm_alpha_close(hy_ssm_alpha *a);
void hy_ssm_alpha_channel(hy_ssm_alpha *a, int d);  // prepares channel d
// alpha_d[i, 0 .. i] into row; what lies after i is not touched.
void hy_ssm_alpha_row(const hy_ssm_alpha *a, int i, double *row);
// y[S] of channel d by the recurrence in double, with D x and without the gate.
void hy_ssm_scan_channel(const hy_map_values *v, int d, double *y);

double hy_ssm_softplus(double x);
double hy_ssm_silu(double x);
#endif
