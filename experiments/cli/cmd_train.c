// cmd_train.c - hylab train: one model, one task, one recipe; a progress line, a checkpoint, an evaluation; with --db
// all of it in a database, as `hylab run` would store it.
#include <stdlib.h>
#include <string.h>

#include "experiments/cli/commands.h"
#include "core/family/model_file.h"
#include "core/model/checkpoint.h"
#include "core/train/train.h"
#include "core/base/plural.h"
#include "experiments/runner/adopt.h"
#include "experiments/runner/progress.h"
#include "experiments/runner/training_facts.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/eval_table.h"
#include "experiments/cli/task_arg.h"
#include "experiments/cli/train_curve.h"
#include "experiments/cli/train_rescue.h"

typedef struct {
    hy_progress bar;
    hy_curve curve;
    hy_training_facts seen;
    bool saved;     // a checkpoint was written
    char *unsaved;  // why the newest checkpoint could not be written; NULL: it was, or none is wanted
} watcher;

static hy_status on_step(void *user, const hy_train_point *p) {
    watcher *w = user;
    hy_training_step(&w->seen, p);
    hy_progress_update(&w->bar, (double)p->step, "step %ld  loss %.4f  lr %.2e  grad %.2f  %.0f tok/s", p->step,
                       p->loss, p->lr, p->grad_norm, p->tokens_per_s);
    hy_curve_add(&w->curve, p);
    return HY_OK;
}

static hy_status on_eval(void *user, long step, const hy_eval *e) {
    watcher *w = user;
    // the one at the end is a measurement, unless the recipe asks for evaluations on the way
    if (w->seen.recipe->eval_every || w->seen.recipe->stop_accuracy > 0) hy_training_eval(&w->seen, step, e);
    w->seen.last_time = hy_now();
    return HY_OK;
}

static hy_status on_save(void *user, long step) {
    watcher *w = user;
    (void)step;
    free(w->unsaved);
    w->unsaved = NULL;
    w->saved = true;
    w->seen.last_time = hy_now();
    return HY_OK;
}

// The disk may have room again by the next time; at the end there is another place.
static hy_status on_unsaved(void *user, long step) {
    watcher *w = user;
    if (!w->unsaved)
        fprintf(stderr, "\nnote: step %ld: no checkpoint: %s; the training goes on\n", step, hy_error_text());
    free(w->unsaved);
    w->unsaved = hy_xstrdup(hy_error_text());
    w->seen.last_time = hy_now();
    return HY_OK;
}

typedef struct {
    const char *from, *task, *out, *resume, *curve, *db, *device, *isa, *precision;
    int seed, threads, ranks, patience;
    bool sharded;
    hy_arg_list sets, task_sets, train_sets;
    hy_table_format format;
} options;

static hy_status recipe(const options *o, hy_train_spec *spec) {
    hy_fields_default(hy_train_fields, spec);
    for (int i = 0; i < o->train_sets.n; i++) {
        const char *eq = strchr(o->train_sets.v[i], '=');
        if (!eq) return hy_error(HY_EINPUT, "--train %s: NAME=VALUE is wanted", o->train_sets.v[i]);
        char *name = hy_asprintf("%.*s", (int)(eq - o->train_sets.v[i]), o->train_sets.v[i]);
        const bool twice = o->precision && !strcmp(name, "precision");
        hy_status s = twice ? hy_error(HY_EINPUT, "precision: --precision says that already: leave one of them out")
                            : hy_fields_set(hy_train_fields, spec, name, eq + 1);
        free(name);
        if (s) return hy_error_context(s, "--train");
    }
    if (o->precision) HY_TRY(hy_precision_parse(o->precision, &spec->precision));
    const hy_status s = hy_train_check(spec);
    return s ? hy_error_context(s, "--train") : HY_OK;
}

