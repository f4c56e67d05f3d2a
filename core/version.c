// version.c - which build this is: for provenance.
#include "core/version.h"

const char *hy_version_commit(void) { return HY_COMMIT; }
const char *hy_version_build(void) {
    return "gcc " __VERSION__
#ifdef __SANITIZE_ADDRESS__
           " asan"
#endif
        ;
}
