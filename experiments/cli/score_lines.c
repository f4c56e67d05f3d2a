// score_lines.c - see score_lines.h.
#include "experiments/cli/score_lines.h"

#include <stdlib.h>
#include <string.h>

#include "core/format/field.h"

enum { DEFAULT_NEW = 256, MOST_NEW = 1 << 20, MOST_DEPTH = 64 };  // tokens where none is said, as in the harness

static char *add_where(const char *where, const char *field) { return hy_asprintf("%s: %s", where, field); }

static hy_ask_request *add_request(hy_ask_list *list, hy_ask_kind kind, const char *where) {
    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 64;
        list->v = hy_xrealloc(list->v, (size_t)list->cap * sizeof *list->v);
    }
    hy_ask_request *r = &list->v[list->n++];
    *r = (hy_ask_request){.kind = kind, .where = hy_xstrdup(where)};
    return r;
}

// ---------------------------------------------------------------------------------------------------- generation
static hy_status add_until(hy_ask_generation *g, const hy_json *j, const char *where) {
    const char *s;
    HY_TRY(hy_json_string(j, where, &s));
    g->until = hy_xrealloc(g->until, (size_t)(g->n_until + 1) * sizeof *g->until);
    g->until[g->n_until++] = hy_xstrdup(s);
    return HY_OK;
}

static hy_status read_until(hy_ask_generation *g, const hy_json *j, const char *where) {
    if (!hy_json_given(j)) return HY_OK;
    if (hy_json_type_of(j) != HY_JSON_ARRAY) return add_until(g, j, where);
    for (size_t i = 0; i < hy_json_size(j); i++) {
        char at[32];
        snprintf(at, sizeof at, "[%zu]", i);
        char *full = hy_asprintf("%s%s", where, at);
        const hy_status s = add_until(g, hy_json_at(j, i), full);
        free(full);
        if (s) return s;
    }
    return HY_OK;
}

// The names by which harnesses call the largest number of new tokens; the first that is given counts.
static const char *const LENGTHS[] = {"max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"};
enum { N_LENGTHS = sizeof LENGTHS / sizeof *LENGTHS };
#define GENERATION_KEYS \
    "until|max_gen_toks|max_new_tokens|max_tokens|max_completion_tokens|do_sample|temperature|top_k|top_p"

// Every member is one of `known`: what is not understood might change the answer.
static hy_status check_keys(const hy_json *o, const char *where, const char *known) {
    for (void *it = hy_json_first(o); it; it = hy_json_next(o, it)) {
        const char *key = hy_json_key(it);
        if (hy_is_choice(key, known) || !hy_json_given(hy_json_member(it))) continue;
        char *near = hy_suggest(key, known);
        const hy_status s =
            hy_error(HY_EINPUT, "%s: %s: there is no such field%s; there are %s", where, key, near, known);
        free(near);
        return s;
    }
    return HY_OK;
}

static hy_status read_generation(hy_ask_generation *g, const hy_json *o, const char *where) {
    int64_t n = DEFAULT_NEW, k = 0;
    bool sample = false;
    *g = (hy_ask_generation){.top_p = 1};
    if (hy_json_type_of(o) != HY_JSON_OBJECT)
        return hy_error(HY_EINPUT, "%s: an object is wanted, not %s", where, hy_json_type_name(hy_json_type_of(o)));
    HY_TRY(check_keys(o, where, GENERATION_KEYS));
    for (int i = N_LENGTHS - 1; i >= 0; i--)
        if (hy_json_given(hy_json_get(o, LENGTHS[i]))) HY_TRY(hy_json_get_int(o, where, LENGTHS[i], 1, MOST_NEW, &n));
    if (hy_json_given(hy_json_get(o, "temperature")))
        HY_TRY(hy_json_get_double(o, where, "temperature", 0, 1e6, &g->temperature));
    if (hy_json_given(hy_json_get(o, "top_k"))) HY_TRY(hy_json_get_int(o, where, "top_k", 0, 1 << 24, &k));
    if (hy_json_given(hy_json_get(o, "top_p"))) HY_TRY(hy_json_get_double(o, where, "top_p", 0, 1, &g->top_p));
    if (hy_json_given(hy_json_get(o, "do_sample"))) {
        HY_TRY(hy_json_get_bool(o, where, "do_sample", &sample));
        if (!sample) g->temperature = 0;
        if (sample && g->temperature == 0)
            return hy_error(HY_EINPUT, "%s: temperature: above 0 is wanted with do_sample", where);
    }
    g->max_new = (int)n;
    g->top_k = (int)k;
    char *at = add_where(where, "until");
    const hy_status s = read_until(g, hy_json_get(o, "until"), at);
    free(at);
    return s;
}

// ---------------------------------------------------------------------------------------------------- one request
static hy_status keep_string(hy_ask_list *list, const hy_json *o, const char *where, const char *key, char **out) {
    const char *s;
    HY_TRY(hy_json_get_string(o, where, key, &s));
    *out = hy_xstrdup(s);
    list->bytes += strlen(s);
    return HY_OK;
}

