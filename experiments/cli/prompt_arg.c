// prompt_arg.c - see prompt_arg.h.
#include "experiments/cli/prompt_arg.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/family/model_file.h"

hy_status hy_prompt_ids(const char *text, hy_token_ids *out) {
    for (const char *s = text; *s;) {
        char *end;
        errno = 0;
        const long v = strtol(s, &end, 10);
        if (end == s || errno || v < 0 || v > INT_MAX)
            return hy_error(HY_EINPUT, "prompt \"%.60s\": token ids are wanted, like \"5 17 3\"", text);
        hy_token_ids_add(out, (int32_t)v);
        s = end + strspn(end, " ,\t\r\n");
    }
    return HY_OK;
}

hy_status hy_prompt_tokenizer(const char *tokenizer, const char *path, const hy_model_spec *spec, hy_tokenizer **out) {
    *out = NULL;
    const bool folder = hy_model_file_kind_of(path) == HY_MODEL_FOLDER;
    const char *from = tokenizer ? tokenizer : folder ? path : "bytes";
    if (spec->vocab < 256 && !tokenizer && !folder)
        return hy_error(HY_EINPUT,
                        "%s has a vocabulary of %d, not bytes: give prompts as token ids with --ids, or a --tokenizer",
                        path, spec->vocab);
    hy_status s = hy_tokenizer_open(from, out);
    if (s)
        return folder && !tokenizer
                   ? hy_error_context(s, "no tokenizer (--ids takes token ids, --tokenizer another one)")
                   : s;
    fputs(hy_tokenizer_notes(*out), stderr);
    if (hy_tokenizer_vocab(*out) > spec->vocab)
        return hy_error(HY_EINPUT, "tokenizer %s has %d ids, but %s has a vocabulary of %d", hy_tokenizer_path(*out),
                        hy_tokenizer_vocab(*out), path, spec->vocab);
    if (!strcmp(from, "bytes") && spec->vocab > 256)
        fprintf(stderr,
                "note: %s has a vocabulary of %d; prompt and output are taken for bytes, other tokens are shown as "
                "\357\277\275 (--ids shows numbers)\n",
                path, spec->vocab);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- as a task
enum { TEXT_MOST = 1 << 28 };  // bytes of a text to look into

hy_status hy_task_of_prompt(const hy_prompt_args *a, const char *model, const hy_model_spec *spec, hy_task **out) {
    char *read = NULL;
    size_t n = a->prompt ? strlen(a->prompt) : 0;
    hy_tokenizer *t = NULL;
    hy_token_ids ids = {0};
    *out = NULL;
    if (a->file) HY_TRY(hy_file_read(a->file, TEXT_MOST, &read, &n));
    const char *text = read ? read : a->prompt;
    hy_status s = a->ids ? hy_prompt_ids(text, &ids) : hy_prompt_tokenizer(a->tokenizer, model, spec, &t);
    if (!s && t) s = hy_tokenizer_encode(t, text, n, true, &ids);
    if (!s && a->most && ids.n > (size_t)a->most) ids.n = (size_t)a->most;
    if (!s && ids.n > HY_PROMPT_MOST)
        s = hy_error(HY_EINPUT, "%zu tokens are more than the %d that are looked into", ids.n, HY_PROMPT_MOST);
    const char *name = a->file ? "text" : "prompt";
    if (!s && !ids.n) s = hy_error(HY_EINPUT, "%s: there is no token in it", name);
    if (!s) s = hy_task_given(name, 1, (int)ids.n, ids.v, NULL, spec->vocab, out);
    if (s && a->file) s = hy_error_context(s, "--text %s", a->file);
    hy_tokenizer_close(t);
    free(ids.v), free(read);
    return s;
}
