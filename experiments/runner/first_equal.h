// first_equal.h - which of many keys are the same.
#ifndef HY_FIRST_EQUAL_H
#define HY_FIRST_EQUAL_H
#include <stddef.h>

// first[i]: index of the first key that equals key i, i itself where there is none before. keys: n of `size` bytes
// each, without padding that differs. Takes time in proportion to n.
void hy_first_equal(const void *keys, size_t size, int n, int *first);
#endif
