// fuzz_db.c - a results database with values and bytes that nobody stored, opened and read through every question that
// hylab asks of one. The input is a list of changes to a small valid database:
//     'b' offset(3) n(1) bytes      bytes of the file
//     'v' column(1) row(1) type(1) n(1) bytes    a value of the row-th row of a table, set with SQLite itself (whatever
//     the
//                                   checks of the table say): type 0 NULL, 1 integer, 2 real, 3 text, 4 blob
//     'w' n(1) bytes                a log FILE-wal of these bytes
// An input is of the kind that its first byte says.
// What must hold: no fault of memory, no undefined behaviour, no hang, and what is told to be a map lies within its
// blob.
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/summary/summary.h"
#include "results/identity.h"
#include "results/query.h"
#include "results/query_models.h"
#include "results/record.h"
#include "results/schema.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(e)                                                          \
    do {                                                                  \
        if (e) fprintf(stderr, "%s: %s\n", #e, hy_error_text()), abort(); \
    } while (0)

static char g_path[64];
static char *g_image;
static size_t g_size;
static struct { char table[32], column[32]; } g_column[256];
static int g_columns;
static FILE *g_null;

// ---------------------------------------------------------------------------------------------------- the valid one
static void add_measures(hy_store *s, int64_t model_id, char key[33]) {
    float map[8 * 8] = {1};
    hy_measurement_record r = {.model_id = model_id, .measure = "maps", .version = 1, .options = "a: 1\n", .task = ""};
    hy_claim c;
    int64_t id;
    hy_facts f = {0}, g = {0};
    CHECK(hy_measurement_claim(s, &r, 0, &c, &id));
    for (int i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "map.layer%d.attention", i);
        hy_artifact_at(hy_facts_artifact(&f, name, "f32", 2, (int[]){8, 8}, map,
                                         "{\"meta_tokens\":2,\"cell\":\"c\",\"options\":\"o\"}"),
                       i, "attention", -1);
    }
    CHECK(hy_measurement_settle(s, id, &f, NULL));
    r.measure = "throughput";
    CHECK(hy_measurement_claim(s, &r, 0, &c, &id));
    hy_facts_add(&g, "accuracy", "", 0.5);
    hy_facts_add(&g, "loss", "T8", 1.5);
    hy_fact *t = hy_facts_add(&g, "throughput_decode", "T8.B1", 5);
    hy_fact_samples(t, (double[]){4, 5, 6}, 3);
    t->x = 8, t->y = 1;
    t->meta = hy_xstrdup("{\"path\":\"avx2\",\"jobs\":1,\"waited\":0.1}");
    hy_facts_add(&g, "cache_true", "kv", 1e6)->x = 100;
    hy_facts_add(&g, "erf", "", 3)->meta = hy_xstrdup("{\"options\":\"x\"}");
    CHECK(hy_measurement_settle(s, id, &g, NULL));
    hy_facts_free(&f), hy_facts_free(&g);
    hy_measurement_identity("a: 1\n", "", key);
}

static void build(void) {
    hy_store *s;
    char key[33] = "";
    CHECK(hy_store_open(g_path, HY_STORE_WRITE, &s));
    hy_planned_key want[] = {{"maps", 1, key}, {"throughput", 1, key}};
    hy_planned_row plan[4];
    for (int i = 0; i < 4; i++) {
        hy_model_record m = {.seed = i % 2,
                             .device = "cpu",
                             .variant = i / 2 ? "B" : "A",
                             .experiment = "e",
                             .grid = "lr=1",
                             .spec_hash = "h",
                             .spec = "d_model: 16\n",
                             .task = "t",
                             .task_kind = "mqar",
                             .task_options = "vocab: 8\n",
                             .train = "lr: 1\nsteps: 9\n"};
        snprintf(m.model_key, sizeof m.model_key, "k%d", i / 2);
        hy_claim c;
        int64_t id;
        CHECK(hy_model_claim(s, &m, 0, &c, &id));
        hy_facts f = {.steps = 9};
        hy_facts_add(&f, "train_rate", "", 100);
        hy_facts_add(&f, "parameters", "", 1000);
        for (int k = 1; k < 5; k++) hy_facts_curve(&f, &(hy_curve_point){k, 3.0 / k, 1e-3, 1, 100});
        CHECK(hy_model_settle(s, id, &f, "k-0-cpu.safetensors", "hash", i == 3 ? "step 2: loss nan" : NULL));
        hy_facts_free(&f);
        if (i < 3) add_measures(s, id, key);
        plan[i] = (hy_planned_row){.variant = i / 2 ? "B" : "A",
                                   .task = "t",
                                   .grid = "lr=1",
                                   .variant_ord = i / 2,
                                   .seed = i % 2,
                                   .model_key = i / 2 ? "k1" : "k0",
                                   .device = "cpu",
                                   .n_measures = 2,
                                   .measures = want};
    }
    const hy_paper_row paper = {"A", "accuracy", 0.5};
    const hy_grid_row grid = {0, "train.lr", "1"};
    const hy_experiment_record e = {.name = "e",
                                    .scale = "",
                                    .sets = "",
                                    .question = "?",
                                    .yaml = "name: e\n",
                                    .n_plan = 4,
                                    .plan = plan,
                                    .n_paper = 1,
                                    .paper = &paper,
                                    .n_grid = 1,
                                    .grid = &grid,
                                    .base = "A"};
    int64_t id;
    CHECK(hy_experiment_store(s, &e, &id));
    hy_store_close(s);
}

