// train_checkpoint.c - a trainer's checkpoint: one safetensors file with the weights under their own names (so that it
// loads as a model too), AdamW's moments as "train.m.<name>" and "train.v.<name>", the step, and texts that say whose
// it is. Random numbers need no state of their own: they are functions of (seed, step).
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/checkpoint.h"
#include "core/format/safetensors.h"
#include "core/train/train_impl.h"

enum { STOPPED = 1, EVAL_DUE = 2 };  // bits of the second number of "progress"

// save_seconds is left out: no result depends on it.
char *hy_trainer_recipe_text(const hy_trainer *t) {
    hy_buf b = {0};
    hy_train_spec spec = t->spec, plain = {0};
    hy_fields_default(hy_train_fields, &plain);
    spec.save_seconds = plain.save_seconds;
    hy_buf_printf(&b, "task: %s\n", hy_task_kind(t->task));
    hy_task_text(t->task, &b);
    if (spec.stop_accuracy > 0) hy_buf_printf(&b, "stopped_by: tuning examples\n");  // before: by those of evaluation
    hy_fields_text(hy_train_fields, &spec, 0, &b);
    hy_buf_printf(&b, "seed: %llu\n", (unsigned long long)t->seed);
    return b.s;
}

typedef struct {
    const hy_trainer *t;
    const void *arena;  // device; host where moments are sharded
} source;

// Finds the parameter by the tensor's name without its prefix.
static hy_status fill_moment(void *user, const char *name, void *dst, size_t bytes) {
    const source *s = user;
    const int i = hy_program_find_param(s->t->p, name + strlen(HY_CHECKPOINT_EXTRA "m."));
    HY_ASSERT(i >= 0);
    const char *from = (const char *)s->arena + s->t->p->params[i].offset * hy_dtype_size(s->t->w->dtype);
    if (!s->t->opt.n_own) return s->t->be->to_host(dst, from, bytes);
    memcpy(dst, from, bytes);
    return HY_OK;
}

hy_status hy_trainer_save(hy_trainer *t, const char *path) {
    if (t->pending)
        return hy_error(HY_EFAIL, "%s: not saved: %d steps are still under way, and may turn out not finite", path,
                        t->pending);
    if (t->opt.n_own && !t->whole[0])
        return hy_error(HY_EFAIL, "%s: not saved: its moments are with several processes", path);
    hy_st_writer *w = hy_st_writer_new();
    char *recipe = hy_trainer_recipe_text(t);
    hy_checkpoint_add(w, t->w);
    source sm = {t, t->opt.n_own ? t->whole[0] : t->opt.m}, sv = {t, t->opt.n_own ? t->whole[1] : t->opt.v};
    const hy_st_dtype dt = t->w->dtype == HY_F64 ? HY_ST_F64 : HY_ST_F32;
    for (int i = 0; i < t->p->n_params; i++) {
        const hy_param *q = &t->p->params[i];
        const int64_t shape[3] = {q->shape[0], q->shape[1], q->shape[2]};
        char name[96];
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, HY_CHECKPOINT_EXTRA "%c.%s", k ? 'v' : 'm', q->name);
            hy_st_writer_add_fill(w, name, dt, q->ndim, shape, fill_moment, k ? &sv : &sm);
        }
    }
    const int64_t progress[2] = {t->step, (t->stopped ? STOPPED : 0) | (t->eval_due ? EVAL_DUE : 0)};
    hy_st_writer_add_i64(w, HY_CHECKPOINT_EXTRA "progress", 2, progress);
    hy_st_writer_meta(w, "hylab.recipe", recipe);
    hy_status s = hy_st_writer_commit(w, path);
    hy_st_writer_free(w);
    free(recipe);
    return s;
}