// What is trained.
typedef struct {
    const options *o;
    const hy_program *p;
    const hy_backend *be;
    const hy_train_spec *recipe;
    const hy_task *task;
    const char *out;  // where checkpoints go; NULL: nowhere
    hy_dist *ranks;   // NULL: one process
} subject;
// Of several processes, the one that prints, writes and evaluates.
static bool leads(const subject *x) { return hy_dist_rank(x->ranks) == 0; }

// The model with its weights and training, and the evaluation as a measurement of it.
static hy_status store(const subject *x, hy_trainer *t, hy_training_facts *seen, const hy_eval *eval) {
    const options *o = x->o;
    const hy_adopted a = {.spec = &x->p->spec,
                          .path = o->from,
                          .from_file = o->from != NULL,
                          .task = x->task,
                          .seed = o->seed,
                          .be = x->be,
                          .precision = x->recipe->precision};
    const hy_measure *accuracy = hy_measure_find("accuracy");
    hy_measure_options how;
    char *text = x->recipe->eval_examples ? hy_asprintf("examples: %d\n", x->recipe->eval_examples) : hy_xstrdup("");
    hy_facts facts = {.steps = hy_trainer_step_count(t)};
    hy_store *s = NULL;
    int64_t id = 0;
    hy_accuracy_facts(&facts, x->task, eval, facts.steps, true);
    hy_status st = hy_measure_options_read(accuracy, text, &how);
    if (!st) st = hy_adopt_open(o->db, &s);
    if (!st) st = hy_adopt_trained(s, &a, x->recipe, &seen->facts, hy_trainer_params(t), &id);
    if (!st) st = hy_adopt_measurement(s, &a, id, accuracy, &how, &facts);
    if (!st) fprintf(stderr, "stored in %s: run %lld (%s)\n", o->db, (long long)id, x->p->spec.name);
    hy_store_close(s);
    hy_facts_free(&facts);
    free(text);
    return st;
}

// What ends a training: of several failures the first is the command's, the others are told before it.
typedef struct {
    hy_status s;
    char *text;
} outcome;
static void add_outcome(outcome *o, hy_status s) {
    if (!s) return;
    if (o->s && o->s != HY_EPIPE) {
        fprintf(stderr, "hylab train: %s\n", hy_error_text());
        return;
    }
    free(o->text);
    *o = (outcome){s, hy_xstrdup(hy_error_text())};
}
static hy_status take_outcome(outcome *o) {
    if (o->s) hy_error(o->s, "%s", o->text);
    free(o->text);
    return o->s;
}

static hy_status print_evaluation(const subject *x, hy_trainer *t, const hy_eval *eval) {
    char *title = hy_asprintf("%s on %s after %ld step%s", x->p->spec.name, hy_task_kind(x->task),
                              hy_trainer_step_count(t), hy_s(hy_trainer_step_count(t)));
    const hy_status s = hy_eval_print(title, x->task, eval, x->o->format, stdout);
    free(title);
    return s;
}

// Everything that was made is kept, whatever of it fails.
static hy_status finish(const subject *x, hy_trainer *t, watcher *w, hy_status trained, const hy_eval *eval) {
    outcome all = {0};
    const bool whole = !trained || trained == HY_EINTR || trained == HY_ENOMEM;
    if (whole && trained && w->saved && !w->unsaved)
        hy_error_context(trained, "progress is kept in %s (continue with --resume %s)", x->out, x->out);
    add_outcome(&all, trained);
    if (!trained) {
        hy_training_end(&w->seen, t);
        add_outcome(&all, print_evaluation(x, t, eval));
        if (x->o->db) add_outcome(&all, store(x, t, &w->seen, eval));
    }
    if (w->unsaved && whole)
        add_outcome(&all, hy_rescue(t, x->out, w->unsaved));
    else if (!trained && x->out)
        fprintf(stderr, "checkpoint: %s\n", x->out);
    add_outcome(&all, hy_curve_close(&w->curve));
    return take_outcome(&all);
}

