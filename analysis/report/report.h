// report.h - one self-contained HTML page: text, tables, figures (inline SVG), provenance. Nothing on it is loaded from
// anywhere; every text is escaped; it reads on a screen and on paper. What it says is the caller's business.
#ifndef HY_REPORT_H
#define HY_REPORT_H
#include "core/base/base.h"

typedef struct hy_report hy_report;

// label: a short word beside the title that nobody should miss ("small scale"), or NULL.
hy_report *hy_report_new(const char *title, const char *label);
void hy_report_free(hy_report *r);
void hy_report_section(hy_report *r, const char *heading);
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
// The SVG file inline, with its caption. HY_EINPUT: cannot be read, or is not an SVG.
hy_status hy_report_figure(hy_report *r, const char *svg_path, const char *caption);
// Before the work: whether a page can be written there. Of files that are there only a page of hylab is replaced.
hy_status hy_report_try(const char *path);
// Writes the page.
hy_status hy_report_write(const hy_report *r, const char *path);
#endif
