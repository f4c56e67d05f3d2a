// test_figures.c - every kind of figure is drawn from made-up figures in every format, with names that try to break the
// script; a missing or failing gnuplot is a clear error; an older picture survives a failure. Needs gnuplot.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/figure/figures.h"
#include "analysis/report/report.h"
#include "analysis/report/report_page.h"
#include "core/base/utf8.h"
#include "tests/unit/figure_reader.h"

static char dir[] = "/tmp/hylab-figures-XXXXXX";
// Quotes, a command substitution, markup of gnuplot's enhanced text and of XML.
static const char *const names[] = {"Llama", "it's \"B\" `touch pwned` <&>", "C_1^2 {/Bold x} @y \\n",
                                    "Größe 50% 50%d %s \n\x01\xff\xef\xbf\xbf", ""};
enum { N = 5 };
static const hy_fig_head head = {
    "Recall <&> \"cache\" 'MQAR' `touch pwned` \\",
    15,
    2,
    3,
    "small scale",
    "a long note that needs more than one line because it tells everything there is to know about the figures, their "
    "units, how often they were measured and what the bars are; tail"};

static int setup(void **state) {
    (void)state;
    return mkdtemp(dir) ? chdir(dir) : -1;
}

static int teardown(void **state) {
    (void)state;
    char *cmd = hy_asprintf("rm -rf '%s'", dir);
    int rc = chdir("/") || system(cmd);
    free(cmd);
    return rc;
}

// Balanced tags, quoted attributes: what a simple reader of XML needs.
static void assert_well_formed(const char *xml) {
    const char *stack[256];
    size_t length[256];
    int depth = 0;
    for (const char *c = strchr(xml, '<'); c; c = strchr(c, '<')) {
        if (!strncmp(c, "<!--", 4))
            c = strstr(c, "-->");
        else if (!strncmp(c, "<![CDATA[", 9))
            c = strstr(c, "]]>");
        if (!c) fail_msg("unfinished comment");
        if (c[0] != '<') continue;
        const char *end = c;
        for (char quote = 0; *end && (quote || *end != '>'); end++) {
            if (quote && *end == quote)
                quote = 0;
            else if (!quote && (*end == '"' || *end == '\''))
                quote = *end;
            if (end > c && *end == '<') fail_msg("< inside a tag: %.60s", c);
        }
        if (!*end) fail_msg("unfinished tag: %.60s", c);
        if (c[1] == '/') {
            size_t n = strcspn(c + 2, "> \t\r\n");
            if (depth == 0 || n != length[depth - 1] || strncmp(c + 2, stack[depth - 1], n))
                fail_msg("closes what is not open: %.60s", c);
            depth--;
        } else if (c[1] != '!' && c[1] != '?' && end[-1] != '/') {
            assert_true(depth < 256);
            stack[depth] = c + 1;
            length[depth++] = strcspn(c + 1, "> \t\r\n");
        }
        c = end;
    }
    if (depth) fail_msg("not closed: %.60s", stack[depth - 1]);
}

// UTF-8 of characters that XML has.
static void assert_characters(const char *xml, size_t n) {
    assert_int_equal(hy_utf8_bad(xml, n), n);
    assert_null(strstr(xml, "\xef\xbf\xbf"));
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)xml[i] < ' ' && !strchr("\t\r\n", xml[i])) fail_msg("byte %d at %zu", xml[i], i);
}

static void assert_drawn(const char *name) {
    static const char *const ext[] = {"svg", "png", "pdf"}, *const magic[] = {"<?xml", "\x89PNG\r\n", "%PDF-"};
    for (int i = 0; i < 3; i++) {
        char *path = hy_asprintf("out/%s.%s", name, ext[i]), *data;
        size_t n;
        if (hy_file_read(path, 1 << 24, &data, &n)) fail_msg("%s", hy_error_text());
        assert_true(n > 1000 && !memcmp(data, magic[i], strlen(magic[i])));
        if (i == 0) assert_well_formed(data);
        if (i == 0) assert_characters(data, n);
        if (i == 0 && strcmp(name, "again")) assert_non_null(strstr(data, "15 runs, 2 to 3 seeds each; small scale"));
        free(data);
        free(path);
    }
    assert_false(hy_file_exists("pwned") || hy_file_exists("out/pwned"));
}

