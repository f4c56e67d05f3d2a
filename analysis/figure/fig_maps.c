// fig_maps.c - matrices as colours: attention maps in a grid with one colour scale, and heat maps with named rows and
// columns. See figures.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/figure/fig_common.h"

hy_block_shape hy_fig_map_whole(int S) { return hy_block_shape_of(0, S, 0, S, S, HY_BLOCK_MAX); }

// Only some of the positions, or blocks of them.
static bool is_part(const hy_fig_map *m) {
    return !hy_block_whole(&m->shape) || m->shape.i0 || m->shape.j0 || m->shape.rows != m->shape.columns;
}

// A map of single positions with more of them than pixels, in blocks; *own (caller frees): what it is then made of.
static hy_status reduce(hy_fig_map *m, float **own) {
    const hy_block_shape *s = &m->shape;
    *own = NULL;
    if (!m->a || !hy_block_whole(s) || (s->rows <= HY_FIG_PIXELS && s->columns <= HY_FIG_PIXELS)) return HY_OK;
    const hy_block_shape small = hy_block_shape_of(s->i0, s->i1, s->j0, s->j1, HY_FIG_PIXELS, HY_BLOCK_MAX);
    hy_blocks b;
    HY_TRY(hy_blocks_open(&small, &b));
    double *row = hy_xcalloc((size_t)s->j1, sizeof *row);
    for (int i = s->i0; i < s->i1; i++) {
        for (int j = s->j0; j < s->j1; j++)
            row[j] = m->a[(size_t)(i - s->i0) * (size_t)s->columns + (size_t)(j - s->j0)];
        hy_blocks_row(&b, i, row);
    }
    *own = hy_xcalloc((size_t)small.rows * (size_t)small.columns, sizeof **own);
    for (int k = 0; k < small.rows * small.columns; k++) (*own)[k] = (float)hy_blocks_at(&b, k);
    m->a = *own;
    m->shape = small;
    hy_blocks_free(&b);
    free(row);
    return HY_OK;
}

static size_t values_of(const hy_fig_map *m) { return (size_t)m->shape.rows * (size_t)m->shape.columns; }

// What the data are, before them, where they are not simply all positions. The bytes of numbers do not depend on them.
static void data_header(hy_buf *out, const hy_fig_map *maps, int n, size_t base) {
    hy_plot_comment(out, "float32, little-endian, the rows of each map one after another; NaN: not visible");
    for (int k = 0; k < n; k++) {
        const hy_block_shape *s = &maps[k].shape;
        if (!maps[k].a) continue;
        char *each = hy_block_text(s),
             *line = hy_asprintf(
                 "%s: %d rows x %d columns from byte %12zu; each value: %s; queries %d to %d, keys %d to %d",
                 maps[k].title, s->rows, s->columns, base, hy_block_whole(s) ? "one position" : each, s->i0, s->i1 - 1,
                 s->j0, s->j1 - 1);
        hy_plot_comment(out, line);
        base += values_of(&maps[k]) * sizeof(float);
        free(each), free(line);
    }
}

// What the pixels of these maps are, each kind once; "" if they are single positions, all of them. Caller frees.
static char *pixels_text(const hy_fig_map *maps, int n) {
    hy_buf b = {0};
    hy_buf_write(&b, "", 0);
    for (int k = 0; k < n; k++) {
        const hy_block_shape *s = &maps[k].shape;
        bool said = !maps[k].a || !is_part(&maps[k]);
        for (int j = 0; j < k; j++) said = said || (maps[j].a && !memcmp(&maps[j].shape, s, sizeof *s));
        if (said) continue;
        char *each = hy_block_text(s);
        if (!hy_block_whole(s)) hy_buf_printf(&b, ". Each pixel: %s (queries x keys)", each);
        if (hy_block_whole(s) || s->i0 || s->j0 || s->i1 != s->j1)
            hy_buf_printf(&b, ". Queries %d to %d, keys %d to %d only", s->i0, s->i1 - 1, s->j0, s->j1 - 1);
        free(each);
    }
    return b.s;
}

