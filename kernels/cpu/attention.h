// attention.h - what the plans of attention (attention.c) and its float32 kernels (fast_attention*.c) agree on: sizes
// of tiles and of scratch memory. No arithmetic.
//
// Rows. For one sequence and one KV head the `group` query heads that read it are taken together: row r is token
// r / group, head r % group of the group. All partitions below are by shape and by the sequence's own positions alone,
// so that the bits of a sequence depend neither on the number of threads nor on what else is in the batch.
#ifndef HY_CPU_ATTN_H
#define HY_CPU_ATTN_H
#include "kernels/cpu/cpu.h"

enum {
    HY_ATTN_STRIPE = 16,  // keys or channels are padded to this: one 512-bit vector
    HY_ATTN_KEYS = 64,    // keys of a tile
    HY_ATTN_SUB = 48,     // rows whose scores are held at once: a multiple of every micro-kernel's rows
    HY_ATTN_ROWS = 192,   // rows of a forward work item: they share packed key tiles
    HY_ATTN_RANGE = 256,  // keys of a decode work item
    HY_ATTN_GRAD_KEYS = HY_ATTN_KEYS + 2,  // the keys of a tile rounded up to the rows of the micro-kernel
};
static inline size_t hy_attn_pad(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Forward scratch, in floats. A thread: packed queries, output sums, packed keys and values, scores, softmax
// statistics.
typedef struct {
    size_t q, o, kt, v, s, m, corr, l, thread;  // offsets; thread: floats of one thread
    size_t ranges, part;  // decode: most key ranges of a query; floats of one range's partial result
    size_t parts;         // floats of all partial results
    size_t bytes;
} hy_attn_fwd_layout;
static inline hy_attn_fwd_layout hy_attn_fwd_sizes(const hy_attention_args *a, const hy_plan_req *req) {
    hy_attn_fwd_layout w = {0};
    size_t dq = hy_attn_pad((size_t)a->d_qk, HY_ATTN_STRIPE), dv = hy_attn_pad((size_t)a->d_v, HY_ATTN_STRIPE);
    size_t group = (size_t)(a->heads / a->kv_heads), tiled;
    w.o = HY_ATTN_ROWS * dq;
    w.kt = w.o + HY_ATTN_ROWS * dv;
    w.v = w.kt + HY_ATTN_KEYS * dq;
    w.s = w.v + HY_ATTN_KEYS * dv;
    w.m = w.s + HY_ATTN_SUB * HY_ATTN_KEYS;
    w.corr = w.m + HY_ATTN_ROWS;
    w.l = w.corr + HY_ATTN_SUB;
    tiled = w.l + HY_ATTN_ROWS * HY_ATTN_STRIPE;
    size_t decode = group * (dq + HY_ATTN_RANGE);  // queries and scores of a decode item
    w.thread = tiled > decode ? tiled : decode;
    const size_t keys = (a->cache.k ? (size_t)a->cache.cap : 0) + (req->by_token ? (size_t)a->T : 1);
    w.ranges = (keys + HY_ATTN_RANGE - 1) / HY_ATTN_RANGE;
    w.part = hy_attn_pad(group * (dv + 2), HY_ATTN_STRIPE);
    // By token a thread does all ranges of its query; else they are shared out, and joined at the end.
    w.parts = (req->by_token ? (size_t)req->threads : (size_t)a->B * a->kv_heads) * w.ranges * w.part;
    w.bytes = ((size_t)req->threads * w.thread + w.parts) * sizeof(float);
    return w;
}

// Backward scratch, in floats. A head (one sequence and KV head): packed queries, output gradients, query gradients and
// two numbers a row. A thread: packed keys and values, weights and score gradients of a tile, gradients of its keys.
// `split`: there are too few heads for the threads, so keys and rows are shared out too (7 products a tile instead of
// 5; the same bits).
typedef struct {
    size_t dout, dq, lse, delta, head;
    size_t vt, k, p, ds, dk, dv, thread;
    size_t rows, heads;  // padded rows of a head; heads held at once
    bool split;
    size_t bytes;
} hy_attn_bwd_layout;
static inline hy_attn_bwd_layout hy_attn_bwd_sizes(const hy_attention_args *a, int threads) {
    hy_attn_bwd_layout w = {0};
    size_t dq = hy_attn_pad((size_t)a->d_qk, HY_ATTN_STRIPE), dv = hy_attn_pad((size_t)a->d_v, HY_ATTN_STRIPE);
    size_t pairs = (size_t)a->B * a->kv_heads, n = (size_t)threads, tile = HY_ATTN_SUB * HY_ATTN_KEYS + HY_ATTN_STRIPE;
    w.rows = hy_attn_pad((size_t)a->T * (a->heads / a->kv_heads), HY_ATTN_SUB);
    w.dout = w.rows * dq;
    w.dq = w.dout + w.rows * dv;
    w.lse = w.dq + w.rows * dq;
    w.delta = w.lse + w.rows;
    w.head = w.delta + w.rows;
    w.vt = HY_ATTN_KEYS * dq;
    w.k = w.vt + HY_ATTN_KEYS * dv;
    w.p = w.k + HY_ATTN_KEYS * dq;
    w.ds = w.p + tile;
    w.dk = w.ds + tile;
    w.dv = w.dk + HY_ATTN_GRAD_KEYS * dq;
    w.thread = w.dv + HY_ATTN_GRAD_KEYS * dv;
    w.split = 7 * pairs < 5 * n * ((pairs + n - 1) / n);
    w.heads = w.split ? pairs : n;
    w.bytes = (w.heads * w.head + n * w.thread) * sizeof(float);
    return w;
}

HY_FAST_DECLARE(hy_fast_attention)
HY_FAST_DECLARE(hy_fast_attention_bwd)
HY_FAST_DECLARE(hy_fast_kv_append)
#endif
