// adopt.h - what a command trained or measured as rows of a results database, the same that `hylab run` makes: `hylab
// train --db` stores a model, `hylab eval|probe|bench|cache --db` store what they measured.
#ifndef HY_ADOPT_H
#define HY_ADOPT_H
#include "analysis/measure/measure.h"
#include "core/train/train.h"
#include "results/record.h"

// The model that a command worked on.
typedef struct {
    const hy_model_spec *spec;
    const char *path;      // what the user named: a variant (random weights), a checkpoint or a folder
    bool from_file;        // the weights are, or training started from, those of path
    uint64_t init_seed;    // without a file: what hy_params_init was given
    const hy_task *task;   // NULL: none was named
    int64_t seed;          // of the data
    const hy_backend *be;  // NULL: nothing was computed on a device
    hy_precision precision;
} hy_adopted;

// Opens a database for writing; it and its folder are made if they are not there.
hy_status hy_adopt_open(const char *db, hy_store **store);
// Whether that will work, before hours of work for it: a database that is not there yet is not made. weights: so does
// the folder of the weights.
hy_status hy_adopt_try(const char *db, bool weights);
// A model that was trained: stored with the facts of its training and its weights, in place of an earlier one that is
// the same run. id: of its row. HY_EFAIL: another process works on it, or the disk is full.
hy_status hy_adopt_trained(hy_store *s, const hy_adopted *a, const hy_train_spec *recipe, const hy_facts *training,
                           hy_params *w, int64_t *id);
// The row of a model that was not trained here; it is stored if it is new. Where the file has the content of weights
// that this database has stored, that is the model they are of.
hy_status hy_adopt_model(hy_store *s, const hy_adopted *a, int64_t *id);
// Stores the facts of a measure of a model, in place of an earlier measurement with the same options. The steps of the
// facts become those of the model.
hy_status hy_adopt_measurement(hy_store *s, const hy_adopted *a, int64_t model, const hy_measure *m,
                               const void *options, hy_facts *facts);
// All of it for a command with --db: opens the database and says on stderr what was stored.
hy_status hy_adopt_into(const char *db, const hy_adopted *a, const hy_measure *m, const void *options, hy_facts *facts);
#endif
