// dropout_rule.h - which elements dropout keeps: a pure function of a key (of seed and step), the number of the place
// in the model and of the element. The only statement of it, for every device, so that one seed gives the same mask
// everywhere and for any number of threads.
#ifndef HY_DROPOUT_RULE_H
#define HY_DROPOUT_RULE_H
#include <stdbool.h>
#include <stdint.h>
#ifdef __CUDACC__
    #define HY_DROPOUT_RULE static inline __host__ __device__
#else
    #define HY_DROPOUT_RULE static inline
#endif

// The key of one place: splitmix64's finaliser over both words, as hy_mix64.
HY_DROPOUT_RULE uint64_t hy_dropout_mix(uint64_t a, uint64_t b) {
    uint64_t x = a + 0x9E3779B97F4A7C15u * (b + 1);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
// Dropped with probability p: the upper half of the mixed words, as a fraction of 2^32, is below it.
HY_DROPOUT_RULE uint32_t hy_dropout_limit(double p) { return (uint32_t)(p * 4294967296.0); }
HY_DROPOUT_RULE bool hy_dropout_keeps(uint64_t place_key, uint64_t element, uint32_t limit) {
    return (uint32_t)(hy_dropout_mix(place_key, element) >> 32) >= limit;
}
// The number of a weight of attention.
HY_DROPOUT_RULE uint64_t hy_dropout_weight(int b, int heads, int h, int T, int t, int j) {
    return (((uint64_t)b * (uint64_t)heads + (uint64_t)h) * (uint64_t)T + (uint64_t)t) * (uint64_t)T + (uint64_t)j;
}
#endif
