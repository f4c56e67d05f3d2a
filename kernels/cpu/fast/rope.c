// rope.c - float32 rotary embedding and its gradient. Cosines and sines come from a table per call, computed in double:
// position = COARSE * i + j, and the angle's sum formula joins the two parts, so an entry is a pure function of its
// position and a call costs few cos() however many tokens it has. x and y may be the same buffer.
#include <math.h>

#include "kernels/cpu/rope.h"

// The loop below it may be vectorised although x and y may be the same: then they are the same from the first element
// on.
#ifdef __clang__
    #define HY_NO_ALIAS _Pragma("clang loop vectorize(assume_safety)")
#else
    #define HY_NO_ALIAS _Pragma("GCC ivdep")
#endif

enum { COARSE = HY_ROPE_COARSE };

typedef struct {
    const hy_rope_args *a;
    bool shared;                   // all sequences start at the same position: one table serves all
    int turned;                    // of a head's d values
    double *freq, *fine, *coarse;  // [half]; [COARSE, turned] and [B, coarse rows, turned]: cosines, then sines
    float *table;                  // [B or 1, T, turned]: cosines, then sines
} tables;

static void fill_part(const tables *s, double *dst, double position) {
    int half = s->turned / 2;
    for (int i = 0; i < half; i++) {
        double angle = position * s->freq[i];
        dst[i] = cos(angle), dst[half + i] = sin(angle);
    }
}
static void fill_sequence(const tables *s, long b) {
    const hy_rope_args *a = s->a;
    size_t half = (size_t)s->turned / 2, d = (size_t)s->turned;
    int first = a->pos[b] / COARSE;
    double *coarse = s->coarse + (size_t)b * hy_rope_coarse_rows(a->T) * d;
    for (int i = first; i <= (a->pos[b] + a->T - 1) / COARSE; i++)
        fill_part(s, coarse + (size_t)(i - first) * d, (double)i * COARSE);
    for (int t = 0; t < a->T; t++) {
        int p = a->pos[b] + t;
        const double *restrict x = coarse + (size_t)(p / COARSE - first) * d, *restrict y =
                                                                                  s->fine + (size_t)(p % COARSE) * d;
        float *restrict c = s->table + ((size_t)b * a->T + t) * d, *restrict n = c + half;
        for (size_t i = 0; i < half; i++) {
            c[i] = (float)(x[i] * y[i] - x[half + i] * y[half + i]);
            n[i] = (float)(x[half + i] * y[i] + x[i] * y[half + i]);
        }
    }
}
static void fill_sequences(const void *ctx, long from, long to, int thread) {
    (void)thread;
    for (long b = from; b < to; b++) fill_sequence(ctx, b);
}
static tables make_tables(const hy_rope_args *a, void *ws, int threads) {
    tables s = {.a = a, .shared = true, .turned = hy_rope_turned(a)};
    for (int b = 1; b < a->B; b++) s.shared = s.shared && a->pos[b] == a->pos[0];
    const int n = s.turned;
    int sequences = s.shared ? 1 : a->B;
    s.freq = ws;
    s.fine = s.freq + n / 2;
    s.coarse = s.fine + (size_t)COARSE * n;
    s.table = (float *)(s.coarse + (size_t)a->B * hy_rope_coarse_rows(a->T) * n);
    for (int i = 0; i < n / 2; i++) s.freq[i] = hy_rope_frequency(a, i);
    bool need[COARSE] = {false};  // a decode step needs one entry a sequence, not all
    for (int b = 0; b < sequences; b++)
        for (int t = 0; t < a->T && t < COARSE; t++) need[(a->pos[b] + t) % COARSE] = true;
    for (int j = 0; j < COARSE; j++)
        if (need[j]) fill_part(&s, s.fine + (size_t)j * n, j);
    hy_parallel(a->T > 1 ? threads : 1, sequences, 1, fill_sequences, &s);
    return s;
}

// One head: y = rotation of x by the angle (sign 1) or back (sign -1), added to y where asked.
static inline __attribute__((always_inline)) void rotate(const float *x, float *y, const float *restrict c,
                                                         const float *restrict n, int half, int d, float sign,
                                                         bool add) {
    HY_NO_ALIAS
    for (int i = 0; i < half; i++) {
        float x1 = x[i], x2 = x[i + half], s = sign * n[i];
        float y1 = x1 * c[i] - x2 * s, y2 = x2 * c[i] + x1 * s;
        y[i] = add ? y[i] + y1 : y1;
        y[i + half] = add ? y[i + half] + y2 : y2;
    }
    HY_NO_ALIAS
    for (int i = 2 * half; i < d; i++) y[i] = add ? y[i] + x[i] : x[i];
}
typedef struct {
    const tables *s;
    const float *x;
    float *y;
    int ldx, ldy;
    float sign;
    bool add;
} rows_ctx;
static void rotate_some(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const rows_ctx *k = ctx;
    const tables *s = k->s;
    const hy_rope_args *a = s->a;
    for (long r = from; r < to; r++) {
        const float *c = s->table + (size_t)(s->shared ? r % a->T : r) * s->turned, *n = c + s->turned / 2;
        for (int h = 0; h < a->heads; h++) {
            const float *xr = k->x + (size_t)r * k->ldx + (size_t)h * a->d;
            float *yr = k->y + (size_t)r * k->ldy + (size_t)h * a->d;
            if (k->add)
                rotate(xr, yr, c, n, s->turned / 2, a->d, k->sign, true);
            else
                rotate(xr, yr, c, n, s->turned / 2, a->d, k->sign, false);
        }
    }
}
static void rotate_rows(const rows_ctx *k, int threads) {
    const hy_rope_args *a = k->s->a;
    const long rows = (long)a->B * a->T;
    hy_parallel(rows * a->heads * a->d > HY_ROPE_SERIAL ? threads : 1, rows, 0, rotate_some, k);
}

hy_status HY_FAST(hy_fast_rope)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_rope_args *a = args;
    HY_TRY(hy_cpu_rope_check_data(a));
    const tables s = make_tables(a, ws, req->threads);
    rotate_rows(&(rows_ctx){&s, a->x, a->y, a->ldx, a->ldy, 1.0f, false}, req->threads);
    return HY_OK;
}
hy_status HY_FAST(hy_fast_rope_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    const hy_rope_bwd_args *g = args;
    if (!g->dx) return HY_OK;
    HY_TRY(hy_cpu_rope_check_data(&g->f));
    const tables s = make_tables(&g->f, ws, req->threads);
    rotate_rows(&(rows_ctx){&s, g->dy, g->dx, g->lddy, g->lddx, -1.0f, g->acc & 1}, req->threads);
    return HY_OK;
}
