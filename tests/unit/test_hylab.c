// test_hylab.c - the library through its umbrella header alone, as another program would use it: a variant becomes a
// model, the model is trained, asked, stored, read back and asked again with the same answer.
#include "core/hylab.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(x) assert_int_equal((x), HY_OK)

static const char *const g_sets[] = {"vocab=40", "d_model=32", "layers=2", "kv_share=none", "max_len=32", NULL};
static const char g_options[] = "vocab: 40\ntrain: [[16, 2]]\ntest: [[16, 2]]\ntest_examples: 20\n";

// The figure of a measure; NaN if it gave none of that name.
static double figure(const hy_facts *f, const char *name) {
    for (int i = 0; i < f->n_facts; i++)
        if (!strcmp(f->fact[i].name, name) && !*f->fact[i].cell) return f->fact[i].value;
    return NAN;
}

static void ask(const char *measure, const hy_program *p, hy_params *w, const hy_backend *be, const hy_task *task,
                hy_facts *facts) {
    const hy_measure *m = hy_measure_find(measure);
    assert_non_null(m);
    hy_measure_options options;
    OK(hy_measure_options_read(m, "", &options));
    const hy_measure_subject subject = {.spec = &p->spec, .task = task, .device = "cpu"};
    OK(hy_measure_check(m, &subject, &options));
    const hy_measure_context c = {
        .prog = p, .params = w, .compute = HY_F32, .be = be, .task = task, .eval_batch = 8, .jobs = 1};
    OK(hy_measure_run(m, &c, &options, facts));
}

static void test_a_whole_program(void **state) {
    (void)state;
    char file[64], db[64];
    snprintf(file, sizeof file, "/tmp/hylab_test.%ld.safetensors", (long)getpid());
    snprintf(db, sizeof db, "/tmp/hylab_test.%ld.db", (long)getpid());

    // a model
    hy_model_spec *spec = calloc(1, sizeof *spec);
    hy_program *p;
    hy_backend be;
    hy_task *task;
    OK(hy_spec_load("variants/hymba.yaml", g_sets, spec));
    OK(hy_model_build(spec, &p));
    OK(hy_backend_cpu("auto", 1, &be));
    OK(hy_task_open("mqar", g_options, 1, &task));

    // trained
    hy_train_spec recipe;
    hy_fields_default(hy_train_fields, &recipe);
    recipe.steps = 3, recipe.batch = 4, recipe.eval_batch = 8;
    hy_trainer *t;
    hy_eval e;
    OK(hy_trainer_create(p, &be, HY_F32, &recipe, task, 1, &t));
    OK(hy_trainer_run(t, NULL, NULL, &e));
    OK(hy_checkpoint_save(hy_trainer_params(t), file));

    // asked: the measure says what the training's last evaluation said
    hy_facts facts = {0};
    ask("accuracy", p, hy_trainer_params(t), &be, task, &facts);
    assert_true(figure(&facts, "loss") == e.total.loss && figure(&facts, "accuracy") == e.total.accuracy);
    hy_eval_free(&e);
    hy_trainer_free(t);

    // stored
    hy_store *store;
    hy_claim claim;
    int64_t model, measurement;
    hy_model_record r = {.seed = 1,
                         .device = "cpu",
                         .variant = "hymba",
                         .experiment = "test",
                         .grid = "",
                         .task = "mqar",
                         .task_kind = "mqar",
                         .by = {.commit = "none", .build = "test", .device_name = be.device, .threads = 1}};
    hy_buf recipe_text = {0}, task_text = {0};
    hy_fields_text(hy_train_fields, &recipe, 0, &recipe_text);
    hy_task_text(task, &task_text);
    char *spec_text = hy_model_spec_text(spec), hash[33];
    hy_model_spec_hash(spec, hash);
    r.spec = spec_text, r.spec_hash = hash, r.train = recipe_text.s, r.task_options = task_text.s;
    hy_model_identity(spec_text, "mqar", task_text.s, recipe_text.s, "", r.model_key);
    OK(hy_store_open(db, HY_STORE_WRITE, &store));
    OK(hy_model_claim(store, &r, 0, &claim, &model));
    assert_int_equal(claim, HY_CLAIM_NEW);
    OK(hy_model_settle(store, model, NULL, NULL, NULL, NULL));
    const hy_measurement_record q = {.model_id = model,
                                     .measure = "accuracy",
                                     .version = 1,
                                     .options = "examples: 0\n",
                                     .task = task_text.s,
                                     .by = r.by};
    OK(hy_measurement_claim(store, &q, 0, &claim, &measurement));
    OK(hy_measurement_settle(store, measurement, &facts, NULL));
    OK(hy_measurement_claim(store, &q, 0, &claim, &measurement));
    assert_int_equal(claim, HY_CLAIM_DONE);
    hy_store_close(store);

    // read back: the same answer from the weights of the file
    hy_model m;
    hy_facts again = {0};
    OK(hy_model_open(file, NULL, &be, HY_WEIGHTS_F32, HY_PRECISION_F32, 1, &m));
    ask("accuracy", m.p, m.w, &be, task, &again);
    assert_true(figure(&again, "loss") == figure(&facts, "loss"));

    // and it speaks
    const int32_t prompt[] = {1, 2, 3}, *const prompts[] = {prompt};
    int32_t out[4];
    int len = 3, n;
    const uint64_t seed = 1;
    OK(hy_generate(m.p, m.w, 1, prompts, &len, &seed, &(hy_sample_spec){.max_new = 4, .top_p = 1}, NULL, NULL, out,
                   &n));
    assert_int_equal(n, 4);

    hy_model_close(&m);
    hy_facts_free(&facts), hy_facts_free(&again);
    hy_task_close(task);
    hy_program_free(p);
    free(spec), free(spec_text), free(recipe_text.s), free(task_text.s);
    unlink(file), unlink(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_whole_program)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
