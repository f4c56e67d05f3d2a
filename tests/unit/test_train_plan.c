// test_train_plan.c - what a training will take, against what a trainer then takes from its device, and formulas
// written a second time.
#include "core/train/train_plan.h"
#include "core/dist/dist.h"
#include "tests/unit/recipe_fixture.h"

static const char model[] = "name: m\nvocab: 40\nd_model: 32\nlayers: 3\nmixer: parallel\nmeta_tokens: 3\n"
                            "attention: {heads: 4, kv_heads: 2, window: 8}\nssm: {d_state: 4}\nmlp: {d_ff: 48}\n";

// A device that counts what is taken from it.
static size_t taken;
static void *counting_alloc(size_t bytes) {
    taken += hy_align(bytes);
    return hy_alloc(bytes);
}

static double trained(const hy_program *p, const hy_backend *be, hy_dtype dt, int batch, hy_gradient_sum sum) {
    hy_task *task = task_of("mqar", "vocab: 40\ntrain: [[24, 2]]\ntest: [[24, 2]]", 1);
    hy_train_spec r;
    hy_trainer *t;
    hy_fields_default(hy_train_fields, &r);
    r.batch = batch, r.accumulate = 2, r.sum = sum;
    taken = 0;
    need(hy_trainer_create(p, be, dt, &r, task, 1, &t));
    const double bytes = (double)taken;
    hy_trainer_free(t);
    hy_task_close(task);
    return bytes;
}

static void test_memory(void **state) {
    (void)state;
    static const hy_dtype types[] = {HY_F32, HY_BF16, HY_F64};
    static const char *const isas[] = {"auto", "auto", "ref"};
    hy_program *p = program_of(model);
    for (int k = 0; k < 3; k++)
        for (int batch = 1; batch <= 5; batch += 2) {
            hy_backend be;
            hy_train_plan plan;
            need(hy_backend_cpu(isas[k], 1, &be));
            be.alloc = counting_alloc;
            const hy_plan_wish w = {
                .ranks = 1, .batch = batch, .accumulate = 2, .length = 24, .dt = types[k], .separate = true};
            taken = 0;
            need(hy_train_plan_make(p, &be, &w, &plan));
            assert_int_equal(taken, 0);
            const double got = trained(p, &be, types[k], batch, HY_SUM_RUNNING);
            // a control block, a ring of reports and scratch of single kernels besides
            assert_true(got >= plan.total && got < plan.total + 8192);
            const double one = (double)p->param_elems * (types[k] == HY_F64 ? 8 : 4);
            assert_true(plan.weights == one && plan.gradients == one && plan.moments == 2 * one);
            assert_true(plan.low == (types[k] == HY_BF16 ? one / 2 : 0));
        }
    hy_program_free(p);
}

// Sums in parts: where the device's memory is the host's they count, and a share of them is small.
static void test_sums(void **state) {
    (void)state;
    hy_program *p = program_of(model);
    const hy_backend be = reference();
    hy_train_plan apart, with;
    hy_plan_wish w = {.ranks = 1, .batch = 2, .accumulate = 8, .length = 24, .dt = HY_F32, .separate = true};
    const double one = (double)p->param_elems * 4;
    need(hy_train_plan_make(p, &be, &w, &apart));
    w.separate = false;
    need(hy_train_plan_make(p, &be, &w, &with));
    assert_true(with.total == apart.total + with.sums);
    assert_true(apart.sums == with.sums + one);  // a gradient on its way
    assert_true(with.sums >= one && with.sums < one + 4096 * 4);
    hy_program_free(p);
}

