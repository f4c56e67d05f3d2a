// report.c - see report.h.
#include "analysis/report/report.h"

#include <stdlib.h>
#include <string.h>

// A line of the contents.
typedef struct {
    hy_report_level level;
    char *id, *text;
} entry;

struct hy_report {
    hy_buf body;
    char *title, *label;
    entry *contents;
    int n_contents, figures;
    int row, in_row;  // the first figure of the row of small ones, and how many are still to come
    bool in_facts;
};

hy_report *hy_report_new(const char *title, const char *label) {
    hy_report *r = hy_xcalloc(1, sizeof *r);
    r->title = hy_xstrdup(title);
    r->label = label ? hy_xstrdup(label) : NULL;
    return r;
}

void hy_report_free(hy_report *r) {
    if (!r) return;
    for (int i = 0; i < r->n_contents; i++) free(r->contents[i].id), free(r->contents[i].text);
    free(r->contents);
    free(r->body.s);
    free(r->title);
    free(r->label);
    free(r);
}

// ---------------------------------------------------------------------------------------------------- elements
static void escape_n(hy_buf *b, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '<')
            hy_buf_printf(b, "&lt;");
        else if (c == '>')
            hy_buf_printf(b, "&gt;");
        else if (c == '&')
            hy_buf_printf(b, "&amp;");
        else if (c == '"')
            hy_buf_printf(b, "&quot;");
        else if (c == '\'')
            hy_buf_printf(b, "&#39;");
        else if (c < ' ' && c != '\n' && c != '\t')
            hy_buf_printf(b, " ");
        else
            hy_buf_write(b, &text[i], 1);
    }
}
static void escape(hy_buf *b, const char *text) { escape_n(b, text, strlen(text)); }

// The body, with an open list of facts closed.
static hy_buf *flow(hy_report *r) {
    if (r->in_facts) hy_buf_printf(&r->body, "</dl>\n");
    r->in_facts = false;
    return &r->body;
}

static void element(hy_buf *b, const char *tag, const char *text, size_t n) {
    hy_buf_printf(b, "<%s>", tag);
    escape_n(b, text, n);
    hy_buf_printf(b, "</%s>\n", tag);
}

// ---------------------------------------------------------------------------------------------------- headings
static void list(hy_report *r, hy_report_level level, char *id, const char *text) {  // takes id
    r->contents = hy_xrealloc(r->contents, (size_t)(r->n_contents + 1) * sizeof *r->contents);
    r->contents[r->n_contents++] = (entry){level, id, hy_xstrdup(text)};
}

static bool is_listed(const hy_report *r, const char *id) {
    for (int i = 0; i < r->n_contents; i++)
        if (!strcmp(r->contents[i].id, id)) return true;
    return false;
}

// The id of a heading, from its letters and digits; "s-" keeps it apart from those of figures and of their symbols.
static char *id_of(const hy_report *r, const char *text) {
    hy_buf b = {0};
    hy_buf_printf(&b, "s");
    for (bool gap = true; *text; text++) {
        const char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
        const bool keep = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (keep) hy_buf_printf(&b, "%s%c", gap ? "-" : "", c);
        gap = !keep;
    }
    const size_t n = b.n;
    for (int k = 2; is_listed(r, b.s); k++) {
        b.n = n;
        hy_buf_printf(&b, "-%d", k);
    }
    return b.s;
}

void hy_report_heading(hy_report *r, hy_report_level level, const char *text) {
    hy_buf *b = flow(r);
    char *id = id_of(r, text);
    hy_buf_printf(b, "<h%d id=\"%s\">", (int)level, id);
    escape(b, text);
    hy_buf_printf(b, "</h%d>\n", (int)level);
    list(r, level, id, text);
}

void hy_report_section(hy_report *r, const char *heading) { hy_report_heading(r, HY_REPORT_SECTION, heading); }

void hy_report_reading(hy_report *r, const char *sentence) {
    hy_buf *b = flow(r);
    hy_buf_printf(b, "<p class=\"read\"><b>How to read it:</b> ");
    escape(b, sentence);
    hy_buf_printf(b, "</p>\n");
}

// Lists in lists; the figures of a row open on a click, so that the contents stay short.
static void add_contents(const hy_report *r, hy_buf *b) {
    static const char row[] = "<details><summary>each</summary>";
    int depth = HY_REPORT_SECTION - 1;
    hy_buf_printf(b, "<nav aria-label=\"Contents\">\n");
    for (int i = 0; i <= r->n_contents; i++) {
        const entry *e = &r->contents[i];
        const int level = i < r->n_contents ? (int)e->level : HY_REPORT_SECTION - 1;
        for (; depth < level; depth++)
            hy_buf_printf(b, "%s<ul>%s", depth + 1 == HY_REPORT_FIGURE ? row : "", depth + 1 < level ? "<li>" : "");
        for (; depth > level; depth--) hy_buf_printf(b, "</li></ul>%s", depth == HY_REPORT_FIGURE ? "</details>" : "");
        if (i == r->n_contents) break;
        if (i && (int)r->contents[i - 1].level >= level) hy_buf_printf(b, "</li>\n");
        hy_buf_printf(b, "<li><a href=\"#%s\">", e->id);
        escape(b, e->text);
        hy_buf_printf(b, "</a>");
    }
    hy_buf_printf(b, "\n</nav>\n");
}