// One of the ranks that only compute.
static hy_status run_with_others(const subject *x, hy_trainer *t) {
    hy_eval none;
    HY_TRY(hy_dist_agree(x->ranks, HY_OK));
    hy_interrupts_defer();
    const hy_status s = hy_trainer_run(t, NULL, x->out, &none);
    hy_interrupts_end();
    hy_eval_free(&none);
    return s;
}

static hy_status run_training(const subject *x, hy_trainer *t) {
    const options *o = x->o;
    if (!leads(x)) return run_with_others(x, t);
    char what[64];
    snprintf(what, sizeof what, "train %.40s", x->p->spec.name);
    watcher w = {
        .seen = {
            .recipe = x->recipe, .task = x->task, .last_time = hy_now(), .continued = hy_trainer_step_count(t) > 0}};
    HY_TRY(hy_dist_agree(x->ranks, hy_curve_open(&w.curve, o->curve, hy_trainer_step_count(t))));
    if (x->ranks) fprintf(stderr, "note: %d processes train one model\n", hy_dist_size(x->ranks));
    w.bar = hy_progress_start(stderr, what, hy_train_end(x->recipe), (double)hy_trainer_step_count(t));
    const hy_train_watch watch = {
        .user = &w, .on_step = on_step, .on_eval = on_eval, .on_save = on_save, .on_unsaved = on_unsaved};
    hy_eval eval = {0};
    hy_interrupts_defer();
    const hy_status trained = hy_trainer_run(t, &watch, x->out, &eval);
    hy_progress_end(&w.bar);
    const hy_status s = finish(x, t, &w, trained, &eval);
    hy_interrupts_end();
    hy_eval_free(&eval);
    hy_facts_free(&w.seen.facts);
    free(w.unsaved);
    return s;
}

static hy_status check_from(const char *from, const hy_program *p) {
    hy_buf notes = {0};
    const hy_status s = hy_model_check(from, p, &notes);
    if (notes.n) fprintf(stderr, "%s", notes.s);
    free(notes.s);
    return s;
}

// A run that goes on without --out keeps its checkpoint up to date. One that becomes a longer run does not overwrite
// what the shorter one has ended with.
static hy_status load(const subject *x, hy_trainer *t) {
    const options *o = x->o;
    HY_TRY(hy_trainer_load(t, o->resume));
    const int steps = hy_trainer_loaded_steps(t);
    if (!o->out && steps != hy_train_end(x->recipe))
        return hy_error(HY_EINPUT,
                        "--resume %s is of a run of %d step%s, this one has %d: say with --out where its checkpoint "
                        "goes",
                        o->resume, steps, hy_s(steps), hy_train_end(x->recipe));
    if (!o->out && leads(x))
        fprintf(stderr, "note: no --out: checkpoints go to %s, which is at step %ld\n", o->resume,
                hy_trainer_step_count(t));
    if (o->db && hy_trainer_step_count(t) && leads(x))
        fprintf(stderr, "note: %s: of the first %ld step%s it gets no points and no time: another process made them\n",
                o->db, hy_trainer_step_count(t), hy_s(hy_trainer_step_count(t)));
    return HY_OK;
}

static hy_status open_trainer(const subject *x, hy_trainer **t) {
    const options *o = x->o;
    if (o->from && !o->resume && leads(x)) HY_TRY(check_from(o->from, x->p));
    HY_TRY(hy_trainer_create(x->p, x->be, hy_precision_dtype(x->recipe->precision), x->recipe, x->task,
                             (uint64_t)o->seed, t));
    return o->resume ? load(x, *t) : o->from ? hy_model_load(o->from, hy_trainer_params(*t)) : HY_OK;
}

