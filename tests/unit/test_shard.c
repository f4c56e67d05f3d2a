// test_shard.c - the partition of a sweep: complete, balanced, the same whatever the order, equal models together.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/runner/shard.h"

enum { N = 200 };

static hy_shard_item item(unsigned key, double cost) {
    hy_shard_item it = {.cost = cost};
    snprintf(it.key, sizeof it.key, "model %u", key);
    return it;
}

static void test_split(void **state) {
    (void)state;
    hy_rng r = hy_rng_make(7, 1);
    for (int n_shards = 1; n_shards <= 9; n_shards++) {
        hy_shard_item a[N], b[N];
        int of_a[N], of_b[N], order[N];
        double load[9], sum[9] = {0}, all = 0, most = 0, largest = 0;
        for (int i = 0; i < N; i++) {
            const unsigned key = (unsigned)hy_rng_below(&r, N * 3 / 4);  // some twice; costs, too
            a[i] = item(key, 1 + key % 7 * (key % 11));
            order[i] = i;
        }
        for (int i = N - 1; i > 0; i--) {
            const int k = (int)hy_rng_below(&r, (uint64_t)i + 1), t = order[i];
            order[i] = order[k], order[k] = t;
        }
        for (int i = 0; i < N; i++) b[i] = a[order[i]];
        hy_shard_split(a, N, n_shards, of_a, load);
        hy_shard_split(b, N, n_shards, of_b, NULL);
        for (int i = 0; i < N; i++) {
            bool first = true;
            assert_in_range(of_a[i], 0, n_shards - 1);
            assert_int_equal(of_b[i], of_a[order[i]]);
            for (int k = 0; k < i; k++)
                if (!strcmp(a[k].key, a[i].key)) first = false, assert_int_equal(of_a[k], of_a[i]);
            if (!first) continue;
            sum[of_a[i]] += a[i].cost, all += a[i].cost;
            largest = a[i].cost > largest ? a[i].cost : largest;
        }
        for (int k = 0; k < n_shards; k++) {
            assert_true(load[k] == sum[k]);  // whole numbers
            most = sum[k] > most ? sum[k] : most;
        }
        assert_true(most <= all / n_shards + largest);  // Graham's bound
        // longest first: the costs are up to 61, the rest of one falls short of the others by less than a small one
        for (int k = 0; k < n_shards; k++) assert_true(most - sum[k] <= 3);
    }
}

static void test_more_shards_than_models(void **state) {
    (void)state;
    const hy_shard_item a[3] = {item(3, 1), item(2, 5), item(1, 5)};
    int of[3];
    double load[8];
    hy_shard_split(a, 3, 8, of, load);
    assert_int_equal(of[2], 0);  // of equal costs the smaller key
    assert_int_equal(of[1], 1);
    assert_int_equal(of[0], 2);
    assert_true(load[3] == 0 && load[7] == 0);
}

static void test_names(void **state) {
    (void)state;
    static const char *const bad[] = {"",     "0/4",  "5/4",  "1",        "/4",  "1/",
                                      "1/4x", "-1/4", "1/-4", "1/999999", "a/b", "1 /4"};
    int k, n;
    assert_int_equal(hy_shard_parse("2/8", &k, &n), HY_OK);
    assert_true(k == 2 && n == 8);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_int_equal(hy_shard_parse(bad[i], &k, &n), HY_EINPUT);
    assert_int_equal(hy_shard_parse("auto", &k, &n), HY_EINPUT);  // no job array
    setenv("SLURM_ARRAY_TASK_ID", "14", 1), setenv("SLURM_ARRAY_TASK_COUNT", "3", 1);
    setenv("SLURM_ARRAY_TASK_MIN", "10", 1), setenv("SLURM_ARRAY_TASK_MAX", "14", 1),
        setenv("SLURM_ARRAY_TASK_STEP", "2", 1);
    assert_int_equal(hy_shard_parse("auto", &k, &n), HY_OK);
    assert_true(k == 3 && n == 3);
    setenv("SLURM_ARRAY_TASK_ID", "10", 1);
    assert_int_equal(hy_shard_parse("auto", &k, &n), HY_OK);
    assert_true(k == 1 && n == 3);
    setenv("SLURM_ARRAY_TASK_COUNT", "2", 1);  // a task was left out
    assert_int_equal(hy_shard_parse("auto", &k, &n), HY_EINPUT);
    char *db = hy_shard_db("runs/hylab.db", "a/b c", 3, 12);
    assert_string_equal(db, "runs/shards/a_b_c.3-of-12.db");
    free(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_split), cmocka_unit_test(test_more_shards_than_models),
                                       cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
