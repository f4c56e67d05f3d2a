// ssd.h - what the SSD (Mamba-2) kernels and their plan share: chunk lengths and the partition of the work, by shape alone.
#ifndef HY_CPU_SSD_H
#define HY_CPU_SSD_H
#include "kernels/kernels.h"

#define HY_SSD_REF_CHUNK 64  // tokens between two saved states of the reference

static inline int hy_ssd_chunks(int n, int chunk) { return n / chunk + (n % chunk != 0); }
#endif
