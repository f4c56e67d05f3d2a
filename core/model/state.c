// state.c - what persists between tokens: KV rings with pinned meta tokens (one per producer of a sharing group),
// convolution tails, SSM states. Sizes follow attn_rule.h, so that hy_model_cache (TRUE) equals what is allocated here.
#include <stdlib.h>
#include <string.h>

#include "core/model/state.h"

// Sums over the whole sequence stay in float32 at least.
static hy_dtype slot_type(hy_slot_kind kind, hy_dtype dt) { return kind == HY_SLOT_SSM && dt == HY_BF16 ? HY_F32 : dt; }

void hy_state_cache(const hy_model_spec *m, hy_dtype dt, int max_tokens, hy_cache_bytes *layers, hy_cache_bytes *sum) {
    hy_model_cache(m, HY_CACHE_TRUE, max_tokens, (int)hy_dtype_size(slot_type(HY_SLOT_KV, dt)),
                   (int)hy_dtype_size(slot_type(HY_SLOT_CONV, dt)), (int)hy_dtype_size(slot_type(HY_SLOT_SSM, dt)),
                   layers, sum);
}

static size_t slot_elems(const hy_program *p, const hy_slot *s, int max_tokens) {
    switch (s->kind) {
        case HY_SLOT_KV:
            return (size_t)hy_attn_cap(max_tokens, s->window, p->spec.meta_tokens) * (size_t)s->kv_heads *
                   (size_t)(s->d_qk + s->d_v);
        case HY_SLOT_CONV: return (size_t)s->d_inner * (size_t)(s->d_conv - 1);
        case HY_SLOT_SSM: return (size_t)s->d_inner * (size_t)s->d_state;
        case HY_SLOT_NONE: break;
    }
    HY_ASSERT(!"a slot of no kind");
    return 0;
}

hy_status hy_state_create(const hy_program *p, const hy_backend *be, hy_dtype dt, int B, int max_tokens,
                          hy_state **out) {
    *out = NULL;
    if (B < 1 || max_tokens < 1)
        return hy_error(HY_EINPUT, "a cache needs at least 1 sequence and 1 token, not %d and %d", B, max_tokens);
    hy_state *s = hy_xcalloc(1, sizeof *s);
    *s = (hy_state){.prog = p, .be = be, .id = hy_unique_id(), .dtype = dt, .B = B, .max_tokens = max_tokens};
    s->pos = hy_xcalloc((size_t)B, sizeof *s->pos);
    s->buf = hy_xcalloc((size_t)p->n_slots, sizeof *s->buf);
    s->bytes = hy_xcalloc((size_t)p->n_slots, sizeof *s->bytes);
    for (int i = 0; i < p->n_slots; i++) {
        s->bytes[i] =
            (size_t)B * slot_elems(p, &p->slots[i], max_tokens) * hy_dtype_size(slot_type(p->slots[i].kind, dt));
        if (s->bytes[i] == 0) continue;  // d_conv 1 has no tail
        s->buf[i] = be->alloc(s->bytes[i]);
        if (!s->buf[i]) {
            hy_cache_bytes one;
            hy_state_cache(&p->spec, dt, max_tokens, NULL, &one);
            hy_state_free(s);
            return hy_error_context(HY_ENOMEM,
                                    "cache of %s for %d sequences of %d tokens, %.1f MB of sequence state (%.3f each): "
                                    "fewer sequences or tokens",
                                    p->spec.name, B, max_tokens, B * one.total / 1e6, one.total / 1e6);
        }
    }
    *out = s;
    return HY_OK;
}

hy_status hy_state_reset(hy_state *s) {
    memset(s->pos, 0, (size_t)s->B * sizeof *s->pos);
    for (int i = 0; i < s->prog->n_slots; i++)
        if (s->buf[i]) HY_TRY(s->be->zero(s->buf[i], s->bytes[i]));
    return HY_OK;
}

// One sequence of a part: K, V, a tail or a state of all sequences, one after the other.
static hy_status copy_part(const hy_backend *be, char *dst, int d, const char *src, int s, size_t each, void *host) {
    HY_TRY(be->to_host(host, src + (size_t)s * each, each));
    return be->from_host(dst + (size_t)d * each, host, each);
}

hy_status hy_state_copy(hy_state *dst, int d, const hy_state *src, int s) {
    HY_ASSERT(dst->prog == src->prog && dst->dtype == src->dtype && dst->max_tokens == src->max_tokens);
    HY_ASSERT(d >= 0 && d < dst->B && s >= 0 && s < src->B);
    hy_status st = HY_OK;
    for (int i = 0; !st && i < src->prog->n_slots; i++) {
        const hy_slot *slot = &src->prog->slots[i];
        const size_t each = src->bytes[i] / (size_t)src->B;
        if (!each) continue;
        void *host = hy_alloc(each);
        if (!host) return HY_ENOMEM;
        if (slot->kind == HY_SLOT_KV) {
            const size_t k = each / (size_t)(slot->d_qk + slot->d_v) * (size_t)slot->d_qk;
            st = copy_part(src->be, dst->buf[i], d, src->buf[i], s, k, host);
            if (!st)
                st = copy_part(src->be, (char *)dst->buf[i] + (size_t)dst->B * k, d,
                               (const char *)src->buf[i] + (size_t)src->B * k, s, each - k, host);
        } else {
            st = copy_part(src->be, dst->buf[i], d, src->buf[i], s, each, host);
        }
        free(host);
    }
    dst->pos[d] = src->pos[s];
    return st;
}

void hy_state_free(hy_state *s) {
    if (!s) return;
    for (int i = 0; i < s->prog->n_slots; i++)
        if (s->buf[i]) s->be->free(s->buf[i]);
    free(s->buf);
    free(s->bytes);
    free(s->pos);
    free(s);
}

size_t hy_state_bytes(const hy_state *s) {
    size_t n = 0;
    for (int i = 0; i < s->prog->n_slots; i++) n += s->bytes[i];
    return n;
}

hy_kv_view hy_state_kv(const hy_state *s, int slot) {
    const hy_slot *d = &s->prog->slots[slot];
    HY_ASSERT(d->kind == HY_SLOT_KV);
    const int cap = hy_attn_cap(s->max_tokens, d->window, s->prog->spec.meta_tokens);
    const size_t k = (size_t)s->B * (size_t)d->kv_heads * (size_t)cap * (size_t)d->d_qk * hy_dtype_size(s->dtype);
    return (hy_kv_view){.k = s->buf[slot], .v = (char *)s->buf[slot] + k, .cap = cap};
}
