// test_merge.c - the union of results databases: equal content in any order and grouping, nothing of any table lost,
// what counts of several attempts at one model, what is told, and what a merge that ends in the middle leaves.
#include "store_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/runner/merge_weights.h"
#include "results/merge.h"

// ---------------------------------------------------------------------------------------------------- dumps
typedef struct {
    int n;
    char **v;
} lines;

static void lines_free(lines *l) {
    for (int i = 0; i < l->n; i++) free(l->v[i]);
    free(l->v);
    *l = (lines){0};
}

// Sorted, each once.
static void lines_set(lines *l) {
    int n = 0;
    if (l->n) qsort(l->v, (size_t)l->n, sizeof *l->v, hy_by_text);
    for (int i = 0; i < l->n; i++) {
        if (n && !strcmp(l->v[n - 1], l->v[i]))
            free(l->v[i]);
        else
            l->v[n++] = l->v[i];
    }
    l->n = n;
}

// What stands for the id of a row: its key. SET: also over several databases, whichever attempt has the measurements.
typedef enum { DUMP_WHOLE, DUMP_SET } dump_kind;
#define IDENTITY(m) m ".model_key || '/' || " m ".seed || '/' || " m ".device"
#define ATTEMPT(m)                                                                                                \
    IDENTITY(m)                                                                                                   \
    " || '/' || " m ".status || '/' || " m ".started || '/' || coalesce(" m ".ended, '') || '/' || " m ".process" \
    " || '/' || coalesce(" m ".weights_hash, '')"
#define FACT(x)                                                                                                        \
    x ".measure || '/' || " x ".key || '/' || " x ".status || '/' || coalesce(" x ".ended, '') || '/' || " x ".proces" \
      "s"
static const struct {
    const char *column, *whole, *set;  // set NULL: as whole
} keys[] = {
    {"model_id", "(SELECT " ATTEMPT("m") " FROM model m WHERE m.id = t.model_id)",
     "(SELECT " IDENTITY("m") " FROM model m WHERE m.id = t.model_id)"},
    {"measurement_id",
     "(SELECT " ATTEMPT("m") " || " FACT("x") " FROM measurement x JOIN model m ON m.id = x.model_id WHERE x.id = "
                                              "t.measurement_id)",
     "(SELECT " IDENTITY("m") " || " FACT("x") " FROM measurement x JOIN model m ON m.id = x.model_id WHERE x.id = "
                                               "t.measurement_id)"},
    {"metric_id",
     "(SELECT " IDENTITY("m") " || " FACT(
         "x") " || d.name || v.cell || v.step || v.final FROM metric v JOIN measurement "
              "x ON x.id = v.measurement_id JOIN model m ON m.id = x.model_id JOIN "
              "metric_def d ON d.id = v.def_id WHERE v.id = t.metric_id)",
     NULL},
    {"def_id", "(SELECT name || version FROM metric_def d WHERE d.id = t.def_id)", NULL},
    {"experiment_id", "(SELECT name || '/' || scale || '/' || sets FROM experiment e WHERE e.id = t.experiment_id)",
     NULL},
};
enum { N_KEYS = sizeof keys / sizeof keys[0] };

static int key_of(const char *column) {
    for (int k = 0; k < N_KEYS; k++)
        if (!strcmp(keys[k].column, column)) return k;
    return -1;
}