// ---------------------------------------------------------------------------------------------------- text

void hy_report_text(hy_report *r, const char *text) {
    hy_buf *b = flow(r);
    bool list = false;
    while (*text) {
        size_t n = 0;  // a block: up to an empty line, or in lists the next item
        while (*text == '\n') text++;
        bool item = !strncmp(text, "- ", 2);
        while (text[n] && strncmp(text + n, "\n\n", 2) && strncmp(text + n, "\n- ", 3)) n++;
        if (!n) break;
        if (item != list) hy_buf_printf(b, item ? "<ul>\n" : "</ul>\n");
        list = item;
        element(b, item ? "li" : "p", text + (item ? 2 : 0), n - (item ? 2 : 0));
        text += n;
    }
    if (list) hy_buf_printf(b, "</ul>\n");
}

void hy_report_code(hy_report *r, const char *summary, const char *text) {
    hy_buf *b = flow(r);
    if (summary) {
        hy_buf_printf(b, "<details>");
        element(b, "summary", summary, strlen(summary));
    }
    element(b, "pre", text, strlen(text));
    if (summary) hy_buf_printf(b, "</details>\n");
}

void hy_report_fact(hy_report *r, const char *key, const char *value) {
    if (!r->in_facts) hy_buf_printf(&r->body, "<dl>\n");
    r->in_facts = true;
    element(&r->body, "dt", key, strlen(key));
    element(&r->body, "dd", value, strlen(value));
}

// ---------------------------------------------------------------------------------------------------- tables
static bool same_group(const hy_report_column *a, const hy_report_column *b) {
    return a->group == b->group || (a->group && b->group && !strcmp(a->group, b->group));
}

static void group_row(hy_buf *b, const hy_report_column *c, int n) {
    bool any = false;
    for (int i = 0; i < n; i++) any = any || c[i].group;
    if (!any) return;
    hy_buf_printf(b, "<tr class=\"g\">");
    for (int i = 0, span; i < n; i += span) {
        for (span = 1; i + span < n && same_group(&c[i], &c[i + span]); span++) {
        }
        hy_buf_printf(b, "<th scope=\"colgroup\" colspan=\"%d\">", span);
        escape(b, c[i].group ? c[i].group : "");
        hy_buf_printf(b, "</th>");
    }
    hy_buf_printf(b, "</tr>\n");
}

void hy_report_table(hy_report *r, const char *caption, const hy_report_column *c, int n, const char *const *cells,
                     int n_rows) {
    hy_buf *b = flow(r);
    hy_buf_printf(b,
                  "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Table, scrolls sideways\"><table>");
    if (caption) element(b, "caption", caption, strlen(caption));
    hy_buf_printf(b, "<thead>\n");
    group_row(b, c, n);
    hy_buf_printf(b, "<tr>");
    for (int i = 0; i < n; i++) {
        hy_buf_printf(b, "<th scope=\"col\"%s>", c[i].number ? " class=\"n\"" : "");
        escape(b, c[i].name);
        if (c[i].unit) {
            hy_buf_printf(b, "<span class=\"u\">");
            escape(b, c[i].unit);
            hy_buf_printf(b, "</span>");
        }
        hy_buf_printf(b, "</th>");
    }
    hy_buf_printf(b, "</tr></thead><tbody>\n");
    for (int row = 0; row < n_rows; row++) {
        hy_buf_printf(b, "<tr>");
        for (int i = 0; i < n; i++) {
            const char *cell = cells[row * n + i];
            const char *tag = i ? "td" : "th scope=\"row\"", *class = "";
            if (c[i].number) class = cell ? " class=\"n\"" : " class=\"n none\"";
            if (!c[i].number && i && cell && strlen(cell) < 24 && !strchr(cell, ' ')) class = " class=\"k\"";
            hy_buf_printf(b, "<%s%s>", tag, class);
            escape(b, cell ? cell : c[i].number ? "-" : "");
            hy_buf_printf(b, "</%.2s>", tag);
        }
        hy_buf_printf(b, "</tr>\n");
    }
    hy_buf_printf(b, "</tbody></table></div>\n");
}

