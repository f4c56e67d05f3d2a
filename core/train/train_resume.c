// train_resume.c - whether a checkpoint belongs to the run that wants to go on from it: what has decided the weights so
// far must be the same, compared line by line over the text that the checkpoint carries, so that the message can name
// what differs. How long the run is and how its learning rate goes on are free where no step that was made would have
// been another.
#include <stdlib.h>
#include <string.h>

#include "core/train/train_impl.h"

enum { SHOWN = 4 };  // differences in a message

typedef struct {
    hy_buf text;
    int n;
} differences;

// ---------------------------------------------------------------------------------------------------- lines
static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

// The value of the line "key: value" between two places of a text; false if there is none.
static bool value_of(const char *from, const char *to, const char *key, size_t n, char *out, size_t size) {
    for (const char *line = from; line < to; line = next_line(line)) {
        if (strncmp(line, key, n) || line[n] != ':') continue;
        const char *v = line + n + 1;
        v += strspn(v, " ");
        snprintf(out, size, "%.*s", (int)strcspn(v, "\n"), v);
        return true;
    }
    return false;
}

// Where the recipe begins: its first field stands at the beginning of a line, the last such line of the text.
static const char *recipe_of(const char *text) {
    char first[64];
    const int n = snprintf(first, sizeof first, "\n%s: ", hy_train_fields[0].name);
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, first)); p += n) at = p + 1;
    return at ? at : text + strlen(text);
}

static void differ(differences *d, const char *what, const char *theirs, const char *ours) {
    if (d->n++ >= SHOWN) return;
    hy_buf_printf(&d->text, "%s%s %.200s in the checkpoint, %.200s here", d->n > 1 ? "; " : "", what, theirs, ours);
}

// ---------------------------------------------------------------------------------------------------- the task
// Evaluations count where one of them may have ended the run; where a text tells the content of a file, its place does
// not count.
static bool counts_in_task(const char *from, const char *to, const char *line, size_t n, bool stops) {
    char v[8];
    if (!strncmp(line, "path", n) && n == 4) return !value_of(from, to, "content", 7, v, sizeof v);
    if (!strncmp(line, "tokenizer", n) && n == 9) return !value_of(from, to, "tokenizer_content", 17, v, sizeof v);
    return stops || !((n == 4 && !strncmp(line, "test", 4)) || (n > 5 && !strncmp(line, "test_", 5)));
}

// The lines of `a` that differ in `b`; missing: only those that `b` lacks. swap: `a` is ours.
static void compare_lines(const char *a, const char *a_end, const char *b, const char *b_end, bool stops, bool swap,
                          differences *d) {
    char mine[512], other[512], what[128];
    for (const char *line = a; line < a_end; line = next_line(line)) {
        const size_t n = strcspn(line, ":\n");
        if (line[n] != ':' || !counts_in_task(a, a_end, line, n, stops)) continue;
        value_of(line, next_line(line), line, n, mine, sizeof mine);
        const bool there = value_of(b, b_end, line, n, other, sizeof other);
        if (there ? swap || !strcmp(mine, other) : false) continue;
        snprintf(what, sizeof what, "task.%.*s", (int)n, line);
        differ(d, what, swap ? "as by default" : mine, swap ? mine : there ? other : "as by default");
    }
}

static void compare_tasks(const char *theirs, const char *ours, bool stops, differences *d) {
    const char *te = recipe_of(theirs), *oe = recipe_of(ours);
    char a[64] = "", b[64] = "";
    value_of(theirs, te, "task", 4, a, sizeof a);
    value_of(ours, oe, "task", 4, b, sizeof b);
    if (strcmp(a, b)) {  // its options are others too
        differ(d, "task", a, b);
        return;
    }
    compare_lines(theirs, te, ours, oe, stops, false, d);
    compare_lines(ours, oe, theirs, te, stops, true, d);
}

// ---------------------------------------------------------------------------------------------------- the recipe
static hy_status read_recipe(const char *text, const char *where, hy_train_spec *out) {
    char name[64], value[512];
    memset(out, 0, sizeof *out);
    hy_fields_default(hy_train_fields, out);
    for (const char *line = recipe_of(text); *line; line = next_line(line)) {
        const size_t n = strcspn(line, ":\n");
        snprintf(name, sizeof name, "%.*s", (int)n, line);
        if (line[n] != ':' || !strcmp(name, "seed")) continue;
        value_of(line, next_line(line), line, n, value, sizeof value);
        const hy_status s = hy_fields_set(hy_train_fields, out, name, value);
        if (s) return hy_error_context(s, "%s: the recipe in it cannot be read", where);
    }
    return HY_OK;
}

