// gnuplot.h - draws a figure with the external program gnuplot. The only place that starts it. What figures show is not
// known here: see figures.h.
//
// For a figure "NAME" in folder DIR these files appear: NAME.gp (the script), NAME.dat (the data it reads) and one of
// NAME.svg, NAME.png, NAME.pdf for each wanted format. They stand alone: in DIR,
//     gnuplot -d -e "FORMAT='png'" NAME.gp
// draws again after the data or the script was edited. Files of these names that are not beside such a script of ours
// are somebody else's: they are not overwritten. No setting of the user or the system counts (~/.gnuplot, GNUTERM,
// language): the same figures everywhere.
#ifndef HY_GNUPLOT_H
#define HY_GNUPLOT_H
#include "core/base/base.h"

enum { HY_FIG_SVG = 1, HY_FIG_PNG = 2, HY_FIG_PDF = 4 };
// "svg,png,pdf" -> bits; HY_EINPUT names an unknown format.
hy_status hy_fig_formats_parse(const char *text, unsigned *formats);

// Where a figure goes.
typedef struct {
    const char *dir;   // created if missing
    const char *name;  // file stem: letters of any script, digits, '-', '_', '.'
    unsigned formats;  // HY_FIG_*
} hy_fig_out;

// One figure while it is put together. Zero-initialise; width and height are in pixels of 1/96 inch.
typedef struct {
    int width, height;
    hy_buf data;    // NAME.dat, bytes
    hy_buf script;  // plot commands, after the common style; DATA is the name of the data file, PT(i), LC(i) the
                    // point type and colour of series i, PS(s) a point size
} hy_plot;
void hy_plot_free(hy_plot *p);

// HY_OK when gnuplot can be started; else HY_EFAIL and what to install.
hy_status hy_gnuplot_check(void);
// The characters, as one text, that so far stood in PNG and PDF pictures as U+FFFD because no font here has them; "":
// none.
const char *hy_plot_missing(void);
// Writes script and data, runs gnuplot once per format. HY_EINPUT: files that we did not make are in the way. HY_EFAIL
// with gnuplot's own words when it fails; a picture that was there before stays as it was.
hy_status hy_plot_draw(const hy_plot *p, const hy_fig_out *out);

// A file stem of parts joined by '-', other parts give other stems: letters of any script and digits stay, a space
// becomes '_', '_' becomes "__", other bytes become ".XX" (hexadecimal); so does '-' in all but the first and the last
// part. A long one is cut and ends in "..HASH"; so does one that stands beside another which some file systems take for
// the same (alike). The first part must be one of a list of which none starts another. The caller frees it.
char *hy_fig_name(const char *const *parts, int n, bool alike);
// Whether two different names differ in case or Unicode form only, so that a file of one may take the place of a file
// of the other.
bool hy_fig_alike(const char *a, const char *b);

// A string as a gnuplot literal in single quotes (control characters become spaces, broken UTF-8 U+FFFD).
void hy_plot_quote(hy_buf *b, const char *text);
// The same as the label of a tic, which gnuplot takes for a format: % is doubled.
void hy_plot_quote_tic(hy_buf *b, const char *text);
// A line of the data file that gnuplot skips.
void hy_plot_comment(hy_buf *b, const char *text);
// A string as one field of the data file: double quotes, inner ones replaced.
void hy_plot_field(hy_buf *b, const char *text);

// The colour-blind-safe palette of Okabe and Ito (2008), without its yellow (too faint on white), plus grey; each with
// its own point shape.
#define HY_PLOT_COLOURS 8
#endif
