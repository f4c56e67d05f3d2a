// attention.c - float32 attention forward in tiles with a running softmax (Dao 2022, "FlashAttention"); nothing of
// size T x T is held. Sequences with one token go to the decode path (fast_attention_decode.h). Bits of a sequence
// depend on its own positions and shape only: see attention.h.
#include <math.h>

#include "kernels/cpu/fast/attention_decode.h"
#include "kernels/cpu/fast/attention_tile.h"

typedef struct {
    head_view h;
    key_list keys;
    int row0, rows;   // rows of this item
    size_t ldq, ldv;  // padded widths
    float *q, *o, *kt, *v, *s, *m, *corr, *l;
} item;

INLINE int row_position(const item *it, int r) {  // rows past the end repeat the last
    if (r >= it->rows) r = it->rows - 1;
    return it->h.pos + (it->row0 + r) / it->h.group;
}

INLINE row_span span_at(const item *it, int r) { return span_of(&it->h, &it->keys, row_position(it, r)); }

static void load_queries(item *it) {
    const hy_attention_args *a = it->h.a;
    float scale = (float)(a->scale * LOG2E);
    int padded = (int)hy_attn_pad((size_t)it->rows, SUB);
    for (int r = 0; r < it->rows; r++) {
        int t = (it->row0 + r) / it->h.group, head = it->h.kvh * it->h.group + (it->row0 + r) % it->h.group;
        const float *q = (const float *)a->q + ((size_t)it->h.b * a->T + t) * a->ldq + (size_t)head * a->d_qk;
        if (r + 8 * it->h.group < it->rows)  // eight tokens on
            ask_row(q + 8 * (size_t)a->ldq, a->d_qk);
        pack_row(q, a->d_qk, it->ldq, scale, it->q + r * it->ldq);
    }
    memset(it->q + it->rows * it->ldq, 0, (size_t)(padded - it->rows) * it->ldq * sizeof(float));
    memset(it->o, 0, (size_t)padded * it->ldv * sizeof(float));
    for (int r = 0; r < padded; r++) it->m[r] = HIDDEN_SCORE;
    memset(it->l, 0, (size_t)padded * STRIPE * sizeof(float));
}

// Entries j0 .. j0+KEYS-1 of the key list; past its end keys repeat (they are never seen) and values are 0.
static void load_keys(item *it, int j0) {
    const hy_attention_args *a = it->h.a;
    const float *row[KEYS];
    int n = it->keys.n - j0 < KEYS ? it->keys.n - j0 : KEYS;
    for (int j = 0; j < n; j++) {
        const float *v;
        key_rows(&it->h, list_position(&it->keys, j0 + j), &row[j], &v);
        pack_row(v, a->d_v, it->ldv, 1.0f, it->v + j * it->ldv);
    }
    for (int j = n; j < KEYS; j++) row[j] = row[n - 1];
    memset(it->v + n * it->ldv, 0, (size_t)(KEYS - n) * it->ldv * sizeof(float));
    pack_transposed(row, a->d_qk, it->kt);
}

// Asks for K and V of entries j .. j+n-1.
INLINE void ask_keys(const item *it, int j, int n) {
    const hy_attention_args *a = it->h.a;
    for (int end = j + n < it->keys.n ? j + n : it->keys.n; j < end; j++) {
        const float *k, *v;
        key_rows(&it->h, list_position(&it->keys, j), &k, &v);
        ask_row(k, a->d_qk), ask_row(v, a->d_v);
    }
}

// New maximum of one row of scores; scores that the row does not see become HIDDEN_SCORE.
INLINE float row_max(float *s, tile_span t, bool masked, row_span span, int j0, float m) {
    vf top = v_set(m);
    for (int j = t.lo * STRIPE; j < t.hi * STRIPE; j += VL) {
        vf x = v_load(s + j);
        if (masked) {
            vi seen = span_mask(span, j0 + j);
            x = vbits(((vi)x & seen) | ((vi)v_set(HIDDEN_SCORE) & ~seen));
            v_store(s + j, x);
        }
        top = vmax(top, x);
    }
    return hmax(top);
}
// Scores become weights 2^(s - m); returns their sum by lane.
INLINE vf row_weights(float *s, tile_span t, bool masked, float m) {
    vf sum = v_set(0), top = v_set(m);
    for (int j = t.lo * STRIPE; j < t.hi * STRIPE; j += VL) {
        vf x = v_load(s + j), p = vexp2(x - top);
        if (masked) p = vbits((vi)p & ~(vi)(x <= v_set(HIDDEN_SCORE)));
        v_store(s + j, p);
        sum += p;
    }
    return sum;
}

