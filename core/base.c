// base.c - see base.h. Status, memory, buffers, random numbers, hashing, files.
#include "core/base.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

volatile int hy_interrupted = 0;

// ---------------------------------------------------------------------------------------------------- status
static _Thread_local char g_error[2048];

void hy_text_hide_controls(char *s) {
    for (; *s; s++) {
        const unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];
        const bool wide = c == 0xc2 && next >= 0x80 && next < 0xa0;  // C1 controls are two bytes of UTF-8
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || wide) *s = '?';
        if (wide) *++s = '?';
    }
}

static void keep_text(const char *text) {
    snprintf(g_error, sizeof g_error, "%s", text);
    hy_text_hide_controls(g_error);
}

hy_status hy_error(hy_status code, const char *fmt, ...) {
    char text[sizeof g_error];  // the arguments may point into g_error
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    keep_text(text);
    return code;
}

hy_status hy_error_context(hy_status code, const char *fmt, ...) {
    char text[sizeof g_error];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    hy_buf b = {0};
    hy_buf_printf(&b, "%.*s: %s", (int)used, text, g_error);
    keep_text(b.s);
    free(b.s);
    return code;
}

const char *hy_error_text(void) { return g_error; }

int hy_status_exit(hy_status s) {
    switch (s) {
        case HY_OK: return 0;
        case HY_EINPUT: return 2;
        case HY_EINTR: return 130;
        default: return 1;
    }
}

void hy_assert_fail(const char *file, int line, const char *text) {
    fprintf(stderr, "hylab: internal error at %s:%d: %s\nThis is a bug in hylab; please report it with the command.\n",
            file, line, text);
    abort();
}

// ---------------------------------------------------------------------------------------------------- memory
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

static void oom(void) {
    fprintf(stderr, "hylab: out of memory\n");
    exit(1);
}

void *hy_xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) oom();
    return p;
}

void *hy_xrealloc(void *p, size_t bytes) {
    p = realloc(p, bytes ? bytes : 1);
    if (!p) oom();
    return p;
}

char *hy_xstrdup(const char *s) {
    char *p = strdup(s);
    if (!p) oom();
    return p;
}

char *hy_asprintf(const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) oom();
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
    if (n < 0) oom();
    hy_buf_write(b, s, (size_t)n);
    free(s);
}

// ---------------------------------------------------------------------------------------------------- random numbers
static void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[0] = n0;
        c[1] = (uint32_t)p1;
        c[2] = n2;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

hy_rng hy_rng_make(uint64_t seed, uint64_t stream) { return (hy_rng){.seed = seed, .stream = stream}; }

uint32_t hy_rng_u32(hy_rng *r) {
    if (r->have == 0) {
        uint32_t c[4] = {(uint32_t)r->counter, (uint32_t)(r->counter >> 32), (uint32_t)r->stream,
                         (uint32_t)(r->stream >> 32)};
        philox(c, (uint32_t)r->seed, (uint32_t)(r->seed >> 32));
        memcpy(r->block, c, sizeof c);
        r->counter++;
        r->have = 4;
    }
    return r->block[4 - r->have--];
}

uint64_t hy_rng_u64(hy_rng *r) {
    uint64_t hi = hy_rng_u32(r);
    return hi << 32 | hy_rng_u32(r);
}

double hy_rng_uniform(hy_rng *r) { return (double)(hy_rng_u64(r) >> 11) * 0x1p-53; }

uint64_t hy_rng_below(hy_rng *r, uint64_t n) {
    HY_ASSERT(n >= 1);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do x = hy_rng_u64(r);
    while (x >= limit);
    return x % n;
}

