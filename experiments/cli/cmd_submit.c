// cmd_submit.c - hylab submit: a sweep in parts as a script for what a cluster has: Slurm, PBS, GNU parallel, ssh.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/runner/shard.h"
#include "results/store.h"

enum { ARRAY_MAX = 1000 };  // tasks of one array: Slurm's MaxArraySize is 1001 unless a site says otherwise

typedef struct {
    const char *scale, *time, *mem, *gpus, *partition, *after, *kind, *hosts, *db;
    hy_arg_list sets;
    int tasks, cpus;
    bool go, print, copy_back;
} options;

typedef struct {
    const options *o;
    char *run, *name, *folder, *merge, *here;  // run: the command up to the number of the shard
} job;

// ---------------------------------------------------------------------------------------------------- words of a shell
static void quote_on(hy_buf *b, const char *word) {
    hy_buf_printf(b, "'");
    for (; *word; word++)
        if (*word == '\'')
            hy_buf_printf(b, "'\\''");
        else
            hy_buf_write(b, word, 1);
    hy_buf_printf(b, "'");
}

static void quote(hy_buf *b, const char *word) {  // a word of its own
    hy_buf_printf(b, " ");
    quote_on(b, word);
}

static char *quoted(const char *word) {
    hy_buf b = {0};
    quote_on(&b, word);
    return b.s;
}

static void working_folder(char out[4096]) {
    if (!getcwd(out, 4096)) strcpy(out, ".");
}

// A folder in --output, where % begins a word that Slurm replaces: in the working folder, too, which it puts before a
// name that does not begin with /.
static void output_on(hy_buf *b, const char *folder, const char *rest) {
    char here[4096];
    hy_buf all = {0}, path = {0};
    working_folder(here);
    if (*folder != '/') hy_buf_printf(&path, "%s/", here);
    hy_buf_printf(&path, "%s", folder);
    for (const char *c = path.s; *c; c++) hy_buf_write(&all, "%%", *c == '%'), hy_buf_write(&all, c, 1);
    hy_buf_printf(&all, "/%s", rest);
    hy_buf_printf(b, " --output="), quote_on(b, all.s);
    free(all.s), free(path.s);
}

// Seconds of a time as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; 0: none of these.
static long seconds_of(const char *time) {
    long v[3] = {0}, days = 0;
    const char *dash = time ? strchr(time, '-') : NULL, *rest = dash ? dash + 1 : time;
    int n = 0, end = 0;
    if (!time || (dash && sscanf(time, "%ld-", &days) != 1)) return 0;
    for (; n < 3 && sscanf(rest, "%ld%n", &v[n], &end) == 1; rest += rest[end] == ':' ? end + 1 : end) n++;
    if (*rest || !n) return 0;
    if (dash) return days * 86400 + v[0] * 3600 + v[1] * 60 + v[2];
    return n == 3 ? v[0] * 3600 + v[1] * 60 + v[2] : v[0] * 60 + v[1];
}

// How long before the end of its time a task is told: two minutes, of a short one a tenth.
static long warning(const char *time) {
    const long tenth = seconds_of(time) / 10;
    return tenth > 0 && tenth < 120 ? tenth : 120;
}

static void make_job(const options *o, const char *file, const hy_experiment *e, job *j) {
    char exe[4096] = "hylab", here[4096];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) exe[n] = 0;
    working_folder(here);
    hy_buf run = {0}, merge = {0};
    if (strcmp(o->db, "runs/hylab.db")) hy_buf_printf(&run, " env HYLAB_DB="), quote_on(&run, o->db);
    quote(&run, exe);
    hy_buf_printf(&run, " run");
    quote(&run, file);
    if (o->scale) hy_buf_printf(&run, " --scale"), quote(&run, o->scale);
    for (int i = 0; i < o->sets.n; i++) hy_buf_printf(&run, " --set"), quote(&run, o->sets.v[i]);
    if (o->cpus) hy_buf_printf(&run, " --threads %d", o->cpus);
    if (o->gpus) hy_buf_printf(&run, " --device cuda");
    if (o->copy_back) hy_buf_printf(&run, " --copy-back");
    *j = (job){
        .o = o, .run = run.s, .name = hy_shard_name(e->name), .folder = hy_shard_folder(o->db), .here = quoted(here)};
    char *folder = quoted(j->folder), *db = quoted(o->db);
    quote(&merge, exe);
    hy_buf_printf(&merge, " merge %s %s/%s.*-of-%d.db", db, folder, j->name, o->tasks);
    j->merge = merge.s;
    free(folder), free(db);
}

