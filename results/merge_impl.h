// merge_impl.h - what the parts of a merge share: merge.c (shards), merge_rows.c (copying), merge_rank.c (which attempt
// is the current one), merge_told.c (differences). Internal.
#ifndef HY_MERGE_IMPL_H
#define HY_MERGE_IMPL_H
#include "results/merge.h"
#include "results/record_impl.h"

// What is known of the attempts of the destination, in tables of the connection (they are undone with a transaction):
//   merge_model(id, identity, hash, done, ended, label)  label: the bits of the weights
//   merge_fact(id, owner, what, hash, done, ended)        owner: the hash of an attempt of which it is the training,
//                                                         else identity and label; what: measure, version, key
struct hy_merge {
    hy_store *dest;
};

// ---- merge_rows.c
typedef struct {
    char identity[33], hash[33], label[48], ended[40];
    bool done;
} hy_merge_model;
// Columns of hy_merge_model_sql from 0: id, then all that is hashed.
extern const char hy_merge_model_sql[], hy_merge_fact_sql[];
hy_status hy_merge_describe(hy_store *s, const hy_query *row, hy_merge_model *out);
typedef struct {
    char owner[96], what[33], hash[33], ended[40];
    bool done;
} hy_merge_fact;
void hy_merge_fact_describe(const hy_query *row, const hy_merge_model *model, hy_merge_fact *out);
hy_status hy_merge_note_model(hy_merge *m, int64_t id, const hy_merge_model *d);
hy_status hy_merge_note_fact(hy_merge *m, int64_t id, const hy_merge_fact *d);
// Copies the row `id` of the shard and what lies below it. Both are inserted as superseded by themselves, out of the
// way of the rule of one current row, until hy_merge_rank.
hy_status hy_merge_add_model(hy_merge *m, hy_store *shard, int64_t id, int64_t *to);
hy_status hy_merge_add_fact(hy_merge *m, hy_store *shard, int64_t id, int64_t model, int64_t *to);
// The plan of an experiment: copied where there is none or where it comes before that of the destination.
hy_status hy_merge_add_plans(hy_merge *m, hy_store *shard, hy_merge_counts *out);
hy_status hy_merge_add_definitions(hy_merge *m, hy_store *shard);
hy_status hy_merge_find(hy_merge *m, const char *sql, const char *key, int64_t *id);

// ---- merge_rank.c: sets what is current among the attempts of an identity, and where measurements lie
hy_status hy_merge_rank(hy_merge *m, const char *identity);
// Of the training of one attempt.
hy_status hy_merge_rank_facts(hy_merge *m, const char *owner);
#endif
