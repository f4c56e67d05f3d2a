// emu_block.cc - runs kernels: blocks one after another in a shuffled order, the threads of a block as fibers. After
// every barrier and every meeting of a warp, which thread goes on next is drawn at random (HYLAB_EMU_SEED), so that
// code that needs a barrier it does not have computes something else. A thread runs until it waits or ends.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "tests/cuda_emu/emu_block.h"
#include "tests/cuda_emu/emu_fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

enum { AT_NOTHING, AT_BARRIER, AT_WARP, AT_END };
struct thread {
    emu_fiber fiber;
    uint3 idx;
    int id, at, op, predicate;
    unsigned mask;
    emu_lane lane;
};
// The lanes of one warp that wait with the same mask.
struct meeting {
    unsigned mask, arrived;
};
struct warp {
    meeting meetings[32];
    unsigned ended;  // lanes that have left the kernel
};
static thread threads[EMU_FIBERS];
static emu_copies copies[EMU_FIBERS];
static warp warps[EMU_FIBERS / 32];
static int ready[EMU_FIBERS], n_ready, n_threads, n_ended, n_barrier, barrier_result;
static thread *running;
static emu_fiber host;
static const emu_kernel *kernel;
static unsigned char *shared_pages, *shared_end, *shared;
static uint64_t random_state;

// ---------------------------------------------------------------------------------------------------- messages
static void where(char *s, size_t n) {
    int k = snprintf(s, n, "%s, grid (%u,%u,%u), blocks of (%u,%u,%u)", kernel->name, gridDim.x, gridDim.y, gridDim.z,
                     blockDim.x, blockDim.y, blockDim.z);
    if (running)
        snprintf(s + k, n - (size_t)k, ", block (%u,%u,%u), thread (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z,
                 threadIdx.x, threadIdx.y, threadIdx.z);
}

void emu_die(const char *fmt, ...) {
    char text[512] = "", place[512] = "the host";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (kernel) where(place, sizeof place);
    fflush(NULL);
    fprintf(stderr, "cuda_emu: %s\n  in %s\n", text, place);
    abort();
}

#ifndef __SANITIZE_ADDRESS__  // which tells it itself
static struct sigaction before[2];
static void fault(int sig, siginfo_t *info, void *context) {
    char text[1024] = "", place[512];
    if (kernel) {
        where(place, sizeof place);
        snprintf(text, sizeof text, "cuda_emu: a kernel touched %p (%s)\n  in %s\n", info->si_addr,
                 emu_fiber_in_guard(info->si_addr) ? "the stack of a thread has overflowed"
                                                   : emu_describe_address(info->si_addr),
                 place);
    } else if (strcmp(emu_describe_address(info->si_addr), "not device memory")) {
        snprintf(text, sizeof text, "cuda_emu: the host touched %p, which is memory of the device\n", info->si_addr);
    }
    if (write(2, text, strlen(text)) < 0) abort();
    if (kernel) abort();
    sigaction(sig, &before[sig == SIGBUS], NULL);  // happens again, for those who listened before
    (void)context;
}
static void watch_faults() {
    static char stack[64 << 10];
    stack_t s = {};
    s.ss_sp = stack, s.ss_size = sizeof stack;
    sigaltstack(&s, NULL);
    struct sigaction a = {};
    a.sa_sigaction = fault, a.sa_flags = SA_SIGINFO | SA_ONSTACK;
    struct sigaction now;
    for (int i = 0; i < 2; i++) {
        const int sig = i ? SIGBUS : SIGSEGV;
        sigaction(sig, NULL, &now);
        if (now.sa_sigaction == fault) continue;
        before[i] = now;
        sigaction(sig, &a, NULL);
    }
}
#else
static void watch_faults() {}
#endif

// ---------------------------------------------------------------------------------------------------- order
static uint32_t draw(uint32_t n) {  // 0 .. n-1 (splitmix64)
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z >> 32) * n >> 32);
}

static void make_ready(thread *t) {
    t->at = AT_NOTHING;
    ready[n_ready++] = t->id;
}

