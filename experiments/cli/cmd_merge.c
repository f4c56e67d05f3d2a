// cmd_merge.c - hylab merge: the union of results databases.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/plural.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/runner/adopt.h"
#include "experiments/runner/merge_weights.h"
#include "results/schema.h"

enum { SHOWN = 20 };  // results that do not agree, of which the text table shows so many

typedef struct {
    bool dry_run, no_weights;
    hy_table_format format;
} options;

typedef struct {
    const char *state;  // "merged", "damaged", "left out"
    char *why;          // NULL: nothing is to be said
    hy_merge_counts c;
} outcome;

// ---------------------------------------------------------------------------------------------------- shards
// Why a shard is not one, NULL: it is.
static char *not_a_shard(const char *dest, char *const *shards, int i) {
    if (hy_same_file(dest, shards[i])) return hy_asprintf("is the destination itself");
    for (int k = 0; k < i; k++)
        if (hy_same_file(shards[k], shards[i])) return hy_asprintf("the same file as %s, named twice", shards[k]);
    return NULL;
}

static void remove_copy(const char *db) {
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".bak-v1", ".bak-v2", ".bak-v3", ".bak-v4"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char *name = hy_asprintf("%s%s", db, endings[i]);
        unlink(name);
        free(name);
    }
}

static hy_status merge_shard(hy_merge *m, const options *o, const char *dest, const char *shard, const char *copy,
                             outcome *out) {
    hy_store *s;
    bool copied = false;
    hy_merge_weights w = {.dest = dest, .shard = shard, .dry = o->dry_run};
    hy_status st = hy_merge_open(shard, copy, &s, &copied);
    if (!st) {
        st = hy_merge_shard(m, s, o->no_weights ? NULL : hy_merge_bring_weights, &w, &out->c);
        st = hy_merge_weights_end(&w, st);
        hy_store_close(s);
    }
    remove_copy(copy);
    if (st == HY_EINPUT) {  // the fault of the shard: the others go on
        out->state = "damaged";
        out->why = hy_xstrdup(hy_error_text());
        return HY_OK;
    }
    out->state = "merged";
    if (w.damaged) out->why = hy_asprintf("%d file%s of weights damaged: not brought", w.damaged, hy_s(w.damaged));
    return st;
}

static void progress(int i, int n, const char *shard, const outcome *r) {
    if (n < 4) return;
    fprintf(stderr, "%d of %d: %s: %s, %d model%s and %d measurement%s new\n", i + 1, n, shard, r->state, r->c.models,
            hy_s(r->c.models), r->c.measurements, hy_s(r->c.measurements));
}

static hy_status merge_all(hy_merge *m, const options *o, const char *dest, char *const *shards, int n,
                           outcome *results) {
    char *copy = hy_asprintf("%s.shard-%ld.tmp", dest, (long)getpid());
    hy_status st = HY_OK;
    for (int i = 0; !st && i < n; i++) {
        if (hy_interrupted) st = hy_error(HY_EINTR, "interrupted; what was merged stays");
        if (st) break;
        results[i].why = not_a_shard(dest, shards, i);
        results[i].state = "left out";
        if (!results[i].why) st = merge_shard(m, o, dest, shards[i], copy, &results[i]);
        progress(i, n, shards[i], &results[i]);
    }
    free(copy);
    return st;
}

// ---------------------------------------------------------------------------------------------------- what came of it
static void add_unequal(void *user, const hy_merge_unequal *u) {
    hy_table *t = user;
    const hy_merge_by *by[] = {&u->current, &u->other};
    hy_table_row(t);
    hy_table_text(t, "%s", u->what);
    hy_table_text(t, "%s", u->variant);
    hy_table_text(t, "%s", u->task);
    hy_table_text(t, "%s", u->grid);
    hy_table_int(t, u->seed);
    hy_table_text(t, "%s", u->device_kind);
    hy_table_text(t, "%s", *u->differences ? u->differences : "none among the figures");
    for (int i = 0; i < 2; i++)
        hy_table_text(t, "%s, %s, %s on %s, %s", by[i]->commit, by[i]->kernels, by[i]->device, by[i]->host,
                      by[i]->ended);
}

