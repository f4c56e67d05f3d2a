// test_reduced_maps.c - long maps made small while their rows are computed: against the whole map reduced here by two
// plain loops, for every norm, for parts of it, for several examples; and what figures of them draw and say.
#include "analysis/figure/figures.h"
#include "analysis/measure/measure.h"
#include "core/spec/spec_read.h"
#include "tests/unit/figure_fixture.h"
#include "tests/unit/figure_reader.h"

// Float copies of doubles, of a mean of up to some hundred values.
static const double TOL_FLOAT = 1e-6;

// ---------------------------------------------------------------------------------------------------- blocks
// Value (p, q) of a part of a matrix in blocks, by its definition. NAN: no value in the block.
static double block(const float *a, int width, const hy_block_shape *s, int p, int q) {
    double sum = 0, best = 0;
    int n = 0;
    for (int i = s->i0 + p * s->down; i < s->i0 + (p + 1) * s->down && i < s->i1; i++)
        for (int j = s->j0 + q * s->across; j < s->j0 + (q + 1) * s->across && j < s->j1; j++) {
            const double v = a[(size_t)i * width + j];
            if (isnan(v)) continue;
            if (!n || fabs(v) > fabs(best)) best = v;
            sum += v, n++;
        }
    return !n ? NAN : s->how == HY_BLOCK_MEAN ? sum / n : best;
}

static void same(double got, double want, double tol) {
    if (isnan(got) != isnan(want) || fabs(got - want) > tol) fail_msg("%.9g, not %.9g", got, want);
}

static void test_blocks(void **state) {
    (void)state;
    enum { H = 23, W = 19 };
    static const int parts[][5] = {{0, H, 0, W, 100}, {0, H, 0, W, 7},   {0, H, 0, W, 1},
                                   {3, 17, 5, 19, 5}, {22, 23, 0, 1, 3}, {0, 8, 0, W, 8}};
    float a[H * W];
    double row[W];
    hy_rng r = hy_rng_make(3, 1);
    for (int e = 0; e < H * W; e++) a[e] = hy_rng_below(&r, 3) ? (float)hy_rng_normal(&r) : NAN;
    for (int k = 0; k < 6; k++)
        for (int how = 0; how < 2; how++) {
            const int *t = parts[k];
            const hy_block_shape s = hy_block_shape_of(t[0], t[1], t[2], t[3], t[4], (hy_block_how)how);
            assert_true(s.rows <= t[4] && s.columns <= t[4] && s.rows * s.down >= t[1] - t[0] &&
                        (s.rows - 1) * s.down < t[1] - t[0]);
            assert_int_equal(hy_block_whole(&s), t[4] >= t[1] - t[0] && t[4] >= t[3] - t[2]);
            hy_blocks b;
            OK(hy_blocks_open(&s, &b));
            for (int i = 0; i < H; i++) {
                for (int j = 0; j < W; j++) row[j] = a[i * W + j];
                hy_blocks_row(&b, i, row);
            }
            for (int p = 0; p < s.rows; p++)
                for (int q = 0; q < s.columns; q++)
                    same(hy_blocks_at(&b, p * s.columns + q), block(a, W, &s, p, q), 1e-12);
            hy_blocks_free(&b);
        }
    const hy_block_shape s = hy_block_shape_of(0, 64, 0, 32, 4, HY_BLOCK_MEAN);
    char *text = hy_block_text(&s);
    assert_string_equal(text, "mean over 16 x 8 positions");
    free(text);
}

// ---------------------------------------------------------------------------------------------------- the measure
static const char small_model[] =
    "name: m\nvocab: 48\nd_model: 12\nlayers: 2\nmixer: parallel\nmeta_tokens: 3\ninit: {std: 0.5}\nattention: {heads: "
    "2, kv_heads: 1, window: 5, global_layers: [0]}\nssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\nmlp: {kind: "
    "silu, d_ff: 10}\n";
enum { T = 40, S = T + 3 };
typedef struct {
    hy_model_spec *spec;
    hy_program *p;
    hy_backend be;
    hy_params *w;
    hy_task *task;
} rig;

static void rig_open(rig *r) {
    hy_yaml *y = NULL;
    r->spec = hy_xcalloc(1, sizeof *r->spec);
    if (hy_yaml_parse("model", small_model, strlen(small_model), &y) || hy_spec_from_yaml(y, r->spec) ||
        hy_model_build(r->spec, &r->p) || hy_backend_cpu("auto", 2, &r->be) ||
        hy_params_create(r->p, &r->be, HY_F32, &r->w) || hy_params_init(r->w, 3) ||
        hy_task_open("mqar", "vocab: 48\ntrain: [[40, 2]]\ntest: [[40, 2]]\n", 1, &r->task))
        fail_msg("%s", hy_error_text());
    hy_yaml_free(y);
}

static void rig_close(rig *r) {
    hy_task_close(r->task);
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->spec);
}