static void test_step(void **state) {
    (void)state;
    hy_program *p = program_of(model);
    const hy_backend be = reference();
    for (int ranks = 1; ranks <= 5; ranks++)
        for (int accumulate = ranks; accumulate <= 9; accumulate++) {
            hy_train_plan plan;
            const hy_plan_wish w = {.ranks = ranks,
                                    .batch = 3,
                                    .accumulate = accumulate,
                                    .length = 24,
                                    .dt = HY_F32,
                                    .flops = 5e9,
                                    .bandwidth = 1e8,
                                    .latency = 1e-4};
            need(hy_train_plan_make(p, &be, &w, &plan));
            int most = 0;  // micro-batches of rank 0
            for (int k = 0; k < accumulate; k += ranks) most++;
            double forward = 0;
            for (int t = 0; t < 27; t++) forward += hy_model_flops_token(&p->spec, t + 1);
            assert_true(plan.tokens == 27.0 * 3 * accumulate);
            assert_true(fabs(plan.work - most * 3 * 3 * forward) <= 1e-9 * plan.work);
            assert_true(fabs(plan.compute - plan.work / 5e9) <= 1e-12 * plan.compute);
            // each part goes to the others but for one's own share, and so does the share of the sum: of the whole
            // vector (ranks - 1) / ranks a part; shares are multiples of 1,024 elements
            const double vector = (double)p->param_elems * 4, share = vector / ranks;
            const double about = ranks == 1 ? 0 : most * (vector - share) + (ranks - 1) * share;
            assert_true(fabs(plan.sent - about) <= (most + ranks) * 1024.0 * 4 * ranks);
            assert_int_equal(plan.exchanges, ranks == 1 ? 0 : most + 1);  // of one block
            assert_true(fabs(plan.talk - (plan.sent / 1e8 + (double)plan.exchanges * 1e-4)) < 1e-12);
        }
    hy_train_plan plan;
    hy_plan_wish w = {.ranks = 2, .batch = 1, .accumulate = 2, .length = 24, .dt = HY_F32};
    need(hy_train_plan_make(p, &be, &w, &plan));
    assert_true(isnan(plan.compute) && isnan(plan.talk));
    need(hy_train_plan_make(p, &be, &w, &plan));
    const hy_train_plan whole = plan;
    w.sharded = true;
    need(hy_train_plan_make(p, &be, &w, &plan));
    const double unit = 1024 * 4;  // of a share
    assert_true(plan.moments >= whole.moments / 2 && plan.moments <= whole.moments / 2 + 2 * unit);
    assert_true(whole.total - plan.total == whole.moments - plan.moments);
    assert_true(fabs(plan.sent - whole.sent - whole.weights / 2) <= unit);  // the weights, once more
    assert_int_equal(plan.exchanges, whole.exchanges + 1);
    w.accumulate = 1;
    assert_int_equal(hy_train_plan_make(p, &be, &w, &plan), HY_EINPUT);
    assert_error("--accumulate must be at least --ranks");
    hy_program_free(p);
}

// One sequence more does not fit.
static void test_largest(void **state) {
    (void)state;
    hy_program *p = program_of(model);
    const hy_backend be = reference();
    hy_plan_wish w = {.ranks = 2, .batch = 1, .accumulate = 2, .length = 24, .dt = HY_F32};
    hy_train_plan plan;
    need(hy_train_plan_make(p, &be, &w, &plan));
    for (int k = 0; k < 8; k++) {
        const double memory = plan.total * (0.9 + 0.35 * k);
        const int most = hy_train_plan_batch(p, &be, &w, 64, memory);
        hy_train_plan at;
        assert_true(k ? most > 0 : most == 0);
        for (int b = most > 0 ? most : 1; b <= most + 1; b++) {
            hy_plan_wish with = w;
            with.batch = b;
            need(hy_train_plan_make(p, &be, &with, &at));
            assert_true(b == most ? at.total <= memory : at.total > memory);
        }
    }
    assert_int_equal(hy_train_plan_batch(p, &be, &w, 64, 1000), 0);  // less than the weights
    hy_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_sums),
                                       cmocka_unit_test(test_step), cmocka_unit_test(test_largest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
