// fig_common.c - see fig_common.h.
#include "analysis/figure/fig_common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

double hy_figc_x(const hy_plot *p, double px) { return px / p->width; }
double hy_figc_y(const hy_plot *p, double px) { return 1 - px / p->height; }

// Scripts whose characters are as wide as two of Latin, and marks that stand on another character.
static int width_of(uint32_t c) {
    if ((c >= 0x300 && c < 0x370) || (c >= 0x200B && c < 0x2010) || (c >= 0x202A && c < 0x202F)) return 0;
    return 1 + ((c >= 0x1100 && c < 0x1160) || (c >= 0x2E80 && c < 0xA4D0) || (c >= 0xAC00 && c < 0xD7A4) ||
                (c >= 0xF900 && c < 0xFB00) || (c >= 0xFE30 && c < 0xFE70) || (c >= 0xFF00 && c < 0xFF61) ||
                (c >= 0x1F300 && c < 0x1FB00) || (c >= 0x20000 && c < 0x40000));
}

// Bytes of the character at s (1 where it is broken), and its width.
static int character(const char *s, int *wide) {
    const int n = hy_utf8_length(s, strlen(s));
    int len;
    *wide = n > 0 ? width_of(hy_utf8_get(s, &len)) : 1;
    return n > 0 ? n : 1;
}

int hy_figc_chars(const char *s) {
    int n = 0, wide;
    for (; *s; n += wide) s += character(s, &wide);
    return n;
}

// Bytes of text that fit into a line of `cols` columns: up to a space where there is one, else what of the word fits.
static int line_of(const char *text, int cols) {
    int n = 0, cut = 0, used = 0;
    while (text[n]) {
        int wide;
        const int bytes = character(text + n, &wide);
        if (used + wide > cols && n > 0) return cut ? cut : n;
        if (text[n] == ' ') cut = n;
        used += wide;
        n += bytes;
    }
    return n;
}

static char *cut_to(const char *name, int bytes) {
    const unsigned hash = (unsigned)hy_hash64(name, strlen(name)) & 0xFFFFFF;
    return hy_asprintf("%.*s\u2026 [%06x]", bytes, name, hash);
}

char *hy_fig_short(const char *name, int columns) {
    if (hy_figc_chars(name) <= columns) return hy_xstrdup(name);
    return cut_to(name, line_of(name, columns - 10));
}

char *hy_figc_short_tic(const char *name) {
    enum { MOST = 46, KEPT = 33 };  // bytes
    char *text = hy_fig_short(name, HY_FIGC_LONGEST);
    if (!strchr(text, '%') || strlen(text) <= MOST) return text;
    free(text);
    int n = 0, wide;
    for (int k = character(name, &wide); n + k <= KEPT; k = character(name + n, &wide)) n += k;
    return cut_to(name, n);
}

void hy_figc_name(hy_buf *script, const char *name) {
    char *text = hy_fig_short(*name ? name : "(no name)", HY_FIGC_LONGEST);
    hy_plot_quote(script, text);
    free(text);
}