// A select list of a table: its name, then every column.
static char *select_of(hy_store *s, const char *table, dump_kind kind) {
    hy_query *q;
    bool row;
    hy_buf b = {0};
    hy_buf_printf(&b, "SELECT '%s'", table);
    OK(hy_store_query(s, &q, "SELECT name FROM pragma_table_info(?1)", "s", table));
    while (!hy_query_step(q, &row) && row) {
        const char *c = hy_query_text(q, 0);
        const int k = key_of(c);
        if (!strcmp(c, "id") || (kind == DUMP_SET && !strcmp(c, "superseded_by"))) continue;
        if (!strcmp(c, "superseded_by"))
            hy_buf_printf(&b, " || '|' || quote((SELECT %s FROM %s o WHERE o.id = t.superseded_by))",
                          !strcmp(table, "model") ? ATTEMPT("o") : FACT("o"), table);
        else if (k >= 0)
            hy_buf_printf(&b, " || '|' || quote(%s)", kind == DUMP_SET && keys[k].set ? keys[k].set : keys[k].whole);
        else
            hy_buf_printf(&b, " || '|' || quote(t.\"%s\")", c);
    }
    hy_query_close(q);
    hy_buf_printf(&b, " FROM %s t", table);
    if (kind == DUMP_SET && (!strcmp(table, "model") || !strcmp(table, "measurement")))
        hy_buf_printf(&b, " WHERE t.status IN ('done','failed')");
    if (kind == DUMP_SET && !strcmp(table, "model_param"))
        hy_buf_printf(&b, " WHERE (SELECT status FROM model m WHERE m.id = t.model_id) IN ('done','failed')");
    return b.s;
}

static void dump(const char *path, dump_kind kind, lines *out) {
    hy_store *s;
    hy_query *tables, *q;
    bool row;
    OK(hy_store_open(path, HY_STORE_READ, &s));
    OK(hy_query_open(s, "SELECT name FROM sqlite_schema WHERE type = 'table'", &tables));
    while (!hy_query_step(tables, &row) && row) {
        char *sql = select_of(s, hy_query_text(tables, 0), kind);
        bool more;
        OK(hy_query_open(s, sql, &q));
        while (!hy_query_step(q, &more) && more) {
            out->v = hy_xrealloc(out->v, (size_t)(out->n + 1) * sizeof *out->v);
            out->v[out->n++] = hy_xstrdup(hy_query_text(q, 0));
        }
        hy_query_close(q);
        free(sql);
    }
    hy_query_close(tables);
    hy_store_close(s);
    if (kind == DUMP_WHOLE && out->n) qsort(out->v, (size_t)out->n, sizeof *out->v, hy_by_text);
}

static void same_lines(const lines *a, const lines *b, const char *what) {
    for (int i = 0; i < a->n && i < b->n; i++)
        if (strcmp(a->v[i], b->v[i])) fail_msg("%s: differ first in\n  %.700s\n  %.700s", what, a->v[i], b->v[i]);
    if (a->n != b->n) fail_msg("%s: %d rows and %d", what, a->n, b->n);
}

// ---------------------------------------------------------------------------------------------------- merging
static char *in_dir(const char *name) { return hy_asprintf("%s/%s", g_dir, name); }

// Merges shards (paths, NULL at the end) into `dest` one after the other; counts of the last.
static hy_merge_counts merge_into(const char *dest, const char *const *shards) {
    hy_store *to, *from;
    hy_merge *m;
    hy_merge_counts c = {0};
    bool copied;
    char *copy = in_dir("copy.db");
    OK(hy_store_open(dest, HY_STORE_WRITE, &to));
    OK(hy_merge_begin(to, &m));
    for (; *shards; shards++) {
        OK(hy_merge_open(*shards, copy, &from, &copied));
        OK(hy_merge_shard(m, from, NULL, NULL, &c));
        hy_store_close(from);
        if (copied) unlink(copy);
    }
    hy_merge_end(m);
    OK(hy_results_check(to));
    NUMBER(to, "SELECT count(*) FROM pragma_foreign_key_check", 0);
    hy_store_close(to);
    free(copy);
    return c;
}

static void merge_files(const char *dest, const char *a, const char *b, const char *c) {
    const char *const list[] = {a, b, c, NULL};
    merge_into(dest, list);
}

// ---------------------------------------------------------------------------------------------------- random stores
static unsigned below(hy_rng *r, unsigned n) { return (unsigned)hy_rng_below(r, n); }

