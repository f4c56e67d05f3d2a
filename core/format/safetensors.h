// safetensors.h - named tensors in one file: 8 bytes of header length (little-endian), a JSON header, the data. Reading
// maps the file and believes nothing; writing is atomic. What the tensors mean is checkpoint.c's and import.c's matter.
#ifndef HY_SAFETENSORS_H
#define HY_SAFETENSORS_H
#include "core/base/base.h"

// X(name in files, bytes an element)
#define HY_ST_DTYPES(X) \
    X(BOOL, 1)          \
    X(U8, 1)            \
    X(I8, 1) X(U16, 2) X(I16, 2) X(F16, 2) X(BF16, 2) X(U32, 4) X(I32, 4) X(F32, 4) X(U64, 8) X(I64, 8) X(F64, 8)
typedef enum {
#define X(name, size) HY_ST_##name,
    HY_ST_DTYPES(X)
#undef X
        HY_ST_DTYPE_COUNT
} hy_st_dtype;
const char *hy_st_dtype_name(hy_st_dtype t);
size_t hy_st_dtype_size(hy_st_dtype t);

#define HY_ST_MAX_DIMS 8
#define HY_ST_MAX_HEADER ((size_t)100 << 20)  // bytes of JSON, the limit of the format's own library

typedef struct {
    const char *name;
    hy_st_dtype dtype;
    int ndim;
    int64_t shape[HY_ST_MAX_DIMS];
    size_t n;          // elements (1 for ndim 0, may be 0)
    size_t offset;     // of the data, from the end of the header
    const void *data;  // n elements, of any alignment: read through hy_st_read_*
    bool mapped;       // data lies in a mapped file
} hy_st_tensor;

// ---------------------------------------------------------------------------------------------------- reading
typedef struct hy_st hy_st;
enum { HY_ST_ALLOW_HOLES = 1 };  // bytes between or after tensors that belong to none are let pass
// Refused with HY_EINPUT "file: tensor "name": reason": a header that is too long, not JSON, nested, with duplicate
// names; an unknown dtype; more than HY_ST_MAX_DIMS dimensions; a shape or offset that is negative or overflows; data
// outside the file, overlapping, with holes, or not of the length that dtype and shape make; __metadata__ other than
// strings. The file must not be shortened by others while it is open (hylab replaces files, it never rewrites them).
hy_status hy_st_open(const char *path, unsigned flags, hy_st **out);
// The same of n bytes in memory, which stay the caller's and outlive *out. where: what messages call it.
hy_status hy_st_open_memory(const void *data, size_t n, const char *where, unsigned flags, hy_st **out);
void hy_st_close(hy_st *st);
const char *hy_st_path(const hy_st *st);
int hy_st_count(const hy_st *st);
const hy_st_tensor *hy_st_at(const hy_st *st, int i);               // in the order of the data
const hy_st_tensor *hy_st_find(const hy_st *st, const char *name);  // NULL if there is none
// The same, with HY_EINPUT naming file and tensor if it is absent or not of this shape (any element type).
hy_status hy_st_expect(const hy_st *st, const char *name, int ndim, const int64_t *shape, const hy_st_tensor **out);
bool hy_st_has_shape(const hy_st_tensor *t, int ndim, const int64_t *shape);
bool hy_st_is_floating(hy_st_dtype t);
// Compares files with all the tensors a reader wants of them together. HY_OK if each is there with its shape and no
// other is; else HY_EINPUT with the counts and the start of the list, the whole list (one line a tensor) in report if
// that is not NULL. what: the name of the files for messages; against: what asks for the tensors ("config.json").
// Unknown tensors of which ignored(user, name) is true are nobody's business (ignored may be NULL). Names that fit but
// for a prefix ("module.", "_orig_mod.") are told of in one line. (st_match.c)
typedef struct {
    char name[128];
    int ndim;
    int64_t shape[HY_ST_MAX_DIMS];
} hy_st_want;
hy_status hy_st_match(const hy_st *const *files, int n_files, const char *what, const hy_st_want *want, int n,
                      const char *against, bool (*ignored)(const void *user, const char *name), const void *user,
                      hy_buf *report);
