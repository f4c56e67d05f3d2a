// bench_busy.c - training, prefill and decoding alone and beside a program that wants a processor all the time: what is
// left of the rate, here and in another build of this program if one is named (rounds interleaved).
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analysis/measure/throughput.h"
#include "core/family/model_file.h"
#include "core/format/table.h"
#include "experiments/bench/beside.h"
#include "experiments/cli/args.h"

enum { ROUNDS = 256 };

// ---------------------------------------------------------------------------------------------------- what is run
typedef struct {
    const char *name, *file;
    hy_weights weights;
    hy_tp_kind kind;
    int batch, context, tokens;
} work;
#define FOLDER "experiments/bench/"
static const work works[] = {
    {"decode, llama-100m", FOLDER "llama-100m.yaml", HY_WEIGHTS_F32, HY_TP_DECODE, 1, 1, 4},
    {"decode, llama-100m, bf16 weights", FOLDER "llama-100m.yaml", HY_WEIGHTS_BF16, HY_TP_DECODE, 1, 1, 4},
    {"decode, mamba-100m", FOLDER "mamba-100m.yaml", HY_WEIGHTS_F32, HY_TP_DECODE, 1, 1, 4},
    {"decode, hymba-bench", FOLDER "hymba-bench.yaml", HY_WEIGHTS_F32, HY_TP_DECODE, 1, 1, 8},
    {"prefill 128, hybrid-100m", FOLDER "hybrid-100m.yaml", HY_WEIGHTS_F32, HY_TP_PREFILL, 1, 128, 0},
    {"training B 2 T 128, llama-bench", FOLDER "llama-bench.yaml", HY_WEIGHTS_F32, HY_TP_TRAIN, 2, 128, 0},
    {"training B 2 T 128, hymba-bench", FOLDER "hymba-bench.yaml", HY_WEIGHTS_F32, HY_TP_TRAIN, 2, 128, 0},
    {"training B 16 T 32, variant hymba", "variants/hymba.yaml", HY_WEIGHTS_F32, HY_TP_TRAIN, 16, 32, 0},
};
enum { WORKS = sizeof works / sizeof *works };

static hy_status rate_of(const hy_model *m, const work *w, double *rate) {
    const hy_tp_spec spec = {
        .kind = w->kind, .batch = w->batch, .context = w->context, .reps = 1, .warmup = 1, .tokens = w->tokens};
    hy_tp_result r;
    HY_TRY(hy_throughput_measure(m->p, m->w, &spec, &r));
    *rate = r.rate[0];
    hy_throughput_free(&r);
    return HY_OK;
}

