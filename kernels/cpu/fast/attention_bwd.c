// attention_bwd.c - float32 gradient of attention in tiles: weights are computed again from the saved log-sum-exp, so
// memory is linear in T. Every sum runs over rows, or over key tiles, in ascending order whichever way the work is
// shared out, so the bits do not depend on the number of threads.
#include "kernels/cpu/fast/attention_tile.h"

typedef struct {
    const hy_attention_bwd_args *g;
    head_view h;
    key_list keys;  // entry j is position j
    int rows, row_tiles, key_tiles;
    size_t ldq, ldv;
    float *q, *dout, *dq, *lse, *delta;     // of the head
    float *kt, *vt, *k, *p, *ds, *dk, *dv;  // of the thread
} work;
typedef struct {
    bool keys, queries;  // gradients of keys and values, of queries
} wanted;

static work work_of(const hy_attention_bwd_args *g, const hy_attn_bwd_layout *w, long pair, float *head,
                    float *thread) {
    const hy_attention_args *a = &g->f;
    work x = {.g = g,
              .q = head,
              .dout = head + w->dout,
              .dq = head + w->dq,
              .lse = head + w->lse,
              .delta = head + w->delta,
              .kt = thread,
              .vt = thread + w->vt,
              .k = thread + w->k,
              .p = thread + w->p,
              .ds = thread + w->ds,
              .dk = thread + w->dk,
              .dv = thread + w->dv};
    x.h = view_of(a, (int)(pair / a->kv_heads), (int)(pair % a->kv_heads));
    x.h.pos = 0;
    x.keys = (key_list){a->meta, a->meta, x.h.len};
    x.rows = x.h.len * x.h.group;
    x.row_tiles = (x.rows + SUB - 1) / SUB;
    x.key_tiles = (x.h.len + KEYS - 1) / KEYS;
    x.ldq = hy_attn_pad((size_t)a->d_qk, STRIPE);
    x.ldv = hy_attn_pad((size_t)a->d_v, STRIPE);
    return x;
}
INLINE int row_token(const work *x, int r) { return (r < x->rows ? r : x->rows - 1) / x->h.group; }

INLINE row_span span_at(const work *x, int r) { return span_of(&x->h, &x->keys, row_token(x, r)); }

INLINE float dot(const float *a, const float *b, int n) {
    vf s = v_set(0);
    int i = 0;
    for (; i + VL <= n; i += VL) s += v_load(a + i) * v_load(b + i);
    float sum = hsum(s);
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}
// Rows r0 .. r1-1: queries (scaled), output gradients, log-sum-exp in powers of two, dO.o; query gradients start at 0.
// Rows past the end are zeros and add nothing.
static void prepare(const work *x, int r0, int r1) {
    const hy_attention_args *a = x->h.a;
    for (int r = r0; r < r1; r++) {
        float *q = x->q + (size_t)r * x->ldq, *dout = x->dout + (size_t)r * x->ldv;
        memset(x->dq + (size_t)r * x->ldq, 0, x->ldq * sizeof(float));
        if (r >= x->rows) {
            memset(q, 0, x->ldq * sizeof(float));
            memset(dout, 0, x->ldv * sizeof(float));
            x->lse[r] = x->delta[r] = 0;
            continue;
        }
        size_t head = (size_t)x->h.kvh * x->h.group + r % x->h.group, row = (size_t)x->h.b * a->T + r / x->h.group;
        const float *go = (const float *)x->g->dout + row * x->g->lddo + head * a->d_v;
        const float *src = (const float *)a->q + row * a->ldq + head * a->d_qk;
        const float *o = (const float *)a->o + row * a->ldo + head * a->d_v;
        if (r + 8 * x->h.group < x->rows) {  // eight tokens on
            ask_row(src + 8 * (size_t)a->ldq, a->d_qk);
            ask_row(go + 8 * (size_t)x->g->lddo, a->d_v), ask_row(o + 8 * (size_t)a->ldo, a->d_v);
        }
        pack_row(src, a->d_qk, x->ldq, (float)(a->scale * LOG2E), q);
        pack_row(go, a->d_v, x->ldv, 1.0f, dout);
        x->lse[r] = (float)((double)((const float *)a->saved)[row * a->heads + head] * LOG2E);
        x->delta[r] = dot(go, o, a->d_v);
    }
}

