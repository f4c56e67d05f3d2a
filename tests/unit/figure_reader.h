// figure_reader.h - reads what a figure leaves beside its picture: the script's panels, axes, legend and plot elements,
// and the blocks of its data. Tests ask as a reader does: the name in the legend, its colour, the points of that
// colour.
#ifndef HY_FIGURE_READER_H
#define HY_FIGURE_READER_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/base.h"

enum { R_PANELS = 12, R_ELEMENTS = 200, R_BLOCKS = 64, R_ROWS = 160, R_COLUMNS = 10, R_TEXT = 160 };
typedef struct {
    int panel, block, colour, shape;  // -1: none
    double size;
    long skip;  // of binary data
    char with[R_TEXT], columns[R_TEXT], title[R_TEXT];
} r_element;
typedef struct {
    char title[R_TEXT], x[R_TEXT], y[R_TEXT], xtics[2048], ytics[2048];
    bool x_log, y_log;
} r_panel;
typedef struct {
    int n;
    double v[R_ROWS][R_COLUMNS];
    char name[R_ROWS][R_TEXT];  // the quoted field
} r_block;
typedef struct {
    int n_panels, n_elements, n_blocks;
    r_panel panel[R_PANELS];
    r_element element[R_ELEMENTS];
    r_block block[R_BLOCKS];
    char head[4096];  // all labels, one after another
    char *script, *data;
    size_t bytes;
} r_figure;

// The text in single quotes at s, quotes in it doubled; returns what follows.
static inline const char *r_quoted(const char *s, char *out, size_t size) {
    size_t n = 0;
    assert_int_equal(*s, '\'');
    for (s++; *s && (*s != '\'' || s[1] == '\''); s++) {
        if (*s == '\'') s++;
        if (n + 1 < size) out[n++] = *s;
    }
    out[n] = 0;
    return s + 1;
}

// The number after a word of an element; missing where it is not there.
static inline double r_after(const char *line, const char *word, double missing) {
    const char *at = strstr(line, word);
    char *end;
    if (!at) return missing;
    const double v = strtod(at + strlen(word), &end);
    return end == at + strlen(word) ? missing : v;
}

static inline void r_add_element(r_figure *f, const char *line) {
    r_element *e = &f->element[f->n_elements];
    *e = (r_element){.panel = f->n_panels - 1};
    e->block = (int)r_after(line, "DATA index ", strncmp(line, "DATA", 4) ? -1 : 0);
    e->skip = (long)r_after(line, "skip=", -1);
    e->colour = (int)r_after(line, "rgb LC(", -1);
    e->shape = (int)r_after(line, "PT(", -1);
    e->size = r_after(line, "PS(", NAN);
    const char *with = strstr(line, " with "), *columns = strstr(line, " using "), *title = strstr(line, " title '");
    if (with) snprintf(e->with, R_TEXT, "%.*s", (int)strcspn(with + 6, " "), with + 6);
    if (columns) snprintf(e->columns, R_TEXT, "%.*s", (int)strcspn(columns + 7, " "), columns + 7);
    if (title) r_quoted(title + 7, e->title, R_TEXT);
    if (!with && !title) return;  // the empty first one
    assert_true(++f->n_elements < R_ELEMENTS);
}

static inline void r_setting(r_figure *f, r_panel *p, const char *line) {
    static const char *const word[] = {"set title ", "set xlabel ", "set ylabel "};
    char *to[] = {p->title, p->x, p->y};
    for (int i = 0; i < 3; i++)
        if (!strncmp(line, word[i], strlen(word[i])) && line[strlen(word[i])] == '\'')
            r_quoted(line + strlen(word[i]), to[i], R_TEXT);
    if (!strncmp(line, "set label '", 11)) {
        char text[R_TEXT];
        r_quoted(line + 10, text, R_TEXT);
        snprintf(f->head + strlen(f->head), sizeof f->head - strlen(f->head), "%s%s", *f->head ? " " : "", text);
    }
    if (!strcmp(line, "set logscale x")) p->x_log = true;
    if (!strcmp(line, "set logscale y")) p->y_log = true;
    if (!strcmp(line, "unset logscale x")) p->x_log = false;
    if (!strcmp(line, "unset logscale y")) p->y_log = false;
    if (!strncmp(line, "set xtics", 9)) snprintf(p->xtics, sizeof p->xtics, "%s", line);
    if (!strncmp(line, "set ytics", 9)) snprintf(p->ytics, sizeof p->ytics, "%s", line);
}

static inline void r_read_script(r_figure *f) {
    char *copy = hy_xstrdup(f->script), *save = NULL;
    r_panel now = {0};
    bool plotting = false;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const size_t n = strlen(line);
        if (n > 3 && !strcmp(line + n - 3, ", \\")) line[n - 3] = 0;
        const bool first = !strncmp(line, "plot ", 5);
        plotting = first || (plotting && !strncmp(line, "  ", 2));
        if (first) {
            assert_true(f->n_panels < R_PANELS);
            f->panel[f->n_panels++] = now;
        }
        if (plotting)
            r_add_element(f, line + (first ? 5 : 2));
        else
            r_setting(f, &now, line);
    }
    free(copy);
}

