// test_second_opinion.c - from run to database: small models of every architecture, on every kind of task, are trained
// and measured as `hylab run` does it, and each number that is then in the database is computed again another way: from
// the stored weights through plain_model.h, from counts, or in closed form. A metric without a check fails the test.
// Times and the loss curve: test_second_training.c.
#include "tests/unit/second_opinion_runs.h"
#include "tests/unit/second_opinion_wants.h"

// ---------------------------------------------------------------------------------------------------- the walk
static struct {
    const char *metric;
    want (*of)(subject *s, const figure *f);
    int seen;
} g_checks[] = {
    {"accuracy", score, 0},
    {"accuracy_chance", guess, 0},
    {"token_accuracy", score, 0},
    {"exact", score, 0},
    {"loss", score, 0},
    {"excess_loss", score, 0},
    {"bits_per_token", score, 0},
    {"bits_per_byte", score, 0},
    {"reached", stopping, 0},
    {"steps_to_reach", stopping, 0},
    {"train_seconds", seconds_of_training, 0},
    {"train_rate", rate_of_training, 0},
    {"parameters", parameters, 0},
    {"flops_token", flops, 0},
    {"cache_true", cache, 0},
    {"cache_paper", cache, 0},
    {"cache_allocated", cache, 0},
    {"throughput_train", speed, 0},
    {"throughput_prefill", speed, 0},
    {"throughput_decode", speed, 0},
    {"erf", receptive, 0},
    {"erf_relative", receptive, 0},
    {"map_entropy", map_figure, 0},
    {"map_entropy_rel", map_figure, 0},
    {"map_distance", map_figure, 0},
    {"map_meta", map_figure, 0},
    {"map_bos", map_figure, 0},
    {"map_self", map_figure, 0},
    {"map_cross", map_figure, 0},
    {"map_check", map_check, 0},
    {"step_entropy", map_figure, 0},
    {"head_distance", distance, 0},
    {"channel_distance", distance, 0},
    {"output_rms", output_size, 0},
    {"fused_rms", output_size, 0},
    {"output_share", output_size, 0},
    {"beta", beta, 0},
    {"beta_abs", beta, 0},
    {"stream_rms", stream_size, 0},
    {"stream_cosine", stream_size, 0},
    {"loss_rise", ablated, 0},
    {"accuracy_drop", ablated, 0},
    {"loss_without", ablated, 0},
    {"accuracy_without", ablated, 0},
    {"random_as_much", ablated, 0},
    {"loss_left", removed, 0},
    {"accuracy_left", removed, 0},
    {"parts_sufficient", removed, 0},
    {"key_cosine", similarity, 0},
    {"value_cosine", similarity, 0},
    {"key_cka", similarity, 0},
    {"value_cka", similarity, 0},
    {"span", reaches, 0},
    {"mean_distance", reaches, 0},
    {"half_life_q05", reaches, 0},
    {"half_life_q25", reaches, 0},
    {"half_life_q50", reaches, 0},
    {"half_life_q75", reaches, 0},
    {"half_life_q95", reaches, 0},
    {"long_memory", reaches, 0},
    {"retrieval_score", retrieval, 0},
    {"retrieval_top", retrieval, 0},
    {"retrieval_uniform", retrieval, 0},
    {"meta_attention", received, 0},
    {"gradient_distance", gradients, 0},
    {"gradient_span", gradients, 0},
    {"gradient_meta", gradients, 0},
    {"gradient_share", gradients, 0},
    {"contribution_distance", contributions, 0},
    {"contribution_share", contributions, 0},
    {"contribution_meta", contributions, 0},
    {"contribution_bos", contributions, 0},
    {"contribution_self", contributions, 0},
    {"contribution_cross", contributions, 0},
};
enum { CHECKS = sizeof g_checks / sizeof *g_checks };