static hy_status load_moments(hy_trainer *t, const hy_st *st, char which, void *arena) {
    const size_t size = hy_dtype_size(t->w->dtype);
    for (int i = 0; i < t->p->n_params; i++) {
        const hy_param *q = &t->p->params[i];
        const int64_t shape[3] = {q->shape[0], q->shape[1], q->shape[2]};
        char name[96];
        snprintf(name, sizeof name, HY_CHECKPOINT_EXTRA "%c.%s", which, q->name);
        const hy_st_tensor *x;
        HY_TRY(hy_st_expect(st, name, q->ndim, shape, &x));
        void *tmp = hy_alloc(q->n * size);
        if (!tmp) return HY_ENOMEM;
        if (t->w->dtype == HY_F64)
            hy_st_read_f64(x, 0, q->n, tmp);
        else
            hy_st_read_f32(x, 0, q->n, tmp);
        hy_status s = t->be->from_host((char *)arena + q->offset * size, tmp, q->n * size);
        free(tmp);
        HY_TRY(s);
    }
    return HY_OK;
}

// The precision that a recipe's text tells; the default is left out of it.
static hy_precision recipe_precision(const char *text) {
    hy_precision p = HY_PRECISION_F32;
    const char *at = strstr(text, "\nprecision: ");
    if (at) {
        char word[8];
        at += strlen("\nprecision: ");
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "\n"), at);
        if (hy_precision_parse(word, &p)) p = HY_PRECISION_F32;
    }
    return p;
}

static hy_status read_progress(const hy_st *st, int64_t progress[2]) {
    const hy_st_tensor *x;
    const int64_t shape[1] = {2};
    HY_TRY(hy_st_expect(st, HY_CHECKPOINT_EXTRA "progress", 1, shape, &x));
    HY_TRY(hy_st_read_i64(x, 0, 2, progress));
    return progress[0] >= 0 && progress[0] <= INT_MAX
               ? HY_OK
               : hy_error(HY_EINPUT, "%s: damaged: it is at step %lld", hy_st_path(st), (long long)progress[0]);
}

static hy_status load_from(hy_trainer *t, const hy_st *st) {
    char *recipe = hy_trainer_recipe_text(t);
    const char *theirs = hy_st_meta(st, "hylab.recipe");
    hy_status s = HY_OK;
    if (!theirs)
        s = hy_error(HY_EINPUT, "%s: holds a model but no training state", hy_st_path(st));
    else if (recipe_precision(theirs) != t->spec.precision)
        s = hy_error(HY_EINPUT,
                     "%s: was trained in %s, this run computes in %s; a run is resumed in the precision that it began "
                     "in (--precision)",
                     hy_st_path(st), hy_precision_name(recipe_precision(theirs)), hy_precision_name(t->spec.precision));
    int64_t progress[2] = {0};
    if (!s) s = read_progress(st, progress);
    if (!s) s = hy_trainer_check_run(t, hy_st_path(st), theirs, recipe, (long)progress[0]);
    free(recipe);
    HY_TRY(s);
    if (progress[0] > hy_train_end(&t->spec))
        return hy_error(HY_EINPUT, "%s: is at step %lld already, train.%s is %d here", hy_st_path(st),
                        (long long)progress[0], t->spec.stop_step ? "stop_step" : "steps", hy_train_end(&t->spec));
    HY_TRY(hy_checkpoint_read(st, t->w, HY_CHECKPOINT_SAME_SPEC, NULL));
    HY_TRY(load_moments(t, st, 'm', t->opt.m));
    HY_TRY(load_moments(t, st, 'v', t->opt.v));
    HY_TRY(hy_optim_reset(&t->opt));
    t->step = (long)progress[0];
    t->pending = 0;
    t->stopped = progress[1] & STOPPED;
    t->eval_due = progress[1] & EVAL_DUE;
    // what was the last step of a shorter run is one of the way, where a run of this length would have been evaluated
    if (t->step == t->loaded_steps && t->step < hy_train_end(&t->spec) && t->spec.eval_every &&
        t->step % t->spec.eval_every == 0)
        t->eval_due = true;
    return HY_OK;
}

long hy_checkpoint_step(const char *path) {
    hy_st *st;
    int64_t progress[2] = {0};
    if (!hy_file_exists(path) || hy_checkpoint_open(path, &st)) return 0;
    const hy_status s = read_progress(st, progress);
    hy_st_close(st);
    return s ? 0 : (long)progress[0];
}

hy_status hy_trainer_load(hy_trainer *t, const char *path) {
    hy_st *st;
    HY_TRY(hy_checkpoint_open(path, &st));
    hy_status s = load_from(t, st);
    hy_st_close(st);
    return s;
}
