// fuzz_tokenizer.c - libFuzzer target of the tokenizers (`make fuzz-tokenizer`). An input is a file, a line "---", and
// a text: the file is a tokenizer or refused, the text then encodes or is refused, its ids are pieces and come back as
// UTF-8, all at once and one by one.
#include <stdlib.h>
#include <string.h>

#include "core/token/tok_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void decode_both(hy_tokenizer *t, const int32_t *ids, size_t n) {
    hy_buf all = {0}, parts = {0};
    HY_ASSERT(hy_tokenizer_decode(t, ids, n, false, &all) == HY_OK);
    HY_ASSERT(hy_utf8_bad(all.s, all.n) == all.n);
    hy_token_stream *s = hy_token_stream_new(t, false);
    hy_buf_write(&parts, "", 0);
    for (size_t i = 0; i < n; i++) {
        const size_t before = parts.n;
        HY_ASSERT(hy_token_stream_push(s, ids[i], &parts) == HY_OK);
        HY_ASSERT(hy_utf8_bad(parts.s + before, parts.n - before) == parts.n - before);
    }
    HY_ASSERT(hy_token_stream_end(s, &parts) == HY_OK);
    HY_ASSERT(parts.n == all.n && !memcmp(parts.s, all.s, all.n));
    hy_token_stream_free(s);
    free(all.s);
    free(parts.s);
}

static void use(hy_tokenizer *t, const char *text, size_t n) {
    const int vocab = hy_tokenizer_vocab(t);
    HY_ASSERT(vocab > 0 && vocab <= HY_TOKENIZER_MAX_VOCAB);
    hy_token_ids first = {0}, again = {0};
    const hy_status s = hy_tokenizer_encode(t, text, n, true, &first);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && hy_error_text()[0]) || s == HY_EFAIL);
    if (s == HY_OK) {
        HY_ASSERT(hy_tokenizer_encode(t, text, n, true, &again) == HY_OK);  // now from the cache
        HY_ASSERT(first.n == again.n && (!first.n || !memcmp(first.v, again.v, first.n * sizeof *first.v)));
        for (size_t i = 0; i < first.n; i++)
            HY_ASSERT(first.v[i] >= 0 && first.v[i] < vocab && hy_tokenizer_piece(t, first.v[i], NULL));
        decode_both(t, first.v, first.n);
    }
    int32_t some[24];  // ids that nothing encodes to, too
    for (int i = 0; i < 24; i++)
        some[i] = (int32_t)((uint32_t)i * (n ? (uint8_t)text[(size_t)i % n] : 7u) % (uint32_t)vocab);
    decode_both(t, some, 24);
    free(first.v);
    free(again.v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *file = (const char *)data, *cut = n ? memmem(file, n, "\n---\n", 5) : NULL,
               *text = cut ? cut + 5 : "Hello world";
    const size_t file_n = cut ? (size_t)(cut - file) : n, text_n = cut ? n - file_n - 5 : 11;
    hy_tokenizer *t;
    const hy_status s = hy_tokenizer_open_memory(file, file_n, file_n && file[0] == '{', "fuzz", &t);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && !strncmp(hy_error_text(), "fuzz", 4) && !t));
    if (s) return 0;
    char *copy = malloc(text_n ? text_n : 1);  // of the exact size, for the sanitizer
    if (text_n) memcpy(copy, text, text_n);
    use(t, copy, text_n);
    free(copy);
    hy_tokenizer_close(t);
    return 0;
}
