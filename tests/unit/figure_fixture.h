// figure_fixture.h - a store whose every number differs from every other, what its raw tables hold, and a reader of the
// data and script that a figure leaves: what somebody sees who looks for a name in the legend, then for its colour.
#ifndef HY_FIGURE_FIXTURE_H
#define HY_FIGURE_FIXTURE_H
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analysis/report/report_page.h"
#include "results/identity.h"
#include "tests/unit/store_fixture.h"

enum { VARIANTS = 3, TASKS = 2, POINTS = 2, SEEDS = 3, STEPS = 150, SIDE = 5, META = 2, TOKENS = 100 };
static const char *const variants[VARIANTS] = {"x y", "x_y", "50% G"}, *const tasks[TASKS] = {"near", "far"};
static const char *const stems[VARIANTS] = {"x_y", "x__y", "50.25_G"};  // of their files
static const int seeds[SEEDS] = {11, 12, 13};
static const double rates[POINTS] = {0.001, 0.01};
static const char *const cache_kinds[] = {"kv", "meta", "conv", "ssm"}, *const head_kinds[] = {"attention", "ssm",
                                                                                               "layer"};

// ---------------------------------------------------------------------------------------------------- the store
typedef struct {
    int v, t, g, k;  // variant, task, grid point, seed
} place;

// A number from 0 to 1 that no other place, name and index have.
static inline double unequal(place p, const char *name, int index) {
    char text[128];
    snprintf(text, sizeof text, "%d %d %d %d %s %d", p.v, p.t, p.g, p.k, name, index);
    return (double)(hy_hash64(text, strlen(text)) >> 12) / 4503599627370496.0;
}

// The learning rate with the lowest mean loss. Of the first variant it owes that to its first seed: the other seeds
// choose the other one.
static inline int best_point(int v, int t) { return (v + t) % 2; }
// More than ten of the last: their cells are not in the order of their names.
static inline int layers_of(int v) { return v == 2 ? 12 : v + 3; }
// Which kinds of heads and of cache a variant has: attention; SSM; both.
static inline bool has_heads(int v, int kind) { return v == 2 || v == kind; }
static inline bool has_cache(int v, int kind) { return v == 2 || (v == 0 && kind == 0) || (v == 1 && kind >= 2); }
static inline bool failed(place p) { return p.v == 2 && p.t == 1 && p.k == 2; }

static inline hy_fact *fact(hy_facts *f, place p, const char *metric, const char *cell, double from, double to) {
    const double u = unequal(p, metric, (int)(hy_hash64(cell, strlen(cell)) & 0xFFFFFF));
    return hy_facts_add(f, metric, cell, from + u * (to - from));
}

// Evaluation cells of a task: two of the one, length and depth of the other (of which a variant lacks one).
static inline int cell_of(place p, int i, char name[32], double *x, double *y) {
    static const double depth[] = {0, 0.25, 0.5, 1};
    const int n = p.t == 0 ? 2 : 8;
    *x = p.t == 0 ? 16 + 8 * i : i < 4 ? 128 : 64;  // "T128" stands before "T64"
    *y = p.t == 0 ? 2 + 2 * i : depth[i % 4];
    snprintf(name, 32, "T%g.D%g", *x, *y);
    return i < n && !(p.v == 1 && p.t == 1 && i == 5);
}

static inline void facts_accuracy(hy_facts *f, place p) {
    for (int i = 0; i < 8; i++) {
        char name[32];
        double x, y;
        if (!cell_of(p, i, name, &x, &y)) continue;
        hy_fact *a = fact(f, p, "accuracy", name, 0.2, 0.9);
        a->x = x, a->y = y;
        if (p.t == 0) hy_facts_add(f, "accuracy_chance", name, 1 / y);
    }
    fact(f, p, "accuracy", "", 0.2, 0.9);
    if (p.t == 0) hy_facts_add(f, "accuracy_chance", "", 0.375);
    const bool best = p.g == best_point(p.v, p.t);
    const double low = p.v == 0 ? (best ? (p.k == 0 ? 0.2 : 3.1) : 2.7) : best ? 1 : 3;
    fact(f, p, "loss", "", low, low + (p.v == 0 ? 0.1 : 1));
    fact(f, p, "parameters", "", 1e6, 5e6);
    hy_fact *early = hy_facts_add(f, "accuracy", "", 0.999);  // on the way: not a result
    early->final = false, early->step = 5;
}

