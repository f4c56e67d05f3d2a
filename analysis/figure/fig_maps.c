// fig_maps.c - matrices as colours: attention maps in a grid with one colour scale, and heat maps with named rows and
// columns. See figures.h.
#include <math.h>
#include <stdlib.h>

#include "analysis/figure/fig_common.h"

static void map_panel(hy_plot *p, const hy_fig_map *m, double left, double top, double side, size_t *offset) {
    hy_buf *b = &p->script;
    hy_buf_write(&p->data, m->a, (size_t)m->S * m->S * sizeof *m->a);
    hy_figc_area(p, left, left + side, top, top + side);
    hy_buf_printf(b, "set title ");
    hy_plot_quote(b, m->title);
    double meta = m->meta - 0.5, end = m->S - 0.5;
    hy_buf_printf(b, " font ',11' offset 0,-0.5\nset xrange [-0.5:%g]\nset yrange [%g:-0.5]\nunset arrow\n", end, end);
    if (m->meta > 0)
        hy_buf_printf(b,
                      "set arrow from %g,-0.5 to %g,%g nohead front lw 1 dt 2 lc rgb '#D55E00'\n"
                      "set arrow from -0.5,%g to %g,%g nohead front lw 1 dt 2 lc rgb '#D55E00'\n",
                      meta, meta, end, meta, end, meta);
    hy_buf_printf(b,
                  "plot DATA binary array=(%d,%d) format='%%float32' endian=little skip=%zu using (COLOUR($1)) with "
                  "image notitle\n"
                  "unset label\n",
                  m->S, m->S, *offset);
    *offset += (size_t)m->S * m->S * sizeof(float);
}

hy_status hy_fig_maps(const hy_fig_out *out, const hy_fig_head *head, const char *value_label, bool log,
                      double floor_value, int rows, int cols, const hy_fig_map *maps) {
    double top = -INFINITY, low = INFINITY;
    int last = -1;
    for (int k = 0; k < rows * cols; k++) {
        if (!maps[k].a) continue;
        last = k;
        for (size_t i = 0; i < (size_t)maps[k].S * maps[k].S; i++)
            if (isfinite(maps[k].a[i])) top = fmax(top, maps[k].a[i]), low = fmin(low, maps[k].a[i]);
    }
    if (last < 0 || !(top >= low)) return hy_error(HY_EINPUT, "figure %s: nothing to draw, no map given", out->name);
    int side = cols > 3 ? 200 : 250, gap_x = 58, gap_y = 66, bar = 152;
    hy_plot p = {0};
    int right = 70 + cols * (side + gap_x) - gap_x, width = right + bar, y0;
    width = width < 560 ? 560 : width;
    y0 = hy_figc_head(&p, head, width, 520);
    p.script.n = 0;  // once more with the right height
    hy_figc_head(&p, head, width, y0 + 24 + rows * (side + gap_y));
    if (log && !(floor_value < top)) floor_value = top / 1000;
    if (log) hy_buf_printf(&p.script, "set logscale cb\nset format cb '%%g'\n");
    hy_buf_printf(
        &p.script,
        "set cbrange [%.6g:%.6g]\n" HY_FIGC_VIRIDIS "unset grid\nset multiplot\nset key off\nunset colorbox\n"
        "set object 1 rectangle from graph 0,0 to graph 1,1 fillcolor rgb '#e4e4e4' fillstyle solid noborder behind\n",
        log ? floor_value : low, top > low ? top : low + 1);
    if (log)
        hy_buf_printf(&p.script, "COLOUR(a) = a < %.6g ? %.6g : a  # zeros too have a colour; NaN stays\n", floor_value,
                      floor_value);
    else
        hy_buf_printf(&p.script, "COLOUR(a) = a\n");
    size_t offset = 0;
    for (int k = 0; k < rows * cols; k++) {
        if (!maps[k].a) continue;
        int c = k % cols, r = k / cols;
        double left = 70 + c * (side + gap_x), upper = y0 + 24 + r * (side + gap_y);
        hy_buf_printf(&p.script, "set xlabel '%s' font ',11' offset 0,0.4\nset ylabel '%s' font ',11' offset 0.6,0\n",
                      r == rows - 1 ? "key position" : "", c == 0 ? "query position" : "");
        if (k == last) hy_figc_colour_box(&p, right + 24, y0 + 24, y0 + 24 + side, value_label);
        map_panel(&p, &maps[k], left, upper, side, &offset);
    }
    hy_buf_printf(&p.script, "unset multiplot\n");
    hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    return s;
}

