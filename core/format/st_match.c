// st_match.c - hy_st_match of safetensors.h: do files hold the tensors that a reader wants? If not, what is it that
// they hold: names with the prefix that a wrapper gave them are told of as such.
#include <stdlib.h>
#include <string.h>

#include "core/format/safetensors.h"

typedef struct {
    const hy_st *const *files;
    int n_files;
    const hy_st_want *want;
    int n;
    bool **known;   // [n_files][tensors]: wanted
    bool *missing;  // [n]
    hy_buf list;
    int n_missing, n_wrong, n_unknown;
} match;

bool hy_st_is_floating(hy_st_dtype t) { return t == HY_ST_F16 || t == HY_ST_BF16 || t == HY_ST_F32 || t == HY_ST_F64; }

static void match_wanted(match *m, const char *against) {
    char have[192], shape[192];
    for (int i = 0; i < m->n; i++) {
        const hy_st_want *w = &m->want[i];
        const hy_st_tensor *t = NULL;
        for (int f = 0; f < m->n_files && !t; f++) {
            t = hy_st_find(m->files[f], w->name);
            if (t) m->known[f][t - hy_st_at(m->files[f], 0)] = true;
        }
        hy_st_shape_text(w->ndim, w->shape, shape, sizeof shape);
        if (!t) {
            m->n_missing++;
            m->missing[i] = true;
            hy_buf_printf(&m->list, "missing: %s %s\n", w->name, shape);
        } else if (!hy_st_has_shape(t, w->ndim, w->shape)) {
            m->n_wrong++;
            hy_st_shape_text(t->ndim, t->shape, have, sizeof have);
            hy_buf_printf(&m->list, "wrong shape: %s is %s, but %s makes it %s\n", w->name, have, against, shape);
        } else if (!hy_st_is_floating(t->dtype)) {
            m->n_wrong++;
            hy_buf_printf(&m->list, "wrong type: %s is of %s, but weights are F16, BF16, F32 or F64\n", w->name,
                          hy_st_dtype_name(t->dtype));
        }
    }
}

static void match_unknown(match *m, bool (*ignored)(const void *user, const char *name), const void *user) {
    char have[192];
    for (int f = 0; f < m->n_files; f++)
        for (int i = 0; i < hy_st_count(m->files[f]); i++) {
            const hy_st_tensor *t = hy_st_at(m->files[f], i);
            if (m->known[f][i] || (ignored && ignored(user, t->name))) continue;
            m->n_unknown++;
            hy_st_shape_text(t->ndim, t->shape, have, sizeof have);
            hy_buf_printf(&m->list, "unknown: %.200s %s\n", t->name, have);
        }
}

// ---------------------------------------------------------------------------------------------------- prefixes
// A name without every "word" in it.
static void without(const char *name, const char *word, hy_buf *out) {
    const size_t n = strlen(word);
    out->n = 0;
    hy_buf_write(out, "", 0);
    for (const char *hit; (hit = strstr(name, word)); name = hit + n) hy_buf_write(out, name, (size_t)(hit - name));
    hy_buf_write(out, name, strlen(name));
}

static int find_missing(const match *m, const char *name) {
    for (int i = 0; i < m->n; i++)
        if (m->missing[i] && !strcmp(m->want[i].name, name)) return i;
    return -1;
}

#define LOOK 10000  // tensors of a file that hints are sought among

static int looked_at(const hy_st *st) { return hy_st_count(st) < LOOK ? hy_st_count(st) : LOOK; }

// How many of the missing tensors are there once `word` is taken out of names.
static int found_without(const match *m, const char *word) {
    hy_buf plain = {0};
    int n = 0;
    for (int f = 0; f < m->n_files; f++)
        for (int i = 0; i < looked_at(m->files[f]); i++) {
            if (m->known[f][i]) continue;
            without(hy_st_at(m->files[f], i)->name, word, &plain);
            n += find_missing(m, plain.s) >= 0;
        }
    free(plain.s);
    return n;
}

// How many of the missing tensors are there under their name without its first word ("model.norm.weight" as
// "norm.weight"). *word: that of the first one that is.
static int found_bare(const match *m, char *word, size_t cap) {
    int n = 0;
    for (int i = 0; i < m->n; i++) {
        const char *dot = m->missing[i] ? strchr(m->want[i].name, '.') : NULL;
        bool there = false;
        for (int f = 0; f < m->n_files && dot && !there; f++) there = hy_st_find(m->files[f], dot + 1) != NULL;
        if (there && !n++) snprintf(word, cap, "%.*s", (int)(dot + 1 - m->want[i].name), m->want[i].name);
    }
    return n;
}

