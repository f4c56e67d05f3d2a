// test_damage.c - databases on disks and in places that fail: cut, zeroed and overwritten files and logs, figures that
// are not those that were stored, archives that cannot be written to, network file systems.
#include "store_fixture.h"

#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "results/query.h"

enum { SIZE = 64 };  // of a map: 16 kB, four pages

static float map_value(int layer, int i) { return (float)(layer * 100000 + i + 1); }

static void add_map(hy_facts *f, int layer, const char *meta) {
    float *v = hy_xcalloc(SIZE * SIZE, sizeof *v);
    char name[32];
    for (int i = 0; i < SIZE * SIZE; i++) v[i] = map_value(layer, i);
    snprintf(name, sizeof name, "map.layer%d.attention", layer);
    hy_artifact_at(hy_facts_artifact(f, name, "f32", 2, (int[]){SIZE, SIZE}, v, meta), layer, "attention", -1);
    free(v);
}

// One model of an experiment: a curve, figures with samples, two maps.
static void fill(hy_store *s) {
    int64_t model_id, id, experiment;
    claim_model(s, "k", 0, &model_id);
    settle_model(s, model_id, 2.5, NULL, NULL, NULL);
    claim_measure(s, model_id, "", 0, &id);
    settle_measure(s, id, 0.5, NULL);
    const hy_measurement_record r = {.model_id = model_id, .measure = "maps", .version = 1, .options = "", .task = ""};
    hy_claim c;
    OK(hy_measurement_claim(s, &r, 0, &c, &id));
    hy_facts f = {0};
    add_map(&f, 0, "{\"meta_tokens\":2}");
    add_map(&f, 1, "{\"meta_tokens\":2}");
    OK(hy_measurement_settle(s, id, &f, NULL));
    hy_facts_free(&f);
    hy_query *q;
    bool row;
    OK(hy_store_query(s, &q, "SELECT key FROM measurement WHERE id = ?1", "l", id));
    OK(hy_query_step(q, &row));
    const hy_planned_key key = {"maps", 1, hy_query_text(q, 0)};
    const hy_planned_row plan = one_run(&key);
    const hy_experiment_record e = experiment_of(&plan);
    OK(hy_experiment_store(s, &e, &experiment));
    hy_query_close(q);
}

static char *content(const char *path, size_t *n) {
    char *data;
    OK(hy_file_read(path, 1 << 26, &data, n));
    return data;
}

// Made once, then copied.
static void make(void) {
    static char *made;
    static size_t n;
    if (!made) {
        hy_store *s;
        OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
        fill(s);
        hy_store_close(s);
        made = content(g_db, &n);
    }
    put_file(g_db, made, n);
}

static const hy_experiment_id g_e = {"e", "", ""};

// Reads all maps; the status of the first that fails.
static hy_status read_maps(hy_store *s, int *n) {
    hy_query *q;
    hy_map_row m;
    bool row = false;
    hy_status st;
    *n = 0;
    OK(hy_ask_maps(s, &g_e, "maps", 0, 0, 0, &q));
    while (!(st = hy_next_map(q, &row, &m)) && row) {
        assert_true(m.positions == SIZE && m.shape.rows == SIZE && m.shape.columns == SIZE);
        assert_int_equal(m.meta_tokens, 2);
        (*n)++;
    }
    hy_query_close(q);
    return st;
}

