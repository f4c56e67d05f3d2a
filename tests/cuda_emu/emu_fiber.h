// emu_fiber.h - fibers: stacks from a pool with a guard page below each, and a switch of a few instructions. Inside
// tests/cuda_emu.
#ifndef HY_EMU_FIBER_H
#define HY_EMU_FIBER_H
#include <cstddef>

struct emu_fiber {
    void *sp;     // where it stopped
    char *stack;  // lowest byte; NULL: the stack of the program itself
    size_t stack_bytes;
    void *sanitizer;  // AddressSanitizer's, for this fiber
};
#define EMU_FIBERS 1024
// Makes fiber i start in `entry`, on stack i of the pool, at the next switch to it. `entry` never returns.
void emu_fiber_start(emu_fiber *f, int i, void (*entry)());
void emu_fiber_switch(emu_fiber *from, emu_fiber *to, bool from_is_done);
void emu_fiber_entered(emu_fiber *main);  // first call of an entry; main: the fiber that waits for all others
bool emu_fiber_in_guard(const void *p);   // whether p lies in a guard page: a stack has overflowed
#endif
