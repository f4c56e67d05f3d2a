// base.h - small tools that everything may use: status with context, memory, counter-based random numbers, hashing,
// atomic files, time, numbers. Nothing here knows of tensors or models.
#ifndef HY_BASE_H
#define HY_BASE_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// ---------------------------------------------------------------------------------------------------- status
// A function that can fail returns a hy_status; the text of the newest failure is kept per thread.
typedef enum {
    HY_OK = 0,
    HY_EFAIL,      // the work failed: exit status 1
    HY_EINPUT,     // bad usage, file or data: exit status 2
    HY_ENOMEM,     // out of memory: exit status 1
    HY_EDIVERGED,  // NaN or infinity where a figure should be: exit status 1
    HY_EINTR,      // interrupted by the user: exit status 130
    HY_EPIPE,      // who read our output has gone: exit status 141, and nothing is said
} hy_status;

// hy_error records a message (printf style) and returns `code`; use as `return hy_error(HY_EINPUT, "...")`.
hy_status hy_error(hy_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// hy_error_context puts "text: " before the recorded message and returns `code` unchanged.
hy_status hy_error_context(hy_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *hy_error_text(void);
// Control characters but newline and tab become '?', in place: names out of hostile files do not reach a terminal as
// its commands. Messages are treated so.
void hy_text_hide_controls(char *s);
int hy_status_exit(hy_status s);  // the process exit status that belongs to s

#define HY_TRY(expr)                      \
    do {                                  \
        hy_status hy_s_ = (expr);         \
        if (hy_s_ != HY_OK) return hy_s_; \
    } while (0)

// Flushes what was printed to a stream. HY_EPIPE: it is a pipe that nobody reads any more; HY_EFAIL: "cannot write
// WHAT: reason".
hy_status hy_stream_end(FILE *f, const char *what);

// An invariant; stays in release builds. Prints file, line and text, then aborts.
void hy_assert_fail(const char *file, int line, const char *text) __attribute__((noreturn));
#define HY_ASSERT(cond) ((cond) ? (void)0 : hy_assert_fail(__FILE__, __LINE__, #cond))

// ---------------------------------------------------------------------------------------------------- memory
#define HY_ALIGN 64
static inline size_t hy_align(size_t n) { return (n + HY_ALIGN - 1) & ~(size_t)(HY_ALIGN - 1); }
// Large blocks: 64-byte aligned, zeroed; NULL with HY_ENOMEM recorded. Free with free().
void *hy_alloc(size_t bytes);
// Small blocks: never NULL (a failure ends the program with a message). Free with free().
void *hy_xcalloc(size_t n, size_t size);
void *hy_xrealloc(void *p, size_t bytes);
char *hy_xstrdup(const char *s);
char *hy_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  // caller frees

// A growing text buffer; zero-initialise, free(b.s).
typedef struct {
    char *s;
    size_t n, cap;
} hy_buf;
void hy_buf_printf(hy_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hy_buf_write(hy_buf *b, const void *data, size_t n);

// ---------------------------------------------------------------------------------------------------- random numbers
// Philox4x32-10 (Salmon et al. 2011): a pure function of (seed, stream, counter). No global state anywhere.
typedef struct {
    uint64_t seed, stream, counter;
    uint32_t block[4];
    int have;  // unused words left in block
} hy_rng;
hy_rng hy_rng_make(uint64_t seed, uint64_t stream);
uint32_t hy_rng_u32(hy_rng *r);
uint64_t hy_rng_u64(hy_rng *r);
double hy_rng_uniform(hy_rng *r);                       // [0, 1), 53 bits
uint64_t hy_rng_below(hy_rng *r, uint64_t n);           // 0 .. n-1 without bias; n >= 1
double hy_rng_normal(hy_rng *r);                        // N(0, 1), Box-Muller, uses two uniforms each
void hy_rng_normals(hy_rng *r, size_t n, double *dst);  // n calls of hy_rng_normal, faster
// Where i goes in a permutation of 0 .. n-1, one for each key, without a table of it: n >= 1, i < n.
uint64_t hy_permuted(uint64_t key, uint64_t n, uint64_t i);
uint64_t hy_mix64(uint64_t a, uint64_t b);  // combines two numbers into a well-mixed one (for seeds of streams)

// ---------------------------------------------------------------------------------------------------- hashing
// 128-bit XXH3 as 32 lower-case hex digits and a NUL: identifies resolved specs. Not cryptographic.
void hy_hash_hex(const void *data, size_t n, char out[33]);
hy_status hy_hash_file(const char *path, char out[33]);  // of a file's content, read in blocks
// The same of bytes that come in parts; end gives the hash and frees.
typedef struct hy_hasher hy_hasher;
hy_hasher *hy_hasher_new(void);
void hy_hasher_add(hy_hasher *h, const void *data, size_t n);
void hy_hasher_end(hy_hasher *h, char out[33]);
void hy_hasher_so_far(const hy_hasher *h, char out[33]);  // the same without an end: more may be added
uint64_t hy_hash64(const void *data, size_t n);           // 64-bit XXH3, for hash tables

// ---------------------------------------------------------------------------------------------------- files, time
// Reads a whole file; refuses more than max_bytes. *data is NUL-terminated and freed by the caller.
hy_status hy_file_read(const char *path, size_t max_bytes, char **data, size_t *n);
// Writes to a temporary name in the same folder, fsyncs, renames, fsyncs the folder. A failure leaves the old file as
// it was. A symbolic link stays, and what it leads to is written. Character devices (/dev/null) and open descriptors
// (/dev/stdout) are written as they are; FIFOs, sockets, block devices and write-protected files are refused.
hy_status hy_file_write(const char *path, const void *data, size_t n);
// The same for a writer that streams: opens the temporary file; commit syncs and renames, abort removes.
typedef struct {
    FILE *f;
    char *path, *tmp;  // tmp NULL: f is path itself, a device or descriptor
} hy_outfile;
hy_status hy_outfile_open(hy_outfile *o, const char *path);
// HY_EFAIL "PATH: cannot write: REASON", saying of a file that the old one is unchanged (abort keeps it so); HY_EPIPE.
hy_status hy_outfile_write(hy_outfile *o, const void *data, size_t n);
// Whether that will work, before hours of work for it: makes the folders above it, and leaves nothing else behind.
hy_status hy_outfile_try(const char *path);
// Refuses an output that is another output or an input of the same work, by whatever name. as: "--curve", "the model".
// A NULL path is none; a device may serve twice.
hy_status hy_files_apart(const char *as, const char *path, const char *as_other, const char *other);
// One regular file under both names; of files that are not there: one place.
bool hy_same_file(const char *a, const char *b);
// A copy as an outfile: whole under its name, or not there. HY_EFAIL: says which file, and why.
hy_status hy_copy_file(const char *from, const char *to);
// Makes an empty folder of a new name, "prefix-" and six signs, in $TMPDIR or /tmp; caller frees *out, NULL on an
// error.
hy_status hy_temp_folder(const char *prefix, char **out);
// The same, and whether what stands there may be replaced: nothing, an empty file, or one that has `mark` in its first
// bytes, as `what` has. Anything else is somebody's work, named by mistake.
hy_status hy_outfile_try_over(const char *path, const char *mark, const char *what);
hy_status hy_outfolder_try(const char *path);  // of a folder for files: makes it
hy_status hy_outfile_commit(hy_outfile *o);
void hy_outfile_abort(hy_outfile *o);
// fopen; but what is our standard output or error already is written on from where that stands, not from a place of its
// own, where each would write over the other.
FILE *hy_open_through(const char *path, const char *mode);
bool hy_is_standard_stream(const char *path);  // is it what standard output or error already is?
bool hy_is_stream(const char *path);           // an open descriptor, or something that is there and no plain file
bool hy_is_folder(const char *path);
// For scandir: entries whose names do not begin with a dot, in the order of their names' bytes.
struct dirent;
int hy_entry_shown(const struct dirent *e);
int hy_by_entry(const struct dirent **a, const struct dirent **b);
hy_status hy_mkdirs(const char *path);              // mkdir -p
hy_status hy_make_folders_above(const char *path);  // of a file: mkdir -p of all before its last slash
// "~" and "~/..." in the home folder, others as they are; beside: relative ones start at the folder of a file. Caller
// frees.
char *hy_path_home(const char *path);
char *hy_path_beside(const char *file, const char *path);
bool hy_file_exists(const char *path);
double hy_now(void);          // seconds, monotonic
uint64_t hy_unique_id(void);  // 1, 2, 3 ...: never the same twice in a process

// ---------------------------------------------------------------------------------------------------- numbers
void hy_sort(double *v, int n);                // ascending; no NaN
int hy_by_text(const void *a, const void *b);  // of pointers to texts, for qsort and bsearch
double hy_median(const double *v, int n);      // n >= 1; the mean of the middle two when n is even
// bfloat16 (the upper half of a float32) and half, in their bits.
static inline float hy_f32_from_bf16(uint16_t h) {
    const union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)h << 16};
    return v.f;
}
uint16_t hy_bf16_from_f32(float f);  // to nearest, ties to even; NaN stays NaN
float hy_f32_from_f16(uint16_t h);
uint16_t hy_f16_from_f32(float f);  // to nearest, ties to even; NaN stays NaN; beyond 65504: infinity

// ---------------------------------------------------------------------------------------------------- signals
// Set by a signal while interrupts are deferred; long loops look at it and return HY_EINTR.
extern volatile int hy_interrupted;
// A signal ends the process, as by default, but between these two (which may be nested), where something would be lost:
// there the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 sets hy_interrupted, and whoever calls this looks at it often. A
// second one kills the workers, then the process. For programs: the library calls neither.
void hy_interrupts_defer(void);
void hy_interrupts_end(void);
// A child that must not outlive a second signal; gone: it has ended. At most HY_WORKERS_MAX at a time are known.
enum { HY_WORKERS_MAX = 64 };
void hy_interrupts_worker(long pid, bool gone);
#endif
