// emu_block.h - what the parts of the emulation know of each other. Inside tests/cuda_emu.
#ifndef HY_EMU_BLOCK_H
#define HY_EMU_BLOCK_H
#include "tests/cuda_emu/cuda_emu.h"

// Ends the program with the message, the kernel, the block and the thread that runs.
[[noreturn]] void emu_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct emu_kernel {
    const char *name;
    dim3 grid, block;
    size_t shared;
    std::function<void()> thread;
};
void emu_run_kernel(const emu_kernel *k);  // all blocks, to their ends

struct emu_copy {  // an asynchronous copy that has not landed
    void *to;
    const void *from;
    int bytes, group;
};
struct emu_lane {  // what a thread brings to a meeting of its warp, and takes from it
    uint64_t value, result;
    int param, width;
};
// Computes the results of the lanes of the mask of one warp; emu_mma.cc does the products and ldmatrix.
void emu_warp_matrix(hy_emu_op op, emu_lane *const lane[32]);
// The copies of the thread that runs, and the number of its newest group.
struct emu_copies {
    emu_copy list[256];
    int n, group;
};
emu_copies *emu_my_copies();
bool emu_in_shared(const void *p, size_t bytes);

// Device memory.
bool emu_on_device(const void *p, size_t bytes);  // wholly inside one allocation
void emu_memory_after_kernel(const char *name);   // looks at the canaries
const char *emu_describe_address(const void *p);
#endif
