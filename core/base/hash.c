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

struct hy_hasher {
    XXH3_state_t *state;
};

hy_hasher *hy_hasher_new(void) {
    hy_hasher *h = hy_xcalloc(1, sizeof *h);
    h->state = XXH3_createState();
    XXH3_128bits_reset(h->state);
    return h;
}

void hy_hasher_add(hy_hasher *h, const void *data, size_t n) { XXH3_128bits_update(h->state, data, n); }

void hy_hasher_so_far(const hy_hasher *h, char out[33]) { hex_of(XXH3_128bits_digest(h->state), out); }

void hy_hasher_end(hy_hasher *h, char out[33]) {
    hy_hasher_so_far(h, out);
    XXH3_freeState(h->state);
    free(h);
}

hy_status hy_hash_file(const char *path, char out[33]) {
    enum { BLOCK = 1 << 20 };
    FILE *f = fopen(path, "rb");
    if (!f) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    hy_hasher *h = hy_hasher_new();
    char *block = hy_xcalloc(1, BLOCK);
    for (size_t n; (n = fread(block, 1, BLOCK, f)) > 0;) hy_hasher_add(h, block, n);
    const hy_status s = ferror(f) ? hy_error(HY_EFAIL, "%s: cannot read: %s", path, strerror(errno)) : HY_OK;
    hy_hasher_end(h, out);
    free(block);
    fclose(f);
    return s;
}

uint64_t hy_hash64(const void *data, size_t n) { return XXH3_64bits(data, n); }
