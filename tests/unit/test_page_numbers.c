// test_page_numbers.c - the HTML page against the raw rows: table of variants, statements, definitions, provenance;
// which figure stands over which caption, under which question; links, ids, and the contrast of its colours.
#include "tests/unit/figure_fixture.h"
#include "tests/unit/figure_reader.h"

static hy_store *store;
static char *page;

// The figures of the last question first: the page must not rely on the order in which they were drawn.
static void turn_round(hy_plots *p) {
    int n = 0;
    while (n < p->n && hy_plot_kinds[p->file[n].kind].question != HY_QUESTION_GRID) n++;
    assert_true(n > 0 && n < p->n);
    hy_plot_file *all = hy_xcalloc((size_t)p->n, sizeof *all);
    for (int i = 0; i < p->n; i++) all[i] = p->file[(n + i) % p->n];
    free(p->file);
    p->file = all;
}

static int prepare(void **state) {
    if (setup(state)) return -1;
    figure_stand_in();
    store = figure_store();
    hy_summary *summary;
    OK(hy_summary_load(store, "fig", "small", "", &summary));
    hy_plots plots = {.store = store, .s = summary, .dir = g_dir, .formats = HY_FIG_SVG};
    OK(hy_plots_draw(&plots, NULL));
    turn_round(&plots);
    hy_report *r = hy_report_new("fig", "small scale");
    OK(hy_report_page(&plots, r));
    char *path = hy_asprintf("%s/page.html", g_dir);
    OK(hy_report_write(r, path));
    size_t n;
    OK(hy_file_read(path, 1 << 24, &page, &n));
    free(path);
    hy_report_free(r);
    hy_plots_free(&plots);
    hy_summary_free(summary);
    return 0;
}

static int end(void **state) {
    free(page);
    hy_store_close(store);
    return teardown(state);
}

// The text of the next element of that name from *at on, without tags and entities; false: there is none before
// `until`.
static bool next(const char **at, const char *until, const char *tag, char *out, size_t size) {
    char open[16];
    snprintf(open, sizeof open, "<%s", tag);
    const char *c = strstr(*at, open);
    static const char *const entity[] = {"&lt;", "<", "&gt;", ">", "&amp;", "&", "&#39;", "'", "&quot;", "\""};
    while (c && c[strlen(open)] != '>' && c[strlen(open)] != ' ') c = strstr(c + 1, open);
    if (!c || c > until) return false;
    c = strchr(c, '>') + 1;
    snprintf(open, sizeof open, "</%s>", tag);
    const char *stop = strstr(c, open);
    size_t n = 0;
    while (c < stop && n + 2 < size) {
        int k = 0;
        while (k < 10 && strncmp(c, entity[k], strlen(entity[k]))) k += 2;
        if (*c == '<') {
            c = strchr(c, '>') + 1;
            out[n++] = '|';
        } else if (k < 10) {
            out[n++] = *entity[k + 1];
            c += strlen(entity[k]);
        } else {
            out[n++] = *c++;
        }
    }
    out[n] = 0;
    *at = stop;
    return true;
}

