// m_accuracy.c - measure "accuracy": loss and accuracy on the evaluation examples of the task, in all and cell by cell.
#include <math.h>
#include <string.h>

#include "analysis/measure/measure.h"

typedef struct {
    int examples;
} accuracy_options;
static const hy_field accuracy_fields[] = {
    {"examples", HY_F_INT, offsetof(accuracy_options, examples), 0, "all", 1, 1e9, "all",
     "examples of each cell at most; all: as many as the task has", true},
    HY_FIELD_END,
};

static void score_facts(hy_facts *f, const char *cell, const hy_cell *at, const hy_score *s, const hy_task *task,
                        int64_t step, bool final) {
    const double entropy = hy_task_entropy(task), bytes = hy_task_bytes_per_token(task);
    const struct {
        const char *name;
        double value, se;
        int64_t n;
    } all[] = {
        {"accuracy", s->accuracy, s->accuracy_se, s->examples},
        {"token_accuracy", s->token_accuracy, NAN, s->labels},
        {"exact", s->exact, s->exact_se, s->examples},
        {"loss", s->loss, s->loss_se, s->labels},
        {"bits_per_token", s->loss / log(2), s->loss_se / log(2), s->labels},
        {"bits_per_byte", s->loss / log(2) / bytes, s->loss_se / log(2) / bytes, s->labels},
        {"excess_loss", s->loss - entropy, s->loss_se, s->labels},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        // a deterministic task has entropy 0: its excess is the loss
        if (!(entropy > 0) && !strcmp(all[i].name, "excess_loss")) continue;
        if (isnan(bytes) && !strcmp(all[i].name, "bits_per_byte")) continue;
        hy_fact *m = hy_facts_add(f, all[i].name, cell, all[i].value);
        m->se = all[i].se;
        m->n = all[i].n;
        m->step = step;
        m->final = final;
        if (at) {
            m->x = at->x;
            m->y = at->y;
        }
    }
}

// What a guess among the answers that are offered gets: of all cells their mean, weighted as the accuracy weights them.
static void chance_facts(hy_facts *f, const hy_task *task, const hy_eval *e, int64_t step) {
    double sum = 0;
    for (int c = 0; c < e->n_cells; c++) {
        const hy_cell *cell = hy_task_cell(task, HY_SPLIT_EVAL, c);
        if (!(cell->chance > 0)) return;
        sum += cell->chance * (double)e->cells[c].examples;
    }
    if (!(e->total.examples > 0)) return;
    for (int c = e->n_cells > 1 ? -1 : 0; c < e->n_cells; c++) {
        const hy_cell *cell = c < 0 || e->n_cells == 1 ? NULL : hy_task_cell(task, HY_SPLIT_EVAL, c);
        const double value = cell ? cell->chance : sum / (double)e->total.examples;
        hy_fact *m = hy_facts_add(f, "accuracy_chance", cell ? cell->name : "", value);
        m->n = cell ? e->cells[c].examples : e->total.examples;
        m->step = step;
        if (cell) m->x = cell->x, m->y = cell->y;
    }
}

void hy_accuracy_facts(hy_facts *f, const hy_task *task, const hy_eval *e, int64_t step, bool final) {
    score_facts(f, "", NULL, &e->total, task, step, final);
    if (final) chance_facts(f, task, e, step);
    for (int c = 0; e->n_cells > 1 && c < e->n_cells; c++) {
        const hy_cell *cell = hy_task_cell(task, HY_SPLIT_EVAL, c);
        score_facts(f, cell->name, cell, &e->cells[c], task, step, final);
    }
}

static hy_status accuracy_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const accuracy_options *o = options;
    hy_eval e;
    HY_TRY(hy_evaluate(c->prog, c->params, c->task, HY_SPLIT_EVAL, c->eval_batch, o->examples, &e));
    hy_accuracy_facts(facts, c->task, &e, c->step, true);
    hy_eval_free(&e);
    return HY_OK;
}

const hy_measure hy_measure_accuracy = {
    .name = "accuracy",
    .version = 1,
    .doc = "accuracy and loss on the evaluation examples, in all and cell by cell",
    .fields = accuracy_fields,
    .options_size = sizeof(accuracy_options),
    .needs = HY_NEEDS_TASK | HY_NEEDS_WEIGHTS,
    .run = accuracy_run,
};
