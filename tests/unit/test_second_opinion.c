// test_second_opinion.c - from run to database: small models of every architecture, on every kind of task, are trained
// and measured as `hylab run` does it, and each number that is then in the database is computed again another way: from
// the stored weights through plain_model.h, from counts, or in closed form. A metric without a check fails the test.
// Times and the loss curve: test_second_training.c.
#include "results/metrics.h"
#include "tests/unit/second_opinion_ablation.h"
#include "analysis/probe/gradient.h"
#include "tests/unit/second_opinion_contribution.h"
#include "tests/unit/second_opinion_gradient.h"
#include "tests/unit/second_opinion_kv.h"
#include "tests/unit/second_opinion_maps.h"
#include "tests/unit/second_opinion_runs.h"
#include "tests/unit/second_opinion_reach.h"
#include "tests/unit/second_opinion_meta.h"
#include "tests/unit/second_opinion_retrieval.h"
#include "tests/unit/second_opinion_score.h"

// ---------------------------------------------------------------------------------------------------- training
static double stored(const figure *f, const char *what, const char *metric) {
    hy_store *db = open_db("x.db");
    char *sql =
        hy_asprintf("SELECT %s FROM v_metric WHERE metric = '%s' AND run_id = (SELECT run_id FROM v_metric WHERE"
                    " metric_id = %lld)",
                    what, metric, (long long)f->id);
    const double v = sql_number(db, sql);
    hy_store_close(db);
    free(sql);
    return v;
}

static want stopping(subject *s, const figure *f) {
    char *first =
        hy_asprintf("min(CASE WHEN final = 0 AND cell = '' AND value >= %.17g THEN step END)", s->recipe.stop_accuracy);
    const double at = stored(f, first, "accuracy");
    free(first);
    assert_true(s->recipe.stop_accuracy > 0);
    assert_true(s->steps == (isnan(at) ? s->recipe.steps : (int64_t)at));
    return exactly(!strcmp(f->metric, "reached") ? !isnan(at) : at);
}

static want rate_of_training(subject *s, const figure *f) {
    (void)s;
    double v[64];
    int n = 0;
    hy_store *db = open_db("x.db");
    hy_query *q;
    bool row;
    OK(hy_store_query(db, &q,
                      "SELECT c.tokens_per_s FROM v_curve c JOIN v_metric m USING(run_id) WHERE m.metric_id = ?"
                      " ORDER BY 1",
                      "l", f->id));
    while (hy_query_step(q, &row) == HY_OK && row) v[n++] = hy_query_double(q, 0);
    hy_query_close(q);
    hy_store_close(db);
    assert_true(n > 0 && v[0] > 0);
    want w = exactly(n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2);
    w.n = n;
    return w;
}

static want seconds_of_training(subject *s, const figure *f) {  // test_second_training.c has a clock of its own
    (void)s;
    assert_true(f->value > 0 && f->value < 600);
    return exactly(f->value);
}

// ---------------------------------------------------------------------------------------------------- size, cache
static want parameters(subject *s, const figure *f) {
    (void)f;
    size_t n = 0;
    for (int i = 0; i < s->w.n; i++) n += s->w.t[i].n;
    return exactly((double)n);
}

// The last of so many text tokens, counted as plain_model.h computes it.
static want flops(subject *s, const figure *f) {
    const int context = option_int(f->options, "context", hy_task_max_len(s->task));
    int32_t *ids = hy_xcalloc((size_t)context, sizeof *ids);
    plain_run r;
    plain_forward(&s->w, ids, context, &r);
    want w = exactly(r.flops);
    w.x = context;
    plain_run_free(&r);
    free(ids);
    return w;
}

// Elements of one kind that a layer holds for a sequence of `tokens` after the meta tokens, for tokens still to come.
static double held(const hy_model_spec *m, int layer, const char *kind, int tokens) {
    const hy_layer_spec *l = &m->layers[layer];
    const bool attention = l->heads > 0 && l->kv_source == layer;
    int kept = 0;  // of the text: what the next token still sees
    for (int key = 0; key < tokens && attention; key++)
        kept += plain_sees(m->meta_tokens + tokens, m->meta_tokens + key, l->window, 0);
    const double value = (double)l->kv_heads * (l->d_qk + l->d_v);
    const int wide = l->ssm_kind == HY_SSM_MAMBA2 ? l->d_inner + 2 * l->groups * l->d_state : l->d_inner;
    return !strcmp(kind, "kv")     ? kept * value
           : !strcmp(kind, "meta") ? (attention ? m->meta_tokens * value : 0)
           : !strcmp(kind, "conv") ? (double)(l->d_inner ? (l->d_conv - 1) * wide : 0)
                                   : (double)l->d_inner * l->d_state;
}