static hy_status read_request(hy_ask_list *list, const hy_json *o, const char *where) {
    static const char *const names[] = {"loglikelihood", "loglikelihood_rolling", "generate_until"};
    static const char *const fields[] = {"request|id|context|continuation", "request|id|text",
                                         "request|id|context|gen_kwargs"};
    const char *name;
    HY_TRY(hy_json_get_string(o, where, "request", &name));
    int kind = 0;
    while (kind < 3 && strcmp(names[kind], name)) kind++;
    if (kind == 3)
        return hy_error(HY_EINPUT,
                        "%s: request: \"%.40s\" is none of loglikelihood, loglikelihood_rolling, generate_until", where,
                        name);
    HY_TRY(check_keys(o, where, fields[kind]));
    hy_ask_request *r = add_request(list, (hy_ask_kind)kind, where);
    if (kind == HY_ASK_ROLLING) return keep_string(list, o, where, "text", &r->text);
    HY_TRY(keep_string(list, o, where, "context", &r->context));
    if (kind == HY_ASK_LOGLIKELIHOOD) return keep_string(list, o, where, "continuation", &r->text);
    const hy_json *how;
    HY_TRY(hy_json_get_object(o, where, "gen_kwargs", &how));
    char *at = add_where(where, "gen_kwargs");
    const hy_status s = read_generation(&r->gen, how, at);
    free(at);
    return s;
}

// {"arg_0": context, "arg_1": continuation}, {"arg_0": text}, {"arg_0": context, "arg_1": {...}}.
static hy_status read_arguments(hy_ask_list *list, const hy_json *o, const char *where) {
    const hy_json *second = hy_json_get(o, "arg_1");
    const bool generation = second && hy_json_type_of(second) == HY_JSON_OBJECT;
    HY_TRY(check_keys(o, where, "arg_0|arg_1"));
    hy_ask_request *r = add_request(list,
                                    !second      ? HY_ASK_ROLLING
                                    : generation ? HY_ASK_GENERATE
                                                 : HY_ASK_LOGLIKELIHOOD,
                                    where);
    HY_TRY(keep_string(list, o, where, "arg_0", second ? &r->context : &r->text));
    if (!second) return HY_OK;
    if (!generation) return keep_string(list, o, where, "arg_1", &r->text);
    char *at = add_where(where, "arg_1");
    const hy_status s = read_generation(&r->gen, second, at);
    free(at);
    return s;
}

static hy_status read_document(hy_ask_list *list, const hy_json *o, const char *where) {
    const hy_json *all;
    HY_TRY(hy_json_get_object(o, where, "arguments", &all));
    if (!hy_json_size(all)) return hy_error(HY_EINPUT, "%s: arguments: there is no request in it", where);
    for (size_t i = 0; i < hy_json_size(all); i++) {
        char key[32];
        const hy_json *one;
        snprintf(key, sizeof key, "gen_args_%zu", i);
        char *at = add_where(where, "arguments"), *full = hy_asprintf("%s.%s", at, key);
        hy_status s = hy_json_get_object(all, at, key, &one);
        if (!s) s = read_arguments(list, one, full);
        free(at), free(full);
        if (s) return s;
    }
    return HY_OK;
}

hy_status hy_ask_read(hy_ask_list *list, const char *name, size_t number, const char *text, size_t n) {
    hy_json *o = NULL;
    char *where = hy_asprintf("%s, line %zu", name, number);
    hy_ask_line line = {.first = list->n, .number = number};
    hy_status s = hy_json_parse(text, n, where, MOST_DEPTH, &o);
    if (!s && hy_json_type_of(o) != HY_JSON_OBJECT)
        s = hy_error(HY_EINPUT, "%s: an object is wanted, not %s", where, hy_json_type_name(hy_json_type_of(o)));
    line.logged = !s && hy_json_get(o, "arguments");
    if (!s) s = line.logged ? read_document(list, o, where) : read_request(list, o, where);
    if (!s) {
        const hy_json *id = hy_json_get(o, line.logged ? "doc_id" : "id");
        line.id = id ? hy_json_copy(id) : NULL;
        line.n = list->n - line.first;
        if (list->n_lines == list->cap_lines) {
            list->cap_lines = list->cap_lines ? 2 * list->cap_lines : 64;
            list->line = hy_xrealloc(list->line, (size_t)list->cap_lines * sizeof *list->line);
        }
        list->line[list->n_lines++] = line;
    }
    hy_json_free(o);
    free(where);
    return s;
}

void hy_ask_clear(hy_ask_list *list) {
    for (int i = 0; i < list->n; i++) {
        hy_ask_request *r = &list->v[i];
        for (int k = 0; k < r->gen.n_until; k++) free(r->gen.until[k]);
        free(r->gen.until), free(r->where), free(r->context), free(r->text), free(r->answer);
    }
    for (int i = 0; i < list->n_lines; i++) hy_json_free(list->line[i].id);
    free(list->v), free(list->line);
    *list = (hy_ask_list){0};
}

// ---------------------------------------------------------------------------------------------------- answers
static hy_json *answer_of(const hy_ask_request *r) {
    hy_json *a = hy_json_new_object();
    if (r->kind == HY_ASK_GENERATE)
        hy_json_set_string(a, "text", r->answer);
    else
        hy_json_set_double(a, "loglikelihood", r->sum);
    if (r->kind == HY_ASK_LOGLIKELIHOOD) hy_json_set_bool(a, "is_greedy", r->greedy);
    hy_json_set_int(a, "tokens", r->tokens);
    return a;
}

void hy_ask_answer(const hy_ask_list *list, const hy_ask_line *line, hy_buf *out) {
    hy_json *a = line->logged ? hy_json_new_object() : answer_of(&list->v[line->first]);
    if (line->id) hy_json_set(a, line->logged ? "doc_id" : "id", hy_json_copy(line->id));
    if (line->logged) {
        hy_json *all = hy_json_new_array();
        for (int i = 0; i < line->n; i++) hy_json_add(all, answer_of(&list->v[line->first + i]));
        hy_json_set(a, "answers", all);
    }
    hy_json_text(a, 0, out);
    hy_json_free(a);
}
