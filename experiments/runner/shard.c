// shard.c - see shard.h.
#include "experiments/runner/shard.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/plural.h"
#include "experiments/runner/first_equal.h"

#define MEASURE_TOKENS 4096  // what a measure counts for beside training

// ---------------------------------------------------------------------------------------------------- the partition
typedef struct {
    const char *key;
    double cost;
    int first;
} bundle;

static int longest_first(const void *a, const void *b) {
    const bundle *x = a, *y = b;
    return x->cost > y->cost ? -1 : x->cost < y->cost ? 1 : strcmp(x->key, y->key);
}

void hy_shard_split(const hy_shard_item *items, int n, int n_shards, int *shard, double *load) {
    int *first = hy_xcalloc((size_t)n, sizeof *first), *of = hy_xcalloc((size_t)n, sizeof *of), m = 0;
    bundle *b = hy_xcalloc((size_t)n, sizeof *b);
    double *sum = hy_xcalloc((size_t)n_shards, sizeof *sum);
    char(*keys)[sizeof items->key] = hy_xcalloc((size_t)n, sizeof *keys);
    for (int i = 0; i < n; i++) memcpy(keys[i], items[i].key, sizeof *keys);
    hy_first_equal(keys, sizeof *keys, n, first);
    for (int i = 0; i < n; i++) {
        if (first[i] == i) b[of[i] = m++] = (bundle){keys[i], items[i].cost, i};
        // the dearest of a bundle: it trains once, and a sum would depend on the order
        bundle *mine = &b[of[first[i]]];
        if (items[i].cost > mine->cost) mine->cost = items[i].cost;
    }
    qsort(b, (size_t)m, sizeof *b, longest_first);
    for (int j = 0; j < m; j++) {
        int least = 0;
        for (int k = 1; k < n_shards; k++)
            if (sum[k] < sum[least]) least = k;
        sum[least] += b[j].cost;
        shard[b[j].first] = least;
    }
    for (int i = 0; i < n; i++) shard[i] = shard[first[i]];
    if (load) memcpy(load, sum, (size_t)n_shards * sizeof *load);
    free(first), free(of), free(b), free(sum), free(keys);
}

static double cost_of(const hy_run_item *it) {
    hy_param_count n;
    hy_model_count(it->spec, &n);
    const double steps = it->origin == HY_ORIGIN_TRAINED ? (double)hy_train_end(it->train) : 0;
    return (double)n.total * (steps * it->train->batch * it->train->accumulate * it->task_tokens +
                              MEASURE_TOKENS * (1.0 + it->n_measures));
}

void hy_shards_make(const hy_experiment *e, int k, int n, hy_shards *out) {
    const size_t items = (size_t)e->n_items;
    hy_shard_item *v = hy_xcalloc(items, sizeof *v);
    int *first = hy_xcalloc(items, sizeof *first);
    char(*keys)[sizeof v->key] = hy_xcalloc(items, sizeof *keys);
    *out = (hy_shards){.k = k,
                       .n = n,
                       .of = hy_xcalloc(items, sizeof *out->of),
                       .load = hy_xcalloc((size_t)n, sizeof *out->load),
                       .cost = hy_xcalloc(items, sizeof *out->cost),
                       .models = hy_xcalloc((size_t)n, sizeof *out->models)};
    for (int i = 0; i < e->n_items; i++) {
        snprintf(v[i].key, sizeof v->key, "%s %lld", e->items[i].model_key, (long long)e->items[i].seed);
        memcpy(keys[i], v[i].key, sizeof *keys);
        v[i].cost = out->cost[i] = cost_of(&e->items[i]);
    }
    hy_shard_split(v, e->n_items, n, out->of, out->load);
    hy_first_equal(keys, sizeof *keys, e->n_items, first);
    for (int i = 0; i < e->n_items; i++) {
        if (first[i] == i) out->models[out->of[i]]++;
        out->of[i]++;
    }
    free(v), free(first), free(keys);
}

