// stored.h - a stored experiment on the command line of plot and report: the options that choose it, and opening it.
#ifndef HY_STORED_H
#define HY_STORED_H
#include "experiments/cli/args.h"
#include "analysis/summary/summary.h"

typedef struct {
    const char *db, *name, *scale;
    hy_arg_list sets;
} hy_stored_options;
// The lines of an hy_arg table for them; o is a hy_stored_options.
#define HY_STORED_ARGS(o)                                                                                              \
    {"--db", "FILE", HY_ARG_PATH, &(o).db, 0, "results database ($HYLAB_DB, else runs/hylab.db)"},                     \
        {"--experiment", "NAME", HY_ARG_TEXT, &(o).name, 0, "a stored experiment by its name, without its YAML file"}, \
        {"--scale", "NAME", HY_ARG_TEXT, &(o).scale, 0, "one of the experiment's scales (small)"}, {                   \
        "--set", "PATH=VALUE", HY_ARG_LIST, &(o).sets, 0, "as given to `hylab run`; repeatable"                        \
    }

// file: the experiment's YAML or NULL. Without file and name: the only experiment of the database. HY_EINPUT tells
// which there are.
hy_status hy_stored_open(const hy_stored_options *o, const char *file, hy_store **store, hy_summary **out);
// Folder for what is made of it when none is given: figures/NAME-SCALE beside the database (hy_fig_name; "..set-HASH"
// follows where the experiment was run with --set). Caller frees.
char *hy_stored_folder(const hy_stored_options *o, hy_store *store, const hy_summary *s);
#endif