static void load_keys(const work *x, int k0) {
    const hy_attention_args *a = x->h.a;
    int n = x->h.len - k0 < KEYS ? x->h.len - k0 : KEYS;
    const float *k[KEYS], *v[KEYS];
    for (int j = 0; j < KEYS; j++) {  // past the end the last key repeats: it is never seen
        size_t row = (size_t)x->h.b * a->T + k0 + (j < n ? j : n - 1);
        k[j] = (const float *)a->k + row * a->ldk + (size_t)x->h.kvh * a->d_qk;
        v[j] = (const float *)a->v + row * a->ldv + (size_t)x->h.kvh * a->d_v;
        if (j + 8 < n) ask_row(k[j] + 8 * (size_t)a->ldk, a->d_qk), ask_row(v[j] + 8 * (size_t)a->ldv, a->d_v);
        pack_row(k[j], a->d_qk, x->ldq, 1.0f, x->k + j * x->ldq);
    }
    pack_transposed(k, a->d_qk, x->kt);
    pack_transposed(v, a->d_v, x->vt);
}

// One row of a tile: scores become weights p = 2^(s - lse), and ds = p (dO.v - dO.o); ds holds dO.v before.
INLINE void row_gradient(float *p, float *ds, tile_span t, bool masked, row_span span, int k0, float lse, float delta) {
    for (int j = t.lo * STRIPE; j < t.hi * STRIPE; j += VL) {
        vf w = vexp2(v_load(p + j) - v_set(lse)), d = w * (v_load(ds + j) - v_set(delta));
        if (masked) {
            vi seen = span_mask(span, k0 + j);
            w = vbits((vi)w & seen), d = vbits((vi)d & seen);
        }
        v_store(p + j, w);
        v_store(ds + j, d);
    }
    memset(p, 0, (size_t)t.lo * STRIPE * sizeof(float));
    memset(ds, 0, (size_t)t.lo * STRIPE * sizeof(float));
    memset(p + t.hi * STRIPE, 0, (size_t)(KEYS - t.hi * STRIPE) * sizeof(float));
    memset(ds + t.hi * STRIPE, 0, (size_t)(KEYS - t.hi * STRIPE) * sizeof(float));
}

static void drop_weights(const work *x, int r, int k0, tile_span t, float *w) {
    const int at = r < x->rows ? r : x->rows - 1;
    drop_row(&x->h, &x->keys, at / x->h.group, x->h.kvh * x->h.group + at % x->h.group, k0, t.lo * STRIPE,
             t.hi * STRIPE, w);
}

// Weights and score gradients of SUB rows from r0 against the keys from k0; t tells what each group of MR rows sees.
SHARED void tile_weights(const work *x, int r0, int k0, tile_span t[SUB / MR]) {
    const hy_attention_args *a = x->h.a;
    for (int g = 0; g < SUB / MR; g++) {
        int r = r0 + g * MR;
        t[g] = (tile_span){0};
        if (r < x->rows) t[g] = tile_of(span_at(x, r), span_at(x, r + MR - 1), k0);
        float *p = x->p + (size_t)g * MR * KEYS, *ds = x->ds + (size_t)g * MR * KEYS;
        int lo = t[g].lo * STRIPE, stripes = t[g].hi - t[g].lo;
        if (stripes) {
            mm_fresh(stripes, a->d_qk, x->q + (size_t)r * x->ldq, x->ldq, x->kt + lo, KEYS, p + lo, KEYS);
            mm_fresh(stripes, a->d_v, x->dout + (size_t)r * x->ldv, x->ldv, x->vt + lo, KEYS, ds + lo, KEYS);
        }
        for (int i = 0; i < MR; i++) {
            float *pi = p + i * KEYS, *di = ds + i * KEYS, lse = x->lse[r + i], delta = x->delta[r + i];
            if (a->drop.key) drop_weights(x, r + i, k0, t[g], di);  // of dO.v
            if (t[g].full)
                row_gradient(pi, di, t[g], false, (row_span){0}, k0, lse, delta);
            else
                row_gradient(pi, di, t[g], true, span_at(x, r + i), k0, lse, delta);
            if (a->drop.key) drop_weights(x, r + i, k0, t[g], pi);
        }
    }
}