static void random_measure(hy_store *s, hy_rng *r, int64_t model) {
    static const char *const options[] = {"", "a: 1\n"};
    int64_t id;
    const hy_claim c = claim_measure(s, model, options[below(r, 2)], below(r, 3) ? 0 : HY_CLAIM_FORCE, &id);
    if (c != HY_CLAIM_NEW) return;
    if (below(r, 6) == 0)
        OK(hy_measurement_interrupt(s, id, "ctrl-C"));
    else
        settle_measure(s, id, 0.25 * below(r, 3), below(r, 5) ? NULL : "crashed");
}

static void random_model(hy_store *s, hy_rng *r) {
    char key[8];
    int64_t id;
    snprintf(key, sizeof key, "k%u", below(r, 3));
    if (claim_model(s, key, HY_CLAIM_FORCE, &id) != HY_CLAIM_NEW) return;
    const unsigned bits = below(r, 3);
    if (below(r, 5) == 0) {
        OK(hy_model_interrupt(s, id, 3, "ctrl-C"));
        return;
    }
    const bool failed = below(r, 4) == 0;
    settle_model(s, id, bits, NULL, failed || bits == 0 ? NULL : bits == 1 ? "h1" : "h2", failed ? "diverged" : NULL);
    for (unsigned k = below(r, 4); !failed && k; k--) random_measure(s, r, id);
}

static void random_plan(hy_store *s, hy_rng *r) {
    const hy_planned_key key = {"accuracy", 1, below(r, 2) ? "x" : "y"};
    const hy_planned_row plan = one_run(&key);
    const hy_paper_row paper = {"v", "accuracy", below(r, 2)};
    const hy_grid_row grid = {0, "train.lr", below(r, 2) ? "1e-3" : "linear"};
    hy_experiment_record e = experiment_of(&plan);
    e.name = below(r, 2) ? "e" : "f";
    e.n_paper = e.n_grid = 1;
    e.paper = &paper, e.grid = &grid;
    int64_t id;
    OK(hy_experiment_store(s, &e, &id));
}

// `base`: a database that it starts from, so that shards have attempts in common; NULL: an empty one.
static void random_store(const char *path, const char *base, uint64_t seed) {
    hy_rng r = hy_rng_make(seed, 5);
    hy_store *s;
    if (base) OK(hy_store_copy(base, path));
    OK(hy_store_open(path, HY_STORE_WRITE, &s));
    for (unsigned k = 2 + below(&r, 4); k; k--) random_model(s, &r);
    random_plan(s, &r);
    hy_store_close(s);
    // as if other processes had made them at other times, of which some are equal
    char *sql = hy_asprintf(
        "UPDATE model SET process = 'of %llu/' || id, host = 'host %llu', build = 'b' || id %% 2, ended = iif(ended IS "
        "NULL,"
        " NULL, '2026-01-0' || (1 + (id * 7 + %llu) %% 4)) WHERE process NOT LIKE 'of %%';"
        "UPDATE measurement SET process = 'of %llu/' || id, host = 'host %llu', ended = iif(ended IS NULL, NULL,"
        " '2026-01-0' || (1 + (id * 5 + %llu) %% 3)) WHERE process NOT LIKE 'of %%';"
        "UPDATE experiment SET planned = '2026-01-0' || (1 + %llu %% 2)",
        (unsigned long long)seed, (unsigned long long)seed, (unsigned long long)seed, (unsigned long long)seed,
        (unsigned long long)seed, (unsigned long long)seed, (unsigned long long)seed);
    raw_sql(path, sql);
    free(sql);
}