static hy_fig_out to(const char *name) { return (hy_fig_out){"out", name, HY_FIG_SVG | HY_FIG_PNG | HY_FIG_PDF}; }
#define DRAW(call, name)                           \
    do {                                           \
        hy_fig_out o = to(name);                   \
        if (call) fail_msg("%s", hy_error_text()); \
        assert_drawn(name);                        \
    } while (0)

static void test_points(void **state) {
    (void)state;
    hy_fig_point p[N];
    for (int i = 0; i < N; i++)
        p[i] = (hy_fig_point){
            names[i], pow(7, i), 0.2 * i, i % 2 ? 0.2 * i - 0.02 : NAN, 0.2 * i + 0.03, i == 3 ? NAN : 100.0 * i};
    p[4].y = NAN;  // left out
    hy_fig_axis x = {"cache, MB", true, NAN, NAN, 0}, y = {"accuracy", false, NAN, NAN, 0};
    DRAW(hy_fig_points(&o, &head, &x, &y, "tokens/s", p, N), "points");
    DRAW(hy_fig_points(&o, &head, &x, &y, NULL, p, 1), "one-point");
    hy_fig_out o = to("none");
    assert_int_equal(hy_fig_points(&o, &head, &x, &y, NULL, p + 4, 1), HY_EINPUT);
    assert_int_equal(hy_fig_points(&o, &head, &x, &y, NULL, p, 0), HY_EINPUT);
}

static void test_bars_and_stacks(void **state) {
    (void)state;
    double v[3] = {0.3, 0.5, 0.4}, layers[6] = {1, 2, 0, 4, 5, 6};
    hy_fig_bar b[N * 2];
    for (int i = 0; i < N * 2; i++)
        b[i] = (hy_fig_bar){i == 3 ? NAN : 0.1 * i, i == 2 ? NAN : 0.1 * i - 0.05, 0.1 * i + 0.05, i % 3 ? v : NULL,
                            i % 3 ? 3 : 0};
    hy_fig_axis y = {"recall", false, 0, 1.05, 0};
    DRAW(hy_fig_bars(&o, &head, &y, names, N, names, 2, b), "bars");
    DRAW(hy_fig_bars(&o, &head, &y, names, N, names, 1, b), "single");
    hy_fig_stack s[N];
    for (int i = 0; i < N; i++) s[i] = (hy_fig_stack){names[i], i == 4 ? 0 : 3, layers};
    DRAW(hy_fig_stacks(&o, &head, "layer", "cache, kB", names, 2, false, s, N), "stacks");
    DRAW(hy_fig_stacks(&o, &head, "layer", "cache, kB", names, 2, true, s, 2), "own-scale");
}

static void test_lines(void **state) {
    (void)state;
    enum { MANY = 60 };
    double x[MANY], y[MANY], lo[MANY], hi[MANY];
    for (int i = 0; i < MANY; i++)
        x[i] = i, y[i] = i == 7 ? NAN : 5 / (1.0 + i), lo[i] = 0.8 * y[i], hi[i] = 1.2 * y[i];
    hy_fig_series s[3] = {
        {names[0], 0, MANY, x, y, lo, hi}, {names[1], 9, 4, x, y, lo, hi}, {names[2], 2, 0, x, y, NULL, NULL}};
    hy_fig_panel p[2] = {{names[1], {"step", false, NAN, NAN, 0}, {"loss, nats", true, NAN, NAN, 0}, s, 3},
                         {"b", {"context, tokens", true, NAN, NAN, 0}, {"tokens/s", false, 0, NAN, 0}, s, 2}};
    DRAW(hy_fig_lines(&o, &head, p, 2), "lines");
    DRAW(hy_fig_lines(&o, &head, p, 1), "curve");
    hy_fig_panel many[5];  // in two rows
    for (int i = 0; i < 5; i++) many[i] = p[i % 2];
    DRAW(hy_fig_lines(&o, &head, many, 5), "rows");
    hy_fig_out o = to("none");
    p[0].series = s + 2;
    p[0].n_series = 1;
    assert_int_equal(hy_fig_lines(&o, &head, p, 1), HY_EINPUT);
}

