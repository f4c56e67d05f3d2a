// tok_spcheck.c - looks at the parts of a SentencePiece model that the library follows without looking: the double
// arrays of its normalizers (precompiled_charsmap). Not a reader of models. The file is a protocol buffer: keys (field
// << 3 | type) and values.
#include "core/token/tok_impl.h"

typedef struct {
    const uint8_t *p, *end;
} wire;

static bool varint(wire *w, uint64_t *out) {
    *out = 0;
    for (int shift = 0; shift < 64 && w->p < w->end; shift += 7) {
        const uint8_t b = *w->p++;
        *out |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return true;
    }
    return false;
}

// The next field: its number, and its bytes if it has a length (else empty). false: the end, or broken (*bad).
static bool field(wire *w, uint64_t *number, wire *bytes, bool *bad) {
    uint64_t key, n = 0;
    if (w->p == w->end) return false;
    *bad = true;
    if (!varint(w, &key)) return false;
    *number = (uint32_t)key >> 3;  // as the library cuts it
    *bytes = (wire){w->p, w->p};
    switch (key & 7) {
        case 0:
            if (!varint(w, &n)) return false;
            n = 0;
            break;
        case 1: n = 8; break;
        case 2:
            if (!varint(w, &n)) return false;
            break;
        case 5: n = 4; break;
        default: return false;
    }
    if (n > (uint64_t)(w->end - w->p)) return false;
    *bytes = (wire){w->p, w->p + n};
    w->p += n;
    *bad = false;
    return true;
}

// uint32 size of the array, the array of uint32 units, then NUL-ended strings that its values point into.
static hy_status check_map(wire m, const char *where) {
    const size_t n = (size_t)(m.end - m.p);
    uint32_t bytes;
    if (n == 0) return HY_OK;
    if (n < 4) return hy_error(HY_EINPUT, "%s: its character map has %zu bytes", where, n);
    memcpy(&bytes, m.p, 4);
    if (bytes % 4 || bytes < 1024 || bytes > n - 4)
        return hy_error(HY_EINPUT, "%s: its character map says that %u of its %zu bytes are the array", where, bytes,
                        n);
    const uint32_t size = bytes / 4;
    const size_t strings = n - 4 - bytes;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t unit, value;
        memcpy(&unit, m.p + 4 + 4 * (size_t)i, 4);
        if (unit >> 31 && i) continue;  // a value; the first is followed whatever it is
        const uint32_t at = i ^ (unit >> 10) << ((unit & 0x200) >> 6);
        if ((at | 0xff) >= size)
            return hy_error(HY_EINPUT, "%s: unit %u of its character map points outside it", where, i);
        if (!(unit >> 8 & 1)) continue;
        memcpy(&value, m.p + 4 + 4 * (size_t)at, 4);
        if ((value & 0x7fffffff) >= strings)
            return hy_error(HY_EINPUT, "%s: unit %u of its character map points outside its strings", where, i);
    }
    return HY_OK;
}

hy_status hy_sp_check(const char *data, size_t n, const char *where) {
    wire w = {(const uint8_t *)data, (const uint8_t *)data + n}, spec, map;
    uint64_t number, inner;
    bool bad = false;
    while (field(&w, &number, &spec, &bad)) {
        if (number != 3 && number != 5) continue;  // normalizer_spec, denormalizer_spec
        while (field(&spec, &inner, &map, &bad))
            if (inner == 2) HY_TRY(check_map(map, where));
        if (bad) break;
    }
    return bad ? hy_error(HY_EINPUT, "%s: not a SentencePiece model: broken or truncated at byte %zu", where,
                          (size_t)(w.p - (const uint8_t *)data))
               : HY_OK;
}
