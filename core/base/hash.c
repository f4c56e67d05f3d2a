// hash.c - the only file that knows the hashing library. See base.h.
#include "core/base/base.h"

#include <xxhash.h>

void hy_hash_hex(const void *data, size_t n, char out[33]) {
    XXH128_hash_t h = XXH3_128bits(data, n);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

uint64_t hy_hash64(const void *data, size_t n) { return XXH3_64bits(data, n); }
