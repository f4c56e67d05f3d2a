// eval_table.c - see eval_table.h.
#include "experiments/cli/eval_table.h"

#include <math.h>
#include <string.h>

#include "analysis/measure/measure.h"

static const hy_fact *find(const hy_facts *f, const char *metric, const char *cell) {
    for (int i = 0; i < f->n_facts; i++)
        if (!strcmp(f->fact[i].name, metric) && !strcmp(f->fact[i].cell, cell)) return &f->fact[i];
    return NULL;
}

static void add_row(hy_table *t, const char *name, const hy_facts *f, const char *cell) {
    const hy_fact *loss = find(f, "loss", cell), *accuracy = find(f, "accuracy", cell), *exact = find(f, "exact", cell);
    const hy_fact *excess = find(f, "excess_loss", cell), *bits = find(f, "bits_per_byte", cell);
    hy_table_row(t);
    hy_table_text(t, "%s", name);
    hy_table_int(t, accuracy->n);
    hy_table_int(t, loss->n);
    hy_table_num(t, loss->value, 4);
    hy_table_num(t, loss->se, 4);
    hy_table_num(t, 100 * accuracy->value, 2);
    hy_table_num(t, 100 * accuracy->se, 2);
    hy_table_num(t, 100 * exact->value, 2);
    if (excess) hy_table_num(t, excess->value, 4);
    if (bits) hy_table_num(t, bits->value, 4);
}

static void add_columns(hy_table *t, const hy_facts *f) {
    hy_table_column(t, "cell", NULL, NULL, HY_LEFT);
    hy_table_column(t, "examples", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "labels", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "loss", NULL, "nats", HY_RIGHT);
    hy_table_column(t, "loss_se", "s.e.", "nats", HY_RIGHT);
    hy_table_column(t, "accuracy", NULL, "%", HY_RIGHT);
    hy_table_column(t, "accuracy_se", "s.e.", "%", HY_RIGHT);
    hy_table_column(t, "exact", NULL, "%", HY_RIGHT);
    if (find(f, "excess_loss", "")) hy_table_column(t, "excess", NULL, "nats", HY_RIGHT);
    if (find(f, "bits_per_byte", "")) hy_table_column(t, "bits_per_byte", "bits/byte", NULL, HY_RIGHT);
}

hy_status hy_accuracy_print(const char *title, const hy_task *task, const hy_facts *facts, hy_table_format format,
                            FILE *f) {
    const double entropy = hy_task_entropy(task), bytes = hy_task_bytes_per_token(task);
    const int cells = hy_task_cells(task, HY_SPLIT_EVAL);
    hy_table *t = hy_table_new(title);
    add_columns(t, facts);
    for (int c = 0; c < cells; c++) {
        const char *cell = hy_task_cell(task, HY_SPLIT_EVAL, c)->name;
        add_row(t, cell, facts, cells > 1 ? cell : "");  // a single cell is all there is
    }
    if (cells > 1) {
        hy_table_rule(t);
        add_row(t, "all", facts, "");
    }
    hy_table_note(
        t, "accuracy: mean over the labelled positions of an example, then over examples; exact: every label right");
    hy_table_note(t, "s.e.: standard error of the mean over the examples");
    if (bytes != 1 && !isnan(bytes))
        hy_table_note(t, "loss: per token; a token of the evaluation text has %.4f bytes on average", bytes);
    if (entropy > 0) hy_table_note(t, "excess: loss above the entropy of the source, %.4f nats a label", entropy);
    hy_status s = hy_table_print(t, format, f);
    hy_table_free(t);
    return s;
}

hy_status hy_eval_print(const char *title, const hy_task *task, const hy_eval *e, hy_table_format format, FILE *f) {
    hy_facts facts = {0};
    hy_accuracy_facts(&facts, task, e, 0, true);
    const hy_status s = hy_accuracy_print(title, task, &facts, format, f);
    hy_facts_free(&facts);
    return s;
}
