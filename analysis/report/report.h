// report.h - one self-contained HTML page: text, tables, figures (inline SVG), provenance. Nothing on it is loaded from
// anywhere; every text is escaped; it reads on a screen and on paper. What it says is the caller's business.
#ifndef HY_REPORT_H
#define HY_REPORT_H
#include "core/base/base.h"

extern const char hy_report_css[];  // how a page looks
typedef struct hy_report hy_report;

// label: a short word beside the title that nobody should miss ("small scale"), or NULL.
hy_report *hy_report_new(const char *title, const char *label);
void hy_report_free(hy_report *r);
void hy_report_section(hy_report *r, const char *heading);
// Headings below those of sections. The contents at the top of the page link to all of them.
typedef enum {
    HY_REPORT_SECTION = 2,
    HY_REPORT_QUESTION,
    HY_REPORT_KIND,
    HY_REPORT_FIGURE  // in the contents only: a figure of a row
} hy_report_level;
void hy_report_heading(hy_report *r, hy_report_level level, const char *text);
// Paragraphs, separated by empty lines; lines that start with "- " become a list.
void hy_report_text(hy_report *r, const char *text);
// Text as it is, in a fixed-width box that opens on a click when `summary` is given.
void hy_report_code(hy_report *r, const char *summary, const char *text);

// A table: columns, then cells row by row. A column of numbers is right-aligned; group: heading over neighbouring
// columns with the same group ("this run", "paper"), NULL: none. Missing cells are NULL.
typedef struct {
    const char *group, *name, *unit;
    bool number;
} hy_report_column;
void hy_report_table(hy_report *r, const char *caption, const hy_report_column *columns, int n_columns,
                     const char *const *cells, int n_rows);
// Key and value, one line each; repeated calls make one list.
void hy_report_fact(hy_report *r, const char *key, const char *value);
// How to read the figures that follow, in one sentence.
void hy_report_reading(hy_report *r, const char *sentence);
// The next n figures stand in a row, small; each is large while it is the target of a link, such as itself or its line
// of the contents.
void hy_report_row(hy_report *r, int n);
// The SVG file inline, with its caption. of: what of the row it is ("Llama"), not used outside of one. HY_EINPUT:
// cannot be read, or is not an SVG.
hy_status hy_report_figure(hy_report *r, const char *svg_path, const char *of, const char *caption);
// Before the work: whether a page can be written there. Of files that are there only a page of hylab is replaced.
hy_status hy_report_try(const char *path);
// Writes the page.
hy_status hy_report_write(const hy_report *r, const char *path);
#endif
