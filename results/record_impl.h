// record_impl.h - what model.c, measurement.c and the migration share. Internal.
#ifndef HY_RECORD_IMPL_H
#define HY_RECORD_IMPL_H
#include "results/process.h"
#include "results/record.h"

// ---- claim.c: rows of either kind, which are owned by a process while they are "running"
typedef struct {
    const char *table;     // with the columns id, status, superseded_by, error, process, heartbeat and provenance
    const char *identity;  // columns: at most one open row and one settled and current row have the same values
    const char *what;      // for messages
} hy_row_kind;
extern const hy_row_kind hy_model_rows, hy_measurement_rows;

// What is stored for one identity: the open attempt (running or interrupted) and the settled one.
typedef struct {
    int64_t open_id, settled_id;  // 0: none
    bool open_alive;              // running and its process lives
    bool settled_done, settled_weights;
} hy_found;
// Steps a query of columns id, status, process, heartbeat, whether weights are stored; closes it.
hy_status hy_rows_find(hy_query *q, hy_found *f);
hy_claim hy_rows_judge(const hy_found *f, unsigned flags, int64_t *id);
// The row keeps its start; who continues it and with what is written over (the last part made the result).
hy_status hy_row_take_over(hy_store *s, const hy_row_kind *k, int64_t id, const hy_provenance *by);
hy_status hy_row_heartbeat(hy_store *s, const hy_row_kind *k, int64_t id);
// Ends a row of `owner`; NULL: this process. older: what it took the place of; id 0: of none (there was none, or a
// failed attempt was put behind a done row). HY_EFAIL: it is not the owner's any more.
typedef struct {
    int64_t id;
    bool done;
} hy_replaced;
hy_status hy_row_settle(hy_store *s, const hy_row_kind *k, int64_t id, const char *owner, const char *kernel_path,
                        const char *error, hy_replaced *older);
hy_status hy_row_interrupt(hy_store *s, const hy_row_kind *k, int64_t id, const char *owner, const char *why);
// The same for a row of the process `pid` of this machine, if that is gone; *changed tells whether it was so.
hy_status hy_row_settle_dead(hy_store *s, const hy_row_kind *k, int64_t id, long pid, bool failed, const char *why,
                             bool *changed);
// Ends a transaction: commits if st is HY_OK, else rolls back and keeps st and its text.
hy_status hy_store_end(hy_store *s, hy_status st);
static inline const char *hy_text(const char *t) { return t ? t : ""; }
void hy_time_text(char out[32]);  // now, "2026-01-31T12:00:00Z"

// ---- model.c
// Whether two settled models of one identity are the same, bit by bit: by the hashes of their weights or, where one is
// not known, by their loss curves, which agree in every step that both have. (Random weights have no curve; the same
// key and seed draw the same.)
hy_status hy_model_same_bits(hy_store *s, int64_t a, int64_t b, bool *same);

// ---- store_facts.c: facts below a measurement
hy_status hy_store_facts(hy_store *s, int64_t measurement_id, const hy_facts *f);

// ---- checksum.c
// The columns of a row from `from` on as a line for a hash: numbers with every bit of theirs, texts with their length.
void hy_row_write(const hy_query *q, int from, hy_buf *b);
// Writes the checksum of all that is stored of a measurement.
hy_status hy_facts_seal(hy_store *s, int64_t measurement_id);
// HY_EINPUT: what is stored is not what was sealed. Without a seal (of an older version, nothing found) it is taken as
// it is.
hy_status hy_facts_check(hy_store *s, int64_t measurement_id);
hy_status hy_artifact_check(hy_store *s, int64_t run_id, const char *name, const void *data, size_t n,
                            const char *hash);

// ---- store.c
// From now on statements are compiled once and kept: for work that runs few of them many thousand times.
void hy_store_keep_statements(hy_store *s);

// ---- planned.c
bool hy_plan_marked(const char *yaml);  // the text of an experiment ends with the line that tells the plan

// ---- param.c: rows of model_param
void hy_query_bind_value(hy_query *q, int i, const char *text);  // as a number if the text is one
hy_status hy_store_params(hy_store *s, int64_t model_id, const char *spec, const char *task, const char *train,
                          const char *precision);
#endif
