// gguf.h - GGUF files (ggml, llama.cpp): typed keys with values, and tensors in blocks of quantised numbers. Little
// endian, versions 2 and 3. Reading maps the file and believes nothing. What the keys mean is the matter of those who
// ask (core/family/import_gguf.c, core/token/tok_gguf.c).
#ifndef HY_GGUF_H
#define HY_GGUF_H
#include "core/base/base.h"

// Numbers of the format. Element types: X(name in files, number, elements of a block, bytes of a block)
#define HY_GGUF_ELEMENTS(X) \
    X(F32, 0, 1, 4)         \
    X(F16, 1, 1, 2) X(Q4_0, 2, 32, 18) X(Q4_1, 3, 32, 20) X(Q8_0, 8, 32, 34) X(Q6_K, 14, 256, 210) X(BF16, 30, 1, 2)
typedef enum {
#define X(name, number, block, bytes) HY_GGUF_##name = number,
    HY_GGUF_ELEMENTS(X)
#undef X
} hy_gguf_element;
#define HY_GGUF_MAX_DIMS 4

typedef struct {
    char *name;
    hy_gguf_element type;
    int ndim;
    int64_t shape[HY_GGUF_MAX_DIMS];  // the last one lies together in memory, as in safetensors (the file has it first)
    size_t n, bytes;                  // elements; bytes of data
    const char *data;                 // of any alignment
} hy_gguf_tensor;

typedef struct hy_gguf hy_gguf;
// Is it named *.gguf, and no folder?
bool hy_is_gguf(const char *path);
// HY_EINPUT "file: ... reason": another version, a count, length or offset that the file has no room for, keys or
// tensors named twice, names that are not UTF-8, an element type that is not in the list above (by name of the number),
// rows that are no whole blocks.
hy_status hy_gguf_open(const char *path, hy_gguf **out);
// The same of n bytes in memory, which stay the caller's and outlive *out. where: what messages call it.
hy_status hy_gguf_open_memory(const void *data, size_t n, const char *where, hy_gguf **out);
void hy_gguf_close(hy_gguf *g);
const char *hy_gguf_path(const hy_gguf *g);
int hy_gguf_count(const hy_gguf *g);  // tensors
const hy_gguf_tensor *hy_gguf_at(const hy_gguf *g, int i);
const hy_gguf_tensor *hy_gguf_find(const hy_gguf *g, const char *name);  // NULL: none
// Elements first .. first+n-1, both multiples of the type's block, as floats: exact for F32, F16, BF16 and Q8_0, Q4_0,
// Q6_K; of Q4_1 the sum of two rounded once, as ggml has it.
void hy_gguf_read(const hy_gguf_tensor *t, size_t first, size_t n, float *dst);
size_t hy_gguf_block(hy_gguf_element type);

// Keys, in the order of the file. A key of an array has its type and length too.
int hy_gguf_keys(const hy_gguf *g);
const char *hy_gguf_key(const hy_gguf *g, int i);
bool hy_gguf_has(const hy_gguf *g, const char *key);
// HY_EINPUT, naming file and key, for a value of another type or out of range. fallback: what stands for a key that is
// not there; NULL: it must be.
hy_status hy_gguf_int(const hy_gguf *g, const char *key, int64_t lo, int64_t hi, const int64_t *fallback, int64_t *out);
hy_status hy_gguf_real(const hy_gguf *g, const char *key, double lo, double hi, const double *fallback, double *out);
hy_status hy_gguf_bool(const hy_gguf *g, const char *key, bool fallback, bool *out);
// Its text, cut at the first NUL, of at most cap - 1 bytes (longer is refused).
hy_status hy_gguf_text(const hy_gguf *g, const char *key, const char *fallback, char *out, size_t cap);
// Lists. strings: a walk with hy_gguf_string. ints: *out is the caller's to free.
typedef struct {
    const char *at;
    size_t left;  // strings to come
} hy_gguf_strings;
hy_status hy_gguf_string_list(const hy_gguf *g, const char *key, hy_gguf_strings *out);
const char *hy_gguf_string(hy_gguf_strings *walk, size_t *n);  // the next one, not ended by NUL; NULL: no more
hy_status hy_gguf_int_list(const hy_gguf *g, const char *key, int32_t **out, size_t *n);
#endif
