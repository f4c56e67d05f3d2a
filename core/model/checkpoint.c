// checkpoint.c - see checkpoint.h.
#include "core/model/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#define META_FORMAT "hylab.format"
#define META_SPEC "hylab.spec"
#define META_HASH "hylab.spec_hash"

// ---------------------------------------------------------------------------------------------------- saving
static hy_st_dtype file_dtype(hy_dtype t) { return t == HY_F64 ? HY_ST_F64 : t == HY_BF16 ? HY_ST_BF16 : HY_ST_F32; }

static hy_status fill_param(void *user, const char *name, void *dst, size_t bytes) {
    const hy_params *w = user;
    return w->be->to_host(dst, hy_params_ptr(w, hy_program_find_param(w->prog, name), false), bytes);
}

static int param_shape(const hy_param *p, int64_t shape[3]) {
    for (int i = 0; i < p->ndim; i++) shape[i] = p->shape[i];
    return p->ndim;
}

void hy_checkpoint_add(hy_st_writer *out, hy_params *w) {
    char hash[33], *text = hy_model_spec_text(&w->prog->spec);
    hy_hash_hex(text, strlen(text), hash);
    hy_st_writer_meta(out, META_FORMAT, HY_CHECKPOINT_VERSION);
    hy_st_writer_meta(out, META_SPEC, text);
    hy_st_writer_meta(out, META_HASH, hash);
    free(text);
    for (int i = 0; i < w->prog->n_params; i++) {
        int64_t shape[3];
        int ndim = param_shape(&w->prog->params[i], shape);
        hy_st_writer_add_fill(out, w->prog->params[i].name, file_dtype(hy_params_dtype(w, i)), ndim, shape, fill_param,
                              w);
    }
}

hy_status hy_checkpoint_save(hy_params *w, const char *path) {
    hy_st_writer *out = hy_st_writer_new();
    hy_checkpoint_add(out, w);
    hy_status s = hy_st_writer_commit(out, path);
    hy_st_writer_free(out);
    return s;
}

hy_status hy_checkpoint_try(const char *path) {
    return hy_outfile_try_over(path, "\"" META_FORMAT "\"", "checkpoint of hylab");
}

// The same tensors and metadata in the same order as hy_checkpoint_add announces them: a file is sorted by element
// size, and otherwise in that order.
static hy_status hash_of_weights(const hy_st *st, char out[33]) {
    static const char *const meta[] = {META_FORMAT, META_SPEC, META_HASH};
    hy_st_writer *w = hy_st_writer_new();
    for (int i = 0; i < 3; i++) hy_st_writer_meta(w, meta[i], hy_st_meta(st, meta[i]));
    for (int i = 0; i < hy_st_count(st); i++) {
        const hy_st_tensor *t = hy_st_at(st, i);
        if (strncmp(t->name, HY_CHECKPOINT_EXTRA, strlen(HY_CHECKPOINT_EXTRA)))
            hy_st_writer_add(w, t->name, t->dtype, t->ndim, t->shape, t->data);
    }
    const hy_status s = hy_st_writer_hash(w, hy_st_path(st), out);
    hy_st_writer_free(w);
    return s;
}

hy_status hy_checkpoint_weights_hash(const char *path, char out[33]) {
    hy_st *st;
    HY_TRY(hy_checkpoint_open(path, &st));
    const hy_status s = hash_of_weights(st, out);
    hy_st_close(st);
    return s;
}

// ---------------------------------------------------------------------------------------------------- loading
hy_status hy_checkpoint_open(const char *path, hy_st **out) {
    hy_st *st;
    *out = NULL;
    HY_TRY(hy_st_open(path, 0, &st));
    const char *version = hy_st_meta(st, META_FORMAT), *text = hy_st_meta(st, META_SPEC),
               *hash = hy_st_meta(st, META_HASH);
    char own[33] = "";
    if (text) hy_hash_hex(text, strlen(text), own);
    hy_status s = HY_OK;
    if (!version)
        s = hy_error(HY_EINPUT,
                     "%s: is not a hylab checkpoint (its metadata has no \"%s\"); of a released model give the folder",
                     path, META_FORMAT);
    else if (strcmp(version, HY_CHECKPOINT_VERSION))
        s = hy_error(HY_EINPUT, "%s: has checkpoint format %.20s; this build reads %s", path, version,
                     HY_CHECKPOINT_VERSION);
    else if (!text || !hash)
        s = hy_error(HY_EINPUT, "%s: the metadata lacks \"%s\": damaged", path, text ? META_HASH : META_SPEC);
    else if (strcmp(own, hash))
        s = hy_error(HY_EINPUT, "%s: the spec in its metadata does not have the stored hash: damaged", path);
    if (s)
        hy_st_close(st);
    else
        *out = st;
    return s;
}

const char *hy_checkpoint_spec_text(const hy_st *st) { return hy_st_meta(st, META_SPEC); }

// The first line in which two texts differ.
static hy_status compare_spec(const hy_st *st, const hy_model_spec *spec) {
    const char *stored = hy_checkpoint_spec_text(st);
    char *own = hy_model_spec_text(spec);
    hy_status s = HY_OK;
    if (strcmp(own, stored)) {
        const char *a = stored, *b = own;
        size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n");
        while (*a && *b && na == nb && !memcmp(a, b, na)) {
            a += na + (a[na] != 0);
            b += nb + (b[nb] != 0);
            na = strcspn(a, "\n");
            nb = strcspn(b, "\n");
        }
        s = hy_error(HY_EINPUT, "%s: was saved from another model: it has \"%.*s\" where this one has \"%.*s\"",
                     hy_st_path(st), na > 200 ? 200 : (int)na, a, nb > 200 ? 200 : (int)nb, b);
    }
    free(own);
    return s;
}