static void take(const rig *r, const char *options, hy_facts *f) {
    const hy_measure *m = hy_measure_find("maps");
    const hy_measure_subject s = {r->spec, r->task, "cpu", HY_PRECISION_F32};
    const hy_measure_context c = {.prog = r->p,
                                  .params = r->w,
                                  .compute = r->w->compute,
                                  .be = &r->be,
                                  .task = r->task,
                                  .eval_batch = 4,
                                  .jobs = 1};
    hy_measure_options o;
    *f = (hy_facts){0};
    if (hy_measure_options_read(m, options, &o) || hy_measure_check(m, &s, &o) || hy_measure_run(m, &c, &o, f))
        fail_msg("%s", hy_error_text());
}

#define KEEP "keep: maps\nsingle_heads: [1]\nchannels: [5]\n"
// examples apart: the blocks of each, then their mean.
static void check_part(const rig *r, const char *norm, const char *how, const char *zoom, int pixels, int part[4]) {
    hy_facts small, whole[2];
    char *options =
             hy_asprintf(KEEP "norm: %s\nreduce_map: %s\nzoom: %s\npixels: %d\nexamples: 1\n", norm, how, zoom, pixels),
         *plain = hy_asprintf(KEEP "norm: %s\nexamples: 1\n", norm);
    take(r, options, &small);
    take(r, plain, &whole[0]);
    assert_true(small.n_artifacts == whole[0].n_artifacts && small.n_artifacts >= 2 * 4);
    const hy_block_shape s = hy_block_shape_of(part[0], part[1], part[2], part[3], pixels,
                                               strcmp(how, "mean") ? HY_BLOCK_MAX : HY_BLOCK_MEAN);
    for (int k = 0; k < small.n_artifacts; k++) {
        const hy_artifact *a = &small.artifact[k], *b = &whole[0].artifact[k];
        assert_string_equal(a->name, b->name);
        assert_true(a->shape[0] == s.rows && a->shape[1] == s.columns && b->shape[0] == S && b->shape[1] == S);
        for (int p = 0; p < s.rows; p++)
            for (int q = 0; q < s.columns; q++)
                same(((float *)a->data)[p * s.columns + q], block(b->data, S, &s, p, q), TOL_FLOAT);
        char *says = hy_asprintf("\"rows\": [%d, %d], \"columns\": [%d, %d], \"block\": [%d, %d], \"reduce\": \"%s\", "
                                 "\"positions\": %d",
                                 s.i0, s.i1, s.j0, s.j1, s.down, s.across, how, S);
        if (!strstr(a->meta, says)) fail_msg("%s is not in %s", says, a->meta);
        assert_null(strstr(b->meta, "\"rows\""));
        free(says);
    }
    hy_facts_free(&small), hy_facts_free(&whole[0]);
    free(options), free(plain);
}

static void test_measure(void **state) {
    (void)state;
    rig r;
    rig_open(&r);
    static const char *const norms[] = {"rowsum", "minmax", "signed"}, *const hows[] = {"max", "mean"};
    for (int n = 0; n < 3; n++)
        for (int h = 0; h < 2; h++) {
            check_part(&r, norms[n], hows[h], "[]", 9, (int[]){0, S, 0, S});
            check_part(&r, norms[n], hows[h], "[[20, 43], [0, 11]]", 4, (int[]){20, 43, 0, 11});
        }
    check_part(&r, "rowsum", "max", "[[0, 10], [2, 9]]", 375, (int[]){0, 10, 2, 9});  // at full resolution
    rig_close(&r);
}

// Without the new options, and as long as a map is not longer than pixels: the bits and the text that were before.
static void test_short_maps_stay(void **state) {
    (void)state;
    rig r;
    hy_facts plain, limit, two, one;
    rig_open(&r);
    take(&r, KEEP, &plain);
    take(&r, KEEP "pixels: 43\nreduce_map: mean\nzoom: [[0, 43], [0, 43]]\n", &limit);
    for (int k = 0; k < plain.n_artifacts; k++) {
        assert_int_equal(plain.artifact[k].bytes, S * S * sizeof(float));
        assert_memory_equal(plain.artifact[k].data, limit.artifact[k].data, plain.artifact[k].bytes);
        assert_string_equal(plain.artifact[k].meta, limit.artifact[k].meta);
    }
    hy_measure_options o;
    hy_buf text = {0};
    OK(hy_measure_options_read(hy_measure_find("maps"), "", &o));
    hy_measure_options_text(hy_measure_find("maps"), &o, &text);
    assert_null(strstr(text.s, "pixels"));
    // over examples: the mean of what each gives
    take(&r, KEEP "pixels: 10\nexamples: 2\n", &two);
    take(&r, KEEP "pixels: 10\nexamples: 1\n", &one);
    assert_non_null(strstr(two.artifact[0].meta, " blocks=of_each_example_then_mean\""));
    assert_null(strstr(one.artifact[0].meta, "blocks="));
    hy_task *second;
    int32_t ids[T], labels[T];
    OK(hy_task_example(r.task, HY_SPLIT_EVAL, 0, 1, ids, labels));
    OK(hy_task_given("second", 1, T, ids, NULL, hy_task_vocab(r.task), &second));
    rig other = r;
    other.task = second;
    hy_facts next;
    take(&other, KEEP "pixels: 10\n", &next);
    for (int k = 0; k < two.n_artifacts; k++)
        for (size_t e = 0; e < two.artifact[k].bytes / 4; e++)
            same(((float *)two.artifact[k].data)[e],
                 (((float *)one.artifact[k].data)[e] + (double)((float *)next.artifact[k].data)[e]) / 2, TOL_FLOAT);
    hy_task_close(second);
    hy_facts_free(&plain), hy_facts_free(&limit), hy_facts_free(&two), hy_facts_free(&one), hy_facts_free(&next);
    free(text.s);
    rig_close(&r);
}