static hy_status read_curve(hy_store *s, int *n) {
    hy_query *q;
    hy_loss_point p;
    bool row = false;
    *n = 0;
    hy_status st = hy_ask_losses(s, &g_e, 0, &q);
    while (!st && !(st = hy_next_loss(q, &row, &p)) && row) (*n)++;
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- what was stored
static void test_sound(void **state) {
    (void)state;
    hy_store *s;
    int n;
    make();
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    OK(hy_results_check(s));
    OK(read_maps(s, &n));
    assert_int_equal(n, 2);
    OK(read_curve(s, &n));
    assert_int_equal(n, 2);
    NUMBER(s, "SELECT count(*) FROM measurement WHERE facts_hash IS NULL", 0);
    NUMBER(s, "SELECT count(DISTINCT hash) FROM artifact", 3);
    hy_store_close(s);
}

// A page of a map that reads as zeros: SQLite gives it out, we do not. The other map is still there.
static void test_zeroed_page(void **state) {
    (void)state;
    hy_store *s;
    make();
    size_t n;
    char *data = content(g_db, &n);
    const float wanted[4] = {map_value(1, SIZE * SIZE - 8), map_value(1, SIZE * SIZE - 7),
                             map_value(1, SIZE * SIZE - 6), map_value(1, SIZE * SIZE - 5)};
    char *at = memmem(data, n, wanted, sizeof wanted);  // in the last page of the second map
    assert_non_null(at);
    memset(at, 0, 4 * sizeof(float));
    put_file(g_db, data, n);
    free(data);
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    OK(hy_store_check(s));  // SQLite finds nothing
    int found;
    assert_int_equal(read_maps(s, &found), HY_EINPUT);
    assert_int_equal(found, 1);
    SAYS("run 1: array map.layer1.attention is not what was stored");
    SAYS(g_db);
    assert_int_equal(hy_results_check(s), HY_EINPUT);
    SAYS("map.layer1.attention");
    OK(read_curve(s, &found));
    hy_store_close(s);
}

static void test_changed_rows(void **state) {
    (void)state;
    static const struct {
        const char *change, *says;
        bool curve;
    } cases[] = {
        {"UPDATE curve SET loss = loss * 1.0000000001 WHERE step = 10", "measure training", true},
        {"UPDATE curve SET step = 11 WHERE step = 10", "measure training", true},
        {"DELETE FROM curve WHERE step = 1", "measure training", true},
        {"UPDATE curve SET tokens_per_s = NULL WHERE step = 1", "measure training", true},
        {"UPDATE metric SET value = 0.75 WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET stderr = 0.1 WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET n = n + 1 WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET x = x + 1 WHERE x = 8", "measure accuracy", false},
        {"UPDATE metric SET y = y + 1 WHERE y = 1", "measure accuracy", false},
        {"UPDATE metric SET cell = 'c' WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET layer = 3 WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET final = 0 WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET meta = '{}' WHERE value = 0.5", "measure accuracy", false},
        {"UPDATE metric SET def_id = (SELECT id FROM metric_def WHERE name = 'exact') WHERE value = 0.5",
         "measure accuracy", false},
        {"UPDATE metric_def SET unit = '%' WHERE name = 'accuracy'", "measure accuracy", false},
        {"DELETE FROM sample WHERE rep = 1", "measure accuracy", false},
        {"UPDATE sample SET value = 7 WHERE rep = 1", "measure accuracy", false},
        {"UPDATE artifact SET layer = 1 WHERE layer = 0", "measure maps", false},
        {"UPDATE artifact SET meta = '{\"meta_tokens\":3}' WHERE layer = 0", "measure maps", false},
        {"UPDATE artifact SET hash = 'x' WHERE layer = 0", "map.layer0.attention", false},
        {"UPDATE metric SET measurement_id = 1 WHERE value = 0.5", "1 more", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hy_store *s;
        int n;
        make();
        raw_sql(g_db, cases[i].change);
        OK(hy_store_open(g_db, HY_STORE_READ, &s));
        if (hy_results_check(s) != HY_EINPUT) fail_msg("not seen: %s", cases[i].change);
        SAYS(cases[i].says);
        SAYS("run 1");
        assert_int_equal(read_curve(s, &n), cases[i].curve ? HY_EINPUT : HY_OK);
        hy_store_close(s);
    }
}

// What is done afterwards to rows that stay the same does not look like damage: a model that is made again gets the
// measurements of the one before.
static void test_seals_survive(void **state) {
    (void)state;
    hy_store *s;
    int64_t id;
    make();
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
    assert_int_equal(claim_model(s, "k", HY_CLAIM_FORCE, &id), HY_CLAIM_NEW);
    settle_model(s, id, 2.5, NULL, NULL, NULL);
    NUMBER(s, "SELECT count(*) FROM measurement WHERE model_id = 2", 3);
    OK(hy_results_check(s));
    OK(hy_store_exec(s, "VACUUM"));
    OK(hy_results_check(s));
    hy_store_close(s);
}

#define BLOCKS(rows, columns, block, positions)                                             \
    "meta = '{\"meta_tokens\":2,\"rows\":" rows ",\"columns\":" columns ",\"block\":" block \
    ",\"reduce\":\"max\",\"positions\":" #positions "}'"
static void test_maps_that_cannot_be(void **state) {
    (void)state;
    static const char *const changes[] = {"meta = '{\"meta_tokens\":-1}'",
                                          "meta = '{\"meta_tokens\":65}'",
                                          "meta = '{\"meta_tokens\":4294967298}'",
                                          "shape = '[64,63]'",
                                          "shape = '[65,64]'",
                                          "shape = '[4294967360,64]'",
                                          "shape = '[-64,-64]'",
                                          "shape = '[1]'",
                                          "layer = -7",
                                          "data = x'00'",
                                          "data = zeroblob(16384)",
                                          "layer = -4294967295",
                                          BLOCKS("[0,64]", "[0,64]", "[1,2]", 64),  // 64 x 32 values
                                          BLOCKS("[0,128]", "[0,64]", "[1,1]", 128),
                                          BLOCKS("[0,64]", "[0,64]", "[1,1]", 63),
                                          BLOCKS("[64,0]", "[0,64]", "[1,1]", 64),
                                          BLOCKS("[-64,0]", "[0,64]", "[1,1]", 64),
                                          BLOCKS("[0,64]", "[0,64]", "[0,1]", 64),
                                          BLOCKS("[0,4294967360]", "[0,64]", "[67108865,1]", 4294967360),
                                          BLOCKS("[0]", "[0,64]", "[1,1]", 64)};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        hy_store *s;
        int n;
        make();
        char *sql = hy_asprintf("UPDATE artifact SET %s WHERE name = 'map.layer0.attention'", changes[i]);
        raw_sql(g_db, sql);
        free(sql);
        OK(hy_store_open(g_db, HY_STORE_READ, &s));
        if (read_maps(s, &n) != HY_EINPUT) fail_msg("taken for a map: %s", changes[i]);
        SAYS("map.layer0.attention");
        hy_store_close(s);
    }
}

// Numbers that do not fit are no other numbers.
static void test_large_numbers(void **state) {
    (void)state;
    hy_store *s;
    hy_query *q;
    bool row;
    make();
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    OK(hy_query_open(s, "SELECT 4294967296, -4294967296, 9223372036854775807, 2147483647, -7, NULL", &q));
    OK(hy_query_step(q, &row));
    static const int expected[] = {2147483647, -2147483647 - 1, 2147483647, 2147483647, -7, 0};
    for (int i = 0; i < 6; i++) assert_int_equal(hy_query_small(q, i), expected[i]);
    hy_query_close(q);
    hy_store_close(s);
}

// ---------------------------------------------------------------------------------------------------- files
static void test_cut_files(void **state) {
    (void)state;
    make();
    size_t n;
    char *data = content(g_db, &n);
    for (size_t keep = 1; keep < n; keep = keep < 100 ? keep * 3 : keep + n / 9) {
        hy_store *s;
        put_file(g_db, data, keep);
        for (int mode = 0; mode < 2; mode++) {
            hy_status st = hy_store_open(g_db, (hy_store_mode)mode, &s);
            if (!st) {
                st = hy_results_check(s);
                hy_store_close(s);
            }
            if (st != HY_EINPUT) fail_msg("the first %zu of %zu bytes: status %d", keep, n, (int)st);
            SAYS(g_db);
            size_t now;
            char *left = content(g_db, &now);
            assert_int_equal(now, keep);
            assert_memory_equal(left, data, keep);
            free(left);
        }
    }
    free(data);
}

static void test_empty_file(void **state) {
    (void)state;
    hy_store *s;
    put_file(g_db, "", 0);
    assert_int_equal(hy_store_open(g_db, HY_STORE_READ, &s), HY_EINPUT);
    SAYS("empty database");
    OK(hy_store_open(g_db, HY_STORE_WRITE, &s));  // as mktemp makes one
    OK(hy_results_check(s));
    hy_store_close(s);
}

static void test_other_application(void **state) {
    (void)state;
    hy_store *s;
    raw_sql(g_db, "CREATE TABLE mail(a); INSERT INTO mail VALUES(1)");
    size_t n, m;
    char *before = content(g_db, &n);
    for (int mode = 0; mode < 2; mode++) {
        assert_int_equal(hy_store_open(g_db, (hy_store_mode)mode, &s), HY_EINPUT);
        SAYS("not one of hylab's");
    }
    char *after = content(g_db, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before), free(after);
}

// ---------------------------------------------------------------------------------------------------- the log
// A database whose last transactions are in its log only, as a killed process leaves it: copies of the three files
// while it is open. Five models.
static void make_with_log(const char *to) {
    static const char *const endings[] = {"", "-wal", "-shm"};
    static char *made[3];
    static size_t n[3];
    hy_store *s = NULL;
    if (!made[0]) {
        OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
        OK(hy_store_exec(s, "PRAGMA wal_autocheckpoint = 0"));
    }
    for (int i = 0; s && i < 5; i++) {
        char key[16];
        int64_t id;
        snprintf(key, sizeof key, "m%d", i);
        claim_model(s, key, 0, &id);
        settle_model(s, id, 2.5, NULL, NULL, NULL);
    }
    for (int i = 0; i < 3; i++) {
        char *from = hy_asprintf("%s%s", g_db, endings[i]), *path = hy_asprintf("%s%s", to, endings[i]);
        if (!made[i]) made[i] = content(from, &n[i]);
        put_file(path, made[i], n[i]);
        free(from), free(path);
    }
    hy_store_close(s);
}

static int64_t models_in(const char *path) {
    hy_store *s;
    OK(hy_store_open(path, HY_STORE_WRITE, &s));
    OK(hy_results_check(s));
    const int64_t n = number(s, "SELECT count(*) FROM model WHERE status = 'done'");
    hy_store_close(s);
    return n;
}

static void test_log(void **state) {
    (void)state;
    char to[128], wal[140], shm[140];
    snprintf(to, sizeof to, "%s/copy.db", g_dir);
    snprintf(wal, sizeof wal, "%s-wal", to);
    snprintf(shm, sizeof shm, "%s-shm", to);
    hy_store *s;
    size_t n, frame = 24 + 4096;
    make_with_log(to);
    assert_int_equal(models_in(to), 5);
    for (int with_shm = 0; with_shm < 2; with_shm++) {
        make_with_log(to);
        char *data = content(wal, &n);
        const size_t frames = (n - 32) / frame;
        assert_true(frames > 10);
        // a bit of a page, of a checksum, of a salt, of the header; a zeroed page
        const size_t at[] = {32 + 3 * frame + 24 + 100, 32 + 3 * frame + 17, 32 + 3 * frame + 9, 4,
                             32 + 6 * frame + 24 + 8};
        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
            make_with_log(to);
            if (!with_shm) unlink(shm);
            data[at[i]] ^= 1;
            put_file(wal, data, n);
            for (int mode = 0; mode < 2; mode++) {
                if (hy_store_open(to, (hy_store_mode)mode, &s) != HY_EINPUT) fail_msg("byte %zu: opened", at[i]);
                SAYS("copy.db-wal: damaged");
                size_t m;
                char *left = content(wal, &m);
                assert_int_equal(m, n);
                free(left);
            }
            data[at[i]] ^= 1;
        }
        free(data);
    }
    // what a process that died had not finished is no damage: the transactions before it count
    make_with_log(to);
    unlink(shm);
    char *data = content(wal, &n);
    put_file(wal, data, n - 1000);
    assert_int_equal(models_in(to), 4);
    make_with_log(to);
    unlink(shm);
    memset(data + n - 500, 0, 500);
    put_file(wal, data, n);
    assert_int_equal(models_in(to), 4);
    // pages of it that reached the disk in another order: the last is missing, of one before only zeros are there
    make_with_log(to);
    unlink(shm);
    char *torn = content(wal, &n);
    size_t last = (n - 32) / frame - 1, before = last - 1;
    while (before && !memcmp(torn + 32 + before * frame + 4, "\0\0\0", 4)) before--;  // the commit before
    assert_true(last - before > 3);
    memset(torn + 32 + (before + 1) * frame + 24, 0, 4096);
    put_file(wal, torn, 32 + last * frame);
    assert_int_equal(models_in(to), 4);
    free(torn);
    free(data);
    // rubbish in the shared memory of a log is made anew
    make_with_log(to);
    char noise[32768];
    memset(noise, 0xA5, sizeof noise);
    put_file(shm, noise, sizeof noise);
    assert_int_equal(models_in(to), 5);
    make_with_log(to);
    put_file(shm, noise, 10);
    assert_int_equal(models_in(to), 5);
}