static bool is_extra(const void *user, const char *name) {
    (void)user;
    return !strncmp(name, HY_CHECKPOINT_EXTRA, strlen(HY_CHECKPOINT_EXTRA));
}

hy_status hy_checkpoint_check(const hy_st *st, const hy_program *p, hy_buf *report) {
    hy_st_want *want = hy_xcalloc((size_t)p->n_params, sizeof *want);
    for (int i = 0; i < p->n_params; i++) {
        snprintf(want[i].name, sizeof want[i].name, "%s", p->params[i].name);
        want[i].ndim = param_shape(&p->params[i], want[i].shape);
    }
    hy_status s = hy_st_match(&st, 1, hy_st_path(st), want, p->n_params, "the model", is_extra, NULL, report);
    free(want);
    return s;
}

#define PIECE ((size_t)1 << 16)  // elements converted at a time: large tensors pass through a small buffer

// m elements of t as element type `to`.
static void convert(const hy_st_tensor *t, size_t first, size_t m, hy_dtype to, void *dst) {
    if (to == HY_F64) {
        hy_st_read_f64(t, first, m, dst);
        return;
    }
    hy_st_read_f32(t, first, m, dst);
    for (size_t i = 0; to == HY_BF16 && i < m; i++) {  // in place: element i lies at or before the float it comes from
        float v;
        memcpy(&v, (char *)dst + i * 4, 4);
        uint16_t h = hy_bf16_from_f32(v);
        memcpy((char *)dst + i * 2, &h, 2);
    }
}

hy_status hy_checkpoint_set(hy_params *w, int param, size_t first, const hy_st_tensor *t, size_t src_first, size_t n) {
    const hy_dtype to = hy_params_dtype(w, param);
    const size_t size = hy_dtype_size(to);
    HY_ASSERT(first <= w->prog->params[param].n && n <= w->prog->params[param].n - first);
    HY_ASSERT(src_first <= t->n && n <= t->n - src_first);
    char *dst = (char *)hy_params_ptr(w, param, false) + first * size;
    hy_params_changed(w);
    if (t->dtype == file_dtype(to)) return w->be->from_host(dst, (const char *)t->data + src_first * size, n * size);
    void *host = hy_alloc((n < PIECE ? n : PIECE) * (to == HY_F64 ? 8 : 4));
    if (!host) return HY_ENOMEM;
    hy_status s = HY_OK;
    for (size_t i = 0; !s && i < n; i += PIECE) {
        const size_t m = n - i < PIECE ? n - i : PIECE;
        convert(t, src_first + i, m, to, host);
        s = w->be->from_host(dst + i * size, host, m * size);
    }
    free(host);
    return s;
}

void hy_checkpoint_keep_types(const hy_st *st, hy_program *p) {
    for (int i = 0; i < p->n_params; i++) {
        const hy_st_tensor *t = hy_st_find(st, p->params[i].name);
        if (t && t->dtype == HY_ST_BF16) hy_program_keep_bf16(p, i);
    }
}

hy_status hy_checkpoint_read(const hy_st *st, hy_params *w, hy_checkpoint_rule rule, hy_buf *report) {
    if (rule == HY_CHECKPOINT_SAME_SPEC) HY_TRY(compare_spec(st, &w->prog->spec));
    HY_TRY(hy_checkpoint_check(st, w->prog, report));
    for (int i = 0; i < w->prog->n_params; i++) {
        const hy_st_tensor *t = hy_st_find(st, w->prog->params[i].name);
        HY_TRY(hy_checkpoint_set(w, i, 0, t, 0, w->prog->params[i].n));
        hy_st_release(t);
    }
    return HY_OK;
}

hy_status hy_checkpoint_read_hashed(const hy_st *st, hy_params *w, char hash[33]) {
    enum { AT_HAND = 1 << 18 };  // elements: what a cache holds
    hash[0] = 0;
    HY_TRY(hy_checkpoint_check(st, w->prog, NULL));
    hy_hasher *h = hy_hasher_new();
    size_t n;
    const void *header = hy_st_header(st, &n);
    hy_status s = HY_OK;
    hy_hasher_add(h, header, n);
    for (int k = 0; !s && k < hy_st_count(st); k++) {  // in the order of the file, which has no holes
        const hy_st_tensor *t = hy_st_at(st, k);
        const size_t size = hy_st_dtype_size(t->dtype);
        const int param = hy_program_find_param(w->prog, t->name);
        for (size_t at = 0; !s && at < t->n; at += AT_HAND) {
            const size_t m = t->n - at < AT_HAND ? t->n - at : AT_HAND;
            hy_hasher_add(h, (const char *)t->data + at * size, m * size);
            if (param >= 0) s = hy_checkpoint_set(w, param, at, t, at, m);
        }
        hy_st_release(t);
    }
    hy_hasher_end(h, hash);
    if (s) hash[0] = 0;
    return s;
}

hy_status hy_checkpoint_load(hy_params *w, const char *path, hy_checkpoint_rule rule) {
    hy_st *st;
    HY_TRY(hy_checkpoint_open(path, &st));
    hy_status s = hy_checkpoint_read(st, w, rule, NULL);
    hy_st_close(st);
    return s;
}