// Its data will not be read soon: the pages of a mapped file leave this process (they come back if it is read after
// all).
void hy_st_release(const hy_st_tensor *t);
// The bytes before the data: length and JSON text as they stand in the file.
const void *hy_st_header(const hy_st *st, size_t *bytes);
const char *hy_st_meta(const hy_st *st, const char *key);  // of __metadata__, NULL if there is none
// "[3, 4]"
void hy_st_shape_text(int ndim, const int64_t *shape, char *out, size_t cap);

// Elements first .. first+n-1, converted (rounded to nearest). Integers beyond the 24 or 53 bits of a float or double
// are rounded too.
void hy_st_read_f32(const hy_st_tensor *t, size_t first, size_t n, float *dst);
void hy_st_read_f64(const hy_st_tensor *t, size_t first, size_t n, double *dst);
// Each value as a floating type holds it, in place.
void hy_st_round(hy_st_dtype to, size_t n, double *v);
// HY_EINPUT (naming the tensor) for a floating type or a value outside int64.
hy_status hy_st_read_i64(const hy_st_tensor *t, size_t first, size_t n, int64_t *dst);

// ---------------------------------------------------------------------------------------------------- writing
// Tensors are announced first and written by hy_st_writer_commit one after the other: at most one is held in memory
// beside its source. The file is sorted by element size so that every tensor is aligned to its elements.
typedef struct hy_st_writer hy_st_writer;
hy_st_writer *hy_st_writer_new(void);
void hy_st_writer_free(hy_st_writer *w);
void hy_st_writer_meta(hy_st_writer *w, const char *key, const char *value);
// data: shape's elements, borrowed until commit. A repeated or empty name, "__metadata__", a bad shape: an error of
// commit.
void hy_st_writer_add(hy_st_writer *w, const char *name, hy_st_dtype dtype, int ndim, const int64_t *shape,
                      const void *data);
// The data is asked for during commit: fill writes all of the tensor's bytes to dst.
typedef hy_status (*hy_st_fill)(void *user, const char *name, void *dst, size_t bytes);
void hy_st_writer_add_fill(hy_st_writer *w, const char *name, hy_st_dtype dtype, int ndim, const int64_t *shape,
                           hy_st_fill fill, void *user);
// Vectors and single numbers, copied here.
void hy_st_writer_add_f32(hy_st_writer *w, const char *name, size_t n, const float *v);
void hy_st_writer_add_f64(hy_st_writer *w, const char *name, size_t n, const double *v);
void hy_st_writer_add_i64(hy_st_writer *w, const char *name, size_t n, const int64_t *v);
// Writes everything to `path` through a temporary file in the same folder; an old file stays as it was if this fails
// (HY_EFAIL with the reason, HY_EINPUT if the folder cannot be written). The writer can be used again or freed.
hy_status hy_st_writer_commit(hy_st_writer *w, const char *path);
// The same with data that comes in pieces, in any order: begin writes the header of all that was announced (data NULL;
// no path that cannot be written at any place, such as a pipe), put writes n bytes from byte `at` on of the tensor that
// was announced as number `index`, end renames the file once all bytes have come (HY_EFAIL: some have not). Freeing the
// writer before that removes what was written.
hy_status hy_st_writer_begin(hy_st_writer *w, const char *path);
hy_status hy_st_writer_put(hy_st_writer *w, int index, size_t at, const void *data, size_t n);
hy_status hy_st_writer_end(hy_st_writer *w);
// The hash (hy_hash_file) that the file would have. where: what messages call it.
hy_status hy_st_writer_hash(hy_st_writer *w, const char *where, char out[33]);
#endif
