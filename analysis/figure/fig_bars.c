// fig_bars.c - bars with error bars and dots of single runs; stacked bars in panels. See figures.h.
#include <math.h>
#include <stdlib.h>

#include "analysis/figure/fig_common.h"

// ---------------------------------------------------------------------------------------------------- bars
typedef struct {
    bool slant;       // they do not fit side by side
    int below, left;  // pixels that they need below the axis, and left of it for those that begin there
} name_room;

// Of names under groups of which each is so many pixels wide.
static name_room room_of(const char *const *names, int n, double group) {
    int longest = 0;
    double left = 0;
    for (int i = 0; i < n; i++) {
        int c = hy_figc_chars(names[i]);
        c = c > HY_FIGC_LONGEST ? HY_FIGC_LONGEST : c;
        longest = c > longest ? c : longest;
        left = fmax(left, 20 + c * 8.4 * 0.819 - (i + 0.7) * group);  // cos 35
    }
    const bool slant = longest * 7.6 > group;
    return slant ? (name_room){true, 34 + (int)(longest * 8.4 * 0.574), (int)left} : (name_room){false, 40, 0};
}

// Names under the groups.
static void name_tics(hy_plot *p, const char *const *names, int n, bool slant) {
    hy_buf_printf(&p->script, "set xtics scale 0 %s (", slant ? "rotate by 35 right offset 0.6,0" : "norotate center");
    for (int i = 0; i < n; i++) {
        hy_buf_printf(&p->script, "%s", i ? ", " : "");
        char *name = hy_figc_short_tic(names[i]);
        hy_plot_quote_tic(&p->script, name);
        free(name);
        hy_buf_printf(&p->script, " %d", i);
    }
    hy_buf_printf(&p->script, ")\n");
}

static void bars_data(hy_plot *p, const char *const *names, int n_names, int n_series, const hy_fig_bar *bars,
                      double box) {
    hy_buf_printf(
        &p->data,
        "# one block per bar of a group: x  mean  low  high  bar  name      then one of single runs: x  value  bar\n");
    for (int k = 0; k < n_series; k++) {
        for (int i = 0; i < n_names; i++) {
            const hy_fig_bar *b = &bars[i * n_series + k];
            double x = i + (k - (n_series - 1) / 2.0) * box;
            if (!isfinite(b->mean)) continue;
            hy_buf_printf(&p->data, "%.6g", x);
            hy_figc_numbers(&p->data, 3, (double[]){b->mean, b->lo, b->hi});
            hy_buf_printf(&p->data, " %d ", i);
            hy_plot_field(&p->data, names[i]);
            hy_buf_printf(&p->data, "\n");
        }
        hy_buf_printf(&p->data, "%s\n\n", n_names ? "" : "NaN NaN NaN NaN 0");
    }
    for (int k = 0; k < n_series; k++)
        for (int i = 0; i < n_names; i++) {
            const hy_fig_bar *b = &bars[i * n_series + k];
            double x = i + (k - (n_series - 1) / 2.0) * box;
            for (int r = 0; r < b->n && b->values; r++) {  // dots side by side, so that equal ones stay visible
                hy_buf_printf(&p->data, "%.6g", x + box * 0.5 * ((r + 0.5) / b->n - 0.5));
                hy_figc_numbers(&p->data, 1, &b->values[r]);
                hy_buf_printf(&p->data, " %d\n", k);
            }
        }
    hy_buf_printf(&p->data, "NaN NaN 0\n");
}

// Lines of chance: over all the width of a group where it has one bar, so that they meet.
static void chance_lines(hy_plot *p, int n_names, int n_series, const hy_fig_bar *bars, double box) {
    bool any = false;
    for (int i = 0; i < n_names * n_series; i++) any = any || bars[i].chance > 0;
    if (!any) return;
    hy_buf_printf(&p->data, "\n\n# chance: x  value  half the width of its line\n");
    for (int i = 0; i < n_names * n_series; i++) {
        const int group = i / n_series;
        const double x = group + (i % n_series - (n_series - 1) / 2.0) * box;
        if (bars[i].chance > 0)
            hy_buf_printf(&p->data, "%.6g %.10g %.6g\n", x, bars[i].chance, n_series == 1 ? 0.5 : box / 2);
    }
    hy_buf_printf(&p->script, ", \\\n  DATA index %d using 1:2:3 with xerrorbars pt 0 lw 2 lc rgb '#222222' notitle",
                  n_series + 1);
}

