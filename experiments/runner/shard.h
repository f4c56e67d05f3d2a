// shard.h - a sweep in parts that know nothing of each other: which models each part has, in which database.
#ifndef HY_SHARD_H
#define HY_SHARD_H
#include "experiments/runner/experiment.h"

enum { HY_SHARDS_MAX = 100000 };

// Something to be done by one shard: of equal keys (model and seed) all costs count once, and they stay together.
typedef struct {
    char key[56];  // the rest is zeros
    double cost;
} hy_shard_item;
// Longest first onto the least loaded shard, ties by key: shard[i] of 0 .. n_shards - 1 depends on the set of items
// only, not on their order. load (n_shards values, may be NULL): the cost of each.
void hy_shard_split(const hy_shard_item *items, int n, int n_shards, int *shard, double *load);

typedef struct {
    int k, n;      // "K/N": 1 .. N
    int *of;       // for each item of the experiment: its shard, from 1
    double *load;  // of each shard, from 0: parameters x tokens
    double *cost;  // of each item
    int *models;   // of each shard
} hy_shards;
// "2/8", or "auto": by the variables of a Slurm job array. HY_EINPUT says what is wrong.
hy_status hy_shard_parse(const char *text, int *k, int *n);
// The same for every worker, whatever is stored and whatever --only leaves. Cost: parameters times the tokens that are
// trained on, and some for each measure.
void hy_shards_make(const hy_experiment *e, int k, int n, hy_shards *out);
void hy_shards_free(hy_shards *s);
// "FOLDER/shards/EXPERIMENT.K-of-N.db" in the folder of a database, its folder, a file of such a folder, and the
// experiment as it stands in the name; caller frees.
char *hy_shard_db(const char *db, const char *experiment, int k, int n);
char *hy_shard_folder(const char *db);
char *hy_shard_file(const char *folder, const char *experiment, int k, int n);
char *hy_shard_name(const char *experiment);
// "shards: ..." for a table: how many models and which share of the cost each has; caller frees.
char *hy_shards_words(const hy_shards *s);
#endif
