// fig_common.h - what the figure families share: header lines, margins, axes, legend. Used by analysis/fig_*.c only.
#ifndef HY_FIGCOMMON_H
#define HY_FIGCOMMON_H
#include "analysis/figure/figures.h"

// Starts a figure of the given size in pixels: writes title and note as left-aligned lines at the top and returns how
// many pixels they take.
int hy_figc_head(hy_plot *p, const hy_fig_head *head, int width, int height);
// Pixels from the left and from the top as gnuplot screen coordinates.
double hy_figc_x(const hy_plot *p, double px);
double hy_figc_y(const hy_plot *p, double px_from_top);
// The plot area, in pixels from the left and the top.
void hy_figc_area(hy_plot *p, double left, double right, double top, double bottom);
// The colour scale beside a panel, drawn with the last one.
void hy_figc_colour_box(hy_plot *p, double left, double top, double bottom, const char *label);
// Width in pixels that a legend of these names needs.
int hy_figc_legend_width(const char *const *names, int n);
// Legend with its top left corner there; entries then come from titles of plot elements.
void hy_figc_legend(hy_plot *p, double left, double top);
// Range (data lo .. hi with some air, or as the axis says), log scale with readable tics, label. axis: "x" or "y".
void hy_figc_axis(hy_plot *p, const char *axis, const hy_fig_axis *a, double lo, double hi);
// One number with as many digits as a reader wants.
void hy_figc_number(char *buf, size_t n, double v);
// n numbers as fields of the data file, each after a space; NaN and infinities are gaps.
void hy_figc_numbers(hy_buf *data, int n, const double *v);
#define HY_FIGC_LONGEST 60  // columns of a name in legends and at tics (hy_fig_short)
// The same at a tic: gnuplot cuts labels with a percent sign.
char *hy_figc_short_tic(const char *name);
// A name as the quoted title of a plot element; an empty name is shown as such.
void hy_figc_name(hy_buf *script, const char *name);
// Columns that a UTF-8 text takes: wide characters take two.
int hy_figc_chars(const char *s);
// Lets the script use LOW(v): the lower end of an error bar; where it is not above zero and the axis logarithmic, the
// bar leaves the figure.
void hy_figc_low(hy_plot *p, const hy_fig_axis *y);
// An error bar as a vector with two flat heads (gnuplot's own error bars leave a gap for the point).
#define HY_FIGC_BAR "heads size screen 0.005,90"
#define HY_FIGC_VIRIDIS                                                                      \
    "set palette defined (0 '#440154', 1 '#482878', 2 '#3e4989', 3 '#31688e', 4 '#26828e', " \
    "5 '#1f9e89', 6 '#35b779', 7 '#6ece58', 8 '#b5de2b', 9 '#fde725')\n"
#endif