// ---------------------------------------------------------------------------------------------------- the table
typedef struct {
    const char *header, *metric, *cell;
    double scale;
    int decimals;
    bool spread, held_out;
    const char *options;
} column;
static const column columns[] = {
    {"accuracy|%|", "accuracy", "", 100, 2, true, false},
    {"accuracy, held out|%|", "accuracy", "", 100, 2, true, true},
    {"loss|nats|", "loss", "", 1, 4, true, false},
    {"loss, held out|nats|", "loss", "", 1, 4, true, true},
    {"stopped after|steps|", "steps_to_reach", "", 1, 0, true, false},
    {"parameters|M|", "parameters", "", 1e-6, 3, false, false},
    {"cache, which: first|MB|", "cache_true", "", 1e-6, 3, false, false, "%first%"},
    {"cache, which: second|MB|", "cache_true", "", 1e-6, 3, false, false, "%second%"},
    {"cache, paper's way, which: first|MB|", "cache_paper", "", 1e-6, 3, false, false, "%first%"},
    {"cache, paper's way, which: second|MB|", "cache_paper", "", 1e-6, 3, false, false, "%second%"},
    {"training|tokens/s|", "throughput_train", "T256.B4", 1, 0, false, false, "%first%"},
    {"prefill|tokens/s|", "throughput_prefill", "T256.B4", 1, 0, false, false, "%first%"},
    {"decoding|tokens/s|", "throughput_decode", "T256.B4", 1, 0, false, false, "%first%"},
    {"ERF, which: first|tokens|", "erf", "", 1, 1, true, false, "%first%"},
    {"ERF, which: second|tokens|", "erf", "", 1, 1, true, false, "%second%"},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static bool value_of(int v, int t, int g, int seed, const char *metric, double *out) {
    double x[SEEDS];
    int of[SEEDS];
    const int n = raw(store, v, t, g, metric, "", x, of);
    for (int i = 0; i < n; i++)
        if (of[i] == seed) {
            *out = x[i];
            return true;
        }
    return false;
}

// For each seed the value at the point whose mean loss over the other seeds is lower.
static int held_out(int v, int t, const char *metric, double *out) {
    int n = 0;
    for (int k = 0; k < SEEDS; k++) {
        double sum[POINTS] = {0}, x;
        int others[POINTS] = {0};
        for (int g = 0; g < POINTS; g++)
            for (int j = 0; j < SEEDS; j++)
                if (j != k && value_of(v, t, g, seeds[j], "loss", &x)) sum[g] += x, others[g]++;
        assert_int_equal(others[0], others[1]);
        if (others[0] && value_of(v, t, sum[0] < sum[1] ? 0 : 1, seeds[k], metric, &x)) out[n++] = x;
    }
    return n;
}

static spread cell_of_table(int v, int t, const column *c) {
    double x[SEEDS];
    const int g = best_at(store, v, t);
    raw_options = c->options ? c->options : "%first%";
    const int n = c->held_out ? held_out(v, t, c->metric, x) : raw(store, v, t, g, c->metric, c->cell, x, NULL);
    raw_options = "%first%";
    return spread_of(x, n, false, 0);
}

static void check_row(const char **at, const char *until, int v, int t) {
    char text[256], wanted[256];
    const int g = best_at(store, v, t), done = v == 2 && t == 1 ? 2 : 3;
    const char *first[] = {variants[v], tasks[t], g ? "lr=1e-2" : "lr=1e-3", v ? "f32" : "bf16",
                           done < 3 ? "2 of 3" : "3"};
    for (int i = 0; i < 5; i++) {
        assert_true(next(at, until, i ? "td" : "th", text, sizeof text));
        r_equal(text, first[i]);
    }
    for (int i = 0; i < COLUMNS; i++) {
        const column *c = &columns[i];
        const spread a = cell_of_table(v, t, c);
        assert_true(next(at, until, "td", text, sizeof text));
        if (a.n == 0) {
            r_equal(text, "-");
            continue;
        }
        int n = snprintf(wanted, sizeof wanted, "%.*f", c->decimals, a.mean * c->scale);
        if (c->spread && a.n > 1)
            n += snprintf(wanted + n, sizeof wanted - (size_t)n, " \u00b1 %.*f", c->decimals, a.sd * c->scale);
        if (a.n != done) snprintf(wanted + n, sizeof wanted - (size_t)n, " (n = %d)", a.n);
        r_equal(text, wanted);
    }
    static const char *const paper[] = {"41.5", "3", "17.25"};
    assert_true(next(at, until, "td", text, sizeof text));
    r_equal(text, paper[v]);
}

static void test_table(void **state) {
    (void)state;
    static const char *const first[] = {"variant", "task", "best at", "precision", "seeds"};
    const char *at = strstr(page, "<table>"), *until = strstr(page, "</table>");
    char text[1024];
    assert_true(next(&at, until, "caption", text, sizeof text));
    r_says(text, "Cache: one sequence of 100 tokens");
    r_says(text, "Throughput: context 256 tokens, batch 4.");
    r_says(text, "f32 and bf16 on cuda; cpu (a gpu; a cpu)");
    r_says(text, "f the grid's 2 points, the one of the best mean loss");
    at = strstr(at, "<tr><th scope=\"col\">");
    for (int i = 0; i < 5 + COLUMNS + 1; i++) {
        assert_true(next(&at, until, "th", text, sizeof text));
        r_equal(text, i < 5 ? first[i] : i < 5 + COLUMNS ? columns[i - 5].header : "recall");
    }
    for (int t = 0; t < TASKS; t++)
        for (int v = 0; v < VARIANTS; v++) check_row(&at, until, v, t);
    assert_false(next(&at, until, "td", text, sizeof text));
    double a[SEEDS], b[SEEDS];  // the fixture must tell the columns apart
    assert_int_equal(raw(store, 0, 0, 0, "accuracy", "", a, NULL), held_out(0, 0, "accuracy", b));
    assert_true(fabs(a[0] - b[0]) > 0.01);
}

// ---------------------------------------------------------------------------------------------------- statements
static int place_in(const double *v, int n, int i) {
    int rank = 1;
    for (int k = 0; k < n; k++) rank += v[k] < v[i];
    return rank;
}

static void test_statements(void **state) {
    (void)state;
    static const double paper[] = {41.5, 3, 17.25};
    const char *at = strstr(page, "<h2 id=\"s-what-this-shows"), *until = strstr(page, "<h2 id=\"s-figures");
    char *said = hy_asprintf("%.*s", (int)(until - at), at), text[256];
    for (int t = 0; t < TASKS; t++) {
        double mean[VARIANTS], x[SEEDS], d2 = 0;
        for (int v = 0; v < VARIANTS; v++) mean[v] = spread_of(x, held_out(v, t, "accuracy", x), false, 0).mean;
        for (int v = 0; v < VARIANTS; v++) d2 += pow(place_in(mean, VARIANTS, v) - place_in(paper, VARIANTS, v), 2);
        snprintf(text, sizeof text, "of held-out accuracy on %s with the paper&#39;s recall: %.2f over n = 3 variants",
                 tasks[t], 1 - 6 * d2 / (3 * 8));
        r_says(said, text);
    }
    NUMBER(store, "SELECT count(*) FROM planned", 36);
    NUMBER(store, "SELECT count(*) FROM model WHERE status = 'done'", 34);
    r_says(said, "34 of 36 planned runs are done");
    r_says(said, "2 runs failed");
    NUMBER(store, "SELECT count(*) FROM measurement x WHERE status = 'failed' AND measure = 'erf'", 4);
    for (int g = 0; g < POINTS; g++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT id FROM model WHERE model_key = 'k10%d' AND seed = 12", g);
        snprintf(text, sizeof text, "erf of x_y on near at lr=1e-%d, seed 12 (run %lld): no memory", 3 - g,
                 (long long)number(store, sql));
        r_says(said, text);
    }
    double largest = 0;
    for (int i = 0; i < VARIANTS * TASKS * POINTS; i++)
        largest = fmax(largest, spread_at(store, i % 3, i / 3 % 2, i / 6, "parameters", "", 1e-6).mean);
    snprintf(text, sizeof text, "The largest model here has %.3g million parameters", largest);
    r_says(said, text);
    r_says(said, "fewer than 3 seeds");
    free(said);
}

// ---------------------------------------------------------------------------------------------------- the rest
// Every picture has the caption of what it shows, numbered.
static void test_captions(void **state) {
    (void)state;
    const char *at = strstr(page, "<h2 id=\"s-figures"), *until = strstr(page, "<h2 id=\"s-recipe");
    char file[256], caption[1024], number_of[32], name[1024];
    int n = 0, each = 0;
    while (next(&at, until, "title", name, sizeof name)) {
        assert_true(next(&at, until, "desc", file, sizeof file));
        assert_true(next(&at, until, "figcaption", caption, sizeof caption));
        r_says(caption, name);
        snprintf(number_of, sizeof number_of, "|Figure %d.| |", ++n);
        assert_memory_equal(caption, number_of, strlen(number_of));
        const char *said = strstr(caption, "|fig: ");  // not what the row calls it
        assert_non_null(said);
        for (int t = 0; t < TASKS; t++) {
            char *of = hy_asprintf("-%s", tasks[t]);
            if (strstr(file, of)) r_says(said, tasks[t]);
            free(of);
        }
        for (int v = 0; v < VARIANTS; v++) {
            char *of = hy_asprintf("-%s.svg", stems[v]);
            if (strstr(file, of)) r_says(said, variants[v]), each++;
            free(of);
        }
    }
    // maps, outputs, stream, importance, reach, retrieval, contributions; cells of one task; similarities and meta
    // tokens of the two variants with attention
    assert_int_equal(each, 7 * TASKS * VARIANTS + VARIANTS + 4 * TASKS);
    assert_int_equal(n, 12 * TASKS - 2 + 2 + each);
}

// The text of a heading's id, and where the next one of that level is; NULL: there is none.
static const char *heading(const char *at, int level, char *out, size_t size) {
    char open[8], name[8];
    snprintf(open, sizeof open, "<h%d ", level), snprintf(name, sizeof name, "h%d", level);
    at = strstr(at, open);
    const char *c = at;
    return at && next(&c, c + strlen(c), name, out, size) ? at : NULL;
}

static const hy_plot_kind *kind_of(const char *stem) {  // no name starts another
    for (const hy_plot_kind *k = hy_plot_kinds; k->name; k++)
        if (!strncmp(stem, k->name, strlen(k->name)) && strchr("-.", stem[strlen(k->name)])) return k;
    return NULL;
}

// Questions in the order of plots.def, each once; under each the kinds that answer it, each once, with its sentence and
// all its figures.
static void test_order(void **state) {
    (void)state;
    const char *at = strstr(page, "<h2 id=\"s-figures"), *end = strstr(page, "<h2 id=\"s-recipe");
    int before = -1, seen = 0;
    char text[1024], file[256];
    const hy_plot_kind *last = NULL;
    for (; (at = strstr(at + 1, "<desc>")) && at < end; seen++) {
        const char *d = at;
        assert_true(next(&d, end, "desc", file, sizeof file));
        const hy_plot_kind *k = kind_of(file);
        if (!k) fail_msg("%s is of no kind", file);
        if (k == last) continue;
        const char *h3 = NULL, *h4 = NULL;
        for (const char *h = page; (h = heading(h, 3, text, sizeof text)) && h < at; h++) h3 = h;
        for (const char *h = page; (h = heading(h, 4, text, sizeof text)) && h < at; h++) h4 = h;
        assert_true(h3 && h4 && h3 < h4);
        assert_true(heading(h3, 3, text, sizeof text) == h3);
        r_equal(text, hy_questions[k->question]);
        assert_true(heading(h4, 4, text, sizeof text) == h4);
        r_equal(text, k->heading);
        assert_true(next(&h4, at, "p", text, sizeof text));
        r_says(text, k->reading);
        assert_true((int)k->question >= before);
        assert_true(!last || k->question != last->question || k > last);
        before = (int)k->question, last = k;
    }
    assert_true(seen > 40 && before == HY_QUESTION_GRID);
}

// Every kind of figure says which question it answers, under which words, and how to read it in one sentence.
static void test_kinds(void **state) {
    (void)state;
    bool asked[HY_QUESTIONS] = {false};
    for (const hy_plot_kind *k = hy_plot_kinds; k->name; k++) {
        const size_t n = strlen(k->reading);
        if (!*k->heading || n < 20 || k->reading[n - 1] != '.' || strstr(k->reading, ". "))
            fail_msg("%s: \"%s\", \"%s\"", k->name, k->heading, k->reading);
        for (const hy_plot_kind *o = hy_plot_kinds; o < k; o++) {
            assert_string_not_equal(o->heading, k->heading);
            assert_string_not_equal(o->reading, k->reading);
        }
        asked[k->question] = true;
    }
    for (int q = 0; q < HY_QUESTIONS; q++) assert_true(asked[q] && *hy_questions[q]);
}

// No two things have one id; every link within the page, and every name of a picture, leads to one that is there; the
// contents list all headings, and every figure of a row, once and in their order.
static void test_links(void **state) {
    (void)state;
    static const char *const refs[] = {" href=\"#", " aria-labelledby=\""};
    char id[96], wanted[128];
    int n = 0;
    for (const char *at = page; (at = strstr(at, " id=\"")); at++, n++) {
        snprintf(id, sizeof id, " id=\"%.*s\"", (int)strcspn(at + 5, "\""), at + 5);
        if (strstr(at + 1, id)) fail_msg("twice%s", id);
    }
    assert_true(n > 100);
    for (int i = 0; i < 2; i++)
        for (const char *at = page; (at = strstr(at, refs[i])); at++) {
            const char *to = at + strlen(refs[i]);
            snprintf(wanted, sizeof wanted, " id=\"%.*s\"", (int)strcspn(to, "\""), to);
            if (!strstr(page, wanted)) fail_msg("nothing has%s", wanted);
        }
    const char *nav = strstr(page, "<nav "), *stop = strstr(page, "</nav>"), *last = stop;
    int listed = 0, headings = 0;
    for (const char *at = nav; (at = strstr(at, " href=\"#")) && at < stop; at++, listed++) {
        snprintf(wanted, sizeof wanted, " id=\"%.*s\"", (int)strcspn(at + 8, "\""), at + 8);
        const char *found = strstr(page, wanted);
        if (found <= last) fail_msg("the contents are not in the order of the page at%s", wanted);
        last = found;
    }
    for (int level = 2; level <= 4; level++)
        for (const char *h = page; (h = heading(h, level, wanted, sizeof wanted)); h++) headings++;
    int of_rows = 0;
    for (const char *at = page; (at = strstr(at, "<span class=\"of\">")); at++, of_rows++) {
        char *name = hy_asprintf("%.*s", (int)strcspn(at + 1, "<") + 1, at);  // no other of its row is called so
        const char *end = strstr(at, "</figure>\n</div>"), *again = strstr(at + 1, name);
        if (again && again < end) fail_msg("twice in a row: %s", name);
        free(name);
    }
    assert_int_equal(listed, headings + of_rows);
    assert_true(of_rows > 40);
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (const char *c = text; (c = strstr(c, what)); c++) n++;
    return n;
}

// Headings with the same letters have ids of their own; in a row each figure leads to its neighbours and back.
static void test_parts(void **state) {
    (void)state;
    static const char svg[] = "<?xml version='1.0'?>\n<svg width='9'><title>Gnuplot</title><g id='a'/></svg>";
    char *picture = hy_asprintf("%s/row.svg", g_dir), *path = hy_asprintf("%s/parts.html", g_dir), *html;
    size_t n;
    OK(hy_file_write(picture, svg, strlen(svg)));
    hy_report *r = hy_report_new("parts", NULL);
    hy_report_section(r, "Question & answer");
    hy_report_section(r, "question; ANSWER");
    hy_report_heading(r, HY_REPORT_KIND, "maps \xe7\xaa\x97");
    hy_report_row(r, 3);
    for (int i = 0; i < 3; i++) OK(hy_report_figure(r, picture, variants[i], "of <all>"));
    OK(hy_report_figure(r, picture, NULL, "alone"));
    OK(hy_report_write(r, path));
    OK(hy_file_read(path, 1 << 24, &html, &n));
    assert_int_equal(count(html, " id=\"s-question-answer\""), 1);
    assert_int_equal(count(html, "href=\"#s-question-answer-2\">question; ANSWER"), 1);
    const char *const links[] = {"<a href=\"#figure-2\">next<", "<a href=\"#figure-1\">previous<",
                                 "<a href=\"#figure-3\">next<", "<a href=\"#figure-2\">previous<"};
    for (int i = 0; i < 4; i++) assert_int_equal(count(html, links[i]), 1);
    assert_true(count(html, ">next<") == 2 && count(html, ">previous<") == 2);
    assert_int_equal(count(html, "<a href=\"#s-maps\">small again<"), 4);
    assert_int_equal(count(html, "<svg role=\"img\""), 4);
    assert_int_equal(count(html, ">of &lt;all&gt;</title>"), 3);
    free(html), free(path), free(picture);
    hy_report_free(r);
}

// ---------------------------------------------------------------------------------------------------- colours
static double luminance(const char *hex) {
    double sum = 0;
    static const double weight[] = {0.2126, 0.7152, 0.0722};
    for (int i = 0; i < 3; i++) {
        unsigned v;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        const double c = v / 255.0;
        sum += weight[i] * (c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static const char *colour(const char *rules, const char *name) {
    char key[24];
    snprintf(key, sizeof key, "--%s:#", name);
    const char *at = strstr(rules, key);
    if (!at) fail_msg("no colour %s", name);
    return at + strlen(key);
}

// Text on what it may stand on, in light and dark: WCAG 2 asks for 4.5 to 1 (AA). All colours are properties.
static void test_contrast(void **state) {
    (void)state;
    static const char *const text[] = {"ink", "muted", "link"}, *const ground[] = {"paper", "box"};
    const char *dark = strstr(hy_report_css, "@media screen and (prefers-color-scheme:dark){:root{");
    const char *rest = strchr(dark, '\n');
    const char *of[] = {hy_report_css, dark};
    assert_true(dark && rest && strstr(page, hy_report_css));
    if (strchr(rest, '#')) fail_msg("a colour that is no property: %.20s", strchr(rest, '#'));
    for (int scheme = 0; scheme < 2; scheme++)
        for (int i = 0; i < 3 * 2 + 2; i++) {
            const char *a = i < 6 ? text[i / 2] : i == 6 ? "ink" : "print";
            const char *b = i < 6 ? ground[i % 2] : i == 6 ? "mark" : "card";
            const double x = luminance(colour(i < 7 ? of[scheme] : of[0], a));
            const double y = luminance(colour(i < 7 ? of[scheme] : of[0], b));
            const double ratio = (fmax(x, y) + 0.05) / (fmin(x, y) + 0.05);
            if (ratio < 4.5) fail_msg("%s on %s, %s: %.2f to 1", a, b, scheme ? "dark" : "light", ratio);
        }
    double white = luminance("ffffff"), grey = luminance("767676");  // the known least grey on white: 4.54
    assert_true(fabs((white + 0.05) / (grey + 0.05) - 4.54) < 0.01);
}

static void test_provenance(void **state) {
    (void)state;
    const char *at = strstr(page, "<h2 id=\"s-provenance"), *until = page + strlen(page);
    char text[1024], sql[2048];
    char *runs = hy_asprintf("34 (numbers %lld to %lld of the database)",
                             (long long)number(store, "SELECT min(id) FROM model WHERE status = 'done'"),
                             (long long)number(store, "SELECT max(id) FROM model WHERE status = 'done'"));
    r_says(at, runs);
    free(runs);
    snprintf(text, sizeof text, "<dt>measurements</dt>\n<dd>%lld</dd>",
             (long long)number(store,
                               "SELECT count(*) FROM measurement x JOIN model m ON m.id = x.model_id WHERE x.status ="
                               " 'done' AND x.superseded_by IS NULL AND m.status = 'done' AND measure != 'training'"));
    r_says(at, text);
    r_says(at, "<dd>a cpu; a gpu</dd>");
    r_says(at, "<dd>cpu in f32; cuda in bf16</dd>");
    at = strstr(at, "<tbody>");
    int rows = 0;
    for (; next(&at, until, "th", text, sizeof text); rows++) {
        char version[256], unit[256], better[256], meaning[1024];
        assert_true(next(&at, until, "td", version, 256) && next(&at, until, "td", unit, 256) &&
                    next(&at, until, "td", better, 256) && next(&at, until, "td", meaning, 1024));
        for (char *c = meaning; (c = strchr(c, '\'')); c += 2) memmove(c + 1, c, strlen(c) + 1);
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM metric_def WHERE name = '%s' AND version = %s AND unit = '%s' AND"
                 " direction = '%s' AND meaning LIKE '%.60s%%'",
                 text, version, unit, better, meaning);
        NUMBER(store, sql, 1);
    }
    NUMBER(store, "SELECT count(DISTINCT def_id) FROM metric", rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),      cmocka_unit_test(test_statements), cmocka_unit_test(test_captions),
        cmocka_unit_test(test_provenance), cmocka_unit_test(test_order),      cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_links),      cmocka_unit_test(test_parts),      cmocka_unit_test(test_contrast)};
    return cmocka_run_group_tests_name("page_numbers", tests, prepare, end);
}