static void test_maps_and_heat(void **state) {
    (void)state;
    enum { S = 9 };
    float a[S * S];
    double v[6] = {0, 0.2, NAN, 0.6, 0.8, 1};
    for (int i = 0; i < S * S; i++) a[i] = i % S > i / S ? NAN : (float)exp(-(i % S));
    hy_fig_map m[4] = {{names[1], 2, hy_fig_map_whole(S), a},
                       {names[2], 0, hy_fig_map_whole(S), a},
                       {names[0], 0, hy_fig_map_whole(S), NULL},
                       {names[3], 0, hy_fig_map_whole(1), a}};
    DRAW(hy_fig_maps(&o, &head, "share", true, 1e-4, 2, 2, m), "maps");
    DRAW(hy_fig_maps(&o, &head, "share", false, 0, 1, 1, m), "map");
    DRAW(hy_fig_heat(&o, &head, "length", "depth", "accuracy", 0, 1, names, 3, names + 1, 2, v), "heat");
    enum { WIDE = 40 };  // columns too narrow for numbers: every eighth is named
    double wide[WIDE];
    char number[WIDE][12];
    const char *columns[WIDE];
    for (int i = 0; i < WIDE; i++) wide[i] = i, snprintf(number[i], sizeof number[i], "%d", i), columns[i] = number[i];
    DRAW(hy_fig_heat(&o, &head, "meta token", "prompt", "share", 0, WIDE, columns, WIDE, names, 1, wide), "wide");
    assert_int_equal(system("grep -q \"xtics.*('0' 0, '8' 8, '16' 16, '24' 24, '32' 32)\" out/wide.gp"), 0);
    assert_int_equal(system("grep -q 'with labels' out/heat.gp && ! grep -q 'with labels' out/wide.gp"), 0);
}

// The script beside the figure draws it again by itself.
static void test_drawn_again(void **state) {
    (void)state;
    if (system("cd out && cp points.gp again.gp && for f in svg png pdf; do gnuplot -e \"FORMAT='$f'; OUT='again.$f'\" "
               "again.gp || exit 1; done"))
        fail_msg("gnuplot failed on a script of ours");
    assert_drawn("again");
}

// All texts of up to `most` of these characters, each as one of n parts.
static const char *const letters[] = {"a", "2", " ", "_", ".", "-", "+", "é", "窗"};
enum { LETTERS = sizeof letters / sizeof *letters };
static char **texts_of(int most, int *n) {
    char **all = hy_xcalloc(20000, sizeof *all);
    *n = 1;
    all[0] = hy_xstrdup("");
    for (int length = 1, from = 0, to = 1; length <= most; length++, from = to, to = *n)
        for (int i = from; i < to; i++)
            for (int k = 0; k < LETTERS; k++) all[(*n)++] = hy_asprintf("%s%s", all[i], letters[k]);
    return all;
}
static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static void assert_all_differ(char **names_of, int n) {
    qsort(names_of, (size_t)n, sizeof *names_of, compare);
    for (int i = 1; i < n; i++)
        if (!strcmp(names_of[i - 1], names_of[i])) fail_msg("two are called %s", names_of[i]);
    for (int i = 0; i < n; i++) free(names_of[i]);
    free(names_of);
}

static void test_names_of_files(void **state) {
    (void)state;
    int n, m, k = 0;
    char **one = texts_of(4, &n), **two = texts_of(2, &m), **names_of = hy_xcalloc((size_t)n, sizeof *names_of);
    for (int i = 0; i < n; i++) names_of[i] = hy_fig_name((const char *[]){"maps", one[i]}, 2, false);
    assert_all_differ(names_of, n);
    names_of = hy_xcalloc((size_t)m * (size_t)m, sizeof *names_of);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++) names_of[k++] = hy_fig_name((const char *[]){"maps", two[i], two[j]}, 3, false);
    assert_all_differ(names_of, k);
    for (int i = 0; i < n; i++) free(one[i]);
    for (int i = 0; i < m; i++) free(two[i]);
    free(one), free(two);
    // long names differ where they differ, and are no longer than a file system takes; broken UTF-8 is escaped
    hy_buf a = {0}, b = {0};
    for (int i = 0; i < 200; i++) hy_buf_printf(&a, "窗"), hy_buf_printf(&b, "窗");
    hy_buf_printf(&a, "a"), hy_buf_printf(&b, "b");
    char *x = hy_fig_name((const char *[]){"maps", a.s}, 2, false),
         *y = hy_fig_name((const char *[]){"maps", b.s}, 2, false);
    assert_string_not_equal(x, y);
    assert_true(strlen(x) <= 160 && !strncmp(x, "maps-窗窗", 11));
    free(x), free(y), free(a.s), free(b.s);
    x = hy_fig_name((const char *[]){"maps", "a/../b\xff \u200e"}, 2, false);
    assert_string_equal(x, "maps-a.2f.2e.2e.2fb.ff_.e2.80.8e");
    free(x);
}

