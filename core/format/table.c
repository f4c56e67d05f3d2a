// table.c - see table.h.
#include "core/format/table.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum { CELL_EMPTY = 0, CELL_TEXT, CELL_INT, CELL_NUM } cell_kind;
typedef struct {
    cell_kind kind;
    char *text;  // as people see it; NULL when empty
    double num;
    int64_t i;
} cell;
typedef struct {
    char *name, *header, *unit;
    hy_align_side side;
    bool hidden;
} column;
typedef struct {
    bool rule;  // a line instead of cells
    int n;
    cell *cells;  // [columns]
} row;

struct hy_table {
    char *title;
    column *cols;
    row *rows;
    char **notes;
    int n_cols, n_rows, n_notes;
};

hy_status hy_table_format_parse(const char *text, hy_table_format *out) {
    static const char *const names[] = {"table", "csv", "json"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i])) {
            *out = (hy_table_format)i;
            return HY_OK;
        }
    return hy_error(HY_EINPUT, "--format %s: there are table, csv and json", text);
}

hy_table *hy_table_new(const char *title) {
    hy_table *t = hy_xcalloc(1, sizeof *t);
    t->title = title ? hy_xstrdup(title) : NULL;
    return t;
}

void hy_table_free(hy_table *t) {
    if (!t) return;
    for (int r = 0; r < t->n_rows; r++) {
        for (int c = 0; c < t->rows[r].n; c++) free(t->rows[r].cells[c].text);
        free(t->rows[r].cells);
    }
    for (int c = 0; c < t->n_cols; c++) {
        free(t->cols[c].name);
        free(t->cols[c].header);
        free(t->cols[c].unit);
    }
    for (int i = 0; i < t->n_notes; i++) free(t->notes[i]);
    free(t->rows);
    free(t->cols);
    free(t->notes);
    free(t->title);
    free(t);
}

void hy_table_column(hy_table *t, const char *name, const char *header, const char *unit, hy_align_side side) {
    HY_ASSERT(t->n_rows == 0);
    t->cols = hy_xrealloc(t->cols, sizeof *t->cols * (size_t)(t->n_cols + 1));
    t->cols[t->n_cols++] = (column){.name = hy_xstrdup(name),
                                    .header = hy_xstrdup(header ? header : name),
                                    .unit = unit ? hy_xstrdup(unit) : NULL,
                                    .side = side};
}

void hy_table_hidden(hy_table *t) {
    HY_ASSERT(t->n_cols > 0);
    t->cols[t->n_cols - 1].hidden = true;
}

static row *row_new(hy_table *t) {
    t->rows = hy_xrealloc(t->rows, sizeof *t->rows * (size_t)(t->n_rows + 1));
    row *r = &t->rows[t->n_rows++];
    *r = (row){.cells = hy_xcalloc((size_t)t->n_cols, sizeof(cell))};
    return r;
}

void hy_table_row(hy_table *t) { row_new(t); }
void hy_table_rule(hy_table *t) { row_new(t)->rule = true; }

static cell *cell_new(hy_table *t, cell_kind kind) {
    HY_ASSERT(t->n_rows > 0 && !t->rows[t->n_rows - 1].rule && t->rows[t->n_rows - 1].n < t->n_cols);
    row *r = &t->rows[t->n_rows - 1];
    cell *c = &r->cells[r->n++];
    c->kind = kind;
    return c;
}

void hy_table_text(hy_table *t, const char *fmt, ...) {
    hy_buf b = {0};
    va_list ap;
    va_start(ap, fmt);
    char *s = NULL;
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    HY_ASSERT(n >= 0);
    hy_buf_write(&b, s, (size_t)n);
    free(s);
    cell_new(t, CELL_TEXT)->text = b.s;
}

void hy_table_int(hy_table *t, int64_t v) {
    cell *c = cell_new(t, CELL_INT);
    c->i = v;
    c->text = hy_asprintf("%lld", (long long)v);
}

static char *number_text(double v, int decimals) {
    return decimals < 0 ? hy_asprintf("%.*g", -decimals, v) : hy_asprintf("%.*f", decimals, v);
}

void hy_table_num(hy_table *t, double v, int decimals) {
    cell *c = cell_new(t, CELL_NUM);
    c->num = v;
    c->text = isfinite(v) ? number_text(v, decimals) : hy_xstrdup("-");
}