static void list_columns(sqlite3 *db) {
    sqlite3_stmt *st;
    sqlite3_prepare_v2(db,
                       "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'",
                       -1, &st, NULL);
    while (sqlite3_step(st) == SQLITE_ROW && g_columns < 256) {
        snprintf(g_column[g_columns].table, 32, "%s", sqlite3_column_text(st, 0));
        snprintf(g_column[g_columns++].column, 32, "%s", sqlite3_column_text(st, 1));
    }
    sqlite3_finalize(st);
}

// SQLite is not instrumented: its blocks need none of the sanitizer's work, which is a third of all.
extern void *__libc_malloc(size_t n), *__libc_realloc(void *p, size_t n);
extern void __libc_free(void *p);
static void *with_size(int64_t *p, int n) { return p ? *p = n, p + 2 : NULL; }  // its size stands before a block
static void *plain_malloc(int n) { return with_size(__libc_malloc((size_t)n + 16), n); }
static void *plain_realloc(void *p, int n) { return with_size(__libc_realloc((int64_t *)p - 2, (size_t)n + 16), n); }
static void plain_free(void *p) { __libc_free((int64_t *)p - 2); }
static int plain_size(void *p) { return p ? (int)((int64_t *)p)[-2] : 0; }
static int plain_round(int n) { return (n + 7) & ~7; }
static int plain_init(void *a) { return (void)a, SQLITE_OK; }
static void plain_end(void *a) { (void)a; }

static void leave(void) { unlink(g_path); }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    static sqlite3_mem_methods plain = {plain_malloc, plain_free, plain_realloc, plain_size,
                                        plain_round,  plain_init, plain_end,     NULL};
    sqlite3_config(SQLITE_CONFIG_MALLOC, &plain);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    snprintf(g_path, sizeof g_path, "%s/hylab-fuzz-%ld.db", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             (long)getpid());
    atexit(leave);
    build();
    sqlite3 *db;
    sqlite3_open(g_path, &db);
    sqlite3_exec(db, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM", NULL, NULL, NULL);
    list_columns(db);
    sqlite3_close(db);
    CHECK(hy_file_read(g_path, 1 << 24, &g_image, &g_size));
    g_null = fopen("/dev/null", "w");
    return 0;
}

// ---------------------------------------------------------------------------------------------------- the changes
static size_t set_value(sqlite3 *db, const uint8_t *p, size_t n) {
    if (n < 4) return n;
    const int c = p[0] % g_columns, row = p[1] % 16, type = p[2] % 5;
    const size_t len = p[3] < n - 4 ? p[3] : n - 4;
    const uint8_t *v = p + 4;
    int64_t i = 0;
    double d = 0;
    memcpy(&i, v, len < 8 ? len : 8);
    memcpy(&d, v, len < 8 ? len : 8);
    if (len == 1) i = (int8_t)v[0];
    char sql[256];
    snprintf(sql, sizeof sql, "UPDATE %s SET %s = ?1 WHERE (%s) IN (SELECT %s FROM %s LIMIT 1 OFFSET %d)",
             g_column[c].table, g_column[c].column, g_column[c].column, g_column[c].column, g_column[c].table, row);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK) return len + 4;
    if (type == 1) sqlite3_bind_int64(st, 1, i);
    if (type == 2) sqlite3_bind_double(st, 1, d);
    if (type == 3) sqlite3_bind_text(st, 1, (const char *)v, (int)len, SQLITE_STATIC);
    if (type == 4) sqlite3_bind_blob(st, 1, v, (int)len, SQLITE_STATIC);
    sqlite3_step(st);
    sqlite3_finalize(st);
    return len + 4;
}