static void test_refusals(void **state) {
    (void)state;
    rig r;
    rig_open(&r);
    const hy_measure *m = hy_measure_find("maps");
    const hy_measure_subject s = {r.spec, r.task, "cpu", HY_PRECISION_F32};
    static const char *const bad[][2] = {{"zoom: [[0, 9]]", "two pairs are wanted"},
                                         {"zoom: [[0, 44], [0, 9]]", "zoom: queries 0 to 44 are no part of the 43"},
                                         {"zoom: [[0, 4], [9, 9]]", "zoom: keys 9 to 9"},
                                         {"max_len: 10\nzoom: [[0, 14], [0, 9]]", "no part of the 13 positions"}};
    for (int i = 0; i < 4; i++) {
        hy_measure_options o;
        OK(hy_measure_options_read(m, bad[i][0], &o));
        assert_int_equal(hy_measure_check(m, &s, &o), HY_EINPUT);
        if (!strstr(hy_error_text(), bad[i][1])) fail_msg("%s", hy_error_text());
    }
    rig_close(&r);
}

// ---------------------------------------------------------------------------------------------------- the figure
static void test_figure(void **state) {
    (void)state;
    enum { N = 800 };
    float *a = hy_xcalloc(N * N, sizeof *a), part[6] = {1, 0.5f, 0.25f, 0.125f, NAN, 0.1f};
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i * N + j] = j > i ? NAN : j == i - 100 ? 1 : 1e-5f * (float)(1 + (i + j) % 7);
    figure_stand_in();
    const hy_fig_map maps[] = {{"long", 2, hy_fig_map_whole(N), a},
                               {"part", 2, {10, 16, 1, 9, 2, 4, 3, 2, HY_BLOCK_MEAN}, part}};
    const hy_fig_out out = {g_dir, "maps", HY_FIG_SVG};
    const hy_fig_head head = {.title = "t", .note = "n"};
    OK(hy_fig_maps(&out, &head, "share", true, 1e-4, 1, 2, maps));
    r_figure *f = r_read(g_dir, "maps", true);
    r_says(f->head, "n. Each pixel: max over 3 x 3 positions (queries x keys). Each pixel: mean over 2 x 4 positions "
                    "(queries x keys). Queries 10 to 15, keys 1 to 8 only");
    const hy_block_shape s = hy_block_shape_of(0, N, 0, N, 375, HY_BLOCK_MAX);
    assert_int_equal(s.rows, 267);
    r_says(f->script, "binary array=(267,267) format='%float32' endian=little skip=");
    r_says(f->script, " origin=(1,1) dx=3 dy=3 using");  // positions 0, 1, 2 are one pixel around 1
    r_says(f->script, "set xrange [-0.5:800.5]\nset yrange [800.5:-0.5]");
    r_says(f->script, "array=(2,3)");
    r_says(f->script, " origin=(2.5,10.5) dx=4 dy=2 using");
    r_says(f->script, "set xrange [0.5:8.5]\nset yrange [15.5:9.5]");
    r_says(f->script, "set arrow from 1.5,9.5 to 1.5,15.5");  // keys have a meta token here, queries none
    assert_null(strstr(f->script, "set arrow from 0.5,"));
    const r_element *e = &f->element[0], *p = &f->element[1];
    assert_true(e->skip > 0 && p->skip == e->skip + 267 * 267 * 4 && f->bytes == (size_t)p->skip + 6 * 4);
    const float *got = (const float *)(f->data + e->skip);
    for (int i = 0; i < 267; i++)
        for (int j = 0; j < 267; j++) {
            float v;
            memcpy(&v, got + i * 267 + j, sizeof v);
            same(v, block(a, N, &s, i, j), 0);
        }
    assert_memory_equal(f->data + p->skip, part, sizeof part);
    f->data[e->skip - 1] = 0;  // the text before the numbers
    char *says = hy_asprintf("# long: 267 rows x 267 columns from byte %12ld; each value: max over 3 x 3 positions; "
                             "queries 0 to 799, keys 0 to 799\n",
                             e->skip);
    r_says(f->data, says);
    r_says(f->data, "# float32, little-endian");
    free(says);
    r_free(f);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_measure),
                                       cmocka_unit_test(test_short_maps_stay), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test_setup_teardown(test_figure, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
