// bench_small.c - training steps of the models of experiments/roadmap at their batch shape: seconds by kind of op
// beside their floors, and whole steps, against another build of this program if one is named (rounds interleaved).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/format/table.h"
#include "core/task/task.h"
#include "core/train/optim.h"
#include "experiments/bench/beside.h"
#include "experiments/cli/args.h"
#include "experiments/runner/experiment.h"

enum { MODELS = 64, ROUNDS = 256 };

// ---------------------------------------------------------------------------------------------------- one model
typedef struct {
    const hy_run_item *item;
    hy_program *p;
    hy_task *task;
    hy_params *w;
    hy_exec *e;
    hy_optim opt;
    int32_t *ids, *labels, *full_ids, *full_labels;
    long step;
    int rows;
    double nll;  // of the newest step
} model;

static hy_status open_model(const hy_run_item *it, const hy_backend *be, model *m) {
    *m = (model){.item = it};
    HY_TRY(hy_model_build(it->spec, &m->p));
    HY_TRY(hy_task_open(it->task_kind, it->task_options, 1, &m->task));
    const int B = it->train->batch, T = hy_task_max_len(m->task), full = T + it->spec->meta_tokens;
    HY_TRY(hy_params_create(m->p, be, HY_F32, &m->w));
    HY_TRY(hy_params_init(m->w, 1));
    HY_TRY(hy_optim_open(m->w, 1, &m->opt));
    m->opt.beta1 = it->train->beta1, m->opt.beta2 = it->train->beta2, m->opt.eps = it->train->eps;
    m->opt.weight_decay = it->train->weight_decay;
    HY_TRY(hy_exec_create(m->p, be, HY_F32, HY_EXEC_TRAIN, B, full, 0, &m->e));
    const size_t small = (size_t)B * (size_t)T, rows = (size_t)B * (size_t)full;
    m->ids = hy_xcalloc(2 * small + 2 * rows, sizeof *m->ids);
    m->labels = m->ids + small, m->full_ids = m->labels + small, m->full_labels = m->full_ids + rows;
    return HY_OK;
}

static void close_model(model *m) {
    hy_exec_free(m->e);
    hy_optim_close(&m->opt);
    hy_params_free(m->w);
    hy_task_close(m->task);
    hy_program_free(m->p);
    free(m->ids);
}

static hy_status one_step(model *m) {
    const int B = m->item->train->batch, meta = m->p->spec.meta_tokens;
    int T, n = 0;
    HY_TRY(hy_task_batch(m->task, m->step++, B, m->ids, m->labels, &T));
    for (int i = 0; i < B * T; i++) n += m->labels[i] >= 0;
    hy_ids_with_meta(B, T, meta, m->ids, 0, m->full_ids);
    hy_ids_with_meta(B, T, meta, m->labels, HY_IGNORE, m->full_labels);
    const hy_batch b = {.B = B, .T = T + meta, .ids = m->full_ids, .labels = m->full_labels};
    m->rows = b.B * b.T;
    const double scale = n ? 1.0 / n : 0;
    const double ctl[HY_CTL_HOST] = {[HY_CTL_LR] = 1e-4, [HY_CTL_C1] = 0.5,      [HY_CTL_C2] = 0.5,
                                     [HY_CTL_CLIP] = 1,  [HY_CTL_SCALE] = scale, [HY_CTL_STEP] = (double)m->step};
    HY_TRY(hy_optim_begin(&m->opt, ctl));
    HY_TRY(hy_optim_add(&m->opt, m->e, &b, scale));
    HY_TRY(hy_optim_end(&m->opt));
    double report[2];
    HY_TRY(hy_optim_reports(&m->opt, report));
    m->nll = report[0];
    return HY_OK;
}