void hy_shards_free(hy_shards *s) {
    free(s->of), free(s->load), free(s->cost), free(s->models);
    *s = (hy_shards){0};
}

// ---------------------------------------------------------------------------------------------------- names
static bool number(const char *name, long *out) {
    const char *v = getenv(name);
    char *end;
    if (!v || !*v) return false;
    *out = strtol(v, &end, 10);
    return !*end;
}

static hy_status from_slurm(int *k, int *n) {
    long id, count, min = 1, max, step = 1;
    if (!number("SLURM_ARRAY_TASK_ID", &id) || !number("SLURM_ARRAY_TASK_COUNT", &count))
        return hy_error(HY_EINPUT,
                        "--shard auto: this is no task of a Slurm job array (SLURM_ARRAY_TASK_ID and _COUNT are not "
                        "set): give --shard K/N");
    number("SLURM_ARRAY_TASK_MIN", &min);
    if (!number("SLURM_ARRAY_TASK_STEP", &step) || step < 1) step = 1;
    if (number("SLURM_ARRAY_TASK_MAX", &max) && (max - min) / step + 1 != count)
        return hy_error(HY_EINPUT,
                        "--shard auto: the job array has gaps (%ld tasks from %ld to %ld), so that it does not tell "
                        "which part this is: give --shard K/N",
                        count, min, max);
    const long mine = (id - min) / step + 1;
    if (count < 1 || count > HY_SHARDS_MAX || mine < 1 || mine > count || (id - min) % step)
        return hy_error(HY_EINPUT, "--shard auto: task %ld of %ld from %ld makes no sense: give --shard K/N", id, count,
                        min);
    *k = (int)mine, *n = (int)count;
    return HY_OK;
}

hy_status hy_shard_parse(const char *text, int *k, int *n) {
    if (!strcmp(text, "auto")) return from_slurm(k, n);
    char *end = NULL;
    const long a = isdigit((unsigned char)*text) ? strtol(text, &end, 10) : 0;
    const long b = end && *end == '/' && isdigit((unsigned char)end[1]) ? strtol(end + 1, &end, 10) : 0;
    if (a < 1 || b < a || b > HY_SHARDS_MAX || *end)
        return hy_error(HY_EINPUT, "--shard %s: K/N with K from 1 to N, such as 2/8, or auto", text);
    *k = (int)a, *n = (int)b;
    return HY_OK;
}

char *hy_shard_folder(const char *db) {
    const char *slash = strrchr(db, '/');
    return hy_asprintf("%.*sshards", slash ? (int)(slash - db) + 1 : 0, db);
}

char *hy_shard_name(const char *experiment) {
    char *name = hy_xstrdup(experiment);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c)) *c = '_';
    return name;
}

char *hy_shard_file(const char *folder, const char *experiment, int k, int n) {
    char *name = hy_shard_name(experiment), *path = hy_asprintf("%s/%s.%d-of-%d.db", folder, name, k, n);
    free(name);
    return path;
}

char *hy_shard_db(const char *db, const char *experiment, int k, int n) {
    char *folder = hy_shard_folder(db), *path = hy_shard_file(folder, experiment, k, n);
    free(folder);
    return path;
}

char *hy_shards_words(const hy_shards *s) {
    enum { SHOWN = 16 };
    hy_buf b = {0};
    double sum = 0, most = 0;
    for (int i = 0; i < s->n; i++) sum += s->load[i], most = s->load[i] > most ? s->load[i] : most;
    hy_buf_printf(&b, "this is shard %d of %d; models and share of the cost (parameters x tokens) of each:", s->k,
                  s->n);
    for (int i = 0; i < s->n && i < SHOWN; i++)
        hy_buf_printf(&b, "%s %d: %d, %.1f %%", i ? ";" : "", i + 1, s->models[i],
                      sum > 0 ? 100 * s->load[i] / sum : 0);
    if (s->n > SHOWN) hy_buf_printf(&b, "; ...");
    hy_buf_printf(&b, ". The largest is %.2f times the mean", sum > 0 ? most * s->n / sum : 1);
    return b.s;
}
