// throughput.c - see throughput.h.
#include "analysis/measure/throughput.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train/optim.h"
#include "core/task/task.h"

typedef struct {
    const hy_program *p;
    hy_params *w;
    hy_tp_spec s;
    int m;                   // meta tokens
    hy_exec *exec, *decode;  // whole steps or prefill chunks; one token
    hy_state *state;
    int32_t *ids, *labels, *part, *rows, *next;
    hy_optim step;
} bench;

// ---------------------------------------------------------------------------------------------------- training
static hy_status train_open(bench *b) {
    HY_TRY(hy_optim_open(b->w, 1, &b->step));
    b->step.beta1 = 0.9, b->step.beta2 = 0.95, b->step.eps = 1e-8;
    return hy_exec_create(b->p, b->w->be, b->w->compute, HY_EXEC_TRAIN, b->s.batch, b->m + b->s.context, 0, &b->exec);
}

static hy_status train_step(bench *b) {
    const hy_batch batch = {.B = b->s.batch, .T = b->m + b->s.context, .ids = b->ids, .labels = b->labels};
    const double scale = 1.0 / ((double)b->s.batch * b->s.context);
    const double ctl[HY_CTL_HOST] = {[HY_CTL_C1] = 0.1, [HY_CTL_C2] = 0.05, [HY_CTL_SCALE] = scale, [HY_CTL_STEP] = 1};
    double report[2];
    HY_TRY(hy_optim_begin(&b->step, ctl));
    HY_TRY(hy_optim_add(&b->step, b->exec, &batch, scale));
    HY_TRY(hy_optim_end(&b->step));
    HY_TRY(hy_optim_reports(&b->step, report));  // and so the clock stops when the device has finished
    return isnan(report[0]) ? hy_error(HY_EDIVERGED, "throughput of training: the loss is not a number") : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- prefill, decode
static hy_status prefill(bench *b) {
    const int B = b->s.batch, total = b->m + b->s.context, chunk = b->s.chunk;
    HY_TRY(hy_state_reset(b->state));
    for (int from = 0; from < total; from += chunk) {
        const int n = total - from < chunk ? total - from : chunk;
        const bool last = from + n == total;
        for (int i = 0; i < B; i++) {
            memcpy(b->part + (size_t)i * n, b->ids + (size_t)i * total + from, (size_t)n * sizeof *b->part);
            b->rows[i] = i * n + n - 1;
        }
        const hy_batch batch = {.B = B, .T = n, .ids = b->part, .out_rows = b->rows, .n_out = last ? B : 0};
        HY_TRY(hy_exec_forward(b->exec, b->w, &batch, b->state, last ? HY_HEAD_LOGITS : 0, NULL));
        if (last && !hy_exec_logits(b->exec)) return HY_EFAIL;
    }
    return b->w->be->wait();
}

static hy_status decode(bench *b) {
    const int B = b->s.batch, V = b->p->spec.vocab;
    for (int k = 0; k < b->s.tokens; k++) {
        for (int i = 0; i < B; i++) b->rows[i] = i;
        const hy_batch batch = {.B = B, .T = 1, .ids = b->next, .out_rows = b->rows, .n_out = B};
        HY_TRY(hy_exec_forward(b->decode, b->w, &batch, b->state, HY_HEAD_LOGITS, NULL));
        const float *logits = hy_exec_logits(b->decode);
        if (!logits) return HY_EFAIL;
        for (int i = 0; i < B; i++) {
            int best = 0;
            for (int v = 1; v < V; v++)
                if (logits[(size_t)i * V + v] > logits[(size_t)i * V + best]) best = v;
            b->next[i] = best;
        }
    }
    return HY_OK;
}

static hy_status infer_open(bench *b) {
    const hy_backend *be = b->w->be;
    const int total = b->m + b->s.context,
              room = b->s.kind == HY_TP_DECODE ? (b->s.warmup + b->s.reps) * b->s.tokens : 0;
    if (b->s.chunk > total) b->s.chunk = total;
    HY_TRY(hy_state_create(b->p, be, b->w->compute, b->s.batch, b->s.context + room, &b->state));
    HY_TRY(hy_exec_create(b->p, be, b->w->compute, HY_EXEC_INFER, b->s.batch, b->s.chunk, b->s.batch, &b->exec));
    if (b->s.kind == HY_TP_PREFILL) return HY_OK;
    return hy_exec_create(b->p, be, b->w->compute, HY_EXEC_INFER, b->s.batch, 1, b->s.batch, &b->decode);
}

// ---------------------------------------------------------------------------------------------------- all kinds
static void fill_ids(bench *b) {
    const int B = b->s.batch, T = b->s.context, total = b->m + T;
    hy_rng r = hy_rng_make(1, 0x7470);
    int32_t *text = hy_xcalloc((size_t)B * T, sizeof *text);
    b->ids = hy_xcalloc((size_t)B * total, sizeof *b->ids);
    b->labels = hy_xcalloc((size_t)B * total, sizeof *b->labels);
    b->part = hy_xcalloc((size_t)B * total, sizeof *b->part);
    b->rows = hy_xcalloc((size_t)B, sizeof *b->rows);
    b->next = hy_xcalloc((size_t)B, sizeof *b->next);
    for (size_t i = 0; i < (size_t)B * T; i++) text[i] = (int32_t)hy_rng_below(&r, (uint64_t)b->p->spec.vocab);
    hy_ids_with_meta(B, T, b->m, text, 0, b->ids);
    for (size_t i = 0; i < (size_t)B * T; i++) text[i] = (int32_t)hy_rng_below(&r, (uint64_t)b->p->spec.vocab);
    hy_ids_with_meta(B, T, b->m, text, HY_IGNORE, b->labels);
    free(text);
}

static void bench_close(bench *b) {
    hy_exec_free(b->exec);
    hy_optim_close(&b->step);
    hy_exec_free(b->decode);
    hy_state_free(b->state);
    free(b->ids), free(b->labels), free(b->part), free(b->rows), free(b->next);
}

static const char *const kind_names[] = {"training", "prefill", "decoding"};

hy_status hy_throughput_measure(const hy_program *p, hy_params *w, const hy_tp_spec *spec, hy_tp_result *out) {
    *out = (hy_tp_result){0};
    bench b = {.p = p, .w = w, .s = *spec, .m = p->spec.meta_tokens};
    hy_tp_spec *s = &b.s;
    if (s->batch < 1 || s->context < 1 || s->reps < 0 || s->warmup < 0 || s->tokens < 0 || s->chunk < 0)
        return hy_error(HY_EINPUT, "throughput of %s: batch %d and context %d must be at least 1", kind_names[s->kind],
                        s->batch, s->context);
    if (s->reps == 0) s->reps = 5;
    if (s->warmup == 0) s->warmup = 1;
    if (w->be->record_begin) s->warmup++;  // the second time is written down, which is not what is timed
    if (s->tokens == 0) s->tokens = 16;
    if (s->chunk == 0) s->chunk = 512;
    hy_status (*run)(bench *) = s->kind == HY_TP_TRAIN ? train_step : s->kind == HY_TP_PREFILL ? prefill : decode;
    hy_status st = s->kind == HY_TP_TRAIN ? train_open(&b) : infer_open(&b);
    if (!st) fill_ids(&b);  // only what has room is worth minutes of random numbers
    if (!st && s->kind == HY_TP_DECODE) st = prefill(&b);
    const double tokens = (double)s->batch * (s->kind == HY_TP_DECODE ? s->tokens : s->context);
    out->rate = hy_xcalloc((size_t)s->reps, sizeof *out->rate);
    for (int r = -s->warmup; r < s->reps && !st; r++) {
        const double start = hy_now();
        st = hy_interrupted ? hy_error(HY_EINTR, "interrupted") : run(&b);
        if (r >= 0 && !st) out->rate[out->n++] = tokens / fmax(1e-9, hy_now() - start);
    }
    if (!st) out->path = hy_xstrdup(hy_exec_path(b.decode ? b.decode : b.exec));
    bench_close(&b);
    if (st) hy_throughput_free(out);
    return st ? hy_error_context(st, "throughput of %s, batch %d, context %d", kind_names[s->kind], s->batch,
                                 s->context)
              : HY_OK;
}

void hy_throughput_free(hy_tp_result *r) {
    free(r->rate);
    free(r->path);
    *r = (hy_tp_result){0};
}
