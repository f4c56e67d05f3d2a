// checksum.c - whether what a measurement found is what was stored. SQLite has no checksums of its own: a page that was
// zeroed or overwritten on the disk, or a row that was changed by other programs, reads like any other.
#include <stdlib.h>
#include <string.h>

#include "results/record_impl.h"
#include "results/schema.h"

// The rows that belong to measurement ?1, each with all that it says, in an order that does not depend on the file.
// Data of arrays count by their own checksum.
static const char *const parts[] = {
    "SELECT d.name, d.version, d.unit, m.cell, m.layer, m.kind, m.head, m.step, m.final, m.value, m.stderr, m.n, m.x, "
    "m.y,"
    " m.meta FROM metric m JOIN metric_def d ON d.id = m.def_id WHERE m.measurement_id = ?1 ORDER BY m.id",
    ("SELECT s.rep, s.value FROM metric m JOIN sample s ON s.metric_id = m.id WHERE m.measurement_id = ?1"
     " ORDER BY m.id, s.rep"),  // one text
    "SELECT name, layer, kind, head, dtype, shape, meta, hash FROM artifact WHERE measurement_id = ?1 ORDER BY id",
    "SELECT step, loss, lr, grad_norm, tokens_per_s FROM curve WHERE measurement_id = ?1 ORDER BY step",
};

void hy_row_write(const hy_query *q, int from, hy_buf *b) {
    for (int c = from; c < hy_query_columns(q); c++) {
        const char *text = hy_query_text(q, c);
        if (hy_query_null(q, c))
            hy_buf_printf(b, "-\t");
        else if (!hy_query_number(q, c))
            hy_buf_printf(b, "%zu:%s\t", strlen(text), text);
        else
            hy_buf_printf(b, "%a\t", hy_query_double(q, c));
    }
    hy_buf_printf(b, "\n");
}

static hy_status hash_of(hy_store *s, int64_t id, char hash[33]) {
    hy_buf b = {0};
    hy_status st = HY_OK;
    for (size_t i = 0; !st && i < sizeof parts / sizeof parts[0]; i++) {
        hy_query *q;
        bool row = false;
        if ((st = hy_store_query(s, &q, parts[i], "l", id))) break;
        hy_buf_printf(&b, "part %zu\n", i);
        while (!(st = hy_query_step(q, &row)) && row) hy_row_write(q, 0, &b);
        hy_query_close(q);
    }
    if (!st) hy_hash_hex(b.s, b.n, hash);
    free(b.s);
    return st;
}

hy_status hy_facts_seal(hy_store *s, int64_t measurement_id) {
    char hash[33];
    HY_TRY(hash_of(s, measurement_id, hash));
    return hy_store_run(s, "UPDATE measurement SET facts_hash = ?2 WHERE id = ?1", "ls", measurement_id, hash);
}

#define ADVICE "damaged on the disk, or changed outside of hylab. What else is stored can be read; restore a copy, or"

hy_status hy_facts_check(hy_store *s, int64_t measurement_id) {
    hy_query *q;
    char hash[33];
    HY_TRY(hash_of(s, measurement_id, hash));
    HY_TRY(hy_store_query(s, &q, "SELECT facts_hash, measure, model_id FROM measurement WHERE id = ?1", "l",
                          measurement_id));
    bool row = false;
    hy_status st = hy_query_step(q, &row);
    if (!st && row && !hy_query_null(q, 0) && strcmp(hy_query_text(q, 0), hash))
        st = hy_error(HY_EINPUT,
                      "%s: run %lld: the figures or the curve of its measure %s are not those that were stored: " ADVICE
                      " measure again (hylab run --remeasure %s; of training --force)",
                      hy_store_path(s), (long long)hy_query_int(q, 2), hy_query_text(q, 1), hy_query_text(q, 1));
    hy_query_close(q);
    return st;
}

hy_status hy_artifact_check(hy_store *s, int64_t run_id, const char *name, const void *data, size_t n,
                            const char *hash) {
    char found[33];
    hy_hash_hex(data ? data : "", n, found);
    if (!strcmp(found, hash)) return HY_OK;
    return hy_error(HY_EINPUT,
                    "%s: run %lld: array %s is not what was stored: " ADVICE " measure again (hylab run --remeasure)",
                    hy_store_path(s), (long long)run_id, name);
}

// --------------------------------------------------------------------------------------------------- all of a database
// Keeps the text of the first damage and how many there are; other errors end the check.
typedef struct {
    char *first;
    int n;
} damage;

static hy_status note(damage *d, hy_status st) {
    if (st != HY_EINPUT) return st;
    if (!d->n++) d->first = hy_xstrdup(hy_error_text());
    return HY_OK;
}

static hy_status check_artifacts(hy_store *s, damage *d) {
    hy_query *q;
    HY_TRY(hy_query_open(
        s, "SELECT x.model_id, a.name, a.data, a.hash FROM artifact a JOIN measurement x ON x.id = a.measurement_id",
        &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row) {
        size_t n;
        const void *data = hy_query_blob(q, 2, &n);
        if ((st = note(d, hy_artifact_check(s, hy_query_int(q, 0), hy_query_text(q, 1), data, n, hy_query_text(q, 3)))))
            break;
    }
    hy_query_close(q);
    return st;
}

static hy_status check_facts(hy_store *s, damage *d) {
    hy_query *q;
    HY_TRY(hy_query_open(s, "SELECT id FROM measurement WHERE facts_hash IS NOT NULL", &q));
    bool row = false;
    hy_status st;
    while (!(st = hy_query_step(q, &row)) && row)
        if ((st = note(d, hy_facts_check(s, hy_query_int(q, 0))))) break;
    hy_query_close(q);
    return st;
}

hy_status hy_results_check(hy_store *s) {
    damage d = {0};
    HY_TRY(hy_store_check(s));
    hy_status st = check_artifacts(s, &d);
    if (!st) st = check_facts(s, &d);
    if (!st && d.n == 1) st = hy_error(HY_EINPUT, "%s", d.first);
    if (!st && d.n > 1) st = hy_error(HY_EINPUT, "%s (and %d more are damaged)", d.first, d.n - 1);
    free(d.first);
    return st;
}