static hy_status time_steps(model *m, int steps, double *seconds) {
    const double start = hy_now();
    for (int i = 0; i < steps; i++) HY_TRY(one_step(m));
    *seconds = (hy_now() - start) / steps;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- floors
// Bytes a second of a copy that stays in the cache as activations of these models do, and operations a second of 256^3
// by the library.
static double copy_rate(void) {
    enum { N = 512 * 1024 };
    char *a = hy_xcalloc(2, N), *b = a + N;
    const double start = hy_now();
    for (int i = 0; i < 400; i++) {
        memcpy(b, a, N);
        a[i] = b[i + 1];
    }
    const double s = hy_now() - start;
    free(a);
    return 400.0 * 2 * N / s;
}
static double product_rate(const hy_backend *be) {
    enum { N = 256 };
    float *x = hy_xcalloc(3 * N * N, sizeof *x);
    const hy_linear_args a = {.M = N, .N = N, .K = N, .x = x, .w = x + N * N, .y = x + 2 * N * N, .ldx = N, .ldy = N};
    const hy_plan_req req = hy_backend_request(be, HY_F32, false);
    hy_launch l = {0};
    double start = 0;
    hy_status s = be->plan[HY_K_linear](&a, &req, &l);
    void *ws = hy_alloc(l.workspace + 1);
    for (int i = 0; !s && i < 50; i++) {
        if (i == 10) start = hy_now();
        s = l.run(&a, ws, &req);
    }
    const double t = hy_now() - start;
    free(ws);
    free(x);
    return s ? 1 : 40 * 2.0 * N * N * N / t;
}

// What an op must do at least: its operands read or written once forward; backward those and their gradients. Products
// are counted for linear only (attention and scans have benches of their own).
static double floor_seconds(const model *m, const hy_op *op, bool backward, double copy, double product) {
    double width = 0, flops = 0;
    for (int i = 0; i < HY_OP_INPUTS; i++)
        if (op->in[i] >= 0) width += m->p->values[op->in[i]].width;
    if (op->out >= 0) width += m->p->values[op->out].width;
    if (op->kind == HY_OP_LINEAR && op->in[0] >= 0 && op->out >= 0)
        flops = 2.0 * m->rows * m->p->values[op->in[0]].width * m->p->values[op->out].width;
    const double bytes = 4.0 * m->rows * width * (backward ? 2 : 1) / copy,
                 products = flops * (backward ? 2 : 1) / product;
    return bytes > products ? bytes : products;
}

static hy_status by_op(hy_table *t, model *m, int steps, double copy, double product) {
    enum { KINDS = HY_OP_KINDS };
    double whole, took[2][KINDS] = {{0}}, least[2][KINDS] = {{0}}, ops = 0;
    int calls[2][KINDS] = {{0}};
    HY_TRY(time_steps(m, 5, &whole));
    HY_TRY(time_steps(m, steps, &whole));
    hy_exec_profile(m->e, true);
    for (int i = 0; i < steps; i++) HY_TRY(one_step(m));
    const double *s = hy_exec_seconds(m->e);
    const int n = m->p->n_ops;
    for (int i = 0; i < 2 * n; i++) {
        const hy_op *op = &m->p->ops[i % n];
        if (s[i] <= 0) continue;
        took[i >= n][op->kind] += s[i] / steps;
        least[i >= n][op->kind] += floor_seconds(m, op, i >= n, copy, product);
        calls[i >= n][op->kind]++;
        ops += s[i] / steps;
    }
    hy_exec_profile(m->e, false);
    for (int k = 0; k < 2 * KINDS; k++) {
        const int b = k % 2, kind = k / 2;
        if (!calls[b][kind]) continue;
        hy_table_row(t);
        hy_table_text(t, "%s", m->item->variant);
        hy_table_text(t, "%s%s", hy_op_name((hy_op_kind)kind), b ? " backward" : "");
        hy_table_num(t, calls[b][kind], 0);
        hy_table_num(t, took[b][kind] * 1e6, 0);
        hy_table_num(t, 100 * took[b][kind] / whole, 1);
        hy_table_num(t, least[b][kind] * 1e6, 0);
        hy_table_num(t, took[b][kind] / least[b][kind], 1);
    }
    hy_table_row(t);
    hy_table_text(t, "%s", m->item->variant);
    hy_table_text(t, "outside ops");
    hy_table_empty(t);
    hy_table_num(t, (whole - ops) * 1e6, 0);
    hy_table_num(t, 100 * (whole - ops) / whole, 1);
    hy_table_empty(t);
    hy_table_empty(t);
    return HY_OK;
}

static hy_status profile(const hy_backend *be, const hy_experiment *x, const char *only, int steps,
                         hy_table_format format) {
    const double copy = copy_rate() * be->threads, product = product_rate(be);
    hy_table *t = hy_table_new("Training steps by kind of op");
    hy_table_column(t, "model", NULL, NULL, HY_LEFT);
    hy_table_column(t, "op", NULL, NULL, HY_LEFT);
    hy_table_column(t, "calls", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "time", NULL, "us", HY_RIGHT);
    hy_table_column(t, "share", NULL, "%", HY_RIGHT);
    hy_table_column(t, "floor", NULL, "us", HY_RIGHT);
    hy_table_column(t, "over", "/ floor", NULL, HY_RIGHT);
    hy_status s = HY_OK;
    for (int i = 0; !s && i < x->n_items; i++) {
        model m;
        if (only && !strstr(x->items[i].variant, only)) continue;
        s = open_model(&x->items[i], be, &m);
        if (!s) s = by_op(t, &m, steps, copy, product);
        close_model(&m);
    }
    hy_table_note(t,
                  "%s, %d threads; floor: the larger of bytes at %.0f GB/s (a copy in the cache) and products of "
                  "linear at %.0f GFLOP/s (256^3); means of %d steps",
                  be->device, be->threads, copy * 1e-9, product * 1e-9, steps);
    if (!s) s = hy_table_print(t, format, stdout);
    hy_table_free(t);
    return s;
}

// ---------------------------------------------------------------------------------------------------- beside another
// Answers each line "I STEPS" with the seconds of a step of model I and its loss.
static hy_status serve(const hy_backend *be, const hy_experiment *x) {
    model m[MODELS];
    hy_status s = x->n_items <= MODELS ? HY_OK : hy_error(HY_EINPUT, "more than %d models", MODELS);
    int n = 0, i, steps;
    for (; !s && n < x->n_items; n++) s = open_model(&x->items[n], be, &m[n]);
    while (!s && scanf("%d %d", &i, &steps) == 2 && i >= 0 && i < n) {
        double seconds;
        s = time_steps(&m[i], steps, &seconds);
        if (!s) printf("%.9g %.17g\n", seconds, m[i].nll), fflush(stdout);
    }
    while (n > 0) close_model(&m[--n]);
    return s;
}

static hy_status ask(hy_beside *o, int at, int steps, double *seconds, double *nll) {
    fprintf(o->to, "%d %d\n", at, steps);
    fflush(o->to);
    return fscanf(o->from, "%lf %lf", seconds, nll) == 2 ? HY_OK : hy_error(HY_EFAIL, "a bench beside ended early");
}

static hy_status versus(const hy_experiment *x, const char *programs[2], int threads, const char *isa, const char *only,
                        int rounds, int steps, hy_table_format format) {
    hy_beside o[2] = {{0}};
    char n[16];
    snprintf(n, sizeof n, "%d", threads);
    hy_table *t = hy_table_new("Training steps, this build against another");
    hy_table_column(t, "model", NULL, NULL, HY_LEFT);
    hy_table_column(t, "other", NULL, "us", HY_RIGHT);
    hy_table_column(t, "this", NULL, "us", HY_RIGHT);
    hy_table_column(t, "ratio", "times as fast", NULL, HY_RIGHT);
    hy_table_column(t, "low", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "high", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "difference", "loss differs by", NULL, HY_RIGHT);
    hy_status s = hy_beside_start(programs[0], n, isa, &o[0]);
    if (!s) s = hy_beside_start(programs[1], n, isa, &o[1]);
    for (int i = 0; !s && i < x->n_items; i++) {
        double a[2][ROUNDS], ratio[ROUNDS], nll[2], skip, low = 1e9, high = 0;
        if (only && !strstr(x->items[i].variant, only)) continue;
        for (int k = 0; !s && k < 2; k++) s = ask(&o[k], i, 2, &skip, &nll[k]);
        for (int r = 0; !s && r < rounds; r++) {
            for (int k = 0; !s && k < 2; k++) s = ask(&o[(k + r) % 2], i, steps, &a[(k + r) % 2][r], &nll[(k + r) % 2]);
            ratio[r] = a[0][r] / a[1][r];
            low = ratio[r] < low ? ratio[r] : low, high = ratio[r] > high ? ratio[r] : high;
        }
        if (s) break;
        hy_table_row(t);
        hy_table_text(t, "%s", x->items[i].variant);
        hy_table_num(t, hy_median(a[0], rounds) * 1e6, 0);
        hy_table_num(t, hy_median(a[1], rounds) * 1e6, 0);
        hy_table_num(t, hy_median(ratio, rounds), 2);
        hy_table_num(t, low, 2);
        hy_table_num(t, high, 2);
        hy_table_text(t, "%.1e", nll[1] - nll[0]);
    }
    hy_beside_stop(&o[0]), hy_beside_stop(&o[1]);
    hy_table_note(t, "%d threads; medians over %d interleaved rounds of %d steps", threads, rounds, steps);
    if (!s) s = hy_table_print(t, format, stdout);
    hy_table_free(t);
    return s;
}

int main(int argc, char **argv) {
    int threads = 0, rounds = 9, steps = 20;
    const char *isa = NULL, *against = NULL, *only = NULL;
    bool serving = false, help = false;
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--threads", "N", HY_ARG_INT, &threads, 0, "threads (default: all cores)"},
        {"--isa", "NAME", HY_ARG_TEXT, &isa, 0, "kernels: base, avx2, avx512 (default: the best this machine has)"},
        {"--rounds", "N", HY_ARG_INT, &rounds, 1, "interleaved rounds (default 9, at most 256)"},
        {"--steps", "N", HY_ARG_INT, &steps, 1, "steps of a round, or of a profile (default 20)"},
        {"--only", "TEXT", HY_ARG_TEXT, &only, 0, "only models whose name contains it"},
        {"--against", "PROGRAM", HY_ARG_TEXT, &against, 0, "bench_small of another build: whole steps beside it"},
        {"--serve", NULL, HY_ARG_FLAG, &serving, 0, "answer a bench beside (read steps from standard input)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "bench_small [options]     (from the project's folder)",
                       .text = "Times training steps of the small models of experiments/roadmap.\n",
                       .args = args};
    hy_arg_list rest = {0};
    hy_backend be;
    hy_experiment *x = NULL;
    const char *const one[] = {"seeds=[1]", NULL};
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = hy_backend_cpu(isa, threads, &be);
    if (!s && !help) s = hy_experiment_load("experiments/roadmap/roadmap.yaml", NULL, one, &x);
    if (x && serving)
        s = serve(&be, x);
    else if (x && against)
        s = versus(x, (const char *[2]){against, argv[0]}, be.threads, isa, only, rounds > ROUNDS ? ROUNDS : rounds,
                   steps, format);
    else if (x)
        s = profile(&be, x, only, steps, format);
    hy_experiment_free(x);
    free(rest.v);
    return hy_command_end("bench_small", s);
}
