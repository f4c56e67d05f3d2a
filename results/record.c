// record.c - see record.h: claiming and settling of runs. Facts in memory: facts.c; experiments: planned.c.
#include "results/record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "results/schema.h"

// A running row of another machine or container without a heartbeat for this long is taken over.
#define DEAD_S (HY_HEARTBEAT_S * 2)

// What is stored for one identity: the open attempt (running or interrupted) and the settled one.
typedef struct {
    int64_t open_id, settled_id;  // 0: none
    bool open_running, settled_done;
    bool open_alive;              // running and its process lives
} found;

static hy_status find(hy_store *s, const char *key, int64_t seed, const char *device, found *f) {
    *f = (found){0};
    hy_query *q;
    HY_TRY(hy_query_open(s, "SELECT id, status, process, heartbeat FROM run WHERE run_key = ?1 AND seed = ?2 AND device = ?3 "
                            "AND (status IN ('running','interrupted') OR superseded_by IS NULL)", &q));
    hy_query_bind_text(q, 1, key);
    hy_query_bind_int(q, 2, seed);
    hy_query_bind_text(q, 3, device);
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        const char *status = hy_query_text(q, 1);
        bool running = !strcmp(status, "running");
        if (running || !strcmp(status, "interrupted")) {
            f->open_id = hy_query_int(q, 0);
            f->open_running = running;
            hy_process_state p = running ? hy_process_look(hy_query_text(q, 2)) : HY_PROCESS_GONE;
            f->open_alive = p == HY_PROCESS_ALIVE || (p == HY_PROCESS_ELSEWHERE && time(NULL) - hy_query_int(q, 3) < DEAD_S);
        } else {
            f->settled_id = hy_query_int(q, 0);
            f->settled_done = !strcmp(status, "done");
        }
    }
    hy_query_close(q);
    return st;
}

static hy_claim judge(const found *f, unsigned flags, int64_t *id) {
    bool again = flags & HY_CLAIM_FORCE || (f->settled_id && !f->settled_done && flags & HY_CLAIM_RETRY_FAILED);
    if (f->settled_id && !again) {
        *id = f->settled_id;
        return f->settled_done ? HY_CLAIM_DONE : HY_CLAIM_FAILED;
    }
    *id = f->open_id;
    if (!f->open_id) return HY_CLAIM_NEW;
    return f->open_alive ? HY_CLAIM_BUSY : HY_CLAIM_RESUMED;
}

hy_status hy_run_peek(hy_store *s, const char *run_key, int64_t seed, const char *device, unsigned flags, hy_claim *claim,
                      int64_t *id) {
    found f;
    HY_TRY(find(s, run_key, seed, device, &f));
    *claim = judge(&f, flags, id);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- claiming
static void now_text(char out[32]) {  // UTC, ISO 8601
    time_t t = time(NULL);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static hy_status insert(hy_store *s, const hy_run_record *r, int64_t *id) {
    static const char sql[] =
        "INSERT INTO run(run_key, seed, device, status, variant, experiment, grid, spec_hash, spec, task, task_kind,"
        " task_options, train, measures, git_commit, git_dirty, build, host, device_name, threads, started, process, heartbeat)"
        " VALUES(?1,?2,?3,'running',?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,unixepoch())";
    hy_query *q;
    HY_TRY(hy_query_open(s, sql, &q));
    char when[32], process[160], host[65] = "";
    now_text(when);
    hy_process_self(process);
    gethostname(host, sizeof host - 1);
    hy_query_bind_text(q, 1, r->run_key);
    hy_query_bind_int(q, 2, r->seed);
    const char *text[] = {r->variant, r->experiment, r->grid, r->spec_hash, r->spec, r->task, r->task_kind, r->task_options,
                          r->train, r->measures, r->commit};
    hy_query_bind_text(q, 3, r->device);
    for (int i = 0; i < 11; i++) hy_query_bind_text(q, 4 + i, text[i]);
    hy_query_bind_int(q, 15, r->dirty);
    hy_query_bind_text(q, 16, r->build);
    hy_query_bind_text(q, 17, host);
    hy_query_bind_text(q, 18, r->device_name);
    hy_query_bind_int(q, 19, r->threads);
    hy_query_bind_text(q, 20, when);
    hy_query_bind_text(q, 21, process);
    hy_status st = hy_query_run(q);
    hy_query_close(q);
    if (!st) *id = hy_store_last_id(s);
    return st;
}

// The row keeps its start; who continues it and with what is written over (the last part made the result).
static hy_status take_over(hy_store *s, const hy_run_record *r, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "UPDATE run SET status = 'running', resumes = resumes + 1, error = NULL, ended = NULL, process = ?2,"
                            " heartbeat = unixepoch(), git_commit = ?3, git_dirty = ?4, build = ?5, host = ?6, device_name = ?7,"
                            " threads = ?8 WHERE id = ?1", &q));
    char process[160], host[65] = "";
    hy_process_self(process);
    gethostname(host, sizeof host - 1);
    hy_query_bind_int(q, 1, id);
    hy_query_bind_text(q, 2, process);
    hy_query_bind_text(q, 3, r->commit);
    hy_query_bind_int(q, 4, r->dirty);
    hy_query_bind_text(q, 5, r->build);
    hy_query_bind_text(q, 6, host);
    hy_query_bind_text(q, 7, r->device_name);
    hy_query_bind_int(q, 8, r->threads);
    hy_status st = hy_query_run(q);
    hy_query_close(q);
    return st;
}

