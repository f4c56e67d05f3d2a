// test_modelfile.c - checkpoints that a hostile hand made whole, hash and all: they are refused by name, and no memory
// is taken for what they claim. Folders and damaged files are in test_hostile.sh.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/format/safetensors.h"
#include "core/family/model_file.h"

static int allocations;
static void *refuse(size_t bytes) {
    (void)bytes;
    allocations++;
    return NULL;
}

// Opens a checkpoint of this spec text and one tensor; wants HY_EINPUT whose text has the path and each of the words.
static void refused(const char *spec, const char *one, const char *two) {
    char path[64], hash[33];
    const float v[12] = {0};
    const int64_t shape[2] = {3, 4};
    hy_backend be;
    hy_model m;
    assert_int_equal(hy_backend_cpu("base", 1, &be), HY_OK);
    be.alloc = refuse;
    allocations = 0;
    snprintf(path, sizeof path, "/tmp/hylab_test_modelfile.%ld.safetensors", (long)getpid());
    hy_hash_hex(spec, strlen(spec), hash);
    hy_st_writer *w = hy_st_writer_new();
    hy_st_writer_meta(w, "hylab.format", "1");
    hy_st_writer_meta(w, "hylab.spec", spec);
    hy_st_writer_meta(w, "hylab.spec_hash", hash);
    hy_st_writer_add(w, "embed", HY_ST_F32, 2, shape, v);
    assert_int_equal(hy_st_writer_commit(w, path), HY_OK);
    hy_st_writer_free(w);
    hy_status s = hy_model_open(path, NULL, &be, HY_WEIGHTS_AUTO, HY_PRECISION_F32, 1, &m);
    unlink(path);
    if (s != HY_EINPUT) fail_msg("status %d: %s", s, hy_error_text());
    if (!strstr(hy_error_text(), path) || !strstr(hy_error_text(), one) || !strstr(hy_error_text(), two))
        fail_msg("no \"%s\", \"%s\" in: %s", one, two, hy_error_text());
    assert_int_equal(allocations, 0);
}

static void test_claims(void **state) {
    (void)state;
    refused("vocab: 16777216\nd_model: 4\nlayers: 1\nattention: {heads: 1}\n", "embed is [3, 4]", "[16777216, 4]");
    refused("vocab: 3\nd_model: 4\nlayers: 256\nmixer: ssm\nssm: {d_inner: 1048576}\n", "missing: layers.0.in_proj",
            "[2097152, 4]");
    refused("vocab: 16777216\nd_model: 1048576\nlayers: 256\n", "the model has", "parameters; at most");
}

static void test_other_files(void **state) {
    (void)state;
    refused("base: /etc/passwd\n", "base", "stands alone");
    refused("base: ../../variants/hymba.yaml\nd_model: 4\n", "base", "stands alone");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_claims), cmocka_unit_test(test_other_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