// ---------------------------------------------------------------------------------------------------- archives
// Runs look in a child that may not write to the folder; its exit status.
static int as_nobody(int (*look)(const char *path), const char *path) {
    const pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534))) _exit(77);
        _exit(look(path));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    return WEXITSTATUS(status);
}

static int look_readable(const char *path) {
    hy_store *s;
    int n = 0;
    if (hy_store_open(path, HY_STORE_READ, &s)) return fprintf(stderr, "%s\n", hy_error_text()), 1;
    if (hy_results_check(s) || read_maps(s, &n) || n != 2) return 2;
    hy_store_close(s);
    return hy_store_open(path, HY_STORE_WRITE, &s) ? 0 : 3;
}

static int look_unfinished(const char *path) {
    hy_store *s;
    if (hy_store_open(path, HY_STORE_READ, &s) != HY_EINPUT) return 1;
    return strstr(hy_error_text(), "copy both") ? 0 : 2;
}

static void test_archive(void **state) {
    (void)state;
    char dir[128], path[140], beside[150];
    snprintf(dir, sizeof dir, "%s/archive", g_dir);
    snprintf(path, sizeof path, "%s/r.db", dir);
    assert_int_equal(mkdir(dir, 0755), 0);
    make();
    assert_int_equal(rename(g_db, path), 0);
    assert_int_equal(chmod(path, 0444) | chmod(g_dir, 0755) | chmod(dir, 0555), 0);
    assert_int_equal(as_nobody(look_readable, path), 0);
    // with a log that cannot be read in there nothing is left out in silence
    assert_int_equal(chmod(dir, 0755), 0);
    unlink(path);
    make_with_log(path);
    snprintf(beside, sizeof beside, "%s-shm", path);
    unlink(beside);
    snprintf(beside, sizeof beside, "%s-wal", path);
    assert_int_equal(chmod(path, 0444) | chmod(beside, 0444) | chmod(dir, 0555), 0);
    assert_int_equal(as_nobody(look_unfinished, path), 0);
    assert_int_equal(chmod(dir, 0755), 0);
}

