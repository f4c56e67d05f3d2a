// kv_similarity.c - see kv_similarity.h.
#include "analysis/probe/kv_similarity.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/parallel.h"

double hy_kv_cosine(const float *a, const float *b, int rows, int heads, int d) {
    double sum = 0;
    for (size_t k = 0; k < (size_t)rows * (size_t)heads; k++) {
        double dot = 0, aa = 0, bb = 0;
        const float *x = a + k * (size_t)d, *y = b + k * (size_t)d;
        for (int c = 0; c < d; c++) {
            dot += (double)x[c] * y[c];
            aa += (double)x[c] * x[c];
            bb += (double)y[c] * y[c];
        }
        if (aa != 0 && bb != 0) sum += dot / sqrt(aa * bb);
    }
    return sum / ((double)rows * heads);
}

// ---------------------------------------------------------------------------------------------------- CKA
hy_status hy_cka_open(const float *x, int rows, int width, hy_cka_side *out) {
    *out = (hy_cka_side){.rows = rows, .width = width, .x = x};
    out->mean = hy_xcalloc((size_t)width + (size_t)rows, sizeof *out->mean);
    out->square = out->mean + width;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < width; c++) out->mean[c] += (double)x[(size_t)r * (size_t)width + (size_t)c] / rows;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < width; c++) {
            const double v = x[(size_t)r * (size_t)width + (size_t)c] - out->mean[c];
            out->square[r] += v * v;
        }
    return HY_OK;
}

void hy_cka_close(hy_cka_side *s) {
    free(s->mean);
    *s = (hy_cka_side){0};
}

// The sum of squares of each row of X'Y, a row at a time: X'Y as a whole is never held.
typedef struct {
    const hy_cka_side *a, *b;
    double *row;   // [a->width, b->width], a stretch for each row
    double *part;  // [a->width]
    int first;     // column of a that row 0 is of
} hsic_ctx;
static void hsic_rows(const void *ctx, long from, long to, int thread) {
    (void)thread;
    const hsic_ctx *c = ctx;
    const size_t p = (size_t)c->a->width, q = (size_t)c->b->width;
    for (long k = from; k < to; k++) {
        const size_t i = (size_t)(c->first + k);
        double *row = c->row + (size_t)k * q, sum = 0;
        for (size_t j = 0; j < q; j++) row[j] = 0;
        for (size_t r = 0; r < (size_t)c->a->rows; r++) {
            const double x = c->a->x[r * p + i] - c->a->mean[i];
            const float *y = c->b->x + r * q;
            for (size_t j = 0; j < q; j++) row[j] += x * (y[j] - c->b->mean[j]);
        }
        for (size_t j = 0; j < q; j++) sum += row[j] * row[j];
        c->part[i] = sum;
    }
}

hy_status hy_hsic(const hy_cka_side *a, const hy_cka_side *b, bool debiased, double *out) {
    enum { ROWS = 64 };  // of X'Y at once
    const int n = a->rows;
    HY_ASSERT(b->rows == n && (!debiased || n >= 4));
    hsic_ctx c = {.a = a, .b = b};
    c.row = hy_alloc((size_t)ROWS * (size_t)b->width * sizeof(double));
    c.part = hy_alloc((size_t)a->width * sizeof(double));
    const hy_status s = c.row && c.part ? HY_OK : HY_ENOMEM;
    for (; !s && c.first < a->width; c.first += ROWS)
        hy_parallel(0, a->width - c.first < ROWS ? a->width - c.first : ROWS, 4, hsic_rows, &c);
    double squares = 0, both = 0, one = 0, other = 0;
    for (int i = 0; !s && i < a->width; i++) squares += c.part[i];
    free(c.row), free(c.part);
    if (s) return s;
    *out = squares;
    if (!debiased) return HY_OK;
    // The columns of X and Y add to 0, so row i of K without its diagonal adds to -|x_i|^2.
    for (int r = 0; r < n; r++) {
        both += a->square[r] * b->square[r];
        one += a->square[r];
        other += b->square[r];
    }
    *out = (squares - both + one * other / ((n - 1.0) * (n - 2.0)) - 2 / (n - 2.0) * both) / ((double)n * (n - 3));
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- a proposal
static bool can_share(const hy_layer_spec *a, const hy_layer_spec *b) {
    return a->window == b->window && a->kv_heads == b->kv_heads && a->d_qk == b->d_qk && a->d_v == b->d_v;
}

// What a group of layers at[0 .. n-1] adds; -INFINITY: it cannot be one.
static double gain_of(const hy_model_spec *spec, const double *similarity, const int *at, int n, double least) {
    double sum = 0;
    for (int k = 1; k < n; k++) {
        const double s = similarity[at[0] * spec->n_layers + at[k]];
        if (isnan(s) || !can_share(&spec->layers[at[0]], &spec->layers[at[k]])) return -INFINITY;
        sum += s - least;
    }
    return sum;
}

void hy_kv_propose(const hy_model_spec *spec, const double *similarity, int most, double least, int *source) {
    int at[HY_MAX_LAYERS] = {0}, size[HY_MAX_LAYERS + 1] = {0}, n = 0;
    double best[HY_MAX_LAYERS + 1] = {0};  // of the first so many layers with attention
    for (int i = 0; i < spec->n_layers; i++) {
        source[i] = -1;
        if (hy_layer_has_attention(&spec->layers[i])) at[n++] = i;
    }
    for (int i = 1; i <= n; i++) {
        best[i] = -INFINITY;
        for (int g = 1; g <= most && g <= i; g++) {
            const double sum = best[i - g] + gain_of(spec, similarity, at + i - g, g, least);
            if (sum > best[i]) best[i] = sum, size[i] = g;  // of equal ones the smaller group
        }
    }
    for (int i = n; i > 0; i -= size[i])
        for (int k = 0; k < size[i]; k++) source[at[i - 1 - k]] = at[i - size[i]];
}

void hy_kv_share_text(const hy_model_spec *spec, const double *similarity, int most, double least, const char *what,
                      const char *model, hy_buf *out) {
    int source[HY_MAX_LAYERS], groups = 0;
    hy_kv_propose(spec, similarity, most, least, source);
    hy_buf_printf(
        out,
        "# Layers of %s that could share keys and values. Similarity of two layers: the mean of the %s of their\n"
        "# keys and of their values. Groups: up to %d neighbours with the same window, KV heads and widths; of all "
        "ways\n"
        "# to group, the one in which the similarities of the layers to the first of their group, each less %g, have\n"
        "# the largest sum.\n",
        model, what, most, least);
    for (int i = 0; i < spec->n_layers; i++)
        if (source[i] >= 0 && source[i] != i)
            hy_buf_printf(out, "#   layer %d to layer %d: %.3f\n", i, source[i],
                          similarity[source[i] * spec->n_layers + i]);
    hy_buf_printf(out, "kv_share: ");
    for (int i = 0; i < spec->n_layers; i++) {
        int members = 0;
        for (int k = i; k < spec->n_layers; k++) members += source[k] == i;
        if (members < 2) continue;
        hy_buf_printf(out, "%s", groups++ ? ", [" : "[[");
        for (int k = i, n = 0; k < spec->n_layers; k++)
            if (source[k] == i) hy_buf_printf(out, "%s%d", n++ ? ", " : "", k);
        hy_buf_printf(out, "]");
    }
    hy_buf_printf(out, "%s\n", groups ? "]" : "none");
}