static void free_job(job *j) { free(j->run), free(j->name), free(j->folder), free(j->merge), free(j->here); }

// ---------------------------------------------------------------------------------------------------- scripts
static void directive(hy_buf *b, const char *name, const char *value) {
    if (value) hy_buf_printf(b, "#SBATCH --%s=%s\n", name, value);
}

// The tasks from..from + count - 1; the end of the time is told to hylab itself, which the shell makes way for.
static void slurm_array(hy_buf *b, const job *j, int from, int count) {
    const options *o = j->o;
    char after[16] = "";  // "1000+": the parts before those of this array
    if (from > 1) snprintf(after, sizeof after, "%d+", from - 1);
    char *log = hy_asprintf("%s.%s%%a-of-%d.log", j->name, after, o->tasks);
    hy_buf_printf(b, "id=$(sbatch --parsable");
    output_on(b, j->folder, log);
    hy_buf_printf(b, " <<'END'\n#!/bin/sh\n#SBATCH --job-name=hylab-%s\n#SBATCH --array=1-%d\n", j->name, count);
    free(log);
    directive(b, "time", o->time);
    if (o->cpus) hy_buf_printf(b, "#SBATCH --cpus-per-task=%d\n", o->cpus);
    directive(b, "mem", o->mem);
    directive(b, "gpus", o->gpus);
    directive(b, "partition", o->partition);
    if (o->after) hy_buf_printf(b, "#SBATCH --dependency=afterany:%s\n", o->after);
    hy_buf_printf(b, "#SBATCH --signal=B:TERM@%ld\n#SBATCH --requeue\n#SBATCH --open-mode=append\n", warning(o->time));
    // without a number of its own a task has the processors that Slurm gave it, whether or not it is bound to them
    hy_buf_printf(b, "cd %s || exit 1\nexec%s%s --shard \"$((SLURM_ARRAY_TASK_ID + %d))/%d\"\nEND\n)\n", j->here,
                  j->run, o->cpus ? "" : " --threads \"${SLURM_CPUS_ON_NODE:-1}\"", from - 1, o->tasks);
    hy_buf_printf(b, "echo \"Submitted job array ${id%%%%;*}\"\nids=$ids:${id%%%%;*}\n");
}

static void slurm(hy_buf *b, const job *j) {
    char *folder = quoted(j->folder);
    hy_buf_printf(b, "cd %s\nmkdir -p %s\nids=\n", j->here, folder);
    for (int from = 1; from <= j->o->tasks; from += ARRAY_MAX)
        slurm_array(b, j, from, j->o->tasks - from + 1 < ARRAY_MAX ? j->o->tasks - from + 1 : ARRAY_MAX);
    char *log = hy_asprintf("%s.merge.log", j->name);
    hy_buf_printf(b, "sbatch --dependency=\"afterany$ids\"");
    output_on(b, j->folder, log);
    hy_buf_printf(b, " <<'END'\n#!/bin/sh\n#SBATCH --job-name=hylab-merge-%s\n#SBATCH --open-mode=append\n", j->name);
    directive(b, "partition", j->o->partition);
    hy_buf_printf(b, "cd %s || exit 1\nexec%s\nEND\n", j->here, j->merge);
    free(folder), free(log);
}

