// fuzz_safetensors.c - libFuzzer target of the safetensors reader (`make fuzz-safetensors`): any bytes are a file or a
// clear refusal. What is accepted is read in full, and written again must be the same tensors.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(const hy_st_tensor *t) {
    float *f = malloc(t->n * sizeof *f + 1);  // exact sizes, for the sanitizer
    double *d = malloc(t->n * sizeof *d + 1);
    int64_t *i = malloc(t->n * sizeof *i + 1);
    hy_st_read_f32(t, 0, t->n, f);
    hy_st_read_f64(t, 0, t->n, d);
    hy_status s = hy_st_read_i64(t, 0, t->n, i);
    HY_ASSERT(s == HY_OK || s == HY_EINPUT);
    free(f);
    free(d);
    free(i);
}

static void write_again(const hy_st *st) {
    static char path[64];
    if (!path[0]) snprintf(path, sizeof path, "/tmp/hylab_fuzz.%ld", (long)getpid());
    hy_st_writer *w = hy_st_writer_new();
    for (int i = 0; i < hy_st_count(st); i++) {
        const hy_st_tensor *t = hy_st_at(st, i);
        hy_st_writer_add(w, t->name, t->dtype, t->ndim, t->shape, t->data);
    }
    HY_ASSERT(hy_st_writer_commit(w, path) == HY_OK);
    hy_st_writer_free(w);
    hy_st *back;
    HY_ASSERT(hy_st_open(path, 0, &back) == HY_OK && hy_st_count(back) == hy_st_count(st));
    for (int i = 0; i < hy_st_count(st); i++) {
        const hy_st_tensor *t = hy_st_at(st, i), *u;
        HY_ASSERT(hy_st_expect(back, t->name, t->ndim, t->shape, &u) == HY_OK && u->dtype == t->dtype);
        HY_ASSERT(!t->n || !memcmp(t->data, u->data, t->n * hy_st_dtype_size(t->dtype)));
    }
    hy_st_close(back);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hy_st *st;
    for (unsigned flags = 0; flags <= HY_ST_ALLOW_HOLES; flags++) {
        hy_status s = hy_st_open_memory(data, n, "fuzz", flags, &st);
        HY_ASSERT(s == HY_OK || (s == HY_EINPUT && hy_error_text()[0] && !st));
        if (s) continue;
        hy_st_meta(st, "format");
        for (int i = 0; i < hy_st_count(st); i++) {
            HY_ASSERT(hy_st_find(st, hy_st_at(st, i)->name) == hy_st_at(st, i));
            read_all(hy_st_at(st, i));
        }
        if (n % 16 == 0) write_again(st);  // costly (a file): a share of the inputs
        hy_st_close(st);
    }
    return 0;
}
