// test_epochs.c - passes over a finite training set (train.epochs) against plain_recipe.h: which examples each step
// sees, rates that hold for an epoch, how many steps that is, and what is refused.
#include "tests/unit/plain_recipe.h"

// Three steps an epoch: one rate for each, the first the peak, none the floor.
static void rate_by_epoch(void **state) {
    (void)state;
    static const struct {
        const char *recipe;
        double share[4];
    } points[] = {
        {"schedule=cosine warmup=0", {1, 0.8535533905932737, 0.5, 0.1464466094067263}},
        {"schedule=cosine warmup=0 min_lr=0.5", {1, 0.9267766952966369, 0.75, 0.5732233047033631}},
        {"schedule=linear warmup=0", {1, 0.75, 0.5, 0.25}},
        {"schedule=wsd warmup=0 decay=0.5", {1, 1, 1, 0.5}},
        {"schedule=constant warmup=0", {1, 1, 1, 1}},
        {"schedule=linear warmup=0.25", {-1, 1, 2 / 3.0, 1 / 3.0}},  // -1: warming up by step: 1/3, 2/3, 1
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        hy_train_spec r = recipe_of(points[i].recipe);
        r.lr = 0.004, r.epochs = 4, r.steps = 12, r.schedule_per = HY_PER_EPOCH;
        need(hy_train_check(&r));
        for (int s = 1; s <= 12; s++) {
            const double share = points[i].share[(s - 1) / 3], want = 0.004 * (share < 0 ? s / 3.0 : share);
            if (!(fabs(hy_train_lr(&r, s) - want) <= 1e-15 && fabs(lr_of(&r, s) - want) <= 1e-15))
                fail_msg("%s, step %d: %.17g, not %.17g", points[i].recipe, s, hy_train_lr(&r, s), want);
        }
    }
}

// Passes over a finite set of two lengths: the same examples in the same batches every time, the last of a cell
// smaller, the last step of a pass with fewer micro-batches.
static void epochs_as_defined(void **state) {
    (void)state;
    static const struct {
        const char *recipe;
        int steps, every;  // what they come to
    } cases[] = {
        {"epochs=3 batch=2 lr=0.02 schedule_per=epoch warmup=0", 15, 0},
        {"epochs=2 batch=2 accumulate=2 lr=0.02 schedule_per=epoch warmup=0 weight_decay_on=all eval_epochs=1", 6, 3},
        {"epochs=4 batch=3 accumulate=3 lr=0.02 schedule=linear warmup=0.3", 8, 0},
        {"epochs=2 batch=4 accumulate=9 lr=0.02 schedule=wsd schedule_per=epoch warmup=0.2 eval_epochs=2", 2, 2},
    };
    hy_task *task = task_of(
        "mqar", "vocab: 20\ntrain: [[8, 1], [16, 3]]\ntrain_examples: [5, 4]\ntest: [[8, 1]]\ntest_examples: 1", 5);
    int mixed = 0;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        hy_train_spec r = recipe_of(cases[c].recipe);
        need(hy_train_fit(&r, task));
        const hy_train_spec once = r;
        need(hy_train_fit(&r, task));
        assert_memory_equal(&once, &r, sizeof r);
        if (r.steps != cases[c].steps || r.eval_every != cases[c].every ||
            hy_train_epoch_steps(&r) * r.epochs != r.steps)
            fail_msg("%s: %d steps, evaluated every %d", cases[c].recipe, r.steps, r.eval_every);
        steps_of(models[c], &r, task, 9, cases[c].recipe, &mixed);
    }
    assert_true(mixed > 4);
    hy_task_close(task);
}

static void epochs_refused(void **state) {
    (void)state;
    static const char finite[] = "vocab: 20\ntrain: [[8, 1], [16, 3]]\ntrain_examples: [5, 4]\ntest: [[8, 1]]\n";
    static const struct {
        const char *recipe, *more, *says[3];  // says: of the error; none: accepted
    } cases[] = {
        {"epochs=3 batch=2", "", {NULL}},
        {"epochs=3 batch=2 steps=15", "", {NULL}},
        {"epochs=3 batch=2 steps=16",
         "",
         {"epochs of 5 batches come to 15 steps", "steps is 16", "leave one of them out"}},
        {"epochs=3 batch=2 eval_epochs=1 eval_every=5", "", {NULL}},
        {"epochs=3 batch=2 eval_epochs=1 eval_every=4",
         "",
         {"eval_epochs of 5 batches come to 5 steps", "eval_every is 4"}},
        {"epochs=1000000000 batch=2", "", {"too many"}},
        {"epochs=3 batch=2", "weights: [5, 4]", {NULL}},
        {"epochs=3 batch=2", "weights: [1, 1]", {"T8.K1", "weights have no say"}},
        {"epochs=3 batch=2", "train_examples: [5, 0]", {"T16.K3", "set train_examples"}},
        {"schedule_per=epoch", "", {"schedule_per epoch needs epochs"}},
        {"eval_epochs=2", "", {"eval_epochs 2 needs epochs"}},
        // a warm-up is judged by the steps that the epochs come to
        {"epochs=3 batch=2 warmup=0.95", "", {"warmup 0.95", "steps 15"}},
        {"epochs=60 batch=2 warmup=0.99", "", {NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *options = hy_asprintf(
            "%s%s",
            strstr(cases[i].more, "train_examples") ? "vocab: 20\ntrain: [[8, 1], [16, 3]]\ntest: [[8, 1]]\n" : finite,
            cases[i].more);
        hy_task *task = task_of("mqar", options, 5);
        hy_train_spec r = recipe_of(cases[i].recipe);
        const hy_status s = hy_train_fit(&r, task);
        if ((s == HY_EINPUT) != (cases[i].says[0] != NULL))
            fail_msg("%s, %s: status %d", cases[i].recipe, cases[i].more, (int)s);
        for (int k = 0; k < 3 && cases[i].says[k]; k++) assert_error(cases[i].says[k]);
        hy_task_close(task);
        free(options);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_by_epoch),
        cmocka_unit_test(epochs_as_defined),
        cmocka_unit_test(epochs_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