// In the paper's way: 2 bytes, window layers without meta tokens, no convolution; of window layers that share, half.
static double paper(const hy_model_spec *m, int layer, const char *kind, int tokens) {
    const hy_layer_spec *l = &m->layers[layer];
    bool share = false;
    for (int i = 0; i < m->n_layers; i++)
        share = share || (m->layers[i].heads && m->layers[i].window && m->layers[i].kv_source != i);
    if (!strcmp(kind, "conv") || (!strcmp(kind, "meta") && l->window)) return 0;
    if (strcmp(kind, "kv") || !l->window) return 2 * held(m, layer, kind, tokens);
    const double all = 2.0 * l->kv_heads * (l->d_qk + l->d_v) * (tokens < l->window ? tokens : l->window);
    return share ? all / 2 : all;
}

static want cache(subject *s, const figure *f) {
    static const char *const kinds[] = {"kv", "meta", "conv", "ssm"};
    const int tokens = option_int(f->options, "tokens", 8000);
    double sum = 0;
    for (int i = 0; i < s->spec->n_layers; i++)
        for (int k = 0; k < 4; k++)
            if ((!*f->kind || !strcmp(f->kind, kinds[k])) && (f->layer < 0 || f->layer == i))
                sum += !strcmp(f->metric, "cache_paper") ? paper(s->spec, i, kinds[k], tokens)
                                                         : 4 * held(s->spec, i, kinds[k], tokens);
    want w = exactly(sum);
    w.x = tokens, w.y = f->layer;
    return w;
}

// ---------------------------------------------------------------------------------------------------- throughput
static want speed(subject *s, const figure *f) {
    (void)s;
    double v[16];
    int n = 0;
    hy_store *db = open_db("x.db");
    hy_query *q;
    bool row;
    OK(hy_store_query(db, &q, "SELECT value FROM sample WHERE metric_id = ? ORDER BY value", "l", f->id));
    while (n < 16 && hy_query_step(q, &row) == HY_OK && row) v[n++] = hy_query_double(q, 0);
    hy_query_close(q);
    hy_store_close(db);
    assert_int_equal(n, option_int(f->options, "repetitions", 5));
    assert_true(v[0] > 0);
    want w = exactly((v[1] + v[2]) / 2);  // of four
    w.n = n, w.x = 6, w.y = 2;
    assert_string_equal(f->cell, "T6.B2");
    return w;
}

// ---------------------------------------------------------------------------------------------------- maps, outputs
static int cut_at(const example *e, const figure *f, int otherwise) {
    const int most = option_int(f->options, "max_len", otherwise);
    return e->run.m->meta_tokens + (e->T < most ? e->T : most);
}

// The examples that a measure looks at, one figure of each.
static want each_example(subject *s, const figure *f, int examples, int max_len,
                         double (*of)(const figure *f, const plain_run *r, int end)) {
    const int cell = option_int(f->options, "cell", 0), most = option_int(f->options, "examples", examples);
    double v[MOST_EXAMPLES];
    int n = 0;
    for (; n < s->n_examples[cell] && n < most; n++) {
        const example *e = &s->examples[cell][n];
        v[n] = of(f, &e->run, cut_at(e, f, max_len));
    }
    want w = over_examples(v, n);
    w.x = layer_of(f);
    return w;
}

static double statistic(const figure *f, const plain_run *r, int end) {
    const map_statistics t = statistics_of(r, layer_of(f), f->kind, f->options, end);
    return !strcmp(f->metric, "map_entropy")       ? t.entropy
           : !strcmp(f->metric, "map_entropy_rel") ? t.relative
           : !strcmp(f->metric, "map_distance")    ? t.distance
           : !strcmp(f->metric, "map_meta")        ? t.meta
           : !strcmp(f->metric, "map_bos")         ? t.bos
           : !strcmp(f->metric, "map_self")        ? t.self
                                                   : t.cross;
}
static double steps_entropy(const figure *f, const plain_run *r, int end) {
    return step_entropy_of(r, layer_of(f), end);
}
static want map_figure(subject *s, const figure *f) {
    want w = each_example(s, f, 1, 256, strcmp(f->metric, "step_entropy") ? statistic : steps_entropy);
    w.se = NAN;
    return w;
}

