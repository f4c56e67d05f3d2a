// main.c - the hylab command: finds the subcommand, handles signals. The only place that ends the process.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"
#include "core/base/memory.h"
#include "core/base/version.h"
#include "experiments/cli/commands.h"

static const struct {
    const char *name, *help;
    int (*run)(int, char **);
} commands[] = {
#define X(name, help) {#name, help, hy_cmd_##name},
#include "experiments/cli/commands.def"
#undef X
    {NULL, NULL, NULL},
};

static void usage(FILE *f) {
    fprintf(f, "hylab: build, train, measure and compare hybrid-head language models\n\n"
               "usage: hylab COMMAND [options]      hylab COMMAND --help tells more\n\n");
    for (int i = 0; commands[i].name; i++) fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(f, "\nexit status: 0 done, 1 the work failed, 2 bad usage or input, 130 interrupted, 141 nobody reads the "
               "output\n");
}

static int command(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("hylab " HY_VERSION " (commit %s%s, %s)\n", hy_version_commit(),
               hy_version_dirty() ? " with local changes" : "", hy_version_build());
        return 0;
    }
    for (int i = 0; commands[i].name; i++)
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "hylab: no command \"%s\"; `hylab --help` lists them\n", argv[1]);
    return 2;
}

// What was printed and could not be written is a failure of every command, but for a pipe that is read no further.
static int end(int status) {
    const hy_status s = hy_stream_end(stdout, "to standard output");
    if (!s || status) return status;
    if (s != HY_EPIPE) fprintf(stderr, "hylab: %s\n", hy_error_text());
    return hy_status_exit(s);
}

int main(int argc, char **argv) {
    hy_catch_no_memory();
    // shells start what is in the background with SIGINT ignored: who sends it nonetheless means it
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);  // a file size limit is a failed write, not a crash
    return end(command(argc, argv));
}