static void test_any_order(void **state) {
    (void)state;
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (uint64_t round = 0; round < 4; round++) {
        char *p[3], *base = in_dir("base.db"), what[64];
        lines first = {0}, sets = {0}, merged = {0};
        random_store(base, NULL, 100 + round);
        for (int i = 0; i < 3; i++) {
            p[i] = hy_asprintf("%s/s%d.db", g_dir, i);
            random_store(p[i], round % 2 && i < 2 ? base : NULL, 1000 * round + 10 * (uint64_t)i + 1);
            dump(p[i], DUMP_SET, &sets);
        }
        for (int o = 0; o < 6; o++) {
            lines got = {0};
            char *d = hy_asprintf("%s/d%d.db", g_dir, o);
            merge_files(d, p[orders[o][0]], p[orders[o][1]], p[orders[o][2]]);
            dump(d, DUMP_WHOLE, o ? &got : &first);
            snprintf(what, sizeof what, "round %d, order %d", (int)round, o);
            if (o) same_lines(&first, &got, what);
            lines_free(&got);
            if (!o) dump(d, DUMP_SET, &merged);
            free(d);
        }
        // nothing is lost and nothing made: the rows of all shards, each once. (Of plans one counts.)
        lines_set(&sets), lines_set(&merged);
        for (int i = 0, k = 0; i < sets.n; i++) {
            if (!strncmp(sets.v[i], "planned", 7) || !strncmp(sets.v[i], "paper", 5) ||
                !strncmp(sets.v[i], "experiment", 10))
                continue;
            while (k < merged.n && strcmp(merged.v[k], sets.v[i]) < 0) k++;
            if (k == merged.n || strcmp(merged.v[k], sets.v[i]))
                fail_msg("round %d: lost: %.700s", (int)round, sets.v[i]);
        }
        for (int i = 0, k = 0; i < merged.n; i++) {
            while (k < sets.n && strcmp(sets.v[k], merged.v[i]) < 0) k++;
            if (k == sets.n || strcmp(sets.v[k], merged.v[i]))
                fail_msg("round %d: made up: %.700s", (int)round, merged.v[i]);
        }
        // other groups, and all of it once more
        char *ab = in_dir("ab.db"), *abc = in_dir("abc.db"), *bc = in_dir("bc.db"), *abc2 = in_dir("abc2.db");
        lines got = {0};
        merge_files(ab, p[0], p[1], NULL), merge_files(abc, ab, p[2], NULL);
        dump(abc, DUMP_WHOLE, &got), same_lines(&first, &got, "(a + b) + c"), lines_free(&got);
        merge_files(bc, p[1], p[2], NULL), merge_files(abc2, p[0], bc, NULL);
        dump(abc2, DUMP_WHOLE, &got), same_lines(&first, &got, "a + (b + c)"), lines_free(&got);
        const char *const again[] = {bc, ab, p[0], p[2], NULL};
        const hy_merge_counts c = merge_into(abc2, again);
        assert_int_equal(c.models + c.measurements + c.plans, 0);
        dump(abc2, DUMP_WHOLE, &got), same_lines(&first, &got, "once more"), lines_free(&got);
        lines_free(&first), lines_free(&sets), lines_free(&merged);
        for (int i = 0; i < 3; i++) free(p[i]);
        free(ab), free(abc), free(bc), free(abc2), free(base);
        teardown(NULL), setup(NULL);
    }
}

// ---------------------------------------------------------------------------------------------------- the schema
// Every table and column of the schema is one that a merge knows, and every foreign key one that this test follows.
static void test_schema(void **state) {
    (void)state;
    hy_store *s;
    hy_query *q;
    bool row;
    int n = 0;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    OK(hy_query_open(s,
                     "SELECT t.name, c.name, EXISTS (SELECT 1 FROM pragma_foreign_key_list(t.name) f WHERE f.\"from\" ="
                     " c.name) FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'",
                     &q));
    while (!hy_query_step(q, &row) && row) {
        const char *table = hy_query_text(q, 0), *column = hy_query_text(q, 1);
        const hy_merge_table *t = hy_merge_tables;
        while (t->table && strcmp(t->table, table)) t++;
        if (!t->table) fail_msg("table %s is not merged", table);
        n++;
        if (!strcmp(column, "id") || !strcmp(column, "superseded_by") || !strcmp(column, "weights")) continue;
        char *all = hy_asprintf(", %s,", t->columns), *one = hy_asprintf(", %s,", column);
        if (!strstr(all, one)) fail_msg("column %s.%s is not merged", table, column);
        if (hy_query_int(q, 2) && strcmp(column, "ord") && key_of(column) < 0)
            fail_msg("foreign key %s.%s: how is it numbered anew?", table, column);
        free(all), free(one);
    }
    hy_query_close(q);
    hy_store_close(s);
    assert_true(n > 80);
}