static inline void facts_cache(hy_facts *f, place p) {
    hy_fact *a = fact(f, p, "cache_true", "", 2e6 * (p.v + 1), 3e6 * (p.v + 1)),
            *b = fact(f, p, "cache_paper", "", 1e6, 4e6);
    b->x = TOKENS;
    a = &f->fact[f->n_facts - 2];
    a->x = TOKENS, a->y = -1;
    for (int l = 0; l < layers_of(p.v); l++)
        for (int k = 0; k < 4; k++) {
            if (!has_cache(p.v, k) || (l == 1 && k == 0 && p.v == 2)) continue;
            char cell[32];
            snprintf(cell, sizeof cell, "layer%d.%s", l, cache_kinds[k]);
            hy_fact *c = fact(f, p, "cache_true", cell, 1e5, 9e5);
            c->x = TOKENS, c->y = l;
            if (p.v == 2 && l == 2 && k == 1) c->value = INFINITY;  // stored as such, and no bar
            hy_fact_at(c, l, cache_kinds[k], -1);
        }
    hy_fact *kv = fact(f, p, "cache_true", "kv", 1e5, 9e5);  // of no layer: not a bar
    hy_fact_at(kv, -1, "kv", -1);
}

static inline void facts_throughput(hy_facts *f, place p) {
    static const char *const names[] = {"throughput_train", "throughput_prefill", "throughput_decode"};
    for (int i = 0; i < 3; i++)
        for (int c = 0; c < 3; c++) {  // 128 x 1, 256 x 1, 256 x 4
            const int context = c == 0 ? 128 : 256, batch = c == 2 ? 4 : 1;
            char cell[32];
            snprintf(cell, sizeof cell, "T%d.B%d", context, batch);
            hy_fact *a = fact(f, p, names[i], cell, 1e3 * (i + 1), 9e3 * (i + 1));
            double rep[5];
            for (int r = 0; r < 5; r++) rep[r] = a->value * (1 + 0.1 * (r - 2) * (1 + unequal(p, cell, r)));
            rep[2] = a->value;
            hy_fact_samples(a, rep, 5);
            a->x = context, a->y = batch;
        }
}

static inline void facts_maps(hy_facts *f, place p, bool other) {
    for (int l = 0; l < layers_of(p.v); l++)
        for (int k = 0; k < 3; k++) {
            if (k < 2 && !has_heads(p.v, k)) continue;
            char cell[32], meta[128];
            snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
            snprintf(meta, sizeof meta, "{\"meta_tokens\":%d,\"cell\":\"T16\",\"options\":\"%s\"}", META,
                     other ? "norm=other" : "norm=first");
            float a[SIDE * SIDE];
            for (int i = 0; i < SIDE * SIDE; i++) a[i] = i % SIDE > i / SIDE ? NAN : (float)unequal(p, cell, i);
            hy_artifact_at(hy_facts_artifact(f, cell, "f32", 2, (int[]){SIDE, SIDE}, a, meta), l, head_kinds[k], -1);
            hy_fact *e = fact(f, p, "map_entropy", cell, 1, 4);
            e->x = l;
            hy_fact_at(e, l, head_kinds[k], -1);
        }
}

