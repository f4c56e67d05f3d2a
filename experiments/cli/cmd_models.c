// cmd_models.c - hylab models: the stored weights of a database, and freeing them.
#include <math.h>
#include <stdlib.h>

#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/runner/models.h"
#include "core/base/plural.h"

#define DAY_S 86400.0

typedef struct {
    const char *db;
    int older_than;
    bool prune, check;
    hy_table_format format;
} options;

static hy_status print(const hy_weights_list *l, const options *o) {
    static const char *const states[] = {"stored", "missing", "changed", "of no model"};
    double bytes = 0;
    int measurements = 0, files = 0;
    hy_table *t = hy_table_new(NULL);
    static const char *const names[] = {"run",   "variant", "task", "grid",         "seed",   "device", "steps",
                                        "state", "size",    "age",  "measurements", "stored", "file"};
    static const char *const units[] = {[8] = "MB", [9] = "days"};
    for (int i = 0; i < 13; i++) {
        const bool number = i == 0 || i == 4 || i == 6 || (i >= 8 && i <= 10);
        hy_table_column(t, names[i], NULL, i < 10 ? units[i] : NULL, number ? HY_RIGHT : HY_LEFT);
        if (i == 11) hy_table_hidden(t);
    }
    for (int i = 0; i < l->n; i++) {
        const hy_stored_weights *w = &l->v[i];
        hy_table_row(t);
        if (w->model_id)
            hy_table_int(t, w->model_id);
        else
            hy_table_empty(t);
        hy_table_text(t, "%s", w->variant);
        hy_table_text(t, "%s", w->task);
        hy_table_text(t, "%s", w->grid);
        if (w->model_id)
            hy_table_int(t, w->seed);
        else
            hy_table_empty(t);
        hy_table_text(t, "%s", w->device);
        if (w->model_id)
            hy_table_int(t, w->steps);
        else
            hy_table_empty(t);
        hy_table_text(t, "%s", states[w->state]);
        hy_table_num(t, w->bytes / 1e6, 3);
        hy_table_num(t, w->age / DAY_S, 1);
        if (w->model_id)
            hy_table_int(t, w->measurements);
        else
            hy_table_empty(t);
        hy_table_text(t, "%s", w->ended);
        hy_table_text(t, "%s", w->file);
        if (!isnan(w->bytes)) bytes += w->bytes, files++;
        measurements += w->measurements;
    }
    if (o->prune)
        hy_table_note(t, "%.0f bytes of %d file%s freed; %d measurement%s, and what needs weights trains again", bytes,
                      files, hy_s(files), measurements, measurements == 1 ? " stays" : "s stay");
    else
        hy_table_note(t, "%d file%s, %.0f bytes; hylab models --prune frees %s, and keeps what was measured", files,
                      hy_s(files), bytes, files == 1 ? "it" : "them");
    const hy_status s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return s;
}

static hy_status run(const options *o, const hy_arg_list *rest) {
    hy_store *s;
    hy_weights_list l = {0};
    if (!hy_file_exists(o->db)) return hy_error(HY_EINPUT, "%s: no such database; hylab run makes one", o->db);
    HY_TRY(hy_store_open(o->db, o->prune ? HY_STORE_WRITE : HY_STORE_READ, &s));
    hy_status st = hy_weights_list_load(s, o->check, &l);
    if (!st) {
        hy_weights_list_filter(&l, rest->n ? rest->v[0] : NULL, 0);
        if (rest->n && !l.n)
            st = hy_error(HY_EINPUT,
                          "%s: no stored weights of that name; it must fit a variant, a task, "
                          "VARIANT/TASK/GRID/seedN or a file (hylab models lists them)",
                          rest->v[0]);
    }
    if (!st) {
        hy_weights_list_filter(&l, NULL, o->older_than * DAY_S);
        if (o->prune) st = hy_weights_list_prune(s, &l);
        if (!st) st = print(&l, o);
        int changed = 0;
        for (int i = 0; i < l.n; i++) changed += l.v[i].state == HY_WEIGHTS_CHANGED;
        if (!st && changed)
            st = hy_error(HY_EFAIL, "%d of %d file%s changed after they were stored; what needs them trains again",
                          changed, l.n, hy_s(l.n));
    }
    hy_weights_list_free(&l);
    hy_store_close(s);
    return st;
}

int hy_cmd_models(int argc, char **argv) {
    options o = {.db = hy_default_db()};
    const hy_arg args[] = {
        {"--db", "FILE", HY_ARG_PATH, &o.db, 0, "results database ($HYLAB_DB, else runs/hylab.db)"},
        {"--prune", NULL, HY_ARG_FLAG, &o.prune, 0, "remove the files that are listed; measurements stay"},
        {"--older-than", "DAYS", HY_ARG_INT, &o.older_than, 0, "only files that were written at least so long ago"},
        {"--check", NULL, HY_ARG_FLAG, &o.check, 0, "read every file and compare it with what was stored"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab models [GLOB] [options]",
        .text =
            "Lists the weights that hylab run keeps in models/ beside its database, so that each further measure finds "
            "them. GLOB\n"
            "chooses by variant, task, VARIANT/TASK/GRID/seedN or file. Each file is a checkpoint: eval, probe, "
            "generate take it.\n"
            "Files of no model were left by a killed process or a deleted database.\n\n"
            "examples:\n"
            "  hylab models\n"
            "  hylab models --prune 'Llama/*' \n"
            "  hylab models --prune --older-than 30",
        .args = args,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = run(&o, &rest);
    free(rest.v);
    return hy_command_end("models", s);
}
