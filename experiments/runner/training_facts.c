// training_facts.c - see training_facts.h.
#include "experiments/runner/training_facts.h"

#include <stdlib.h>

#include "analysis/measure/measure.h"

bool hy_training_step(hy_training_facts *t, const hy_train_point *p) {
    const double now = hy_now();
    t->seconds += now - t->last_time;
    t->last_time = now;
    if (p->step != 1 && p->step != hy_train_end(t->recipe) && p->step % t->recipe->log_every) return false;
    const hy_curve_point c = {p->step, p->loss, p->lr, p->grad_norm, p->tokens_per_s};
    hy_facts_curve(&t->facts, &c);
    return true;
}

bool hy_training_eval(hy_training_facts *t, long step, const hy_eval *e) {
    const hy_facts *f = &t->facts;
    t->last_time = hy_now();
    if (f->n_facts && f->fact[f->n_facts - 1].step == step) return false;
    hy_accuracy_facts(&t->facts, t->task, e, step, false);
    return true;
}

void hy_training_end(hy_training_facts *t, const hy_trainer *trainer) {
    hy_facts *f = &t->facts;
    const long steps = hy_trainer_step_count(trainer);
    f->steps = steps;
    if (!t->continued) hy_facts_add(f, "train_seconds", "", t->seconds)->step = steps;
    if (t->recipe->stop_accuracy > 0) {  // training ends at the first evaluation that reaches it
        const bool reached = hy_trainer_stopped(trainer);
        hy_facts_add(f, "reached", "", reached)->step = steps;
        if (reached) hy_facts_add(f, "steps_to_reach", "", (double)steps)->step = steps;
    }
    const int n = f->n_curve;
    if (n == 0) return;
    double *rate = hy_xcalloc((size_t)n, sizeof *rate);
    for (int i = 0; i < n; i++) rate[i] = f->curve[i].tokens_per_s;
    hy_fact *m = hy_facts_add(f, "train_rate", "", hy_median(rate, n));
    m->n = n;
    m->step = steps;
    free(rate);
}