static void pbs(hy_buf *b, const job *j) {
    const options *o = j->o;
    char *folder = quoted(j->folder);
    hy_buf_printf(b, "cd %s\nmkdir -p %s\nid=$(qsub <<'END'\n#!/bin/sh\n#PBS -N hylab-%.10s\n#PBS -r y\n", j->here,
                  folder, j->name);
    if (o->tasks > 1) hy_buf_printf(b, "#PBS -J 1-%d\n", o->tasks);
    hy_buf_printf(b, "#PBS -l select=1:ncpus=%d", o->cpus ? o->cpus : 1);
    if (o->mem) hy_buf_printf(b, ":mem=%s", o->mem);
    if (o->gpus) hy_buf_printf(b, ":ngpus=%s", o->gpus);
    hy_buf_printf(b, "\n");
    if (o->time) hy_buf_printf(b, "#PBS -l walltime=%s\n", o->time);
    if (o->partition) hy_buf_printf(b, "#PBS -q %s\n", o->partition);
    if (o->after) hy_buf_printf(b, "#PBS -W depend=afterany:%s\n", o->after);
    hy_buf_printf(b, "cd %s || exit 1\nexec%s --shard \"${PBS_ARRAY_INDEX:-1}/%d\"\nEND\n)\n", j->here, j->run,
                  o->tasks);
    hy_buf_printf(
        b, "qsub -W \"depend=afterany:$id\" <<'END'\n#!/bin/sh\n#PBS -N hylab-merge\ncd %s || exit 1\nexec%s\nEND\n",
        j->here, j->merge);
    free(folder);
}

static void parallel(hy_buf *b, const job *j) {
    for (int k = 1; k <= j->o->tasks; k++)
        hy_buf_printf(b, "cd %s &&%s --shard %d/%d\n", j->here, j->run, k, j->o->tasks);
}

// The tasks in turn over the hosts, which share the folder; on each one after the other.
static void ssh(hy_buf *b, const job *j) {
    char *hosts = hy_xstrdup(j->o->hosts), *save = NULL;
    int n = 0;
    for (const char *c = hosts; *c; c++) n += *c == ',';
    n++;
    int h = 1;
    for (char *host = strtok_r(hosts, ",", &save); host; host = strtok_r(NULL, ",", &save), h++) {
        hy_buf all = {0};
        hy_buf_printf(&all, "cd %s", j->here);
        for (int k = h; k <= j->o->tasks; k += n) hy_buf_printf(&all, ";%s --shard %d/%d", j->run, k, j->o->tasks);
        hy_buf_printf(b, "ssh");
        quote(b, host);
        quote(b, all.s);
        hy_buf_printf(b, " &\n");
        free(all.s);
    }
    hy_buf_printf(b, "wait\ncd %s &&%s\n", j->here, j->merge);
    free(hosts);
}

// ---------------------------------------------------------------------------------------------------- the command
static hy_status check(const options *o) {
    const char *const words[] = {o->time, o->mem, o->gpus, o->partition, o->after};
    static const char *const names[] = {"--time", "--mem", "--gpus", "--partition", "--after"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i] && (!*words[i] || words[i][strcspn(words[i], " \t\r\n'\"`$\\;&|<>()#")]))
            return hy_error(HY_EINPUT, "%s '%s': one word for the batch system is wanted", names[i], words[i]);
    if (!o->tasks) return hy_error(HY_EINPUT, "--tasks N: into how many parts?");
    if (o->tasks > HY_SHARDS_MAX) return hy_error(HY_EINPUT, "--tasks %d: at most %d", o->tasks, HY_SHARDS_MAX);
    if (o->go && o->print) return hy_error(HY_EINPUT, "--go and --print: one of them");
    if (!strcmp(o->kind, "ssh") && (!o->hosts || !*o->hosts)) return hy_error(HY_EINPUT, "--for ssh: --hosts A,B,...");
    if (o->go && strcmp(o->kind, "slurm"))
        return hy_error(HY_EINPUT, "--go is for Slurm; run what is printed for others");
    return HY_OK;
}

static hy_status check_folder(const options *o) {
    char here[4096];
    working_folder(here);
    const char *at = strchr(o->db, '\\') ? o->db : *o->db != '/' && strchr(here, '\\') ? here : NULL;
    if (!at || strcmp(o->kind, "slurm")) return HY_OK;
    return hy_error(HY_EINPUT, "%s: Slurm writes no log into a folder with a backslash in its name", at);
}

static void propose_copies(const options *o) {
    const char *network = o->copy_back ? NULL : hy_store_network(o->db);
    if (network)
        fprintf(
            stderr,
            "note: %s is on a network file system, %s: tasks are quicker, and safe from its locks, with --copy-back "
            "(each shard on a disk of its node, copied back now and then)\n",
            o->db, network);
}

static hy_status give_to_shell(const hy_buf *script) {
    fflush(stdout);
    FILE *f = popen("sh -e", "w");
    if (!f) return hy_error(HY_EFAIL, "cannot start a shell: %s", strerror(errno));
    fwrite(script->s, 1, script->n, f);
    return pclose(f) ? hy_error(HY_EFAIL, "sbatch did not take it (its message is above)") : HY_OK;
}