[[noreturn]] static void deadlock() {
    static const char *const names[] = {
        "__syncwarp",       "__shfl_sync",      "__shfl_xor_sync",   "__shfl_up_sync",
        "__shfl_down_sync", "__ballot_sync",    "__any_sync",        "__all_sync",
        "mma bf16",         "mma tf32",         "ldmatrix",          "ldmatrix.trans",
        "__syncthreads",    "__syncthreads_or", "__syncthreads_and", "__syncthreads_count"};
    fflush(NULL);
    fprintf(stderr, "cuda_emu: deadlock\n");
    int last = -1, shown = 0;
    for (int i = 0; i < n_threads; i++) {  // one line for each stretch of threads in the same state
        thread *t = &threads[i];
        const int state = t->at == AT_END ? 1000 : t->op;
        if (state == last && (t->at != AT_WARP || t->mask == t[-1].mask)) continue;
        last = state;
        if (shown++ == 12) break;
        if (t->at == AT_END)
            fprintf(stderr, "  thread (%u,%u,%u) and next: left the kernel\n", t->idx.x, t->idx.y, t->idx.z);
        else if (t->at == AT_BARRIER)
            fprintf(stderr, "  thread (%u,%u,%u) and next: wait at %s\n", t->idx.x, t->idx.y, t->idx.z, names[t->op]);
        else
            fprintf(stderr, "  thread (%u,%u,%u) and next: wait at %s for lanes %08x\n", t->idx.x, t->idx.y, t->idx.z,
                    names[t->op], t->mask);
    }
    emu_die("these threads wait for each other");
}

// The running thread waits or has ended: goes to the next.
static void next_thread() {
    thread *me = running;
    if (n_ready == 0) {
        if (n_ended < n_threads) deadlock();
        emu_fiber_switch(&me->fiber, &host, true);
    }
    const uint32_t i = draw((uint32_t)n_ready);
    thread *t = &threads[ready[i]];
    ready[i] = ready[--n_ready];
    running = t;
    threadIdx = t->idx;
    if (t != me) emu_fiber_switch(&me->fiber, &t->fiber, me->at == AT_END);
}

static void thread_entry() {
    emu_fiber_entered(&host);
    kernel->thread();
    running->at = AT_END;
    warps[running->id / 32].ended |= 1u << running->id % 32;
    n_ended++;
    if (n_barrier) emu_die("this thread left the kernel while others of its block wait at a barrier");
    next_thread();
    abort();  // nobody comes back
}

// ---------------------------------------------------------------------------------------------------- meetings
int hy_emu_barrier(hy_emu_op op, int predicate) {
    thread *me = running;
    me->at = AT_BARRIER, me->op = op, me->predicate = predicate != 0;
    if (n_ended) emu_die("a barrier that threads which have left the kernel will never reach");
    if (++n_barrier == n_threads) {
        int sum = 0;
        for (int i = 0; i < n_threads; i++) {
            if (threads[i].op != op) emu_die("threads of one block meet at different kinds of barriers");
            sum += threads[i].predicate;
            make_ready(&threads[i]);
        }
        barrier_result = op == HY_EMU_BARRIER_OR ? sum > 0 : op == HY_EMU_BARRIER_AND ? sum == n_threads : sum;
        n_barrier = 0;
    }
    next_thread();
    return barrier_result;  // a thread cannot pass the next barrier before all have read this
}

static void shuffle(hy_emu_op op, unsigned mask, emu_lane *const lane[32]) {
    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        const int width = lane[l]->width, first = l & ~(width - 1), p = lane[l]->param;
        if (width < 1 || width > 32 || (width & (width - 1))) emu_die("a shuffle of width %d", width);
        int from = l;
        if (op == HY_EMU_SHFL)
            from = first + (p & (width - 1));
        else if (op == HY_EMU_SHFL_XOR)
            from = (l ^ p) < first + width ? l ^ p : l;
        else if (op == HY_EMU_SHFL_UP)
            from = l - p >= first ? l - p : l;
        else
            from = l + p < first + width ? l + p : l;
        if (from < 0 || from > 31 || !(mask >> from & 1))
            emu_die("a shuffle reads lane %d, which is not in the mask %08x", from, mask);
        lane[l]->result = lane[from]->value;
    }
}
static void vote(hy_emu_op op, unsigned mask, emu_lane *const lane[32]) {
    unsigned votes = 0;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) votes |= (unsigned)lane[l]->value << l;
    const unsigned r = op == HY_EMU_BALLOT ? votes : op == HY_EMU_ANY ? votes != 0 : votes == mask;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) lane[l]->result = r;
}

static void all_have_come(hy_emu_op op, unsigned mask, thread *first) {
    emu_lane *lane[32] = {};
    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        if (first[l].op != op) emu_die("lanes of one warp meet in different operations");
        lane[l] = &first[l].lane;
    }
    if (op >= HY_EMU_SHFL && op <= HY_EMU_SHFL_DOWN)
        shuffle(op, mask, lane);
    else if (op >= HY_EMU_BALLOT && op <= HY_EMU_ALL)
        vote(op, mask, lane);
    else if (op >= HY_EMU_MMA_BF16)
        emu_warp_matrix(op, lane);
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) make_ready(&first[l]);
}

