// cmd_status.c - hylab status: how far an experiment is, shard by shard, while others work on it.
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/plural.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/device_arg.h"
#include "experiments/runner/progress.h"
#include "experiments/runner/shard.h"
#include "experiments/runner/sweep.h"
#include "results/query_models.h"

typedef struct {
    const char *db, *shards, *scale, *device;
    hy_arg_list sets;
    int of;
    hy_table_format format;
} options;

// Models of a shard, or of all.
typedef struct {
    int all, done, running, failed, left;
    double done_cost, left_cost, seconds;  // seconds: of the done ones that were never interrupted
    int timed;
} progress;

// ---------------------------------------------------------------------------------------------------- which shards
// How many parts the databases NAME.K-of-N.db of a folder are of.
static hy_status find_parts(const char *folder, const char *name, int *n) {
    DIR *d = opendir(folder);
    hy_status st = HY_OK;
    for (struct dirent *e; !st && d && (e = readdir(d));) {
        int k, of, end = 0;
        const char *tail = e->d_name + strlen(name);
        if (strncmp(e->d_name, name, strlen(name)) || sscanf(tail, ".%d-of-%d.db%n", &k, &of, &end) != 2 || !end ||
            tail[end] || of < 1 || of > HY_SHARDS_MAX)
            continue;
        if (*n && *n != of)
            st = hy_error(HY_EINPUT, "%s: holds parts of %d and parts of %d: give --of N", folder, *n < of ? *n : of,
                          *n < of ? of : *n);
        *n = of;
    }
    if (!st && !*n)
        st = hy_error(
            HY_EINPUT,
            "%s: no databases %s.K-of-N.db: tasks (hylab run --shard K/N) make them as they begin (or give --db)",
            folder, name);
    if (d) closedir(d);
    return st;
}

// ---------------------------------------------------------------------------------------------------- one shard
static hy_status add_times(hy_store *s, progress *p) {
    hy_query *q;
    bool row = false;
    double seconds;
    HY_TRY(hy_ask_spent(s, &q));
    hy_status st;
    while (!(st = hy_next_spent(q, &row, &seconds)) && row) p->seconds += seconds, p->timed++;
    hy_query_close(q);
    return st;
}

// db: may be missing: then nothing is done yet. device NULL: that for which the experiment was planned there.
static hy_status look(const hy_experiment *e, const char *device, const char *db, const hy_shards *parts, int k,
                      progress *p) {
    char planned[32] = "cpu";
    hy_sweep s = {.e = e, .db = db, .device = device ? device : planned, .shard_of = k ? parts->of : NULL, .shard = k};
    *p = (progress){0};
    hy_status st = hy_file_exists(db) ? hy_store_open(db, HY_STORE_READ, &s.store) : HY_OK;
    if (!st && s.store) st = hy_ask_planned_device(s.store, e->name, planned, sizeof planned);
    if (!st) st = hy_sweep_look(&s);
    for (int i = 0; !st && i < e->n_items; i++) {
        const hy_sweep_item *it = &s.items[i];
        if (it->state == HY_ITEM_LEFT_OUT || it->state == HY_ITEM_TWIN) continue;
        const bool stored = it->state == HY_ITEM_STORED, failed = it->state == HY_ITEM_STORED_FAILED;
        p->all++, p->done += stored, p->failed += failed;
        p->running += !stored && !failed && it->busy;
        p->left += !stored && !failed && !it->busy;
        *(stored ? &p->done_cost : &p->left_cost) += failed ? 0 : parts->cost[i];
    }
    if (!st && s.store) st = add_times(s.store, p);
    hy_sweep_free(&s);
    hy_store_close(s.store);
    return st;
}

// Seconds until what is left is done at the pace of what all shards have done; NaN: nobody knows.
static double remaining(const progress *p, const progress *sum) {
    if (p->left_cost <= 0) return 0;
    if (!sum->timed || sum->done_cost <= 0) return NAN;
    const double pace = sum->seconds / sum->timed * sum->done / sum->done_cost;
    return p->left_cost * pace / (p->running > 1 ? p->running : 1);
}

// ---------------------------------------------------------------------------------------------------- the table
static void add_row(hy_table *t, const char *name, const progress *p, double seconds, const char *note) {
    char text[32];
    hy_table_row(t);
    hy_table_text(t, "%s", name);
    const int v[] = {p->all, p->done, p->running, p->failed, p->left};
    for (int i = 0; i < 5; i++) hy_table_int(t, v[i]);
    if (isnan(seconds))
        snprintf(text, sizeof text, "not known yet");
    else if (seconds > 0)
        hy_duration_text(seconds, text, sizeof text);
    else
        text[0] = 0;
    hy_table_text(t, "%s", text);
    hy_table_num(t, seconds, 0);
    hy_table_text(t, "%s", note);
}

