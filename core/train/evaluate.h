// evaluate.h - loss and accuracy of a model on the examples of a task.
#ifndef HY_EVALUATE_H
#define HY_EVALUATE_H
#include "core/exec/exec.h"
#include "core/task/task.h"

typedef struct {
    hy_score total;   // over all cells
    hy_score *cells;  // [hy_task_cells of the split]
    int n_cells;
} hy_eval;
void hy_eval_free(hy_eval *e);

// Accuracy and loss of parameters on the evaluation or tuning examples of a task. batch: sequences at a time;
// max_examples: of each cell, 0: all. A loss that is not finite is HY_EDIVERGED.
hy_status hy_evaluate(const hy_program *p, hy_params *w, const hy_task *task, hy_split split, int batch,
                      int max_examples, hy_eval *out);
// The same for callers that must be heard of now and then: tick is called before each batch; an error of it ends the
// evaluation.
hy_status hy_evaluate_ticking(const hy_program *p, hy_params *w, const hy_task *task, hy_split split, int batch,
                              int max_examples, hy_status (*tick)(void *user), void *user, hy_eval *out);
// Bytes that an evaluation takes on the device, without the parameters.
hy_status hy_evaluate_memory(const hy_program *p, const hy_backend *be, hy_dtype dt, const hy_task *task, int batch,
                             size_t *bytes);
#endif