static void put(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f)) abort();
}

// The number by which connections notice that the file is another one.
static void new_serial(void) {
    static uint32_t serial = 1000;
    FILE *f = fopen(g_path, "r+b");
    serial++;
    const unsigned char be[4] = {(unsigned char)(serial >> 24), (unsigned char)(serial >> 16),
                                 (unsigned char)(serial >> 8), (unsigned char)serial};
    if (!f || fseek(f, 24, SEEK_SET) || fwrite(be, 1, 4, f) != 4 || fclose(f)) abort();
}

static void change_values(const uint8_t *data, size_t n) {
    static sqlite3 *db;
    if (!db) {
        sqlite3_open(g_path, &db);
        sqlite3_exec(db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA ignore_check_constraints = ON",
                     NULL, NULL, NULL);
    }
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        if (data[i] == 'v') i += set_value(db, data + i + 1, n - i - 1);
    if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
}

// Values, through SQLite; or bytes. True: the file may be none any more.
static bool change(const uint8_t *data, size_t n) {
    char wal[80];
    snprintf(wal, sizeof wal, "%s-wal", g_path);
    unlink(wal);
    put(g_path, g_image, g_size);
    new_serial();
    if (n && data[0] == 'v') {
        change_values(data, n);
        new_serial();
        return false;
    }
    FILE *f = fopen(g_path, "r+b");
    for (size_t i = 0; f && i + 5 < n; i++) {
        if (data[i] != 'b') continue;
        const size_t at = ((size_t)data[i + 1] << 16 | (size_t)data[i + 2] << 8 | data[i + 3]) % g_size;
        const size_t len = data[i + 4] < n - i - 5 ? data[i + 4] : n - i - 5;
        fseek(f, (long)at, SEEK_SET);
        if (fwrite(data + i + 5, 1, len, f) != len) abort();
        i += 4 + len;
    }
    if (f) fclose(f);
    if (n > 2 && data[0] == 'w') put(wal, data + 2, n - 2);
    return true;
}

// ---------------------------------------------------------------------------------------------------- all questions
static volatile double g_sum;  // so that what is read is read
static void touch(const char *t) { g_sum += (double)strlen(t); }
static void take(void *to, const char *title, const char *text) {
    (void)to;
    touch(title), touch(text);
}

#define ALL(ask, type, next, use)                  \
    do {                                           \
        hy_query *q = NULL;                        \
        type r;                                    \
        bool row = false;                          \
        if (!(ask)) {                              \
            while (!next(q, &row, &r) && row) use; \
            hy_query_close(q);                     \
        }                                          \
    } while (0)

static void print_all(hy_status st, hy_query *q) {
    bool row = false;
    if (st) return;
    while (!hy_query_step(q, &row) && row)
        for (int c = 0; c < hy_query_columns(q); c++) {
            size_t bytes;
            touch(hy_query_name(q, c)), touch(hy_query_text(q, c));
            if (hy_query_is_blob(q, c)) hy_query_blob(q, c, &bytes);
        }
    hy_query_close(q);
}

static void read_map(const hy_map_row *m) {
    const hy_block_shape *s = &m->shape;
    if (m->positions < 1 || m->meta_tokens < 0 || m->meta_tokens > m->positions || m->layer < 0 || s->down < 1 ||
        s->across < 1 || s->i0 < 0 || s->i1 > m->positions || s->j0 < 0 || s->j1 > m->positions)
        abort();
    for (size_t i = 0; i < (size_t)s->rows * (size_t)s->columns; i++) {
        float v;
        memcpy(&v, (const char *)m->data + i * sizeof v, sizeof v);
        g_sum += v;
    }
    touch(m->cell), touch(m->options), touch(m->kind);
}

static const hy_experiment_id g_e = {"e", "", ""};

