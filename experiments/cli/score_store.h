// score_store.h - scores that lm-evaluation-harness worked out, as measurements of a model in the results database.
#ifndef HY_SCORE_STORE_H
#define HY_SCORE_STORE_H
#include "analysis/measure/measure.h"

// Stores what a file of results (lm_eval --output_path) says of the model at `path`: for each task one measurement
// "scores", whose options are the task, its version and its number of examples before the question; for each of its
// metrics a fact "score" with the standard error and the number of documents. HY_EINPUT with the place in the file.
hy_status hy_scores_store(const char *results, const char *path, const char *const *sets, const char *db);
#endif