// dK += ds^T q, dV += p^T dO for groups of MR keys, over those rows that see any of the group's stripes.
static void add_key_gradients(const work *x, int r0, const tile_span t[SUB / MR]) {
    for (int j = 0; j < KEYS; j += MR) {
        int s0 = j / STRIPE, s1 = (j + MR - 1) / STRIPE, first = SUB / MR, last = -1;
        for (int g = 0; g < SUB / MR; g++)
            if (t[g].lo <= s1 && t[g].hi > s0) {
                if (first > g) first = g;
                last = g;
            }
        if (last < 0) continue;
        int n = (last + 1 - first) * MR, skip = first * MR;
        mm_add_t((int)(x->ldq / STRIPE), n, x->ds + (size_t)skip * KEYS + j, KEYS, x->q + (size_t)(r0 + skip) * x->ldq,
                 x->ldq, x->dk + (size_t)j * x->ldq, x->ldq);
        mm_add_t((int)(x->ldv / STRIPE), n, x->p + (size_t)skip * KEYS + j, KEYS,
                 x->dout + (size_t)(r0 + skip) * x->ldv, x->ldv, x->dv + (size_t)j * x->ldv, x->ldv);
    }
}
static void add_query_gradients(const work *x, int r0, const tile_span t[SUB / MR]) {
    for (int g = 0; g < SUB / MR; g++) {
        int first = t[g].first, n = t[g].last - first;
        if (n)
            mm_add((int)(x->ldq / STRIPE), n, x->ds + (size_t)g * MR * KEYS + first, KEYS,
                   x->k + (size_t)first * x->ldq, x->ldq, x->dq + (size_t)(r0 + g * MR) * x->ldq, x->ldq);
    }
}

INLINE void put(float *dst, const float *src, int n, float scale, bool add) {
    if (add)
        for (int i = 0; i < n; i++) dst[i] += src[i] * scale;
    else
        for (int i = 0; i < n; i++) dst[i] = src[i] * scale;
}
static void store_keys(const work *x, int k0) {
    const hy_attention_bwd_args *g = x->g;
    const hy_attention_args *a = &g->f;
    int n = x->h.len - k0 < KEYS ? x->h.len - k0 : KEYS;
    for (int j = 0; j < n; j++) {
        size_t row = (size_t)x->h.b * a->T + k0 + j;
        // the packed queries hold scale * log2(e)
        if (g->dk)
            put((float *)g->dk + row * g->lddk + (size_t)x->h.kvh * a->d_qk, x->dk + j * x->ldq, a->d_qk, (float)LN2,
                g->acc & 2);
        if (g->dv)
            put((float *)g->dv + row * g->lddv + (size_t)x->h.kvh * a->d_v, x->dv + j * x->ldv, a->d_v, 1.0f,
                g->acc & 4);
    }
}
static void store_queries(const work *x, int r0, int r1) {
    const hy_attention_bwd_args *g = x->g;
    const hy_attention_args *a = &g->f;
    for (int r = r0; r < r1 && r < x->rows; r++) {
        size_t head = (size_t)x->h.kvh * x->h.group + r % x->h.group, row = (size_t)x->h.b * a->T + r / x->h.group;
        put((float *)g->dq + row * g->lddq + head * a->d_qk, x->dq + (size_t)r * x->ldq, a->d_qk, (float)a->scale,
            g->acc & 1);
    }
}

// Key tiles k0 .. k1-1 against row tiles r0 .. r1-1.
static void sweep(const work *x, int k0, int k1, int r0, int r1, wanted want) {
    const hy_attention_args *a = x->h.a;
    for (int kt = k0; kt < k1; kt++) {
        int key = kt * KEYS, from = (int)((long)key * x->h.group / SUB), to = x->row_tiles;
        if (a->window > 0 && key >= a->meta && (long)key + KEYS + a->window < x->h.len)
            to = (int)(((long)key + KEYS + a->window) * x->h.group / SUB + 1);
        if (from < r0) from = r0;
        if (to > r1) to = r1;
        if (from < to) load_keys(x, key);
        if (want.keys) {
            memset(x->dk, 0, HY_ATTN_GRAD_KEYS * x->ldq * sizeof(float));
            memset(x->dv, 0, HY_ATTN_GRAD_KEYS * x->ldv * sizeof(float));
        }
        for (int rt = from; rt < to; rt++) {
            tile_span t[SUB / MR];
            tile_weights(x, rt * SUB, key, t);
            if (want.keys) add_key_gradients(x, rt * SUB, t);
            if (want.queries) add_query_gradients(x, rt * SUB, t);
        }
        if (want.keys) store_keys(x, key);
    }
}