// ---------------------------------------------------------------------------------------------------- what counts
static void attempt(const char *path, double loss, const char *hash, const char *error, const char *ended,
                    double accuracy) {
    hy_store *s;
    int64_t id, x;
    OK(hy_store_open(path, HY_STORE_WRITE, &s));
    claim_model(s, "k", 0, &id);
    settle_model(s, id, loss, hash ? "k-1-cpu.safetensors" : NULL, hash, error);
    if (accuracy >= 0) {
        claim_measure(s, id, "", 0, &x);
        settle_measure(s, x, accuracy, NULL);
    }
    hy_store_close(s);
    char *sql = hy_asprintf("UPDATE model SET ended = '%s', host = 'of %s', build = 'build of %s', process = '%s';"
                            "UPDATE measurement SET ended = '%s', host = 'of %s', process = '%s'",
                            ended, ended, ended, ended, ended, ended, ended);
    raw_sql(path, sql);
    free(sql);
}

typedef struct {
    int n;
    char text[4][400];
} told;
static void tell(void *user, const hy_merge_unequal *u) {
    told *t = user;
    assert_true(t->n < 4);
    snprintf(t->text[t->n++], 400, "%s %s/%s seed %lld: %s on %s, not %s on %s: %s", u->what, u->variant, u->task,
             (long long)u->seed, u->current.build, u->current.host, u->other.build, u->other.host, u->differences);
}

static void compare_in(const char *path, told *t) {
    hy_store *s;
    hy_merge *m;
    *t = (told){0};
    OK(hy_store_open(path, HY_STORE_WRITE, &s));
    OK(hy_merge_begin(s, &m));
    OK(hy_merge_compare(m, tell, t));
    hy_merge_end(m);
    hy_store_close(s);
}

static void test_which_counts(void **state) {
    (void)state;
    char *a = in_dir("a.db"), *b = in_dir("b.db"), *c = in_dir("c.db"), *f = in_dir("f.db");
    told t;
    hy_store *s;
    attempt(a, 2.5, "h1", NULL, "2026-01-02", 0.5);
    attempt(b, 2.5, "h1", NULL, "2026-01-03", -1);    // the same bits, made later and not measured
    attempt(c, 2.5, "h2", NULL, "2026-01-01", 0.75);  // other bits, made before
    attempt(f, 3, NULL, "diverged", "2026-01-04", -1);
    merge_files(g_db, f, a, b);
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    NUMBER(s, "SELECT count(*) FROM model", 3);
    NUMBER(s, "SELECT ended = '2026-01-03' AND status = 'done' FROM v_run", 1);  // what failed hides nothing
    NUMBER(s, "SELECT 100 * value FROM v_final WHERE metric = 'accuracy'", 50);  // equal bits: measured once
    NUMBER(s, "SELECT count(*) FROM measurement WHERE measure = 'training'", 3);
    hy_store_close(s);
    compare_in(g_db, &t);
    assert_int_equal(t.n, 0);
    merge_files(g_db, c, NULL, NULL);
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    NUMBER(s, "SELECT count(*) FROM model WHERE superseded_by = (SELECT run_id FROM v_run)", 3);
    NUMBER(s, "SELECT 100 * value FROM v_final WHERE metric = 'accuracy'", 50);
    NUMBER(s, "SELECT count(*) FROM measurement WHERE measure = 'accuracy' AND superseded_by IS NULL", 2);
    hy_store_close(s);
    compare_in(g_db, &t);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.text[0],
                        "model v/t seed 1: build of 2026-01-03 on of 2026-01-03, not build of 2026-01-01 on of "
                        "2026-01-01: accuracy 0.25");
    free(a), free(b), free(c), free(f);
}

