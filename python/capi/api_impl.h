// api_impl.h - what the files of the shared library's API share.
#ifndef HYLAB_API_IMPL_H
#define HYLAB_API_IMPL_H
#include "analysis/measure/measure.h"
#include "core/family/model_file.h"
#include "core/format/json.h"
#include "core/task/task.h"
#include "python/capi/hylab_api.h"

struct hylab_model {
    hy_backend be;
    hy_precision precision;
    hy_model model;
    char *path;
};
struct hylab_task {
    hy_task *task;
};

// Between begin and end SIGINT sets hy_interrupted and is passed on to the handler that the process has.
void hy_api_begin(void);
hylab_status hy_api_end(hy_status s);  // the status of the call as the API names it

// HY_EINPUT: sizes below 1 or too large together, an id that the model has no token for.
hy_status hy_api_check_ids(const hylab_model *m, int B, int T, const int32_t *ids);
// Options of a measure, read by its own table.
hy_status hy_api_read_options(const char *measure, const char *yaml, hy_measure_options *out);
char *hy_api_json_text(hy_json *j);  // frees the document
#endif
