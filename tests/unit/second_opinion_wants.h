// second_opinion_wants.h - what each stored figure ought to be, computed a second way: closed forms, loops over
// plain_model.h, raw rows. For test_second_opinion.c, which walks all that is stored.
#ifndef HY_SECOND_OPINION_WANTS_H
#define HY_SECOND_OPINION_WANTS_H
#include "analysis/probe/gradient.h"
#include "results/metrics.h"
#include "tests/unit/second_opinion_ablation.h"
#include "tests/unit/second_opinion_contribution.h"
#include "tests/unit/second_opinion_gradient.h"
#include "tests/unit/second_opinion_kv.h"
#include "tests/unit/second_opinion_maps.h"
#include "tests/unit/second_opinion_meta.h"
#include "tests/unit/second_opinion_reach.h"
#include "tests/unit/second_opinion_retrieval.h"
#include "tests/unit/second_opinion_score.h"

// ---------------------------------------------------------------------------------------------------- training
static inline double stored(const figure *f, const char *what, const char *metric) {
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

static inline want stopping(subject *s, const figure *f) {
    char *first =
        hy_asprintf("min(CASE WHEN final = 0 AND cell = '' AND value >= %.17g THEN step END)", s->recipe.stop_accuracy);
    const double at = stored(f, first, "accuracy");
    free(first);
    assert_true(s->recipe.stop_accuracy > 0);
    assert_true(s->steps == (isnan(at) ? s->recipe.steps : (int64_t)at));
    return exactly(!strcmp(f->metric, "reached") ? !isnan(at) : at);
}

static inline want rate_of_training(subject *s, const figure *f) {
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

static inline want seconds_of_training(subject *s, const figure *f) {  // test_second_training.c has a clock of its own
    (void)s;
    assert_true(f->value > 0 && f->value < 600);
    return exactly(f->value);
}

// ---------------------------------------------------------------------------------------------------- size, cache
static inline want parameters(subject *s, const figure *f) {
    (void)f;
    size_t n = 0;
    for (int i = 0; i < s->w.n; i++) n += s->w.t[i].n;
    return exactly((double)n);
}

// The last of so many text tokens, counted as plain_model.h computes it.
static inline want flops(subject *s, const figure *f) {
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
static inline double held(const hy_model_spec *m, int layer, const char *kind, int tokens) {
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
static inline double paper(const hy_model_spec *m, int layer, const char *kind, int tokens) {
    const hy_layer_spec *l = &m->layers[layer];
    bool share = false;
    for (int i = 0; i < m->n_layers; i++)
        share = share || (m->layers[i].heads && m->layers[i].window && m->layers[i].kv_source != i);
    if (!strcmp(kind, "conv") || (!strcmp(kind, "meta") && l->window)) return 0;
    if (strcmp(kind, "kv") || !l->window) return 2 * held(m, layer, kind, tokens);
    const double all = 2.0 * l->kv_heads * (l->d_qk + l->d_v) * (tokens < l->window ? tokens : l->window);
    return share ? all / 2 : all;
}

static inline want cache(subject *s, const figure *f) {
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
static inline want speed(subject *s, const figure *f) {
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
static inline int cut_at(const example *e, const figure *f, int otherwise) {
    const int most = option_int(f->options, "max_len", otherwise);
    return e->run.m->meta_tokens + (e->T < most ? e->T : most);
}

// The examples that a measure looks at, one figure of each.
static inline want each_example(subject *s, const figure *f, int examples, int max_len,
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

static inline double statistic(const figure *f, const plain_run *r, int end) {
    const map_statistics t = statistics_of(r, layer_of(f), f->kind, f->options, end);
    return !strcmp(f->metric, "map_entropy")       ? t.entropy
           : !strcmp(f->metric, "map_entropy_rel") ? t.relative
           : !strcmp(f->metric, "map_distance")    ? t.distance
           : !strcmp(f->metric, "map_meta")        ? t.meta
           : !strcmp(f->metric, "map_bos")         ? t.bos
           : !strcmp(f->metric, "map_self")        ? t.self
                                                   : t.cross;
}
static inline double steps_entropy(const figure *f, const plain_run *r, int end) {
    return step_entropy_of(r, layer_of(f), end);
}
static inline want map_figure(subject *s, const figure *f) {
    want w = each_example(s, f, 1, 256, strcmp(f->metric, "step_entropy") ? statistic : steps_entropy);
    w.se = NAN;
    return w;
}

// What float32 made of one layer's values: not nothing, and no more than its rounding. The recurrence is in double.
static inline want map_check(subject *s, const figure *f) {
    (void)s;
    const bool doubles = !strcmp(f->cell, "ssm");
    assert_true(f->value >= 0 && f->value < (doubles ? 1e-12 : 1e-5));
    if (option_int(f->options, "max_len", 256) > 1 && !doubles) assert_true(f->value > 1e-10);
    return exactly(f->value);
}

static inline double field(const figure *f, const plain_run *r, int end) {
    double heads, d;
    const int layer = layer_of(f);
    if (layer < 0)
        d = field_of(r, f->options, end);
    else
        d = layer_field(r, layer, f->options, end, &heads) / heads;
    if (strcmp(f->metric, "erf_relative")) return d;
    return d / (end - (option_is(f->options, "meta", "renormalised") ? r->m->meta_tokens : 0));
}
static inline want receptive(subject *s, const figure *f) { return each_example(s, f, 8, 1 << 20, field); }

static inline double head_distance(const figure *f, const plain_run *r, int end) {
    const layer_distances d = distances_of(r, layer_of(f), f->options, end);
    return !strcmp(f->metric, "channel_distance") ? d.channels : !strcmp(f->kind, "ssm") ? d.group : d.attention;
}
static inline want distance(subject *s, const figure *f) {
    want w = each_example(s, f, 8, 1 << 20, head_distance);
    w.se = NAN;
    return w;
}

static inline double output(const figure *f, const plain_run *r, int end) {
    const int layer = layer_of(f), first = option_is(f->options, "positions", "all") ? 0 : r->m->meta_tokens;
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *o = &r->layer[layer];
    const int n[] = {l->heads * l->d_v, l->d_inner}, k = !strcmp(f->kind, "ssm");
    if (!strcmp(f->metric, "output_rms")) return rms_of(k ? o->s : o->a, n[k], first, end);
    const double both[] = {rms_of(o->part[0], n[0], first, end), rms_of(o->part[1], n[1], first, end)};
    return !strcmp(f->metric, "fused_rms") ? both[k] : both[k] / (both[0] + both[1]);
}
static inline want output_size(subject *s, const figure *f) { return each_example(s, f, 8, 1 << 20, output); }

// The stream and what is added to it; the cosine over all pairs, one by one.
static inline double stream(const figure *f, const plain_run *r, int end) {
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
static inline want stream_size(subject *s, const figure *f) {
    want w = each_example(s, f, 8, 1 << 20, stream);
    if (!strcmp(f->cell, "final")) w.x = g_plain.x;
    return w;
}

static inline want beta(subject *s, const figure *f) {
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

static inline want reaches(subject *s, const figure *f) { return each_example(s, f, 8, 1 << 20, reach_of); }

// Of the examples that have something to copy.
static inline want retrieval(subject *s, const figure *f) {
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

static inline want contributions(subject *s, const figure *f) { return each_example(s, f, 1, 256, contribution_of); }

static inline want received(subject *s, const figure *f) {
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

static inline want similarity(subject *s, const figure *f) {
    want w = each_example(s, f, 8, 256, alike);
    sscanf(f->cell, "layer%*d.layer%lf", &w.y);
    return w;
}
#endif
