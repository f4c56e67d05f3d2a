// tokenize_files.h - hylab tokenize of files: token shards (--out), or counts.
#ifndef HY_TOKENIZE_FILES_H
#define HY_TOKENIZE_FILES_H
#include "core/format/table.h"

typedef struct {
    const char *out, *split, *field, *begin, *end, *max_document, *shard;
    bool given, split_long;
    int threads;
    hy_table_format format;
} hy_tokenize_files;
// names: files, or patterns as a shell has them.
hy_status hy_tokenize_files_run(const hy_tokenize_files *o, const char *tokenizer, const char **names, int n);
// HY_EINPUT: an option that means nothing without files.
hy_status hy_tokenize_files_unused(const hy_tokenize_files *o);
#endif
