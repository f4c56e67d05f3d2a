// merge_rank.c - which of several settled attempts is the current one, by a rule that looks at nothing but what they
// are. See merge.h.
#include <stdlib.h>
#include <string.h>

#include "results/merge_impl.h"

#define BY_RANK "done DESC, ended DESC, hash DESC"
#define SETTLED "status IN ('done','failed')"

typedef struct {
    int64_t id;
    char what[48];  // label of a model; measure, version and key of a measurement
} ranked;
typedef struct {
    int n;
    ranked *v;
} ranking;

static hy_status ask(hy_merge *m, const char *sql, const char *of, ranking *out) {
    hy_query *q;
    bool row = false;
    hy_status st;
    *out = (ranking){0};
    HY_TRY(hy_store_query(m->dest, &q, sql, "s", of));
    while (!(st = hy_query_step(q, &row)) && row) {
        out->v = hy_xrealloc(out->v, (size_t)(out->n + 1) * sizeof *out->v);
        ranked *r = &out->v[out->n++];
        r->id = hy_query_int(q, 0);
        snprintf(r->what, sizeof r->what, "%s", hy_query_text(q, 1));
    }
    hy_query_close(q);
    return st;
}

// The others first: two rows must not be current at once.
static hy_status put_behind(hy_merge *m, const char *table, int64_t loser, int64_t winner) {
    char *sql = hy_asprintf("UPDATE %s SET superseded_by = ?2 WHERE id = ?1", table);
    const hy_status st = hy_store_run(m->dest, sql, "ll", loser, winner);
    free(sql);
    return st;
}

static hy_status put_first(hy_merge *m, const char *table, int64_t winner) {
    char *sql = hy_asprintf("UPDATE %s SET superseded_by = NULL WHERE id = ?1", table);
    const hy_status st = hy_store_run(m->dest, sql, "l", winner);
    free(sql);
    return st;
}

hy_status hy_merge_rank_facts(hy_merge *m, const char *owner) {
    ranking r;
    hy_status st = ask(m, "SELECT id, what FROM temp.merge_fact WHERE owner = ?1 ORDER BY what, " BY_RANK, owner, &r);
    for (int i = 0, end; !st && i < r.n; i = end) {
        for (end = i + 1; !st && end < r.n && !strcmp(r.v[i].what, r.v[end].what); end++)
            st = put_behind(m, "measurement", r.v[end].id, r.v[i].id);
        if (!st) st = put_first(m, "measurement", r.v[i].id);
    }
    free(r.v);
    return st;
}

// The measurements of `from` become those of `to`, which has the same bits. Settled ones step out of the way until
// they are ranked.
static hy_status move_facts(hy_merge *m, int64_t from, int64_t to) {
    HY_TRY(hy_store_run(m->dest,
                        "UPDATE measurement SET superseded_by = id, model_id = ?2 WHERE model_id = ?1 AND " SETTLED
                        " AND measure <> '" HY_MEASURE_TRAINING "'",
                        "ll", from, to));
    return hy_store_run(m->dest,
                        "UPDATE OR IGNORE measurement SET model_id = ?2 WHERE model_id = ?1"
                        " AND measure <> '" HY_MEASURE_TRAINING "'",
                        "ll", from, to);
}

static const ranked *first_of_label(const ranking *r, int i) {
    for (int k = 0;; k++)
        if (!strcmp(r->v[k].what, r->v[i].what)) return &r->v[k];
}

// One file, one owner: the name of the weights goes with the bits.
static hy_status rank_models(hy_merge *m, const ranking *r) {
    for (int i = 1; i < r->n; i++) {
        if (!strcmp(r->v[i].what, r->v[0].what))
            HY_TRY(
                hy_store_run(m->dest,
                             "UPDATE model SET weights = coalesce(weights, (SELECT weights FROM model WHERE id = ?2))"
                             " WHERE id = ?1",
                             "ll", r->v[0].id, r->v[i].id));
        HY_TRY(hy_store_run(m->dest, "UPDATE model SET weights = NULL WHERE id = ?1", "l", r->v[i].id));
        HY_TRY(put_behind(m, "model", r->v[i].id, r->v[0].id));
    }
    return r->n ? put_first(m, "model", r->v[0].id) : HY_OK;
}

hy_status hy_merge_rank(hy_merge *m, const char *identity) {
    ranking r;
    hy_status st = ask(m, "SELECT id, label FROM temp.merge_model WHERE identity = ?1 ORDER BY " BY_RANK, identity, &r);
    if (!st) st = rank_models(m, &r);
    for (int i = 0; !st && i < r.n; i++) {
        const ranked *first = first_of_label(&r, i);
        if (first->id != r.v[i].id) st = move_facts(m, r.v[i].id, first->id);
    }
    for (int i = 0; !st && i < r.n; i++) {
        if (first_of_label(&r, i)->id != r.v[i].id) continue;
        char *owner = hy_asprintf("%s %s", identity, r.v[i].what);
        st = hy_merge_rank_facts(m, owner);
        free(owner);
    }
    free(r.v);
    return st;
}
