// fig_pairs.c - a square for each two of a list of layers, as colours, in panels with one colour scale. See figures.h.
#include <math.h>
#include <stdlib.h>

#include "analysis/figure/fig_common.h"

enum { COLUMNS = 2, NUMBERS = 10, MOST = 1024 };  // panels beside each other; up to so many layers with numbers
typedef struct {
    int layer[MOST], n;  // those that stand in a pair, in their order
    int cell;            // pixels
    double low;          // of the colour scale, to 1
} frame;

static void place(frame *f, int layer) {
    int i = f->n;
    for (int k = 0; k < f->n; k++)
        if (f->layer[k] == layer) return;
    HY_ASSERT(f->n < MOST);
    for (f->n++; i > 0 && f->layer[i - 1] > layer; i--) f->layer[i] = f->layer[i - 1];
    f->layer[i] = layer;
}

static int index_of(const frame *f, int layer) {
    int i = 0;
    while (f->layer[i] != layer) i++;
    return i;
}

static frame frame_of(const hy_fig_pair_panel *panels, int n_panels) {
    frame f = {0};
    for (int q = 0; q < n_panels; q++)
        for (int k = 0; k < panels[q].n; k++) {
            place(&f, panels[q].pair[k].a);
            place(&f, panels[q].pair[k].b);
            if (panels[q].pair[k].value < 0) f.low = fmin(f.low, -ceil(-4 * panels[q].pair[k].value) / 4);
        }
    f.cell = f.n <= 6 ? 46 : f.n <= NUMBERS ? 38 : f.n <= 20 ? 20 : f.n <= 40 ? 11 : 5;
    return f;
}

// Both halves of the square, then, as a block of their own, the pairs that are the same.
static void panel_data(hy_plot *p, const frame *f, const hy_fig_pair_panel *q) {
    int same = 0;
    hy_plot_comment(&p->data, q->title);
    hy_plot_comment(&p->data, "column  row  value");
    for (int k = 0; k < 2 * q->n; k++) {
        const hy_fig_pair *x = &q->pair[k / 2];
        const int a = index_of(f, x->a), b = index_of(f, x->b);
        hy_buf_printf(&p->data, "%d %d %.10g\n", k % 2 ? b : a, k % 2 ? a : b, x->value);
        same += x->same;
    }
    hy_buf_printf(&p->data, "\n\n");
    hy_plot_comment(&p->data, "the same keys and values: column  row");
    for (int k = 0; k < 2 * q->n; k++) {
        const hy_fig_pair *x = &q->pair[k / 2];
        const int a = index_of(f, x->a), b = index_of(f, x->b);
        if (x->same) hy_buf_printf(&p->data, "%d %d\n", k % 2 ? b : a, k % 2 ? a : b);
    }
    hy_buf_printf(&p->data, "%s\n\n", same ? "" : "NaN NaN\n");
}

static void tics(hy_buf *b, char axis, const frame *f) {
    const int every = f->n <= 20 ? 1 : f->n <= 40 ? 4 : (f->n + 9) / 10;
    hy_buf_printf(b, "set %ctics scale 0 norotate (", axis);
    for (int i = 0; i < f->n; i += every) hy_buf_printf(b, "%s'%d' %d", i ? ", " : "", f->layer[i], i);
    hy_buf_printf(b, ")\n");
}

static void panel_plot(hy_plot *p, const frame *f, const hy_fig_pair_panel *q, int block) {
    hy_buf *b = &p->script;
    hy_buf_printf(b, "set title ");
    hy_plot_quote(b, q->title);
    hy_buf_printf(b, " font ',12' offset 0,-0.5\n");
    hy_buf_printf(b, "plot DATA index %d using 1:2:(0.5):(0.5):3 with boxxyerror lc palette notitle", 2 * block);
    if (f->n <= NUMBERS)
        hy_buf_printf(b,
                      ", \\\n  DATA index %d using 1:2:(sprintf('%%.2f', abs($3) < 0.005 ? 0 : $3)):($3 < mid ? "
                      "0xffffff : 0x000000) with "
                      "labels tc rgb variable font ',9' notitle",
                      2 * block);
    hy_buf_printf(b,
                  ", \\\n  DATA index %d using 1:2:(0.44):(0.44) with boxxyerror lc rgb '#D55E00' lw 2 fs empty border "
                  "notitle\n",
                  2 * block + 1);
}

hy_status hy_fig_pairs(const hy_fig_out *out, const hy_fig_head *head, const char *axis_label, const char *value_label,
                       const hy_fig_pair_panel *panels, int n_panels) {
    const frame f = frame_of(panels, n_panels);
    if (f.n < 2) return hy_error(HY_EINPUT, "figure %s: nothing to draw, no two layers", out->name);
    enum { LEFT = 70, GAP_X = 60, GAP_Y = 76, BAR = 120 };
    const int least = 150, side = f.n * f.cell < least ? least : f.n * f.cell;
    const int cols = n_panels < COLUMNS ? n_panels : COLUMNS, rows = (n_panels + cols - 1) / cols;
    const int right = LEFT + cols * (side + GAP_X) - GAP_X;
    int width = right + BAR;
    width = width < 620 ? 620 : width;
    hy_plot p = {0};
    int y0 = hy_figc_head(&p, head, width, 520);
    p.script.n = 0;  // once more with the right height
    hy_figc_head(&p, head, width, y0 + 28 + rows * (side + GAP_Y));
    hy_buf *b = &p.script;
    hy_buf_printf(b,
                  "set cbrange [%.6g:1]\nmid = %.6g\n" HY_FIGC_VIRIDIS
                  "unset grid\nset multiplot\nset key off\nunset colorbox\nset style fill solid noborder\n"
                  "set object 1 rectangle from graph 0,0 to graph 1,1 fillcolor rgb '#e4e4e4' fillstyle solid noborder "
                  "behind\nset xrange [-0.5:%g]\nset yrange [%g:-0.5]\n",
                  f.low, f.low + 0.6 * (1 - f.low), f.n - 0.5, f.n - 0.5);
    tics(b, 'x', &f);
    tics(b, 'y', &f);
    for (int q = 0; q < n_panels; q++) {
        const int r = q / cols, c = q % cols;
        const double left = LEFT + c * (side + GAP_X), top = y0 + 28 + r * (side + GAP_Y);
        for (int axis = 0; axis < 2; axis++) {
            hy_buf_printf(b, "set %clabel ", "xy"[axis]);
            hy_plot_quote(b, axis ? c == 0 ? axis_label : "" : q + cols >= n_panels ? axis_label : "");
            hy_buf_printf(b, " font ',11'\n");
        }
        if (q == n_panels - 1) hy_figc_colour_box(&p, right + 24, y0 + 28, y0 + 28 + side, value_label);
        hy_figc_area(&p, left, left + side, top, top + side);
        panel_data(&p, &f, &panels[q]);
        panel_plot(&p, &f, &panels[q], q);
        if (q == 0) hy_buf_printf(b, "unset label\n");
    }
    hy_buf_printf(b, "unset multiplot\n");
    const hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    return s;
}