// Answers each line "I" with the tokens per second of work I.
static hy_status serve(const hy_backend *be) {
    hy_model m[WORKS] = {0};
    bool open[WORKS] = {false};
    hy_status s = HY_OK;
    for (int i; !s && scanf("%d", &i) == 1 && i >= 0 && i < WORKS;) {
        double rate = 0;
        if (!open[i]) s = hy_model_open(works[i].file, NULL, be, works[i].weights, HY_PRECISION_F32, 1, &m[i]);
        open[i] = open[i] || !s;
        if (!s) s = rate_of(&m[i], &works[i], &rate);
        if (!s) printf("%.9g\n", rate), fflush(stdout);
    }
    for (int i = 0; i < WORKS; i++)
        if (open[i]) hy_model_close(&m[i]);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the other programs
static hy_status ask(hy_beside *o, int i, double *rate) {
    fprintf(o->to, "%d\n", i);
    fflush(o->to);
    return fscanf(o->from, "%lf", rate) == 1 ? HY_OK : hy_error(HY_EFAIL, "a bench beside ended early");
}

static pid_t loop(void) {
    const pid_t p = fork();
    if (p) return p;
    for (volatile unsigned long n = 0;; n++) continue;
}
static hy_status ask_beside(hy_beside *o, int i, int loops, double *rate) {
    pid_t p[64];
    for (int k = 0; k < loops; k++) p[k] = loop();
    hy_status s = loops ? (usleep(100000), ask(o, i, rate)) : ask(o, i, rate);
    for (int k = 0; k < loops; k++)
        if (p[k] > 0) kill(p[k], SIGKILL), waitpid(p[k], NULL, 0);
    return s;
}

// ---------------------------------------------------------------------------------------------------- table
static void share(hy_table *t, const double *x, const double *over, int n) {
    double q[ROUNDS];
    for (int i = 0; i < n; i++) q[i] = x[i] / over[i];
    hy_sort(q, n);
    hy_table_num(t, hy_median(q, n), 2);
    hy_table_text(t, "%.2f-%.2f", q[0], q[n - 1]);
}
static hy_table *new_table(bool two) {
    hy_table *t = hy_table_new("Beside busy programs");
    hy_table_column(t, "work", NULL, NULL, HY_LEFT);
    hy_table_column(t, "alone", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "beside", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "left", "beside / alone", NULL, HY_RIGHT);
    hy_table_column(t, "left_range", "range", NULL, HY_RIGHT);
    if (!two) return t;
    hy_table_column(t, "other_left", "other build", NULL, HY_RIGHT);
    hy_table_column(t, "other_range", "range", NULL, HY_RIGHT);
    hy_table_column(t, "alone_ratio", "alone: this / other", NULL, HY_RIGHT);
    hy_table_column(t, "alone_range", "range", NULL, HY_RIGHT);
    hy_table_column(t, "beside_ratio", "beside: this / other", NULL, HY_RIGHT);
    hy_table_column(t, "beside_range", "range", NULL, HY_RIGHT);
    return t;
}

static hy_status one_work(hy_table *t, hy_beside *o, int builds, int i, int loops, int rounds) {
    static double rate[2][2][ROUNDS];  // [build][beside]
    double skip;
    for (int k = 0; k < builds; k++) HY_TRY(ask(&o[k], i, &skip));
    for (int r = 0; r < rounds; r++)
        for (int j = 0; j < 2 * builds; j++) {
            const int k = (j + r) % builds, beside = j / builds;
            HY_TRY(ask_beside(&o[k], i, beside ? loops : 0, &rate[k][beside][r]));
            fprintf(stderr, "%s, round %d of %d, %s, %s: %.1f tok/s\n", works[i].name, r + 1, rounds,
                    k ? "other build" : "this build", beside ? "beside" : "alone", rate[k][beside][r]);
        }
    hy_table_row(t);
    hy_table_text(t, "%s", works[i].name);
    hy_table_num(t, hy_median(rate[0][0], rounds), 1);
    hy_table_num(t, hy_median(rate[0][1], rounds), 1);
    for (int k = 0; k < builds; k++) share(t, rate[k][1], rate[k][0], rounds);
    for (int beside = 0; builds == 2 && beside < 2; beside++) share(t, rate[0][beside], rate[1][beside], rounds);
    return HY_OK;
}

static hy_status bench(const char *self, const char *against, int threads, const char *only, int loops, int rounds,
                       hy_table_format format) {
    hy_beside o[2] = {{0}};
    char n[16];
    snprintf(n, sizeof n, "%d", threads);
    const int builds = against ? 2 : 1;
    hy_status s = hy_beside_start(self, n, NULL, &o[0]);
    if (!s && against) s = hy_beside_start(against, n, NULL, &o[1]);
    hy_table *t = new_table(against != NULL);
    for (int i = 0; !s && i < WORKS; i++)
        if (!only || strstr(works[i].name, only)) s = one_work(t, o, builds, i, loops, rounds);
    hy_beside_stop(&o[0]), hy_beside_stop(&o[1]);
    hy_table_note(t, "%d threads beside %d busy loop%s; medians over %d interleaved rounds, ratios within a round",
                  threads, loops, loops == 1 ? "" : "s", rounds);
    if (!s) s = hy_table_print(t, format, stdout);
    hy_table_free(t);
    return s;
}

int main(int argc, char **argv) {
    int threads = 0, rounds = 5, loops = 1;
    const char *against = NULL, *only = NULL;
    bool serving = false, help = false;
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--threads", "N", HY_ARG_INT, &threads, 0, "threads (default: all cores)"},
        {"--loops", "N", HY_ARG_INT, &loops, 1, "busy programs (default 1, at most 64)"},
        {"--rounds", "N", HY_ARG_INT, &rounds, 1, "interleaved rounds (default 5, at most 256)"},
        {"--only", "TEXT", HY_ARG_TEXT, &only, 0, "only work whose name contains it"},
        {"--against", "PROGRAM", HY_ARG_TEXT, &against, 0, "bench_busy of another build"},
        {"--serve", NULL, HY_ARG_FLAG, &serving, 0,
         "answer a bench beside (read numbers of works from standard input)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "bench_busy [options]     (from the project's folder)",
                       .text = "Times models alone and beside a busy program.\n",
                       .args = args};
    hy_arg_list rest = {0};
    hy_backend be;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = hy_backend_cpu(NULL, threads, &be);
    if (!s && !help && serving)
        s = serve(&be);
    else if (!s && !help)
        s = bench(argv[0], against, be.threads, only, loops > 64 ? 64 : loops, rounds > ROUNDS ? ROUNDS : rounds,
                  format);
    free(rest.v);
    return hy_command_end("bench_busy", s);
}
