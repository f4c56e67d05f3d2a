// fuzz_gguf.c - libFuzzer target of the GGUF reader (`make fuzz-gguf`): any bytes are a file or a clear refusal. What
// is accepted is read in full: tensors, keys as each type, and the tokenizer inside.
#include <stdlib.h>

#include "core/format/gguf.h"
#include "core/token/tok_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(hy_status s) { HY_ASSERT(s == HY_OK || (s == HY_EINPUT && hy_error_text()[0])); }

static void read_keys(const hy_gguf *g) {
    for (int i = 0; i < hy_gguf_keys(g); i++) {
        const char *key = hy_gguf_key(g, i);
        int64_t v;
        double x;
        bool b;
        char text[64];
        hy_gguf_strings walk;
        int32_t *list = NULL;
        size_t len, sum = 0;
        check(hy_gguf_int(g, key, INT64_MIN, INT64_MAX, NULL, &v));
        check(hy_gguf_real(g, key, -1e30, 1e30, NULL, &x));
        check(hy_gguf_bool(g, key, false, &b));
        check(hy_gguf_text(g, key, NULL, text, sizeof text));
        check(hy_gguf_int_list(g, key, &list, &len));
        if (hy_gguf_string_list(g, key, &walk) == HY_OK)
            for (const char *s; (s = hy_gguf_string(&walk, &len));)
                for (size_t k = 0; k < len; k++) sum += (uint8_t)s[k];
        HY_ASSERT(sum <= 255 << 20);
        free(list);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hy_gguf *g;
    const hy_status s = hy_gguf_open_memory(data, n, "fuzz", &g);
    check(s);
    HY_ASSERT(!s || !g);
    if (s) return 0;
    for (int i = 0; i < hy_gguf_count(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_at(g, i);
        HY_ASSERT(hy_gguf_find(g, t->name) == t);
        float *x = malloc(t->n * sizeof *x);  // the exact size, for the sanitizer
        hy_gguf_read(t, 0, t->n, x);
        free(x);
    }
    read_keys(g);
    hy_buf text = {0};
    hy_tokenizer *t = NULL;
    const hy_status written = hy_tok_gguf_text(g, &text);
    check(written);
    if (!written) {
        check(hy_tokenizer_open_memory(text.s, text.n, true, "fuzz", &t));
        if (t) check(hy_tok_gguf_roles(g, t));
    }
    hy_tokenizer_close(t);
    free(text.s);
    hy_gguf_close(g);
    return 0;
}