// ---------------------------------------------------------------------------------------------------- heat maps
enum { MANY_COLUMNS = 32 };

// Every step-th is named.
static void name_axis(hy_buf *b, char axis, const char *const *names, int n, int step, bool slant) {
    hy_buf_printf(b, "set %ctics scale 0 %s (", axis, slant ? "rotate by 35 right" : "norotate");
    for (int i = 0; i < n; i += step) {
        hy_buf_printf(b, "%s", i ? ", " : "");
        char *name = hy_figc_short_tic(names[i]);
        hy_plot_quote_tic(b, name);
        free(name);
        hy_buf_printf(b, " %d", i);
    }
    hy_buf_printf(b, ")\n");
}

hy_status hy_fig_heat(const hy_fig_out *out, const hy_fig_head *head, const char *x_label, const char *y_label,
                      const char *value_label, double min, double max, const char *const *cols, int n_cols,
                      const char *const *rows, int n_rows, const double *values) {
    if (n_cols < 1 || n_rows < 1)
        return hy_error(HY_EINPUT, "figure %s: nothing to draw, no rows or columns", out->name);
    hy_plot p = {0};
    int longest = hy_figc_legend_width(rows, n_rows), wide = hy_figc_legend_width(cols, n_cols) - 40,
        cell = n_cols > MANY_COLUMNS ? 12
               : n_cols > 12         ? 40
                                     : 64;
    const bool many = n_cols > MANY_COLUMNS;  // too narrow for numbers, and for a name on each
    int left = 30 + longest, width = left + n_cols * cell + 140, y0;
    width = width < 560 ? 560 : width;
    y0 = hy_figc_head(&p, head, width, 520);
    p.script.n = 0;
    int bottom = y0 + 12 + n_rows * 44;
    hy_figc_head(&p, head, width, bottom + (!many && wide > cell ? 40 + wide / 2 : 64));
    hy_figc_area(&p, left, left + n_cols * cell, y0 + 12, bottom);
    name_axis(&p.script, 'x', cols, n_cols, many ? 8 : 1, !many && wide > cell);
    name_axis(&p.script, 'y', rows, n_rows, 1, false);
    hy_buf_printf(&p.script, "set xlabel ");
    hy_plot_quote(&p.script, x_label);
    hy_buf_printf(&p.script, "\nset ylabel ");
    hy_plot_quote(&p.script, y_label);
    hy_buf_printf(&p.script,
                  "\nset xrange [-0.5:%g]\nset yrange [%g:-0.5]\nset cbrange [%.6g:%.6g]\n" HY_FIGC_VIRIDIS
                  "unset grid\nset key off\nset object 1 rectangle from graph 0,0 to graph 1,1"
                  " fillcolor rgb '#e4e4e4' fillstyle solid noborder behind\n",
                  n_cols - 0.5, n_rows - 0.5, min, max);
    hy_figc_colour_box(&p, left + n_cols * cell + 22, y0 + 12, bottom, value_label);
    hy_buf_printf(&p.data, "# column  row  value\n");
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < n_cols; c++)
            if (isfinite(values[r * n_cols + c])) hy_buf_printf(&p.data, "%d %d %.10g\n", c, r, values[r * n_cols + c]);
    hy_buf_printf(&p.script,
                  "set style fill solid noborder\nmid = %.6g\n"
                  "plot DATA using 1:2:(0.5):(0.5):3 with boxxyerror lc palette notitle",
                  min + 0.6 * (max - min));
    if (!many)
        hy_buf_printf(&p.script,
                      ", \\\n  DATA using 1:2:(sprintf('%s', $3)):($3 < mid ? 0xffffff : 0x000000) with labels"
                      " tc rgb variable font ',10' notitle",
                      max - min > 10 ? "%.0f" : "%.2f");
    hy_buf_printf(&p.script, "\n");
    hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    return s;
}
