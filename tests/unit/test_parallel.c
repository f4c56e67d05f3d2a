// test_parallel.c - the pool: each item exactly once whatever the threads do, and nobody waits for a thread that has
// nothing of the work. A test that hangs is ended by its alarm.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/base.h"
#include "core/base/parallel.h"

#define SECONDS 60  // of a test, on a busy machine
static int with_alarm(void **state) {
    (void)state;
    alarm(SECONDS);
    return 0;
}
static void rest(long us) { nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL); }

// ---------------------------------------------------------------------------------------------------- items
#define ITEMS 1001
#define THREADS 64
typedef struct {
    int threads;
    long n, grain;
    atomic_int done[ITEMS];
    atomic_int inside[THREADS];  // a thread's number is used by one thread at a time
    long last[THREADS];          // piece begun last under this number
    atomic_int wrong;
} count;
static void count_items(const void *ctx, long from, long to, int thread) {
    count *c = *(count *const *)ctx;
    if (from < 0 || from >= to || to > c->n || thread < 0 || thread >= c->threads || thread >= c->n ||
        (c->grain && (to - from > c->grain || from % c->grain || from < c->last[thread]))) {
        atomic_fetch_add(&c->wrong, 1);
        return;
    }
    if (atomic_fetch_add(&c->inside[thread], 1)) atomic_fetch_add(&c->wrong, 1);
    c->last[thread] = from;
    for (long i = from; i < to; i++) atomic_fetch_add(&c->done[i], 1);
    if (c->n < 100) sched_yield();
    atomic_fetch_sub(&c->inside[thread], 1);
}
static int badly_done(int threads, long n, long grain) {
    static _Thread_local count c;
    count *at = &c;
    memset(&c, 0, sizeof c);
    c.threads = threads, c.n = n, c.grain = grain;
    hy_parallel(threads, n, grain, count_items, &at);
    int bad = c.wrong;
    for (long i = 0; i < ITEMS; i++) bad += c.done[i] != (i < n);
    return bad;
}

static void test_each_item_once(void **state) {
    (void)state;
    static const long ns[] = {0, 1, 2, 3, 7, 8, 9, 64, 65, 1000, ITEMS}, grains[] = {0, 1, 2, 3, 64, 5000};
    static const int threads[] = {1, 2, 3, 8, THREADS, 5, 2};  // fewer than there are workers, too
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++)
        for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
            for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
                for (int again = 0; again < 5; again++) assert_int_equal(badly_done(threads[t], ns[i], grains[g]), 0);
}

// ---------------------------------------------------------------------------------------------------- who takes part
// Two pieces that each wait until both have begun: two threads take part, however long the second takes to come.
typedef struct {
    atomic_int begun, ended;
    atomic_int caller_done, masked;
    pid_t worker;
    long slow_us;  // the worker's piece takes so long
} meeting;
static void meet(const void *ctx, long from, long to, int thread) {
    meeting *m = *(meeting *const *)ctx;
    (void)from, (void)to;
    atomic_fetch_add(&m->begun, 1);
    while (atomic_load(&m->begun) < 2) rest(20);
    if (thread) {
        sigset_t now;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        atomic_store(&m->masked,
                     sigismember(&now, SIGINT) && sigismember(&now, SIGALRM) && !sigismember(&now, SIGSEGV));
        m->worker = (pid_t)syscall(SYS_gettid);
        if (m->slow_us) rest(m->slow_us);
    }
    atomic_fetch_add(&m->ended, 1);
}
static meeting have_meeting(long slow_us) {
    meeting m = {.slow_us = slow_us}, *at = &m;
    hy_parallel(2, 2, 1, meet, &at);
    return m;
}
static int ended_of(long slow_us) {
    const meeting m = have_meeting(slow_us);
    return m.ended;
}

static void test_workers_take_part(void **state) {
    (void)state;
    for (int i = 0; i < 30; i++) {
        const meeting m = have_meeting(0);
        assert_int_equal(m.ended, 2);
        assert_true(m.worker != (pid_t)syscall(SYS_gettid));
        assert_true(m.masked);
        if (i % 3 == 0) rest(3000);  // the worker has gone to sleep by now
    }
}

static void test_a_slow_piece_is_waited_for(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) assert_int_equal(ended_of(i % 2 ? 5000 : 10), 2);
}