static inline void facts_erf(hy_facts *f, place p, bool other) {
    hy_fact *e = fact(f, p, "erf", "", 5, 90);
    e->meta = hy_xstrdup(other ? "{\"options\":\"ssm=other\"}" : "{\"options\":\"ssm=halves\"}");
    if (p.v == 0 && p.t == 1 && p.k == 1) e->value = NAN;  // stored as NULL
    for (int l = 0; l < layers_of(p.v); l++) {
        char cell[32];
        snprintf(cell, sizeof cell, "layer%d", l);
        hy_fact_at(fact(f, p, "erf", cell, 5, 90), l, NULL, -1);
    }
}

static inline void facts_outputs(hy_facts *f, place p) {
    static const char *const names[] = {"output_rms", "fused_rms", "beta_abs"};
    for (int i = 0; i < (p.v == 2 ? 3 : 1); i++)
        for (int l = layers_of(p.v) - 1; l >= 0; l--)
            for (int k = 0; k < 2; k++) {
                if (!has_heads(p.v, k)) continue;
                char cell[32];
                snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
                const double size = i == 0 && k == 1 ? 0.01 : 1;
                hy_fact_at(fact(f, p, names[i], cell, size, 2 * size), l, head_kinds[k], -1);
                if (i == 2) hy_fact_at(fact(f, p, "output_share", cell, 0.1, 0.9), l, head_kinds[k], -1);
            }
}

// Positions may be less alike than by chance: cosines on both sides of 0.
static inline void facts_stream(hy_facts *f, place p) {
    static const char *const parts[] = {"attention", "ssm", "stream"};
    for (int l = layers_of(p.v) - 1; l >= 0; l--)
        for (int k = 0; k < 3; k++) {
            if (k < 2 && !has_heads(p.v, k)) continue;
            char cell[48];
            snprintf(cell, sizeof cell, k < 2 ? "layer%d.%s" : "layer%d", l, parts[k]);
            hy_fact_at(fact(f, p, "stream_rms", cell, k == 1 ? 0.01 : 1, k == 1 ? 0.02 : 2), l, parts[k], -1);
            if (k < 2) continue;
            hy_fact *a = fact(f, p, "stream_cosine", cell, 0, 1);
            a->value -= 0.5;
            hy_fact_at(a, l, parts[k], -1);
        }
    fact(f, p, "stream_rms", "final", 1, 2);
}

// Some lose nothing: values on both sides of 0, some of single heads, which no bar of a layer shows.
static inline void facts_ablation(hy_facts *f, place p) {
    static const char *const names[] = {"accuracy_drop", "loss_rise"};
    for (int i = 0; i < 2; i++)
        for (int l = layers_of(p.v) - 1; l >= 0; l--)
            for (int k = 0; k < 2; k++) {
                if (!has_heads(p.v, k)) continue;
                char cell[48];
                snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
                hy_fact *a = fact(f, p, names[i], cell, 0, 1);
                a->value -= 0.5;
                hy_fact_at(a, l, head_kinds[k], -1);
                snprintf(cell, sizeof cell, "layer%d.%s1", l, k ? "group" : "head");
                hy_fact_at(fact(f, p, names[i], cell, 5, 9), l, head_kinds[k], 1);
            }
    fact(f, p, "loss_without", "intact", 1, 2);
}

// Points of curves not in their order; numbers of parts as far as a variant has layers.
static inline void facts_removal(hy_facts *f, place p) {
    static const char *const order[] = {"random", "least", "most"};
    for (int o = 0; o < 3; o++)
        for (int k = layers_of(p.v); k >= 0; k--) {
            char cell[32];
            snprintf(cell, sizeof cell, "%s.%d", order[o], k);
            hy_fact *a = fact(f, p, "accuracy_left", cell, 0.3, 0.7);
            a->x = k, a->y = (double)k / layers_of(p.v);
            hy_fact_at(a, -1, order[o], -1);
            hy_fact_at(fact(f, p, "loss_left", cell, 5, 9), -1, order[o], -1);
        }
}