// Names that file systems without case (or with one Unicode form) take for one are told apart by their hashes.
static void test_alike_names(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool alike;
    } cases[] = {{"Mamba", "mamba", true},  {"\u00c9tude", "e\u0301tude", true},
                 {"\u00df", "SS", true},    {"A-b c", "a-B C", true},
                 {"Mamba", "Mamba", false}, {"Mamba", "Mamba2", false},
                 {"x y", "x_y", false},     {"\u7a93\u53e3", "\u5168\u5c40", false},
                 {"a\xff", "A\xff", true},  {"\u304c", "\u304b\u3099", true},
                 {"", " ", false},          {"a\xfe", "a\xff", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (hy_fig_alike(cases[i].a, cases[i].b) != cases[i].alike) fail_msg("%s and %s", cases[i].a, cases[i].b);
    char *a = hy_fig_name((const char *[]){"maps", "Mamba"}, 2, true),
         *b = hy_fig_name((const char *[]){"maps", "mamba"}, 2, true);
    assert_true(!strncmp(a, "maps-Mamba..", 12) && strlen(a) == 28 && !strncmp(b, "maps-mamba..", 12));
    assert_string_not_equal(a + 12, b + 12);
    free(a), free(b);
    hy_buf x = {0};  // both long and alike
    for (int i = 0; i < 200; i++) hy_buf_printf(&x, "x");
    a = hy_fig_name((const char *[]){"maps", x.s}, 2, true);
    assert_true(strlen(a) == 160);
    free(a), free(x.s);
}

// ---------------------------------------------------------------------------------------------------- axes
// How many tics of an axis have labels, all different and, unless it is a power of ten or two, the numbers they stand
// at.
static int labelled(const char *tics) {
    char label[64][32];
    int n = 0;
    const char *c = strchr(tics, '(');
    for (; c && (c = strchr(c, '\'')); n++) {
        assert_true(n < 64);
        c = r_quoted(c, label[n], sizeof label[n]);
        char *unit;
        double shown = strtod(label[n], &unit);
        shown *= *unit == 'k' ? 1e3 : *unit == 'M' ? 1e6 : 1;
        if (fabs(shown - strtod(c, NULL)) > 1e-9 * fabs(shown)) fail_msg("%s", tics);
        for (int i = 0; i < n; i++)
            if (!strcmp(label[i], label[n])) fail_msg("twice %s: %s", label[n], tics);
    }
    return n;
}

// Whatever the range: a logarithmic axis stays one, with tics enough to read it by.
static void test_axes(void **state) {
    (void)state;
    static const double range[][2] = {{13000, 21000}, {6, 7.5},      {38.4, 38.4}, {1.9, 38},    {1e-3, 1e3},
                                      {0.011, 0.012}, {120, 400000}, {1e6, 1.3e6}, {1e-9, 1e20}, {99, 101}};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        const hy_fig_point p[] = {{"a", range[i][0], range[i][0], NAN, NAN, NAN},
                                  {"b", range[i][1], range[i][1], NAN, NAN, NAN}};
        const hy_fig_axis x = {"x", true, NAN, NAN, 0}, y = {"y", true, NAN, NAN, 0};
        const hy_fig_out o = {"out", "axes", HY_FIG_SVG};
        assert_int_equal(hy_fig_points(&o, &head, &x, &y, NULL, p, 2), HY_OK);
        r_figure *f = r_read("out", "axes", false);
        assert_true(f->panel[0].x_log && f->panel[0].y_log);
        const int nx = labelled(f->panel[0].xtics), ny = labelled(f->panel[0].ytics);
        if (nx < 3 || ny < 3 || nx > 14) fail_msg("%g to %g: %d tics", range[i][0], range[i][1], nx);
        if (range[i][0] == 1e-9) {  // long labels would push that of the axis out of the picture
            if (!strstr(f->panel[0].ytics, "'1e-")) fail_msg("%s", f->panel[0].ytics);
            assert_null(strstr(f->panel[0].ytics, "'1e-0"));
        }
        r_free(f);
    }
    // contexts: powers of two where two of them are in the range; numbers of steps: no label is rounded
    static const double context[][2] = {{8, 8}, {128, 8192}, {100, 150}, {1000, 1000}};
    for (int i = 0; i < 4; i++) {
        const double v[] = {1.2e6, 2.95e6};
        const hy_fig_series s = {"a", 0, 2, context[i], v, NULL, NULL};
        const hy_fig_panel q = {
            NULL, {"context", true, NAN, NAN, HY_TICS_POWERS_OF_2}, {"step", false, 0, NAN, 0}, &s, 1};
        const hy_fig_out o = {"out", "axes", HY_FIG_SVG};
        assert_int_equal(hy_fig_lines(&o, &head, &q, 1), HY_OK);
        r_figure *f = r_read("out", "axes", false);
        assert_true(labelled(f->panel[0].xtics) >= (i == 0 ? 1 : 2) && labelled(f->panel[0].ytics) >= 4);
        if (i == 1) assert_non_null(strstr(f->panel[0].xtics, "'128' 128"));
        r_free(f);
    }
}