typedef struct {
    hy_table *table;
    int n;
    bool all;
} unequal;

static void tell(void *user, const hy_merge_unequal *u) {
    unequal *list = user;
    if (list->n++ < SHOWN || list->all) add_unequal(list->table, u);
}

static hy_status make_tables(hy_merge *m, const options *o, char *const *shards, int n, const outcome *r, hy_table *t,
                             unequal *list) {
    static const char *const names[] = {"shard", "state",   "models", "known", "measurements",
                                        "plans", "weights", "open",   "note"};
    static const char *const unequal_names[] = {"result", "variant",     "task",    "grid", "seed",
                                                "device", "differences", "current", "other"};
    int known = 0, open = 0;
    for (int i = 0; i < 9; i++) hy_table_column(t, names[i], NULL, NULL, i < 2 || i == 8 ? HY_LEFT : HY_RIGHT);
    for (int i = 0; i < 9; i++) hy_table_column(list->table, unequal_names[i], NULL, NULL, i == 4 ? HY_RIGHT : HY_LEFT);
    for (int i = 0; i < n; i++) {
        const int counts[] = {r[i].c.models, r[i].c.known,   r[i].c.measurements,
                              r[i].c.plans,  r[i].c.weights, r[i].c.open};
        hy_table_row(t);
        hy_table_text(t, "%s", shards[i]);
        hy_table_text(t, "%s", r[i].state ? r[i].state : "not reached");
        for (int k = 0; k < 6; k++) hy_table_int(t, counts[k]);
        hy_table_text(t, "%s", r[i].why ? r[i].why : "");
        known += r[i].c.known, open += r[i].c.open;
    }
    HY_TRY(hy_merge_compare(m, tell, list));
    hy_table_note(t, "models, measurements, plans, weights: new in the destination; known: models it had already");
    if (open)
        hy_table_note(t,
                      "open: %d running or interrupted in a shard: no results yet; hylab run on that shard ends them, "
                      "then merge again",
                      open);
    if (o->dry_run) hy_table_note(t, "nothing was changed (--dry-run)");
    if (list->n > SHOWN && !list->all)
        hy_table_note(list->table, "%d more; --format json has all of them", list->n - SHOWN);
    hy_table_note(list->table,
                  "the current one is shown by all other commands; the other one stays, superseded (v_model); timings "
                  "are not compared");
    return HY_OK;
}

static hy_status print(hy_merge *m, const options *o, char *const *shards, int n, const outcome *r) {
    hy_table *t = hy_table_new(NULL);
    unequal list = {.table = hy_table_new("results that do not agree, bit by bit"), .all = o->format != HY_TABLE_TEXT};
    hy_status st = make_tables(m, o, shards, n, r, t, &list);
    if (!st && o->format == HY_TABLE_JSON) {
        hy_json *doc = hy_json_new_object();
        hy_json_set(doc, "shards", hy_table_json(t));
        hy_json_set(doc, "unequal", hy_table_json(list.table));
        st = hy_json_print(doc, stdout);
        hy_json_free(doc);
    } else if (!st) {
        st = hy_table_print(t, o->format, stdout);
        if (!st && list.n && o->format == HY_TABLE_TEXT) printf("\n");
        if (!st && list.n && o->format == HY_TABLE_TEXT) st = hy_table_print(list.table, o->format, stdout);
    }
    hy_table_free(t);
    hy_table_free(list.table);
    return st;
}

// ---------------------------------------------------------------------------------------------------- the command
// What --dry-run merges into: a copy of the destination in a folder of its own.
static hy_status dry_copy(const char *dest, char **folder, char **db) {
    *db = NULL;
    HY_TRY(hy_temp_folder("hylab-merge", folder));
    *db = hy_asprintf("%s/copy.db", *folder);
    return hy_file_exists(dest) ? hy_store_copy(dest, *db) : HY_OK;
}

