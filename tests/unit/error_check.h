// error_check.h - what the newest error says; shared by tests.
#ifndef HY_ERROR_CHECK_H
#define HY_ERROR_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/base.h"

static inline void assert_error(const char *part) {
    if (!strstr(hy_error_text(), part)) fail_msg("\"%s\" lacks \"%s\"", hy_error_text(), part);
}
#endif
