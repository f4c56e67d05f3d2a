// merge.h - the union of results databases: what several processes or machines stored apart, in one.
//
// What is merged are settled attempts (done or failed) with all that lies below them. An attempt is told by its
// content, so merging is idempotent and its order does not matter: the same shards, in any order and grouping, make
// the same content (ids and the names of weights' files, which are kept or pruned freely, do not count).
// Attempts that are open (running, interrupted) are work of their shard, not results, and stay there.
//
// Of several settled attempts at one model (key, seed, device) the current one is chosen by what they are: done before
// failed, then the latest end, then the larger hash of all that is said of them. The others stay, superseded by it.
// What was measured belongs to the bits of a model: attempts with equal bits share their measurements, at the one of
// them that stands first by the same rule. Measurements of equal (measure, version, options, task) follow the rule,
// too. Of plans of one experiment (name, scale, sets) the one planned last counts, at a tie the larger hash; those that
// are parts of one plan (hy_experiment_record.marked) are united. (Rows of a plan that another one took the place of
// come back with the shard that has them, should a part of it be planned once more.)
#ifndef HY_MERGE_H
#define HY_MERGE_H
#include "results/store.h"

// All tables and the columns that are carried over, ids of parents first. A table or column of the schema that is not
// here would be lost: tests/unit/test_merge.c compares.
typedef struct {
    const char *table, *columns;
} hy_merge_table;
extern const hy_merge_table hy_merge_tables[];  // table NULL at the end

typedef struct {
    int models, measurements, plans;  // what was new in the destination
    int known;                        // models that were there already
    int open;                         // running or interrupted in the shard: not merged
    int weights;                      // files of weights that were brought
} hy_merge_counts;

typedef struct hy_merge hy_merge;
// dest: opened for writing; stays the caller's.
hy_status hy_merge_begin(hy_store *dest, hy_merge **out);
void hy_merge_end(hy_merge *m);

// Brings the file `name` of weights with the content `hash` from the shard to the destination, unless it is there.
// *there: it is now. An error ends the merge of this shard.
typedef hy_status hy_merge_bring(void *user, const char *name, const char *hash, bool *there, bool *copied);
// Merges a shard, opened for reading, in one transaction: on an error the destination is as it was. bring NULL: no
// weights. HY_EINPUT: the shard is damaged or defines a figure in another way.
hy_status hy_merge_shard(hy_merge *m, hy_store *shard, hy_merge_bring *bring, void *user, hy_merge_counts *out);
// Opens a shard: of an older version a copy under the name `copy`, which is brought up to date (*copied; the caller
// removes it). All of its checksums are compared.
hy_status hy_merge_open(const char *path, const char *copy, hy_store **shard, bool *copied);

// ---- what does not agree in the destination
typedef struct {
    const char *commit, *build, *host, *device, *kernels, *ended;
} hy_merge_by;
typedef struct {
    const char *what;  // "model": trained twice with other bits; else a measure with other figures
    const char *variant, *task, *grid, *device_kind;
    int64_t seed;
    hy_merge_by current, other;
    const char *differences;  // "accuracy 0.01, loss 0.2": the largest of each figure, "" where none differs
} hy_merge_unequal;
// Attempts that are done and differ from the current one, in an order that does not depend on the file. Timings are not
// compared. Texts live until the call returns.
typedef void hy_merge_tell(void *user, const hy_merge_unequal *u);
hy_status hy_merge_compare(hy_merge *m, hy_merge_tell *tell, void *user);
#endif
