// parallel.c - see parallel.h. One pool for the process: workers start when first wanted and stay.
#include "kernels/cpu/parallel.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 255
#define SPIN_NS 50000       // a thread looks so long for work, or for the end of a piece, before it sleeps
#define OPEN 0x80000000u    // the gate: workers may join the job
#define ASLEEP 0x40000000u  // the caller sleeps until the last one has left
#define PIECES 4            // of a thread's own range

typedef struct {
    _Alignas(64) _Atomic long next;
    long end;
} lane;

static struct {
    _Alignas(64) _Atomic uint32_t epoch;  // counts jobs; what workers look at and sleep on
    _Atomic uint32_t sleepers;
    _Alignas(64) _Atomic uint32_t gate;  // OPEN, ASLEEP, and how many workers are inside the job
    // the job; written by the caller while the gate is shut and nobody is inside
    int threads, lanes;
    long grain;
    hy_piece_fn *fn;
    const void *ctx;
    // the callers' side
    _Alignas(64) atomic_flag taken;
    int workers;
    bool no_more;  // a thread could not be started: do with those there are
    lane lane[WORKERS_MAX + 1];
} pool = {.taken = ATOMIC_FLAG_INIT};

static void futex_wait(_Atomic uint32_t *at, uint32_t value) {
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void futex_wake(_Atomic uint32_t *at) { syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

static void rest(void) {
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#endif
}
static long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

// Looks at a value until (value & mask) is no longer `old`, or for SPIN_NS.
static void spin_while(_Atomic uint32_t *at, uint32_t mask, uint32_t old) {
    long end = 0;
    for (;;) {
        for (int i = 0; i < 64; i++) {
            if ((atomic_load_explicit(at, memory_order_relaxed) & mask) != old) return;
            rest();
        }
        const long now = now_ns();
        if (!end) end = now + SPIN_NS;
        if (now >= end) return;
    }
}

// Its own lane first, then what the others have left.
static void work(int id) {
    for (int i = 0; i < pool.lanes; i++) {
        lane *l = &pool.lane[(id + i) % pool.lanes];
        const long grain = pool.grain;
        for (;;) {
            if (atomic_load_explicit(&l->next, memory_order_relaxed) >= l->end) break;
            const long from = atomic_fetch_add_explicit(&l->next, grain, memory_order_relaxed);
            if (from >= l->end) break;
            pool.fn(pool.ctx, from, l->end - from < grain ? l->end : from + grain, id);
        }
    }
}

static bool enter(void) {
    uint32_t g = atomic_load_explicit(&pool.gate, memory_order_relaxed);
    while (g & OPEN)
        if (atomic_compare_exchange_weak_explicit(&pool.gate, &g, g + 1, memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}
static void leave(void) {
    if (atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_release) == (ASLEEP | 1)) futex_wake(&pool.gate);
}

static void *worker(void *arg) {
    const int id = (int)(intptr_t)arg;
    uint32_t seen = 0;  // of no job: the one that started this thread may be open still
    for (;;) {
        spin_while(&pool.epoch, ~0u, seen);
        if (atomic_load(&pool.epoch) == seen) {
            atomic_fetch_add(&pool.sleepers, 1);
            futex_wait(&pool.epoch, seen);
            atomic_fetch_sub(&pool.sleepers, 1);
        }
        seen = atomic_load(&pool.epoch);
        if (!enter()) continue;
        if (id < pool.threads) work(id);
        leave();
    }
    return NULL;
}

// A child of fork has no workers, and nobody in the pool.
static void after_fork(void) {
    pool.workers = 0;
    pool.no_more = false;
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.gate, 0);
    atomic_flag_clear(&pool.taken);
}

// Workers leave signals to the program's own threads.
static void start_workers(int wanted) {
    static bool told;
    sigset_t all, before;
    pthread_attr_t detached;
    if (wanted > WORKERS_MAX) wanted = WORKERS_MAX;
    if (pool.workers >= wanted || pool.no_more) return;
    if (!told) told = !pthread_atfork(NULL, NULL, after_fork);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pool.no_more = pthread_attr_init(&detached);
    if (!pool.no_more) {
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        for (pthread_t t; pool.workers < wanted && !pool.no_more; pool.workers += !pool.no_more)
            pool.no_more = pthread_create(&t, &detached, worker, (void *)(intptr_t)(pool.workers + 1));
        pthread_attr_destroy(&detached);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void open_job(int threads, long n, long grain, hy_piece_fn *fn, const void *ctx) {
    const long share = (n + threads - 1) / threads;
    pool.threads = threads;
    pool.lanes = grain ? 1 : threads;
    pool.grain = grain ? grain : (share + PIECES - 1) / PIECES;
    pool.fn = fn;
    pool.ctx = ctx;
    for (int i = 0; i < pool.lanes; i++) {
        const long from = grain ? 0 : i * share, end = grain ? n : from + share;
        atomic_store_explicit(&pool.lane[i].next, from, memory_order_relaxed);
        pool.lane[i].end = end < n ? end : n;
    }
    atomic_store(&pool.gate, OPEN);
    atomic_fetch_add(&pool.epoch, 1);
    if (atomic_load(&pool.sleepers)) futex_wake(&pool.epoch);
}

// Shuts the gate and waits for those inside. One that is in the middle of a piece and not running is waited for asleep,
// so that it can run here.
static void close_job(void) {
    uint32_t g = atomic_fetch_and_explicit(&pool.gate, ~OPEN, memory_order_acquire) & ~OPEN;
    while (g) {
        spin_while(&pool.gate, ~0u, g);
        g = atomic_load_explicit(&pool.gate, memory_order_acquire);
        if (!(g & ~ASLEEP)) break;
        if (!(g & ASLEEP) && !atomic_compare_exchange_strong_explicit(&pool.gate, &g, g | ASLEEP, memory_order_acquire,
                                                                      memory_order_acquire))
            continue;
        futex_wait(&pool.gate, g | ASLEEP);
        g = atomic_load_explicit(&pool.gate, memory_order_acquire);
        if (!(g & ~ASLEEP)) break;
    }
}

void hy_parallel(int threads, long n, long grain, hy_piece_fn *fn, const void *ctx) {
    if (n <= 0) return;
    if (threads > n) threads = (int)n;
    if (threads > 1 && !atomic_flag_test_and_set_explicit(&pool.taken, memory_order_acquire)) {
        start_workers(threads - 1);
        if (threads > pool.workers + 1) threads = pool.workers + 1;
        if (threads > 1) {
            open_job(threads, n, grain, fn, ctx);
            work(0);
            close_job();
        }
        atomic_flag_clear_explicit(&pool.taken, memory_order_release);
        if (threads > 1) return;
    }
    for (long i = 0; grain && i < n; i += grain) fn(ctx, i, n - i < grain ? n : i + grain, 0);
    if (!grain) fn(ctx, 0, n, 0);
}