static bool is_one_of(const char *name, const char *const *list) {
    while (*list && strcmp(*list, name)) list++;
    return *list != NULL;
}

static bool same_rates(const hy_train_spec *a, const hy_train_spec *b, long step) {
    for (long i = 1; i <= step; i++)
        if (hy_train_lr(a, i) != hy_train_lr(b, i)) return false;
    return true;
}

static void compare_recipes(const hy_train_spec *theirs, const hy_train_spec *ours, long step, differences *d) {
    static const char *const never[] = {"log_every", "checkpoint_every", "save_seconds", "eval_batch", NULL};
    static const char *const evaluation[] = {"eval_every", "eval_examples", NULL};
    static const char *const rates[] = {"steps", "lr", "min_lr", "schedule", "warmup", "decay", NULL};
    const bool stops = theirs->stop_accuracy > 0 || ours->stop_accuracy > 0, same = same_rates(theirs, ours, step);
    for (const hy_field *f = hy_train_fields; f->name; f++) {
        if (is_one_of(f->name, never) || (!stops && is_one_of(f->name, evaluation))) continue;
        if (same && is_one_of(f->name, rates)) continue;
        const hy_field one[] = {*f, HY_FIELD_END};
        hy_buf a = {0}, b = {0};
        hy_fields_text(one, theirs, 0, &a);
        hy_fields_text(one, ours, 0, &b);
        const char *x = a.s ? a.s + strlen(f->name) + 2 : f->def, *y = b.s ? b.s + strlen(f->name) + 2 : f->def;
        char what[64], left[256], right[256];
        snprintf(what, sizeof what, "train.%s", f->name);
        snprintf(left, sizeof left, "%.*s", (int)strcspn(x, "\n"), x);
        snprintf(right, sizeof right, "%.*s", (int)strcspn(y, "\n"), y);
        if (strcmp(left, right)) differ(d, what, left, right);
        free(a.s);
        free(b.s);
    }
}

// ---------------------------------------------------------------------------------------------------- both
static hy_status refuse(const hy_trainer *t, const char *where, const hy_train_spec *theirs, long step,
                        const differences *d) {
    char more[64] = "", advice[256] = "";
    if (d->n > SHOWN) snprintf(more, sizeof more, "; and %d more", d->n - SHOWN);
    if (theirs->steps != t->spec.steps && !same_rates(theirs, &t->spec, step))
        snprintf(
            advice, sizeof advice,
            "; with other steps this schedule (%s, warm-up a share of the steps) gives the %ld steps that are done "
            "other learning rates: --from starts a new schedule from these weights",
            t->spec.schedule == HY_SCHED_CONSTANT ? "constant"
            : t->spec.schedule == HY_SCHED_LINEAR ? "linear"
            : t->spec.schedule == HY_SCHED_COSINE ? "cosine"
                                                  : "wsd",
            step);
    return hy_error(HY_EINPUT, "%s: %s%s; a resumed run must be the same run%s", where, d->text.s, more, advice);
}

hy_status hy_trainer_check_run(hy_trainer *t, const char *where, const char *theirs, const char *ours, long step) {
    hy_train_spec spec;
    char a[32] = "", b[32] = "";
    differences d = {0};
    HY_TRY(read_recipe(theirs, where, &spec));
    value_of(recipe_of(theirs), theirs + strlen(theirs), "seed", 4, a, sizeof a);
    value_of(recipe_of(ours), ours + strlen(ours), "seed", 4, b, sizeof b);
    if (strcmp(a, b)) differ(&d, "seed", a, b);
    compare_recipes(&spec, &t->spec, step, &d);
    compare_tasks(theirs, ours, spec.stop_accuracy > 0 || t->spec.stop_accuracy > 0, &d);
    const hy_status s = d.n ? refuse(t, where, &spec, step, &d) : HY_OK;
    free(d.text.s);
    t->loaded_steps = spec.steps;
    return s;
}
