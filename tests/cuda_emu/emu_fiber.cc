// emu_fiber.cc - see emu_fiber.h. x86-64, as the rest of the project.
#include "tests/cuda_emu/emu_fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #include <sanitizer/common_interface_defs.h>
    #define STACK (256 << 10)  // its frames are larger
#else
    #define STACK (64 << 10)
#endif
#define PAGE 4096
#define SLOT (STACK + PAGE)

// Saves what a call preserves on the stack of the one, stores its stack pointer and goes on on the other.
extern "C" void emu_switch(void **save, void *to);
asm(R"(
.text
.type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch, .-emu_switch
)");

static char *pool;

static void make_pool() {
    pool = (char *)mmap(NULL, (size_t)EMU_FIBERS * SLOT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED) perror("cuda_emu: stacks"), abort();
    for (int i = 0; i < EMU_FIBERS; i++)
        if (mprotect(pool + (size_t)i * SLOT, PAGE, PROT_NONE)) perror("cuda_emu: guard page"), abort();
}

void emu_fiber_start(emu_fiber *f, int i, void (*entry)()) {
    if (!pool) make_pool();
    f->stack = pool + (size_t)i * SLOT + PAGE;
    f->stack_bytes = STACK;
    f->sanitizer = NULL;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(f->stack, STACK);
#endif
    // stacks begin at different lines of the cache
    void **top = (void **)(f->stack + STACK - (size_t)(i % 61) * 64);
    top[-1] = NULL;           // no caller; at the entry the stack pointer is 8 above a multiple of 16
    top[-2] = (void *)entry;  // six registers below are whatever they are
    f->sp = top - 8;
}

void emu_fiber_switch(emu_fiber *from, emu_fiber *to, bool from_is_done) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(from_is_done ? NULL : &from->sanitizer, to->stack, to->stack_bytes);
#endif
    (void)from_is_done;
    emu_switch(&from->sp, to->sp);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from->sanitizer, NULL, NULL);
#endif
}

void emu_fiber_entered(emu_fiber *main) {
#ifdef __SANITIZE_ADDRESS__
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(NULL, &stack, &bytes);
    if (!main->stack) main->stack = (char *)stack, main->stack_bytes = bytes;
#endif
    (void)main;
}

bool emu_fiber_in_guard(const void *p) {
    const char *c = (const char *)p;
    return pool && c >= pool && c < pool + (size_t)EMU_FIBERS * SLOT && (size_t)(c - pool) % SLOT < PAGE;
}