// Dropout of the weights of row r, whose sum is taken already. Rows past the end repeat the last; nobody reads them.
static void drop_weights(const item *it, int r, int j0, tile_span t, float *s) {
    const int at = it->row0 + (r < it->rows ? r : it->rows - 1);
    drop_row(&it->h, &it->keys, at / it->h.group, it->h.kvh * it->h.group + at % it->h.group, j0, t.lo * STRIPE,
             t.hi * STRIPE, s);
}

// SUB rows from r0 against the tile at j0: scores, weights, and their values added to the output sums.
static void attend_tile(item *it, int r0, int j0) {
    const hy_attention_args *a = it->h.a;
    tile_span t[SUB / MR];
    float top[SUB], *m = it->m + r0;
    int groups = (it->rows - r0 < SUB ? it->rows - r0 : SUB);
    groups = (groups + MR - 1) / MR;
    for (int i = 0; i < SUB; i++) top[i] = m[i];
    for (int g = 0; g < groups; g++) {
        int r = r0 + g * MR;
        enum { SHARE = KEYS * MR / HY_ATTN_ROWS };  // every group of rows asks for its share of the next tile
        ask_keys(it, j0 + KEYS + (r0 / MR + g) * SHARE, SHARE);
        t[g] = tile_of(span_at(it, r), span_at(it, r + MR - 1), j0);
        if (t[g].lo == t[g].hi) continue;
        float *s = it->s + (size_t)g * MR * KEYS;
        mm_fresh(t[g].hi - t[g].lo, a->d_qk, it->q + (size_t)r * it->ldq, it->ldq, it->kt + t[g].lo * STRIPE, KEYS,
                 s + t[g].lo * STRIPE, KEYS);
        for (int i = 0; i < MR; i++) {
            float was = m[g * MR + i];
            top[g * MR + i] = t[g].full ? row_max(s + i * KEYS, t[g], false, (row_span){0}, j0, was)
                                        : row_max(s + i * KEYS, t[g], true, span_at(it, r + i), j0, was);
        }
    }
    for (int i = 0; i < SUB; i += VL) {
        v_store(it->corr + i, vexp2(v_load(m + i) - v_load(top + i)));
        v_store(m + i, v_load(top + i));
    }
    for (int g = 0; g < groups; g++) {
        if (t[g].lo == t[g].hi) continue;
        float *s = it->s + (size_t)g * MR * KEYS;
        for (int i = 0; i < MR; i++) {
            float *l = it->l + (size_t)(r0 + g * MR + i) * VL;
            vf sum = t[g].full ? row_weights(s + i * KEYS, t[g], false, m[g * MR + i])
                               : row_weights(s + i * KEYS, t[g], true, m[g * MR + i]);
            v_store(l, v_load(l) * it->corr[g * MR + i] + sum);
            if (a->drop.key) drop_weights(it, r0 + g * MR + i, j0, t[g], s + i * KEYS);
        }
    }
    for (int g = 0; g < groups; g++) {
        if (t[g].lo == t[g].hi) continue;
        mm_rescale((int)(it->ldv / STRIPE), t[g].last - t[g].first, it->s + (size_t)g * MR * KEYS + t[g].first, KEYS,
                   it->v + (size_t)t[g].first * it->ldv, it->ldv, it->o + (size_t)(r0 + g * MR) * it->ldv, it->ldv,
                   it->corr + g * MR);
    }
}

static void store_rows(const item *it) {
    const hy_attention_args *a = it->h.a;
    for (int r = 0; r < it->rows; r++) {
        int t = (it->row0 + r) / it->h.group, head = it->h.kvh * it->h.group + (it->row0 + r) % it->h.group;
        size_t row = (size_t)it->h.b * a->T + t;
        float sum = hsum(v_load(it->l + (size_t)r * VL)), inv = 1.0f / sum;
        float *o = (float *)a->o + row * a->ldo + (size_t)head * a->d_v;
        const float *src = it->o + (size_t)r * it->ldv;
        for (int c = 0; c < a->d_v; c++) o[c] = src[c] * inv;
        if (a->saved) ((float *)a->saved)[row * a->heads + head] = (float)((it->m[r] + log2((double)sum)) * LN2);
    }
}

static void run_item(const hy_attention_args *a, const hy_attn_fwd_layout *w, float *mem, int b, int kvh, int i) {
    item it = {.h = view_of(a, b, kvh),
               .q = mem,
               .o = mem + w->o,
               .kt = mem + w->kt,
               .v = mem + w->v,
               .s = mem + w->s,
               .m = mem + w->m,
               .corr = mem + w->corr,
               .l = mem + w->l};
    it.ldq = hy_attn_pad((size_t)a->d_qk, STRIPE);
    it.ldv = hy_attn_pad((size_t)a->d_v, STRIPE);
    it.row0 = i * HY_ATTN_ROWS;
    it.rows = it.h.len * it.h.group - it.row0;
    if (it.rows > HY_ATTN_ROWS) it.rows = HY_ATTN_ROWS;
    it.keys = keys_of(&it.h, row_position(&it, 0), row_position(&it, it.rows - 1));
    ask_keys(&it, 0, KEYS);
    load_queries(&it);
    for (int j0 = 0; j0 < it.keys.n; j0 += KEYS) {
        load_keys(&it, j0);
        for (int r0 = 0; r0 < it.rows; r0 += SUB) attend_tile(&it, r0, j0);
    }
    store_rows(&it);
}