// Layer, kind and head as columns say what the cell says.
static bool check_place(const subject *s, const figure *f) {
    if (is_meta(f->metric)) {
        const meta_place p = meta_place_of(f->cell);
        return f->layer == p.layer && f->head == p.head && !strcmp(f->kind, "attention");
    }
    const char *dot = strchr(f->cell, '.'), *kind = "";
    const bool maps = !strcmp(f->metric, "map_check"), caches = !strncmp(f->metric, "cache_", 6);
    if (!strncmp(f->cell, "layer", 5) && dot) kind = dot + 1;
    if (maps) kind = !strcmp(f->cell, "attention") ? "attention" : "ssm";
    if (caches && f->layer < 0) kind = f->cell;
    if (strstr(f->metric, "_left") || !strcmp(f->metric, "parts_sufficient"))
        kind = !strncmp(f->cell, "least", 5) ? "least" : !strncmp(f->cell, "most", 4) ? "most" : "random";
    if (!strncmp(f->metric, "stream_", 7) && !strncmp(f->cell, "layer", 5) && !dot) kind = "stream";
    int head = -1, b = 0;
    if ((is_reach(f->metric) || is_retrieval(f->metric)) && sscanf(f->cell, "layer%*d.head%d", &head))
        kind = "attention";
    if (is_kv(f->metric)) {
        assert_int_equal(sscanf(dot, ".layer%d", &b), 1);
        const hy_layer_spec *l = s->spec->layers;
        kind = l[layer_of(f)].kv_source == l[b].kv_source ? "shared" : "kv";
    }
    if (is_ablation(f->metric)) {  // "layer1.head2" is attention's, "layer1.group0" the SSM's, "layer1" all of it
        plain_lack part;
        const bool any = part_of(s, f->cell, 1, &part);
        head = part.index;
        kind = !any                          ? ""
               : !strcmp(part.kind, "head")  ? "attention"
               : !strcmp(part.kind, "group") ? "ssm"
               : part.kind[0]                ? dot + 1
                                             : "layer";
    }
    return f->layer == layer_of(f) && !strcmp(f->kind, kind) && f->head == head;
}

// False: they differ; told on stderr, so that one run shows all.
static bool check_figure(subject *s, const figure *f) {
    int k = 0;
    while (k < CHECKS && strcmp(g_checks[k].metric, f->metric)) k++;
    if (k == CHECKS) fail_msg("no check of %s", f->metric);
    if (!f->final) return true;  // evaluations on the way: test_second_training.c
    g_checks[k].seen++;
    const want w = g_checks[k].of(s, f);
    const bool same = close_to(f->value, w.value, w.tolerance, 1e-7) && f->n == w.n && f->step == s->steps &&
                      close_to(f->se, w.se, 2e-3, 1e-6 * fabs(w.value) + 1e-9) && close_to(f->x, w.x, 0, 0) &&
                      close_to(f->y, w.y, 0, 0) && check_place(s, f);
    if (!same)
        print_error("%s of %s on %s, cell \"%s\", options %s\n  stored  %.10g +- %.6g, n %lld, at %g, %g, step %lld\n"
                    "  wanted  %.10g +- %.6g, n %lld, at %g, %g, step %lld\n",
                    f->metric, s->variant, s->task_kind, f->cell, f->options, f->value, f->se, (long long)f->n, f->x,
                    f->y, (long long)f->step, w.value, w.se, (long long)w.n, w.x, w.y, (long long)s->steps);
    return same;
}

static void every_figure(void **state) {
    (void)state;
    hy_store *db = open_db("x.db");
    hy_query *q;
    bool row;
    int wrong = 0, runs = (int)sql_number(db, "SELECT count(*) FROM v_run WHERE status = 'done'");
    assert_int_equal(runs, 8 + 5 + 2 + 1);
    for (int id = 1; id <= runs; id++) {
        subject *s = hy_xcalloc(1, sizeof *s);
        open_subject(db, id, s);
        OK(hy_store_query(db, &q, FIGURES "WHERE run_id = ? ORDER BY metric_id", "l", (int64_t)id));
        while (hy_query_step(q, &row) == HY_OK && row) {
            figure f;
            read_figure(q, &f);
            wrong += !check_figure(s, &f);
        }
        hy_query_close(q);
        close_subject(s);
        free(s);
    }
    hy_store_close(db);
    if (wrong) fail_msg("%d figures are wrong", wrong);
    for (const hy_metric_def *d = hy_metric_defs; d->name; d++) {
        if (!strcmp(d->name, "score")) continue;  // lm-evaluation-harness works it out (tests/cli/test_score.sh)
        int k = 0;
        while (k < CHECKS && strcmp(g_checks[k].metric, d->name)) k++;
        if (k == CHECKS || !g_checks[k].seen) fail_msg("metric %s has no check here, or was in no run", d->name);
    }
}