// A worker that does not run: it is held in a handler for a signal of its own.
static atomic_int held, let_go;
static void hold(int sig) {
    (void)sig;
    atomic_store(&held, 1);
    while (!atomic_load(&let_go)) rest(100);
    atomic_store(&held, 0);
}
static void only_caller(const void *ctx, long from, long to, int thread) {
    (void)from, (void)to;
    if (thread) atomic_fetch_add(*(atomic_int *const *)ctx, 1);
}
static void test_a_worker_that_is_not_running_is_not_waited_for(void **state) {
    (void)state;
    struct sigaction act = {.sa_handler = hold}, before;
    sigemptyset(&act.sa_mask);
    sigaction(SIGTRAP, &act, &before);
    const meeting m =
        have_meeting(0);  // worker 1; others that an earlier test has started stay out of two threads' work
    atomic_store(&let_go, 0);
    assert_int_equal(syscall(SYS_tgkill, getpid(), m.worker, SIGTRAP), 0);
    while (!atomic_load(&held)) rest(100);
    atomic_int others = 0, *at = &others;
    for (int i = 0; i < 200; i++) {
        hy_parallel(2, 100, i % 2, only_caller, &at);
        assert_int_equal(badly_done(2, 100, i % 3), 0);
    }
    assert_int_equal(others, 0);
    atomic_store(&let_go, 1);
    while (atomic_load(&held)) rest(100);
    sigaction(SIGTRAP, &before, NULL);
    assert_int_equal(ended_of(0), 2);  // and it comes back
}

// ---------------------------------------------------------------------------------------------------- who may call
typedef struct {
    atomic_int items, wrong;
} nest;
static void inner_piece(const void *ctx, long from, long to, int thread) {
    nest *x = *(nest *const *)ctx;
    if (thread) atomic_fetch_add(&x->wrong, 1);
    atomic_fetch_add(&x->items, (int)(to - from));
}
static void outer_piece(const void *ctx, long from, long to, int thread) {
    (void)thread;
    for (long i = from; i < to; i++) hy_parallel(4, 10, i % 3, inner_piece, ctx);
}
static void test_a_call_from_a_piece(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        nest x = {0}, *at = &x;
        hy_parallel(4, 20, 1, outer_piece, &at);
        assert_int_equal(x.items, 200);
        assert_int_equal(x.wrong, 0);
    }
}

static void *calls(void *arg) {
    int bad = 0;
    for (int i = 0; i < 300; i++) bad += badly_done(1 + i % 4, 1 + i % 200, i % 5);
    *(int *)arg = bad;
    return NULL;
}
static void test_callers_at_the_same_time(void **state) {
    (void)state;
    pthread_t t[4];
    int bad[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, calls, &bad[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(bad[i], 0);
}

// A child of fork has none of the threads; it gets its own.
static void test_after_fork(void **state) {
    (void)state;
    have_meeting(0);
    for (int i = 0; i < 5; i++) {
        const pid_t child = fork();
        if (!child) {
            alarm(SECONDS / 2);
            _exit(badly_done(3, 1000, 0) || badly_done(3, 1000, 1) || ended_of(0) != 2);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(badly_done(3, 1000, 0), 0);
    }
}

// ---------------------------------------------------------------------------------------------------- settings
static void note_threads(const void *ctx, long from, long to, int thread) {
    atomic_int *most = *(atomic_int *const *)ctx;
    for (int was = atomic_load(most); thread > was && !atomic_compare_exchange_weak(most, &was, thread);) continue;
    (void)from, (void)to;
    sched_yield();
}
static void test_threads_not_said(void **state) {
    (void)state;
    badly_done(8, 1000, 1);  // there are more workers than are wanted now
    assert_int_equal(hy_parallel_threads(), hy_cpus_allowed());
    assert_true(hy_cpus_allowed() >= 1);
    hy_parallel_set_threads(3);
    assert_int_equal(hy_parallel_threads(), 3);
    atomic_int most = 0, *at = &most;
    for (int i = 0; i < 50; i++) hy_parallel(0, 1000, 1, note_threads, &at);
    assert_true(most <= 2);
    hy_parallel_set_threads(0);
    assert_int_equal(hy_parallel_threads(), hy_cpus_allowed());
}

static void test_signals_put_off(void **state) {
    (void)state;
    sigset_t before, now, after;
    hy_put_off_signals(&before);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    assert_true(sigismember(&now, SIGINT) && sigismember(&now, SIGTERM) && !sigismember(&now, SIGSEGV));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_false(sigismember(&after, SIGINT));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_item_once, with_alarm),
        cmocka_unit_test_setup(test_workers_take_part, with_alarm),
        cmocka_unit_test_setup(test_a_slow_piece_is_waited_for, with_alarm),
        cmocka_unit_test_setup(test_a_worker_that_is_not_running_is_not_waited_for, with_alarm),
        cmocka_unit_test_setup(test_a_call_from_a_piece, with_alarm),
        cmocka_unit_test_setup(test_callers_at_the_same_time, with_alarm),
        cmocka_unit_test_setup(test_after_fork, with_alarm),
        cmocka_unit_test_setup(test_threads_not_said, with_alarm),
        cmocka_unit_test_setup(test_signals_put_off, with_alarm),
    };
    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