// The second of the last variant's layers uses the keys of the first.
static inline void facts_kv(hy_facts *f, place p) {
    static const char *const names[] = {"key_cosine", "value_cosine", "key_cka", "value_cka"};
    for (int i = 0; i < 4; i++)
        for (int b = layers_of(p.v) - 1; b > 0; b--)
            for (int a = 0; a < b && has_heads(p.v, 0); a++) {
                char cell[48];
                snprintf(cell, sizeof cell, "layer%d.layer%d", a, b);
                const bool shared = p.v == 2 && a == 0 && b == 1;
                hy_fact *k = fact(f, p, names[i], cell, i < 2 ? -0.4 : 0, 1);
                if (shared) k->value = 1;
                k->x = a, k->y = b;
                hy_fact_at(k, a, shared ? "shared" : "kv", -1);
            }
}

// By layer; of single heads as well, which no line shows.
static inline void facts_reach(hy_facts *f, place p) {
    static const char *const names[] = {"span",          "mean_distance", "half_life_q05", "half_life_q25",
                                        "half_life_q50", "half_life_q75", "half_life_q95"};
    for (int i = 0; i < 7; i++)
        for (int l = layers_of(p.v) - 1; l >= 0; l--)
            for (int k = i < 2 ? 0 : 1; k < 2; k++) {
                if (!has_heads(p.v, k)) continue;
                char cell[48];
                snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
                hy_fact_at(fact(f, p, names[i], cell, 40, 60), l, head_kinds[k], -1);
                snprintf(cell, sizeof cell, "layer%d.head1", l);
                if (!k) hy_fact_at(fact(f, p, names[i], cell, 500, 900), l, head_kinds[k], 1);
            }
}

// A layer has as many heads as its number tells, one at least; of their mean nothing is shown.
static inline int heads_at(int layer) { return 1 + layer % 3; }
static inline void facts_retrieval(hy_facts *f, place p) {
    for (int l = layers_of(p.v) - 1; l >= 0; l--)
        for (int k = 0; k < 2; k++) {
            if (!has_heads(p.v, k)) continue;
            char cell[48];
            snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
            hy_fact_at(fact(f, p, "retrieval_score", cell, 0.1, 0.9), l, head_kinds[k], -1);
            hy_fact_at(fact(f, p, "retrieval_uniform", cell, 0.01, 0.05), l, head_kinds[k], -1);
            for (int h = heads_at(l) - 1; h >= 0 && !k; h--) {
                snprintf(cell, sizeof cell, "layer%d.head%d", l, h);
                hy_fact_at(fact(f, p, "retrieval_score", cell, 0.1, 0.9), l, head_kinds[k], h);
                hy_fact_at(fact(f, p, "retrieval_top", cell, 0.1, 0.9), l, head_kinds[k], h);
            }
        }
}

// Maps as above; shares where there are both kinds of heads, not in the middle layer.
static inline void facts_contributions(hy_facts *f, place p, bool other) {
    for (int l = 0; l < layers_of(p.v); l++)
        for (int k = 0; k < 3; k++) {
            if (k < 2 && !has_heads(p.v, k)) continue;
            char cell[48], name[64], meta[128];
            snprintf(cell, sizeof cell, "layer%d.%s", l, head_kinds[k]);
            snprintf(name, sizeof name, "contribution.%s", cell);
            snprintf(meta, sizeof meta, "{\"meta_tokens\":%d,\"cell\":\"T16\",\"options\":\"%s\"}", META,
                     other ? "size=other" : "size=first");
            float a[SIDE * SIDE];
            for (int i = 0; i < SIDE * SIDE; i++) a[i] = i % SIDE > i / SIDE ? NAN : (float)unequal(p, name, i);
            hy_artifact_at(hy_facts_artifact(f, name, "f32", 2, (int[]){SIDE, SIDE}, a, meta), l, head_kinds[k], -1);
            if (k < 2 && p.v == 2 && l != 1)
                hy_fact_at(fact(f, p, "contribution_share", cell, 0.2, 0.4), l, head_kinds[k], -1);
        }
}

