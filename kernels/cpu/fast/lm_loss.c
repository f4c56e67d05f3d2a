// lm_loss.c - softmax, loss, prediction and gradient of rows of logits, in float32.
#include "kernels/cpu/lm_loss.h"
#include "kernels/cpu/fast/vmath.h"

// The largest value and the first place where it stands (0 when all are NaN), chunk by chunk.
#define CHUNK (64 * HY_LANES)
HY_VINLINE float row_max(const float *x, int V, int *first) {
    float top = -INFINITY;
    int chunk = 0;
    for (int c = 0; c < V; c += CHUNK) {
        int end = V - c < CHUNK ? V : c + CHUNK, i = c;
        hy_vf m = hy_vset(-INFINITY);
        for (; i + HY_LANES <= end; i += HY_LANES) m = hy_vmax(hy_vload(x + i), m);
        float t = hy_vmax_lanes(m);
        for (; i < end; i++) t = x[i] > t ? x[i] : t;
        if (t > top) top = t, chunk = c;
    }
    int i = chunk;
    while (i < V - 1 && x[i] != top) i++;
    *first = x[i] == top ? i : 0;
    return top;
}

// exp(x - top) in place; the sum. Lanes add up to CHUNK values before they go into a double.
HY_VINLINE double row_exp(float *x, int V, float top) {
    double sum = 0;
    for (int c = 0; c < V; c += CHUNK) {
        int n_chunk = V - c < CHUNK ? V - c : CHUNK, i = c;
        hy_vf s = {0};
        for (; i + HY_LANES <= c + n_chunk; i += HY_LANES) {
            hy_vf e = hy_vexp(hy_vload(x + i) - top);
            hy_vstore(x + i, e);
            s += e;
        }
        sum += hy_vsum(s);
        if (i < c + n_chunk) {
            int n = c + n_chunk - i;
            hy_vf e = hy_vexp(hy_vload_part(x + i, n) - top);
            hy_vstore_part(x + i, e, n);
            for (int l = 0; l < n; l++) sum += e[l];
        }
    }
    return sum;
}

HY_VINLINE void one_row(const hy_softmax_args *a, int row) {
    float *x = a->logits + (size_t)row * a->V;
    int r = a->idx[row], label = a->labels[r], best;
    float top = row_max(x, a->V, &best), wanted = x[label];
    double sum = row_exp(x, a->V, top);
    a->nll[r] = (float)((double)top + log(sum) - wanted);
    a->pred[r] = best;
    if (!a->gradient) return;
    float f = (float)(a->scale / sum);
    HY_VFOR(i, n, a->V) hy_vput(x + i, hy_vget(x + i, n) * f, n);
    x[label] -= (float)a->scale;
}

static void softmax_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    for (int i = (int)from; i < (int)to; i++) one_row(ctx, i);
}
void HY_FAST(hy_fast_softmax)(const hy_softmax_args *a, int threads) {
    hy_parallel(threads, a->rows, 0, softmax_rows, a);
}
