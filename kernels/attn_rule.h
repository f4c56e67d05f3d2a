// attn_rule.h - which key a query sees, and where a cached key lives. The only statement of both rules: kernels,
// caches, formulas and analyses include it.
//
// Positions count meta tokens: meta tokens hold 0 .. meta-1, text starts at position meta (paper section 2.2, eq. 4).
// A global layer (window 0) sees every key up to itself. A window layer sees itself, the `window` positions before it,
// and every meta token.
#ifndef HY_ATTN_RULE_H
#define HY_ATTN_RULE_H
#include <stdbool.h>
#ifdef __CUDACC__
    #define HY_ATTN_RULE static inline __host__ __device__
#else
    #define HY_ATTN_RULE static inline
#endif

HY_ATTN_RULE bool hy_attn_visible(int q, int k, int window, int meta) {
    return k <= q && (window == 0 || q - k <= window || k < meta);
}

// First non-meta position that the query at position q sees by its window (at least `meta`, so that meta keys are
// visited once: keys 0 .. min(meta, q+1)-1, then hy_attn_first(q) .. q).
HY_ATTN_RULE int hy_attn_first(int q, int window, int meta) {
    int first = window == 0 ? 0 : q - window;
    return first < meta ? meta : first;
}

// Slot of position p in a cache of cap slots: meta tokens are pinned, the rest is a ring of cap - meta slots.
HY_ATTN_RULE int hy_attn_slot(int p, int meta, int cap) { return p < meta ? p : meta + (p - meta) % (cap - meta); }

// Slots that a layer needs to serve `tokens` text tokens after `meta` meta tokens.
// A ring of `window` slots is enough: the query's own key is part of the call, not of the cache.
HY_ATTN_RULE int hy_attn_cap(int tokens, int window, int meta) {
    int ring = window == 0 || window > tokens ? tokens : window;
    return meta + (ring < 1 ? 1 : ring);
}
#endif
