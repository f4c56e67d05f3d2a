// plural.h - the s of a noun after a number: "1 run", "2 runs".
#ifndef HY_PLURAL_H
#define HY_PLURAL_H
#include <stdint.h>

static inline const char *hy_s(int64_t n) { return n == 1 ? "" : "s"; }
#endif