static void columns(hy_table *t) {
    static const char *const names[] = {"shard", "models", "done",         "running", "failed",
                                        "left",  "about",  "seconds_left", "note"};
    for (int i = 0; i < 9; i++) {
        hy_table_column(t, names[i], i == 6 ? "time left" : NULL, NULL, i && i < 6 ? HY_RIGHT : HY_LEFT);
        if (i == 7) hy_table_hidden(t);
    }
}

static void add_up(progress *sum, const progress *p) {
    sum->all += p->all, sum->done += p->done, sum->running += p->running, sum->failed += p->failed;
    sum->left += p->left, sum->timed += p->timed;
    sum->done_cost += p->done_cost, sum->left_cost += p->left_cost, sum->seconds += p->seconds;
}

static hy_status print(const hy_experiment *e, const options *o, const char *device, const char *base, int n) {
    hy_shards parts;
    progress sum = {0}, *p = hy_xcalloc((size_t)n + 1, sizeof *p);
    char **db = hy_xcalloc((size_t)n + 1, sizeof *db), **why = hy_xcalloc((size_t)n + 1, sizeof *why);
    int bad = 0;
    double longest = 0;
    hy_shards_make(e, 1, n ? n : 1, &parts);
    const int first = n ? 1 : 0;
    hy_status st = HY_OK;
    for (int k = first; !st && k <= n; k++) {
        db[k] = n ? hy_shard_file(base, e->name, k, n) : hy_xstrdup(base);
        st = look(e, device, db[k], &parts, k, &p[k]);
        if (st == HY_EINPUT || st == HY_EFAIL) why[k] = hy_xstrdup(hy_error_text()), st = HY_OK, bad++;
        add_up(&sum, &p[k]);
    }
    hy_table *t = hy_table_new(NULL);
    columns(t);
    for (int k = first; !st && k <= n; k++) {
        const double left = remaining(&p[k], &sum);
        longest = isnan(left) || left > longest ? left : longest;
        add_row(t, db[k], &p[k], left, why[k] ? why[k] : hy_file_exists(db[k]) ? "" : "not begun");
    }
    if (n > 1) hy_table_rule(t), add_row(t, "all", &sum, longest, "");
    hy_table_note(t, "time left: by parameters x tokens, at the pace of the models that are done, all shards at once");
    if (!st) st = hy_table_print(t, o->format, stdout);
    if (!st && bad) st = hy_error(HY_EFAIL, "%d of %d database%s cannot be read", bad, n ? n : 1, hy_s(n ? n : 1));
    hy_table_free(t);
    for (int k = 0; k <= n; k++) free(db[k]), free(why[k]);
    free(db), free(why), free(p);
    hy_shards_free(&parts);
    return st;
}

static hy_status run(const options *o, const hy_arg_list *rest) {
    hy_experiment *e;
    const char *kind;
    int n = o->of;
    if (o->db && o->shards) return hy_error(HY_EINPUT, "--db and --shards: one of them");
    HY_TRY(hy_device_kind(o->device, &kind));
    HY_TRY(hy_experiment_load(rest->v[0], o->scale, o->sets.v, &e));
    char *folder = o->shards ? hy_xstrdup(o->shards) : hy_shard_folder(hy_default_db()), *name = hy_shard_name(e->name);
    hy_status st = o->db || n ? HY_OK : find_parts(folder, name, &n);
    if (!st && o->db && !hy_file_exists(o->db)) st = hy_error(HY_EINPUT, "%s: no such database", o->db);
    if (!st && n > HY_SHARDS_MAX) st = hy_error(HY_EINPUT, "--of %d: at most %d", n, HY_SHARDS_MAX);
    if (!st) st = print(e, o, kind, o->db ? o->db : folder, o->db ? 0 : n);
    free(folder), free(name);
    hy_experiment_free(e);
    return st;
}

int hy_cmd_status(int argc, char **argv) {
    options o = {0};
    const hy_arg args[] = {
        {"--shards", "DIR", HY_ARG_PATH, &o.shards, 0,
         "where the shards are (shards/ beside $HYLAB_DB, else runs/shards)"},
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0, "of one database instead"},
        {"--of", "N", HY_ARG_INT, &o.of, 1, "how many parts there are (as the names of the databases say)"},
        {"--scale", "NAME", HY_ARG_TEXT, &o.scale, 0, "one of the experiment's scales (small)"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "as given to `hylab run`; repeatable"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0,
         "what the models are made on, which need not be here (default: $HYLAB_DEVICE, else what was planned)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab status EXPERIMENT.yaml [options]",
        .text = "How many models of an experiment are done, running, failed and left, with all that is measured of "
                "them, in "
                "each shard\n"
                "and in all, and about how long the rest takes. Reads only, and may while the shards are worked on.\n\n"
                "examples:\n"
                "  hylab status experiments/roadmap/roadmap.yaml\n"
                "  hylab status experiments/roadmap/roadmap.yaml --shards /scratch/shards --format json\n"
                "  hylab status experiments/roadmap/roadmap.yaml --db runs/hylab.db",
        .args = args,
        .min_rest = 1,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = run(&o, &rest);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("status", s);
}
