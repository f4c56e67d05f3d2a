// fuzz_yaml.c - libFuzzer target: any bytes as a variant. Nothing may crash, hang or leak; what is accepted must expand
// to a text that is read back as the same model, and --set of any text must leave a tree that can be read again. Built
// by `make fuzz-yaml`.
#include <stdlib.h>
#include <string.h>

#include "core/spec/spec_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_model(const hy_model_spec *m) {
    static hy_model_spec again;
    hy_yaml *y = NULL;
    char *text = hy_model_spec_text(m);
    HY_ASSERT(hy_yaml_parse("again", text, strlen(text), &y) == HY_OK);
    HY_ASSERT(hy_spec_from_yaml(y, &again) == HY_OK);
    HY_ASSERT(!memcmp(m, &again, sizeof again));
    hy_cache_bytes sum;
    hy_model_cache(m, HY_CACHE_TRUE, 1 << 20, 4, 4, 4, NULL, &sum);
    HY_ASSERT(sum.total >= 0 && hy_model_flops_token(m, 1000) >= 0);
    hy_yaml_free(y);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static hy_model_spec m;
    hy_yaml *y = NULL;
    // an input after "\n--set " in the last line is an assignment
    char *text = hy_xcalloc(size + 1, 1);
    memcpy(text, data, size);
    char *set = memmem(text, size, "\n--set ", 7);
    size_t n = set ? (size_t)(set - text) : size;
    if (hy_yaml_parse("fuzz", text, n, &y) == HY_OK) {
        if (!set || hy_yaml_set(y, set + 7) == HY_OK) {
            // base: reads files, which is not what is tested here
            if (!hy_yaml_get(y, "base") && hy_spec_from_yaml(y, &m) == HY_OK) check_model(&m);
        }
        hy_yaml *twice = hy_yaml_merge(y, y);
        hy_yaml_free(twice);
    }
    hy_yaml_free(y);
    free(text);
    return 0;
}