// The prefix of some tensor of the files whose name ends in that of a missing one; false: there is none.
static bool common_prefix(const match *m, char *word, size_t cap) {
    for (int k = 0; k < m->n; k++) {
        const size_t wanted = strlen(m->want[k].name);
        if (!m->missing[k]) continue;
        for (int f = 0; f < m->n_files; f++)
            for (int i = 0; i < looked_at(m->files[f]); i++) {
                const char *name = hy_st_at(m->files[f], i)->name;
                const size_t n = strlen(name), head = n > wanted ? n - wanted : 0;
                if (!head || head >= cap || name[head - 1] != '.' || strcmp(name + head, m->want[k].name)) continue;
                snprintf(word, cap, "%.*s", (int)head, name);
                return true;
            }
        return false;  // the first missing one speaks for all
    }
    return false;
}

// One line on names that fit but for a prefix; empty if that is not what is wrong.
static void say_prefix(const match *m, hy_buf *out) {
    static const struct {
        const char *word, *why;
    } wrappers[] = {
        {"_orig_mod.", "the model was saved from inside torch.compile"},
        {"module.", "the model was saved from inside DataParallel or DistributedDataParallel"},
        {"_fsdp_wrapped_module.", "the model was saved from inside FSDP"},
        {"_checkpoint_wrapped_module.", "the model was saved with its checkpointing wrapper"},
        {"base_model.model.", "the model was saved from inside PEFT: merge_and_unload() gives the plain one"},
        {NULL, "the model was saved as a part of another one"},
    };
    char word[256] = "";
    const int n = m->n_missing;
    hy_buf_write(out, "", 0);
    if (2 * n < m->n) return;  // names of a few tensors are no habit of a wrapper
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        if (!wrappers[i].word && !common_prefix(m, word, sizeof word)) break;
        const char *w = wrappers[i].word ? wrappers[i].word : word;
        const int found = found_without(m, w);
        if (!found || found < n - n / 4) continue;
        hy_buf_printf(out, "%d of the %d missing tensors are there under names with \"%s\" in them: %s; rename them",
                      found, n, w, wrappers[i].why);
        return;
    }
    const int found = found_bare(m, word, sizeof word);
    if (found && found >= n - 1 - n / 4)
        hy_buf_printf(
            out,
            "%d of the %d missing tensors are there under names without \"%s\": only the inner model was saved, "
            "without its head; save the whole one, or rename them",
            found, n, word);
}

// ---------------------------------------------------------------------------------------------------- result
static hy_status misfit(const match *m, const char *what, const char *against) {
    hy_buf hint = {0};
    say_prefix(m, &hint);
    hy_status s;
    if (hint.n) {
        s = hy_error(HY_EINPUT, "%s: does not fit %s: %s", what, against, hint.s);
    } else {
        int cut = m->list.n > 1400 ? 1400 : (int)m->list.n;  // what a message holds
        while (cut > 0 && cut < (int)m->list.n && m->list.s[cut - 1] != '\n') cut--;
        s = hy_error(HY_EINPUT,
                     "%s: does not fit %s: %d tensors missing, %d of wrong shape or type, %d unknown\n%.*s%s", what,
                     against, m->n_missing, m->n_wrong, m->n_unknown, cut < (int)m->list.n ? cut : cut - 1, m->list.s,
                     cut < (int)m->list.n ? "..." : "");
    }
    free(hint.s);
    return s;
}

hy_status hy_st_match(const hy_st *const *files, int n_files, const char *what, const hy_st_want *want, int n,
                      const char *against, bool (*ignored)(const void *user, const char *name), const void *user,
                      hy_buf *report) {
    match m = {.files = files, .n_files = n_files, .want = want, .n = n};
    hy_status s = HY_OK;
    hy_buf_write(&m.list, "", 0);
    m.missing = hy_xcalloc((size_t)n, sizeof *m.missing);
    m.known = hy_xcalloc((size_t)n_files, sizeof *m.known);
    for (int f = 0; f < n_files; f++) m.known[f] = hy_xcalloc((size_t)hy_st_count(files[f]), sizeof **m.known);
    match_wanted(&m, against);
    match_unknown(&m, ignored, user);
    if (m.n_missing + m.n_wrong + m.n_unknown) {
        s = misfit(&m, what, against);
        if (report) hy_buf_write(report, m.list.s, m.list.n);
    }
    for (int f = 0; f < n_files; f++) free(m.known[f]);
    free(m.known);
    free(m.missing);
    free(m.list.s);
    return s;
}
