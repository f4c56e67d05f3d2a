// fig_points.c - one point per name, with error bars and, if wanted, its size as a third figure. See figures.h.
#include <math.h>
#include <stdlib.h>

#include "analysis/figure/fig_common.h"

static const double largest = 3.8, plain = 1.5;  // point sizes

static bool drawn(const hy_fig_point *q, const hy_fig_axis *x, const hy_fig_axis *y) {
    return isfinite(q->x) && isfinite(q->y) && (!x->log || q->x > 0) && (!y->log || q->y > 0);
}

static bool has_bar(const hy_fig_point *q) { return isfinite(q->lo) && isfinite(q->hi); }

static double point_size(const hy_fig_point *q, double top) {
    return top > 0 && q->size > 0 ? fmax(0.7, largest * sqrt(q->size / top)) : plain;
}

// Indices of the points, large ones first, so that small ones stay visible on top. Caller frees.
static int *by_size(const hy_fig_point *q, int n) {
    int *o = hy_xcalloc((size_t)n, sizeof *o);
    for (int i = 0; i < n; i++) {
        int k = i;
        for (; k > 0 && q[i].size > q[o[k - 1]].size; k--) o[k] = o[k - 1];
        o[k] = i;
    }
    return o;
}

// Three sizes under the legend: the largest, and two round ones below.
static void size_legend(hy_plot *p, const char *label, double top, double left, double y) {
    double round = pow(10, floor(log10(top))), value[3];
    value[0] = top >= 5 * round ? 5 * round : top >= 2 * round ? 2 * round : round;
    value[1] = value[0] / 4;
    value[2] = value[0] / 16;
    hy_buf_printf(&p->script, "set label ");
    hy_plot_quote(&p->script, label);
    hy_buf_printf(&p->script, " at screen %.5f, screen %.5f left font ',11'\n", hy_figc_x(p, left), hy_figc_y(p, y));
    y += 30;
    for (int i = 0; i < 3; i++, y += i == 1 ? 40 : 30) {
        char text[32];
        hy_figc_number(text, sizeof text, value[i]);
        hy_buf_printf(&p->script,
                      "set label '%s' at screen %.5f, screen %.5f left offset char 4,0 font ',11'"
                      " point pt 6 ps PS(%.3f) lc rgb '#666666'\n",
                      text, hy_figc_x(p, left + 22), hy_figc_y(p, y), fmax(0.7, largest * sqrt(value[i] / top)));
    }
}

// A point of its own block of data, its error bar below it.
static void one_point(hy_plot *p, const hy_fig_point *q, int colour, int block, double top) {
    hy_buf_printf(&p->data, "%.10g %.10g", q->x, q->y);
    hy_figc_numbers(&p->data, 3, (double[]){has_bar(q) ? q->lo : NAN, has_bar(q) ? q->hi : NAN, q->size});
    hy_buf_printf(&p->data, " ");
    hy_plot_field(&p->data, q->name);
    hy_buf_printf(&p->data, "\n\n\n");
    if (has_bar(q))
        hy_buf_printf(&p->script,
                      ", \\\n  DATA index %d using 1:(LOW($3)):(0):($4-LOW($3)) with vectors " HY_FIGC_BAR
                      " lw 1.5 lc rgb LC(%d) notitle",
                      block, colour);
    hy_buf_printf(&p->script,
                  ", \\\n  DATA index %d using 1:2 with points pt PT(%d) ps PS(%.3f) lc rgb LC(%d)+0x30000000 notitle",
                  block, colour, point_size(q, top), colour);
}

hy_status hy_fig_points(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_axis *x, const hy_fig_axis *y,
                        const char *size_label, const hy_fig_point *points, int n) {
    double xl = INFINITY, xh = -INFINITY, yl = INFINITY, yh = -INFINITY, top = 0;
    const char **names = hy_xcalloc((size_t)n + 1, sizeof *names);
    int shown = 0;
    for (int i = 0; i < n; i++) {
        const hy_fig_point *q = &points[i];
        if (!drawn(q, x, y)) continue;
        names[shown++] = q->name;
        xl = fmin(xl, q->x), xh = fmax(xh, q->x), yl = fmin(yl, q->y), yh = fmax(yh, q->y);
        if (has_bar(q)) yh = fmax(yh, q->hi);
        if (has_bar(q) && (!y->log || q->lo > 0)) yl = fmin(yl, q->lo);
        if (size_label && isfinite(q->size)) top = fmax(top, q->size);
    }
    names[shown] = size_label ? size_label : "";
    int legend = hy_figc_legend_width(names, shown + 1), width = 640 + legend, height = 520;
    const int least = 150 + 24 * shown + (top > 0 ? 140 : 0);
    height = height < least ? least : height;
    free(names);
    hy_plot p = {0};
    int y0 = hy_figc_head(&p, head, width, height);
    hy_figc_area(&p, 84, width - legend - 16, y0 + 8, height - 64);
    hy_figc_axis(&p, "x", x, xl, xh);
    hy_figc_axis(&p, "y", y, yl, yh);
    hy_figc_legend(&p, width - legend, y0);
    if (top > 0) size_legend(&p, size_label, top, width - legend + 6, y0 + 24 * shown + 34);
    int *order = by_size(points, n), block = 0;
    hy_buf_printf(&p.data, "# x  y  low  high  size  name\n");
    hy_figc_low(&p, y);
    hy_buf_printf(&p.script, "set grid x y\nplot NaN notitle");
    for (int k = 0; k < n; k++)
        if (drawn(&points[order[k]], x, y)) one_point(&p, &points[order[k]], order[k], block++, top);
    for (int i = 0; i < n; i++) {
        if (!drawn(&points[i], x, y)) continue;
        hy_buf_printf(&p.script, ", \\\n  NaN with points pt PT(%d) ps PS(1.4) lc rgb LC(%d) title ", i, i);
        hy_figc_name(&p.script, points[i].name);
    }
    hy_buf_printf(&p.script, "\n");
    free(order);
    hy_status s = block ? hy_plot_draw(&p, out)
                        : hy_error(HY_EINPUT, "figure %s: nothing to draw, no point has both figures", out->name);
    hy_plot_free(&p);
    return s;
}