// An error bar that reaches zero or below leaves a logarithmic figure; the axis is none the less logarithmic.
static void test_bars_below_zero(void **state) {
    (void)state;
    const hy_fig_point p[] = {{"a", 1, 5, -2, 12, NAN}, {"b", 2, 50, 40, 60, NAN}};
    const hy_fig_axis x = {"x", false, NAN, NAN, 0}, y = {"y", true, NAN, NAN, 0};
    const hy_fig_out o = {"out", "zero", HY_FIG_SVG};
    assert_int_equal(hy_fig_points(&o, &head, &x, &y, NULL, p, 2), HY_OK);
    r_figure *f = r_read("out", "zero", false);
    assert_true(f->panel[0].y_log && strstr(f->script, "LOW(v) = v > 0 ? v : 1e-30"));
    assert_int_equal(r_count(f, "vectors"), 2);
    r_near(f->block[0].v[0][2], -2, "the data has the bar as it is");
    r_free(f);
}

// Names with a family in common: one colour, one entry in the legend, a line through them in order of x.
static void test_families(void **state) {
    (void)state;
    const hy_fig_point p[] = {{"full", 9, 90, NAN, NAN, NAN},          {"Mamba: 16 states", 4, 40, 35, 45, NAN},
                              {"Mamba: 4 states", 1, 10, 8, 12, NAN},  {"Mean: a", 2, 20, NAN, NAN, NAN},
                              {"Mamba: 8 states", 2, 30, 20, 40, NAN}, {"Mean: b", NAN, 20, NAN, NAN, NAN}};
    const double line[3][2] = {{1, 10}, {2, 30}, {4, 40}};
    const hy_fig_axis x = {"x", true, NAN, NAN, 0}, y = {"y", false, NAN, NAN, 0};
    const hy_fig_out o = {"out", "families", HY_FIG_SVG | HY_FIG_PNG};
    assert_int_equal(hy_fig_points(&o, &head, &x, &y, NULL, p, 6), HY_OK);
    r_figure *f = r_read("out", "families", false);
    assert_int_equal(f->n_blocks, 1 + 5);  // one line; five points have both figures
    assert_int_equal(f->block[0].n, 3);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) r_near(f->block[0].v[i][k], line[i][k], "the family's line");
    const int full = r_legend(f, "full"), mamba = r_legend(f, "Mamba"), mean = r_legend(f, "Mean: a");
    assert_true(full == 0 && mamba == 1 && mean == 2);
    assert_int_equal(r_legend(f, "Mamba: 8 states"), -1);
    r_says(f->script, "set label '16 states' at first 4, first 40");
    assert_null(strstr(f->script, "set label 'a'"));  // a family of one is none
    int of_mamba = 0;
    for (int i = 0; i < f->n_elements; i++) of_mamba += f->element[i].colour == mamba && !*f->element[i].title;
    assert_int_equal(of_mamba, 1 + 2 * 3);  // its line, and a bar and a point each
    r_free(f);
}

