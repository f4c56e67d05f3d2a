// test_store_shims.c - storing on a disk and in a memory that fail: every write, sync and truncation of a session fails
// once, and from then on; one allocation after another fails. Each time there is a clear error, the database is sound,
// nothing is half stored, and the next process brings the work to its end. (Files of hylab's own: test_fulldisk.c.)
#include "store_fixture.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

// --------------------------------------------------------------------------------------------------- a disk that fails
// A VFS in front of the system's. Operation number g_fail (from 1) that writes fails; with g_for_good all after it as
// well.
typedef struct {
    sqlite3_file base;
    sqlite3_file *real;
} shim_file;
static sqlite3_vfs *g_real_vfs;
static long g_operations, g_fail;
static bool g_for_good;

static bool fails(void) {
    g_operations++;
    return g_fail && (g_operations == g_fail || (g_for_good && g_operations > g_fail));
}

#define REAL(f) (((shim_file *)(f))->real)
static int shim_close(sqlite3_file *f) {
    const int rc = REAL(f)->pMethods ? REAL(f)->pMethods->xClose(REAL(f)) : SQLITE_OK;
    return rc;
}
static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at) {
    return REAL(f)->pMethods->xRead(REAL(f), p, n, at);
}
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at) {
    if (fails()) {  // half of it gets there
        REAL(f)->pMethods->xWrite(REAL(f), p, n / 2, at);
        return g_for_good ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return REAL(f)->pMethods->xWrite(REAL(f), p, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n) {
    return fails() ? SQLITE_IOERR_TRUNCATE : REAL(f)->pMethods->xTruncate(REAL(f), n);
}
static int shim_sync(sqlite3_file *f, int flags) {
    (void)flags;  // nothing is pulled out here: the disk itself need not be waited for
    (void)f;
    return fails() ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n) { return REAL(f)->pMethods->xFileSize(REAL(f), n); }
static int shim_lock(sqlite3_file *f, int l) { return REAL(f)->pMethods->xLock(REAL(f), l); }
static int shim_unlock(sqlite3_file *f, int l) { return REAL(f)->pMethods->xUnlock(REAL(f), l); }
static int shim_reserved(sqlite3_file *f, int *out) { return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out); }
static int shim_control(sqlite3_file *f, int op, void *p) { return REAL(f)->pMethods->xFileControl(REAL(f), op, p); }
static int shim_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int shim_character(sqlite3_file *f) { return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f)); }
static int shim_map(sqlite3_file *f, int page, int size, int extend, void volatile **p) {
    return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, p);
}
static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags) {
    return REAL(f)->pMethods->xShmLock(REAL(f), at, n, flags);
}
static void shim_barrier(sqlite3_file *f) { REAL(f)->pMethods->xShmBarrier(REAL(f)); }
static int shim_unmap(sqlite3_file *f, int gone) { return REAL(f)->pMethods->xShmUnmap(REAL(f), gone); }

static const sqlite3_io_methods g_methods = {
    2,           shim_close,    shim_read,    shim_write,  shim_truncate,  shim_sync, shim_size,     shim_lock,
    shim_unlock, shim_reserved, shim_control, shim_sector, shim_character, shim_map,  shim_shm_lock, shim_barrier,
    shim_unmap,  NULL,          NULL};

static int shim_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)v;
    shim_file *s = (shim_file *)f;
    s->real = (sqlite3_file *)(s + 1);
    const int rc = g_real_vfs->xOpen(g_real_vfs, name, s->real, flags, out);
    s->base.pMethods = s->real->pMethods ? &g_methods : NULL;
    return rc;
}

static void install_shim(void) {
    static sqlite3_vfs shim;
    g_real_vfs = sqlite3_vfs_find(NULL);
    shim = *g_real_vfs;
    shim.zName = "shim";
    shim.szOsFile = (int)sizeof(shim_file) + g_real_vfs->szOsFile;
    shim.xOpen = shim_open;
    assert_int_equal(sqlite3_vfs_register(&shim, 1), SQLITE_OK);
}

// --------------------------------------------------------------------------------------------------- memory that fails
static long g_allocations, g_no_memory;  // allocation number g_no_memory finds none; 0: all do

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { OWN_MALLOC = 0 };
#else
enum { OWN_MALLOC = 1 };
extern void *__libc_malloc(size_t n), *__libc_calloc(size_t n, size_t size), *__libc_realloc(void *p, size_t n);
static bool none_left(void) { return ++g_allocations == g_no_memory; }
void *malloc(size_t n) { return none_left() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return none_left() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return none_left() ? NULL : __libc_realloc(p, n); }
#endif

