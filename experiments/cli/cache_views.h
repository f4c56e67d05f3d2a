// cache_views.h - the longer views of `hylab cache`: all accountings beside the printed figures, and one model in
// words.
#ifndef HY_CACHE_VIEWS_H
#define HY_CACHE_VIEWS_H
#include "core/format/table.h"
#include "experiments/cli/args.h"

typedef struct {
    const hy_arg_list *files;
    const char *const *sets;  // NULL-terminated or NULL: `--set` of every file
    int tokens;               // of text
    int bytes, conv_bytes,
        ssm_bytes;  // of a key or value, and of a value of convolution and SSM, in the true accounting
    hy_table_format format;
} hy_cache_request;

// "2 bytes a value", or the sizes where they differ.
void hy_cache_sizes_text(int bytes, int conv_bytes, int ssm_bytes, char out[96]);
// A row for each printed figure, in the order of the places where they are printed, then the files without one.
hy_status hy_cache_print_both(const hy_cache_request *r);
// For each file: its kinds of layers in words, every term, and the way from the paper's figure to what is held. csv:
// the terms.
hy_status hy_cache_print_explained(const hy_cache_request *r);
#endif