// ---------------------------------------------------------------------------------------------------- all places
// How often a metric is there in the first measurement of its measure: run 1 is hymba, run 8 sequential.
static void every_place(void **state) {
    (void)state;
    static const struct {
        const char *metric;
        int hymba, sequential;
    } all[] = {
        {"accuracy", 3, 3},  // all, two cells
        {"loss", 3, 3},
        {"flops_token", 1, 1},
        // sum, 4 kinds; kv and meta of 3 layers, conv and ssm of 4; of 3, 3, 2, 2
        {"cache_true", 19, 15},
        // sum, 4 kinds; kv 4, meta 1, ssm 4; kv 3, ssm 2
        {"cache_paper", 14, 10},
        // attention, ssm, layer; 3 of two layers and 2 of one
        {"map_entropy", 12, 8},
        {"map_cross", 12, 8},
        {"step_entropy", 4, 2},
        {"map_check", 3, 3},
        {"erf", 5, 4},
        {"head_distance", 8, 5},
        {"channel_distance", 4, 2},
        {"output_rms", 8, 5},
        {"output_share", 8, 0},
        {"beta", 8, 0},
        {"stream_cosine", 5, 5},
        // every two of 4 and of 3 layers
        {"key_cosine", 6, 3},
        {"value_cka", 6, 3},
        {"span", 8, 5},
        {"half_life_q50", 4, 2},
        {"retrieval_score", 4 + 4 * 2 + 4, 3 + 3 * 2 + 2},
        {"retrieval_uniform", 8, 5},
        // two cells, the last layer with attention: 3 meta tokens; 2
        {"meta_attention", 6, 4},
        {"gradient_distance", 1 + 2 * 4, 1 + 2 * 4},  // the model; from and to each layer
        {"gradient_meta", 9, 9},
        {"contribution_cross", 12, 8},
        {"contribution_share", 8, 4},
        {"gradient_share", 7, 7},  // of 0, 1, 2, 3, 4-5, 6-7, 8-10; 8-9
    };
    hy_store *db = open_db("x.db");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int k = 0; k < 2; k++) {
            char *sql = hy_asprintf("SELECT count(*) FROM v_final WHERE metric = '%s' AND measurement_id = (SELECT "
                                    "min(measurement_id) FROM v_final WHERE metric = '%s' AND run_id = %d)",
                                    all[i].metric, all[i].metric, k ? 8 : 1);
            const int n = (int)sql_number(db, sql);
            if (n != (k ? all[i].sequential : all[i].hymba))
                fail_msg("%d times %s of run %d", n, all[i].metric, k ? 8 : 1);
            free(sql);
        }
    hy_store_close(db);
}

