// api_task.c - see hylab_api.h: where examples come from, and tokenizers.
#include <math.h>
#include <stdlib.h>

#include "core/token/tokenizer.h"
#include "python/capi/api_impl.h"

static hylab_status opened(hy_status s, hy_task *task, hylab_task **out) {
    *out = NULL;
    if (!s) {
        *out = hy_xcalloc(1, sizeof **out);
        (*out)->task = task;
    }
    return hy_api_end(s);
}

hylab_status hylab_task_open(const char *kind, const char *options, uint64_t seed, hylab_task **out) {
    hy_task *t = NULL;
    hy_api_begin();
    const hy_status s = kind ? hy_task_open(kind, options, seed, &t)
                             : hy_error(HY_EINPUT, "no kind of task: there are %s", hy_task_kinds());
    return opened(s, t, out);
}

hylab_status hylab_task_given(int n, int T, const int32_t *ids, const int32_t *labels, int vocab, hylab_task **out) {
    hy_task *t = NULL;
    hy_api_begin();
    const hy_status s = hy_task_given(NULL, n, T, ids, labels, vocab, &t);
    return opened(s, t, out);
}

void hylab_task_close(hylab_task *t) {
    if (!t) return;
    hy_task_close(t->task);
    free(t);
}

static hy_json *cells(const hy_task *t, hy_split s) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < hy_task_cells(t, s); i++) {
        const hy_cell *c = hy_task_cell(t, s, i);
        hy_json *j = hy_json_new_object();
        hy_json_set_string(j, "name", c->name);
        hy_json_set_int(j, "tokens", c->T);
        hy_json_set_double(j, "x", c->x);
        hy_json_set_double(j, "y", c->y);
        hy_json_set_int(j, "count", c->count);
        hy_json_set_double(j, "chance", c->chance);
        hy_json_add(list, j);
    }
    return list;
}

char *hylab_task_facts(const hylab_task *t) {
    hy_json *j = hy_json_new_object(), *all = hy_json_new_object();
    hy_buf text = {0};
    hy_task_text(t->task, &text);
    hy_json_set_string(j, "kind", hy_task_kind(t->task));
    hy_json_set_int(j, "vocab", hy_task_vocab(t->task));
    hy_json_set_double(j, "entropy", hy_task_entropy(t->task));
    hy_json_set_string(j, "text", text.s);
    for (int s = 0; s < HY_SPLITS; s++) hy_json_set(all, hy_split_name((hy_split)s), cells(t->task, (hy_split)s));
    hy_json_set(j, "cells", all);
    free(text.s);
    return hy_api_json_text(j);
}

hylab_status hylab_task_example(const hylab_task *t, int split, int cell, int64_t index, int32_t *ids,
                                int32_t *labels) {
    hy_api_begin();
    if (split < 0 || split >= HY_SPLITS)
        return hy_api_end(hy_error(HY_EINPUT, "split %d: 0 is training, 1 evaluation, 2 tuning", split));
    return hy_api_end(hy_task_example(t->task, (hy_split)split, cell, index, ids, labels));
}

// ---------------------------------------------------------------------------------------------------- tokenizers
struct hylab_tokenizer {
    hy_tokenizer *t;
};

hylab_status hylab_tokenizer_open(const char *path, hylab_tokenizer **out) {
    hy_tokenizer *t = NULL;
    hy_api_begin();
    *out = NULL;
    const hy_status s = path && *path ? hy_tokenizer_open(path, &t) : hy_error(HY_EINPUT, "no path to a tokenizer");
    if (!s) {
        *out = hy_xcalloc(1, sizeof **out);
        (*out)->t = t;
    }
    return hy_api_end(s);
}

void hylab_tokenizer_close(hylab_tokenizer *t) {
    if (!t) return;
    hy_tokenizer_close(t->t);
    free(t);
}

char *hylab_tokenizer_facts(const hylab_tokenizer *t) {
    static const struct {
        const char *name;
        hy_token_role role;
    } roles[] = {{"bos", HY_TOKEN_BOS}, {"eos", HY_TOKEN_EOS}, {"unk", HY_TOKEN_UNK}, {"pad", HY_TOKEN_PAD}};
    hy_json *j = hy_json_new_object();
    hy_json_set_string(j, "kind", hy_tokenizer_kind(t->t));
    hy_json_set_int(j, "vocab", hy_tokenizer_vocab(t->t));
    hy_json_set_string(j, "path", hy_tokenizer_path(t->t));
    hy_json_set_string(j, "notes", hy_tokenizer_notes(t->t));
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const int32_t id = hy_tokenizer_special(t->t, roles[i].role);
        hy_json_set(j, roles[i].name, id < 0 ? hy_json_new_null() : hy_json_new_int(id));
    }
    return hy_api_json_text(j);
}

hylab_status hylab_tokenizer_encode(hylab_tokenizer *t, const char *text, size_t bytes, int special, size_t *n,
                                    int32_t **ids) {
    hy_token_ids found = {0};
    hy_api_begin();
    const hy_status s = hy_tokenizer_encode(t->t, text, bytes, special != 0, &found);
    if (s) {
        free(found.v);
        found = (hy_token_ids){0};
    }
    *n = found.n;
    *ids = found.v;
    return hy_api_end(s);
}

hylab_status hylab_tokenizer_decode(hylab_tokenizer *t, const int32_t *ids, size_t n, int skip_special, size_t *bytes,
                                    char **text) {
    hy_buf b = {0};
    hy_api_begin();
    hy_buf_write(&b, "", 0);
    const hy_status s = hy_tokenizer_decode(t->t, ids, n, skip_special != 0, &b);
    if (s) {
        free(b.s);
        b = (hy_buf){0};
    }
    *bytes = b.n;
    *text = b.s;
    return hy_api_end(s);
}