double hy_rng_normal(hy_rng *r) {
    double u = 1.0 - hy_rng_uniform(r), v = hy_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

uint64_t hy_mix64(uint64_t a, uint64_t b) {  // splitmix64 finaliser over both words
    uint64_t x = a + 0x9E3779B97F4A7C15u * (b + 1);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

// ---------------------------------------------------------------------------------------------------- hashing
void hy_hash_hex(const void *data, size_t n, char out[33]) {
    XXH128_hash_t h = XXH3_128bits(data, n);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

// ---------------------------------------------------------------------------------------------------- files, time
hy_status hy_file_read(const char *path, size_t max_bytes, char **data, size_t *n) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe that nobody writes to must not block
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!f) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    hy_status s = HY_OK;
    struct stat st;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);  // one that is written to is waited for
    size_t cap = 1 << 16, len = 0;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) s = hy_error(HY_EINPUT, "%s: is a folder, not a file", path);
    if (!s && st.st_size > 0) cap = (size_t)st.st_size + 1;
    if (!s && cap - 1 > max_bytes && st.st_size > 0)
        s = hy_error(HY_EINPUT, "%s: %zu bytes are more than the %zu that are read", path, (size_t)st.st_size, max_bytes);
    char *buf = s ? NULL : malloc(cap + 1);
    if (!s && !buf) s = hy_error(HY_ENOMEM, "%s: out of memory reading %zu bytes", path, cap);
    while (!s) {
        size_t got = fread(buf + len, 1, cap - len, f);
        len += got;
        if (len > max_bytes) s = hy_error(HY_EINPUT, "%s: more than %zu bytes", path, max_bytes);
        else if (len < cap) {
            if (ferror(f)) s = hy_error(HY_EINPUT, "%s: cannot read: %s", path, strerror(errno));
            break;
        } else {
            cap *= 2;
            buf = hy_xrealloc(buf, cap + 1);
        }
    }
    fclose(f);
    if (s) {
        free(buf);
        return s;
    }
    buf[len] = 0;
    *data = buf;
    *n = len;
    return HY_OK;
}

hy_status hy_outfile_open(hy_outfile *o, const char *path) {
    o->path = hy_xstrdup(path);
    o->tmp = hy_asprintf("%s.tmp.%ld", path, (long)getpid());
    o->f = fopen(o->tmp, "wb");
    if (o->f) return HY_OK;
    hy_status s = hy_error(HY_EINPUT, "%s: cannot create: %s", o->tmp, strerror(errno));
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
    return s;
}

hy_status hy_outfile_commit(hy_outfile *o) {
    hy_status s = HY_OK;
    if (fflush(o->f) || ferror(o->f) || fsync(fileno(o->f)))
        s = hy_error(HY_EFAIL, "%s: cannot write: %s (the old file, if any, is unchanged)", o->path, strerror(errno));
    if (fclose(o->f) && !s) s = hy_error(HY_EFAIL, "%s: cannot close: %s", o->path, strerror(errno));
    if (!s && rename(o->tmp, o->path)) s = hy_error(HY_EFAIL, "%s: cannot rename: %s", o->path, strerror(errno));
    if (s) unlink(o->tmp);
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
    return s;
}

void hy_outfile_abort(hy_outfile *o) {
    if (!o->f) return;
    fclose(o->f);
    unlink(o->tmp);
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
}

hy_status hy_file_write(const char *path, const void *data, size_t n) {
    hy_outfile o;
    HY_TRY(hy_outfile_open(&o, path));
    if (n) fwrite(data, 1, n, o.f);  // an error is seen by commit through ferror
    return hy_outfile_commit(&o);
}

hy_status hy_mkdirs(const char *path) {
    char *p = hy_xstrdup(path);
    hy_status s = HY_OK;
    for (char *c = p + 1; !s; c++) {
        char keep = *c;
        if (keep != '/' && keep != 0) continue;
        *c = 0;
        if (mkdir(p, 0777) && errno != EEXIST) s = hy_error(HY_EINPUT, "%s: cannot create folder: %s", p, strerror(errno));
        *c = keep;
        if (keep == 0) break;
    }
    free(p);
    return s;
}

bool hy_file_exists(const char *path) { return access(path, F_OK) == 0; }

double hy_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t hy_unique_id(void) {
    static _Atomic uint64_t last;
    return ++last;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void hy_sort(double *v, int n) { qsort(v, (size_t)n, sizeof *v, by_value); }

double hy_median(const double *v, int n) {
    double *c = hy_xcalloc((size_t)n, sizeof *c);
    memcpy(c, v, (size_t)n * sizeof *c);
    hy_sort(c, n);
    const double m = n % 2 ? c[n / 2] : (c[n / 2 - 1] + c[n / 2]) / 2;
    free(c);
    return m;
}

uint16_t hy_bf16_from_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);  // NaN stays a (quiet) NaN
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

uint16_t hy_f16_from_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return sign | 0x7e00;
    if (u >= 0x477ff000u) return sign | 0x7c00;  // 65520 and more round to infinity
    if (u < 0x38800000u)  // below the smallest normal half: units of 2^-24, rounded by rint (to even)
        return (uint16_t)(sign | (uint16_t)rint(fabs((double)f) * 0x1p24));
    u += 0xfffu + (u >> 13 & 1);
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

float hy_f32_from_f16(uint16_t h) {
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    float v = exponent == 31 ? (mantissa ? NAN : INFINITY)
              : exponent == 0 ? ldexpf((float)mantissa, -24)
                              : ldexpf((float)(mantissa | 1024), exponent - 25);
    return h & 0x8000 ? -v : v;
}