static void dry_remove(char *folder, char *db) {
    if (db) remove_copy(db);
    if (folder) rmdir(folder);
    free(folder), free(db);
}

static hy_status merge_into(const char *db, const options *o, const char *dest, char *const *shards, int n,
                            outcome *results) {
    hy_store *to;
    hy_merge *m = NULL;
    HY_TRY(o->dry_run ? hy_store_open(db, HY_STORE_WRITE, &to) : hy_adopt_open(db, &to));
    if (hy_store_note(to) && !o->dry_run) fprintf(stderr, "note: %s\n", hy_store_note(to));
    hy_status st = hy_results_check(to);
    if (!st) st = hy_merge_begin(to, &m);
    if (!st) {
        const hy_status merged = merge_all(m, o, dest, shards, n, results);
        char *why = hy_xstrdup(merged ? hy_error_text() : "");
        st = print(m, o, shards, n, results);
        if (merged) st = hy_error(merged, "%s", why);
        free(why);
    }
    hy_merge_end(m);
    hy_store_close(to);
    return st;
}

static hy_status run(const options *o, const hy_arg_list *rest) {
    const char *dest = rest->v[0];
    char *const *shards = (char *const *)rest->v + 1, *folder = NULL, *db = NULL;
    const int n = rest->n - 1;
    int damaged = 0;
    outcome *results = hy_xcalloc((size_t)n, sizeof *results);
    hy_status st = hy_store_name_check(dest);
    for (int i = 0; !st && i < n; i++)  // a name that is mistyped, before any work
        if (!hy_file_exists(shards[i])) st = hy_error(HY_EINPUT, "%s: no such database; nothing was merged", shards[i]);
    if (!st && !o->dry_run) st = hy_adopt_try(dest, !o->no_weights);
    hy_interrupts_defer();
    if (!st && o->dry_run) st = dry_copy(dest, &folder, &db);
    if (!st) st = merge_into(o->dry_run ? db : dest, o, dest, shards, n, results);
    if (o->dry_run) dry_remove(folder, db);
    hy_interrupts_end();
    for (int i = 0; i < n; i++) {
        damaged += results[i].state && !strcmp(results[i].state, "damaged");
        free(results[i].why);
    }
    free(results);
    if (!st && damaged)
        st = hy_error(HY_EFAIL, "%d of %d shard%s left out; the others are merged", damaged, n,
                      n == 1 ? " is" : "s are");
    return st;
}

int hy_cmd_merge(int argc, char **argv) {
    options o = {0};
    const hy_arg args[] = {
        {"--dry-run", NULL, HY_ARG_FLAG, &o.dry_run, 0, "say what would come; change nothing"},
        {"--no-weights", NULL, HY_ARG_FLAG, &o.no_weights, 0,
         "leave the weights where they are; a measure that needs them trains again"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab merge DEST.db SHARD.db... [options]",
        .text =
            "The union of results databases, in DEST, which is made if it is not there: models, measurements, figures, "
            "arrays, curves,\n"
            "plans and who made them with what; the files of weights beside the shards are linked or copied beside "
            "DEST. The order of\n"
            "shards does not matter, and a shard may be merged again when more is in it. Shards stay as they are; they "
            "may be written to\n"
            "meanwhile. One of an older version is brought up to date on a copy. One that is damaged is named and left "
            "out, with exit\n"
            "status 1. Each shard comes whole or not at all.\n"
            "A model that several shards have counts once. Where the bits are not equal all are kept and both builds "
            "and devices are told:\n"
            "the current one is the one that is done and ended last.\n\n"
            "examples:\n"
            "  hylab merge runs/hylab.db runs/shards/*.db\n"
            "  hylab merge all.db here/runs/hylab.db there/runs/hylab.db --dry-run\n"
            "  hylab merge all.db runs/shards/*.db --no-weights --format json",
        .args = args,
        .min_rest = 2,
        .max_rest = -1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = run(&o, &rest);
    free(rest.v);
    return hy_command_end("merge", s);
}