// ---------------------------------------------------------------------------------------------------- figures
// Copies SVG; ids and references to them get a prefix, so that two figures on a page do not mix up their symbols.
static void copy_svg(hy_buf *b, const char *svg, int figure) {
    static const char *const marks[] = {"id='", "id=\"", "href='#", "href=\"#", "url(#"};
    while (*svg) {
        size_t mark = 0;
        for (int i = 0; i < 5 && !mark; i++)
            if (!strncmp(svg, marks[i], strlen(marks[i]))) mark = strlen(marks[i]);
        if (!mark) {
            size_t n = 1 + strcspn(svg + 1, "ihu");
            hy_buf_write(b, svg, n);
            svg += n;
            continue;
        }
        hy_buf_write(b, svg, mark);
        hy_buf_printf(b, "f%d-", figure);
        svg += mark;
    }
}

// The picture from its <svg on: named by its caption for who hears the page and for who points at it.
static void picture(hy_buf *b, char *svg, int figure, const char *caption) {
    char *end = strchr(svg, '>'), *drawn_by = strstr(svg, "<title>Gnuplot</title>");
    *end = 0;
    hy_buf_printf(b, "<svg role=\"img\" aria-labelledby=\"figure-%d-text\"", figure);
    copy_svg(b, svg + strlen("<svg"), figure);
    hy_buf_printf(b, "><title id=\"figure-%d-text\">", figure);
    escape(b, caption);
    hy_buf_printf(b, "</title>");
    if (drawn_by) {
        *drawn_by = 0;
        copy_svg(b, end + 1, figure);
        end = drawn_by + strlen("<title>Gnuplot</title>") - 1;
    }
    copy_svg(b, end + 1, figure);
}

// Ways from a figure that is large: along its row, and back to where all are small.
static void turns(const hy_report *r, bool first, hy_buf *b) {
    int back = r->n_contents - 1;
    while (back >= 0 && r->contents[back].level == HY_REPORT_FIGURE) back--;
    hy_buf_printf(b, "<span class=\"turn\">");
    if (r->in_row && !first) hy_buf_printf(b, "<a href=\"#figure-%d\">previous</a>", r->figures - 1);
    if (r->in_row > 1) hy_buf_printf(b, "<a href=\"#figure-%d\">next</a>", r->figures + 1);
    hy_buf_printf(b, "<a href=\"#%s\">small again</a></span>", back < 0 ? "" : r->contents[back].id);
}

void hy_report_row(hy_report *r, int n) {
    hy_buf_printf(flow(r), "<div class=\"row\">\n");
    r->in_row = n;
    r->row = r->figures + 1;
}

hy_status hy_report_figure(hy_report *r, const char *svg_path, const char *of, const char *caption) {
    char *svg;
    size_t n;
    HY_TRY(hy_file_read(svg_path, (size_t)64 << 20, &svg, &n));
    char *start = strstr(svg, "<svg");
    if (!start || !strchr(start, '>')) {
        free(svg);
        return hy_error(HY_EINPUT, "%s: is not an SVG picture", svg_path);
    }
    hy_buf *b = flow(r);
    char *id = hy_asprintf("figure-%d", ++r->figures);
    hy_buf_printf(b, "<figure id=\"%s\"><a class=\"pic\" href=\"#%s\">\n", id, id);
    picture(b, start, r->figures, caption);
    hy_buf_printf(b, "</a><figcaption><b>Figure %d.</b> ", r->figures);
    if (r->in_row) {
        hy_buf_printf(b, "<span class=\"of\">");
        escape(b, of);
        hy_buf_printf(b, "</span>");
        list(r, HY_REPORT_FIGURE, hy_xstrdup(id), of);
    }
    hy_buf_printf(b, "<span class=\"full\">");
    escape(b, caption);
    hy_buf_printf(b, "</span>");
    turns(r, r->figures == r->row, b);
    hy_buf_printf(b, "</figcaption></figure>\n");
    if (r->in_row && --r->in_row == 0) hy_buf_printf(b, "</div>\n");
    free(svg), free(id);
    return HY_OK;
}

#define PAGE_HEAD "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\""

hy_status hy_report_try(const char *path) { return hy_outfile_try_over(path, PAGE_HEAD, "page of hylab"); }

hy_status hy_report_write(const hy_report *r, const char *path) {
    hy_buf page = {0};
    hy_buf_printf(&page, PAGE_HEAD " content=\"width=device-width, initial-scale=1\">\n");
    element(&page, "title", r->title, strlen(r->title));
    hy_buf_printf(&page, "<style>\n%s</style></head><body>\n<h1>", hy_report_css);
    escape(&page, r->title);
    if (r->label) {
        hy_buf_printf(&page, "<span class=\"label\">");
        escape(&page, r->label);
        hy_buf_printf(&page, "</span>");
    }
    hy_buf_printf(&page, "</h1>\n");
    if (r->n_contents) add_contents(r, &page);
    hy_buf_printf(&page, "<main>\n");
    if (r->body.n) hy_buf_write(&page, r->body.s, r->body.n);
    hy_buf_printf(&page, "%s</main></body></html>\n", r->in_facts ? "</dl>\n" : "");
    hy_status s = hy_file_write(path, page.s, page.n);
    free(page.s);
    return s;
}
