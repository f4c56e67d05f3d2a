// claim.c - rows that a process owns while it works on them, be they models or measurements: claiming, settling,
// taking over.
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "results/record_impl.h"

_Static_assert(HY_DEAD_S == 2 * HY_HEARTBEAT_S, "one sign of life may be missed");

const hy_row_kind hy_model_rows = {"model", "model_key, seed, device", "model"};
const hy_row_kind hy_measurement_rows = {"measurement", "model_id, measure, version, key", "measurement"};

void hy_time_text(char out[32]) {
    const time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

hy_status hy_store_end(hy_store *s, hy_status st) {
    if (!st) return hy_store_commit(s);
    hy_store_rollback(s);
    return st;
}

// ---------------------------------------------------------------------------------------------------- finding
hy_status hy_rows_find(hy_query *q, hy_found *f) {
    *f = (hy_found){0};
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        const char *status = hy_query_text(q, 1);
        const bool running = !strcmp(status, "running");
        if (running || !strcmp(status, "interrupted")) {
            f->open_id = hy_query_int(q, 0);
            f->open_alive = running && hy_process_alive(hy_query_text(q, 2), hy_query_int(q, 3));
        } else {
            f->settled_id = hy_query_int(q, 0);
            f->settled_done = !strcmp(status, "done");
            f->settled_weights = hy_query_int(q, 4);
        }
    }
    hy_query_close(q);
    return st;
}

hy_claim hy_rows_judge(const hy_found *f, unsigned flags, int64_t *id) {
    const bool again = flags & HY_CLAIM_FORCE || (!f->settled_done && flags & HY_CLAIM_RETRY_FAILED) ||
                       (f->settled_done && !f->settled_weights && flags & HY_CLAIM_WEIGHTS);
    if (f->settled_id && !again) {
        *id = f->settled_id;
        return f->settled_done ? HY_CLAIM_DONE : HY_CLAIM_FAILED;
    }
    *id = f->open_id;
    if (!f->open_id) return HY_CLAIM_NEW;
    return f->open_alive ? HY_CLAIM_BUSY : HY_CLAIM_RESUMED;
}

// ---------------------------------------------------------------------------------------------------- one row
// Runs a statement in which %1 stands for the table and %2 for the columns of the identity.
static char *of_kind(const hy_row_kind *k, const char *sql) {
    hy_buf b = {0};
    for (; *sql; sql++) {
        if (sql[0] == '%' && (sql[1] == '1' || sql[1] == '2'))
            hy_buf_printf(&b, "%s", *++sql == '1' ? k->table : k->identity);
        else
            hy_buf_write(&b, sql, 1);
    }
    return b.s;
}

static hy_status open_of(hy_store *s, const hy_row_kind *k, const char *sql, hy_query **q) {
    char *text = of_kind(k, sql);
    const hy_status st = hy_query_open(s, text, q);
    free(text);
    return st;
}

static hy_status run_and_close(hy_query *q) {
    const hy_status st = hy_query_run(q);
    hy_query_close(q);
    return st;
}

hy_status hy_row_take_over(hy_store *s, const hy_row_kind *k, int64_t id, const hy_provenance *by) {
    char process[160], host[65];
    hy_process_self(process);
    hy_host_name(host);
    hy_query *q;
    HY_TRY(open_of(s, k,
                   "UPDATE %1 SET status = 'running', resumes = resumes + 1, error = NULL, ended = NULL, process = ?2,"
                   " heartbeat = unixepoch(), git_commit = ?3, git_dirty = ?4, build = ?5, host = ?6, device_name = ?7,"
                   " threads = ?8 WHERE id = ?1",
                   &q));
    hy_query_bind(q, "lssisssi", id, process, hy_text(by->commit), (int)by->dirty, hy_text(by->build), host,
                  hy_text(by->device_name), by->threads);
    return run_and_close(q);
}

hy_status hy_row_heartbeat(hy_store *s, const hy_row_kind *k, int64_t id) {
    hy_query *q;
    HY_TRY(open_of(s, k, "UPDATE %1 SET heartbeat = unixepoch() WHERE id = ?1 AND status = 'running'", &q));
    hy_query_bind(q, "l", id);
    return run_and_close(q);
}

