// gguf_blocks.c - see gguf.h: what the blocks of ggml's element types hold. d, m: float16 factors of a block.
#include <string.h>

#include "core/format/gguf.h"

static float half_at(const char *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return hy_f32_from_f16(h);
}

// [d | 16 bytes]: byte j holds elements j (low half) and j + 16 (high half), value d (q - 8).
static void q4_0(const uint8_t *b, float *x) {
    const float d = half_at((const char *)b);
    for (int j = 0; j < 16; j++) {
        x[j] = d * (float)((b[2 + j] & 15) - 8);
        x[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
    }
}
// [d | m | 16 bytes]: d q + m
static void q4_1(const uint8_t *b, float *x) {
    const float d = half_at((const char *)b), m = half_at((const char *)b + 2);
    for (int j = 0; j < 16; j++) {
        x[j] = d * (float)(b[4 + j] & 15) + m;
        x[j + 16] = d * (float)(b[4 + j] >> 4) + m;
    }
}
static int signed_byte(uint8_t b) { return b < 128 ? b : b - 256; }
// [d | 32 signed bytes]: d q
static void q8_0(const uint8_t *b, float *x) {
    const float d = half_at((const char *)b);
    for (int j = 0; j < 32; j++) x[j] = d * (float)signed_byte(b[2 + j]);
}
// [128 bytes: low four bits | 64 bytes: high two bits | 16 signed scales, each of 16 elements | d]: d scale (q - 32).
// Of each half of 128 elements, quarter k of 32 has its low bits in the half-bytes of bytes 32 (k & 1) .., low ones for
// k < 2, and its high bits in bits 2k of byte 32 (of the half) ...
static void q6_k(const uint8_t *b, float *x) {
    const float d = half_at((const char *)b + 208);
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < 4; k++)
            for (int l = 0; l < 32; l++) {
                const uint8_t low = b[64 * half + 32 * (k & 1) + l], high = b[128 + 32 * half + l];
                const int q = ((k < 2 ? low & 15 : low >> 4) | ((high >> (2 * k)) & 3) << 4) - 32;
                const int scale = signed_byte(b[192 + 8 * half + 2 * k + l / 16]);
                x[128 * half + 32 * k + l] = d * (float)(scale * q);
            }
}

static void unpack(const hy_gguf_tensor *t, size_t first, size_t n, size_t block, size_t bytes,
                   void (*one)(const uint8_t *, float *), float *dst) {
    const char *at = t->data + first / block * bytes;
    for (size_t i = 0; i < n; i += block, at += bytes) one((const uint8_t *)at, dst + i);
}

void hy_gguf_read(const hy_gguf_tensor *t, size_t first, size_t n, float *dst) {
    HY_ASSERT(first <= t->n && n <= t->n - first);
    HY_ASSERT(first % hy_gguf_block(t->type) == 0 && n % hy_gguf_block(t->type) == 0);
    uint16_t h;
    switch (t->type) {
        case HY_GGUF_F32: memcpy(dst, t->data + 4 * first, 4 * n); break;
        case HY_GGUF_F16:
            for (size_t i = 0; i < n; i++) dst[i] = half_at(t->data + 2 * (first + i));
            break;
        case HY_GGUF_BF16:
            for (size_t i = 0; i < n; i++) {
                memcpy(&h, t->data + 2 * (first + i), sizeof h);
                dst[i] = hy_f32_from_bf16(h);
            }
            break;
        case HY_GGUF_Q4_0: unpack(t, first, n, 32, 18, q4_0, dst); break;
        case HY_GGUF_Q4_1: unpack(t, first, n, 32, 20, q4_1, dst); break;
        case HY_GGUF_Q8_0: unpack(t, first, n, 32, 34, q8_0, dst); break;
        case HY_GGUF_Q6_K: unpack(t, first, n, 256, 210, q6_k, dst); break;
    }
}
