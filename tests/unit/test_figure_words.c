// test_figure_words.c - what captions and notes say of figures whose timings are of fewer seeds or were disturbed, and
// that the page has a column for each of the paper's figures, however many.
#include "analysis/report/report.h"
#include "analysis/report/report_page.h"
#include "tests/unit/figure_fixture.h"

static hy_store *store;
static hy_summary *s;
static hy_plots plots;
static char g_page[4200];

static int prepare(void **state) {
    if (setup(state)) return -1;
    figure_stand_in();
    store = figure_store();
    OK(hy_summary_load(store, "fig", "small", "", &s));
    plots = (hy_plots){.store = store, .s = s, .dir = g_dir, .formats = HY_FIG_SVG};
    return 0;
}

static int end(void **state) {
    hy_summary_free(s);
    hy_store_close(store);
    return teardown(state);
}

// The captions of all figures of a kind, a line each. The caller frees it.
static char *captions(const char *kind) {
    hy_buf b = {0};
    OK(hy_plots_draw(&plots, kind));
    for (int i = 0; i < plots.n; i++) hy_buf_printf(&b, "%s\n", plots.file[i].caption);
    hy_plots_free(&plots);
    return b.s;
}

static void says(const char *kind, const char *text, bool wanted) {
    char *all = captions(kind);
    if ((strstr(all, text) != NULL) != wanted)
        fail_msg("%s: \"%s\" %s wanted in: %s", kind, text, wanted ? "is" : "is not", all);
    free(all);
}

static void test_timings(void **state) {
    (void)state;
    static const char *const with[] = {"accuracy-throughput", "accuracy-cache", "throughput"};
    for (int i = 0; i < 3; i++) says(with[i], "disturbed", false);
    says("accuracy-throughput", "(n = 3 seeds; decoding: n = 2 seeds)", true);  // as they are stored
    says("accuracy-throughput", "cache: n", false);
    s->waited = 0.31;
    for (int i = 0; i < 3; i++) says(with[i], "throughput is disturbed: threads waited up to 31 %", true);
    says("loss", "disturbed", false);
    says("erf-cache", "disturbed", false);
    s->waited = 0;
    for (int i = 0; i < s->n_rows; i++)
        for (int k = 0; k < s->rows[i].n_values; k++)
            if (!strcmp(s->rows[i].values[k].metric, "throughput_decode")) s->rows[i].values[k].n = 1;
    says("accuracy-throughput", "seeds; decoding: n = 1 seed)", true);
    says("accuracy-cache", "seeds; decoding: n = 1 seed)", true);
    says("erf-cache", "decoding", false);
}

static void test_paper(void **state) {
    (void)state;
    enum { MORE = 12 };
    s->paper = hy_xrealloc(s->paper, (size_t)(s->n_paper + MORE) * sizeof *s->paper);
    for (int i = 0; i < MORE; i++)
        s->paper[s->n_paper++] =
            (hy_summary_paper){hy_xstrdup(s->rows[0].variant), hy_asprintf("quantity %d", i), 1000 + i};
    hy_report *r = hy_report_new("fig", NULL);
    char *text;
    size_t n;
    OK(hy_report_page(&plots, r));
    snprintf(g_page, sizeof g_page, "%s/page.html", g_dir);
    OK(hy_report_write(r, g_page));
    OK(hy_file_read(g_page, 1 << 24, &text, &n));
    for (int i = 0; i < MORE; i++) {
        char name[32], value[32];
        snprintf(name, sizeof name, ">quantity %d<", i);
        snprintf(value, sizeof value, ">%d<", 1000 + i);
        if (!strstr(text, name) || !strstr(text, value)) fail_msg("the page lacks %s", name);
    }
    free(text);
    hy_report_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_timings), cmocka_unit_test(test_paper)};
    return cmocka_run_group_tests_name("figure_words", tests, prepare, end);
}
