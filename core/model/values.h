// values.h - the named values of a program for people: choosing them by pattern ("layers.*.attn.q"), and what each of
// them is. What is chosen here is seen by a probe (core/exec/exec.h), of which rows are positions.
#ifndef HY_VALUES_H
#define HY_VALUES_H
#include "core/model/program.h"

// Whether a name fits a pattern: * stands for any characters (dots too), ? for one, [0-3] for one of these.
bool hy_name_fits(const char *pattern, const char *name);
// The error of a pattern that fits none of n names; it tells of the nearest one, layers as * where the pattern has one.
hy_status hy_names_no_match(const char *pattern, const char *const *names, int n);

// What a value is, in a few words with its layout: "queries, rotated; 4 heads of 16". Appends to out.
void hy_value_meaning(const hy_program *p, hy_val v, hy_buf *out);
#endif
