// utf8.h - UTF-8: what is well-formed, code points, repair of broken bytes.
#ifndef HY_UTF8_H
#define HY_UTF8_H
#include "core/base/base.h"

// Passes over the byte order mark that editors of some systems put at the start of a text. HY_EINPUT "where: ..." for
// that of UTF-16, which is not read.
hy_status hy_utf8_begin(const char *where, const char **s, size_t *n);
// Bytes of the well-formed sequence at s[0..n-1]; 0 if there is none.
int hy_utf8_length(const char *s, size_t n);
// Offset of the first byte that is not UTF-8; n if all is well.
size_t hy_utf8_bad(const char *s, size_t n);
// The code point of a well-formed sequence; *len its bytes.
uint32_t hy_utf8_get(const char *s, int *len);
int hy_utf8_put(uint32_t c, char out[4]);
// Appends n bytes; each longest piece of a broken sequence becomes one U+FFFD, as Rust and Python do.
void hy_utf8_lossy(const char *s, size_t n, hy_buf *out);
// Bytes at the end that are the start of a sequence that more bytes could complete.
size_t hy_utf8_open_tail(const char *s, size_t n);
#endif
