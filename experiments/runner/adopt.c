// adopt.c - see adopt.h.
#include "experiments/runner/adopt.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/version.h"
#include "core/family/model_file.h"
#include "core/model/checkpoint.h"
#include "experiments/runner/weights.h"
#include "results/identity.h"
#include "results/query_models.h"

// The texts of a model, for as long as its record is used.
typedef struct {
    char *spec, spec_hash[33], *task, *train, source[33];
} texts;

static void texts_free(texts *t) { free(t->spec), free(t->task), free(t->train); }

// recipe NULL: not trained.
static hy_status texts_of(const hy_adopted *a, const hy_train_spec *recipe, texts *t) {
    hy_buf task = {0}, train = {0};
    *t = (texts){.spec = hy_model_spec_text(a->spec)};
    hy_model_spec_hash(a->spec, t->spec_hash);
    hy_buf_printf(&task, "%s", "");
    if (a->task) hy_task_text(a->task, &task);
    if (recipe) {
        hy_fields_text(hy_train_fields, recipe, 0, &train);
    } else {
        hy_buf_printf(&train, a->from_file ? "none\n" : "steps: 0\n");
        if (a->precision != HY_PRECISION_F32) hy_buf_printf(&train, "precision: %s\n", hy_precision_name(a->precision));
    }
    t->task = task.s;
    t->train = train.s;
    if (a->from_file) return hy_model_source_hash(a->path, t->source);
    // the weights that training starts from are those of its seed; commands that only measure draw others
    if (!recipe) snprintf(t->source, sizeof t->source, "drawn from %llu", (unsigned long long)a->init_seed);
    return HY_OK;
}

static hy_provenance provenance(const hy_adopted *a) {
    return (hy_provenance){.commit = hy_version_commit(),
                           .build = hy_version_build(),
                           .dirty = hy_version_dirty(),
                           .device_name = a->be ? a->be->device : "",
                           .threads = a->be ? a->be->threads : 0};
}

static const char *device_of(const hy_adopted *a) { return a->be ? a->be->name : "cpu"; }

static hy_model_record record_of(const hy_adopted *a, const hy_train_spec *recipe, const texts *t) {
    const char *kind = a->task ? hy_task_kind(a->task) : "";
    hy_model_record r = {.seed = a->seed,
                         .device = device_of(a),
                         .origin = recipe         ? "trained"
                                   : a->from_file ? "file"
                                                  : "random",
                         .variant = a->spec->name,
                         .spec_hash = t->spec_hash,
                         .spec = t->spec,
                         .task = kind,
                         .task_kind = kind,
                         .task_options = t->task,
                         .train = t->train,
                         .precision = hy_precision_name(a->precision),
                         .source = a->from_file ? a->path : "",
                         .by = provenance(a)};
    hy_model_identity(t->spec, kind, t->task, t->train, t->source, r.model_key);
    return r;
}

static void kernels_of(const hy_adopted *a, char out[160]) {
    snprintf(out, 160, "%s", !a->be ? "" : strcmp(a->be->name, "cpu") ? a->be->name : hy_isa_name(a->be->isa));
}

static hy_status busy(const hy_store *s, const char *what) {
    return hy_error(HY_EFAIL, "%s: another process works on this %s; nothing was stored", hy_store_path(s), what);
}

hy_status hy_adopt_trained(hy_store *s, const hy_adopted *a, const hy_train_spec *recipe, const hy_facts *training,
                           hy_params *w, int64_t *id) {
    texts t;
    hy_status st = texts_of(a, recipe, &t);
    const hy_model_record r = record_of(a, recipe, &t);
    char *name = hy_weights_name(r.model_key, r.seed, r.device), hash[33];
    hy_claim claim = HY_CLAIM_BUSY;
    if (!st) st = hy_model_claim(s, &r, HY_CLAIM_FORCE, &claim, id);
    if (!st && claim == HY_CLAIM_BUSY) st = busy(s, "model");
    if (!st) {
        st = hy_weights_save(hy_store_path(s), name, w, hash);
        hy_facts facts = *training;  // borrowed
        kernels_of(a, facts.kernel_path);
        if (!st)
            st = hy_model_settle(s, *id, &facts, name, hash, NULL);
        else
            hy_model_interrupt(s, *id, training->steps, "its weights could not be stored");
    }
    free(name);
    texts_free(&t);
    return st;
}