// ---------------------------------------------------------------------------------------------------- maps as stored
// The map [S, S] of one example: rows that add to 1; or with signs; or sizes between the smallest and the largest. off:
// by how much it may differ where every term is off by one part (map_errors).
static void wanted_map(const plain_run *r, int layer, const char *kind, int index, const char *options, int S,
                       double *out, double *off) {
    const bool signs = option_is(options, "norm", "signed"), minmax = option_is(options, "norm", "minmax");
    const bool raw = signs || minmax, gate = !raw && option_is(options, "gate", "true");
    const reduce_how how = signs ? REDUCE_ABS_MEAN : minmax ? REDUCE_MEAN_ABS : reduce_of(options);
    double *row = hy_xcalloc(2 * (size_t)r->S, sizeof *row), low = INFINITY, high = -INFINITY, most = 0;
    double *errors = row + r->S;
    for (int i = 0; i < S; i++) {
        if (raw)
            raw_row(r, layer, kind, index, signs, i, row);
        else
            map_row(r, layer, kind, index, how, gate, i, row);
        map_errors(r, layer, kind, index, how, gate, raw, i, errors);
        for (int j = 0; j < S; j++) {
            const bool sees = map_sees(r, layer, kind, i, j);
            const double v = minmax ? fabs(row[j]) : row[j];
            out[i * S + j] = sees ? v : NAN;
            off[i * S + j] = errors[j], most = fmax(most, errors[j]);
            if (sees) low = fmin(low, v), high = fmax(high, v);
        }
    }
    for (int i = 0; minmax && i < S * S; i++) {
        out[i] = (out[i] - low) / (high - low);
        off[i] = (off[i] + most) / (high - low);
    }
    free(row);
}

// Of the terms that a map's values are summed of, in float32 at the end of a model.
#define TERM_OFF 1e-5

// A stored map [S, S]: the mean over the examples, NaN where the row may not look.
static void check_map(const subject *s, const hy_query *q) {
    const int layer = (int)hy_query_int(q, 1), index = (int)hy_query_int(q, 3);
    const char *kind = hy_query_text(q, 2), *name = hy_query_text(q, 0);
    char options[1024];
    size_t bytes;
    snprintf(options, sizeof options, "\n%s", hy_query_text(q, 4));
    const float *map = hy_query_blob(q, 5, &bytes);
    const int cell = option_int(options, "cell", 0), most = option_int(options, "examples", 1);
    const int max_len = option_int(options, "max_len", 256), M = s->spec->meta_tokens;
    const int T = s->examples[cell][0].T, S = M + (T < max_len ? T : max_len);
    char *named = hy_asprintf("map.layer%d.%s", layer, kind);
    assert_true(!strncmp(name, named, strlen(named)) && (name[strlen(named)] == 0) == (index < 0));
    free(named);
    assert_int_equal(bytes, (size_t)S * (size_t)S * sizeof *map);
    double *one = hy_xcalloc(4 * (size_t)S * (size_t)S, sizeof *one), *mean = one + S * S, *off = mean + S * S;
    double *may = off + S * S;
    for (int e = 0; e < most; e++) {
        wanted_map(&s->examples[cell][e].run, layer, kind, index, options, S, one, off);
        for (int i = 0; i < S * S; i++) mean[i] += one[i] / most, may[i] += off[i] / most;
    }
    for (int i = 0; i < S * S; i++)
        if (!close_to(map[i], mean[i], 0, TERM_OFF * may[i] + 1e-7))
            fail_msg("%s of %s, [%d, %d]: %g, wanted %g within %g, options %s", name, s->variant, i / S, i % S,
                     (double)map[i], mean[i], TERM_OFF * may[i] + 1e-7, options);
    free(one);
}

static void check_array(const subject *s, const hy_query *q) {
    char options[1024], name[64];
    size_t bytes;
    snprintf(name, sizeof name, "%s", hy_query_text(q, 0));
    snprintf(options, sizeof options, "\n%s", hy_query_text(q, 4));
    const float *v = hy_query_blob(q, 5, &bytes);
    if (!strncmp(name, "contribution.", 13))
        check_sizes(s, name, options, v, (int)(bytes / sizeof *v));
    else
        check_curve(s, name, options, v, (int)(bytes / sizeof *v / 3));
}

