// replay.c - a fuzz target without libFuzzer: each file named (or below a folder named) is an input, given once. Linked
// with a fuzz_NAME.c it is build/*/tests/replay_NAME, by which `make check` gives every target the inputs that are
// kept.
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "core/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t most);

// For targets with a mutator of their own, which is not called here.
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t most) {
    (void)data, (void)most;
    return n;
}

static const char *current = "";  // for the line that says where it ended
static void on_abort(int sig) {
    fprintf(stderr, "at %s\n", current);
    signal(sig, SIG_DFL);
    raise(sig);
}

static int give(const char *path) {
    char *text;
    size_t n;
    current = path;
    if (hy_file_read(path, (size_t)1 << 20, &text, &n)) {
        fprintf(stderr, "%s\n", hy_error_text());
        exit(2);
    }
    uint8_t *data = malloc(n ? n : 1);  // of the exact size, for the sanitizer
    if (n) memcpy(data, text, n);
    free(text);
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {20, 0}}, NULL);  // of processor time: a hang
    LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 1;
}

static int give_all(const char *path) {
    struct stat st;
    struct dirent **names;
    int given = 0;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) return give(path);
    const int n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char *below = hy_asprintf("%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') given += give_all(below);
        free(below);
        free(names[i]);
    }
    free(names);
    return given;
}

int main(int argc, char **argv) {
    int given = 0;
    const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGPROF};
    for (int i = 0; i < 5; i++) signal(fatal[i], on_abort);
    if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) given += give_all(argv[i]);
    printf("%d inputs\n", given);
    return 0;
}