// ---------------------------------------------------------------------------------------------------- settling
static hy_status find_older(hy_store *s, const hy_row_kind *k, int64_t id, hy_replaced *older) {
    *older = (hy_replaced){0};
    hy_query *q;
    HY_TRY(open_of(s, k,
                   "SELECT id, status = 'done' FROM %1 WHERE superseded_by IS NULL AND status IN ('done','failed') AND"
                   " (%2) = (SELECT %2 FROM %1 WHERE id = ?1)",
                   &q));
    hy_query_bind(q, "l", id);
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    if (!st && row) *older = (hy_replaced){.id = hy_query_int(q, 0), .done = hy_query_int(q, 1)};
    hy_query_close(q);
    return st;
}

static hy_status supersede(hy_store *s, const hy_row_kind *k, int64_t older, int64_t by) {
    hy_query *q;
    HY_TRY(open_of(s, k, "UPDATE %1 SET superseded_by = ?2 WHERE id = ?1", &q));
    hy_query_bind(q, "ll", older, by);
    return run_and_close(q);
}

hy_status hy_row_settle(hy_store *s, const hy_row_kind *k, int64_t id, const char *owner, const char *kernel_path,
                        const char *error, hy_replaced *older) {
    char self[160], when[32];
    hy_process_self(self);
    hy_time_text(when);
    HY_TRY(find_older(s, k, id, older));
    // what is done stays, whatever becomes of a later attempt
    const int64_t behind = error && older->done ? older->id : 0;
    if (behind) *older = (hy_replaced){0};
    if (older->id) HY_TRY(supersede(s, k, older->id, id));
    hy_query *q;
    HY_TRY(open_of(s, k,
                   "UPDATE %1 SET status = ?2, error = ?3, ended = ?4, kernel_path = ?5, superseded_by = nullif(?6, 0)"
                   " WHERE id = ?1 AND status = 'running' AND process = ?7",
                   &q));
    hy_query_bind(q, "lssssls", id, error ? "failed" : "done", error, when, kernel_path, behind, owner ? owner : self);
    HY_TRY(run_and_close(q));
    if (hy_store_changes(s) == 1) return HY_OK;
    return hy_error(HY_EFAIL,
                    "%s: %s %lld is no longer this process's: another one took it over; its result was not stored",
                    hy_store_path(s), k->what, (long long)id);
}

hy_status hy_row_interrupt(hy_store *s, const hy_row_kind *k, int64_t id, const char *owner, const char *why) {
    char self[160], when[32];
    hy_process_self(self);
    hy_time_text(when);
    hy_query *q;
    HY_TRY(open_of(s, k,
                   "UPDATE %1 SET status = 'interrupted', error = ?2, ended = ?3"
                   " WHERE id = ?1 AND status = 'running' AND process = ?4",
                   &q));
    hy_query_bind(q, "lsss", id, why, when, owner ? owner : self);
    return run_and_close(q);
}

// ---------------------------------------------------------------------------------------------------- of the dead
// The owner of a running row if it is the process `pid` of this machine and gone; "" otherwise.
static hy_status dead_owner(hy_store *s, const hy_row_kind *k, int64_t id, long pid, char owner[160]) {
    owner[0] = 0;
    hy_query *q;
    HY_TRY(open_of(s, k, "SELECT process FROM %1 WHERE id = ?1 AND status = 'running'", &q));
    hy_query_bind(q, "l", id);
    bool row = false;
    const hy_status st = hy_query_step(q, &row);
    const char *p = !st && row ? hy_query_text(q, 0) : "";
    if (hy_process_pid(p) == pid && hy_process_look(p) == HY_PROCESS_GONE) snprintf(owner, 160, "%s", p);
    hy_query_close(q);
    return st;
}

hy_status hy_row_settle_dead(hy_store *s, const hy_row_kind *k, int64_t id, long pid, bool failed, const char *why,
                             bool *changed) {
    *changed = false;
    char owner[160];
    hy_replaced older;
    HY_TRY(hy_store_begin(s));
    hy_status st = dead_owner(s, k, id, pid, owner);
    if (!st && owner[0]) {
        st = failed ? hy_row_settle(s, k, id, owner, "", why, &older) : hy_row_interrupt(s, k, id, owner, why);
        *changed = !st;
    }
    return hy_store_end(s, st);
}