void hy_table_num_pm(hy_table *t, double v, double spread, int decimals) {
    hy_table_num(t, v, decimals);
    if (!isfinite(v) || !isfinite(spread)) return;
    cell *c = &t->rows[t->n_rows - 1].cells[t->rows[t->n_rows - 1].n - 1];
    char *s = number_text(spread, decimals), *both = hy_asprintf("%s \xc2\xb1 %s", c->text, s);
    free(s);
    free(c->text);
    c->text = both;
}

void hy_table_mark(hy_table *t, const char *fmt, ...) {
    row *r = &t->rows[t->n_rows - 1];
    cell *c = &r->cells[r->n - 1];
    HY_ASSERT(r->n > 0 && c->kind == CELL_NUM);  // the text of others is what programs get
    va_list ap;
    va_start(ap, fmt);
    char *mark = NULL;
    const int n = vasprintf(&mark, fmt, ap);
    va_end(ap);
    HY_ASSERT(n >= 0);
    char *both = hy_asprintf("%s%s", c->text, mark);
    free(mark), free(c->text);
    c->text = both;
}

void hy_table_empty(hy_table *t) { cell_new(t, CELL_EMPTY); }

void hy_table_note(hy_table *t, const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    HY_ASSERT(n >= 0);
    t->notes = hy_xrealloc(t->notes, sizeof *t->notes * (size_t)(t->n_notes + 1));
    t->notes[t->n_notes++] = s;
}

// ---------------------------------------------------------------------------------------------------- text
// A control character at s, which would break the line or command the terminal, as people read it: "\n", "\x1b"; NULL
// for any other. *bytes: those that it takes of s.
static const char *escape(const char *s, char out[8], int *bytes) {
    static const char known[] = "\n\r\t", letters[] = "nrt";
    const unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];
    const bool wide = c == 0xc2 && next >= 0x80 && next < 0xa0;
    *bytes = 1 + wide;
    if (c >= 0x20 && c != 0x7f && !wide) return NULL;
    const char *at = strchr(known, c);
    if (at && c)
        snprintf(out, 8, "\\%c", letters[at - known]);
    else
        snprintf(out, 8, "\\x%02x", wide ? next : c);
    return out;
}

