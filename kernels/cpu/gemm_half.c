// gemm_half.c - see gemm_half.h. oneDNN's matrix product, which takes AMX tiles where there are some and AVX512_BF16
// else. Making one costs as much as a product of a few million terms, so each thread keeps those that it made.
#include "kernels/cpu/gemm_half.h"

#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"

#define SETS 64  // of kept products; a shape may stand in any place of its set
#define WAYS 4

typedef struct {
    hy_half_shape shape;
    dnnl_primitive_t product;  // NULL: an empty place
    dnnl_memory_t a, b, c;
} kept;
typedef struct {
    dnnl_stream_t stream;
    kept v[SETS][WAYS];
    unsigned char next[SETS];  // the place that is given up next
} keeper;

static dnnl_engine_t engine;
static pthread_key_t keepers;
static bool ready;

static void forget(kept *k) {
    if (k->a) dnnl_memory_destroy(k->a);
    if (k->b) dnnl_memory_destroy(k->b);
    if (k->c) dnnl_memory_destroy(k->c);
    if (k->product) dnnl_primitive_destroy(k->product);
    *k = (kept){0};
}
static void thread_ends(void *p) {
    keeper *all = p;
    for (int i = 0; i < SETS; i++)
        for (int w = 0; w < WAYS; w++) forget(&all->v[i][w]);
    if (all->stream) dnnl_stream_destroy(all->stream);
    free(all);
}
static void start(void) {
    ready = dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success && pthread_key_create(&keepers, thread_ends) == 0;
}

static keeper *own_keeper(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    keeper *all = ready ? pthread_getspecific(keepers) : NULL;
    if (!ready || all) return all;
    all = calloc(1, sizeof *all);
    if (!all) return NULL;
    if (dnnl_stream_create(&all->stream, engine, dnnl_stream_default_flags) == dnnl_success &&
        pthread_setspecific(keepers, all) == 0)
        return all;
    thread_ends(all);
    return NULL;
}

// ---------------------------------------------------------------------------------------------------- making one
static dnnl_status_t matrix(dnnl_memory_desc_t *out, int rows, int cols, int ld, bool transposed,
                            dnnl_data_type_t type) {
    const dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return dnnl_memory_desc_init_by_strides(out, 2, dims, type, strides);
}

static dnnl_status_t describe(const hy_half_shape *s, dnnl_memory_desc_t d[3], dnnl_matmul_desc_t *out) {
    dnnl_status_t r = matrix(&d[0], s->m, s->k, s->lda, s->trans_a, dnnl_bf16);
    if (!r) r = matrix(&d[1], s->k, s->n, s->ldb, s->trans_b, dnnl_bf16);
    if (!r) r = matrix(&d[2], s->m, s->n, s->ldc, false, dnnl_f32);
    return r ? r : dnnl_matmul_desc_init(out, &d[0], &d[1], NULL, &d[2]);
}

static dnnl_status_t make_product(const hy_half_shape *s, const dnnl_matmul_desc_t *d, dnnl_primitive_t *out) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t r = dnnl_primitive_attr_create(&attr);
    if (!r) r = dnnl_post_ops_create(&ops);
    if (!r && s->add) r = dnnl_post_ops_append_sum(ops, 1.0f);
    if (!r) r = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (!r) r = dnnl_primitive_desc_create(&pd, d, attr, engine, NULL);
    if (!r) r = dnnl_primitive_create(out, pd);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (ops) dnnl_post_ops_destroy(ops);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return r;
}

static dnnl_status_t make(const hy_half_shape *s, kept *out) {
    dnnl_memory_desc_t d[3];
    dnnl_matmul_desc_t desc;
    dnnl_status_t r = describe(s, d, &desc);
    if (!r) r = make_product(s, &desc, &out->product);
    if (!r) r = dnnl_memory_create(&out->a, &d[0], engine, DNNL_MEMORY_NONE);
    if (!r) r = dnnl_memory_create(&out->b, &d[1], engine, DNNL_MEMORY_NONE);
    if (!r) r = dnnl_memory_create(&out->c, &d[2], engine, DNNL_MEMORY_NONE);
    if (r)
        forget(out);
    else
        out->shape = *s;
    return r;
}

// ---------------------------------------------------------------------------------------------------- running one
static bool same(const hy_half_shape *x, const hy_half_shape *y) {
    return x->m == y->m && x->n == y->n && x->k == y->k && x->lda == y->lda && x->ldb == y->ldb && x->ldc == y->ldc &&
           x->trans_a == y->trans_a && x->trans_b == y->trans_b && x->add == y->add;
}
static unsigned set_of(const hy_half_shape *s) {
    const int v[] = {s->m, s->n, s->k, s->lda, s->ldb, s->ldc, s->trans_a * 4 + s->trans_b * 2 + s->add};
    unsigned h = 2166136261u;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) h = (h ^ (unsigned)v[i]) * 16777619u;
    return (h ^ h >> 16) % SETS;
}

static kept *find(keeper *all, const hy_half_shape *s, dnnl_status_t *status) {
    const unsigned set = set_of(s);
    *status = dnnl_success;
    for (int w = 0; w < WAYS; w++)
        if (all->v[set][w].product && same(&all->v[set][w].shape, s)) return &all->v[set][w];
    kept *k = &all->v[set][all->next[set]++ % WAYS];
    forget(k);
    *status = make(s, k);
    return k;
}

int hy_half_product(const hy_half_shape *s, const uint16_t *a, const uint16_t *b, float *c) {
    keeper *all = own_keeper();
    if (!all) return HY_GEMM_NO_MEMORY;
    dnnl_status_t r;
    const kept *k = find(all, s, &r);
    if (!r) r = dnnl_memory_set_data_handle(k->a, (void *)(uintptr_t)a);
    if (!r) r = dnnl_memory_set_data_handle(k->b, (void *)(uintptr_t)b);
    if (!r) r = dnnl_memory_set_data_handle(k->c, c);
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, r ? NULL : k->a}, {DNNL_ARG_WEIGHTS, r ? NULL : k->b}, {DNNL_ARG_DST, r ? NULL : k->c}};
    if (!r) r = dnnl_primitive_execute(k->product, all->stream, 3, args);
    if (!r) r = dnnl_stream_wait(all->stream);
    return r == dnnl_success ? 0 : r == dnnl_out_of_memory ? HY_GEMM_NO_MEMORY : HY_GEMM_REFUSED;
}
