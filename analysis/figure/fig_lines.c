// fig_lines.c - lines with bands or error bars, in panels side by side with one legend. See figures.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/figure/fig_common.h"

enum {
    MANY = 24,         // points of a series from which bands replace error bars and not every point is marked
    MOST_IN_A_ROW = 4  // panels
};

static void panel_range(const hy_fig_panel *q, double r[4]) {
    r[0] = r[2] = INFINITY;
    r[1] = r[3] = -INFINITY;
    for (int k = 0; k < q->n_series; k++) {
        const hy_fig_series *s = &q->series[k];
        for (int i = 0; i < s->n; i++) {
            double lo = s->lo && isfinite(s->lo[i]) ? s->lo[i] : s->y[i],
                   hi = s->hi && isfinite(s->hi[i]) ? s->hi[i] : s->y[i];
            if (!isfinite(s->x[i]) || !isfinite(s->y[i]) || (q->x.log && s->x[i] <= 0) || (q->y.log && s->y[i] <= 0))
                continue;
            if (q->y.log && lo <= 0) lo = s->y[i];
            r[0] = fmin(r[0], s->x[i]), r[1] = fmax(r[1], s->x[i]);
            r[2] = fmin(r[2], lo), r[3] = fmax(r[3], hi);
        }
    }
}

static void panel_data(hy_plot *p, const hy_fig_panel *q) {
    for (int k = 0; k < q->n_series; k++) {
        const hy_fig_series *s = &q->series[k];
        hy_plot_comment(&p->data, q->title ? q->title : "");
        hy_plot_comment(&p->data, s->name);
        hy_plot_comment(&p->data, "x  y  low  high");
        for (int i = 0; i < s->n; i++) {
            const bool gone = (q->x.log && s->x[i] <= 0) || (q->y.log && s->y[i] <= 0);
            const double v[] = {gone ? NAN : s->x[i], s->y[i], s->lo ? s->lo[i] : NAN, s->hi ? s->hi[i] : NAN};
            hy_figc_numbers(&p->data, 4, v);
            hy_buf_printf(&p->data, "\n");
        }
        hy_buf_printf(&p->data, "%s\n\n", s->n ? "" : "NaN NaN NaN NaN\n");
    }
}

static void panel_plot(hy_plot *p, const hy_fig_panel *q, int block) {
    hy_buf *b = &p->script;
    hy_figc_low(p, &q->y);
    hy_buf_printf(b, "plot NaN notitle");
    for (int k = 0; k < q->n_series; k++) {  // ranges first, lines on top of all of them
        const hy_fig_series *s = &q->series[k];
        if (!s->lo || !s->hi) continue;
        if (s->n >= MANY)
            hy_buf_printf(
                b, ", \\\n  DATA index %d using 1:(LOW($3)):4 with filledcurves lc rgb LC(%d)+0xc0000000 notitle",
                block + k, s->colour);
        else
            hy_buf_printf(b,
                          ", \\\n  DATA index %d using 1:(LOW($3)):(0):($4-LOW($3)) with vectors " HY_FIGC_BAR
                          " lw 1.2 lc rgb LC(%d) notitle",
                          block + k, s->colour);
    }
    for (int k = 0; k < q->n_series; k++) {
        const hy_fig_series *s = &q->series[k];
        hy_buf_printf(b,
                      ", \\\n  DATA index %d using 1:2 with linespoints pt PT(%d) ps PS(%s) pi %d lw 1.8 dt %d lc rgb "
                      "LC(%d) notitle",
                      block + k, s->colour, s->n >= MANY ? "0.8" : "1.1", s->n >= MANY ? s->n / 8 + k % 3 : 1,
                      1 + s->colour / HY_PLOT_COLOURS, s->colour);
    }
}

// Every name once, in the order of colours.
static int distinct(const hy_fig_panel *panels, int n_panels, const char **names, int *colours) {
    int n = 0;
    for (int q = 0; q < n_panels; q++)
        for (int k = 0; k < panels[q].n_series; k++) {
            int i = 0;
            while (i < n && strcmp(names[i], panels[q].series[k].name)) i++;
            if (i < n) continue;
            for (i = n++; i > 0 && colours[i - 1] > panels[q].series[k].colour; i--)
                names[i] = names[i - 1], colours[i] = colours[i - 1];
            names[i] = panels[q].series[k].name;
            colours[i] = panels[q].series[k].colour;
        }
    return n;
}

hy_status hy_fig_lines(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_panel *panels, int n_panels) {
    int total = 0, block = 0, drawn = 0;
    for (int q = 0; q < n_panels; q++) total += panels[q].n_series;
    for (int q = 0; q < n_panels; q++)
        for (int k = 0; k < panels[q].n_series; k++) drawn += panels[q].series[k].n > 0;
    if (!drawn) return hy_error(HY_EINPUT, "figure %s: nothing to draw, no series has a point", out->name);
    const char **names = hy_xcalloc((size_t)total, sizeof *names);
    int *colours = hy_xcalloc((size_t)total, sizeof *colours), n = distinct(panels, n_panels, names, colours);
    int legend = hy_figc_legend_width(names, n), pw = n_panels == 1 ? 600 : n_panels == 2 ? 400 : 320, gap = 104;
    const int rows = (n_panels + MOST_IN_A_ROW - 1) / MOST_IN_A_ROW, cols = (n_panels + rows - 1) / rows;
    const int least = 150 + 24 * n, height = rows > 1 ? 100 + rows * 350 : 480;
    hy_plot p = {0};
    int y0 = hy_figc_head(&p, head, 10 + cols * (pw + gap) + legend, height < least ? least : height);
    const double each = (p.height - y0) / (double)rows;
    hy_buf_printf(&p.script, "set grid x y\nset multiplot\n");
    hy_figc_legend(&p, p.width - legend, y0 + 4);
    for (int q = 0; q < n_panels; q++) {
        double left = gap - 10 + q % cols * (pw + gap), top = y0 + q / cols * each, r[4];
        panel_range(&panels[q], r);
        hy_figc_area(&p, left, left + pw, top + (n_panels > 1 ? 28 : 8), top + each - (q / cols + 1 < rows ? 84 : 64));
        hy_figc_axis(&p, "x", &panels[q].x, r[0], r[1]);
        hy_figc_axis(&p, "y", &panels[q].y, r[2], r[3]);
        hy_buf_printf(&p.script, "set title ");
        hy_plot_quote(&p.script, n_panels > 1 && panels[q].title ? panels[q].title : "");
        hy_buf_printf(&p.script, " font ',12' offset 0,-0.4\n");
        panel_data(&p, &panels[q]);
        panel_plot(&p, &panels[q], block);
        for (int i = 0; i < n && q == 0; i++) {
            hy_buf_printf(&p.script,
                          ", \\\n  NaN with linespoints pt PT(%d) ps PS(1.2) lw 1.8 dt %d lc rgb LC(%d) title ",
                          colours[i], 1 + colours[i] / HY_PLOT_COLOURS, colours[i]);
            hy_figc_name(&p.script, names[i]);
        }
        hy_buf_printf(&p.script, "\nunset label\nset key off\n");
        block += panels[q].n_series;
    }
    hy_buf_printf(&p.script, "unset multiplot\n");
    hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    free(names), free(colours);
    return s;
}
