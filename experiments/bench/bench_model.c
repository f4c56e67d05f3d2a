// bench_model.c - whole models: training beside the machine's sgemm rate (and beside PyTorch if it is named), prefill
// and decoding of models of about 110M parameters, decoding beside the memory-bandwidth bound. Rounds are interleaved:
// every figure is set against a yardstick measured next to it, and medians of those ratios are what counts.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analysis/measure/throughput.h"
#include "core/format/table.h"
#include "core/task/task.h"
#include "experiments/cli/args.h"
#include "core/family/model_file.h"

// ---------------------------------------------------------------------------------------------------- yardsticks
enum { N = 1024 };
static hy_status sgemm_rate(const hy_backend *be, double *flops) {
    static float *x, *w, *y;
    if (!x) {
        x = hy_alloc(N * N * 4);
        w = hy_alloc(N * N * 4);
        y = hy_alloc(N * N * 4);
        if (!x || !w || !y) return HY_ENOMEM;
        for (int i = 0; i < N * N; i++) x[i] = (float)(i % 7) - 3, w[i] = (float)(i % 5) - 2;
    }
    const hy_linear_args a = {.M = N, .N = N, .K = N, .x = x, .w = w, .y = y, .ldx = N, .ldy = N};
    const hy_plan_req req = hy_backend_request(be, HY_F32, false);
    hy_launch l = {0};
    HY_TRY(be->plan[HY_K_linear](&a, &req, &l));
    void *ws = hy_alloc(l.workspace);
    hy_status s = l.run(&a, ws, &req);  // warm
    const double t = hy_now();
    for (int i = 0; !s && i < 10; i++) s = l.run(&a, ws, &req);
    *flops = 10 * 2.0 * N * N * N / (hy_now() - t);
    free(ws);
    return s;
}

static double read_rate(int threads) {  // bytes per second of a block far larger than the caches
    static uint64_t *m;
    const size_t words = (size_t)48 << 20;
    if (!m) {
        m = hy_alloc(words * sizeof *m);
        for (size_t i = 0; m && i < words; i++) m[i] = i;
    }
    uint64_t sum = 0;
    const double t = hy_now();
#pragma omp parallel for schedule(static) num_threads(threads) reduction(^ : sum)
    for (size_t i = 0; i < words; i += 8)
        sum ^= (m[i] ^ m[i + 1] ^ m[i + 2] ^ m[i + 3]) ^ (m[i + 4] ^ m[i + 5] ^ m[i + 6] ^ m[i + 7]);
    const double s = hy_now() - t;
    return sum == 1 ? 0 : (double)(words * sizeof *m) / s;
}

// 6 N + attention: forward and twice that backward, multiply-add = 2, visible pairs only; T text tokens after the meta
// tokens.
static double train_flops(const hy_model_spec *m, int batch, int T) {
    hy_param_count c;
    hy_model_count(m, &c);
    double pairs = 0;
    for (int i = 0; i < m->n_layers; i++) {
        const hy_layer_spec *l = &m->layers[i];
        for (int q = 0; hy_layer_has_attention(l) && q < m->meta_tokens + T; q++) {
            const int first = hy_attn_first(q, l->window, m->meta_tokens),
                      meta = q + 1 < m->meta_tokens ? q + 1 : m->meta_tokens;
            pairs += (double)l->heads * (l->d_qk + l->d_v) * (meta + (q >= first ? q - first + 1 : 0));
        }
    }
    return batch * (6.0 * (double)c.total * (m->meta_tokens + T) + 3 * 2 * pairs);
}