hy_status hy_fig_bars(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_axis *y, const char *const *names,
                      int n_names, const char *const *series, int n_series, const hy_fig_bar *bars) {
    double hi = 0, lo = 0, box = 0.8 / n_series;
    int seen = 0;
    for (int i = 0; i < n_names * n_series; i++) {
        const hy_fig_bar *b = &bars[i];
        if (!isfinite(b->mean)) continue;
        seen++;
        hi = fmax(hi, fmax(b->mean, isfinite(b->hi) ? b->hi : b->mean));
        lo = fmin(lo, fmin(b->mean, isfinite(b->lo) ? b->lo : b->mean));
        for (int r = 0; r < b->n && b->values; r++)
            if (isfinite(b->values[r])) hi = fmax(hi, b->values[r]), lo = fmin(lo, b->values[r]);
    }
    if (!seen) return hy_error(HY_EINPUT, "figure %s: nothing to draw, no bar has a value", out->name);
    int legend = n_series > 1 ? hy_figc_legend_width(series, n_series) : 0;
    int body = n_names * (n_series * 16 + 34);
    body = body < 560 ? 560 : body > 1600 ? 1600 : body;
    hy_plot p = {0};
    enum { TALL = 520, NAMES = 130, LEFT = 84 };  // long names make the picture larger, not its bars smaller
    const name_room names_at = room_of(names, n_names, body / (n_names + 0.4));
    const int left = names_at.left > LEFT ? names_at.left : LEFT, more = names_at.below - NAMES;
    int y0 = hy_figc_head(&p, head, left + body + 24 + legend, TALL + (more > 0 ? more : 0));
    hy_fig_axis a = *y;
    if (isnan(a.min) && lo >= 0) a.min = 0;  // bars start at 0
    hy_figc_axis(&p, "y", &a, lo, hi);
    name_tics(&p, names, n_names, names_at.slant);
    hy_figc_area(&p, left, left + body, y0 + 8, p.height - names_at.below);
    hy_buf_printf(&p.script,
                  "set xrange [-0.7:%g]\nset grid noxtics ytics\nset boxwidth %g\nset style fill solid 0.6 noborder\n"
                  "set errorbars 0\n",
                  n_names - 0.3, box * 0.9);
    if (legend)
        hy_figc_legend(&p, left + body + 16, y0);
    else
        hy_buf_printf(&p.script, "set key off\n");
    bars_data(&p, names, n_names, n_series, bars, box);
    hy_buf_printf(&p.script, "plot NaN notitle");
    for (int k = 0; k < n_series; k++) {
        if (n_series == 1)
            hy_buf_printf(&p.script, ", \\\n  DATA index 0 using 1:2:(LC($5)) with boxes lc rgb variable notitle");
        else {
            hy_buf_printf(&p.script, ", \\\n  DATA index %d using 1:2 with boxes lc rgb LC(%d) title ", k, k);
            hy_figc_name(&p.script, series[k]);
        }
        hy_buf_printf(&p.script,
                      ", \\\n  DATA index %d using 1:3:(0):($4-$3) with vectors " HY_FIGC_BAR
                      " lw 1.5 lc rgb '#222222' notitle",
                      k);
    }
    hy_buf_printf(&p.script,
                  ", \\\n  DATA index %d using 1:2 with points pt 6 ps PS(0.7) lw 1 lc rgb '#222222' notitle",
                  n_series);
    chance_lines(&p, n_names, n_series, bars, box);
    hy_buf_printf(&p.script, "\n");
    hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    return s;
}

// ---------------------------------------------------------------------------------------------------- stacks
// Kinds that no bar shows are not in the legend either.
static bool *shown_kinds(const hy_fig_stack *panels, int n_panels, int n_kinds) {
    bool *shown = hy_xcalloc((size_t)n_kinds, sizeof *shown);
    for (int q = 0; q < n_panels; q++)
        for (int i = 0; i < panels[q].n * n_kinds; i++)
            shown[i % n_kinds] = shown[i % n_kinds] || panels[q].values[i] > 0;
    return shown;
}

static double stack_top(const hy_fig_stack *panels, int n_panels, int n_kinds) {
    double top = 0;
    for (int q = 0; q < n_panels; q++)
        for (int i = 0; i < panels[q].n; i++) {
            double sum = 0;
            for (int k = 0; k < n_kinds; k++) sum += fmax(0, panels[q].values[i * n_kinds + k]);
            top = fmax(top, sum);
        }
    return top;
}

