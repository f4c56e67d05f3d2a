// probe_save.h - `hylab probe --save`: named values and maps of one example into files; --values lists them.
#ifndef HY_PROBE_SAVE_H
#define HY_PROBE_SAVE_H
#include "analysis/probe/save.h"
#include "core/format/table.h"
#include "experiments/cli/measure_arg.h"

typedef struct {
    hy_arg_list patterns;
    const char *to;
    int cell, example, tokens;  // tokens: only so many of the example; 0: all
    hy_map_options maps;
} hy_probe_saved;
#define HY_ARGS_SAVE(s)                                                                                               \
    {"--save",    "PATTERN",                                                                                          \
     HY_ARG_LIST, &(s).patterns,                                                                                      \
     0,           "write values of these names to files, e.g. 'layers.*.attn.q', maps too; may be given many times"}, \
        {"--save-to", "PATH", HY_ARG_PATH,                                                                            \
         &(s).to,     0,      "where to: x.safetensors, a folder (an .npy each), x.npy, or x.csv for small ones"},    \
    {                                                                                                                 \
        "--example", "N", HY_ARG_INT, &(s).example, 0, "which evaluation example is saved (default 0, the first)"     \
    }

// The names, shapes and meaning of all values of a model.
hy_status hy_probe_values(const char *file, const char *const *sets, hy_table_format format);
// What its options ask for together; prompts: of the command's --prompts, 0 if that is not given.
hy_status hy_probe_save_asked(const hy_probe_saved *s, int prompts);
// Everything that can be refused before weights are read; s is prepared. names: what is chosen, the caller frees.
hy_status hy_probe_save_check(const hy_probe_saved *o, const hy_subject *s, hy_names *names);
// What looking at T tokens of the prepared model takes, told on stderr where it is much, refused where it is more than
// there is. names: what is saved.
hy_status hy_probe_memory(const hy_subject *s, int T, const hy_names *names, hy_weights how);
hy_status hy_probe_save(const hy_probe_saved *o, const hy_subject *s, const hy_names *names);
#endif
