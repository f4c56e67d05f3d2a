// fig_common.c - see fig_common.h.
#include "analysis/figure/fig_common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double hy_figc_x(const hy_plot *p, double px) { return px / p->width; }
double hy_figc_y(const hy_plot *p, double px) { return 1 - px / p->height; }

int hy_figc_chars(const char *s) {
    int n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

// Writes text as labels of at most `cols` characters a line, from y pixels down; returns the next free y.
static int lines(hy_plot *p, const char *text, int cols, int y, int step, const char *style) {
    while (*text) {
        while (*text == ' ') text++;
        int n = 0, cut = 0, chars = 0;
        for (; text[n] && chars <= cols; n++) {
            if (text[n] == ' ') cut = n;
            chars += ((unsigned char)text[n] & 0xC0) != 0x80;
        }
        if (!text[n] && chars <= cols) cut = n;
        if (cut == 0) cut = (int)strcspn(text, " ");  // one long word
        char *line = hy_asprintf("%.*s", cut, text);
        hy_buf_printf(&p->script, "set label ");
        hy_plot_quote(&p->script, line);
        hy_buf_printf(&p->script, " at screen %.5f, screen %.5f left %s\n", hy_figc_x(p, 14),
                      hy_figc_y(p, y + step / 2.0), style);
        free(line);
        y += step;
        text += cut;
    }
    return y;
}

int hy_figc_head(hy_plot *p, const hy_fig_head *h, int width, int height) {
    p->width = width;
    p->height = height;
    hy_buf note = {0};
    if (h->runs > 0) {
        hy_buf_printf(&note, "%d run%s", h->runs, h->runs == 1 ? "" : "s");
        if (h->seeds_max > h->seeds_min)
            hy_buf_printf(&note, ", %d to %d seeds each", h->seeds_min, h->seeds_max);
        else if (h->seeds_max > 0)
            hy_buf_printf(&note, ", %d seed%s each", h->seeds_max, h->seeds_max == 1 ? "" : "s");
    }
    if (h->scale) hy_buf_printf(&note, "%s%s", note.n ? "; " : "", h->scale);
    if (h->note) hy_buf_printf(&note, "%s%s", note.n ? ". " : "", h->note);
    int y = lines(p, h->title ? h->title : "", (width - 28) / 10, 8, 24, "font ',14' textcolor rgb '#111111'");
    if (note.n) y = lines(p, note.s, (int)((width - 28) / 7.4), y, 17, "font ',10' textcolor rgb '#555555'");
    free(note.s);
    return y + 10;
}

void hy_figc_area(hy_plot *p, double left, double right, double top, double bottom) {
    hy_buf_printf(&p->script,
                  "set lmargin at screen %.5f\nset rmargin at screen %.5f\nset tmargin at screen %.5f\n"
                  "set bmargin at screen %.5f\n",
                  hy_figc_x(p, left), hy_figc_x(p, right), hy_figc_y(p, top), hy_figc_y(p, bottom));
}

int hy_figc_legend_width(const char *const *names, int n) {
    int longest = 0;
    for (int i = 0; i < n; i++) {
        int c = hy_figc_chars(names[i]);
        longest = c > longest ? c : longest;
    }
    return 74 + (int)(longest * 8.4);  // samples long enough to tell dashes
}

void hy_figc_legend(hy_plot *p, double left, double top) {
    hy_buf_printf(&p->script,
                  "set key at screen %.5f, screen %.5f left top vertical Left reverse samplen 2.6 spacing 1.25 width 0 "
                  "maxrows 60\n",
                  hy_figc_x(p, left), hy_figc_y(p, top));
}

void hy_figc_number(char *buf, size_t n, double v) {
    double a = fabs(v);
    if (a >= 1e6)
        snprintf(buf, n, "%.3gM", v / 1e6);
    else if (a >= 1e4)
        snprintf(buf, n, "%.3gk", v / 1e3);
    else if (a >= 1000)
        snprintf(buf, n, "%.0f", v);
    else
        snprintf(buf, n, "%.3g", v);
}

// Tics of a log axis: powers of ten, with 2 and 5 or all digits between where the range is short.
static void log_tics(hy_buf *b, const char *axis, double lo, double hi, bool base2) {
    double decades = log10(hi / lo);
    const char *comma = "";
    hy_buf_printf(b, "set logscale %s\nset %stics (", axis, axis);
    for (double v = exp2(ceil(log2(lo))); base2 && v <= hi; v *= log2(hi / lo) > 9 ? 4 : 2) {
        hy_buf_printf(b, "%s'%g' %.10g", comma, v, v);
        comma = ", ";
    }
    for (int e = (int)floor(log10(lo)); e <= (int)ceil(log10(hi)) && !base2; e++)
        for (int k = 1; k < 10; k++) {
            double v = pow(10, e) * k;
            const bool crowded = (decades > 2.5 && k > 1) || (decades > 0.8 && k != 1 && k != 2 && k != 5) ||
                                 (decades > 0.4 && k > 5 && k != 7);
            if (v < lo * 0.999 || v > hi * 1.001 || crowded) continue;
            char text[32];
            hy_figc_number(text, sizeof text, v);
            hy_buf_printf(b, "%s'%s' %.10g", comma, text, v);
            comma = ", ";
        }
    hy_buf_printf(b, ")\n");
}

void hy_figc_axis(hy_plot *p, const char *axis, const hy_fig_axis *a, double lo, double hi) {
    hy_buf *b = &p->script;
    if (!(lo <= hi)) lo = 0, hi = 1;  // no data
    if (a->log && lo > 0) {
        double grow = pow(hi / lo, 0.06) * 1.12;
        lo /= grow;
        hi *= grow;
    } else {
        double air = hi > lo ? 0.06 * (hi - lo) : hi != 0 ? 0.1 * fabs(hi) : 1;
        bool positive = lo >= 0;
        lo -= air;
        hi += air;
        if (positive && lo < 0) lo = 0;
    }
    if (!isnan(a->min)) lo = a->min;
    if (!isnan(a->max)) hi = a->max;
    if (!(hi > lo)) hi = lo + 1;
    hy_buf_printf(b, "unset logscale %s\nset %stics autofreq\n", axis, axis);
    if (a->log && lo > 0)
        log_tics(b, axis, lo, hi, a->tics == HY_TICS_POWERS_OF_2);
    else
        hy_buf_printf(b, "set format %s '%s'\n", axis, hi - lo >= 20000 ? "%.0s%c" : "%g");
    if (a->tics == HY_TICS_WHOLE && hi - lo < 40)
        hy_buf_printf(b, "set %stics %d\n", axis, hi - lo < 12 ? 1 : hi - lo < 24 ? 2 : 4);
    hy_buf_printf(b, "set %srange [%.10g:%.10g]\nset %slabel ", axis, lo, hi, axis);
    hy_plot_quote(b, a->label ? a->label : "");
    hy_buf_printf(b, " font ',12'\n");
}