hy_status hy_run_claim(hy_store *s, const hy_run_record *r, unsigned flags, hy_claim *claim, int64_t *id) {
    HY_TRY(hy_store_begin(s));
    hy_status st = hy_run_peek(s, r->run_key, r->seed, r->device, flags, claim, id);
    if (!st && *claim == HY_CLAIM_NEW) st = insert(s, r, id);
    if (!st && *claim == HY_CLAIM_RESUMED) st = take_over(s, r, *id);
    if (!st) return hy_store_commit(s);
    hy_store_rollback(s);
    return st;
}

hy_status hy_run_heartbeat(hy_store *s, int64_t id) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "UPDATE run SET heartbeat = unixepoch() WHERE id = ?1 AND status = 'running'", &q));
    hy_query_bind_int(q, 1, id);
    hy_status st = hy_query_run(q);
    hy_query_close(q);
    return st;
}

// ---------------------------------------------------------------------------------------------------- settling
static hy_status store_facts(hy_store *s, int64_t id, const hy_facts *f) {
    hy_query *metric = NULL, *sample = NULL;
    hy_status st = hy_query_open(s, "INSERT INTO metric(run_id, def_id, cell, step, final, value, stderr, n, x, y, meta) SELECT ?1, id,"
                                    " ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM metric_def WHERE name = ?2 AND version = ?3", &metric);
    if (!st) st = hy_query_open(s, "INSERT INTO sample(metric_id, rep, value) VALUES(?1,?2,?3)", &sample);
    for (int i = 0; !st && i < f->n_facts; i++) {
        const hy_fact *m = &f->fact[i];
        hy_query_bind_int(metric, 1, id);
        hy_query_bind_text(metric, 2, m->name);
        hy_query_bind_int(metric, 3, hy_metric_find(m->name)->version);
        hy_query_bind_text(metric, 4, m->cell);
        hy_query_bind_int(metric, 5, m->step);
        hy_query_bind_int(metric, 6, m->final);
        hy_query_bind_double(metric, 7, m->value);
        hy_query_bind_double(metric, 8, m->se);
        hy_query_bind_int(metric, 9, m->n);
        hy_query_bind_double(metric, 10, m->x);
        hy_query_bind_double(metric, 11, m->y);
        hy_query_bind_text(metric, 12, m->meta);
        st = hy_query_run(metric);
        int64_t metric_id = hy_store_last_id(s);
        for (int k = 0; !st && k < m->n_samples; k++) {
            hy_query_bind_int(sample, 1, metric_id);
            hy_query_bind_int(sample, 2, k);
            hy_query_bind_double(sample, 3, m->samples[k]);
            st = hy_query_run(sample);
        }
    }
    hy_query_close(metric);
    hy_query_close(sample);
    return st;
}

static hy_status store_artifacts(hy_store *s, int64_t id, const hy_facts *f) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "INSERT INTO artifact(run_id, name, dtype, shape, meta, data) VALUES(?1,?2,?3,?4,?5,?6)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < f->n_artifacts; i++) {
        const hy_artifact *a = &f->artifact[i];
        hy_buf shape = {0};
        for (int k = 0; k < a->ndim; k++) hy_buf_printf(&shape, "%s%d", k ? "," : "[", a->shape[k]);
        hy_buf_printf(&shape, "]");
        hy_query_bind_int(q, 1, id);
        hy_query_bind_text(q, 2, a->name);
        hy_query_bind_text(q, 3, a->dtype);
        hy_query_bind_text(q, 4, shape.s);
        hy_query_bind_text(q, 5, a->meta ? a->meta : "{}");
        hy_query_bind_blob(q, 6, a->data, a->bytes);
        st = hy_query_run(q);
        free(shape.s);
    }
    hy_query_close(q);
    return st;
}

