// eval_table.c - see eval_table.h.
#include "experiments/cli/eval_table.h"

#include <math.h>

static void eval_row(hy_table *t, const char *name, const hy_score *s, double entropy, double bytes_per_token) {
    hy_table_row(t);
    hy_table_text(t, "%s", name);
    hy_table_int(t, s->examples);
    hy_table_int(t, s->labels);
    hy_table_num(t, s->loss, 4);
    hy_table_num(t, s->loss_se, 4);
    hy_table_num(t, 100 * s->accuracy, 2);
    hy_table_num(t, 100 * s->accuracy_se, 2);
    hy_table_num(t, 100 * s->exact, 2);
    if (entropy > 0) hy_table_num(t, s->loss - entropy, 4);
    if (!isnan(bytes_per_token)) hy_table_num(t, s->loss / log(2.0) / bytes_per_token, 4);
}

hy_status hy_eval_print(const char *title, const hy_task *task, const hy_eval *e, hy_table_format format, FILE *f) {
    const double entropy = hy_task_entropy(task);
    const double bytes = hy_task_bytes_per_token(task);
    hy_table *t = hy_table_new(title);
    hy_table_column(t, "cell", NULL, NULL, HY_LEFT);
    hy_table_column(t, "examples", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "labels", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "loss", NULL, "nats", HY_RIGHT);
    hy_table_column(t, "loss_se", "s.e.", "nats", HY_RIGHT);
    hy_table_column(t, "accuracy", NULL, "%", HY_RIGHT);
    hy_table_column(t, "accuracy_se", "s.e.", "%", HY_RIGHT);
    hy_table_column(t, "exact", NULL, "%", HY_RIGHT);
    if (entropy > 0) hy_table_column(t, "excess", NULL, "nats", HY_RIGHT);
    if (!isnan(bytes)) hy_table_column(t, "bits_per_byte", "bits/byte", NULL, HY_RIGHT);
    for (int c = 0; c < e->n_cells; c++) eval_row(t, hy_task_cell(task, HY_SPLIT_EVAL, c)->name, &e->cells[c], entropy, bytes);
    if (e->n_cells > 1) hy_table_rule(t);
    if (e->n_cells != 1) eval_row(t, "all", &e->total, entropy, bytes);
    hy_table_note(t, "accuracy: mean over the labelled positions of an example, then over examples; exact: every label right");
    if (bytes != 1 && !isnan(bytes)) hy_table_note(t, "loss: per token; a token of the evaluation text has %.4f bytes on average", bytes);
    if (entropy > 0) hy_table_note(t, "excess: loss above the entropy of the source, %.4f nats a label", entropy);
    hy_status s = hy_table_print(t, format, f);
    hy_table_free(t);
    return s;
}
