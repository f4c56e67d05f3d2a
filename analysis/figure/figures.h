// figures.h - the kinds of figures that hylab draws, each from plain structs. Where the numbers come from is the
// caller's business (a store, a model, a test); how a picture is made is gnuplot.h's.
//
// Every figure prints its title, and under it how many runs and seeds it shows, the scale and what was plotted. Names
// keep their colour and point shape (by index) across figures when callers keep their order. Values that are NAN are
// left out.
#ifndef HY_FIGURES_H
#define HY_FIGURES_H
#include "analysis/figure/gnuplot.h"
#include "core/base/blocks.h"

typedef struct {
    const char *title;
    int runs;                  // 0: not a figure of runs, nothing is said about them
    int seeds_min, seeds_max;  // seeds of each point; equal where all have as many
    const char *scale;         // "small scale", or NULL
    const char *note;          // what else a reader must know: definitions, what error bars are; or NULL
} hy_fig_head;

typedef struct {
    const char *label;  // with its unit
    bool log;
    double min, max;  // NAN: from the data
    enum {
        HY_TICS_AUTO = 0,
        HY_TICS_WHOLE,
        HY_TICS_POWERS_OF_2
    } tics;  // whole numbers (layers); 64, 128, ... (log only)
} hy_fig_axis;

// A name in at most so many columns (at least 12), a longer one with a hash for its end, so that other names stay
// others. The caller frees it.
char *hy_fig_short(const char *name, int columns);

// ---- points: one per name; accuracy against cache with throughput as point size, ERF against cache, ...
// Names "family: member" with a family in common have one colour, one entry in the legend, a line through them in order
// of x, and the member beside each point: "Mamba: 8 states", "Mamba: 16 states".
typedef struct {
    const char *name;
    double x, y;
    double lo, hi;  // ends of the error bar, NAN: none
    double size;    // NAN: no size
} hy_fig_point;
// size_label: with unit, e.g. "decode, tokens/s"; the area of a point is proportional to size. NULL: all points alike.
hy_status hy_fig_points(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_axis *x, const hy_fig_axis *y,
                        const char *size_label, const hy_fig_point *points, int n);

// ---- bars with error bars and every single value as a dot: recall per variant
typedef struct {
    double mean, lo, hi;   // lo, hi: ends of the error bar, NAN: none
    const double *values;  // [n] single runs, drawn as dots; may be NULL
    int n;
    double chance;  // drawn as a line across the bar; 0: none
} hy_fig_bar;
// bars [n_names, n_series] row-major; series: [n_series] names of the bars of one group (evaluation cells), ignored
// if 1.
hy_status hy_fig_bars(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_axis *y, const char *const *names,
                      int n_names, const char *const *series, int n_series, const hy_fig_bar *bars);

// ---- stacked bars in panels: cache by layer and kind, attention shares by layer
typedef struct {
    const char *title;     // e.g. the variant and its total
    int n;                 // bars, named 0 .. n-1 (layers)
    const double *values;  // [n, n_kinds]
    const double *ends;    // [n, 2] of an error bar at the top of the first kind, NAN: none; NULL: of no bar
} hy_fig_stack;
// own_scale: each panel has its own y axis; else one for all. The legend has the kinds that some bar shows.
hy_status hy_fig_stacks(const hy_fig_out *out, const hy_fig_head *head, const char *x_label, const char *y_label,
                        const char *const *kinds, int n_kinds, bool own_scale, const hy_fig_stack *panels,
                        int n_panels);

// ---- lines in panels: loss curves, throughput against context, entropy by layer
typedef struct {
    const char *name;
    int colour;  // index of colour, point shape and dash: equal for the same name in all panels
    int n;
    const double *x, *y;    // [n]
    const double *lo, *hi;  // [n] range drawn as a band (many points) or as error bars (few); may be NULL
} hy_fig_series;
typedef struct {
    const char *title;
    hy_fig_axis x, y;
    const hy_fig_series *series;
    int n_series;
} hy_fig_panel;
hy_status hy_fig_lines(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_panel *panels, int n_panels);

// ---- attention maps in a grid: a row of panels per layer, one colour scale for all
typedef struct {
    const char *title;     // "layer 3: attention, head 2"
    int meta;              // of all positions the first `meta` are meta tokens, marked by a line
    hy_block_shape shape;  // which positions they are
    const float *a;        // [shape.rows, shape.columns] rows are queries; NAN: not visible; NULL: an empty place
} hy_fig_map;
hy_block_shape hy_fig_map_whole(int S);  // all of S x S positions
enum { HY_FIG_PIXELS = 375 };            // values a side that a map is drawn with: the pixels of a panel in PNG
// maps [rows, cols]. One of single positions and more than HY_FIG_PIXELS a side is reduced to so many blocks by their
// maximum, and what pixels of blocks are is said under the title and at the start of the data file. log: colours of
// values from `floor` (what is below takes the floor's colour) to the largest.
hy_status hy_fig_maps(const hy_fig_out *out, const hy_fig_head *head, const char *value_label, bool log, double floor,
                      int rows, int cols, const hy_fig_map *maps);

// ---- a matrix with named rows and columns: needle accuracy over length and depth
hy_status hy_fig_heat(const hy_fig_out *out, const hy_fig_head *head, const char *x_label, const char *y_label,
                      const char *value_label, double min, double max, const char *const *cols, int n_cols,
                      const char *const *rows, int n_rows, const double *values);

// ---- every two of some layers, as squares in panels: similarity of keys and values
typedef struct {
    int a, b;      // layers
    bool same;     // they use the same ones: framed
    double value;  // at most 1
} hy_fig_pair;
typedef struct {
    const char *title;
    const hy_fig_pair *pair;
    int n;
} hy_fig_pair_panel;
// One colour scale for all panels, to 1 from 0 or, where there are values below, from a quarter below them.
hy_status hy_fig_pairs(const hy_fig_out *out, const hy_fig_head *head, const char *axis_label, const char *value_label,
                       const hy_fig_pair_panel *panels, int n_panels);
#endif