// ---------------------------------------------------------------------------------------------------- parity
// The kernels about to be timed against the plain ones: loss and gradient norm of a short batch.
static hy_status loss_and_norm(const char *file, hy_weights how, const char *isa, int threads, int T, bool gradient,
                               double out[2]) {
    hy_backend be;
    hy_model m;
    HY_TRY(hy_backend_cpu(isa, threads, &be));
    HY_TRY(hy_model_open(file, NULL, &be, how, HY_PRECISION_F32, 1, &m));
    const int total = m.p->spec.meta_tokens + T;
    int32_t *ids = hy_xcalloc((size_t)T * 2, 4), *full = hy_xcalloc((size_t)total * 2, 4);
    hy_rng r = hy_rng_make(1, 1);
    for (int i = 0; i < 2 * T; i++) ids[i] = (int32_t)hy_rng_below(&r, (uint64_t)m.p->spec.vocab);
    hy_ids_with_meta(1, T, m.p->spec.meta_tokens, ids, 0, full);
    hy_ids_with_meta(1, T, m.p->spec.meta_tokens, ids + T, HY_IGNORE, full + total);
    const hy_batch b = {.B = 1, .T = total, .ids = full, .labels = full + total};
    hy_exec *e = NULL;
    hy_status s = gradient ? hy_params_want_grad(m.w) : HY_OK;
    if (!s) s = hy_exec_create(m.p, &be, HY_F32, gradient ? HY_EXEC_TRAIN : HY_EXEC_INFER, 1, total, 0, &e);
    if (!s) s = hy_exec_forward(e, m.w, &b, NULL, HY_HEAD_LOSS, NULL);
    if (!s && gradient) s = hy_exec_backward(e, m.w, 1.0 / T, NULL);
    if (!s) out[0] = hy_exec_nll_sum(e) / T;
    out[1] = 0;
    for (size_t i = 0; !s && gradient && i < m.p->param_elems; i++) out[1] += pow(((float *)m.w->grad)[i], 2);
    hy_exec_free(e);
    hy_model_close(&m);
    free(ids);
    free(full);
    return s;
}

static hy_status parity(const char *file, hy_weights how, const hy_backend *be, int T, bool gradient) {
    double fast[2], ref[2];
    HY_TRY(loss_and_norm(file, how, hy_isa_name(be->isa), be->threads, T, gradient, fast));
    HY_TRY(loss_and_norm(file, how, "ref", be->threads, T, gradient, ref));
    for (int i = 0; i < 1 + gradient; i++)  // the bound of the golden tests: 1e-5 forward, 1e-4 in gradients
        if (!(fabs(fast[i] - ref[i]) <= (i ? 1e-4 : 1e-5) * fabs(ref[i])))
            return hy_error(HY_EFAIL, "%s: %s %.9g with fast kernels, %.9g with plain ones: no timing", file,
                            i ? "squared gradient norm" : "loss", fast[i], ref[i]);
    return HY_OK;
}