// Measurements of equal bits that do not agree, and definitions that say something else.
static void test_unequal_measurements(void **state) {
    (void)state;
    char *a = in_dir("a.db"), *b = in_dir("b.db");
    told t;
    attempt(a, 2.5, "h1", NULL, "2026-01-02", 0.5);
    attempt(b, 2.5, "h1", NULL, "2026-01-03", 0.75);
    merge_files(g_db, a, b, NULL);
    compare_in(g_db, &t);
    assert_int_equal(t.n, 1);
    assert_true(strstr(t.text[0], "accuracy v/t seed 1: ") && strstr(t.text[0], ": accuracy 0.25"));
    raw_sql(b, "UPDATE metric_def SET unit = 'bananas' WHERE name = 'loss'");
    hy_store *to, *from;
    hy_merge *m;
    hy_merge_counts c;
    bool copied;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &to));
    OK(hy_merge_begin(to, &m));
    OK(hy_merge_open(b, "/none", &from, &copied));
    assert_int_equal(hy_merge_shard(m, from, NULL, NULL, &c), HY_EINPUT);
    SAYS("its figure loss (version 1) has another unit");
    hy_store_close(from);
    hy_merge_end(m);
    hy_store_close(to);
    free(a), free(b);
}

// ---------------------------------------------------------------------------------------------------- trouble
static int g_brought;
static bool g_die;
static hy_status bring(void *user, const char *name, const char *hash, bool *there, bool *copied) {
    (void)user, (void)hash;
    assert_string_equal(name, "k-1-cpu.safetensors");
    if (g_die) raise(SIGKILL);
    *there = *copied = true;
    return ++g_brought ? HY_OK : HY_EFAIL;
}

static hy_status refuse(void *user, const char *name, const char *hash, bool *there, bool *copied) {
    (void)user, (void)name, (void)hash, (void)there, (void)copied;
    return hy_error(HY_EFAIL, "the disk is full");
}

static hy_status merge_with(const char *shard, hy_merge_bring *how) {
    hy_store *to, *from;
    hy_merge *m;
    hy_merge_counts c;
    bool copied;
    OK(hy_store_open(g_db, HY_STORE_WRITE, &to));
    OK(hy_merge_begin(to, &m));
    OK(hy_merge_open(shard, "/none", &from, &copied));
    const hy_status st = hy_merge_shard(m, from, how, NULL, &c);
    hy_store_close(from);
    hy_merge_end(m);
    hy_store_close(to);
    return st;
}

static void test_ends_in_the_middle(void **state) {
    (void)state;
    char *a = in_dir("a.db"), *b = in_dir("b.db");
    lines before = {0}, after = {0};
    attempt(a, 2.5, "h1", NULL, "2026-01-02", 0.5);
    attempt(b, 2.25, "h2", NULL, "2026-01-03", 0.75);
    merge_files(g_db, a, NULL, NULL);
    dump(g_db, DUMP_WHOLE, &before);
    assert_int_equal(merge_with(b, refuse), HY_EFAIL);
    dump(g_db, DUMP_WHOLE, &after), same_lines(&before, &after, "after an error"), lines_free(&after);
    const pid_t p = fork();
    int status;
    if (p == 0) {
        g_die = true;
        merge_with(b, bring);
        _exit(1);
    }
    assert_int_equal(waitpid(p, &status, 0), p);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    dump(g_db, DUMP_WHOLE, &after), same_lines(&before, &after, "after a kill"), lines_free(&after);
    OK(merge_with(b, bring));
    OK(merge_with(a, bring));  // not of the current bits: no file is asked for
    assert_int_equal(g_brought, 1);
    hy_store *s;
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    NUMBER(s, "SELECT weights = 'k-1-cpu.safetensors' AND weights_hash = 'h2' FROM v_model WHERE superseded_by IS NULL",
           1);
    NUMBER(s, "SELECT count(weights) FROM model", 1);
    hy_store_close(s);
    lines_free(&before);
    free(a), free(b);
}