static void losses(hy_store *s) { ALL(hy_ask_losses(s, &g_e, 0, &q), hy_loss_point, hy_next_loss, g_sum += r.mean); }
static void maps(hy_store *s) { ALL(hy_ask_maps(s, &g_e, "maps", 0, 0, 0, &q), hy_map_row, hy_next_map, read_map(&r)); }
static void timings(hy_store *s) {
    ALL(hy_ask_timings(s, &g_e, "throughput_decode", &q), hy_timing_point, hy_next_timing, g_sum += r.median);
}
static void conditions(hy_store *s) {
    hy_timing_conditions t = {0};
    char *options = NULL;
    hy_ask_timing_conditions(s, &g_e, &t);
    hy_ask_erf_options(s, &g_e, 0, &options);
    free(t.device_name), free(options);
}
static void recipe(hy_store *s) { hy_ask_recipe(s, &g_e, take, NULL); }
static void resolved(hy_store *s) { hy_ask_resolved(s, &g_e, take, NULL); }
static void provenance(hy_store *s) { hy_ask_provenance(s, &g_e, take, NULL); }
static void definitions(hy_store *s) {
    ALL(hy_ask_definitions(s, &g_e, &q), hy_definition_row, hy_next_definition, touch(r.meaning));
}
static void runs(hy_store *s) {
    hy_query *q = NULL;
    const hy_run_filter any = {"", "", "", true};
    hy_status st = hy_ask_runs(s, &any, &q);
    print_all(st, q);
    st = hy_ask_metrics(s, &q), print_all(st, q);
}
static void run(hy_store *s) {
    hy_query *q = NULL;
    char commit[64];
    bool dirty;
    hy_status st = hy_ask_run(s, "1", &q);
    print_all(st, q);
    st = hy_ask_run_measurements(s, "1", &q), print_all(st, q);
    st = hy_ask_run_metrics(s, "1", &q), print_all(st, q);
    st = hy_ask_run_artifacts(s, "1", &q), print_all(st, q);
    hy_ask_commit(s, 1, commit, &dirty);
}
static void view(hy_store *s, int first, int end) {
    static const char *const views[] = {"v_run",          "v_model",    "v_param", "v_measurement", "v_metric",
                                        "v_final",        "v_artifact", "v_curve", "v_timing",      "v_plan",
                                        "v_plan_measure", "v_grid",     "v_result"};
    for (int i = first; i < end; i++) {
        hy_query *q = NULL;
        const hy_status st = hy_ask_view(s, views[i], &q);
        print_all(st, q);
    }
}
static void views_of_models(hy_store *s) { view(s, 0, 4); }
static void views_of_figures(hy_store *s) { view(s, 4, 9); }
static void views_of_plans(hy_store *s) { view(s, 9, 13); }
static void models(hy_store *s) {
    char *weights = NULL, *hash = NULL;
    hy_claim c;
    int64_t id = 0, seed = 0, steps;
    ALL(hy_ask_weights(s, &q), hy_weights_row, hy_next_weights, if (strchr(r.weights, '/')) abort());
    ALL(hy_ask_model_files(s, &q), hy_model_file, hy_next_model_file, if (strchr(r.weights, '/')) abort());
    hy_model_weights(s, 1, &weights, &hash);
    hy_ask_model_steps(s, 1, &steps);
    hy_ask_model_of_weights(s, "hash", &id, &seed);
    hy_model_peek(s, "k0", 0, "cpu", 0, &c, &id);
    hy_measurement_peek(s, 1, "maps", 1, "x", 0, &c, &id);
    free(weights), free(hash);
}
static void rates(hy_store *s) { ALL(hy_ask_rates(s, "cpu", &q), hy_rate_row, hy_next_rate, g_sum += r.tokens_per_s); }
static void experiments(hy_store *s) {
    hy_experiment_texts texts;
    double share;
    ALL(hy_ask_experiments(s, &q), hy_experiment_id, hy_next_experiment, touch(r.name));
    if (!hy_ask_experiment_texts(s, &g_e, &texts)) hy_experiment_texts_free(&texts);
    ALL(hy_ask_paper(s, &g_e, &q), hy_paper_figure, hy_next_paper, touch(r.name));
    hy_ask_waited(s, &g_e, &share);
}
static void summary(hy_store *s) {
    hy_summary *m;
    if (hy_summary_load(s, "e", "", "", &m)) return;
    for (hy_table_format f = HY_TABLE_TEXT; f <= HY_TABLE_JSON; f++) hy_summary_print(m, f, g_null);
    hy_summary_free(m);
}
static void check(hy_store *s) { hy_results_check(s); }

// Which of the questions are asked follows from the length of the input: more inputs in a second.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static hy_store *kept;  // for files with other values, which open like the first
    static void (*const asks[])(hy_store *) = {
        summary, maps, losses,          timings,          conditions,     recipe, resolved, provenance,  definitions,
        runs,    run,  views_of_models, views_of_figures, views_of_plans, models, rates,    experiments, check};
    hy_store *s = NULL;
    const bool anew = change(data, n);
    if (!anew && !kept && hy_store_open(g_path, HY_STORE_READ, &kept)) return 0;
    if (anew && hy_store_open(g_path, HY_STORE_READ, &s)) return 0;
    asks[n % (sizeof asks / sizeof asks[0])](anew ? s : kept);
    hy_store_close(s);
    return 0;
}