// ---------------------------------------------------------------------------------------------------- networks
static long nfs(const char *folder) {
    assert_string_equal(folder, g_dir);
    return 0x6969;
}
static long local(const char *folder) {
    (void)folder;
    return 0xEF53;
}

static void text_is(hy_store *s, const char *sql, const char *expected) {
    hy_query *q;
    bool row;
    OK(hy_query_open(s, sql, &q));
    OK(hy_query_step(q, &row));
    assert_string_equal(hy_query_text(q, 0), expected);
    hy_query_close(q);
}

static int files_beside(void) {
    char *wal = hy_asprintf("%s-wal", g_db), *shm = hy_asprintf("%s-shm", g_db);
    const int n = hy_file_exists(wal) + hy_file_exists(shm);
    free(wal), free(shm);
    return n;
}

static void test_network(void **state) {
    (void)state;
    hy_store_schema over_nfs = {.application_id = HY_APPLICATION_ID,
                                .migrations = hy_schema_migrations,
                                .opened = hy_schema_define,
                                .fs_type = nfs},
                    at_home = over_nfs;
    at_home.fs_type = local;
    hy_store *s;
    OK(hy_store_open_as(g_db, HY_STORE_WRITE, &at_home, &s));
    text_is(s, "PRAGMA journal_mode", "wal");
    assert_null(hy_store_note(s));
    fill(s);
    assert_int_equal(files_beside(), 2);
    hy_store_close(s);
    // read over the network: no log is made there, not even for a database that was written with one
    OK(hy_store_open_as(g_db, HY_STORE_READ, &over_nfs, &s));
    int n;
    OK(read_maps(s, &n));
    assert_int_equal(n, 2);
    assert_int_equal(files_beside(), 0);
    hy_store_close(s);
    // written over the network: with a journal, and said
    OK(hy_store_open_as(g_db, HY_STORE_WRITE, &over_nfs, &s));
    text_is(s, "PRAGMA journal_mode", "delete");
    assert_non_null(hy_store_note(s));
    assert_non_null(strstr(hy_store_note(s), "network file system, NFS"));
    assert_non_null(strstr(hy_store_note(s), "local disk"));
    int64_t id;
    claim_model(s, "k2", 0, &id);
    assert_int_equal(files_beside(), 0);
    OK(hy_results_check(s));
    hy_store_close(s);
    OK(hy_store_open_as(g_db, HY_STORE_READ, &over_nfs, &s));
    NUMBER(s, "SELECT count(*) FROM model", 2);
    hy_store_close(s);
    OK(hy_store_open_as(g_db, HY_STORE_WRITE, &at_home, &s));
    text_is(s, "PRAGMA journal_mode", "wal");
    hy_store_close(s);
}