// Layers stand beside the axis, not on it; kinds that no bar shows are not in the legend.
static void test_layers_and_kinds(void **state) {
    (void)state;
    const double x[] = {0, 1, 2}, y[] = {3, 4, 5}, bars[] = {1, 0, 2, 3, 0, 0};
    static const char *const kinds[] = {"KV", "meta", "state"};
    const hy_fig_series s = {"a", 0, 3, x, y, NULL, NULL};
    const hy_fig_panel q = {NULL, {"layer", false, NAN, NAN, HY_TICS_WHOLE}, {"y", false, 0, NAN, 0}, &s, 1};
    hy_fig_out o = {"out", "layers", HY_FIG_SVG};
    assert_int_equal(hy_fig_lines(&o, &head, &q, 1), HY_OK);
    r_figure *f = r_read("out", "layers", false);
    r_says(f->script, "set xrange [-0.5:2.5]");
    r_free(f);
    const hy_fig_stack stack = {"v", 2, bars};
    assert_int_equal(hy_fig_stacks(&o, &head, "layer", "kB", kinds, 3, false, &stack, 1), HY_OK);
    f = r_read("out", "layers", false);
    assert_int_equal(r_legend(f, "KV"), 0);
    assert_int_equal(r_legend(f, "meta"), -1);
    assert_int_equal(r_legend(f, "state"), 2);
    r_free(f);
}

// Long names are cut at the same width and stay different; wide characters count twice.
static void test_long_names(void **state) {
    (void)state;
    hy_buf a = {0}, b = {0};
    for (int i = 0; i < 300; i++) hy_buf_printf(&a, "\u7a93"), hy_buf_printf(&b, "\u7a93");
    hy_buf_printf(&b, "b");
    const hy_fig_point p[] = {{a.s, 1, 1, NAN, NAN, NAN}, {b.s, 2, 2, NAN, NAN, NAN}, {"", 3, 3, NAN, NAN, NAN}};
    const hy_fig_axis x = {"x", false, NAN, NAN, 0};
    const hy_fig_out o = {"out", "long", HY_FIG_SVG};
    assert_int_equal(hy_fig_points(&o, &head, &x, &x, NULL, p, 3), HY_OK);
    r_figure *f = r_read("out", "long", false);
    const char *title[3] = {0};
    for (int i = 0, n = 0; i < f->n_elements; i++)
        if (*f->element[i].title) title[n++] = f->element[i].title;
    assert_string_not_equal(title[0], title[1]);
    assert_true(strlen(title[0]) == 25 * 3 + 3 + 9);  // 50 columns, the dots, the hash
    r_equal(title[2], "(no name)");
    r_free(f);
    // gnuplot cuts what stands at a tic and has a percent sign after 48 bytes
    static const char *const tic[] = {"50 % of all the heads are attention heads, layers 0 to 7",
                                      "50 % of all the heads are attention heads, layers 0 to 9"};
    const hy_fig_axis y = {"y", false, 0, 1, 0};
    const hy_fig_bar bars[] = {{0.5, NAN, NAN, NULL, 0}, {0.6, NAN, NAN, NULL, 0}};
    assert_int_equal(hy_fig_bars(&o, &head, &y, tic, 2, NULL, 1, bars), HY_OK);
    f = r_read("out", "long", false);
    char first[R_TEXT], second[R_TEXT];
    r_quoted(strchr(r_quoted(strchr(f->panel[0].xtics, '\''), first, R_TEXT), '\''), second, R_TEXT);
    assert_true(strlen(first) <= 48 && strlen(second) <= 48 && strcmp(first, second));
    r_free(f);
    free(a.s), free(b.s);
}

// ---------------------------------------------------------------------------------------------------- settings, files
static char *drawn_with(const char *name) {
    hy_plot p = {.width = 300, .height = 200};
    hy_buf_printf(&p.script, "set title 'a_1'\nplot DATA using 1:2 with linespoints title 'b'\n");
    hy_buf_printf(&p.data, "1 1.5\n2 2.5\n3 4\n");
    const hy_fig_out o = {"out", name, HY_FIG_SVG};
    if (hy_plot_draw(&p, &o)) fail_msg("%s", hy_error_text());
    hy_plot_free(&p);
    char *svg, *path = hy_asprintf("out/%s.svg", name);
    size_t n;
    assert_int_equal(hy_file_read(path, 1 << 20, &svg, &n), HY_OK);
    free(path);
    return svg;
}