uint64_t hy_emu_warp(hy_emu_op op, unsigned mask, uint64_t value, int param, int width) {
    thread *me = running;
    warp *w = &warps[me->id / 32];
    const unsigned bit = 1u << me->id % 32;
    me->at = AT_WARP, me->op = op, me->mask = mask;
    me->lane.value = value, me->lane.param = param, me->lane.width = width;
    if (!(mask & bit)) emu_die("a warp operation by a lane that is not in its mask %08x", mask);
    if (mask & w->ended)
        emu_die("a warp operation with lanes %08x that have left the kernel or are not of the block", mask & w->ended);
    meeting *m = w->meetings;
    while (m->arrived && m->mask != mask) m++;  // a lane waits in one meeting only: there are never more than 32
    m->mask = mask;
    m->arrived |= bit;
    if (m->arrived == mask) {
        int last = (int)(m - w->meetings);
        while (last < 31 && w->meetings[last + 1].arrived) last++;
        *m = w->meetings[last];
        w->meetings[last].arrived = 0;
        all_have_come(op, mask, &threads[me->id / 32 * 32]);
    }
    next_thread();
    return me->lane.result;
}

emu_copies *emu_my_copies() { return &copies[running->id]; }

// ---------------------------------------------------------------------------------------------------- shared memory
#define SHARED_LIMIT (227 << 10)
#define CANARY 0xa5
#define BEFORE 128  // bytes of canaries before the first
void *hy_emu_shared() { return shared; }
bool emu_in_shared(const void *p, size_t bytes) {
    return (unsigned char *)p >= shared && (unsigned char *)p + bytes <= shared + kernel->shared;
}
// The last byte of shared memory lies as near to a page that nobody may touch as alignment permits.
static void shared_open() {
    const size_t room = SHARED_LIMIT + 4096;
    if (!shared_pages) {
        shared_pages =
            (unsigned char *)mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (shared_pages == MAP_FAILED) emu_die("no memory for shared memory");
        shared_end = shared_pages + room / 4096 * 4096;
        mprotect(shared_end, 4096, PROT_NONE);
    }
    shared = shared_end - (kernel->shared + 127) / 128 * 128;
    memset(shared - BEFORE, CANARY, BEFORE);
    memset(shared, 0xff, kernel->shared);  // NaN
    memset(shared + kernel->shared, CANARY, (size_t)(shared_end - shared) - kernel->shared);
}
static void shared_check() {
    for (unsigned char *p = shared - BEFORE; p < shared_end; p++) {
        if (p == shared) p += kernel->shared;
        if (p < shared_end && *p != CANARY)
            emu_die("block (%u,%u,%u) wrote byte %ld of its %zu bytes of shared memory", blockIdx.x, blockIdx.y,
                    blockIdx.z, (long)(p - shared), kernel->shared);
    }
}

// ---------------------------------------------------------------------------------------------------- blocks
static void run_block() {
    shared_open();
    n_ended = n_barrier = n_ready = 0;
    memset(warps, 0, sizeof warps);
    if (n_threads % 32) warps[n_threads / 32].ended = ~0u << n_threads % 32;
    for (int i = 0; i < n_threads; i++) {
        thread *t = &threads[i];
        t->id = i;
        t->idx = {(unsigned)i % blockDim.x, (unsigned)i / blockDim.x % blockDim.y,
                  (unsigned)i / (blockDim.x * blockDim.y)};
        copies[i].n = copies[i].group = 0;
        emu_fiber_start(&t->fiber, i, thread_entry);
        make_ready(t);
    }
    const uint32_t i = draw((uint32_t)n_ready);
    running = &threads[ready[i]];
    ready[i] = ready[--n_ready];
    threadIdx = running->idx;
    emu_fiber_switch(&host, &running->fiber, false);
    running = NULL;
    shared_check();
}

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

void emu_run_kernel(const emu_kernel *k) {
    if (!random_state) {
        const char *seed = getenv("HYLAB_EMU_SEED");
        random_state = 1 + (seed ? strtoull(seed, NULL, 10) : 0);
    }
    watch_faults();
    kernel = k;
    gridDim = k->grid, blockDim = k->block;
    n_threads = (int)(k->block.x * k->block.y * k->block.z);
    // block number i is (a i + b) mod n: every one once, in an order that is another in every launch
    const uint64_t n = (uint64_t)k->grid.x * k->grid.y * k->grid.z;
    uint64_t a = 1 + draw((uint32_t)(n > 0xfffffffe ? 0xfffffffe : n)),
             b = draw((uint32_t)(n > 0xfffffffe ? 0xfffffffe : n));
    while (common_divisor(a, n) != 1) a++;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t j = (a * i + b) % n;
        blockIdx = {(unsigned)(j % k->grid.x), (unsigned)(j / k->grid.x % k->grid.y),
                    (unsigned)(j / ((uint64_t)k->grid.x * k->grid.y))};
        run_block();
    }
    kernel = NULL;
    emu_memory_after_kernel(k->name);
}
