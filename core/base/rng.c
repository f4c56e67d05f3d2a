// rng.c - counter-based random numbers: Philox4x32-10 (Salmon et al. 2011). See base.h.
#include "core/base/base.h"

#include <math.h>
#include <string.h>

static void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[0] = n0;
        c[1] = (uint32_t)p1;
        c[2] = n2;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

hy_rng hy_rng_make(uint64_t seed, uint64_t stream) { return (hy_rng){.seed = seed, .stream = stream}; }

uint32_t hy_rng_u32(hy_rng *r) {
    if (r->have == 0) {
        uint32_t c[4] = {(uint32_t)r->counter, (uint32_t)(r->counter >> 32), (uint32_t)r->stream,
                         (uint32_t)(r->stream >> 32)};
        philox(c, (uint32_t)r->seed, (uint32_t)(r->seed >> 32));
        memcpy(r->block, c, sizeof c);
        r->counter++;
        r->have = 4;
    }
    return r->block[4 - r->have--];
}

uint64_t hy_rng_u64(hy_rng *r) {
    uint64_t hi = hy_rng_u32(r);
    return hi << 32 | hy_rng_u32(r);
}

static double uniform(uint64_t x) { return (double)(int64_t)(x >> 11) * 0x1p-53; }
double hy_rng_uniform(hy_rng *r) { return uniform(hy_rng_u64(r)); }

uint64_t hy_rng_below(hy_rng *r, uint64_t n) {
    HY_ASSERT(n >= 1);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do x = hy_rng_u64(r);
    while (x >= limit);
    return x % n;
}

#define TURN 6.283185307179586476925
double hy_rng_normal(hy_rng *r) {
    const double u = 1.0 - hy_rng_uniform(r), v = hy_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(TURN * v);
}

// The blocks of normal values side by side, as vectors of numbers; logarithm and cosine are the same calls.
void hy_rng_normals(hy_rng *r, size_t n, double *dst) {
    enum { SIDE = 16 };
    size_t i = 0;
    for (; !r->have && i + SIDE <= n; i += SIDE, r->counter += SIDE) {
        uint32_t c[4][SIDE];
        for (unsigned l = 0; l < SIDE; l++) {
            c[0][l] = (uint32_t)(r->counter + l), c[1][l] = (uint32_t)((r->counter + l) >> 32);
            c[2][l] = (uint32_t)r->stream, c[3][l] = (uint32_t)(r->stream >> 32);
        }
        uint32_t k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32);
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
            for (int l = 0; l < SIDE; l++) {
                const uint64_t p0 = (uint64_t)0xD2511F53u * c[0][l], p1 = (uint64_t)0xCD9E8D57u * c[2][l];
                c[0][l] = (uint32_t)(p1 >> 32) ^ c[1][l] ^ k0;
                c[2][l] = (uint32_t)(p0 >> 32) ^ c[3][l] ^ k1;
                c[1][l] = (uint32_t)p1;
                c[3][l] = (uint32_t)p0;
            }
        double u[SIDE], v[SIDE];
        for (int l = 0; l < SIDE; l++) {
            u[l] = 1.0 - uniform((uint64_t)c[0][l] << 32 | c[1][l]);
            v[l] = TURN * uniform((uint64_t)c[2][l] << 32 | c[3][l]);
        }
        for (int l = 0; l < SIDE; l++) u[l] = log(u[l]);
        for (int l = 0; l < SIDE; l++) v[l] = cos(v[l]);
        for (int l = 0; l < SIDE; l++) dst[i + (size_t)l] = sqrt(-2.0 * u[l]) * v[l];
    }
    for (; i < n; i++) dst[i] = hy_rng_normal(r);
}

uint64_t hy_mix64(uint64_t a, uint64_t b) {  // splitmix64 finaliser over both words
    uint64_t x = a + 0x9E3779B97F4A7C15u * (b + 1);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

// A Feistel network over the smallest square of a power of two that holds n, walked until it comes back below n (Black
// and Rogaway 2002): a permutation, whatever the function of a round is.
uint64_t hy_permuted(uint64_t key, uint64_t n, uint64_t i) {
    HY_ASSERT(i < n);
    enum { ROUNDS = 6 };
    int half = 1;
    while (half < 32 && n > 1ull << (2 * half)) half++;
    const uint64_t mask = (1ull << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            const uint64_t next = left ^ (hy_mix64(hy_mix64(key, round), right) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
