// fuzz_json.c - libFuzzer target of the JSON reader (`make fuzz-json`): any bytes are a value or a clear refusal. What
// is accepted is walked through every getter, and its text must read back as the same text.
#include <stdlib.h>
#include <string.h>

#include "core/format/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void typed(const hy_json *object, const char *key) {
    int64_t i;
    double d;
    bool b;
    const char *s;
    const hy_json *j;
    const hy_status got[] = {
        hy_json_get_int(object, "fuzz", key, -1000, 1000, &i),
        hy_json_get_double(object, "fuzz", key, -1e30, 1e30, &d),
        hy_json_get_bool(object, "fuzz", key, &b),
        hy_json_get_string(object, "fuzz", key, &s),
        hy_json_get_array(object, "fuzz", key, &j),
        hy_json_get_object(object, "fuzz", key, &j),
    };
    int accepted = 0;
    for (size_t k = 0; k < sizeof got / sizeof *got; k++) {
        HY_ASSERT(got[k] == HY_OK || (got[k] == HY_EINPUT && hy_error_text()[0]));
        accepted += got[k] == HY_OK;
    }
    HY_ASSERT(accepted <= 2);  // an integer is a number too
    HY_ASSERT(got[0] || (i >= -1000 && i <= 1000));
    HY_ASSERT(got[1] || (d >= -1e30 && d <= 1e30));
}

static void walk(const hy_json *j, int depth) {
    HY_ASSERT(depth <= HY_JSON_MAX_DEPTH + 1);
    if (hy_json_type_of(j) == HY_JSON_ARRAY)
        for (size_t i = 0; i < hy_json_size(j); i++) walk(hy_json_at(j, i), depth + 1);
    if (hy_json_type_of(j) != HY_JSON_OBJECT) return;
    typed(j, "absent");
    for (void *it = hy_json_first(j); it; it = hy_json_next(j, it)) {
        HY_ASSERT(hy_json_get(j, hy_json_key(it)) == hy_json_member(it));
        typed(j, hy_json_key(it));
        walk(hy_json_member(it), depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hy_json *j, *again;
    hy_status s = hy_json_parse((const char *)data, n, "fuzz", 0, &j);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && !j && !strncmp(hy_error_text(), "fuzz: ", 6)));
    if (s) return 0;
    walk(j, 1);
    for (int indent = 0; indent <= 2; indent += 2) {
        hy_buf a = {0}, b = {0};
        hy_json_text(j, indent, &a);
        HY_ASSERT(hy_json_parse(a.s, a.n, "again", 0, &again) == HY_OK);
        hy_json_text(again, indent, &b);
        HY_ASSERT(a.n == b.n && !memcmp(a.s, b.s, a.n));
        hy_json_free(again);
        free(a.s);
        free(b.s);
    }
    hy_json_free(j);
    return 0;
}
