// gpu_models.c - whole models on the GPU with random weights: training beside the rate of matrix products, prefill
// likewise, decoding beside the time that reading weights and caches takes.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/measure/throughput.h"
#include "experiments/bench/gpu_bench.h"
#include "core/family/model_file.h"

typedef struct {
    const char *file;
    hy_tp_kind kind;
    int batch, context;
} job;
static const char *const kinds[] = {
    [HY_TP_TRAIN] = "training", [HY_TP_PREFILL] = "prefill", [HY_TP_DECODE] = "decoding"};
#define MODEL(file)                                                                                 \
    {file, HY_TP_TRAIN, 32, 1024}, {file, HY_TP_PREFILL, 8, 8192}, {file, HY_TP_DECODE, 1, 1024}, { \
        file, HY_TP_DECODE, 64, 8192                                                                \
    }
static const job jobs[] = {MODEL("variants/paper/300m-hymba.yaml"), MODEL("variants/paper/300m-llama.yaml"),
                           MODEL("variants/paper/300m-mamba.yaml"), MODEL("variants/paper/mamba2-130m.yaml")};
static const job tiny_jobs[] = {{"variants/hymba.yaml", HY_TP_TRAIN, 2, 16},
                                {"variants/hymba.yaml", HY_TP_PREFILL, 2, 16},
                                {"variants/hymba.yaml", HY_TP_DECODE, 2, 16}};

// Of a token of a text of T, forward; the mean over its positions.
static double mean_flops(const hy_model_spec *m, int T) {
    double n = 0;
    for (int t = 1; t <= T; t++) n += hy_model_flops_token(m, m->meta_tokens + t);
    return n / T;
}

// Bytes that one decoding step must read: every weight once (of the embedding a row a sequence, not counted, unless it
// makes the logits too), and the state of every sequence; what is written is small beside it.
static double step_bytes(const hy_model *m, const hy_gpu_bench *b, const job *j) {
    const double value = b->dtype == HY_BF16 ? 2 : 4;
    double n = 0;
    const bool tied = m->p->spec.tied;
    for (int i = 0; i < m->p->n_params; i++)
        if (tied || strcmp(m->p->params[i].name, "embed"))
            n += (double)m->p->params[i].n * (hy_program_is_matrix(m->p, i) ? value : 4);
    hy_cache_bytes c;
    hy_model_cache(&m->p->spec, HY_CACHE_TRUE, j->context, (int)value, (int)value, 4, NULL, &c);
    return n + c.total * j->batch;
}

static hy_status open_model(const hy_gpu_bench *b, const job *j, hy_model *m) {
    const char *const wide[] = {"max_len=16384", NULL};
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status s = hy_model_read_spec(j->file, b->tiny ? NULL : wide, spec);
    *m = (hy_model){0};
    if (!s) s = hy_model_build(spec, &m->p);
    free(spec);
    for (int i = 0; !s && b->dtype == HY_BF16 && j->kind != HY_TP_TRAIN && i < m->p->n_params; i++)
        hy_program_keep_bf16(m->p, i);
    if (!s) s = hy_params_create(m->p, &b->gpu, b->dtype, &m->w);
    if (!s) s = hy_params_init(m->w, 1);
    return s;
}

