// eval_table.h - an evaluation as a table, for people.
#ifndef HY_EVAL_TABLE_H
#define HY_EVAL_TABLE_H
#include "core/format/table.h"
#include "core/train/evaluate.h"
#include "results/facts.h"

// A table of the facts of measure accuracy: a row a cell and one for all; loss, accuracy, standard errors, and for
// sources of known entropy the excess over it, for text the bits per byte. Prints it.
hy_status hy_accuracy_print(const char *title, const hy_task *task, const hy_facts *facts, hy_table_format format,
                            FILE *f);
// The same of an evaluation that is no facts yet.
hy_status hy_eval_print(const char *title, const hy_task *task, const hy_eval *e, hy_table_format format, FILE *f);
#endif