static void test_damaged_and_old(void **state) {
    (void)state;
    char *a = in_dir("a.db"), *copy = in_dir("copy.db"), *old = in_dir("old.db");
    hy_store *s;
    bool copied;
    attempt(a, 2.5, "h1", NULL, "2026-01-02", 0.5);
    raw_sql(a, "UPDATE metric SET value = 0.9");
    assert_int_equal(hy_merge_open(a, copy, &s, &copied), HY_EINPUT);
    SAYS("are not those that were stored");
    raw_sql(a, "CREATE TRIGGER harm AFTER INSERT ON metric BEGIN DELETE FROM model; END");
    assert_int_equal(hy_merge_open(a, copy, &s, &copied), HY_EINPUT);
    SAYS("trigger \"harm\"");
    char *cmd = hy_asprintf("cp tests/data/stores/schema4.sqlite %s", old);
    assert_int_equal(system(cmd), 0);
    OK(hy_merge_open(old, copy, &s, &copied));
    assert_true(copied);
    assert_string_equal(hy_store_path(s), copy);
    hy_store_close(s);
    merge_files(g_db, old, old, NULL);
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    assert_true(number(s, "SELECT count(*) FROM v_final") > 100);
    hy_store_close(s);
    free(cmd);
    cmd = hy_asprintf("cmp tests/data/stores/schema4.sqlite %s && ! ls %s/*.bak* 2>/dev/null", old, g_dir);
    assert_int_equal(system(cmd), 0);
    free(cmd), free(a), free(copy), free(old);
}

// Written to while it is read: all of one moment.
static void test_snapshot(void **state) {
    (void)state;
    char *a = in_dir("a.db");
    hy_store *s, *w;
    bool copied;
    int64_t id;
    attempt(a, 2.5, "h1", NULL, "2026-01-02", 0.5);
    OK(hy_merge_open(a, "/none", &s, &copied));
    OK(hy_store_open(a, HY_STORE_WRITE, &w));
    claim_model(w, "other", 0, &id);
    settle_model(w, id, 2, NULL, NULL, NULL);
    NUMBER(s, "SELECT count(*) FROM model", 1);
    assert_int_equal(hy_store_exec(s, "DELETE FROM model"), HY_EINPUT);
    hy_store_close(s);
    hy_store_close(w);
    free(a);
}

// Weights take their place with the rows that tell of them: after an error what was there is there, and nothing else.
static void test_weights_wait(void **state) {
    (void)state;
    char *shard = hy_asprintf("%s/shard/s.db", g_dir), *dest = hy_asprintf("%s/dest/d.db", g_dir), hash[33], *text;
    const char *const name = "k-1-cpu.safetensors";
    char *from = hy_asprintf("%s/shard/models/%s", g_dir, name), *to = hy_asprintf("%s/dest/models/%s", g_dir, name);
    size_t n;
    OK(hy_make_folders_above(from));
    OK(hy_make_folders_above(to));
    OK(hy_file_write(from, "new", 3));
    OK(hy_file_write(to, "old", 3));
    OK(hy_hash_file(from, hash));
    for (int merged = 0; merged < 2; merged++) {
        hy_merge_weights w = {.dest = dest, .shard = shard};
        bool there, copied;
        OK(hy_merge_bring_weights(&w, name, hash, &there, &copied));
        assert_true(there && copied);
        OK(hy_file_read(to, 100, &text, &n));
        assert_string_equal(text, "old");
        free(text);
        assert_int_equal(hy_merge_weights_end(&w, merged ? HY_OK : HY_EINTR), merged ? HY_OK : HY_EINTR);
        OK(hy_file_read(to, 100, &text, &n));
        assert_string_equal(text, merged ? "new" : "old");
        free(text);
        char *command = hy_asprintf("test $(ls -A %s/dest/models | wc -l) = 1", g_dir);
        assert_int_equal(system(command), 0);
        free(command);
    }
    free(shard), free(dest), free(from), free(to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_any_order),          T(test_schema),          T(test_which_counts), T(test_unequal_measurements),
        T(test_ends_in_the_middle), T(test_damaged_and_old), T(test_snapshot),     T(test_weights_wait),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
