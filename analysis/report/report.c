// report.c - see report.h.
#include "analysis/report/report.h"

#include <stdlib.h>
#include <string.h>

struct hy_report {
    hy_buf body;
    char *title, *label;
    int figures;
    bool in_facts;
};

static const char css[] =
    ":root{color-scheme:light}\n"
    "body{font:16px/1.5 'DejaVu "
    "Sans',Verdana,system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:78rem;margin:2rem auto;padding:0 "
    "1.2rem}\n"
    "h1{font-size:1.7rem;line-height:1.25;margin:0 0 .4rem}\n"
    "h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid #ddd;padding-bottom:.2rem}\n"
    ".label{display:inline-block;font-size:.85rem;font-weight:600;background:#fff3d6;"
    "border:1px solid #E69F00;border-radius:.3rem;padding:.05rem .5rem;margin-left:.6rem;vertical-align:middle}\n"
    "p,ul{max-width:48rem;margin:.5rem 0}\n"
    ".wide{overflow-x:auto;margin:1rem "
    "0}table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}\n"
    "caption{text-align:left;color:#444;padding-bottom:.4rem;max-width:48rem}\n"
    "th,td{padding:.26rem "
    ".34rem;text-align:left}th{max-width:7rem}td:first-child,td.n{white-space:nowrap}td.n,th.n{text-align:right}\n"
    "thead th{border-bottom:1px solid #888;vertical-align:bottom}thead tr.g th{border-bottom:1px solid "
    "#ccc;text-align:center;color:#555}\n"
    "tbody tr:nth-child(even){background:#f6f6f6}th .u{font-weight:400;color:#666;display:block}td.none{color:#999}\n"
    "figure{margin:1.4rem 0 2rem}figure svg{max-width:100%;height:auto;display:block}\n"
    "figcaption{color:#444;font-size:.9rem;max-width:48rem;margin-top:.3rem}\n"
    "pre{background:#f6f6f6;border:1px solid #e2e2e2;padding:.7rem;font:13px/1.4 'DejaVu Sans "
    "Mono',monospace;overflow-x:auto;white-space:pre-wrap}\n"
    "summary{cursor:pointer;color:#0072B2}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem "
    "1.2rem;font-size:.9rem}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}\n"
    "@media print{body{margin:0;max-width:none;font-size:11pt}"
    "figure,tr{break-inside:avoid}table{font-size:7.5pt}th,td{padding:.15rem .3rem}h2{break-after:avoid}}\n";

hy_report *hy_report_new(const char *title, const char *label) {
    hy_report *r = hy_xcalloc(1, sizeof *r);
    r->title = hy_xstrdup(title);
    r->label = label ? hy_xstrdup(label) : NULL;
    return r;
}

void hy_report_free(hy_report *r) {
    if (!r) return;
    free(r->body.s);
    free(r->title);
    free(r->label);
    free(r);
}

// ---------------------------------------------------------------------------------------------------- text
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

void hy_report_section(hy_report *r, const char *heading) { element(flow(r), "h2", heading, strlen(heading)); }

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
        hy_buf_printf(b, "<th colspan=\"%d\">", span);
        escape(b, c[i].group ? c[i].group : "");
        hy_buf_printf(b, "</th>");
    }
    hy_buf_printf(b, "</tr>\n");
}

void hy_report_table(hy_report *r, const char *caption, const hy_report_column *c, int n, const char *const *cells,
                     int n_rows) {
    hy_buf *b = flow(r);
    hy_buf_printf(b, "<div class=\"wide\"><table>");
    if (caption) element(b, "caption", caption, strlen(caption));
    hy_buf_printf(b, "<thead>\n");
    group_row(b, c, n);
    hy_buf_printf(b, "<tr>");
    for (int i = 0; i < n; i++) {
        hy_buf_printf(b, "<th%s>", c[i].number ? " class=\"n\"" : "");
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
            hy_buf_printf(b, "<td%s>", c[i].number ? (cell ? " class=\"n\"" : " class=\"n none\"") : "");
            escape(b, cell ? cell : c[i].number ? "-" : "");
            hy_buf_printf(b, "</td>");
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

hy_status hy_report_figure(hy_report *r, const char *svg_path, const char *caption) {
    char *svg;
    size_t n;
    HY_TRY(hy_file_read(svg_path, (size_t)64 << 20, &svg, &n));
    const char *start = strstr(svg, "<svg");
    if (!start) {
        free(svg);
        return hy_error(HY_EINPUT, "%s: is not an SVG picture", svg_path);
    }
    hy_buf *b = flow(r);
    char *title = strstr(svg, "<title>Gnuplot</title>");
    hy_buf_printf(b, "<figure>\n");
    if (title) {  // a reader who points at the picture should see its caption
        *title = 0;
        copy_svg(b, start, ++r->figures);
        element(b, "title", caption, strlen(caption));
        copy_svg(b, title + strlen("<title>Gnuplot</title>"), r->figures);
    } else {
        copy_svg(b, start, ++r->figures);
    }
    hy_buf_printf(b, "<figcaption><b>Figure %d.</b> ", r->figures);
    escape(b, caption);
    hy_buf_printf(b, "</figcaption></figure>\n");
    free(svg);
    return HY_OK;
}

#define PAGE_HEAD "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\""

hy_status hy_report_try(const char *path) { return hy_outfile_try_over(path, PAGE_HEAD, "page of hylab"); }

hy_status hy_report_write(const hy_report *r, const char *path) {
    hy_buf page = {0};
    hy_buf_printf(&page, PAGE_HEAD " content=\"width=device-width, initial-scale=1\">\n");
    element(&page, "title", r->title, strlen(r->title));
    hy_buf_printf(&page, "<style>\n%s</style></head><body>\n<h1>", css);
    escape(&page, r->title);
    if (r->label) {
        hy_buf_printf(&page, "<span class=\"label\">");
        escape(&page, r->label);
        hy_buf_printf(&page, "</span>");
    }
    hy_buf_printf(&page, "</h1>\n");
    if (r->body.n) hy_buf_write(&page, r->body.s, r->body.n);
    hy_buf_printf(&page, "%s</body></html>\n", r->in_facts ? "</dl>\n" : "");
    hy_status s = hy_file_write(path, page.s, page.n);
    free(page.s);
    return s;
}
