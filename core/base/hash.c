// hash.c - the only file that knows the hashing library. See base.h.
#include "core/base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void hex_of(XXH128_hash_t h, char out[33]) {
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

void hy_hash_hex(const void *data, size_t n, char out[33]) { hex_of(XXH3_128bits(data, n), out); }

hy_status hy_hash_file(const char *path, char out[33]) {
    enum { BLOCK = 1 << 20 };
    FILE *f = fopen(path, "rb");
    if (!f) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    XXH3_state_t *state = XXH3_createState();
    char *block = hy_xcalloc(1, BLOCK);
    XXH3_128bits_reset(state);
    for (size_t n; (n = fread(block, 1, BLOCK, f)) > 0;) XXH3_128bits_update(state, block, n);
    const hy_status s = ferror(f) ? hy_error(HY_EFAIL, "%s: cannot read: %s", path, strerror(errno)) : HY_OK;
    hex_of(XXH3_128bits_digest(state), out);
    XXH3_freeState(state);
    free(block);
    fclose(f);
    return s;
}

uint64_t hy_hash64(const void *data, size_t n) { return XXH3_64bits(data, n); }
