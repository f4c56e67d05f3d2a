// fig_points.c - one point per name, with error bars and, if wanted, its size as a third figure; families of points are
// joined by a line. See figures.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

// ---- families: names "family: member" with a family in common
typedef struct {
    int first;   // the first drawn point of its family; itself if it is alone
    int colour;  // index of colour and shape
    bool one;    // of a family
} member;

static int family_columns(const char *name) {
    const char *end = strstr(name, ": ");
    return end ? (int)(end - name) : 0;
}

static bool related(const char *a, const char *b) {
    const int n = family_columns(a);
    return n && n == family_columns(b) && !strncmp(a, b, (size_t)n);
}

// Where no names are related, each keeps the colour of its index, as in the other figures. Caller frees.
static member *members(const hy_fig_point *q, int n, const hy_fig_axis *x, const hy_fig_axis *y) {
    member *m = hy_xcalloc((size_t)n + 1, sizeof *m);
    bool any = false;
    for (int i = 0; i < n; i++) {
        m[i] = (member){i, i, false};
        for (int k = 0; k < i && drawn(&q[i], x, y) && !m[i].one; k++)
            if (drawn(&q[k], x, y) && related(q[k].name, q[i].name)) m[i] = (member){k, k, true}, m[k].one = any = true;
    }
    for (int i = 0, next = 0; any && i < n; i++) m[i].colour = m[i].first == i ? next++ : m[m[i].first].colour;
    return m;
}

// Its points in order of x as a block of data of their own, and the line through them.
static void family_line(hy_plot *p, const hy_fig_point *q, int n, const member *m, int first, int block) {
    int *o = hy_xcalloc((size_t)n, sizeof *o), count = 0;
    for (int i = 0; i < n; i++) {
        if (m[i].first != first) continue;
        int k = count++;
        for (; k > 0 && q[i].x < q[o[k - 1]].x; k--) o[k] = o[k - 1];
        o[k] = i;
    }
    for (int k = 0; k < count; k++) {
        hy_buf_printf(&p->data, "%.10g %.10g", q[o[k]].x, q[o[k]].y);
        hy_figc_numbers(&p->data, 3, (double[]){NAN, NAN, NAN});
        hy_buf_printf(&p->data, " ");
        hy_plot_field(&p->data, q[o[k]].name);
        hy_buf_printf(&p->data, "\n");
    }
    hy_buf_printf(&p->data, "\n\n");
    hy_buf_printf(&p->script, ", \\\n  DATA index %d using 1:2 with lines lw 1.5 lc rgb LC(%d) notitle", block,
                  m[first].colour);
    free(o);
}

// What tells a point from the others of its family, beside it.
static void member_label(hy_plot *p, const hy_fig_point *q) {
    char *text = hy_fig_short(q->name + family_columns(q->name) + 2, 16);
    hy_buf_printf(&p->script, "set label ");
    hy_plot_quote(&p->script, text);
    hy_buf_printf(&p->script,
                  " at first %.10g, first %.10g left offset char 0.8,-0.6 font ',10' textcolor rgb '#555555'\n", q->x,
                  q->y);
    free(text);
}

// The name in the legend: of a family, once, or of a point; NULL: none.
static char *legend_name(const hy_fig_point *q, const member *m, int i) {
    if (m[i].one && m[i].first != i) return NULL;
    return m[i].one ? hy_asprintf("%.*s", family_columns(q[i].name), q[i].name) : hy_xstrdup(q[i].name);
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

// Lines of families below everything, then the points, then the entries of the legend.
static int elements(hy_plot *p, const hy_fig_point *q, int n, const member *m, const hy_fig_axis *x,
                    const hy_fig_axis *y, double top, char *const *names) {
    int *order = by_size(q, n), block = 0;
    for (int i = 0; i < n; i++)
        if (m[i].one && m[i].first == i) family_line(p, q, n, m, i, block++);
    for (int k = 0; k < n; k++)
        if (drawn(&q[order[k]], x, y)) one_point(p, &q[order[k]], m[order[k]].colour, block++, top);
    for (int i = 0; i < n; i++) {
        if (!names[i]) continue;
        const char *with = m[i].one ? "linespoints lw 1.5" : "points";
        hy_buf_printf(&p->script, ", \\\n  NaN with %s pt PT(%d) ps PS(1.4) lc rgb LC(%d) title ", with, m[i].colour,
                      m[i].colour);
        hy_figc_name(&p->script, names[i]);
    }
    hy_buf_printf(&p->script, "\n");
    free(order);
    return block;
}

typedef struct {
    double xl, xh, yl, yh, top;  // ranges of what is drawn, bars included; the largest size
} extent;

static extent extent_of(const hy_fig_point *points, int n, const hy_fig_axis *x, const hy_fig_axis *y, bool sizes) {
    extent e = {INFINITY, -INFINITY, INFINITY, -INFINITY, 0};
    for (int i = 0; i < n; i++) {
        const hy_fig_point *q = &points[i];
        if (!drawn(q, x, y)) continue;
        e.xl = fmin(e.xl, q->x), e.xh = fmax(e.xh, q->x), e.yl = fmin(e.yl, q->y), e.yh = fmax(e.yh, q->y);
        if (has_bar(q)) e.yh = fmax(e.yh, q->hi);
        if (has_bar(q) && (!y->log || q->lo > 0)) e.yl = fmin(e.yl, q->lo);
        if (sizes && isfinite(q->size)) e.top = fmax(e.top, q->size);
    }
    return e;
}

hy_status hy_fig_points(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_axis *x, const hy_fig_axis *y,
                        const char *size_label, const hy_fig_point *points, int n) {
    const extent e = extent_of(points, n, x, y, size_label);
    member *m = members(points, n, x, y);
    char **names = hy_xcalloc((size_t)n + 1, sizeof *names);  // of the legend
    const char **wide = hy_xcalloc((size_t)n + 1, sizeof *wide);
    int entries = 0;
    for (int i = 0; i < n; i++) {
        names[i] = drawn(&points[i], x, y) ? legend_name(points, m, i) : NULL;
        if (names[i]) wide[entries++] = names[i];
    }
    wide[entries] = size_label ? size_label : "";
    int legend = hy_figc_legend_width(wide, entries + 1), width = 640 + legend, height = 520;
    const int least = 150 + 24 * entries + (e.top > 0 ? 140 : 0);
    height = height < least ? least : height;
    hy_plot p = {0};
    int y0 = hy_figc_head(&p, head, width, height);
    hy_figc_area(&p, 84, width - legend - 16, y0 + 8, height - 64);
    hy_figc_axis(&p, "x", x, e.xl, e.xh);
    hy_figc_axis(&p, "y", y, e.yl, e.yh);
    hy_figc_legend(&p, width - legend, y0);
    if (e.top > 0) size_legend(&p, size_label, e.top, width - legend + 6, y0 + 24 * entries + 34);
    for (int i = 0; i < n; i++)
        if (m[i].one) member_label(&p, &points[i]);
    hy_buf_printf(&p.data, "# x  y  low  high  size  name\n");
    hy_figc_low(&p, y);
    hy_buf_printf(&p.script, "set grid x y\nplot NaN notitle");
    const int blocks = elements(&p, points, n, m, x, y, e.top, names);
    hy_status s = blocks ? hy_plot_draw(&p, out)
                         : hy_error(HY_EINPUT, "figure %s: nothing to draw, no point has both figures", out->name);
    for (int i = 0; i < n; i++) free(names[i]);
    free(names), free(wide), free(m);
    hy_plot_free(&p);
    return s;
}