// What float32 made of one layer's values: not nothing, and no more than its rounding. The recurrence is in double.
static want map_check(subject *s, const figure *f) {
    (void)s;
    const bool doubles = !strcmp(f->cell, "ssm");
    assert_true(f->value >= 0 && f->value < (doubles ? 1e-12 : 1e-5));
    if (option_int(f->options, "max_len", 256) > 1 && !doubles) assert_true(f->value > 1e-10);
    return exactly(f->value);
}

static double field(const figure *f, const plain_run *r, int end) {
    double heads, d;
    const int layer = layer_of(f);
    if (layer < 0)
        d = field_of(r, f->options, end);
    else
        d = layer_field(r, layer, f->options, end, &heads) / heads;
    if (strcmp(f->metric, "erf_relative")) return d;
    return d / (end - (option_is(f->options, "meta", "renormalised") ? r->m->meta_tokens : 0));
}
static want receptive(subject *s, const figure *f) { return each_example(s, f, 8, 1 << 20, field); }

static double head_distance(const figure *f, const plain_run *r, int end) {
    const layer_distances d = distances_of(r, layer_of(f), f->options, end);
    return !strcmp(f->metric, "channel_distance") ? d.channels : !strcmp(f->kind, "ssm") ? d.group : d.attention;
}
static want distance(subject *s, const figure *f) {
    want w = each_example(s, f, 8, 1 << 20, head_distance);
    w.se = NAN;
    return w;
}

static double output(const figure *f, const plain_run *r, int end) {
    const int layer = layer_of(f), first = option_is(f->options, "positions", "all") ? 0 : r->m->meta_tokens;
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *o = &r->layer[layer];
    const int n[] = {l->heads * l->d_v, l->d_inner}, k = !strcmp(f->kind, "ssm");
    if (!strcmp(f->metric, "output_rms")) return rms_of(k ? o->s : o->a, n[k], first, end);
    const double both[] = {rms_of(o->part[0], n[0], first, end), rms_of(o->part[1], n[1], first, end)};
    return !strcmp(f->metric, "fused_rms") ? both[k] : both[k] / (both[0] + both[1]);
}
static want output_size(subject *s, const figure *f) { return each_example(s, f, 8, 1 << 20, output); }

// The stream and what is added to it; the cosine over all pairs, one by one.
static double stream(const figure *f, const plain_run *r, int end) {
    const int layer = strcmp(f->cell, "final") ? layer_of(f) : r->m->n_layers, d = r->m->d_model;
    const int first = option_is(f->options, "positions", "all") ? 0 : r->m->meta_tokens;
    static const char *const parts[] = {"attention", "ssm", "heads", "mlp"};
    const double *h = r->stream[layer];
    for (int k = 0; k < 4; k++)
        if (!strcmp(f->kind, parts[k])) return rms_of(r->layer[layer].added[k], d, first, end);
    if (!strcmp(f->metric, "stream_rms")) return rms_of(h, d, first, end);
    double sum = 0;
    int n = 0;
    for (int i = first; i < end; i++)
        for (int j = first; j < end; j++) {
            double ij = 0, ii = 0, jj = 0;
            for (int c = 0; c < d; c++)
                ij += h[i * d + c] * h[j * d + c], ii += h[i * d + c] * h[i * d + c], jj += h[j * d + c] * h[j * d + c];
            if (i != j) sum += ij / sqrt(ii * jj), n++;
        }
    return sum / n;
}
static want stream_size(subject *s, const figure *f) {
    want w = each_example(s, f, 8, 1 << 20, stream);
    if (!strcmp(f->cell, "final")) w.x = g_plain.x;
    return w;
}

