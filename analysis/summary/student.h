// student.h - Student's t distribution: what intervals over few seeds and comparisons of few pairs are made with.
#ifndef HY_STUDENT_H
#define HY_STUDENT_H

// The regularised incomplete beta function I_x(a, b) for a, b > 0 and x in [0, 1]; NaN outside.
double hy_incomplete_beta(double a, double b, double x);
// P(T <= t) for df > 0 degrees of freedom; NaN for df <= 0 or a NaN.
double hy_student_cdf(double t, double df);
// P(|T| >= |t|): accurate where it is tiny, which 2 (1 - cdf) is not.
double hy_student_two_sided(double t, double df);
// The t with P(T <= t) = p, 0 < p < 1; -+INFINITY at 0 and 1, NaN outside.
double hy_student_quantile(double p, double df);
#endif