// Distances 0, 1, 4-5 and as far as variants differ, not in their order.
static inline int distances_at(int v) { return 2 + v; }
static inline double distance_at(int k, bool last) { return k < 2 ? k : last ? 5.0 * (k - 1) : 4.0 * (k - 1); }
static inline void facts_gradient(hy_facts *f, place p) {
    fact(f, p, "gradient_distance", "", 3, 5);
    for (int k = distances_at(p.v) - 1; k >= 0; k--) {
        char cell[48];
        snprintf(cell, sizeof cell, "distance%d", k);
        hy_fact *a = fact(f, p, "gradient_share", cell, 0.1, 0.3);
        a->x = distance_at(k, false), a->y = distance_at(k, true);
    }
}

// Three kinds of prompts, two of the layers with heads; a single head, which is not shown.
static const char *const prompts[] = {"T24.K2", "article", "code"};
enum { PROMPTS = 3 };
static inline void facts_meta(hy_facts *f, place p) {
    for (int i = 0; i < 2 * PROMPTS * META && has_heads(p.v, 0); i++) {
        const int l = layers_of(p.v) - 1 - i % 2, k = i / 2 % PROMPTS, j = META - 1 - i / (2 * PROMPTS);
        char cell[64];
        snprintf(cell, sizeof cell, "%s.layer%d.meta%d", prompts[k], l, j);
        hy_fact *a = fact(f, p, "meta_attention", cell, 0.01, 0.3);
        a->x = j;
        hy_fact_at(a, l, "attention", -1);
        snprintf(cell, sizeof cell, "%s.layer%d.head0.meta%d", prompts[k], l, j);
        a = fact(f, p, "meta_attention", cell, 0.5, 0.9);
        a->x = j;
        hy_fact_at(a, l, "attention", 0);
    }
}

// Every measure of figures is taken with a second set of options: that is not what they show.
static const char *const measures[] = {
    "accuracy", "cache",         "throughput",    "maps",          "maps",         "erf",       "outputs",   "ablation",
    "stream",   "removal",       "outputs",       "throughput",    "erf",          "cache",     "ablation",  "stream",
    "removal",  "kv_similarity", "kv_similarity", "reach",         "reach",        "retrieval", "retrieval", "meta",
    "meta",     "gradient_erf",  "gradient_erf",  "contributions", "contributions"};
enum { MEASURES = 29 };
static inline bool second(int m) {
    return m == 4 || (m > 9 && m != 17 && m != 19 && m != 21 && m != 23 && m != 25 && m != 27);
}
static inline const char *options_of(int m) { return second(m) ? "which: second\n" : "which: first\n"; }

// Whether a place was measured: timings of two seeds and of the last variant on the second task only; maps without the
// first seed.
static inline bool measured(place p, int m) {
    if (m == 2 || m == 11) return p.k < 2 && (p.v != 2 || p.t == 1);
    return m != 3 && m != 4 ? true : p.k > 0;
}