// Tics of an axis of n positions that do not run into each other.
static int tic_step(int n) {
    int step = 1;
    for (int k = 0; n / step > 4; k++) step = step / (k % 3 == 1 ? 2 : 1) * (k % 3 == 1 ? 5 : 2);
    return step;
}

static void map_panel(hy_plot *p, const hy_fig_map *m, double left, double top, double side, size_t *offset) {
    hy_buf *b = &p->script;
    const hy_block_shape *s = &m->shape;
    hy_buf_write(&p->data, m->a, values_of(m) * sizeof *m->a);
    hy_figc_area(p, left, left + side, top, top + side);
    hy_buf_printf(b, "set title ");
    hy_plot_quote(b, m->title);
    const double meta = m->meta - 0.5, x0 = s->j0 - 0.5, y0 = s->i0 - 0.5, x1 = x0 + s->columns * s->across,
                 y1 = y0 + s->rows * s->down;
    hy_buf_printf(b,
                  " font ',11' offset 0,-0.5\nset xrange [%g:%g]\nset yrange [%g:%g]\nset xtics %d\nset ytics %d\n"
                  "unset arrow\n",
                  x0, x1, y1, y0, tic_step(s->j1 - s->j0), tic_step(s->i1 - s->i0));
    if (m->meta > 0 && meta > x0 && meta < x1)
        hy_buf_printf(b, "set arrow from %g,%g to %g,%g nohead front lw 1 dt 2 lc rgb '#D55E00'\n", meta, y0, meta, y1);
    if (m->meta > 0 && meta > y0 && meta < y1)
        hy_buf_printf(b, "set arrow from %g,%g to %g,%g nohead front lw 1 dt 2 lc rgb '#D55E00'\n", x0, meta, x1, meta);
    hy_buf_printf(b, "plot DATA binary array=(%d,%d) format='%%float32' endian=little skip=%zu", s->columns, s->rows,
                  *offset);
    if (is_part(m))  // the centre of the first pixel, and from one to the next
        hy_buf_printf(b, " origin=(%g,%g) dx=%d dy=%d", x0 + s->across / 2.0, y0 + s->down / 2.0, s->across, s->down);
    hy_buf_printf(b, " using (COLOUR($1)) with image notitle\nunset label\n");
    *offset += values_of(m) * sizeof(float);
}

// All panels and their colours, from top .. low of their values.
static void draw_maps(hy_plot *p, const hy_fig_head *head, const char *value_label, bool log, double floor_value,
                      int rows, int cols, const hy_fig_map *maps, double low, double top, int last) {
    int longest = 0;  // digits of positions
    for (int k = 0; k < rows * cols; k++)
        if (maps[k].a && maps[k].shape.i1 > longest) longest = maps[k].shape.i1;
    const int side = 2 * HY_FIG_PIXELS / 3, first = longest < 1000 ? 70 : 84, gap_x = first - 12, gap_y = 66, bar = 152;
    const int right = first + cols * (side + gap_x) - gap_x, width = right + bar < 560 ? 560 : right + bar,
              y0 = hy_figc_head(p, head, width, 520);
    p->script.n = 0;  // once more with the right height
    hy_figc_head(p, head, width, y0 + 24 + rows * (side + gap_y));
    if (log && !(floor_value < top)) floor_value = top / 1000;
    if (log) hy_buf_printf(&p->script, "set logscale cb\nset format cb '%%g'\n");
    hy_buf_printf(
        &p->script,
        "set cbrange [%.6g:%.6g]\n" HY_FIGC_VIRIDIS "unset grid\nset multiplot\nset key off\nunset colorbox\n"
        "set object 1 rectangle from graph 0,0 to graph 1,1 fillcolor rgb '#e4e4e4' fillstyle solid noborder behind\n",
        log ? floor_value : low, top > low ? top : low + 1);
    if (log)
        hy_buf_printf(&p->script, "COLOUR(a) = a < %.6g ? %.6g : a  # zeros too have a colour; NaN stays\n",
                      floor_value, floor_value);
    else
        hy_buf_printf(&p->script, "COLOUR(a) = a\n");
    size_t offset = p->data.n;
    for (int k = 0; k < rows * cols; k++) {
        if (!maps[k].a) continue;
        int c = k % cols, r = k / cols;
        double left = first + c * (side + gap_x), upper = y0 + 24 + r * (side + gap_y);
        hy_buf_printf(&p->script, "set xlabel '%s' font ',11' offset 0,0.4\nset ylabel '%s' font ',11' offset 0.6,0\n",
                      r == rows - 1 ? "key position" : "", c == 0 ? "query position" : "");
        if (k == last) hy_figc_colour_box(p, right + 24, y0 + 24, y0 + 24 + side, value_label);
        map_panel(p, &maps[k], left, upper, side, &offset);
    }
    hy_buf_printf(&p->script, "unset multiplot\n");
}

