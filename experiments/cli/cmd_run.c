// cmd_run.c - `hylab run`: an experiment YAML to stored results and a table.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/parallel.h"
#include "core/base/plural.h"
#include "core/base/version.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/runner/adopt.h"
#include "experiments/runner/copy_back.h"
#include "experiments/runner/job.h"
#include "experiments/runner/shard.h"
#include "analysis/summary/summary.h"
#include "experiments/runner/sweep.h"
#include "results/query.h"
#include "results/schema.h"
#include "experiments/cli/device_arg.h"
#include "experiments/cli/run_plan.h"

#define CHECK_MAX ((off_t)64 << 20)  // databases up to this size are checked page by page before a sweep
#define SMALL_MODEL 10000000         // parameters up to which runs side by side beat threads inside one

typedef struct {
    const char *db, *scale, *only, *remeasure, *device, *isa, *shard;
    hy_arg_list sets;
    int jobs, threads, child, report, time_left, copy_every;
    bool dry_run, force, retry_failed, copy_back;
    hy_table_format format;
} options;

// ---------------------------------------------------------------------------------------------------- the child
static hy_status be_child(const options *o) {
    hy_job job;
    fcntl(o->report, F_SETFD, FD_CLOEXEC);
    HY_TRY(hy_job_read(o->child, &job));
    close(o->child);
    hy_interrupts_defer();
    hy_status s = hy_run_one(&job, o->report);
    hy_interrupts_end();
    hy_job_free(&job);
    return s;
}

// ---------------------------------------------------------------------------------------------------- what was found
// A text in lines of at most 110 characters.
static void print_wrapped(const char *text, FILE *f) {
    enum { WIDE = 110 };
    for (size_t column = 0; *text; text += strspn(text, " ")) {
        const size_t n = strcspn(text, " \n");
        if (column && column + 1 + n > WIDE) column = 0, fputc('\n', f);
        fprintf(f, "%s%.*s", column ? " " : "", (int)n, text);
        column += (column > 0) + n;
        text += n;
        if (*text == '\n') column = 0, fputc(*text++, f);
    }
    fputc('\n', f);
}

static hy_status print_summary(hy_store *store, const hy_experiment *e, hy_table_format format, bool last) {
    hy_summary *m;
    HY_TRY(hy_summary_load(store, e->name, e->scale, e->sets, &m));
    hy_status s = hy_summary_print(m, format, stdout);
    char *words = last && !s && format == HY_TABLE_TEXT ? hy_summary_words(m) : NULL;
    if (words) {
        printf("\nIn plain words:\n");
        print_wrapped(words, stdout);
    }
    free(words);
    fflush(stdout);
    hy_summary_free(m);
    return s;
}

static void on_interim(hy_sweep *s, bool first_seed) {
    fprintf(stderr, first_seed ? "the first seed is done; the others follow\n" : "so far, with more runs to come:\n");
    const hy_status st = print_summary(s->store, s->e, HY_TABLE_TEXT, false);
    if (st && st != HY_EPIPE) fprintf(stderr, "hylab run: %s\n", hy_error_text());
    printf("\n");
    fflush(stdout);
}

