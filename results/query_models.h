// query_models.h - what the runner and `hylab models` ask of stored models.
#ifndef HY_QUERY_MODELS_H
#define HY_QUERY_MODELS_H
#include "results/store.h"

// Training steps behind the weights of a model.
hy_status hy_ask_model_steps(hy_store *s, int64_t model_id, int64_t *steps);

// How fast finished models were trained on a kind of device, a row for each model, task and precision (mean over
// seeds). A question with rows: ask, next until *row is false, hy_query_close. Texts of a row live until the next step.
typedef struct {
    const char *model_key, *variant, *task, *precision;
    double tokens_per_s, parameters;  // parameters NaN: not measured
} hy_rate_row;
hy_status hy_ask_rates(hy_store *s, const char *device, hy_query **q);
hy_status hy_next_rate(hy_query *q, bool *row, hy_rate_row *r);

// Models whose weights are stored, the oldest first.
typedef struct {
    int64_t model_id, seed, steps;
    const char *variant, *task, *grid, *device, *experiment, *weights, *hash, *ended;
    int measurements;
} hy_weights_row;
hy_status hy_ask_weights(hy_store *s, hy_query **q);
hy_status hy_next_weights(hy_query *q, bool *row, hy_weights_row *r);

// Files that belong to models: those that are stored, and (weights "") those that are being made.
typedef struct {
    const char *model_key, *device, *weights;
    int64_t seed;
} hy_model_file;
hy_status hy_ask_model_files(hy_store *s, hy_query **q);
hy_status hy_next_model_file(hy_query *q, bool *row, hy_model_file *f);

// The model whose stored weights have that hash, and its seed; both are left as they are where there is none.
hy_status hy_ask_model_of_weights(hy_store *s, const char *hash, int64_t *model_id, int64_t *seed);
// The kind of device that an experiment was last planned for; out stays where it was not.
hy_status hy_ask_planned_device(hy_store *s, const char *experiment, char *out, size_t n);
// Seconds that each finished model took which was never interrupted, with its measurements.
hy_status hy_ask_spent(hy_store *s, hy_query **q);
hy_status hy_next_spent(hy_query *q, bool *row, double *seconds);
#endif