static void stack_panel(hy_plot *p, const hy_fig_stack *q, int index, const char *const *kinds, int n_kinds,
                        const bool *shown) {
    hy_buf *b = &p->script;
    hy_plot_comment(&p->data, q->title);
    hy_plot_comment(&p->data, q->ends ? "bar, then the lower and upper end of each kind, then those of the error bar"
                                      : "bar, then the lower and upper end of each kind");
    for (int i = 0; i < q->n; i++) {
        double sum = 0;
        hy_buf_printf(&p->data, "%d", i);
        for (int k = 0; k < n_kinds; k++) {
            hy_buf_printf(&p->data, " %.10g", sum);
            sum += fmax(0, q->values[i * n_kinds + k]);
            hy_buf_printf(&p->data, " %.10g", sum);
        }
        if (q->ends) hy_figc_numbers(&p->data, 2, q->ends + 2 * i);
        hy_buf_printf(&p->data, "\n");
    }
    hy_buf_printf(&p->data, "\n\n");
    hy_buf_printf(b, "set title ");
    hy_plot_quote(b, q->title);
    const int step = q->n <= 9 ? 1 : q->n <= 16 ? 2 : q->n <= 32 ? 4 : q->n <= 128 ? 8 : q->n / 16;
    hy_buf_printf(b, " font ',11' offset 0,-0.4\nset xrange [-0.7:%g]\nset xtics autofreq 0,%d\nplot NaN notitle",
                  q->n - 0.3, step);
    for (int k = 0; k < n_kinds; k++)
        hy_buf_printf(
            b, ", \\\n  DATA index %d using 1:%d:($1-0.42):($1+0.42):%d:%d with boxxyerror lc rgb LC(%d) notitle",
            index, 2 * k + 2, 2 * k + 2, 2 * k + 3, k);
    if (q->ends)
        hy_buf_printf(b,
                      ", \\\n  DATA index %d using 1:%d:(0):($%d-$%d) with vectors " HY_FIGC_BAR
                      " lw 1.5 lc rgb '#222222' notitle",
                      index, 2 * n_kinds + 2, 2 * n_kinds + 3, 2 * n_kinds + 2);
    for (int k = 0; k < n_kinds && shown; k++) {
        if (!shown[k]) continue;
        hy_buf_printf(b, ", \\\n  NaN with points pt 5 ps PS(1.8) lc rgb LC(%d) title ", k);
        hy_plot_quote(b, kinds[k]);
    }
    hy_buf_printf(b, "\nunset label\nset key off\n");
}

hy_status hy_fig_stacks(const hy_fig_out *out, const hy_fig_head *head, const char *x_label, const char *y_label,
                        const char *const *kinds, int n_kinds, bool own_scale, const hy_fig_stack *panels,
                        int n_panels) {
    if (n_panels < 1) return hy_error(HY_EINPUT, "figure %s: nothing to draw, no panel given", out->name);
    int cols = n_panels < 4 ? n_panels : 4, rows = (n_panels + cols - 1) / cols;
    int legend = hy_figc_legend_width(kinds, n_kinds), pw = cols == 1 ? 560 : 240, ph = rows == 1 ? 330 : 190;
    int gap_x = own_scale ? 72 : 26, gap_y = 66;
    hy_plot p = {0};
    int y0 = hy_figc_head(&p, head, 90 + cols * (pw + gap_x) + legend, 520);
    p.script.n = 0;  // the height depends on the lines of the header: once more with the right one
    hy_figc_head(&p, head, p.width, y0 + 30 + rows * (ph + gap_y) + 4);
    hy_buf_printf(&p.script, "set style fill solid 0.85 noborder\nset grid noxtics ytics\nset multiplot\n");
    double top = stack_top(panels, n_panels, n_kinds);
    bool *shown = shown_kinds(panels, n_panels, n_kinds);
    hy_figc_legend(&p, p.width - legend, y0 + 12);
    for (int q = 0; q < n_panels; q++) {
        int c = q % cols, r = q / cols;
        double left = 90 + c * (pw + gap_x), upper = y0 + 30 + r * (ph + gap_y);
        hy_figc_area(&p, left, left + pw, upper, upper + ph);
        const hy_fig_axis y = {c == 0 ? y_label : "", false, 0, NAN, HY_TICS_AUTO};
        hy_figc_axis(&p, "y", &y, 0, own_scale ? stack_top(&panels[q], 1, n_kinds) : top);
        if (c > 0 && !own_scale) hy_buf_printf(&p.script, "set format y ''\n");
        hy_buf_printf(&p.script, "set xlabel ");
        hy_plot_quote(&p.script, q + cols >= n_panels ? x_label : "");
        hy_buf_printf(&p.script, " font ',11' offset 0,0.4\n");
        stack_panel(&p, &panels[q], q, kinds, n_kinds, q ? NULL : shown);
    }
    hy_buf_printf(&p.script, "unset multiplot\n");
    free(shown);
    hy_status s = hy_plot_draw(&p, out);
    hy_plot_free(&p);
    return s;
}
