// test_figure_room.c - what long names and low scales do to a figure: nothing stands beyond the picture or on another
// text, and what it shows keeps its size. Needs gnuplot.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/figure/figures.h"
#include "tests/unit/figure_reader.h"

static char dir[] = "/tmp/hylab-room-XXXXXX";
static const hy_fig_head head = {"title", 15, 3, 3, NULL, NULL};

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

// Slanted names make a picture larger: none begins left of it, and bars are as tall as with short names.
static void test_slanted_names(void **state) {
    (void)state;
    enum { LONG = 60, WIDE = 7 };  // characters of 12 pixels are more than 7 wide
    char first[LONG + 1] = {0};
    memset(first, 'n', LONG);
    const char *const of[] = {first, "b", "c"};
    const hy_fig_axis y = {"y", false, 0, 1, 0};
    const hy_fig_bar bars[] = {{0.5, NAN, NAN, NULL, 0, 0}, {0.6, NAN, NAN, NULL, 0, 0}, {0.6, NAN, NAN, NULL, 0, 0}};
    const hy_fig_out o = {"out", "room", HY_FIG_SVG};
    double right, axis, height;
    char *svg;
    size_t n;
    assert_int_equal(hy_fig_bars(&o, &head, &y, of, 3, NULL, 1, bars), HY_OK);
    assert_int_equal(hy_file_read("out/room.svg", 1 << 24, &svg, &n), HY_OK);
    const char *at = strstr(svg, "rotate(-35)");
    assert_non_null(at);
    while (*at != '"') at--;
    assert_int_equal(sscanf(at, "\"translate(%lf,%lf)", &right, &axis), 2);
    assert_int_equal(sscanf(strstr(svg, "height=\""), "height=\"%lf", &height), 1);
    assert_true(right > 0.819 * LONG * WIDE && height - axis > 0.574 * LONG * WIDE);  // cos and sin of 35 degrees
    free(svg);
    r_figure *f = r_read("out", "room", false);
    assert_true(axis - height * (1 - r_after(f->script, "set tmargin at screen ", NAN)) > 220);
    r_free(f);
}

// A scale of colours has no more labels than there is room for: 22 pixels each, of the 44 a row.
static void test_labels_of_colours(void **state) {
    (void)state;
    static const struct {
        int rows;
        double max, step;
    } cases[] = {{1, 40, 20}, {1, 41, 50}, {2, 7.9, 2}, {2, 1, 0.5}, {4, 100, 20}, {10, 1, 0.05}};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    const double v[10] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hy_fig_out o = {"out", "heat", HY_FIG_SVG};
        assert_int_equal(hy_fig_heat(&o, &head, "x", "y", "share", 0, cases[i].max, names, 1, names, cases[i].rows, v),
                         HY_OK);
        r_figure *f = r_read("out", "heat", false);
        const double step = r_after(f->script, "set cbtics ", NAN);
        if (fabs(step - cases[i].step) > 1e-9) fail_msg("%d rows to %g: %g", cases[i].rows, cases[i].max, step);
        r_free(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slanted_names), cmocka_unit_test(test_labels_of_colours)};
    return cmocka_run_group_tests_name("figure_room", tests, setup, teardown);
}