static inline void fill_measure(hy_store *s, int64_t model, place p, int m, bool decoy) {
    const hy_measurement_record r = {.model_id = model,
                                     .measure = measures[m],
                                     .version = 1,
                                     .options = options_of(m),
                                     .by = {.device_name = "a cpu", .threads = 1}};
    hy_claim c;
    int64_t id;
    OK(hy_measurement_claim(s, &r, decoy ? 0 : HY_CLAIM_FORCE, &c, &id));
    hy_facts f = {.steps = STEPS};
    const place at = {p.v, p.t, p.g + (decoy ? 20 : 0) + (second(m) ? 40 : 0), p.k};
    const char *of = measures[m];
    if (!strcmp(of, "accuracy")) facts_accuracy(&f, at);
    if (!strcmp(of, "cache")) facts_cache(&f, at);
    if (!strcmp(of, "throughput")) facts_throughput(&f, at);
    if (!strcmp(of, "maps")) facts_maps(&f, at, m == 4);
    if (!strcmp(of, "erf")) facts_erf(&f, at, m == 12);
    if (!strcmp(of, "outputs")) facts_outputs(&f, at);
    if (!strcmp(of, "ablation")) facts_ablation(&f, at);
    if (!strcmp(of, "stream")) facts_stream(&f, at);
    if (!strcmp(of, "removal")) facts_removal(&f, at);
    if (!strcmp(of, "kv_similarity")) facts_kv(&f, at);
    if (!strcmp(of, "reach")) facts_reach(&f, at);
    if (!strcmp(of, "retrieval")) facts_retrieval(&f, at);
    if (!strcmp(of, "meta")) facts_meta(&f, at);
    if (!strcmp(of, "gradient_erf")) facts_gradient(&f, at);
    if (!strcmp(of, "contributions")) facts_contributions(&f, at, m == 28);
    OK(hy_measurement_settle(s, id, &f, !strcmp(of, "erf") && p.v == 1 && p.t == 0 && p.k == 1 ? "no memory" : NULL));
    hy_facts_free(&f);
}

static inline const char *model_key_of(place p, char key[32]) {
    snprintf(key, 32, "k%d%d%d", p.v, p.t, p.g);
    return key;
}

static inline void fill_model(hy_store *s, place p) {
    char key[32];
    hy_model_record r = model(model_key_of(p, key), seeds[p.k]);
    r.device = p.v ? "cpu" : "cuda", r.precision = p.v ? "f32" : "bf16";
    r.variant = variants[p.v], r.task = tasks[p.t], r.by.device_name = p.v ? "a cpu" : "a gpu";
    hy_claim c;
    int64_t id;
    OK(hy_model_claim(s, &r, 0, &c, &id));
    hy_facts f = {.steps = STEPS};
    fact(&f, p, "steps_to_reach", "", 10, 140);
    for (int step = 1; step <= STEPS; step++)
        hy_facts_curve(&f, &(hy_curve_point){step, 1 + unequal(p, "curve", step), 1e-3, 1, 100});
    OK(hy_model_settle(s, id, &f, NULL, NULL, failed(p) ? "diverged" : NULL));
    hy_facts_free(&f);
    if (failed(p)) return;
    for (int m = 0; m < MEASURES; m++) {
        if (!measured(p, m)) continue;
        if (m == 0 || m == 2) fill_measure(s, id, p, m, true);  // taken again: the first ones do not count
        fill_measure(s, id, p, m, false);
    }
}

static inline void fill_plan(hy_store *s) {
    static char keys[VARIANTS * TASKS * POINTS * SEEDS][32], of[MEASURES][33];
    hy_planned_row plan[VARIANTS * TASKS * POINTS * SEEDS];
    hy_planned_key wanted[MEASURES];
    int n = 0;
    for (int m = 0; m < MEASURES; m++) {
        hy_measurement_identity(options_of(m), "", of[m]);
        wanted[m] = (hy_planned_key){measures[m], 1, of[m]};
    }
    for (int k = SEEDS - 1; k >= 0; k--)  // not in the order of the seeds
        for (int t = 0; t < TASKS; t++)
            for (int v = 0; v < VARIANTS; v++)
                for (int g = 0; g < POINTS; g++, n++)
                    plan[n] = (hy_planned_row){.variant = variants[v],
                                               .task = tasks[t],
                                               .grid = g ? "lr=1e-2" : "lr=1e-3",
                                               .variant_ord = v,
                                               .task_ord = t,
                                               .grid_ord = g,
                                               .seed = seeds[k],
                                               .model_key = model_key_of((place){v, t, g, k}, keys[n]),
                                               .device = v ? "cpu" : "cuda",
                                               .n_measures = MEASURES,
                                               .measures = wanted};
    const hy_grid_row grid[] = {{0, "train.lr", "0.001"}, {1, "train.lr", "0.01"}};
    const hy_paper_row paper[] = {
        {variants[0], "recall", 41.5}, {variants[2], "recall", 17.25}, {variants[1], "recall", 3}};
    const hy_experiment_record e = {.name = "fig",
                                    .scale = "small",
                                    .sets = "",
                                    .question = "Which?",
                                    .yaml = "y",
                                    .n_plan = n,
                                    .plan = plan,
                                    .n_grid = 2,
                                    .grid = grid,
                                    .n_paper = 3,
                                    .paper = paper,
                                    .tune_by = "loss",
                                    .base = variants[1]};
    int64_t id;
    OK(hy_experiment_store(s, &e, &id));
}

