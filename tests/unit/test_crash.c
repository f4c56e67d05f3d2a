// test_crash.c - a process that crashes says whether memory was short then: a library that used what it did not get is
// no fault of the model; any other crash is.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "experiments/runner/crash.h"

// What a child that crashes by a signal has reported; *by: the signal that ended it.
static char *report_of(int sig, bool short_of_memory, int *by) {
    static char text[256];
    int p[2], status = 0;
    assert_int_equal(pipe(p), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(p[0]);
        const struct rlimit none = {0, 0}, little = {(rlim_t)64 << 20, (rlim_t)64 << 20};
        setrlimit(RLIMIT_CORE, &none);
        if (short_of_memory) setrlimit(RLIMIT_AS, &little);
        hy_crash_watch(p[1]);
        raise(sig);
        _exit(1);  // it went on
    }
    close(p[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < sizeof text && (got = read(p[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    close(p[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    *by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return text;
}

static void test_crashes(void **state) {
    (void)state;
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        int by;
        assert_string_equal(report_of(signals[i], false, &by), "");
        assert_int_equal(by, signals[i]);
        assert_non_null(strstr(report_of(signals[i], true, &by), "\n" HY_CRASH_MEMORY "\n"));
        assert_int_equal(by, signals[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