// --------------------------------------------------------------------------------------------------- PyTorch beside it
typedef struct {
    FILE *to, *from;
    pid_t pid;
} torch;
static hy_status torch_line(torch *t, double *seconds) {
    char line[1024];
    if (!fgets(line, sizeof line, t->from)) return hy_error(HY_EFAIL, "the PyTorch program ended early");
    const char *s = strstr(line, "\"seconds\":");
    *seconds = s ? strtod(s + 10, NULL) : 0;
    return HY_OK;
}
// What a user of PyTorch on a CPU would run. The first is the reference of the main table's column.
typedef struct {
    const char *name, *precision, *scan;
    bool compile;
} torch_mode;
static const torch_mode MODES[] = {
    {"eager float32", "f32", "loop", false},
    {"eager bf16 autocast", "bf16", "loop", false},
    {"compiled float32", "f32", "loop", true},
    {"compiled bf16 autocast", "bf16", "loop", true},
    {"eager float32, parallel scan", "f32", "parallel", false},
    {"eager bf16 autocast, parallel scan", "bf16", "parallel", false},
};
enum { NMODES = sizeof MODES / sizeof *MODES };
// A loop over time is unrolled by the compiler, which takes hours; a model without a scan needs no other scan.
static bool torch_can(const torch_mode *m, const char *model) {
    return !strcmp(model, "hymba") ? !m->compile : !strcmp(m->scan, "loop");
}
static hy_status torch_start(const char *python, const char *model, int threads, const torch_mode *m, torch *t) {
    int in[2], out[2];
    char n[16];
    snprintf(n, sizeof n, "%d", threads);
    if (pipe(in) || pipe(out)) return hy_error(HY_EFAIL, "no pipe");
    if ((t->pid = fork()) == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execlp(python, python, "experiments/bench/bench_torch.py", "--model", model, "--threads", n, "--serve",
               "--precision", m->precision, "--scan", m->scan, m->compile ? "--compile" : (char *)NULL, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    t->to = fdopen(in[1], "w");
    t->from = fdopen(out[0], "r");
    double skip;
    return torch_line(t, &skip);  // what model it is
}
static hy_status torch_step(torch *t, double *seconds) {
    fprintf(t->to, "step 1\n");
    fflush(t->to);
    return torch_line(t, seconds);
}
static void torch_stop(torch *t) {
    if (!t->to) return;
    fprintf(t->to, "quit\n");
    fclose(t->to);
    fclose(t->from);
    waitpid(t->pid, NULL, 0);
}

// ---------------------------------------------------------------------------------------------------- training
static hy_status one_rate(const hy_model *m, hy_tp_kind kind, int batch, int context, int reps, double *rates,
                          char **path) {
    const hy_tp_spec spec = {.kind = kind, .batch = batch, .context = context, .reps = reps, .warmup = 1, .tokens = 16};
    hy_tp_result r;
    HY_TRY(hy_throughput_measure(m->p, m->w, &spec, &r));
    memcpy(rates, r.rate, (size_t)r.n * sizeof *rates);
    if (path && !*path) *path = hy_xstrdup(r.path);
    hy_throughput_free(&r);
    return HY_OK;
}

// The same in bfloat16, of the rate in float32 next to it.
static void half_row(hy_table *t, const char *what, const char *model, const double *half, const double *full,
                     int rounds) {
    double times[256];
    for (int i = 0; i < rounds; i++) times[i] = 100 * half[i] / full[i];
    hy_table_row(t);
    hy_table_text(t, "%s, bf16, %s", what, model);
    hy_table_num(t, hy_median(half, rounds), 0);
    hy_table_empty(t);
    hy_table_empty(t);
    hy_table_num(t, hy_median(times, rounds), 1);
    hy_table_text(t, "float32");
}

static void torch_row(hy_table *t, const char *model, const torch_mode *m, const double *rate, double *ratio,
                      const double *half, int rounds) {
    double times[256];
    for (int i = 0; half && i < rounds; i++) times[i] = half[i] / rate[i];
    hy_sort(ratio, rounds);
    hy_table_row(t);
    hy_table_text(t, "%s", model);
    hy_table_text(t, "%s", m->name);
    hy_table_num(t, rounds, 0);
    hy_table_num(t, hy_median(rate, rounds), 0);
    hy_table_num(t, hy_median(ratio, rounds), 2);
    hy_table_num(t, ratio[0], 2);
    hy_table_num(t, ratio[rounds - 1], 2);
    hy_table_num(t, half ? hy_median(times, rounds) : NAN, 2);
}
static hy_table *torch_table(void) {
    hy_table *t = hy_table_new("Training beside PyTorch: hylab float32 over it");
    hy_table_column(t, "model", NULL, NULL, HY_LEFT);
    hy_table_column(t, "torch", "PyTorch", NULL, HY_LEFT);
    hy_table_column(t, "n", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "rate", "its rate", "tok/s", HY_RIGHT);
    hy_table_column(t, "ratio", "hylab / it", NULL, HY_RIGHT);
    hy_table_column(t, "least", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "largest", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "bf16_ratio", "in bf16 / it", NULL, HY_RIGHT);
    hy_table_note(t,
                  "n interleaved rounds; rates and ratios are medians, a ratio is taken within its round. On a shared "
                  "machine every rate is a lower bound; the ratios are not.");
    return t;
}
static hy_status training(hy_table *t, hy_table *beside, const char *file, const char *model, const hy_backend *be,
                          const char *python, int rounds) {
    enum { BATCH = 8, T = 512 };
    HY_TRY(parity(file, HY_WEIGHTS_F32, be, 33, true));
    hy_model m, half = {0};
    torch py[NMODES] = {0};
    char *path = NULL, *half_path = NULL;
    double rate[256], share[256], sg[256], rate16[256], seconds;
    static double ratio[NMODES][256], torch_rate[NMODES][256];
    HY_TRY(hy_model_open(file, NULL, be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &m));
    hy_status s = be->bf16_slow ? HY_OK : hy_model_open(file, NULL, be, HY_WEIGHTS_F32, HY_PRECISION_BF16, 1, &half);
    for (int k = 0; python && !s && k < NMODES; k++) {
        if (!torch_can(&MODES[k], model)) continue;
        s = torch_start(python, model, be->threads, &MODES[k], &py[k]);
        if (!s) s = torch_step(&py[k], &seconds);  // not counted
        if (s && k) {                              // one that does not run here (no compiler, no bf16) is left out
            fprintf(stderr, "%s: PyTorch %s does not run here\n", model, MODES[k].name);
            torch_stop(&py[k]);
            py[k] = (torch){0};
            s = HY_OK;
        }
    }
    const double flops = train_flops(&m.p->spec, BATCH, T);
    for (int i = 0; !s && i < rounds; i++) {
        double before = 0, after = 0;
        s = sgemm_rate(be, &before);
        if (!s) s = one_rate(&m, HY_TP_TRAIN, BATCH, T, 1, &rate[i], &path);
        if (!s) s = sgemm_rate(be, &after);
        if (!s && half.p) s = one_rate(&half, HY_TP_TRAIN, BATCH, T, 1, &rate16[i], &half_path);
        sg[i] = (before + after) / 2;
        share[i] = flops * rate[i] / (BATCH * T) / sg[i];
        for (int k = 0; !s && k < NMODES; k++) {
            if (!py[k].to) continue;
            s = torch_step(&py[k], &seconds);
            torch_rate[k][i] = BATCH * T / seconds;
            ratio[k][i] = rate[i] / torch_rate[k][i];
        }
        fprintf(stderr, "%s training, round %d of %d: %.0f tok/s, %.0f %% of %.0f GFLOP/s\n", model, i + 1, rounds,
                rate[i], 100 * share[i], sg[i] * 1e-9);
    }
    if (!s) {
        hy_table_row(t);
        hy_table_text(t, "training, %s, B %d T %d", model, BATCH, T);
        hy_table_num(t, hy_median(rate, rounds), 0);
        hy_table_num(t, flops / (BATCH * T) * hy_median(rate, rounds) * 1e-9, 1);
        hy_table_num(t, hy_median(sg, rounds) * 1e-9, 1);
        hy_table_num(t, 100 * hy_median(share, rounds), 1);
        hy_table_text(t, "sgemm");
        hy_table_num(t, python ? hy_median(ratio[0], rounds) : NAN, 2);
        fprintf(stderr, "kernels: %s\n", path);
        if (half.p) half_row(t, "training", model, rate16, rate, rounds);
        if (half.p) fprintf(stderr, "kernels in bf16: %s\n", half_path);
    }
    for (int k = 0; k < NMODES; k++) {
        if (!s && py[k].to)
            torch_row(beside, model, &MODES[k], torch_rate[k], ratio[k], half.p ? rate16 : NULL, rounds);
        torch_stop(&py[k]);
    }
    free(path);
    free(half_path);
    hy_model_close(&m);
    hy_model_close(&half);
    return s;
}

// --------------------------------------------------------------------------------------------------- prefill, decoding
static hy_status serving(hy_table *t, const char *file, const hy_backend *be, int rounds) {
    HY_TRY(parity(file, HY_WEIGHTS_F32, be, 5, false));
    hy_model m, half = {0};
    double rate[256], rate16[256], share[256], sg[256], rd[256], near0[256], far[256];
    HY_TRY(hy_model_open(file, NULL, be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &m));
    const hy_model_spec *spec = &m.p->spec;
    // mean depth of 512 prompt tokens; logits are made for the last one only
    const double bytes = (double)m.p->param_elems * 4, head = 2.0 * spec->vocab * spec->d_model;
    const double forward = hy_model_flops_token(spec, 256) - head * 511 / 512;
    hy_status s = be->bf16_slow ? HY_OK : hy_model_open(file, NULL, be, HY_WEIGHTS_AUTO, HY_PRECISION_BF16, 1, &half);
    for (int i = 0; !s && i < rounds; i++) {
        s = sgemm_rate(be, &sg[i]);
        if (!s) s = one_rate(&m, HY_TP_PREFILL, 1, 512, 1, &rate[i], NULL);
        if (!s && half.p) s = one_rate(&half, HY_TP_PREFILL, 1, 512, 1, &rate16[i], NULL);
        share[i] = forward * rate[i] / sg[i];
    }
    if (!s) {
        hy_table_row(t);
        hy_table_text(t, "prefill 512, %s", m.p->spec.name);
        hy_table_num(t, hy_median(rate, rounds), 0);
        hy_table_num(t, forward * hy_median(rate, rounds) * 1e-9, 1);
        hy_table_num(t, hy_median(sg, rounds) * 1e-9, 1);
        hy_table_num(t, 100 * hy_median(share, rounds), 1);
        hy_table_text(t, "sgemm");
        if (half.p) half_row(t, "prefill 512", m.p->spec.name, rate16, rate, rounds);
    }
    hy_model_close(&half);
    for (int i = 0; !s && i < rounds; i++) {
        rd[i] = read_rate(be->threads);
        s = one_rate(&m, HY_TP_DECODE, 1, 1, 1, &near0[i], NULL);
        share[i] = near0[i] * bytes / rd[i];
    }
    if (!s) {
        hy_table_row(t);
        hy_table_text(t, "decode at depth 0, %s", m.p->spec.name);
        hy_table_num(t, hy_median(near0, rounds), 1);
        hy_table_empty(t);
        hy_table_num(t, hy_median(rd, rounds) * 1e-9, 1);
        hy_table_num(t, 100 * hy_median(share, rounds), 1);
        hy_table_text(t, "DRAM read");
    }
    for (int i = 0; !s && i < rounds; i++) {
        s = one_rate(&m, HY_TP_DECODE, 1, 1, 1, &near0[i], NULL);
        if (!s) s = one_rate(&m, HY_TP_DECODE, 1, 4096, 1, &far[i], NULL);
        share[i] = far[i] / near0[i];
    }
    if (!s) {
        hy_table_row(t);
        hy_table_text(t, "decode at depth 4096, %s", m.p->spec.name);
        hy_table_num(t, hy_median(far, rounds), 1);
        hy_table_empty(t);
        hy_table_empty(t);
        hy_table_num(t, 100 * hy_median(share, rounds), 1);
        hy_table_text(t, "depth 0");
    }
    hy_model_close(&m);
    return s;
}

// Decoding with weights in bfloat16, beside the bound of reading their bytes and beside float32.
static hy_status decoding_bf16(hy_table *t, const char *file, const hy_backend *be, int rounds) {
    HY_TRY(parity(file, HY_WEIGHTS_BF16, be, 5, false));
    hy_model half, full = {0};
    double rate[256], wide[256], rd[256], share[256], times[256];
    HY_TRY(hy_model_open(file, NULL, be, HY_WEIGHTS_BF16, HY_PRECISION_F32, 1, &half));
    hy_status s = hy_model_open(file, NULL, be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &full);
    for (int i = 0; !s && i < rounds; i++) {
        rd[i] = read_rate(be->threads);
        s = one_rate(&half, HY_TP_DECODE, 1, 1, 1, &rate[i], NULL);
        if (!s) s = one_rate(&full, HY_TP_DECODE, 1, 1, 1, &wide[i], NULL);
        share[i] = rate[i] * (double)half.w->bytes / rd[i];
        times[i] = rate[i] / wide[i];
    }
    for (int k = 0; !s && k < 2; k++) {
        hy_table_row(t);
        hy_table_text(t, "decode at depth 0, bf16 weights, %s", half.p->spec.name);
        hy_table_num(t, hy_median(rate, rounds), 1);
        hy_table_empty(t);
        if (k)
            hy_table_empty(t);
        else
            hy_table_num(t, hy_median(rd, rounds) * 1e-9, 1);
        hy_table_num(t, 100 * hy_median(k ? times : share, rounds), 1);
        hy_table_text(t, k ? "float32 weights" : "DRAM read");
    }
    hy_model_close(&half);
    hy_model_close(&full);
    return s;
}

static hy_status bench(int threads, const char *isa, const char *python, int rounds, const char *only,
                       hy_table_format format) {
    hy_backend be;
    HY_TRY(hy_backend_cpu(isa, threads, &be));
    hy_table *t = hy_table_new("Whole models, float32 (weights too where nothing else is said)");
    hy_table_column(t, "what", NULL, NULL, HY_LEFT);
    hy_table_column(t, "rate", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "gflops", "work", "GFLOP/s", HY_RIGHT);
    hy_table_column(t, "yardstick", NULL, "GFLOP/s or GB/s", HY_RIGHT);
    hy_table_column(t, "share", NULL, "%", HY_RIGHT);
    hy_table_column(t, "of", NULL, NULL, HY_LEFT);
    hy_table_column(t, "torch_ratio", "/ PyTorch", NULL, HY_RIGHT);
    hy_status s = HY_OK;
    hy_table *beside = torch_table();
    const char *const train[] = {"llama", "hymba"}, *const serve[] = {"llama-100m", "mamba-100m", "hybrid-100m"};
    for (int i = 0; !s && i < 2; i++) {
        char *file = hy_asprintf("experiments/bench/%s-bench.yaml", train[i]);
        if (!only || strstr(file, only)) s = training(t, beside, file, train[i], &be, python, rounds);
        free(file);
    }
    for (int i = 0; !s && i < 3; i++) {
        char *file = hy_asprintf("experiments/bench/%s.yaml", serve[i]);
        if (!only || strstr(file, only)) s = serving(t, file, &be, rounds);
        if (!s && (!only || strstr(file, only))) s = decoding_bf16(t, file, &be, rounds);
        free(file);
    }
    hy_table_note(t, "%s; medians over %d interleaved rounds; shares and ratios are medians of per-round ratios",
                  be.device, rounds);
    hy_table_note(t, "work: training 6 N + attention of visible pairs (forward x 3), prefill forward FLOPs (logits of "
                     "the last token only); decode bound: all weights read once a token");
    if (!s) s = hy_table_print(t, format, stdout);
    if (!s && python) s = hy_table_print(beside, format, stdout);
    hy_table_free(t);
    hy_table_free(beside);
    return s;
}

int main(int argc, char **argv) {
    int threads = 0, rounds = 9;
    const char *isa = NULL, *python = NULL, *only = NULL;
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--threads", "N", HY_ARG_INT, &threads, 0, "threads (default: all cores)"},
        {"--isa", "NAME", HY_ARG_TEXT, &isa, 0, "kernels: base, avx2, avx512 (default: the best this machine has)"},
        {"--rounds", "N", HY_ARG_INT, &rounds, 1, "interleaved rounds (default 9, at most 256)"},
        {"--torch", "PYTHON", HY_ARG_TEXT, &python, 0,
         "a Python that has torch: trains the same models beside, step by step"},
        {"--only", "TEXT", HY_ARG_TEXT, &only, 0, "only models whose file name contains it: llama-bench, 100m ..."},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "bench_model [options]     (from the project's folder)",
                       .text = "Times whole models against the machine's own rates.\n",
                       .args = args,
                       .max_rest = 0};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = bench(threads, isa, python, rounds > 256 ? 256 : rounds, only, format);
    free(rest.v);
    return hy_command_end("bench_model", s);
}
