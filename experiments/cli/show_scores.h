// show_scores.h - `hylab show scores`: benchmark scores of the models of a database, side by side.
#ifndef HY_SHOW_SCORES_H
#define HY_SHOW_SCORES_H
#include "core/format/table.h"
#include "results/query.h"

// For people a line for each benchmark and metric, a column for each model; CSV and JSON have a line for each score.
// variant: only its models, "": all; limit: at most so many scores. HY_EINPUT: none is stored.
hy_status hy_show_scores(hy_store *s, const char *variant, int limit, hy_table_format format);
#endif