static want beta(subject *s, const figure *f) {
    const int layer = layer_of(f), k = !strcmp(f->kind, "ssm");
    const hy_layer_spec *l = &s->spec->layers[layer];
    const double by = k ? s->spec->multipliers.ssm_out : s->spec->multipliers.attention_out;
    char name[48];
    snprintf(name, sizeof name, "layers.%d.fuse.%s_norm", layer, k ? "ssm" : "attn");
    const double *v = plain_find(&s->w, "", name), one = 1;
    const int n = v ? (k ? l->d_inner : l->heads * l->d_v) : 1;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const double b = by * (v ? v[i] : one);
        sum += strcmp(f->metric, "beta_abs") ? b : fabs(b);
    }
    want w = g_plain;
    w.value = sum / n, w.n = n, w.x = layer;
    return w;
}

static want reaches(subject *s, const figure *f) { return each_example(s, f, 8, 1 << 20, reach_of); }

// Of the examples that have something to copy.
static want retrieval(subject *s, const figure *f) {
    const int cell = option_int(f->options, "cell", 0), most = option_int(f->options, "examples", 8);
    double v[MOST_EXAMPLES];
    int n = 0;
    for (int i = 0; i < s->n_examples[cell] && i < most; i++) {
        const example *e = &s->examples[cell][i];
        v[n] = retrieved(f, e, cut_at(e, f, 1 << 20));
        n += !isnan(v[n]);
    }
    want w = over_examples(v, n);
    w.x = layer_of(f);
    return w;
}

static want contributions(subject *s, const figure *f) { return each_example(s, f, 1, 256, contribution_of); }

static want received(subject *s, const figure *f) {
    const meta_place p = meta_place_of(f->cell);
    double v[MOST_EXAMPLES];
    int cell = 0, n = 0;
    for (int l = p.layer + 1; option_is(f->options, "layers", "[]") && l < s->spec->n_layers; l++)
        if (s->spec->layers[l].heads) fail_msg("%s: layer %d has attention, too, and comes later", f->cell, l);
    if (option_is(f->options, "prompts", "texts")) {
        v[n++] = meta_of_text(&s->w, &p, option_int(f->options, "max_len", 0));
    } else {
        while (strcmp(hy_task_cell(s->task, HY_SPLIT_EVAL, cell)->name, p.kind)) assert_true(++cell < s->n_cells);
        for (; n < s->n_examples[cell] && n < option_int(f->options, "examples", 8); n++)
            v[n] = meta_received(&s->examples[cell][n].run, &p, cut_at(&s->examples[cell][n], f, 1 << 20));
    }
    want w = over_examples(v, n);
    w.x = p.token;
    return w;
}

static want similarity(subject *s, const figure *f) {
    want w = each_example(s, f, 8, 256, alike);
    sscanf(f->cell, "layer%*d.layer%lf", &w.y);
    return w;
}

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
// The map [S, S] of one example: rows that add to 1; or with signs; or sizes between the smallest and the largest.
static void wanted_map(const plain_run *r, int layer, const char *kind, int index, const char *options, int S,
                       double *out) {
    const bool signs = option_is(options, "norm", "signed"), minmax = option_is(options, "norm", "minmax");
    double *row = hy_xcalloc((size_t)r->S, sizeof *row), low = INFINITY, high = -INFINITY;
    for (int i = 0; i < S; i++) {
        if (signs || minmax)
            raw_row(r, layer, kind, index, signs, i, row);
        else
            map_row(r, layer, kind, index, reduce_of(options), option_is(options, "gate", "true"), i, row);
        for (int j = 0; j < S; j++) {
            const bool sees = map_sees(r, layer, kind, i, j);
            const double v = minmax ? fabs(row[j]) : row[j];
            out[i * S + j] = sees ? v : NAN;
            if (sees) low = fmin(low, v), high = fmax(high, v);
        }
    }
    for (int i = 0; minmax && i < S * S; i++) out[i] = (out[i] - low) / (high - low);
    free(row);
}

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
    double *one = hy_xcalloc(2 * (size_t)S * (size_t)S, sizeof *one), *mean = one + S * S;
    for (int e = 0; e < most; e++) {
        wanted_map(&s->examples[cell][e].run, layer, kind, index, options, S, one);
        for (int i = 0; i < S * S; i++) mean[i] += one[i] / most;
    }
    for (int i = 0; i < S * S; i++)
        if (!close_to(map[i], mean[i], 1e-4, 1e-6))
            fail_msg("%s of %s, [%d, %d]: %g, wanted %g, options %s", name, s->variant, i / S, i % S, (double)map[i],
                     mean[i], options);
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