// Padding tokens get no gradient.
static void clear_padding(const hy_attention_bwd_args *g, int b) {
    const hy_attention_args *a = &g->f;
    for (int t = a->len[b]; t < a->T; t++) {
        size_t row = (size_t)b * a->T + t;
        if (g->dq && !(g->acc & 1))
            memset((float *)g->dq + row * g->lddq, 0, (size_t)a->heads * a->d_qk * sizeof(float));
        if (g->dk && !(g->acc & 2))
            memset((float *)g->dk + row * g->lddk, 0, (size_t)a->kv_heads * a->d_qk * sizeof(float));
        if (g->dv && !(g->acc & 4))
            memset((float *)g->dv + row * g->lddv, 0, (size_t)a->kv_heads * a->d_v * sizeof(float));
    }
}

enum { BLOCK = HY_ATTN_ROWS / SUB };  // row tiles of an item: they share packed keys
typedef struct {
    const hy_attention_bwd_args *g;
    hy_attn_bwd_layout w;
    float *mem;
    wanted want;
    long pairs, tiles, blocks;  // sequences and KV heads; key tiles and blocks of rows of the longest
} backward;

// A thread takes whole heads.
static void run_heads(const void *ctx, long from, long to, int thread) {
    const backward *c = ctx;
    const hy_attn_bwd_layout *w = &c->w;
    for (long n = from; n < to; n++) {
        const work x = work_of(c->g, w, n, c->mem + (size_t)thread * w->head,
                               c->mem + w->heads * w->head + (size_t)thread * w->thread);
        prepare(&x, 0, x.row_tiles * SUB);
        sweep(&x, 0, x.key_tiles, 0, x.row_tiles, c->want);
        if (c->want.queries) store_queries(&x, 0, x.rows);
    }
}

// Threads share a head: first all is prepared, then its key tiles are shared out, and blocks of its rows.
static work split_work(const backward *c, long n, int thread) {
    const hy_attn_bwd_layout *w = &c->w;
    return work_of(c->g, w, n % c->pairs, c->mem + (size_t)(n % c->pairs) * w->head,
                   c->mem + w->heads * w->head + (size_t)thread * w->thread);
}
static void prepare_blocks(const void *ctx, long from, long to, int thread) {
    const backward *c = ctx;
    for (long n = from; n < to; n++) {
        const work x = split_work(c, n, thread);
        const int r0 = (int)(n / c->pairs) * BLOCK, r1 = r0 + BLOCK < x.row_tiles ? r0 + BLOCK : x.row_tiles;
        if (r0 < r1) prepare(&x, r0 * SUB, r1 * SUB);
    }
}
static void sweep_parts(const void *ctx, long from, long to, int thread) {
    const backward *c = ctx;
    const long keys = c->want.keys ? c->pairs * c->tiles : 0;
    for (long n = from; n < to; n++) {
        if (n < keys) {  // early keys first: most rows see them
            const work x = split_work(c, n, thread);
            const int k = (int)(n / c->pairs);
            if (k < x.key_tiles) sweep(&x, k, k + 1, 0, x.row_tiles, (wanted){.keys = true});
        } else {  // late rows first: they see most keys
            const work x = split_work(c, n - keys, thread);
            const int r0 = (int)(c->blocks - 1 - (n - keys) / c->pairs) * BLOCK,
                      r1 = r0 + BLOCK < x.row_tiles ? r0 + BLOCK : x.row_tiles;
            if (r0 >= r1) continue;
            sweep(&x, 0, x.key_tiles, r0, r1, (wanted){.queries = true});
            store_queries(&x, r0 * SUB, r1 * SUB);
        }
    }
}

hy_status HY_FAST(hy_fast_attention_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_bwd_args *g = args;
    HY_TRY(hy_cpu_attention_check_data(&g->f));
    backward c = {.g = g,
                  .w = hy_attn_bwd_sizes(&g->f, req->threads),
                  .mem = ws,
                  .want = {.keys = g->dk || g->dv, .queries = g->dq},
                  .pairs = (long)g->f.B * g->f.kv_heads,
                  .tiles = (g->f.T + KEYS - 1) / KEYS};
    c.blocks = (long)(c.w.rows / SUB + BLOCK - 1) / BLOCK;
    const int threads = threads_for(&g->f, req->threads);
    if (c.w.split) {
        hy_parallel(threads, c.pairs * c.blocks, 1, prepare_blocks, &c);
        hy_parallel(threads, c.pairs * ((c.want.keys ? c.tiles : 0) + (c.want.queries ? c.blocks : 0)), 1, sweep_parts,
                    &c);
    } else {
        hy_parallel(threads, c.pairs, 1, run_heads, &c);
    }
    for (int b = 0; b < g->f.B; b++) clear_padding(g, b);
    return HY_OK;
}