// No setting of the user counts: neither when hylab draws nor when somebody draws again by the script.
static void test_settings(void **state) {
    (void)state;
    static const char *const rc[] = {"set grid",
                                     "set datafile separator ','",
                                     "set xdata time",
                                     "set logscale y",
                                     "set decimalsign ','",
                                     "set key bottom; set title 'mine'",
                                     "set terminal dumb; set output 'elsewhere'",
                                     "set encoding iso_8859_1; set multiplot",
                                     "set datafile missing '2.5'; set datafile commentschars '1'",
                                     "quit"};
    static const char *const env[] = {"GNUTERM",     "dumb", "GNUPLOT_LIB", "/nowhere",   "LC_ALL",
                                      "de_DE.UTF-8", "LANG", "tr_TR.UTF-8", "LC_NUMERIC", "de_DE.UTF-8"};
    char *before = drawn_with("mine"), *home = hy_xstrdup(getenv("HOME") ? getenv("HOME") : "");
    assert_int_equal(hy_mkdirs("home"), HY_OK);
    setenv("HOME", "home", 1);
    for (size_t i = 0; i < sizeof rc / sizeof *rc; i++) {
        assert_int_equal(hy_file_write("home/.gnuplot", rc[i], strlen(rc[i])), HY_OK);
        char *after = drawn_with("mine");
        if (strcmp(before, after)) fail_msg("obeyed: %s", rc[i]);
        free(after);
        if (i > 6) continue;  // these settings survive a reset
        if (system("cd out && HOME=../home gnuplot -e \"FORMAT='svg'; OUT='mine.svg'\" mine.gp")) fail_msg("%s", rc[i]);
        size_t n;
        assert_int_equal(hy_file_read("out/mine.svg", 1 << 20, &after, &n), HY_OK);
        if (strcmp(before, after)) fail_msg("obeyed by the script: %s", rc[i]);
        free(after);
    }
    setenv("HOME", home, 1);
    for (size_t i = 0; i < sizeof env / sizeof *env; i += 2) setenv(env[i], env[i + 1], 1);
    char *after = drawn_with("mine");
    assert_string_equal(before, after);
    for (size_t i = 0; i < sizeof env / sizeof *env; i += 2) unsetenv(env[i]);
    free(before), free(after), free(home);
}

// What stands in the folder and is not ours stays.
static void test_files_of_others(void **state) {
    (void)state;
    static const char *const ext[] = {"svg", "dat", "gp"};
    hy_plot p = {.width = 300, .height = 200};
    hy_buf_printf(&p.script, "plot sin(x)\n");
    const hy_fig_out o = {"out", "theirs", HY_FIG_SVG};
    for (int i = 0; i < 3; i++) {
        char *path = hy_asprintf("out/theirs.%s", ext[i]), *data;
        size_t n;
        assert_int_equal(hy_file_write(path, "mine", 4), HY_OK);
        assert_int_equal(hy_plot_draw(&p, &o), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), path));
        assert_int_equal(hy_file_read(path, 100, &data, &n), HY_OK);
        assert_string_equal(data, "mine");
        for (int k = 0; k < 3; k++) {
            char *other = hy_asprintf("out/theirs.%s", ext[k]);
            assert_int_equal(hy_file_exists(other), k == i);
            free(other);
        }
        unlink(path);
        free(path), free(data);
    }
    assert_int_equal(hy_file_write("out/theirs.png", "mine", 4), HY_OK);  // not drawn: not in the way
    assert_int_equal(hy_plot_draw(&p, &o), HY_OK);
    assert_int_equal(hy_plot_draw(&p, &o), HY_OK);  // our own is replaced
    hy_plot_free(&p);
}

