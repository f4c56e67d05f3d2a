// test_backend.c - the CPU backend: instruction sets, threads, memory, every kernel planned.
#include <sched.h>

#include "tests/unit/kernel_test.h"

static void chooses(void **state) {
    (void)state;
    hy_backend b;
    assert_int_equal(hy_backend_cpu(NULL, 0, &b), HY_OK);
    assert_int_equal(b.isa, hy_isa_best());
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    assert_int_equal(b.threads, CPU_COUNT(&set));
    assert_true(strlen(b.device) > 3 && strstr(b.device, "thread"));
    assert_string_equal(b.name, "cpu");
    assert_int_equal(hy_backend_cpu("ref", 3, &b), HY_OK);
    assert_int_equal(b.isa, HY_ISA_REF);
    assert_int_equal(b.threads, 3);
    assert_non_null(strstr(b.device, "3 threads"));
    assert_int_equal(hy_backend_cpu("auto", 1, &b), HY_OK);
    assert_non_null(strstr(b.device, "1 thread"));
    for (int i = HY_ISA_REF; i <= HY_ISA_AVX512; i++) {
        bool has = i <= (int)hy_isa_best();
        assert_int_equal(hy_backend_cpu(hy_isa_name((hy_isa)i), 1, &b), has ? HY_OK : HY_EINPUT);
        if (has) assert_int_equal(b.isa, i);
    }
}

static void refuses(void **state) {
    (void)state;
    hy_backend b;
    assert_int_equal(hy_backend_cpu("sse9", 1, &b), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "sse9"));
    assert_int_equal(hy_backend_cpu(NULL, -1, &b), HY_EINPUT);
    assert_int_equal(hy_backend_cpu(NULL, 1000000, &b), HY_EINPUT);
    // a set that does not fit a machine without it is refused by name
    if (hy_isa_best() < HY_ISA_AVX512) assert_int_equal(hy_backend_cpu("avx512", 1, &b), HY_EINPUT);
}

static void memory(void **state) {
    (void)state;
    hy_backend b;
    assert_int_equal(hy_backend_cpu(NULL, 1, &b), HY_OK);
    char host[100], *p = b.alloc(100);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % HY_ALIGN, 0);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    for (int i = 0; i < 100; i++) host[i] = (char)i;
    assert_int_equal(b.from_host(p, host, 100), HY_OK);
    memset(host, 0, sizeof host);
    assert_int_equal(b.to_host(host, p, 100), HY_OK);
    assert_int_equal(host[99], 99);
    assert_int_equal(b.zero(p + 50, 50), HY_OK);
    assert_true(p[49] == 49 && p[50] == 0);
    b.free(p);
#ifndef __SANITIZE_ADDRESS__  // the sanitizer ends the program instead of returning NULL
    assert_null(b.alloc((size_t)1 << 62));
    assert_non_null(strstr(hy_error_text(), "memory"));
#endif
}

static void every_kernel_has_a_plan(void **state) {
    (void)state;
    hy_backend b;
    assert_int_equal(hy_backend_cpu(NULL, 1, &b), HY_OK);
    for (int i = 0; i < HY_K_COUNT; i++) {
        assert_non_null(b.plan[i]);
        for (int k = 0; k < i; k++) assert_ptr_not_equal(b.plan[i], b.plan[k]);
        // it is the plan of this kernel, and no other's: the same run, or the same words of what is missing
        const hy_cpu_args none = {.norm = {0}};
        const hy_plan_req req = hy_backend_request(&b, HY_F32, false);
        hy_launch found = {0}, wanted = {0};
        char said[256] = "";
        const hy_status s = b.plan[i](&none, &req, &found);
        if (s) snprintf(said, sizeof said, "%s", hy_error_text());
        assert_int_equal(s, kt_plan_of((hy_kernel_id)i)(&none, &req, &wanted));
        if (s) assert_string_equal(said, hy_error_text());
        assert_ptr_equal(found.run, wanted.run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(chooses), cmocka_unit_test(refuses), cmocka_unit_test(memory),
                                       cmocka_unit_test(every_kernel_has_a_plan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