static inline hy_store *figure_store(void) {
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    fill_plan(s);
    for (int i = 0; i < VARIANTS * TASKS * POINTS * SEEDS; i++)
        fill_model(s, (place){i % 3, i / 3 % 2, i / 6 % 2, i / 12});
    return s;
}

// What draws in the place of gnuplot: a picture that holds the name of its file.
static const char stand_in[] = "#!/bin/sh\n"
                               "case \"$1\" in --version) echo gnuplot; exit 0;; esac\n"
                               "for a; do case \"$a\" in \"cd '\"*) d=${a#cd \\'}; cd \"${d%\\'}\";; FORMAT=*) "
                               "o=${a##*OUT=\\'}; o=${o%\\'};; esac; done\n"
                               "echo \"<svg><title>Gnuplot</title><desc>$o</desc></svg>\" >\"$o\"\n";

static inline void figure_stand_in(void) {
    char *path = hy_asprintf("%s/gnuplot", g_dir), *search = hy_asprintf("%s:%s", g_dir, getenv("PATH"));
    OK(hy_file_write(path, stand_in, strlen(stand_in)));
    if (chmod(path, 0755)) fail_msg("%s", path);
    setenv("PATH", search, 1);
    free(path), free(search);
}

// ---------------------------------------------------------------------------------------------------- the raw rows
// Every value of the runs, straight from the tables: with options like these, in order of the seeds.
static const char *raw_options = "%first%";
typedef struct {
    int v, t, g, seed;
    char metric[32], cell[48];
    double value;
} raw_row;
static inline raw_row *raw_all(hy_store *s, int *n) {
    hy_query *q;
    OK(hy_query_open(
        s,
        "SELECT f.value, p.seed, p.variant_ord, p.task_ord, p.grid_ord, d.name, f.cell FROM planned p JOIN model m ON"
        " m.model_key = p.model_key AND m.seed = p.seed"
        " AND m.device = p.device JOIN measurement x ON x.model_id = m.id JOIN metric f ON"
        " f.measurement_id = x.id JOIN metric_def d ON d.id = f.def_id"
        " LEFT JOIN planned_measure w ON w.experiment_id = p.experiment_id AND w.ord = p.ord AND"
        " w.measure = x.measure AND w.key = x.key"
        " WHERE m.status = 'done' AND m.superseded_by IS NULL AND x.status = 'done' AND x.superseded_by IS"
        " NULL AND f.final = 1 AND f.value IS NOT NULL AND (x.options LIKE ?1 OR x.measure = 'training') ORDER BY "
        "p.seed, w.nth",
        &q));
    hy_query_bind_text(q, 1, raw_options);
    bool row;
    raw_row *all = NULL;
    for (*n = 0; !hy_query_step(q, &row) && row; ++*n) {
        if (*n % 4096 == 0) all = hy_xrealloc(all, (size_t)(*n + 4096) * sizeof *all);
        raw_row *r = &all[*n];
        *r = (raw_row){
            (int)hy_query_int(q, 2), (int)hy_query_int(q, 3), (int)hy_query_int(q, 4), (int)hy_query_int(q, 1), "", "",
            hy_query_double(q, 0)};
        const int a = snprintf(r->metric, sizeof r->metric, "%s", hy_query_text(q, 5)),
                  b = snprintf(r->cell, sizeof r->cell, "%s", hy_query_text(q, 6));
        assert_true(a < (int)sizeof r->metric && b < (int)sizeof r->cell);
    }
    hy_query_close(q);
    return all;
}

