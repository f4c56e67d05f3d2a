// version.c - which build this is: for provenance.
#include "core/base/version.h"

const char *hy_version_commit(void) { return HY_COMMIT; }
int hy_version_dirty(void) { return HY_DIRTY; }
const char *hy_version_build(void) {
#ifdef __clang__
    return __VERSION__  // "Clang 16.0.6 ..."
#else
    return "gcc " __VERSION__
#endif
#ifdef __SANITIZE_ADDRESS__
        " asan"
#endif
        ;
}