static hy_status run(const options *o, const hy_arg_list *rest) {
    static const struct {
        const char *name;
        void (*write)(hy_buf *b, const job *j);
    } kinds[] = {{"slurm", slurm}, {"pbs", pbs}, {"parallel", parallel}, {"ssh", ssh}, {NULL, NULL}};
    int kind = 0;
    while (kinds[kind].name && strcmp(kinds[kind].name, o->kind)) kind++;
    if (!kinds[kind].name) return hy_error(HY_EINPUT, "--for %s: there are slurm, pbs, parallel, ssh", o->kind);
    HY_TRY(check(o));
    HY_TRY(check_folder(o));
    hy_experiment *e;
    HY_TRY(hy_experiment_load(rest->v[0], o->scale, o->sets.v, &e));
    job j;
    hy_buf b = {0};
    hy_status st = hy_experiment_check(e, NULL);
    make_job(o, rest->v[0], e, &j);
    if (!st) propose_copies(o);
    kinds[kind].write(&b, &j);
    if (!st && o->go) st = give_to_shell(&b);
    if (!st && !o->go) {
        if (kinds[kind].write == slurm || kinds[kind].write == pbs) printf("#!/bin/sh -e\n");
        fwrite(b.s, 1, b.n, stdout);
    }
    free_job(&j);
    free(b.s);
    hy_experiment_free(e);
    return st ? st : hy_stream_end(stdout, "the script");
}

int hy_cmd_submit(int argc, char **argv) {
    options o = {.kind = "slurm", .db = hy_default_db()};
    const hy_arg args[] = {
        {"--tasks", "N", HY_ARG_INT, &o.tasks, 1, "into how many parts; a part does many short runs"},
        {"--time", "TIME", HY_ARG_TEXT, &o.time, 0, "of a task, as the batch system writes it (02:00:00)"},
        {"--cpus", "N", HY_ARG_INT, &o.cpus, 1, "of a task"},
        {"--mem", "SIZE", HY_ARG_TEXT, &o.mem, 0, "of a task (4G)"},
        {"--gpus", "N", HY_ARG_TEXT, &o.gpus, 0, "of a task, which then runs on them"},
        {"--partition", "NAME", HY_ARG_TEXT, &o.partition, 0, "or queue"},
        {"--after", "JOB", HY_ARG_TEXT, &o.after, 0, "begin when this job has ended"},
        {"--for", "slurm|pbs|parallel|ssh", HY_ARG_TEXT, &o.kind, 0, "what starts the tasks (slurm)"},
        {"--hosts", "A,B", HY_ARG_TEXT, &o.hosts, 0, "--for ssh: where; they share this folder"},
        {"--print", NULL, HY_ARG_FLAG, &o.print, 0, "show the script, as without --go"},
        {"--go", NULL, HY_ARG_FLAG, &o.go, 0, "give it to sbatch"},
        {"--copy-back", NULL, HY_ARG_FLAG, &o.copy_back, 0,
         "as for hylab run: shards are worked on in $TMPDIR of a node; for folders on a network file system"},
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0, "what the shards are merged into ($HYLAB_DB, else runs/hylab.db)"},
        {"--scale", "NAME", HY_ARG_TEXT, &o.scale, 0, "as for hylab run"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "as for hylab run; repeatable"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab submit EXPERIMENT.yaml --tasks N [options]",
        .text =
            "Writes a script that hands a sweep to a cluster: a job array of `hylab run --shard K/N`, and a job that "
            "merges the shards\n"
            "when all tasks have ended, however they did. A task whose time is nearly out stops with checkpoints; "
            "submit again to go on.\n\n"
            "examples:\n"
            "  hylab submit experiments/roadmap/roadmap.yaml --tasks 8 --cpus 2 --time 02:00:00\n"
            "  hylab submit experiments/roadmap/roadmap.yaml --tasks 8 --cpus 2 --time 02:00:00 --go\n"
            "  hylab submit experiments/roadmap/roadmap.yaml --tasks 8 --for parallel | parallel -j 4",
        .args = args,
        .min_rest = 1,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = run(&o, &rest);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("submit", s);
}