static hy_status measure(const hy_gpu_bench *b, const job *j, const hy_torch_times *torch, hy_table *t) {
    hy_model m;
    hy_tp_result r = {0};
    const hy_tp_spec spec = {.kind = j->kind,
                             .batch = j->batch,
                             .context = j->context,
                             .reps = b->tiny ? 2 : 10,
                             .warmup = b->tiny ? 1 : 3,
                             .tokens = b->tiny ? 2 : 64,
                             .chunk = j->context < 2048 ? j->context : 2048};
    hy_status s = open_model(b, j, &m);
    if (!s) s = hy_throughput_measure(m.p, m.w, &spec, &r);
    if (!s) {
        hy_sort(r.rate, r.n);
        const double rate = hy_median(r.rate, r.n);
        const double flops = mean_flops(&m.p->spec, j->context) * (j->kind == HY_TP_TRAIN ? 3 : 1);
        const double floor = j->kind == HY_TP_DECODE ? j->batch / (step_bytes(&m, b, j) / b->top.copy)
                                                     : hy_gpu_bench_products(b) / flops;
        hy_table_row(t);
        hy_table_text(t, "%s", m.p->spec.name);
        hy_table_text(t, "%s", kinds[j->kind]);
        hy_table_int(t, j->batch);
        hy_table_int(t, j->context);
        hy_table_num(t, rate, 0);
        hy_table_num(t, r.rate[0], 0);
        hy_table_num(t, r.rate[r.n - 1], 0);
        hy_table_num(t, j->kind == HY_TP_DECODE ? NAN : rate * flops * 1e-12, 1);
        hy_table_text(t, "%s", j->kind == HY_TP_DECODE ? "bytes" : "products");
        hy_table_num(t, 100 * rate / floor, 1);
        if (b->torch) {
            char name[96];
            for (int how = 0; how < 2; how++) {
                snprintf(name, sizeof name, "%s %s %dx%d %s", m.p->spec.name, kinds[j->kind], j->batch, j->context,
                         how ? "compiled" : "eager");
                const double seconds = hy_torch_time(torch, name), other = (double)j->batch * j->context / seconds;
                hy_table_num(t, other, 0);
                hy_table_num(t, rate / other, 2);
            }
        }
    }
    hy_throughput_free(&r);
    hy_model_close(&m);
    return s;
}

static hy_table *new_table(const hy_gpu_bench *b) {
    hy_table *t = hy_table_new("models");
    hy_table_column(t, "model", NULL, NULL, HY_LEFT);
    hy_table_column(t, "what", NULL, NULL, HY_LEFT);
    hy_table_column(t, "batch", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "context", NULL, "token", HY_RIGHT);
    hy_table_column(t, "rate", "median", "tok/s", HY_RIGHT);
    hy_table_column(t, "min", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "max", NULL, "tok/s", HY_RIGHT);
    hy_table_column(t, "tflops", "achieved", "TFLOP/s", HY_RIGHT);
    hy_table_column(t, "bound", "bound by", NULL, HY_LEFT);
    hy_table_column(t, "share", "of the ceiling", "%", HY_RIGHT);
    if (!b->torch) return t;
    hy_table_column(t, "eager", "PyTorch, eager", "tok/s", HY_RIGHT);
    hy_table_column(t, "eager_ratio", "times as fast", NULL, HY_RIGHT);
    hy_table_column(t, "compiled", "PyTorch, compiled", "tok/s", HY_RIGHT);
    hy_table_column(t, "compiled_ratio", "times as fast", NULL, HY_RIGHT);
    return t;
}

hy_status hy_gpu_bench_models(const hy_gpu_bench *b, FILE *out) {
    const job *all = b->tiny ? tiny_jobs : jobs;
    const int n = b->tiny ? (int)(sizeof tiny_jobs / sizeof *tiny_jobs) : (int)(sizeof jobs / sizeof *jobs);
    hy_table *t = new_table(b);
    hy_torch_times torch = {0};
    hy_status s = b->torch ? hy_torch_times_run(b, "models", &torch) : HY_OK;
    for (int i = 0; !s && i < n; i++) {
        if (b->only && !strstr(all[i].file, b->only)) continue;
        if (b->format == HY_TABLE_TEXT) fprintf(stderr, "\r%-60s", all[i].file);
        s = measure(b, &all[i], &torch, t);
        if (s == HY_ENOMEM) {  // a smaller GPU: the others may fit
            fprintf(stderr, "\n%s, %s: %s\n", all[i].file, kinds[all[i].kind], hy_error_text());
            s = HY_OK;
        }
    }
    if (b->format == HY_TABLE_TEXT) fprintf(stderr, "\r%60s\r", "");
    hy_table_note(t, "training and prefill: operations of matrix products, attention and scans (training: three times "
                     "forward) against the measured rate of"
                     " 8192^3 products; decoding: one read of weights and states against the measured copy");
    if (!s) s = hy_table_print(t, b->format, out);
    hy_table_free(t);
    hy_torch_times_free(&torch);
    return s;
}