static hy_status store_curve(hy_store *s, int64_t id, const hy_facts *f) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "INSERT INTO curve(run_id, step, loss, lr, grad_norm, tokens_per_s) VALUES(?1,?2,?3,?4,?5,?6)", &q));
    hy_status st = HY_OK;
    for (int i = 0; !st && i < f->n_curve; i++) {
        const hy_curve_point *p = &f->curve[i];
        hy_query_bind_int(q, 1, id);
        hy_query_bind_int(q, 2, p->step);
        hy_query_bind_double(q, 3, p->loss);
        hy_query_bind_double(q, 4, p->lr);
        hy_query_bind_double(q, 5, p->grad_norm);
        hy_query_bind_double(q, 6, p->tokens_per_s);
        st = hy_query_run(q);
    }
    hy_query_close(q);
    return st;
}

// Marks the older settled row of the same identity, then settles this one.
static hy_status settle_row(hy_store *s, int64_t id, const char *owner, int64_t steps, const char *path, const char *error) {
    static const char older[] =
        "UPDATE run SET superseded_by = ?1 WHERE superseded_by IS NULL AND status IN ('done','failed') AND"
        " (run_key, seed, device) = (SELECT run_key, seed, device FROM run WHERE id = ?1)";
    static const char settle[] =
        "UPDATE run SET status = ?2, error = ?3, ended = ?4, steps = ?5, kernel_path = ?6 WHERE id = ?1 AND status = 'running'"
        " AND process = ?7";
    hy_query *q;
    HY_TRY(hy_query_open(s, older, &q));
    hy_query_bind_int(q, 1, id);
    hy_status st = hy_query_run(q);
    hy_query_close(q);
    if (st) return st;
    HY_TRY(hy_query_open(s, settle, &q));
    char when[32];
    now_text(when);
    hy_query_bind_int(q, 1, id);
    hy_query_bind_text(q, 2, error ? "failed" : "done");
    hy_query_bind_text(q, 3, error);
    hy_query_bind_text(q, 4, when);
    hy_query_bind_int(q, 5, steps);
    hy_query_bind_text(q, 6, path);
    hy_query_bind_text(q, 7, owner);
    st = hy_query_run(q);
    hy_query_close(q);
    if (!st && hy_store_changes(s) != 1)
        st = hy_error(HY_EFAIL, "%s: run %lld is no longer this process's: another one took it over; its result was not stored",
                      hy_store_path(s), (long long)id);
    return st;
}

hy_status hy_run_settle(hy_store *s, int64_t id, const hy_facts *f, const char *error) {
    char self[160];
    hy_process_self(self);
    HY_TRY(hy_store_begin(s));
    hy_status st = settle_row(s, id, self, f->steps, f->kernel_path, error);
    if (!st) st = store_facts(s, id, f);
    if (!st) st = store_artifacts(s, id, f);
    if (!st) st = store_curve(s, id, f);
    if (!st) return hy_store_commit(s);
    hy_store_rollback(s);
    return st;
}

static hy_status pause_row(hy_store *s, int64_t id, const char *owner, int64_t steps, const char *why) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "UPDATE run SET status = 'interrupted', error = ?2, ended = ?3, steps = max(steps, ?4) WHERE id = ?1"
                            " AND status = 'running' AND process = ?5", &q));
    char when[32];
    now_text(when);
    hy_query_bind_int(q, 1, id);
    hy_query_bind_text(q, 2, why);
    hy_query_bind_text(q, 3, when);
    hy_query_bind_int(q, 4, steps);
    hy_query_bind_text(q, 5, owner);
    hy_status st = hy_query_run(q);
    hy_query_close(q);
    return st;
}

hy_status hy_run_interrupt(hy_store *s, int64_t id, int64_t steps, const char *why) {
    char self[160];
    hy_process_self(self);
    return pause_row(s, id, self, steps, why);
}

// The owner text of a running row if it is the process `pid` of this machine; "" otherwise.
static hy_status owner_of(hy_store *s, int64_t id, long pid, char owner[160]) {
    owner[0] = 0;
    hy_query *q;
    HY_TRY(hy_query_open(s, "SELECT process FROM run WHERE id = ?1 AND status = 'running'", &q));
    hy_query_bind_int(q, 1, id);
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st && row) {
        const char *p = hy_query_text(q, 0), *slash = strchr(p, '/');
        if (slash && atol(slash + 1) == pid && hy_process_look(p) == HY_PROCESS_GONE) snprintf(owner, 160, "%s", p);
    }
    hy_query_close(q);
    return st;
}

hy_status hy_run_bury(hy_store *s, int64_t id, long pid, bool settle, const char *why, bool *changed) {
    *changed = false;
    char owner[160];
    HY_TRY(hy_store_begin(s));
    hy_status st = owner_of(s, id, pid, owner);
    if (!st && owner[0]) {
        st = settle ? settle_row(s, id, owner, 0, "", why) : pause_row(s, id, owner, 0, why);
        *changed = !st;
    }
    if (!st) return hy_store_commit(s);
    hy_store_rollback(s);
    return st;
}