// ---------------------------------------------------------------------------------------------------- a session
#define DO(e)             \
    do {                  \
        st = (e);         \
        if (st) goto end; \
    } while (0)

// Whatever is not stored of: a model with its training, a measurement with samples and arrays, a plan.
static hy_status session(void) {
    static const hy_planned_key key = {"accuracy", 1, "x"};
    const hy_planned_row plan = one_run(&key);
    const hy_experiment_record e = experiment_of(&plan);
    hy_store *s = NULL;
    hy_facts f = {.steps = 10}, g = {.steps = 10};
    hy_claim c;
    int64_t id, m;
    hy_status st;
    const hy_model_record r = model("k", 1);
    DO(hy_store_open(g_db, HY_STORE_WRITE, &s));
    DO(hy_experiment_store(s, &e, &id));
    DO(hy_model_claim(s, &r, 0, &c, &id));
    if (c != HY_CLAIM_DONE) {
        hy_facts_add(&f, "train_seconds", "", 1);
        for (int i = 1; i <= 40; i++) hy_facts_curve(&f, &(hy_curve_point){i, 3.5 / i, 1e-3, 1, 100});
        DO(hy_model_heartbeat(s, id));
        DO(hy_model_settle(s, id, &f, "w", "h", NULL));
    }
    const hy_measurement_record mr = {.model_id = id, .measure = "maps", .version = 1, .options = "", .task = ""};
    DO(hy_measurement_claim(s, &mr, 0, &c, &m));
    if (c != HY_CLAIM_DONE) {
        static float map[48 * 48];
        for (int i = 0; i < 48 * 48; i++) map[i] = (float)i;
        hy_fact *t = hy_facts_add(&g, "throughput_train", "T8.B1", 5);
        hy_fact_samples(t, (double[]){4, 5, 6}, 3);
        hy_facts_artifact(&g, "map.layer0.attention", "f32", 2, (int[]){48, 48}, map, NULL);
        DO(hy_measurement_settle(s, m, &g, NULL));
    }
end:
    if (st) {  // the text must outlive what is freed
        char *why = hy_xstrdup(hy_error_text());
        hy_store_close(s);
        hy_error(st, "%s", why);
        free(why);
    } else {
        hy_store_close(s);
    }
    hy_facts_free(&f);
    hy_facts_free(&g);
    return st;
}

static char *g_start;  // a database with another model
static size_t g_start_n;

static void start_again(void) {
    static const char *const endings[] = {"-wal", "-shm", "-journal"};
    for (int i = 0; i < 3; i++) {
        char *path = hy_asprintf("%s%s", g_db, endings[i]);
        unlink(path);
        free(path);
    }
    if (!g_start) {
        hy_store *s;
        int64_t id;
        OK(hy_store_open(g_db, HY_STORE_WRITE, &s));
        claim_model(s, "before", 0, &id);
        settle_model(s, id, 2.5, NULL, NULL, NULL);
        claim_measure(s, id, "", 0, &id);
        settle_measure(s, id, 0.5, NULL);
        hy_store_close(s);
        OK(hy_file_read(g_db, 1 << 24, &g_start, &g_start_n));
    }
    put_file(g_db, g_start, g_start_n);
}

// What is there is whole: rows that are done have all their facts, others none.
static void check_sound(const char *when, long n) {
    hy_store *s;
    if (hy_store_open(g_db, HY_STORE_READ, &s)) fail_msg("%s %ld: %s", when, n, hy_error_text());
    if (hy_results_check(s)) fail_msg("%s %ld: %s", when, n, hy_error_text());
    NUMBER(s, "SELECT count(*) FROM model WHERE model_key = 'before' AND status = 'done'", 1);
    NUMBER(s, "SELECT count(*) FROM metric m JOIN measurement x ON x.id = m.measurement_id WHERE x.status <> 'done'",
           0);
    NUMBER(s, "SELECT count(*) FROM measurement WHERE status = 'done' AND facts_hash IS NULL", 0);
    NUMBER(s,
           "SELECT count(*) FROM model m WHERE status = 'done' AND NOT EXISTS (SELECT 1 FROM measurement x"
           " WHERE x.model_id = m.id AND x.measure = 'training')",
           0);
    NUMBER(s, "SELECT count(*) FROM model WHERE model_key = 'k' AND weights IS NULL AND status = 'done'", 0);
    NUMBER(s, "SELECT count(*) FROM curve WHERE measurement_id NOT IN (SELECT id FROM measurement)", 0);
    NUMBER(s, "SELECT count(*) IN (0, 1) FROM experiment", 1);
    NUMBER(s, "SELECT (SELECT count(*) FROM planned) = (SELECT count(*) FROM experiment)", 1);
    hy_store_close(s);
}