static hy_status reduced(const hy_fig_out *out, const hy_fig_head *head, const char *value_label, bool log,
                         double floor_value, int rows, int cols, const hy_fig_map *maps) {
    double top = -INFINITY, low = INFINITY;
    int last = -1;
    bool parts = false;
    for (int k = 0; k < rows * cols; k++) {
        if (!maps[k].a) continue;
        last = k;
        parts = parts || is_part(&maps[k]);
        for (size_t i = 0; i < values_of(&maps[k]); i++)
            if (isfinite(maps[k].a[i])) top = fmax(top, maps[k].a[i]), low = fmin(low, maps[k].a[i]);
    }
    if (last < 0 || !(top >= low)) return hy_error(HY_EINPUT, "figure %s: nothing to draw, no map given", out->name);
    hy_plot p = {0};
    hy_fig_head h = *head;
    char *pixels = pixels_text(maps, rows * cols), *note = hy_asprintf("%s%s", head->note ? head->note : "", pixels);
    h.note = !*pixels ? head->note : head->note ? note : pixels + strspn(pixels, ". ");
    if (parts) {
        hy_buf once = {0};
        data_header(&once, maps, rows * cols, 0);
        data_header(&p.data, maps, rows * cols, once.n);
        free(once.s);
    }
    draw_maps(&p, &h, value_label, log, floor_value, rows, cols, maps, low, top, last);
    const hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    free(pixels), free(note);
    return s;
}

hy_status hy_fig_maps(const hy_fig_out *out, const hy_fig_head *head, const char *value_label, bool log,
                      double floor_value, int rows, int cols, const hy_fig_map *maps) {
    const size_t n = (size_t)rows * (size_t)cols;
    hy_fig_map *small = hy_xcalloc(n, sizeof *small);
    float **own = hy_xcalloc(n, sizeof *own);
    hy_status s = HY_OK;
    for (size_t k = 0; k < n && !s; k++) {
        small[k] = maps[k];
        s = reduce(&small[k], &own[k]);
    }
    if (!s) s = reduced(out, head, value_label, log, floor_value, rows, cols, small);
    for (size_t k = 0; k < n; k++) free(own[k]);
    free(own), free(small);
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

// A round step of tics at which a scale of so many pixels has a label in every 22 at most.
static double label_step(double range, double pixels) {
    const double least = range / fmax(1, floor(pixels / 22)), power = pow(10, floor(log10(least)));
    return least <= power ? power : least <= 2 * power ? 2 * power : least <= 5 * power ? 5 * power : 10 * power;
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
    if (max > min) hy_buf_printf(&p.script, "set cbtics %.6g\n", label_step(max - min, n_rows * 44.0));
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