// Says what was stored by other builds: the commit is provenance and does not make a run another one.
static hy_status print_other_commits(const hy_sweep *s) {
    int stored = 0, other = 0;
    char first[80] = "";
    for (int i = 0; i < s->e->n_items; i++) {
        char commit[64];
        bool dirty;
        if (s->items[i].state != HY_ITEM_STORED) continue;
        stored++;
        HY_TRY(hy_ask_commit(s->store, s->items[i].run_id, commit, &dirty));
        if (*commit && strcmp(commit, hy_version_commit()) && !other++)
            snprintf(first, sizeof first, "%s%s", commit, dirty ? " with changes" : "");
    }
    if (stored) fprintf(stderr, "%d run%s stored already\n", stored, stored == 1 ? " is" : "s are");
    if (other)
        fprintf(stderr, "note: %d of them %s from another commit (%s%s); --force runs %s again\n", other,
                other == 1 ? "comes" : "come", first, other > 1 ? ", ..." : "", other == 1 ? "it" : "them");
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- the command
static hy_status open_store(const char *db, hy_store **store) {
    HY_TRY(hy_adopt_open(db, store));
    struct stat st;
    return !stat(db, &st) && st.st_size <= CHECK_MAX ? hy_results_check(*store) : HY_OK;
}

static bool times_something(const hy_sweep *s) {
    for (int i = 0; i < s->e->n_items; i++)
        for (int k = 0; s->items[i].state == HY_ITEM_PENDING && k < s->e->items[i].n_measures; k++)
            if (s->items[i].todo >> k & 1 && s->e->items[i].measures[k].measure->needs & HY_NEEDS_QUIET) return true;
    return false;
}

// Small models train faster one a thread than with all threads in one (experiments/bench: 1.5 times on 2 cores). What
// is timed keeps the machine to itself, and a GPU is not shared.
static int jobs_of(const options *o, const hy_sweep *s, int threads) {
    int jobs = 0;
    if (o->jobs) return o->jobs;
    if (strcmp(s->device, "cpu") || times_something(s)) return 1;
    for (int i = 0; i < s->e->n_items; i++) {
        hy_param_count n;
        if (s->items[i].state != HY_ITEM_PENDING) continue;
        hy_model_count(s->e->items[i].spec, &n);
        if (n.total > SMALL_MODEL) return 1;
        jobs += s->items[i].same_model == i;
    }
    jobs = jobs < threads ? jobs : threads;
    return jobs < 1 ? 1 : jobs < HY_SWEEP_MAX_JOBS ? jobs : HY_SWEEP_MAX_JOBS;
}

static void share_machine(const options *o, hy_sweep *s) {
    const int total = o->threads ? o->threads : hy_cpus_allowed();
    s->jobs = jobs_of(o, s, total);
    s->threads = total / s->jobs > 1 ? total / s->jobs : 1;
}

static hy_status sweep(const options *o, hy_sweep *s) {
    HY_TRY(open_store(s->db, &s->store));
    if (hy_store_note(s->store)) fprintf(stderr, "note: %s\n", hy_store_note(s->store));
    HY_TRY(hy_run_plan_store(s->store, s->e, s->device, s->shard_of, s->shard));
    HY_TRY(hy_sweep_look(s));
    HY_TRY(hy_sweep_clean(s));
    HY_TRY(print_other_commits(s));
    share_machine(o, s);
    if (s->jobs > 1 && times_something(s))
        fprintf(stderr,
                "note: throughput is measured with %d of the threads, while the other runs pause; use --jobs 1 for all"
                " threads\n",
                s->threads);
    s->interim = o->format == HY_TABLE_TEXT ? on_interim : NULL;
    hy_status st = hy_sweep_run(s);
    if (st && st != HY_EFAIL && st != HY_EINTR) return st;
    char *why = hy_xstrdup(st ? hy_error_text() : "");
    hy_status printed = print_summary(s->store, s->e, o->format, true);
    if (st) hy_error(st, "%s", why);
    free(why);
    return st ? st : printed;
}

static hy_status dry_run(const options *o, hy_sweep *s, const hy_shards *shards) {
    if (hy_file_exists(o->db)) HY_TRY(hy_store_open(o->db, HY_STORE_READ, &s->store));
    HY_TRY(hy_sweep_look(s));
    share_machine(o, s);
    char *words = shards ? hy_shards_words(shards) : NULL;
    const hy_status st = hy_run_plan_print(s, words, o->format);
    free(words);
    return st;
}

// Once for a sweep: each model is trained by a process of its own.
static void tell_slow(const hy_experiment *e) {
    const hy_backend be = {.bf16_slow = hy_cpu_bf16_slow()};
    for (int i = 0; i < e->n_items; i++) {
        if (e->items[i].train->precision != HY_PRECISION_BF16) continue;
        hy_tell_slow(HY_PRECISION_BF16, &be);
        return;
    }
}

// When to stop so that checkpoints are written in time, by hy_now; 0: never.
static double deadline_of(const options *o) {
    const char *end = getenv("SLURM_JOB_END_TIME");
    double left = o->time_left;
    if (!o->time_left && end && *end) left = (double)strtoll(end, NULL, 10) - (double)time(NULL);
    if (!(left > 0)) return 0;
    const double reserve = left / 20 < 60 ? left / 20 : 60;
    return hy_now() + left - reserve;
}

static hy_status check_names(const options *o) {
    if (!o->remeasure || hy_measure_find(o->remeasure)) return HY_OK;
    char *names = hy_measure_names();
    const hy_status unknown = hy_error(HY_EINPUT, "--remeasure %s: there are %s", o->remeasure, names);
    free(names);
    return unknown;
}

static hy_status tick(hy_sweep *s) { return hy_copy_back_tick(s->user, s->store); }

// With --copy-back it works on a database on a disk of this machine. What a signal stops is copied, too.
static hy_status sweep_there(const options *o, hy_sweep *s) {
    hy_copy_back *c = NULL;
    if (!o->copy_back) return sweep(o, s);
    hy_interrupts_defer();
    hy_status st = hy_copy_back_begin(o->db, o->copy_every, &c);
    if (!st) {
        s->db = hy_copy_back_db(c), s->tick = tick, s->user = c;
        fprintf(stderr, "working on %s, which is copied to %s\n", s->db, o->db);
        st = sweep(o, s);
        char *why = hy_xstrdup(st ? hy_error_text() : "");
        const hy_status copied = hy_copy_back_end(c, s->store);
        if (copied) st = copied;
        if (st && !copied) hy_error(st, "%s", why);
        free(why);
    }
    hy_store_close(s->store);
    s->store = NULL;
    hy_copy_back_free(c);
    hy_interrupts_end();
    return st;
}

// Of an experiment that can be run; with a shard in its own database.
static hy_status run_loaded(options *o, const hy_experiment *e, const hy_device *device, int k, int n) {
    hy_shards shards = {0};
    char *own = n && !o->db ? hy_shard_db(hy_default_db(), e->name, k, n) : NULL;
    if (!o->db) o->db = own ? own : hy_default_db();
    if (n) hy_shards_make(e, k, n, &shards);
    hy_sweep s = {.e = e,
                  .db = o->db,
                  .isa = o->isa,
                  .device = device->kind,
                  .gpu = device->number,
                  .only = o->only,
                  .remeasure = o->remeasure,
                  .jobs = 1,
                  .threads = 1,
                  .shard_of = shards.of,
                  .shard = k,
                  .deadline = deadline_of(o),
                  .claim = (o->force ? HY_CLAIM_FORCE : 0) | (o->retry_failed ? HY_CLAIM_RETRY_FAILED : 0)};
    hy_status st = hy_store_name_check(o->db);
    if (!st) st = hy_sweep_look(&s);  // before a database is made: does --only leave anything?
    if (!st && n && !o->dry_run)
        fprintf(stderr, "shard %d of %d: %d model%s, in %s\n", k, n, shards.models[k - 1], hy_s(shards.models[k - 1]),
                o->db);
    if (!st) st = o->dry_run ? dry_run(o, &s, n ? &shards : NULL) : sweep_there(o, &s);
    hy_sweep_free(&s);
    hy_store_close(s.store);
    hy_shards_free(&shards);
    free(own);
    return st;
}

static hy_status run(options *o, const hy_arg_list *rest) {
    if (o->child >= 0) return be_child(o);
    if (rest->n == 0) return hy_error(HY_EINPUT, "which experiment? hylab run EXPERIMENT.yaml (--help tells more)");
    HY_TRY(hy_store_name_check(o->db ? o->db : hy_default_db()));
    hy_device device;
    int k = 0, n = 0;
    HY_TRY(hy_device_from_args(o->device, o->isa, &device));
    if (o->shard) HY_TRY(hy_shard_parse(o->shard, &k, &n));
    HY_TRY(check_names(o));
    hy_experiment *e;
    HY_TRY(hy_experiment_load(rest->v[0], o->scale, o->sets.v, &e));
    hy_status st = hy_experiment_check(e, o->dry_run ? NULL : device.kind);
    if (!st && !o->dry_run && !strcmp(device.kind, "cpu")) tell_slow(e);
    if (!st) st = run_loaded(o, e, &device, k, n);
    hy_experiment_free(e);
    return st;
}

int hy_cmd_run(int argc, char **argv) {
    options o = {.isa = "auto", .child = -1, .report = -1};
    const hy_arg args[] = {
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0, "results database ($HYLAB_DB, else runs/hylab.db)"},
        {"--scale", "NAME", HY_ARG_TEXT, &o.scale, 0, "one of the experiment's scales (small)"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0,
         "change train.*, task.*, variant.* of every run, or a key of the file; repeatable"},
        {"--only", "GLOB", HY_ARG_TEXT, &o.only, 0, "only runs whose variant, task or VARIANT/TASK/GRID/seedN matches"},
        {"--dry-run", NULL, HY_ARG_FLAG, &o.dry_run, 0,
         "check everything and list what would be trained and measured; run nothing"},
        {"--force", NULL, HY_ARG_FLAG, &o.force, 0,
         "train and measure again what is stored; the old results stay, marked as superseded"},
        {"--remeasure", "MEASURE", HY_ARG_TEXT, &o.remeasure, 0,
         "take this measure again whatever is stored of it; nothing is trained for it but where weights are gone"},
        {"--retry-failed", NULL, HY_ARG_FLAG, &o.retry_failed, 0, "run again what failed"},
        {"--jobs", "N", HY_ARG_INT, &o.jobs, 1,
         "runs at a time, each with its share of the threads (small models of which nothing is timed: one a thread; "
         "else 1)"},
        {"--shard", "K/N", HY_ARG_TEXT, &o.shard, 0,
         "only part K of N, the same models whatever is stored, in a database of its own (runs/shards/NAME.K-of-N.db); "
         "auto: by the variables of a Slurm job array"},
        {"--time-left", "SECONDS", HY_ARG_INT, &o.time_left, 1,
         "stop with checkpoints shortly before so long has passed (until $SLURM_JOB_END_TIME)"},
        {"--copy-back", NULL, HY_ARG_FLAG, &o.copy_back, 0,
         "keep the database in $TMPDIR, on a disk of this machine, and copy it to --db now and then and at the end; "
         "weights and checkpoints go there at once"},
        {"--copy-every", "SECONDS", HY_ARG_INT, &o.copy_every, 1, "between two copies (60)"},
        {"--threads", "N", HY_ARG_INT, &o.threads, 1, "threads in all (as many as there are cores)"},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0, "kernels: auto, avx512, avx2, base or ref"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0, HY_DEVICE_HELP},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "of the table at the end"},
        {0},
    };
    // --child and --report are how a sweep starts its children; they are not for people and not in the help text
    const hy_arg child_args[] = {
        {"--child", "FD", HY_ARG_INT, &o.child, 0, ""}, {"--report", "FD", HY_ARG_INT, &o.report, 0, ""}, {0}};
    const hy_args a = {
        .usage = "hylab run EXPERIMENT.yaml [options]",
        .text =
            "Trains, measures and stores every variant x task x grid point x seed of an experiment that is not "
            "stored yet, then\n"
            "prints mean ± standard deviation over the seeds. Ctrl-C, TERM and USR1 "
            "stop cleanly (status\n"
            "130), as does --time-left; the same command goes on where it stopped.\n"
            "A model is the same when its variant, the training side of its task, recipe, seed and kind of device "
            "are; a measurement\n"
            "when its model, measure, version, options and test set are. The commit that made them is recorded, "
            "but counts for neither.\n"
            "--format csv is one document: a row for each variant and task, of an experiment with a grid for each "
            "of its points,\n"
            "with 1 in the column `best` of those that stand for their variants. Its keys are the names of the "
            "metrics\n"
            "(hylab show metrics), its units always those of --format json: %, MB (10^6 bytes), millions of "
            "parameters. Of each metric M\n"
            "it has the mean (M), sample standard deviation (M_sd), seeds (M_n) and 95 % interval of the mean (M_lo, "
            "M_hi): Student's t\n"
            "with n - 1 degrees of freedom; of shares (accuracy) on the scale of asin(sqrt(x)) at the mean, so that "
            "it stays within 0 and\n"
            "100 %, of what is never negative cut off at 0; none below 3 seeds, or where all seeds are equal. --format "
            "json also has\n"
            "all pairs of variants: differences by seed, their paired t interval, p and p after Holm's correction. A "
            "pair is told apart\n"
            "below 5 %; of pairs with fewer than 3 common seeds, or whose differences are all equal, nothing is "
            "claimed.\n"
            "`seeds` counts seeds that some figure of the row is known of, `done` and `failed` models; `points`: of "
            "how "
            "many points of the\n"
            "grid the best was chosen. A measure with several sets of options has a column for each: erf, erf_2, and "
            "erf_2_options.\n\n"
            "examples:\n"
            "  hylab run experiments/roadmap/roadmap.yaml --dry-run\n"
            "  hylab run experiments/roadmap/roadmap.yaml --jobs 2\n"
            "  hylab run experiments/roadmap/roadmap.yaml --shard 2/8    # then: hylab merge runs/hylab.db "
            "runs/shards/*.db\n"
            "  hylab run experiments/roadmap/roadmap.yaml --only 'Llama' --set train.steps=50 --set seeds=[1]\n"
            "  hylab run experiments/roadmap/roadmap.yaml --scale paper --dry-run",
        .args = argc > 1 && !strcmp(argv[1], "--child") ? child_args : args,
        .max_rest = 1,
    };
    hy_arg_list rest;
    bool help;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && o.jobs > HY_SWEEP_MAX_JOBS) s = hy_error(HY_EINPUT, "--jobs %d: at most %d", o.jobs, HY_SWEEP_MAX_JOBS);
    if (!s && !help) s = run(&o, &rest);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("run", s);
}
