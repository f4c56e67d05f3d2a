// test_fulldisk.c - writers on a disk that fills up: a clear error, exit status 1, the old file as it was, no temporary
// file left. Two kinds of full: a limit on the size of files (any user), and a small file system of its own (root
// only).
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/safetensors.h"

#define LIMIT ((size_t)128 << 10)  // bytes that fit

// A child process tells its parent by exit status which step went wrong; 0: none.
enum { GOOD = 0, NO_MOUNT = 100 };
#define CHECK(cond)                                                                  \
    do {                                                                             \
        if (!(cond)) {                                                               \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #cond, hy_error_text()); \
            return 1;                                                                \
        }                                                                            \
    } while (0)

static hy_status fill(void *user, const char *name, void *dst, size_t bytes) {
    (void)user;
    (void)name;
    memset(dst, 7, bytes);
    return HY_OK;
}

// Every way of writing a file of about n bytes.
static hy_status write_tensors(const char *path, size_t n) {
    hy_st_writer *w = hy_st_writer_new();
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        hy_st_writer_add_fill(w, name, HY_ST_U8, 1, (int64_t[]){(int64_t)n / 4}, fill, NULL);
    }
    hy_status s = hy_st_writer_commit(w, path);
    hy_st_writer_free(w);
    return s;
}
static hy_status write_whole(const char *path, size_t n) {
    char *data = hy_xcalloc(n, 1);
    hy_status s = hy_file_write(path, data, n);
    free(data);
    return s;
}
static hy_status write_stream(const char *path, size_t n) {
    hy_outfile o;
    HY_TRY(hy_outfile_open(&o, path));
    for (size_t i = 0; i < n; i += 100) fprintf(o.f, "%-99s\n", "a line of a table");
    return hy_outfile_commit(&o);
}

static int files_in(const char *dir) {
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static int try_all(const char *dir, const char *reason) {
    static hy_status (*const writers[])(const char *, size_t) = {write_tensors, write_whole, write_stream};
    // far above the limit: the write fails; just above it: what is still buffered fails at the end
    static const size_t sizes[] = {4 * LIMIT, LIMIT + 600};
    char *path = hy_asprintf("%s/file", dir);
    for (int k = 0; k < 3; k++) {
        CHECK(writers[k](path, LIMIT / 4) == HY_OK);  // it works while there is room
        CHECK(hy_file_write(path, "old", 3) == HY_OK);
        for (int i = 0; i < 2; i++) {
            const hy_status s = writers[k](path, sizes[i]);
            CHECK(s == HY_EFAIL);
            CHECK(hy_status_exit(s) == 1);
            CHECK(strstr(hy_error_text(), path) && strstr(hy_error_text(), reason) &&
                  strstr(hy_error_text(), "unchanged"));
            char *old;
            size_t n;
            CHECK(hy_file_read(path, 100, &old, &n) == HY_OK);
            CHECK(n == 3 && !strcmp(old, "old"));
            free(old);
            CHECK(files_in(dir) == 1);
        }
        CHECK(writers[k](path, LIMIT / 4) == HY_OK);  // and again, once there is room
    }
    unlink(path);
    free(path);
    return GOOD;
}

static int size_limit(const char *dir) {
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit r = {LIMIT, LIMIT};
    CHECK(setrlimit(RLIMIT_FSIZE, &r) == 0);
    return try_all(dir, "File too large");
}

static int small_disk(const char *dir) {
    char size[32];
    snprintf(size, sizeof size, "size=%zu", LIMIT);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", dir, "tmpfs", 0, size))
        return NO_MOUNT;
    return try_all(dir, "No space left on device");
}

static void in_child(int (*body)(const char *)) {
    char dir[] = "/tmp/hylab_full.XXXXXX";
    assert_non_null(mkdtemp(dir));
    const pid_t child = fork();
    if (child == 0) _exit(body(dir));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    rmdir(dir);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_MOUNT) skip();
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static void test_size_limit(void **state) {
    (void)state;
    in_child(size_limit);
}
static void test_small_disk(void **state) {
    (void)state;
    in_child(small_disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_size_limit), cmocka_unit_test(test_small_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