// Before hours of work: whether its results have a place, each its own.
static hy_status try_outputs(const options *o, const char *out, const char *model) {
    const bool yaml = hy_model_file_kind_of(model) == HY_MODEL_YAML;  // weights may be written over those they are from
    HY_TRY(hy_files_apart("--curve", o->curve, o->out ? "--out" : "--resume", out));
    HY_TRY(hy_files_apart("--curve", o->curve, "--resume", o->resume));
    HY_TRY(hy_files_apart("--curve", o->curve, "--db", o->db));
    HY_TRY(hy_files_apart("--curve", o->curve, "the model", model));
    HY_TRY(hy_files_apart("--out", o->out, "--db", o->db));
    HY_TRY(hy_files_apart("--out", o->out, "the model", yaml ? model : NULL));
    if (out) HY_TRY(hy_checkpoint_try(out));
    if (o->curve) HY_TRY(hy_make_folders_above(o->curve));
    return o->db ? hy_adopt_try(o->db, true) : HY_OK;
}

// All that is needed before the first step, on this process.
typedef struct {
    hy_backend be;
    hy_train_spec recipe;
    hy_task *task;
    hy_model_spec *model;
    hy_program *program;
    hy_trainer *trainer;
} parts;

static hy_status prepare(subject *x, const char *model_path, parts *p) {
    const options *o = x->o;
    HY_TRY(recipe(o, &p->recipe));
    HY_TRY(hy_backend_from_args(o->device, o->isa, o->threads, &p->be));
    HY_TRY(hy_precision_set(p->recipe.precision, &p->be));
    if (leads(x)) hy_tell_slow(p->recipe.precision, &p->be);
    HY_TRY(hy_task_from_args(o->task, &o->task_sets, (uint64_t)o->seed, &p->task));
    x->task = p->task;
    const hy_status fits = hy_train_fit(&p->recipe, p->task);
    if (fits) return hy_error_context(fits, "--train");
    if (leads(x)) HY_TRY(try_outputs(o, x->out, model_path));
    HY_TRY(hy_model_read_spec(model_path, o->sets.v, p->model));
    HY_TRY(hy_model_build(p->model, &p->program));
    x->p = p->program;
    return open_trainer(x, &p->trainer);
}

static hy_status train_here(const options *o, const char *model_path, hy_dist *ranks) {
    parts p = {.model = hy_xcalloc(1, sizeof *p.model)};
    subject x = {.o = o, .be = &p.be, .recipe = &p.recipe, .out = o->out ? o->out : o->resume, .ranks = ranks};
    char how[160];
    snprintf(how, sizeof how, "weights from %s, checkpoints %s, moments %s",
             o->resume ? "a run"
             : o->from ? "a model"
                       : "a seed",
             x.out ? "written" : "not written", o->sharded ? "divided" : "everywhere");
    hy_status s = prepare(&x, model_path, &p);
    s = hy_dist_agree(ranks, s);
    if (!s) s = hy_trainer_share(p.trainer, ranks, how);
    if (!s && o->sharded) s = hy_trainer_shard_moments(p.trainer);
    if (!s) s = run_training(&x, p.trainer);
    hy_trainer_free(p.trainer);
    free(p.model);
    hy_program_free(p.program);
    hy_task_close(p.task);
    return s;
}

// told: of several processes, one tells what all have agreed on, before any of them ends: at the first that ends with
// an error, a launcher kills the others.
static hy_status train(const options *o, const char *model_path, bool *told) {
    hy_dist *ranks;
    HY_TRY(hy_dist_open(o->ranks, o->patience, &ranks));
    const hy_status s = train_here(o, model_path, ranks);
    *told = ranks != NULL;
    if (ranks && hy_dist_rank(ranks) == 0) hy_command_end("train", s);
    const hy_status apart = hy_dist_barrier(ranks);
    hy_dist_close(ranks);
    return s ? s : apart;
}

