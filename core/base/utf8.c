// utf8.c - see utf8.h.
#include "core/base/utf8.h"

#include <string.h>

hy_status hy_utf8_begin(const char *where, const char **s, size_t *n) {
    if (*n >= 2 && (!memcmp(*s, "\xff\xfe", 2) || !memcmp(*s, "\xfe\xff", 2)))
        return hy_error(HY_EINPUT, "%s: begins with the byte order mark of UTF-16: save it as UTF-8", where);
    if (*n >= 3 && !memcmp(*s, "\xef\xbb\xbf", 3)) *s += 3, *n -= 3;
    return HY_OK;
}

int hy_utf8_length(const char *str, size_t n) {
    const unsigned char *s = (const unsigned char *)str;
    if (n == 0) return 0;
    if (s[0] < 0x80) return 1;
    const int k = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (k == 0 || (size_t)k > n) return 0;
    for (int i = 1; i < k; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;  // overlong, surrogates
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;  // overlong, above U+10FFFF
    return k;
}

size_t hy_utf8_bad(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        const int k = hy_utf8_length(s + i, n - i);
        if (k == 0) return i;
        i += (size_t)k;
    }
    return n;
}

uint32_t hy_utf8_get(const char *str, int *len) {
    const unsigned char *s = (const unsigned char *)str;
    if (s[0] < 0x80) {
        *len = 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *len = 2;
        return (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
    }
    if (s[0] < 0xf0) {
        *len = 3;
        return (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    }
    *len = 4;
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 | (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
}

int hy_utf8_put(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const int k = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = k - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> k & 0xff) | c);
    return k;
}

// How many bytes at s are the start of a sequence that could be well-formed: what one U+FFFD stands for.
static size_t broken_length(const char *str, size_t n) {
    const unsigned char *s = (const unsigned char *)str;
    const int k = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 1;
    const unsigned lo = s[0] == 0xe0   ? 0xa0
                        : s[0] == 0xf0 ? 0x90
                                       : 0x80,
                   hi = s[0] == 0xed   ? 0x9f
                        : s[0] == 0xf4 ? 0x8f
                                       : 0xbf;
    size_t i = 1;
    for (; i < (size_t)k && i < n; i++)
        if (s[i] < (i == 1 ? lo : 0x80u) || s[i] > (i == 1 ? hi : 0xbfu)) break;
    return i;
}

void hy_utf8_lossy(const char *s, size_t n, hy_buf *out) {
    while (n) {
        const size_t good = hy_utf8_bad(s, n);
        hy_buf_write(out, s, good);
        s += good;
        n -= good;
        if (!n) break;
        const size_t k = broken_length(s, n);
        hy_buf_write(out, "\xef\xbf\xbd", 3);
        s += k;
        n -= k;
    }
}

size_t hy_utf8_open_tail(const char *s, size_t n) {
    for (size_t k = n < 3 ? n : 3; k > 0; k--) {
        const char *at = s + n - k;
        const unsigned char c = (unsigned char)*at;
        const size_t want = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
        if (want > k && broken_length(at, k) == k) return k;
    }
    return 0;
}