static int text_width(const char *s) {  // code points, as they are shown
    int n = 0, bytes;
    char out[8];
    for (; s && *s; s += bytes) n += escape(s, out, &bytes) ? (int)strlen(out) : ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void write_visible(hy_buf *b, const char *s) {
    int bytes;
    char out[8];
    for (; *s; s += bytes) {
        const char *shown = escape(s, out, &bytes);
        hy_buf_write(b, shown ? shown : s, shown ? strlen(shown) : 1);
    }
}

static void pad(hy_buf *b, const char *s, int width, hy_align_side side, bool last) {
    int gap = width - text_width(s);
    if (side == HY_RIGHT) hy_buf_printf(b, "%*s", gap, "");
    write_visible(b, s ? s : "");
    if (side == HY_LEFT && !last) hy_buf_printf(b, "%*s", gap, "");
    if (!last) hy_buf_printf(b, "  ");
}

// No blanks at line ends, which a diff or a reader's editor would show.
static void end_line(hy_buf *b) {
    while (b->n && b->s[b->n - 1] == ' ') b->n--;
    hy_buf_write(b, "\n", 1);
}

static void print_text(const hy_table *t, hy_buf *b) {
    int *w = hy_xcalloc((size_t)t->n_cols, sizeof *w), total = 0, last = -1;
    bool units = false;
    for (int c = 0; c < t->n_cols; c++) {
        if (t->cols[c].hidden) continue;
        w[c] = text_width(t->cols[c].header);
        int u = text_width(t->cols[c].unit);
        units |= u > 0;
        if (u > w[c]) w[c] = u;
        for (int r = 0; r < t->n_rows; r++) {
            int n = text_width(t->rows[r].cells[c].text);
            if (n > w[c]) w[c] = n;
        }
        total += w[c] + 2;
        last = c;
    }
    if (t->title) hy_buf_printf(b, "%s\n", t->title);
    for (int line = 0; line < 1 + units; line++) {
        for (int c = 0; c < t->n_cols; c++)
            if (!t->cols[c].hidden)
                pad(b, line ? t->cols[c].unit : t->cols[c].header, w[c], t->cols[c].side, c == last);
        end_line(b);
    }
    for (int r = -1; r < t->n_rows; r++) {
        if (r < 0 || t->rows[r].rule) {
            for (int i = 0; i < total - 2; i++) hy_buf_write(b, "-", 1);
        } else {
            for (int c = 0; c < t->n_cols; c++)
                if (!t->cols[c].hidden) pad(b, t->rows[r].cells[c].text, w[c], t->cols[c].side, c == last);
        }
        end_line(b);
    }
    for (int i = 0; i < t->n_notes; i++) hy_buf_printf(b, "%s\n", t->notes[i]);
    if (b->n) hy_text_hide_controls(b->s);  // what stands in a database that others made reaches a terminal here
    free(w);
}

// ---------------------------------------------------------------------------------------------------- csv, json
static void csv_field(hy_buf *b, const char *s) {
    if (!strpbrk(s, ",\"\r\n") && s[0] != ' ' && (!*s || s[strlen(s) - 1] != ' ')) {
        hy_buf_printf(b, "%s", s);
        return;
    }
    hy_buf_write(b, "\"", 1);
    for (; *s; s++) hy_buf_write(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    hy_buf_write(b, "\"", 1);
}

static void csv_cell(hy_buf *b, const cell *c) {
    char number[32];
    if (c->kind == CELL_NUM && isfinite(c->num)) {
        hy_json_double_text(c->num, number);
        hy_buf_printf(b, "%s", number);
    } else if (c->kind == CELL_INT || c->kind == CELL_TEXT)
        csv_field(b, c->text);
}

static void print_csv(const hy_table *t, hy_buf *b) {
    for (int c = 0; c < t->n_cols; c++) {
        if (c) hy_buf_write(b, ",", 1);
        csv_field(b, t->cols[c].name);
    }
    hy_buf_write(b, "\r\n", 2);
    for (int r = 0; r < t->n_rows; r++) {
        if (t->rows[r].rule) continue;
        for (int c = 0; c < t->n_cols; c++) {
            if (c) hy_buf_write(b, ",", 1);
            csv_cell(b, &t->rows[r].cells[c]);
        }
        hy_buf_write(b, "\r\n", 2);
    }
}

hy_json *hy_table_json(const hy_table *t) {
    hy_json *doc = hy_json_new_object(), *units = hy_json_new_object(), *rows = hy_json_new_array();
    if (t->title) hy_json_set_string(doc, "title", t->title);
    for (int c = 0; c < t->n_cols; c++)
        if (t->cols[c].unit) hy_json_set_string(units, t->cols[c].name, t->cols[c].unit);
    hy_json_set(doc, "units", units);
    for (int r = 0; r < t->n_rows; r++) {
        if (t->rows[r].rule) continue;
        hy_json *o = hy_json_new_object();
        for (int c = 0; c < t->n_cols; c++) {
            const cell *v = &t->rows[r].cells[c];
            hy_json_set(o, t->cols[c].name,
                        v->kind == CELL_TEXT  ? hy_json_new_string(v->text)
                        : v->kind == CELL_INT ? hy_json_new_int(v->i)
                        : v->kind == CELL_NUM ? hy_json_new_double(v->num)
                                              : hy_json_new_null());
        }
        hy_json_add(rows, o);
    }
    hy_json_set(doc, "rows", rows);
    hy_json *notes = hy_json_new_array();
    for (int i = 0; i < t->n_notes; i++) hy_json_add(notes, hy_json_new_string(t->notes[i]));
    hy_json_set(doc, "notes", notes);
    return doc;
}

hy_status hy_table_print(const hy_table *t, hy_table_format format, FILE *f) {
    if (format == HY_TABLE_JSON) {
        hy_json *j = hy_table_json(t);
        hy_status s = hy_json_print(j, f);
        hy_json_free(j);
        return s;
    }
    hy_buf b = {0};
    if (format == HY_TABLE_CSV)
        print_csv(t, &b);
    else
        print_text(t, &b);
    if (b.n) fwrite(b.s, 1, b.n, f);
    free(b.s);
    return hy_stream_end(f, "the table");
}
