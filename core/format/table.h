// table.h - one table, three outputs: aligned text for people, CSV (RFC 4180) and JSON for programs. Behind every
// `--format table|csv|json`.
#ifndef HY_TABLE_H
#define HY_TABLE_H
#include "core/base/base.h"
#include "core/format/json.h"

typedef enum { HY_TABLE_TEXT = 0, HY_TABLE_CSV, HY_TABLE_JSON } hy_table_format;
#define HY_TABLE_FORMATS "table|csv|json"
// HY_EINPUT naming the three for anything else.
hy_status hy_table_format_parse(const char *text, hy_table_format *out);

typedef struct hy_table hy_table;
hy_table *hy_table_new(const char *title);  // title: one line above the text table and "title" of JSON; NULL: none
void hy_table_free(hy_table *t);

typedef enum { HY_LEFT = 0, HY_RIGHT } hy_align_side;
// Adds a column; before the first row. name: for programs (CSV header, JSON key, "cache_mb"); header: for people, NULL:
// the name; unit: "MB", "tok/s", NULL: none (shown under the header; "units" of JSON).
void hy_table_column(hy_table *t, const char *name, const char *header, const char *unit, hy_align_side side);

// Begins a row, then one call per cell from left to right; cells not given are empty (null in JSON).
void hy_table_row(hy_table *t);
// Control characters are shown as "\n", "\x1b" in text; CSV quotes them, JSON escapes them.
void hy_table_text(hy_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hy_table_int(hy_table *t, int64_t v);
// Shown with `decimals` places in text (negative: %.-decimals g), in full in CSV and JSON. NaN and infinity: "-",
// empty, null.
void hy_table_num(hy_table *t, double v, int decimals);
// A number with its spread, "44.10 ± 0.30" in text; CSV and JSON get v alone: give the spread a column of its own there
// (hy_table_hidden).
void hy_table_num_pm(hy_table *t, double v, double spread, int decimals);
// Adds to what people see of the newest cell, a number: "0.95 ± 0.01 (2)". CSV and JSON do not have it.
void hy_table_mark(hy_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hy_table_empty(hy_table *t);
// The newest column is left out of the text table (CSV and JSON have it).
void hy_table_hidden(hy_table *t);
void hy_table_rule(hy_table *t);  // a line between rows, text only
// A line under the table ("notes" of JSON; not in CSV).
void hy_table_note(hy_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// HY_EFAIL when the stream reports an error (full disk).
hy_status hy_table_print(const hy_table *t, hy_table_format format, FILE *f);
// {"title", "units": {name: unit}, "rows": [{name: value}], "notes": []} for commands that print more than one table in
// one document.
hy_json *hy_table_json(const hy_table *t);
#endif
