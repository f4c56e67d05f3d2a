// memory.c - large and small blocks, growing buffers, texts. See base.h.
#include "core/base/base.h"
#include "core/base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *hy_alloc(size_t bytes) {
    const size_t huge = (size_t)2 << 20, align = bytes >= 4 * huge ? huge : HY_ALIGN;
    size_t n = (bytes ? bytes : 1) + align - 1;
    n -= n % align;
    void *p = n >= bytes ? aligned_alloc(align, n) : NULL;
    if (p && align == huge) madvise(p, n, MADV_HUGEPAGE);  // fewer page walks when a kernel streams; advice only
    if (!p) {
        hy_error(HY_ENOMEM, "out of memory: %.1f MB could not be allocated", (double)bytes / 1e6);
        return NULL;
    }
    memset(p, 0, n);
    return p;
}

double hy_memory_physical(void) {
    const double bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return bytes > 0 ? bytes : 0;
}

void hy_no_memory(void) {
    fprintf(stderr, "hylab: out of memory\n");
    exit(1);
}

void *hy_xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) hy_no_memory();
    return p;
}

void *hy_xrealloc(void *p, size_t bytes) {
    p = realloc(p, bytes ? bytes : 1);
    if (!p) hy_no_memory();
    return p;
}

char *hy_xstrdup(const char *s) {
    char *p = strdup(s);
    if (!p) hy_no_memory();
    return p;
}

char *hy_asprintf(const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) hy_no_memory();
    va_end(ap);
    return s;
}

void hy_buf_write(hy_buf *b, const void *data, size_t n) {
    if (b->n + n + 1 > b->cap) {
        b->cap = (b->n + n + 1) * 2;
        b->s = hy_xrealloc(b->s, b->cap);
    }
    if (n) memcpy(b->s + b->n, data, n);
    b->n += n;
    b->s[b->n] = 0;
}

void hy_buf_printf(hy_buf *b, const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0) hy_no_memory();
    hy_buf_write(b, s, (size_t)n);
    free(s);
}