int hy_cmd_train(int argc, char **argv) {
    options o = {.task = "mqar", .seed = 1, .patience = 600};
    const hy_arg args[] = {
        {"--from", "MODEL", HY_ARG_PATH, &o.from, 0,
         "start from the weights of this checkpoint or released folder (instead of a variant)"},
        {"--task", "KIND", HY_ARG_TEXT, &o.task, 0, "task to train on (default mqar; `hylab task` lists them)"},
        {"--task-set", "NAME=VALUE", HY_ARG_LIST, &o.task_sets, 0,
         "an option of the task (`hylab task KIND` shows them)"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the variant, e.g. attention.window=64"},
        {"--train", "NAME=VALUE", HY_ARG_LIST, &o.train_sets, 0,
         "a field of the recipe (`hylab show fields` lists them)"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "seed of weights and data (default 1)"},
        {"--out", "FILE", HY_ARG_PATH, &o.out, 0, "checkpoint to write (.safetensors; with --resume: that file)"},
        {"--resume", "FILE", HY_ARG_PATH, &o.resume, 0,
         "continue from this checkpoint of the same run (or of a shorter one whose learning rates were the same)"},
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0,
         "store model, training and evaluation in this database, in place of an earlier one that is the same"},
        {"--curve", "FILE", HY_ARG_PATH, &o.curve, 0, "loss, learning rate and gradient norm of every step as CSV"},
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &o.precision, 0,
         "what is computed in, as --train precision=: weights and moments stay float32; "
         "tf32 needs --device cuda (f32)"},
        {"--threads", "N", HY_ARG_INT, &o.threads, 0, "threads (default: all cores)"},
        {"--ranks", "N", HY_ARG_INT, &o.ranks, 0,
         "processes that train this model together, N of a Slurm step too; 1: each for itself (default: those of "
         "mpirun "
         "or srun --mpi=pmix)"},
        {"--shard-moments", NULL, HY_ARG_FLAG, &o.sharded, 0,
         "with several processes: each keeps AdamW's moments of a share of the weights; the same bits, less memory, "
         "and "
         "the weights are exchanged after each step"},
        {"--patience", "SECONDS", HY_ARG_INT, &o.patience, 1,
         "with several processes: so long one waits for another before all are ended; longer than a step, a "
         "batch of an evaluation or a checkpoint takes (default 600)"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0, HY_DEVICE_HELP},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0,
         "kernels: ref, base, avx2, avx512 (default: the best this machine has)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print the evaluation"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab train VARIANT.yaml|--from MODEL [options]",
        .text =
            "Trains one model on one task and evaluates it.\n\nexamples:\n"
            "  hylab train variants/hymba-small.yaml --task mqar --task-set vocab=48 --task-set 'train=[[32,4]]' "
            "--task-set 'test=[[32,4]]' --train batch=32 --train steps=600 --out runs/hymba.safetensors\n"
            "  hylab train variants/llama.yaml --task text --task-set path=book.txt --set vocab=256 --curve loss.csv\n"
            "  hylab train --from tests/golden/llama3-tiny --task mqar --task-set vocab=40 --task-set train=[[16,2]] "
            "--task-set test=[[16,2]] --train lr=1e-4 --out runs/tuned.safetensors\n"
            "  mpirun -n 4 hylab train variants/llama.yaml --train sum=parts --train batch=8 --train accumulate=4 "
            "--out "
            "runs/llama.safetensors   (4 processes, one model)\n",
        .args = args,
        .min_rest = 0,
        .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false, told = hy_dist_launched(false).rank > 0;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help && (rest.n == 1) == (o.from != NULL))
        s = hy_error(HY_EINPUT, "name a variant or --from MODEL, one of the two");
    if (!s && !help && o.from && hy_model_file_kind_of(o.from) == HY_MODEL_YAML)
        s = hy_error(HY_EINPUT, "--from %s: a variant has no weights; name a checkpoint (.safetensors) or a folder",
                     o.from);
    if (!s && !help) {
        told = false;
        s = train(&o, o.from ? o.from : rest.v[0], &told);
    }
    free(rest.v);
    free(o.sets.v);
    free(o.task_sets.v);
    free(o.train_sets.v);
    return told ? hy_status_exit(s) : hy_command_end("train", s);
}