static void check_complete(const char *when, long n) {
    hy_store *s;
    if (hy_store_open(g_db, HY_STORE_READ, &s)) fail_msg("%s %ld: %s", when, n, hy_error_text());
    NUMBER(s, "SELECT count(*) FROM model WHERE status = 'done'", 2);
    NUMBER(s, "SELECT count(*) FROM measurement WHERE status = 'done'", 4);
    NUMBER(s, "SELECT count(*) FROM curve", 42);
    NUMBER(s, "SELECT count(*) FROM artifact", 2);
    NUMBER(s, "SELECT count(*) FROM sample", 6);
    hy_store_close(s);
}

// The session in a process of its own, whose n-th operation or allocation fails. 0: it went well all the same; 10: it
// said what is wrong; 1: it ended for want of memory, with a message.
static int child_session(long n, bool memory, bool for_good) {
    const pid_t child = fork();
    if (child == 0) {
        for (int sig = 1; sig < 16; sig++) signal(sig, SIG_DFL);  // the test's own would go on in this process
        if (!freopen("/dev/null", "w", stderr)) _exit(12);
        g_operations = g_allocations = 0;
        if (memory)
            g_no_memory = n;
        else
            g_fail = n, g_for_good = for_good;
        const hy_status st = session();
        g_no_memory = 0;
        if (!st) _exit(0);
        const bool clear =
            st != HY_EINTR && strstr(hy_error_text(), memory ? "memory" : g_db) && strlen(hy_error_text()) > 20;
        _exit(clear ? 10 : 11);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) fail_msg("number %ld: ended by signal %d", n, WTERMSIG(status));
    return WEXITSTATUS(status);
}

static long count_of(bool memory) {
    int p[2];
    long n[2] = {0, 0};
    assert_int_equal(pipe(p), 0);
    const pid_t child = fork();
    if (child == 0) {
        g_operations = g_allocations = 0;
        if (session()) _exit(1);
        n[0] = g_operations, n[1] = g_allocations;
        if (write(p[1], n, sizeof n) < 0) _exit(1);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(p[0], n, sizeof n), sizeof n);
    close(p[0]), close(p[1]);
    return n[memory];
}

static void test_every_write(void **state) {
    (void)state;
    start_again();
    const long all = count_of(false);
    assert_true(all > 50);
    for (int for_good = 0; for_good < 2; for_good++) {
        int errors = 0;
        for (long n = 1; n <= all; n++) {
            start_again();
            const int end = child_session(n, false, for_good);
            if (end != 0 && end != 10) fail_msg("write %ld of %ld: the child ended with %d", n, all, end);
            errors += end == 10;
            check_sound(for_good ? "all writes from" : "write", n);
            OK(session());
            check_complete("after write", n);
        }
        if (errors < all / 2) fail_msg("only %d of %ld failures were told", errors, all);
    }
}

static void test_allocations(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    start_again();
    const long all = count_of(true), stride = all / 150 + 1;
    assert_true(all > 500);
    int errors = 0, ended = 0;
    for (long n = 1; n <= all; n += n < 40 ? 1 : stride) {
        start_again();
        const int end = child_session(n, true, false);
        if (end != 0 && end != 1 && end != 10) fail_msg("allocation %ld of %ld: the child ended with %d", n, all, end);
        errors += end == 10;
        ended += end == 1;
        check_sound("allocation", n);
    }
    assert_true(errors > 20);
    assert_true(ended > 0);
    OK(session());
    check_complete("after allocation", all);
}

// A text that finds no memory when it is bound must not become a NULL: the step after it says so.
static void test_bound_without_memory(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    hy_store *s;
    hy_query *q;
    bool row;
    char text[8192];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    start_again();
    OK(hy_store_open(g_db, HY_STORE_READ, &s));
    OK(hy_query_open(s, "SELECT ?1 IS NULL", &q));
    for (int fails = 1; fails >= 0; fails--) {
        g_allocations = 0, g_no_memory = fails;
        hy_query_bind_text(q, 1, text);
        g_no_memory = 0;
        const hy_status st = hy_query_step(q, &row);
        if (fails) assert_true(st && strstr(hy_error_text(), "memory"));
        if (!fails) assert_true(!st && row && hy_query_int(q, 0) == 0);
        hy_query_reset(q);
    }
    hy_query_close(q);
    hy_store_close(s);
}

static int setup_shim(void **state) {
    if (!g_real_vfs) install_shim();
    return setup(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_write, setup_shim, teardown),
        cmocka_unit_test_setup_teardown(test_allocations, setup_shim, teardown),
        cmocka_unit_test_setup_teardown(test_bound_without_memory, setup_shim, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
