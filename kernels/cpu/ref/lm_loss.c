// lm_loss.c - cross-entropy of a linear head, forward and backward, one row at a time: the obvious loops.
// Workspace: V doubles, the logits of one row.
#include <math.h>

#include "kernels/cpu/cpu.h"

// Fills logits [V] of row r with probabilities, nll[r] and pred[r].
static void row_loss(const hy_lm_loss_args *a, int r, double *logits) {
    const real *x = (const real *)a->x + (size_t)r * a->ldx;
    int best = 0;
    for (int v = 0; v < a->V; v++) {
        double s = 0;
        for (int c = 0; c < a->C; c++) s += (double)x[c] * hy_ref_weight(a->w, a->w_dtype, (size_t)v * a->C + c);
        logits[v] = s;
        if (s > logits[best]) best = v;
    }
    double top = logits[best], sum = 0, wanted = logits[a->labels[r]];
    for (int v = 0; v < a->V; v++) sum += exp(logits[v] - top);
    for (int v = 0; v < a->V; v++) logits[v] = exp(logits[v] - top) / sum;
    ((real *)a->nll)[r] = (real)(top + log(sum) - wanted);
    a->pred[r] = best;
}

static hy_status skip_row(const hy_lm_loss_args *a, int r, bool *skip) {
    if (a->labels[r] >= a->V)
        return hy_error(HY_EINPUT, "label %d of row %d is outside the vocabulary of %d", a->labels[r], r, a->V);
    *skip = a->labels[r] < 0;
    if (*skip) {
        ((real *)a->nll)[r] = 0;
        a->pred[r] = -1;
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_lm_loss)(const void *args, void *ws, const hy_plan_req *req) {
    (void)req;
    const hy_lm_loss_args *a = args;
    for (int r = 0; r < a->rows; r++) {
        bool skip = false;
        HY_TRY(skip_row(a, r, &skip));
        if (!skip) row_loss(a, r, ws);
    }
    return HY_OK;
}

hy_status HY_REF(hy_ref_lm_loss_bwd)(const void *args, void *ws, const hy_plan_req *req) {
    (void)req;
    const hy_lm_loss_bwd_args *b = args;
    const hy_lm_loss_args *a = &b->f;
    const real *w = a->w;
    double *g = ws;
    for (int r = 0; r < a->rows; r++) {
        bool skip = false;
        HY_TRY(skip_row(a, r, &skip));
        const real *x = (const real *)a->x + (size_t)r * a->ldx;
        real *dx = b->dx ? (real *)b->dx + (size_t)r * b->lddx : NULL;
        for (int c = 0; c < a->C && dx && !(b->acc & 1); c++) dx[c] = 0;
        if (skip) continue;
        row_loss(a, r, g);
        g[a->labels[r]] -= 1;
        for (int c = 0; c < a->C && dx; c++) {
            double s = 0;
            for (int v = 0; v < a->V; v++) s += g[v] * w[(size_t)v * a->C + c];
            dx[c] += (real)(*b->scale * s);
        }
        for (int v = 0; v < a->V && b->dw; v++)
            for (int c = 0; c < a->C; c++) ((real *)b->dw)[(size_t)v * a->C + c] += (real)(*b->scale * g[v] * x[c]);
    }
    return HY_OK;
}
