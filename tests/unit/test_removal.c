// test_removal.c - parts taken out one after another: the order, what is left, and how much suffices.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/train/evaluate.h"
#include "tests/unit/ablation_rig.h"

// Losses of the examples without the units marked; reference: of the reference examples. Returns how many.
static int losses_without(const model *m, const hy_units *u, const bool *chosen, bool reference, double *out) {
    hy_ablation a = ablation_of(m, HY_ABLATE_ZERO, 4);
    hy_ablation_scores s;
    a.on_reference = reference;
    if (hy_ablate(&a, u, 1, chosen, &s)) fail_msg("%s", hy_error_text());
    const int n = s.n;
    memcpy(out, s.loss + n, (size_t)n * sizeof *out);
    hy_ablation_scores_free(&s);
    return n;
}

// Scores of reference examples are those of the tuning examples: what an evaluation of these says.
static void reference_examples(void **state) {
    (void)state;
    model m;
    hy_units u;
    hy_eval e;
    double x[64], mean_of = 0;
    bool none[8] = {0};
    model_open(&m, llama);
    assert_int_equal(hy_units_of(m.p, 1u << HY_UNIT_MLP, 4, &u), HY_OK);
    const int n = losses_without(&m, &u, none, true, x);
    assert_int_equal(n, 2 * 4);
    for (int i = 0; i < n; i++) mean_of += x[i] / n;
    assert_int_equal(hy_evaluate(m.p, m.w, task, HY_SPLIT_TUNE, 3, 4, &e), HY_OK);
    double by_cell = 0;  // as many labels in each example of a cell
    for (int c = 0; c < e.n_cells; c++) by_cell += e.cells[c].s_nll / (double)e.cells[c].labels / e.n_cells;
    near(mean_of, by_cell);
    hy_eval_free(&e);
    hy_units_free(&u);
    model_close(&m);
}

static void removed_in_order(void **state) {
    (void)state;
    enum { HEADS_OF_ALL = 9, POINTS = 3 };
    model m;
    hy_units u;
    hy_facts f = {0};
    int order[HEADS_OF_ALL];
    double rise[HEADS_OF_ALL] = {0}, x[64];
    bool chosen[HEADS_OF_ALL] = {0};
    model_open(&m, llama);
    assert_int_equal(hy_units_of(m.p, 1u << HY_UNIT_HEAD, 4, &u), HY_OK);
    assert_int_equal(u.n, HEADS_OF_ALL);
    for (int i = 0; i < u.n; i++) {  // the loss without a head; that of the whole model is the same for all
        memset(chosen, 0, sizeof chosen);
        chosen[i] = true;
        const int n = losses_without(&m, &u, chosen, true, x);
        for (int k = 0; k < n; k++) rise[i] += x[k];
        order[i] = i;
    }
    for (int i = 0; i < u.n; i++)
        for (int k = 0; k + 1 < u.n - i; k++)
            if (rise[order[k]] > rise[order[k + 1]]) {
                const int t = order[k];
                order[k] = order[k + 1], order[k + 1] = t;
            }
    take_measure("removal", &m, "examples: 5\nreference: 4\npoints: 3\norders: 2\n", &f);
    for (int most = 0; most < 2; most++)
        for (int j = 0; j <= POINTS; j++) {
            char cell[32];
            snprintf(cell, sizeof cell, "%s.%d", most ? "most" : "least", 3 * j);
            memset(chosen, 0, sizeof chosen);
            for (int i = 0; i < 3 * j; i++) chosen[order[most ? u.n - 1 - i : i]] = true;
            const int n = losses_without(&m, &u, chosen, false, x);
            const hy_fact *a = fact(&f, "loss_left", cell);
            check_moments(a, x, n);
            near(a->x, 3 * j);
            near(a->y, 3 * j / 9.0);
            assert_string_equal(a->kind, most ? "most" : "least");
        }
    near(fact(&f, "loss_left", "random.9")->value, fact(&f, "loss_left", "least.9")->value);
    near(fact(&f, "loss_left", "random.0")->value, fact(&f, "loss_left", "least.0")->value);
    near(fact(&f, "loss_left", "random.9")->se, 0);
    assert_int_equal(fact(&f, "loss_left", "random.3")->n, 2);
    assert_true(fact(&f, "loss_left", "random.3")->se > 0);
    hy_facts_free(&f);
    hy_units_free(&u);
    model_close(&m);
}

// With two parts a random order begins with one or the other: the mean over 40 orders is a mixture of the two.
static void random_orders(void **state) {
    (void)state;
    model m;
    hy_facts f = {0};
    double a[2][2 * N], without[2] = {0};
    model_open(&m, mean);
    take_measure("removal", &m, "parts: mlps\nexamples: 5\norders: 40\n", &f);
    losses(&m, "layer0.mlp", HY_ABLATE_ZERO, 4, a[0]);
    losses(&m, "layer1.mlp", HY_ABLATE_ZERO, 4, a[1]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < N; i++) without[k] += a[k][N + i] / N;
    const hy_fact *r = fact(&f, "loss_left", "random.1");
    const double share = (r->value - without[0]) / (without[1] - without[0]), of = 40 * share;
    if (fabs(of - round(of)) > 1e-6 || share < 0.25 || share > 0.75) fail_msg("%g of 40 orders begin with layer 1", of);
    near(r->se, fabs(without[1] - without[0]) * sqrt(share * (1 - share) / 39));
    assert_null(find(&f, "loss_left", "random.3"));
    hy_facts_free(&f);
    model_close(&m);
}

// The smallest share of parts from which on the accuracy is never below 95 % of the whole model's: from the accuracies
// of the same facts, over many random models, of which some lose what others do not.
static void parts_that_suffice(void **state) {
    (void)state;
    static const char *const orders[] = {"least", "most", "random"};
    int how[3] = {0};  // none, some, all of the parts
    for (uint64_t seed = 0; seed < 30; seed++) {
        model m;
        hy_facts f = {0};
        model_open(&m, llama);
        assert_int_equal(hy_params_init(m.w, seed), HY_OK);
        take_measure("removal", &m, "parts: layers\nexamples: 5\nreference: 2\norders: 3\n", &f);
        for (int o = 0; o < 3; o++) {
            double kept[4], want = 1;
            for (int k = 0; k < 4; k++) {
                char cell[32];
                snprintf(cell, sizeof cell, "%s.%d", orders[o], k);
                kept[k] = fact(&f, "accuracy_left", cell)->value;
            }
            for (int k = 1; k < 4 && kept[k] >= 0.95 * kept[0]; k++) want = 1 - k / 3.0;
            const hy_fact *got = find(&f, "parts_sufficient", orders[o]);
            assert_int_equal(got != NULL, kept[0] > 0);
            if (!got) continue;
            near(got->value, want);
            how[want == 1 ? 2 : want > 0]++;
        }
        hy_facts_free(&f);
        model_close(&m);
    }
    if (!how[1] || !how[2]) fail_msg("only %d between and %d of all", how[1], how[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_examples),
        cmocka_unit_test(removed_in_order),
        cmocka_unit_test(random_orders),
        cmocka_unit_test(parts_that_suffice),
    };
    if (!rig_opens()) return 2;
    const int failed = cmocka_run_group_tests_name("removal", tests, NULL, NULL);
    hy_task_close(task);
    return failed;
}
