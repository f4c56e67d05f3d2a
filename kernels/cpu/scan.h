// scan.h - what the scan kernels and their plan share: chunk lengths.
#ifndef HY_CPU_SCAN_H
#define HY_CPU_SCAN_H
// Tokens between two saved states of the reference.
#define HY_SCAN_REF_CHUNK 64
static inline int hy_scan_chunks(int T, int chunk) { return T / chunk + (T % chunk != 0); }
#endif