static void test_failures(void **state) {
    (void)state;
    hy_plot p = {.width = 300, .height = 200};
    hy_fig_out o = to("bad");
    hy_buf_printf(&p.script, "plot sin(x)\n");
    assert_int_equal(hy_plot_draw(&p, &o), HY_OK);
    char *before, *after;
    size_t n, m;
    assert_int_equal(hy_file_read("out/bad.svg", 1 << 20, &before, &n), HY_OK);
    hy_buf_printf(&p.script, "plot nosuchfunction(x)\n");
    assert_int_equal(hy_plot_draw(&p, &o), HY_EFAIL);
    assert_non_null(strstr(hy_error_text(), "bad.svg"));
    assert_non_null(strstr(hy_error_text(), "nosuchfunction"));
    assert_int_equal(hy_file_read("out/bad.svg", 1 << 20, &after, &m), HY_OK);
    assert_true(m == n && !memcmp(before, after, n));
    free(before), free(after);
    o.name = "../x";
    assert_int_equal(hy_plot_draw(&p, &o), HY_EINPUT);
    unsigned f;
    assert_int_equal(hy_fig_formats_parse("svg,pdf", &f), HY_OK);
    assert_int_equal(f, HY_FIG_SVG | HY_FIG_PDF);
    assert_int_equal(hy_fig_formats_parse("svg,jpg", &f), HY_EINPUT);
    assert_int_equal(hy_fig_formats_parse("", &f), HY_EINPUT);
    char *path = hy_xstrdup(getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(hy_gnuplot_check(), HY_EFAIL);
    assert_non_null(strstr(hy_error_text(), "apt-get install gnuplot-nox"));
    setenv("PATH", path, 1);
    free(path);
    hy_plot_free(&p);
}

// ---------------------------------------------------------------------------------------------------- report
static int count(const char *text, const char *what) {
    int n = 0;
    for (const char *c = text; (c = strstr(c, what)); c++) n++;
    return n;
}

static void test_report(void **state) {
    (void)state;
    hy_report *r = hy_report_new("Roadmap <script>alert(1)</script>", "small scale");
    const hy_report_column col[] = {{NULL, "variant", NULL, false},
                                    {"here", "recall", "%", true},
                                    {"here", "cache <b>", "MB", true},
                                    {"paper", "recall", "%", true}};
    const char *cells[] = {names[1], "99.0 ± 0.1", "3.2", "39.98", "Mamba", NULL, "0.1", NULL};
    hy_report_section(r, "Question & answer");
    hy_report_text(r, "First <p>.\n\nSecond:\n- one\n- two & three\n\nLast.");
    hy_report_table(r, "means", col, 4, cells, 2);
    hy_report_code(r, "recipe", "lr: 1e-3 # <x>\n");
    hy_report_fact(r, "commit", "abc");
    hy_report_fact(r, "device", "a & b");
    hy_report_row(r, 2);
    if (hy_report_figure(r, "out/points.svg", names[1], "accuracy <1>") ||
        hy_report_figure(r, "out/maps.svg", names[2], "maps"))
        fail_msg("%s", hy_error_text());
    assert_int_equal(hy_report_figure(r, "out/points.png", NULL, "no"), HY_EINPUT);
    assert_int_equal(hy_report_figure(r, "out/missing.svg", NULL, "no"), HY_EINPUT);
    assert_int_equal(hy_report_write(r, "out/report.html"), HY_OK);
    hy_report_free(r);
    char *html;
    size_t n;
    assert_int_equal(hy_file_read("out/report.html", 1 << 24, &html, &n), HY_OK);
    char *body = strstr(html, "<body>");
    assert_non_null(body);
    *strstr(body, "</html>") = 0;  // opened before
    assert_well_formed(body);
    assert_int_equal(count(html, "<script"), 0);
    assert_int_equal(count(html, "<svg"), 2);
    assert_int_equal(count(strstr(html, "</nav>"), "<li>"), 2);
    assert_int_equal(count(html, "<p>"), 3);
    assert_int_equal(count(html, "<dl>"), count(html, "</dl>"));
    // nothing is loaded from elsewhere, and no two symbols share a name
    assert_int_equal(count(html, "http"), count(html, "xmlns=\"http") + count(html, "xmlns:xlink=\"http"));
    assert_int_equal(count(html, "id='gp") + count(html, "href='#gp"), 0);
    assert_true(count(html, "id='f1-gp") > 0 && count(html, "id='f2-gp") > 0);
    free(html);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),      cmocka_unit_test(test_bars_and_stacks),
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_maps_and_heat),
        cmocka_unit_test(test_drawn_again), cmocka_unit_test(test_names_of_files),
        cmocka_unit_test(test_report),      cmocka_unit_test(test_alike_names),
        cmocka_unit_test(test_settings),    cmocka_unit_test(test_files_of_others),
        cmocka_unit_test(test_axes),        cmocka_unit_test(test_bars_below_zero),
        cmocka_unit_test(test_families),    cmocka_unit_test(test_layers_and_kinds),
        cmocka_unit_test(test_long_names),  cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests_name("figures", tests, setup, teardown);
}
