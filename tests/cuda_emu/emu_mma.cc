// emu_mma.cc - tensor cores, ldmatrix and asynchronous copies in software. Which lane holds which element is as in the
// PTX ISA
// ("Matrix Fragments for mma.m16n8k16 with floating point type", "... for mma.m16n8k8", "ldmatrix"); the sums are exact
// to double and rounded once, so they say nothing of the order in which hardware adds.
#include "tests/cuda_emu/emu_block.h"

struct operands {
    float *d;
    const uint32_t *a, *b;
};

void hy_emu_mma_bf16(float *d, const uint32_t *a, const uint32_t *b) {
    const operands o = {d, a, b};
    hy_emu_warp(HY_EMU_MMA_BF16, ~0u, (uint64_t)(uintptr_t)&o, 0, 32);
}
void hy_emu_mma_tf32(float *d, const uint32_t *a, const uint32_t *b) {
    const operands o = {d, a, b};
    hy_emu_warp(HY_EMU_MMA_TF32, ~0u, (uint64_t)(uintptr_t)&o, 0, 32);
}
uint32_t hy_emu_tf32(float x) {
    const uint32_t u = __float_as_uint(x);
    if (isnan(x)) return 0x7fffe000u;
    if (isinf(x)) return u;
    return (u + 0x1000u) & ~0x1fffu;  // magnitudes: half of the last place kept goes up
}

// d [16,8] += a [16,k] b [k,8]
static void product(emu_lane *const lane[32], int k, const float (*a)[16], const float (*b)[8]) {
    for (int l = 0; l < 32; l++) {
        float *d = ((const operands *)(uintptr_t)lane[l]->value)->d;
        for (int i = 0; i < 4; i++) {
            const int row = l / 4 + (i >= 2 ? 8 : 0), col = l % 4 * 2 + i % 2;
            double sum = d[i];
            for (int j = 0; j < k; j++) sum += (double)a[row][j] * b[j][col];
            d[i] = (float)sum;
        }
    }
}
static float half(uint32_t pair, int upper) { return __uint_as_float(upper ? pair & 0xffff0000u : pair << 16); }
static void mma_bf16(emu_lane *const lane[32]) {
    float a[16][16], b[16][8];
    for (int l = 0; l < 32; l++) {
        const operands *o = (const operands *)(uintptr_t)lane[l]->value;
        const int group = l / 4, in_group = l % 4;
        for (int i = 0; i < 8; i++) {  // a0..a7, two to a register
            const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8,
                      col = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
            a[row][col] = half(o->a[i / 2], i & 1);
        }
        for (int i = 0; i < 4; i++) b[in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = half(o->b[i / 2], i & 1);
    }
    product(lane, 16, a, b);
}
static float tf32(uint32_t u) {
    if (u & 0x1fffu) emu_die("a factor of a TF32 product has not been rounded (hy_tf32)");
    return __uint_as_float(u);
}
static void mma_tf32(emu_lane *const lane[32]) {
    float a[16][16], b[16][8];
    for (int l = 0; l < 32; l++) {
        const operands *o = (const operands *)(uintptr_t)lane[l]->value;
        const int group = l / 4, in_group = l % 4;
        for (int i = 0; i < 4; i++)
            a[i == 0 || i == 2 ? group : group + 8][i < 2 ? in_group : in_group + 4] = tf32(o->a[i]);
        for (int i = 0; i < 2; i++) b[in_group + 4 * i][group] = tf32(o->b[i]);
    }
    product(lane, 8, a, b);
}

struct rows {
    uint32_t *r;
    const void *row;
};
void hy_emu_ldmatrix4(uint32_t *r, const void *row, bool trans) {
    const rows o = {r, row};
    if ((uintptr_t)row % 16) emu_die("ldmatrix from an address that is not a multiple of 16");
    if (!emu_in_shared(row, 16)) emu_die("ldmatrix from outside shared memory");
    hy_emu_warp(trans ? HY_EMU_LDMATRIX_TRANS : HY_EMU_LDMATRIX, ~0u, (uint64_t)(uintptr_t)&o, 0, 32);
}
static void ldmatrix(emu_lane *const lane[32], bool trans) {
    for (int m = 0; m < 4; m++) {
        uint16_t x[8][8];
        for (int i = 0; i < 8; i++) memcpy(x[i], ((const rows *)(uintptr_t)lane[m * 8 + i]->value)->row, 16);
        for (int l = 0; l < 32; l++) {
            const int i = l / 4, j = l % 4 * 2;
            const uint16_t lo = trans ? x[j][i] : x[i][j], hi = trans ? x[j + 1][i] : x[i][j + 1];
            ((const rows *)(uintptr_t)lane[l]->value)->r[m] = (uint32_t)lo | (uint32_t)hi << 16;
        }
    }
}

void emu_warp_matrix(hy_emu_op op, emu_lane *const lane[32]) {
    if (op == HY_EMU_MMA_BF16)
        mma_bf16(lane);
    else if (op == HY_EMU_MMA_TF32)
        mma_tf32(lane);
    else
        ldmatrix(lane, op == HY_EMU_LDMATRIX_TRANS);
}

// ------------------------------------------------------------------------------------------------- asynchronous copies
void hy_emu_copy16(void *shared, const void *global, int bytes) {
    emu_copies *c = emu_my_copies();
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16)
        emu_die("an asynchronous copy of 16 bytes between addresses that are not multiples of 16");
    if (!emu_in_shared(shared, 16)) emu_die("an asynchronous copy to outside shared memory");
    if (bytes != 0 && bytes != 16) emu_die("an asynchronous copy of %d bytes", bytes);
    if (bytes && !emu_on_device(global, 16))
        emu_die("an asynchronous copy from %p: %s", global, emu_describe_address(global));
    if (c->n == (int)(sizeof c->list / sizeof *c->list))
        emu_die("more than %d asynchronous copies on the way for one thread", c->n);
    memset(shared, 0xff, 16);  // what is read before the wait is not what was there
    c->list[c->n++] = {shared, global, bytes, c->group};
}
void hy_emu_copy_commit() { emu_my_copies()->group++; }
void hy_emu_copy_wait(
    int groups) {  // copies after the last commit belong to a group still open, which nothing waits for
    emu_copies *c = emu_my_copies();
    int kept = 0;
    for (int i = 0; i < c->n; i++) {
        const emu_copy q = c->list[i];
        if (q.group >= c->group - groups) {
            c->list[kept++] = q;
            continue;
        }
        if (q.bytes)
            memcpy(q.to, q.from, 16);
        else
            memset(q.to, 0, 16);
    }
    c->n = kept;
}