hy_status hy_adopt_model(hy_store *s, const hy_adopted *a, int64_t *id) {
    texts t;
    *id = 0;
    hy_status st = texts_of(a, NULL, &t);
    int64_t seed = a->seed;
    if (!st && a->from_file) st = hy_ask_model_of_weights(s, t.source, id, &seed);
    if (!st && a->from_file && !*id && hy_model_file_kind_of(a->path) == HY_MODEL_CHECKPOINT) {
        char weights[33];  // what `hylab train --out` writes holds the state of the training besides
        st = hy_checkpoint_weights_hash(a->path, weights);
        if (!st) st = hy_ask_model_of_weights(s, weights, id, &seed);
    }
    if (!st && *id && a->task && seed != a->seed)
        st = hy_error(
            HY_EINPUT,
            "%s is run %lld of %s, of seed %lld, whose measurements are of that seed's data: --seed %lld stores one; "
            "nothing was stored of seed %lld",
            a->path, (long long)*id, hy_store_path(s), (long long)seed, (long long)seed, (long long)a->seed);
    if (!st && !*id) {
        const hy_model_record r = record_of(a, NULL, &t);
        hy_claim claim;
        st = hy_model_claim(s, &r, 0, &claim, id);
        if (!st && claim == HY_CLAIM_BUSY) st = busy(s, "model");
        if (!st && claim != HY_CLAIM_DONE) st = hy_model_settle(s, *id, NULL, NULL, NULL, NULL);
    }
    texts_free(&t);
    return st;
}

hy_status hy_adopt_measurement(hy_store *s, const hy_adopted *a, int64_t model, const hy_measure *m,
                               const void *options, hy_facts *facts) {
    hy_buf text = {0}, task = {0};
    hy_buf_printf(&text, "%s", "");
    hy_buf_printf(&task, "%s", "");
    hy_measure_options_text(m, options, &text);
    if (m->needs & HY_NEEDS_TASK) hy_task_text(a->task, &task);
    const hy_measurement_record r = {.model_id = model,
                                     .measure = m->name,
                                     .version = m->version,
                                     .options = text.s,
                                     .task = task.s,
                                     .by = provenance(a)};
    hy_claim claim;
    int64_t id, steps = 0;
    hy_status st = hy_ask_model_steps(s, model, &steps);
    if (!st) st = hy_measurement_claim(s, &r, HY_CLAIM_FORCE, &claim, &id);
    if (!st && claim == HY_CLAIM_BUSY)
        st = busy(s, "measurement");
    else if (!st) {
        for (int i = 0; i < facts->n_facts; i++) facts->fact[i].step = steps;
        kernels_of(a, facts->kernel_path);
        st = hy_measurement_settle(s, id, facts, NULL);
    }
    free(text.s);
    free(task.s);
    return st;
}

hy_status hy_adopt_open(const char *db, hy_store **store) {
    HY_TRY(hy_make_folders_above(db));
    return hy_store_open(db, HY_STORE_WRITE, store);
}

hy_status hy_adopt_try(const char *db, bool weights) {
    hy_store *s = NULL;
    HY_TRY(hy_store_name_check(db));
    HY_TRY(hy_file_exists(db) ? hy_adopt_open(db, &s) : hy_outfile_try(db));
    hy_store_close(s);
    if (!weights) return HY_OK;
    char *folder = hy_weights_folder(db);
    const hy_status st = hy_outfolder_try(folder);
    free(folder);
    return st;
}

hy_status hy_adopt_into(const char *db, const hy_adopted *a, const hy_measure *m, const void *options,
                        hy_facts *facts) {
    hy_store *s;
    HY_TRY(hy_adopt_open(db, &s));
    int64_t id;
    hy_status st = hy_adopt_model(s, a, &id);
    if (!st) st = hy_adopt_measurement(s, a, id, m, options, facts);
    if (!st) fprintf(stderr, "stored in %s: %s of run %lld (%s)\n", db, m->name, (long long)id, a->spec->name);
    hy_store_close(s);
    return st;
}