static long magic;
static long any(const char *folder) {
    (void)folder;
    return magic;
}

static void test_file_systems(void **state) {
    (void)state;
    static const long network[] = {0x6969,     0x517B,     0xFF534D42, (long)(int)0xFF534D42,
                                   0xFE534D42, 0x0BD00BD0, 0x47504653, 0x65735546,
                                   0x00C36400, 0x01021997};
    static const long disks[] = {0xEF53, 0x9123683E, 0x58465342, 0x01021994, 0x794C7630, 0x2FC12FC1, 0, 0x4d44};
    const hy_store_schema schema = {
        .application_id = HY_APPLICATION_ID, .migrations = hy_schema_migrations, .fs_type = any};
    for (size_t i = 0; i < sizeof network / sizeof network[0] + sizeof disks / sizeof disks[0]; i++) {
        const bool net = i < sizeof network / sizeof network[0];
        hy_store *s;
        magic = net ? network[i] : disks[i - sizeof network / sizeof network[0]];
        OK(hy_store_open_as(g_db, HY_STORE_WRITE, &schema, &s));
        text_is(s, "PRAGMA journal_mode", net ? "delete" : "wal");
        hy_store_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_sound),
        T(test_zeroed_page),
        T(test_changed_rows),
        T(test_seals_survive),
        T(test_maps_that_cannot_be),
        T(test_large_numbers),
        T(test_cut_files),
        T(test_empty_file),
        T(test_other_application),
        T(test_log),
        T(test_archive),
        T(test_network),
        T(test_file_systems),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