// Values of a metric and cell, by seed; returns how many. The tables are read once for each kind of options.
static inline int raw(hy_store *s, int v, int t, int g, const char *metric, const char *cell, double *out, int *seed) {
    static hy_store *of;
    static const char *options;
    static raw_row *all;
    static int rows;
    if (of != s || options != raw_options) {
        free(all);
        all = raw_all(s, &rows);
        of = s, options = raw_options;
    }
    int n = 0;
    for (int i = 0; i < rows; i++) {
        const raw_row *r = &all[i];
        if (r->v != v || r->t != t || r->g != g || strcmp(r->metric, metric) || strcmp(r->cell, cell)) continue;
        assert_true(n < SEEDS);
        if (seed) seed[n] = r->seed;
        out[n++] = r->value;
    }
    return n;
}

typedef struct {
    int n;
    double mean, sd, lo, hi;  // NaN: none
} spread;
// The mean and its 95 % interval: Student's t, on the scale of asin(sqrt(x)) for a share, cut at `low` for the rest.
static inline spread spread_of(const double *v, int n, bool share, double low) {
    static const double t[] = {0, 0, 0, 4.302652729911275};  // 97.5 % point, n - 1 degrees of freedom
    spread s = {n, NAN, NAN, NAN, NAN};
    if (n == 0) return s;
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    s.mean = sum / n;
    for (int i = 0; i < n; i++) square += (v[i] - s.mean) * (v[i] - s.mean);
    if (n > 1) s.sd = sqrt(square / (n - 1));
    if (n < 3) return s;
    assert_int_equal(n, 3);
    const double half = t[3] * s.sd / sqrt(3), at = asin(sqrt(s.mean)), h = half / (2 * sqrt(s.mean * (1 - s.mean)));
    s.lo = share ? pow(sin(fmax(0, at - h)), 2) : fmax(low, s.mean - half);
    s.hi = share ? pow(sin(fmin(asin(1), at + h)), 2) : s.mean + half;
    return s;
}

static inline spread spread_at(hy_store *s, int v, int t, int g, const char *metric, const char *cell, double scale) {
    double x[SEEDS];
    if (strstr(metric, "_cosine") || strstr(metric, "_cka") || !strcmp(metric, "accuracy_drop")) {
        // from -1 to 1: as the share (1 + cosine) / 2
        const int n = raw(s, v, t, g, metric, cell, x, NULL);
        for (int i = 0; i < n; i++) x[i] = (1 + x[i]) / 2;
        const spread b = spread_of(x, n, true, 0);
        return (spread){b.n, scale * (2 * b.mean - 1), scale * 2 * b.sd, scale * (2 * b.lo - 1),
                        scale * (2 * b.hi - 1)};
    }
    const bool share =
        !strcmp(metric, "accuracy") || !strcmp(metric, "accuracy_left") || !strcmp(metric, "gradient_share") ||
        !strcmp(metric, "contribution_share");
    spread a =
        spread_of(x, raw(s, v, t, g, metric, cell, x, NULL), share, !strcmp(metric, "loss_rise") ? -INFINITY : 0);
    a.mean *= scale, a.sd *= scale, a.lo *= scale, a.hi *= scale;
    return a;
}

// The grid point that stands for a variant: the lowest mean loss.
static inline int best_at(hy_store *s, int v, int t) {
    const int g = spread_at(s, v, t, 0, "loss", "", 1).mean < spread_at(s, v, t, 1, "loss", "", 1).mean ? 0 : 1;
    assert_int_equal(g, best_point(v, t));
    return g;
}
#endif
