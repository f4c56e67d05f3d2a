// args.h - options of a subcommand: one table for parsing and for --help.
#ifndef HY_ARGS_H
#define HY_ARGS_H
#include "core/base/base.h"
#include "core/format/table.h"

typedef enum {
    HY_ARG_FLAG,    // bool
    HY_ARG_INT,     // int, at least `min`
    HY_ARG_TEXT,    // const char *
    HY_ARG_PATH,    // const char *: "~/" is the home folder, which shells leave alone in --name=~/...
    HY_ARG_LIST,    // hy_arg_list: may be given many times
    HY_ARG_FORMAT,  // hy_table_format
} hy_arg_kind;
typedef struct {
    int n;
    const char **v;  // NULL-terminated; free(v)
} hy_arg_list;
typedef struct {
    const char *name;   // "--db"
    const char *value;  // "FILE" in the help text; NULL for a flag
    hy_arg_kind kind;
    void *dst;
    int min;
    const char *doc;
} hy_arg;
typedef struct {
    const char *usage;       // "hylab run EXPERIMENT.yaml [options]"
    const char *text;        // what it does, and examples
    const hy_arg *args;      // name NULL at the end
    int min_rest, max_rest;  // how many arguments that are not options; max -1: any number
} hy_args;

// Reads argv[1..]. "--name value" and "--name=value"; "--" ends the options. rest: the other arguments, in order
// (pointers into argv, NULL-terminated, free(rest->v)). *help: --help was asked for and printed: return 0.
// HY_EINPUT: unknown option, missing or wrong value, wrong number of arguments.
hy_status hy_args_read(const hy_args *a, int argc, char **argv, hy_arg_list *rest, bool *help);
// The value of an option like "80G", "1.5T", "900M", "20u": a number and a power of 1000. NULL: 0.
hy_status hy_arg_size(const char *option, const char *text, double *out);
// Prints "hylab COMMAND: text of the newest error" to stderr unless st is HY_OK or HY_EPIPE; returns the exit status of
// st.
int hy_command_end(const char *command, hy_status st);
// The database when --db is not given: $HYLAB_DB, else runs/hylab.db.
const char *hy_default_db(void);
#endif
