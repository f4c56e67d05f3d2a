// summary_speed.c - throughput as multiples of one row's, beside a paper's, and at which batch a row was timed.
#include <math.h>
#include <string.h>

#include "analysis/summary/summary.h"

// What is compared, and its name in the keys of columns; of training no paper says anything.
static const struct {
    const char *metric, *name;
} timings[] = {{"throughput_prefill", "prefill"}, {"throughput_decode", "decode"}};
enum { N_TIMINGS = sizeof timings / sizeof timings[0] };

// The first of the paper's figures that is a throughput, or NULL.
static const char *paper_name(const hy_summary *s) {
    for (int i = 0; i < s->n_paper; i++)
        if (strstr(s->paper[i].name, "throughput")) return s->paper[i].name;
    return NULL;
}

static const hy_summary_row *base_row(const hy_summary *s, int task_ord) {
    for (int i = 0; i < s->n_rows; i++)
        if (s->rows[i].best && s->rows[i].task_ord == task_ord && !strcmp(s->rows[i].variant, s->base))
            return &s->rows[i];
    return NULL;
}

// A multiple of the base's figure on the same task; NAN unless both were timed at the same context.
static double multiple(const hy_summary *s, const hy_summary_row *r, const char *metric) {
    const hy_summary_row *base = base_row(s, r->task_ord);
    const hy_summary_value *v = hy_summary_get(r, metric, NULL), *b = base ? hy_summary_get(base, metric, NULL) : NULL;
    return v && b && v->x == b->x ? v->stat.mean / b->stat.mean : NAN;
}

static void widen(double *lo, double *hi, double v) {
    *lo = fmin(*lo, v);  // which leave a NaN out
    *hi = fmax(*hi, v);
}

// Contexts and batches of prefill and decoding or, where neither was timed, of training; n 0: nothing was timed.
typedef struct {
    int n;
    double x_min, x_max, y_min, y_max;
} conditions;
static conditions conditions_of(const hy_summary *s) {
    static const char *const all[] = {"throughput_prefill", "throughput_decode", "throughput_train"};
    conditions t = {.x_min = NAN, .x_max = NAN, .y_min = NAN, .y_max = NAN};
    for (int k = 0; k < 3; k++) {
        if (k == 2 && t.n) break;  // training is timed with batches of its own
        for (int i = 0; i < s->n_rows; i++) {
            const hy_summary_value *v = hy_summary_get(&s->rows[i], all[k], NULL);
            if (!v) continue;
            t.n++;
            widen(&t.x_min, &t.x_max, v->x);
            widen(&t.y_min, &t.y_max, v->y);
        }
    }
    return t;
}

char *hy_summary_timing_text(const hy_summary *s) {
    const conditions at = conditions_of(s);
    if (!at.n) return NULL;
    hy_buf b = {0};
    if (at.x_min < at.x_max)
        hy_buf_printf(&b, "each at its largest context, %.0f to %.0f tokens", at.x_min, at.x_max);
    else
        hy_buf_printf(&b, "context %.0f tokens", at.x_max);
    if (!(at.y_min < at.y_max))
        hy_buf_printf(&b, ", batch %.0f", at.y_max);
    else
        hy_buf_printf(&b, ", batch %.0f to %.0f", at.y_min, at.y_max);
    return b.s;
}

bool hy_summary_mixed_batch(const hy_summary *s) {
    const conditions t = conditions_of(s);
    return t.y_min < t.y_max;
}

static bool anywhere(const hy_summary *s, const char *metric) {
    for (int i = 0; i < s->n_rows; i++)
        if (hy_summary_get(&s->rows[i], metric, NULL)) return true;
    return false;
}

void hy_summary_speed_columns(const hy_summary *s, hy_table *t) {
    const bool mixed = hy_summary_mixed_batch(s), ratios = *s->base;
    for (int k = 0; k < N_TIMINGS; k++) {
        if (!anywhere(s, timings[k].metric)) continue;
        char name[40], header[40];
        snprintf(name, sizeof name, "%s_batch", timings[k].name);
        const char *label = hy_metric_find(timings[k].metric)->label;
        snprintf(header, sizeof header, "%s batch", label);
        if (mixed) hy_table_column(t, name, header, NULL, HY_RIGHT);
        snprintf(name, sizeof name, "%s_multiple", timings[k].name);
        snprintf(header, sizeof header, "%s, times", label);
        if (ratios) hy_table_column(t, name, header, NULL, HY_RIGHT);
    }
    if (ratios && paper_name(s)) hy_table_column(t, "paper_multiple", "paper, times", NULL, HY_RIGHT);
}

void hy_summary_speed_row(const hy_summary *s, hy_table *t, const hy_summary_row *r) {
    const bool mixed = hy_summary_mixed_batch(s);
    for (int k = 0; k < N_TIMINGS; k++) {
        if (!anywhere(s, timings[k].metric)) continue;
        const hy_summary_value *v = hy_summary_get(r, timings[k].metric, NULL);
        if (mixed) hy_table_num(t, v ? v->y : NAN, 0);
        if (*s->base) hy_table_num(t, multiple(s, r, timings[k].metric), 2);
    }
    const char *name = paper_name(s);
    if (*s->base && name)
        hy_table_num(t, hy_summary_paper_value(s, r->variant, name) / hy_summary_paper_value(s, s->base, name), 2);
}

void hy_summary_speed_note(const hy_summary *s, hy_table *t) {
    if (*s->base) hy_table_note(t, "times: multiples of %s", s->base);
}
