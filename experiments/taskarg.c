// taskarg.c - see taskarg.h.
#include "experiments/taskarg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

hy_status hy_task_from_args(const char *kind, const hy_arg_list *sets, uint64_t seed, hy_task **out) {
    hy_buf b = {0};
    for (int i = 0; i < sets->n; i++) {
        const char *eq = strchr(sets->v[i], '=');
        if (!eq) {
            free(b.s);
            return hy_error(HY_EINPUT, "--task-set %s: NAME=VALUE is wanted", sets->v[i]);
        }
        hy_buf_printf(&b, "%.*s: %s\n", (int)(eq - sets->v[i]), sets->v[i], eq + 1);
    }
    hy_status s = hy_task_open(kind, b.s, seed, out);
    free(b.s);
    return s;
}

static bool asked_for_isa(const char *isa) { return isa && strcmp(isa, "auto"); }

hy_status hy_device_from_args(const char *device, const char *isa, hy_device *out) {
    const char *env = getenv("HYLAB_DEVICE"), *name = device ? device : env && *env ? env : "auto";
    const char *from = device || strcmp(name, "auto") == 0 ? "--device " : "HYLAB_DEVICE=";
    char line[512];
    *out = (hy_device){"cpu", -1};
    if (!strcmp(name, "cpu")) return HY_OK;
    if (!strcmp(name, "auto")) {
        if (asked_for_isa(isa) || !hy_cuda_describe(NULL, 0)) return HY_OK;
        hy_cuda_describe(line, sizeof line);
        fprintf(stderr, "device: %s\n", line);
        out->kind = "cuda";
        return HY_OK;
    }
    int n = 0;
    if (sscanf(name, "cuda:%d%n", &out->number, &n) == 1 && n > 5 && !name[n] && out->number >= 0) out->kind = "cuda";
    else if (!strcmp(name, "cuda")) out->number = -1, out->kind = "cuda";
    else return hy_error(HY_EINPUT, "%s%s: there are cpu, cuda, cuda:N (the GPU of that number) and auto", from, name);
    if (asked_for_isa(isa)) return hy_error(HY_EINPUT, "--isa %s names kernels of the CPU, but %s%s asks for a GPU: leave one of them out", isa, from, name);
    if (!hy_cuda_describe(line, sizeof line)) return hy_error(HY_EINPUT, "%s%s: %s; --device cpu works", from, name, line);
    return hy_cuda_find(out->number);
}

hy_status hy_device_open(const hy_device *d, const char *isa, int threads, hy_backend *out) {
    HY_TRY(hy_backend_cpu(isa, threads, out));  // the host's share of the work has threads too
    if (!strcmp(d->kind, "cpu")) return HY_OK;
    const int host_threads = out->threads;
    HY_TRY(hy_backend_cuda(d->number, HY_MATH_F32, out));
    out->threads = host_threads;
    return HY_OK;
}

hy_status hy_backend_from_args(const char *device, const char *isa, int threads, hy_backend *out) {
    hy_device d;
    HY_TRY(hy_device_from_args(device, isa, &d));
    return hy_device_open(&d, isa, threads, out);
}

static void eval_row(hy_table *t, const char *name, const hy_score *s, double entropy, double bytes_per_token) {
    hy_table_row(t);
    hy_table_text(t, "%s", name);
    hy_table_int(t, s->examples);
    hy_table_int(t, s->labels);
    hy_table_num(t, s->loss, 4);
    hy_table_num(t, s->loss_se, 4);
    hy_table_num(t, 100 * s->accuracy, 2);
    hy_table_num(t, 100 * s->accuracy_se, 2);
    hy_table_num(t, 100 * s->exact, 2);
    if (entropy > 0) hy_table_num(t, s->loss - entropy, 4);
    if (!isnan(bytes_per_token)) hy_table_num(t, s->loss / log(2.0) / bytes_per_token, 4);
}

hy_status hy_eval_print(const char *title, const hy_task *task, const hy_eval *e, hy_table_format format, FILE *f) {
    const double entropy = hy_task_entropy(task);
    const double bytes = hy_task_bytes_per_token(task);
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "cell", NULL, NULL, HY_LEFT);
    hy_table_column(t, "examples", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "labels", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "loss", NULL, "nats", HY_RIGHT);
    hy_table_column(t, "loss_se", "s.e.", "nats", HY_RIGHT);
    hy_table_column(t, "accuracy", NULL, "%", HY_RIGHT);
    hy_table_column(t, "accuracy_se", "s.e.", "%", HY_RIGHT);
    hy_table_column(t, "exact", NULL, "%", HY_RIGHT);
    if (entropy > 0) hy_table_column(t, "excess", NULL, "nats", HY_RIGHT);
    if (!isnan(bytes)) hy_table_column(t, "bits_per_byte", "bits/byte", NULL, HY_RIGHT);
    for (int c = 0; c < e->n_cells; c++) eval_row(t, hy_task_cell(task, HY_SPLIT_EVAL, c)->name, &e->cells[c], entropy, bytes);
    if (e->n_cells > 1) hy_table_rule(t);
    if (e->n_cells != 1) eval_row(t, "all", &e->total, entropy, bytes);
    hy_table_note(t, "accuracy: mean over the labelled positions of an example, then over examples; exact: every label right");
    if (bytes != 1 && !isnan(bytes)) hy_table_note(t, "loss: per token; a token of the evaluation text has %.4f bytes on average", bytes);
    if (entropy > 0) hy_table_note(t, "excess: loss above the entropy of the source, %.4f nats a label", entropy);
    hy_status s = hy_table_print(t, format, f);
    hy_table_free(t);
    return s;
}