// Writes text as labels of at most `cols` characters a line, from y pixels down; returns the next free y.
static int lines(hy_plot *p, const char *text, int cols, int y, int step, const char *style) {
    for (;;) {
        while (*text == ' ') text++;
        if (!*text) return y;
        const int cut = line_of(text, cols);
        char *line = hy_asprintf("%.*s", cut, text);
        hy_buf_printf(&p->script, "set label ");
        hy_plot_quote(&p->script, line);
        hy_buf_printf(&p->script, " at screen %.5f, screen %.5f left %s\n", hy_figc_x(p, 14),
                      hy_figc_y(p, y + step / 2.0), style);
        free(line);
        y += step;
        text += cut;
    }
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

void hy_figc_colour_box(hy_plot *p, double left, double top, double bottom, const char *label) {
    hy_buf_printf(&p->script,
                  "set colorbox vertical user origin screen %.5f, screen %.5f size screen %.5f, screen %.5f border\n"
                  "set cblabel ",
                  hy_figc_x(p, left), hy_figc_y(p, bottom), 16.0 / p->width, (bottom - top) / p->height);
    hy_plot_quote(&p->script, label);
    hy_buf_printf(&p->script, " font ',11' offset 1,0\n");
}

int hy_figc_legend_width(const char *const *names, int n) {
    int longest = 0;
    for (int i = 0; i < n; i++) {
        int c = hy_figc_chars(names[i]);
        c = c > HY_FIGC_LONGEST ? HY_FIGC_LONGEST : c;
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

// The tics of an axis, collected before one knows whether they are enough.
enum { MOST_TICS = 64 };
typedef struct {
    int n;
    double at[MOST_TICS];
} tics;

static void tic(tics *t, double v, double lo, double hi) {
    if (v >= lo * 0.999 && v <= hi * 1.001 && t->n < MOST_TICS) t->at[t->n++] = v;
}

// Multiples of powers of ten with these digits, as a set of bits.
static tics digits_between(double lo, double hi, unsigned digits) {
    const int every = 1 + (int)(log10(hi / lo) / 12);
    tics t = {0};
    for (int e = (int)floor(log10(lo)); e <= (int)ceil(log10(hi)); e++)
        for (int k = 1; k < 10; k++)
            if (digits & 1u << k && e % every == 0) tic(&t, pow(10, e) * k, lo, hi);
    return t;
}

// Multiples of the largest 1, 2 or 5 times a power of ten of which there are at least `least`; none of a range that
// numbers cannot tell.
static tics multiples_between(double lo, double hi, int least) {
    static const double steps[] = {5, 2, 1};
    const double least_step = fmax(fabs(lo), fabs(hi)) * 1e-12;
    for (double ten = pow(10, ceil(log10(hi - lo))); isfinite(ten) && ten > least_step; ten /= 10)
        for (int i = 0; i < 3; i++) {
            const double step = ten * steps[i], first = ceil(lo / step - 1e-6), last = floor(hi / step + 1e-6);
            if (last - first + 1 < least) continue;
            tics t = {0};
            for (double k = first; k <= last && t.n < MOST_TICS; k++) t.at[t.n++] = k * step;
            return t;
        }
    return (tics){0};
}

// Powers of two, or fewer where there would be many.
static tics powers_between(double lo, double hi) {
    tics t = {0};
    for (double v = exp2(ceil(log2(lo))); v <= hi; v *= log2(hi / lo) > 9 ? 4 : 2) tic(&t, v, lo, hi);
    return t;
}

// Tics of a log axis, three at least: powers of ten; where the range is short with 2 and 5, more or all digits between,
// or as on a linear axis.
static tics log_tics(double lo, double hi, bool base2) {
    enum { DECADES = 1 << 1, FEW = 1 << 1 | 1 << 2 | 1 << 5, SOME = FEW | 1 << 3 | 1 << 7, ALL = 1022 };
    static const unsigned sets[] = {DECADES, FEW, SOME, ALL};
    tics t = powers_between(lo, hi);
    const bool one_value = t.n == 1 && fabs(log(t.at[0] * t.at[0] / (lo * hi))) < 0.01;
    if (base2 && (t.n > 1 || one_value)) return t;
    for (int i = 0; i < 4; i++) {
        t = digits_between(lo, hi, sets[i]);
        if (t.n >= 3) return t;
    }
    return multiples_between(lo, hi, 3);
}

// Labels: the numbers themselves, or in thousands or millions, with the digits that tell them apart.
static void write_tics(hy_buf *b, const char *axis, const tics *t, bool plain) {
    if (t->n == 0) return;  // gnuplot chooses
    double most = 0, step = INFINITY;
    for (int i = 0; i < t->n; i++) {
        most = fmax(most, fabs(t->at[i]));
        if (i) step = fmin(step, t->at[i] - t->at[i - 1]);
    }
    int digits = isfinite(step) && step > 0 ? 1 + (int)ceil(log10(most / step)) : 3;
    digits = digits < 3 ? 3 : digits > 15 ? 15 : digits;
    hy_buf_printf(b, "set %stics (", axis);
    for (int i = 0; i < t->n; i++) {
        const double v = t->at[i], size = fabs(v);
        const double unit = plain || size < 1e4 ? 1 : size < 1e6 ? 1e3 : 1e6;
        hy_buf_printf(b, "%s'", i ? ", " : "");
        if (size > 0 && size < 1e-3) {  // "0.0001" would push the label of the axis out of the picture
            const int tenth = (int)floor(log10(size) + 1e-9);
            hy_buf_printf(b, "%.12ge%d", v / pow(10, tenth), tenth);
        } else
            hy_buf_printf(b, "%.*g%s", unit == 1 ? 12 : digits, v / unit, unit == 1 ? "" : unit == 1e3 ? "k" : "M");
        hy_buf_printf(b, "' %.10g", v);
    }
    hy_buf_printf(b, ")\n");
}

// The range that is drawn: that of the data with some air. Layers stand half a unit from the edge.
static void axis_range(const hy_fig_axis *a, double *lo, double *hi) {
    if (!(*lo <= *hi)) *lo = 0, *hi = 1;  // no data
    if (a->log && *lo > 0) {
        const double grow = pow(*hi / *lo, 0.06) * 1.12;
        *lo /= grow;
        *hi *= grow;
    } else if (a->tics == HY_TICS_WHOLE) {
        *lo -= 0.5;
        *hi += 0.5;
    } else {
        const double air = *hi > *lo ? 0.06 * (*hi - *lo) : *hi != 0 ? 0.1 * fabs(*hi) : 1;
        const bool positive = *lo >= 0;
        *lo -= air;
        *hi += air;
        if (positive && *lo < 0) *lo = 0;
    }
    if (!isnan(a->min)) *lo = a->min;
    if (!isnan(a->max)) *hi = a->max;
    if (!(*hi > *lo)) *hi = *lo + 1;
}

void hy_figc_axis(hy_plot *p, const char *axis, const hy_fig_axis *a, double lo, double hi) {
    hy_buf *b = &p->script;
    axis_range(a, &lo, &hi);
    hy_buf_printf(b, "unset logscale %s\nset %stics autofreq\nset format %s '%%g'\n", axis, axis, axis);
    if (a->log && lo > 0) {
        const tics t = log_tics(lo, hi, a->tics == HY_TICS_POWERS_OF_2);
        hy_buf_printf(b, "set logscale %s\n", axis);
        write_tics(b, axis, &t, a->tics == HY_TICS_POWERS_OF_2);
    } else if (a->tics == HY_TICS_WHOLE && hi - lo < 40)
        hy_buf_printf(b, "set %stics %d\n", axis, hi - lo < 13 ? 1 : hi - lo < 25 ? 2 : 4);
    else if (hi - lo >= 20000) {
        const tics t = multiples_between(lo, hi, 4);
        write_tics(b, axis, &t, false);
    }
    hy_buf_printf(b, "set %srange [%.10g:%.10g]\nset %slabel ", axis, lo, hi, axis);
    hy_plot_quote(b, a->label ? a->label : "");
    hy_buf_printf(b, " font ',12'\n");
}

void hy_figc_low(hy_plot *p, const hy_fig_axis *y) {
    hy_buf_printf(&p->script, y->log ? "LOW(v) = v > 0 ? v : 1e-30  # below the figure\n" : "LOW(v) = v\n");
}

void hy_figc_numbers(hy_buf *data, int n, const double *v) {
    for (int i = 0; i < n; i++)
        if (isfinite(v[i]))
            hy_buf_printf(data, " %.10g", v[i]);
        else
            hy_buf_printf(data, " NaN");
}