static void every_map(void **state) {
    (void)state;
    hy_store *db = open_db("x.db");
    hy_query *q;
    bool row;
    int maps = 0, curves = 0;
    for (int id = 1; id <= 8; id++) {
        subject *s = hy_xcalloc(1, sizeof *s);
        open_subject(db, id, s);
        OK(hy_store_query(
            db, &q, "SELECT name, layer, kind, coalesce(head, -1), options, data FROM v_artifact WHERE run_id = ?", "l",
            (int64_t)id));
        while (hy_query_step(q, &row) == HY_OK && row) {
            const bool curve = strncmp(hy_query_text(q, 0), "map.", 4) != 0;
            curves += curve, maps += !curve;
            (curve ? check_array : check_map)(s, q);
        }
        hy_query_close(q);
        close_subject(s);
        free(s);
    }
    hy_store_close(db);
    // a layer: its kinds of heads, the layer, each attention head (once), and a channel of its SSM (once)
    const int once = 4 * (3 + 2 + 1) + 2 * (3 + 4 + 1) + (3 + 1 + 1) + 2 * (3 + 2 + 1) + 2 * (2 + 3) + 2 * (2 + 1) +
                     2 * (2 + 1) + 2 * (3 + 2 + 1) + (2 + 2);
    const int cut = 4 * 3 + 2 * 3 + 3 + 2 * 3 + 2 * 2 + 2 * 2 + 2 * 2 + 2 * 3 + 2;
    // not made to add to 1: no map of a layer with both kinds of heads; with signs, a head and a channel as well
    const int sizes = 4 * 2 + 2 * 2 + 2 + 2 * 2 + 2 * 2 + 2 * 2 + 2 * 2 + 3 * 2;
    const int with_signs = 4 * 4 + 2 * 4 + 4 + 2 * 4 + 2 * 3 + 2 * 3 + 2 * 3 + 2 * 4 + 3;
    assert_int_equal(maps, once + cut + sizes + with_signs);
    // each model with three sets of options, once with all of its layers both ways; contributions twice, of kinds of
    // heads, and of both where a layer has both
    const int gradients_of = 8 * 3 + 2 * (4 + 2 + 1 + 2 + 2 + 2 + 2 + 4);
    assert_int_equal(curves, gradients_of + 2 * (4 * 3 + 2 * 3 + 3 + 2 * 3 + 2 + 2 + 2 + 2 * 3 + 1));
}

// ---------------------------------------------------------------------------------------------------- other types
// What is computed in bfloat16 holds 2 bytes a value, but for the states of SSMs; in double 8.
static void caches_of_other_types(void **state) {
    (void)state;
    static const struct {
        hy_dtype dtype;
        int bytes, ssm;
    } all[] = {{HY_BF16, 2, 4}, {HY_F64, 8, 8}};
    enum { TOKENS = 9 };
    const hy_measure *m = hy_measure_find("cache");
    hy_measure_options o;
    hy_program *p;
    hy_backend be;
    subject *s = hy_xcalloc(1, sizeof *s);
    hy_store *db = open_db("x.db");
    open_subject(db, 1, s);
    hy_store_close(db);
    OK(hy_model_build(s->spec, &p));
    OK(hy_backend_cpu("auto", 1, &be));
    OK(hy_measure_options_read(m, "tokens: 9", &o));
    for (int k = 0; k < 2; k++) {
        const hy_measure_context c = {.prog = p, .compute = all[k].dtype, .be = &be};
        hy_facts f = {0};
        double sum = 0, ssm = 0;
        OK(hy_measure_run(m, &c, &o, &f));
        for (int i = 0; i < s->spec->n_layers; i++) {
            for (int t = 0; t < 3; t++)
                sum += all[k].bytes * held(s->spec, i, (const char *const[]){"kv", "meta", "conv"}[t], TOKENS);
            ssm += all[k].ssm * held(s->spec, i, "ssm", TOKENS);
        }
        int seen = 0;
        for (int i = 0; i < f.n_facts; i++) {
            const hy_fact *a = &f.fact[i];
            if (!strcmp(a->name, "cache_true") && !strcmp(a->cell, "ssm")) seen++, assert_true(a->value == ssm);
            if (strcmp(a->name, "cache_paper") && !*a->cell) seen++, assert_true(a->value == sum + ssm);
        }
        assert_int_equal(seen, 3);
        hy_facts_free(&f);
    }
    hy_program_free(p);
    close_subject(s);
    free(s);
}