// Queries of one token, outside of dropout, have a path of their own.
static bool decodes(const hy_attention_args *a, int b) { return a->len[b] == 1 && !a->drop.key; }

// Padding tokens give 0.
static void clear_padding(const hy_attention_args *a, int b) {
    for (int t = a->len[b]; t < a->T; t++) {
        size_t row = (size_t)b * a->T + t;
        memset((float *)a->o + row * a->ldo, 0, (size_t)a->heads * a->d_v * sizeof(float));
        if (a->saved) memset((float *)a->saved + row * a->heads, 0, (size_t)a->heads * sizeof(float));
    }
}
static int items_of(const hy_attention_args *a, int b) {
    const head_view h = view_of(a, b, 0);
    if (decodes(a, b)) return decode_ranges(&h, 0);
    return (int)(((size_t)a->len[b] * (a->heads / a->kv_heads) + HY_ATTN_ROWS - 1) / HY_ATTN_ROWS);
}

typedef struct {
    const hy_attention_args *a;
    hy_attn_fwd_layout w;
    float *mem, *parts;  // of threads; of ranges of one-token queries
    long pairs;          // sequences and KV heads
    int most;            // items of the longest sequence
} forward;
static head_view pair_view(const forward *f, long pair) {
    return view_of(f->a, (int)(pair / f->a->kv_heads), (int)(pair % f->a->kv_heads));
}
static void run_items(const void *ctx, long from, long to, int thread) {
    const forward *f = ctx;
    const hy_attention_args *a = f->a;
    float *mine = f->mem + (size_t)thread * f->w.thread;
    for (long n = from; n < to; n++) {  // late rows first: they see most keys
        const long pair = n % f->pairs;
        const head_view h = pair_view(f, pair);
        const int i = f->most - 1 - (int)(n / f->pairs);
        if (i >= items_of(a, h.b)) continue;
        if (decodes(a, h.b))
            decode_range(&h, 0, mine, f->parts + ((size_t)pair * f->w.ranges + (size_t)i) * f->w.part, i);
        else
            run_item(a, &f->w, mine, h.b, h.kvh, i);
    }
}
static void finish_heads(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const forward *f = ctx;
    const hy_attention_args *a = f->a;
    for (long n = from; n < to; n++) {
        const head_view h = pair_view(f, n);
        if (decodes(a, h.b)) decode_join(&h, 0, &f->w, f->parts + (size_t)n * f->w.ranges * f->w.part);
        if (h.kvh == 0) clear_padding(a, h.b);
    }
}

// By token: every query as in decoding, all its ranges by one thread.
static void run_tokens(const void *ctx, long from, long to, int thread) {
    const forward *f = ctx;
    float *mine = f->mem + (size_t)thread * f->w.thread, *part = f->parts + (size_t)thread * f->w.ranges * f->w.part;
    for (long n = from; n < to; n++) {
        const head_view h = pair_view(f, n % f->pairs);
        const int t = f->a->T - 1 - (int)(n / f->pairs);
        if (t == 0 && h.kvh == 0) clear_padding(f->a, h.b);
        if (t >= h.len) continue;
        for (int i = 0; i < decode_ranges(&h, t); i++) decode_range(&h, t, mine, part + (size_t)i * f->w.part, i);
        decode_join(&h, t, &f->w, part);
    }
}

hy_status HY_FAST(hy_fast_attention)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_attention_args *a = args;
    HY_TRY(hy_cpu_attention_check_data(a));
    forward f = {.a = a, .w = hy_attn_fwd_sizes(a, req), .mem = ws, .pairs = (long)a->B * a->kv_heads};
    f.parts = f.mem + (size_t)req->threads * f.w.thread;
    if (req->by_token) {
        HY_ASSERT(!a->drop.key);
        hy_parallel(threads_for(a, req->threads), f.pairs * a->T, 1, run_tokens, &f);
        return HY_OK;
    }
    for (int b = 0; b < a->B; b++)
        if (items_of(a, b) > f.most) f.most = items_of(a, b);
    hy_parallel(threads_for(a, req->threads), f.pairs * f.most, 1, run_items, &f);
    const size_t to_join = (size_t)f.pairs * f.w.ranges * f.w.part, padded = (size_t)a->B * a->T * a->heads * a->d_v;
    hy_parallel(hy_cpu_threads(req, to_join > padded ? to_join : padded), f.pairs, 0, finish_heads, &f);
    return HY_OK;
}