static inline void r_read_row(r_block *b, const char *line) {
    assert_true(b->n < R_ROWS);
    for (int c = 0; c < R_COLUMNS; c++) b->v[b->n][c] = NAN;
    for (int c = 0; *line;) {
        line += strspn(line, " ");
        if (*line == '"') {
            snprintf(b->name[b->n], R_TEXT, "%.*s", (int)strcspn(line + 1, "\""), line + 1);
            line += 2 + strcspn(line + 1, "\"");
            continue;
        }
        char *end;
        const double v = strtod(line, &end);
        if (end == line) break;
        assert_true(c < R_COLUMNS);
        b->v[b->n][c++] = v;
        line = end;
    }
    b->n++;
}

// Blocks are apart by two empty lines or more.
static inline void r_read_data(r_figure *f) {
    int empty = 0;
    bool any = false;
    for (const char *line = f->data; *line;) {
        const size_t n = strcspn(line, "\n");
        char *text = hy_asprintf("%.*s", (int)n, line);
        if (!n) {
            empty++;
        } else if (*text != '#') {
            if (!any || empty >= 2) assert_true(++f->n_blocks < R_BLOCKS);
            r_read_row(&f->block[f->n_blocks - 1], text);
            any = true, empty = 0;
        }
        free(text);
        line += n + (line[n] == '\n');
    }
}

static inline r_figure *r_read(const char *dir, const char *name, bool binary) {
    r_figure *f = hy_xcalloc(1, sizeof *f);
    char *gp = hy_asprintf("%s/%s.gp", dir, name), *dat = hy_asprintf("%s/%s.dat", dir, name);
    size_t n;
    if (hy_file_read(gp, 1 << 20, &f->script, &n) || hy_file_read(dat, 1 << 24, &f->data, &f->bytes))
        fail_msg("%s", hy_error_text());
    free(gp), free(dat);
    r_read_script(f);
    if (!binary) r_read_data(f);
    return f;
}

static inline void r_free(r_figure *f) {
    if (f) free(f->script), free(f->data);
    free(f);
}

// ---------------------------------------------------------------------------------------------------- looking
// The colour that the legend gives a name; -1: it is not in the legend.
static inline int r_legend(const r_figure *f, const char *name) {
    int colour = -1;
    for (int i = 0; i < f->n_elements; i++)
        if (*f->element[i].title && !strcmp(f->element[i].title, name)) {
            if (colour >= 0) fail_msg("%s is twice in the legend", name);
            colour = f->element[i].colour;
        }
    return colour;
}

static inline int r_legend_size(const r_figure *f) {
    int n = 0;
    for (int i = 0; i < f->n_elements; i++) n += *f->element[i].title != 0;
    return n;
}

// The one element of a panel with that style and colour that shows data; NULL: none.
static inline const r_element *r_find(const r_figure *f, int panel, const char *with, int colour) {
    const r_element *found = NULL;
    for (int i = 0; i < f->n_elements; i++) {
        const r_element *e = &f->element[i];
        if (e->panel != panel || strcmp(e->with, with) || e->colour != colour || e->block < 0) continue;
        if (found) fail_msg("two %s of colour %d", with, colour);
        found = e;
    }
    return found;
}

static inline int r_count(const r_figure *f, const char *with) {
    int n = 0;
    for (int i = 0; i < f->n_elements; i++) n += !strcmp(f->element[i].with, with) && f->element[i].block >= 0;
    return n;
}

// A figure has ten digits; both missing counts as equal.
static inline void r_near(double shown, double wanted, const char *what) {
    if (isnan(shown) && isnan(wanted)) return;
    if (!(fabs(shown - wanted) <= 2e-9 * fabs(wanted) + 1e-12)) fail_msg("%s: %.12g, not %.12g", what, shown, wanted);
}

static inline void r_says(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}

static inline void r_equal(const char *shown, const char *wanted) {
    if (strcmp(shown, wanted)) fail_msg("\"%s\", not \"%s\"", shown, wanted);
}

static inline const r_block *line_of(const r_figure *f, int panel, const char *name, int colour) {
    const r_element *e = r_find(f, panel, "linespoints", colour);
    if (!e) return NULL;
    assert_int_equal(r_legend(f, name), colour);
    assert_int_equal(e->shape, colour);
    r_equal(e->columns, "1:2");
    return &f->block[e->block];
}

static inline void bars_of(const r_figure *f, int panel, int colour, bool bands) {
    const r_element *e = r_find(f, panel, bands ? "filledcurves" : "vectors", colour),
                    *line = r_find(f, panel, "linespoints", colour);
    assert_non_null(e);
    r_equal(e->columns, bands ? "1:(LOW($3)):4" : "1:(LOW($3)):(0):($4-LOW($3))");
    assert_int_equal(e->block, line->block);
}

static inline void near_row(const r_block *b, int i, double x, double y, double lo, double hi, const char *what) {
    const double row[] = {x, y, lo, hi};
    for (int c = 0; c < 4; c++) r_near(b->v[i][c], row[c], what);
}
#endif