// ---------------------------------------------------------------------------------------------------- bytes of a token
// With a tokenizer bits per byte are those of the evaluation part: its bytes, from a whole character on, over its
// tokens, each of which but the first is scored once.
static void bytes_of_a_token(void **state) {
    (void)state;
    enum { REPEATS = 40, T = 8 };
    static const char line[] = "Der Müller zählte neunzehn Säcke; größer wär’ schöner. ";
    hy_buf text = {0};
    for (int i = 0; i < REPEATS; i++) hy_buf_printf(&text, "%s", line);
    write_file("german.txt", text.s);
    for (int k = 0; k < 60; k++) {  // the part begins inside of a character, or not
        const double share = 0.31 + 0.0004 * k;
        size_t from = text.n - (size_t)((double)text.n * share);
        while (from < text.n && ((unsigned char)text.s[from] >> 6) == 2) from++;
        char *options = hy_asprintf("{path: %s/german.txt, tokenizer: tests/golden/tokenizers/sp-unigram.model, "
                                    "validation: %.4f, train: 8, test: 8}",
                                    g_dir, share);
        hy_task *task;
        OK(hy_task_open("text", options, 1, &task));
        int64_t tokens = 1;
        int32_t ids[T], labels[T];
        for (int64_t i = 0; i < hy_task_cell(task, HY_SPLIT_EVAL, 0)->count; i++) {
            OK(hy_task_example(task, HY_SPLIT_EVAL, 0, i, ids, labels));
            for (int t = 0; t < T; t++) tokens += labels[t] >= 0;
        }
        const double want_bytes = (double)(text.n - from) / (double)tokens;
        assert_true(want_bytes > 1.2 && close_to(hy_task_bytes_per_token(task), want_bytes, 1e-12, 0));
        hy_task_close(task);
        free(options);
    }
    free(text.s);
}

// ---------------------------------------------------------------------------------------------------- little memory
static void *(*g_alloc)(size_t bytes);
static size_t g_most;
static void *alloc_some(size_t bytes) { return bytes > g_most ? NULL : g_alloc(bytes); }

// Batches that do not fit are halved, and the one that two come down to is timed once: figures have different names.
static void batches_that_come_down_to_one(void **state) {
    (void)state;
    const hy_measure *m = hy_measure_find("throughput");
    hy_measure_options o;
    hy_program *p;
    hy_params *w;
    hy_backend be;
    hy_facts f = {0};
    subject *s = hy_xcalloc(1, sizeof *s);
    hy_store *db = open_db("x.db");
    open_subject(db, 5, s);
    hy_store_close(db);
    OK(hy_model_build(s->spec, &p));
    OK(hy_backend_cpu("auto", 1, &be));
    g_alloc = be.alloc, g_most = 1 << 17;
    be.alloc = alloc_some;
    OK(hy_params_create(p, &be, HY_F32, &w));
    OK(hy_params_init(w, 1));
    OK(hy_measure_options_read(m, "{contexts: [8], batch: [512, 64, 1], repetitions: 1, fit: true, decode: false}",
                               &o));
    const hy_measure_context c = {.prog = p, .params = w, .compute = HY_F32, .be = &be, .jobs = 1};
    OK(hy_measure_run(m, &c, &o, &f));
    int halved = 0;
    for (int i = 0; i < f.n_facts; i++) {
        for (int k = 0; k < i; k++)
            if (!strcmp(f.fact[i].name, f.fact[k].name) && !strcmp(f.fact[i].cell, f.fact[k].cell))
                fail_msg("two of a name");
        halved += strstr(f.fact[i].meta, "batch_asked") != NULL;
        assert_true(f.fact[i].y < 64);
    }
    assert_true(halved > 0 && f.n_facts == 4);
    hy_facts_free(&f);
    hy_params_free(w);
    hy_program_free(p);
    close_subject(s);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_figure),     cmocka_unit_test(every_place),
        cmocka_unit_test(every_map),        cmocka_unit_test(caches_of_other_types),
        cmocka_unit_test(bytes_of_a_token), cmocka_unit_test(batches_that_come_down_to_one),
    };
    return cmocka_run_group_tests_name("second opinion", tests, run_all, remove_folder);
}
