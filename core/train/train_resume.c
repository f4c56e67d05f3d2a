// train_resume.c - whether a checkpoint belongs to the run that wants to go on from it: what has decided the weights so
// far must be the same, compared line by line over the text that the checkpoint carries, so that the message can name
// what differs. How long the run is and how its learning rate goes on are free where no step that was made would have
// been another.
#include <stdlib.h>
#include <string.h>

#include "core/train/train_impl.h"

#define STOPPED_BY "stopped_by"
enum { SHOWN = 4, WIDEST = 200, AHEAD = 30 };  // differences in a message; bytes of a value, before where two differ

typedef struct {
    const char *s;  // not ended by a NUL; NULL: none
    size_t n;
} value;

typedef struct {
    hy_buf text;
    int n;
} differences;

// ---------------------------------------------------------------------------------------------------- lines
static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

// The value of the line "key: value" between two places of a text, however long it is.
static value value_of(const char *from, const char *to, const char *key, size_t n) {
    for (const char *line = from; line < to; line = next_line(line)) {
        if (strncmp(line, key, n) || line[n] != ':') continue;
        const char *v = line + n + 1;
        v += strspn(v, " ");
        return (value){v, strcspn(v, "\n")};
    }
    return (value){0};
}

static bool is_same(value a, value b) { return a.n == b.n && !memcmp(a.s, b.s, a.n); }
static value word(const char *s) { return (value){s, strlen(s)}; }
static value or_word(value v, const char *otherwise) { return v.s ? v : word(otherwise); }

// Where the recipe begins: its first field stands at the beginning of a line, the last such line of the text.
static const char *recipe_of(const char *text) {
    char first[64];
    const int n = snprintf(first, sizeof first, "\n%s: ", hy_train_fields[0].name);
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, first)); p += n) at = p + 1;
    return at ? at : text + strlen(text);
}

static void differ(differences *d, const char *what, value theirs, value ours) {
    if (d->n++ >= SHOWN) return;
    size_t same = 0;
    while (same < theirs.n && same < ours.n && theirs.s[same] == ours.s[same]) same++;
    const size_t from = (theirs.n > WIDEST || ours.n > WIDEST) && same > AHEAD ? same - AHEAD : 0;
    const char *dots = from ? "..." : "";
    hy_buf_printf(&d->text, "%s%s %s%.*s in the checkpoint, %s%.*s here", d->n > 1 ? "; " : "", what, dots,
                  (int)(theirs.n - from < WIDEST ? theirs.n - from : WIDEST), theirs.s + from, dots,
                  (int)(ours.n - from < WIDEST ? ours.n - from : WIDEST), ours.s + from);
}

// ---------------------------------------------------------------------------------------------------- the task
static bool is_key(const char *line, size_t n, const char *key) { return n == strlen(key) && !strncmp(line, key, n); }

// Evaluations count where one of them may have ended the run; where a text tells the content of a file, its place does
// not count.
static bool counts_in_task(const char *from, const char *to, const char *line, size_t n, bool stops) {
    if (is_key(line, n, STOPPED_BY)) return false;  // no option: compare_stops
    if (is_key(line, n, "path")) return !value_of(from, to, "content", 7).s;
    if (is_key(line, n, "tokenizer")) return !value_of(from, to, "tokenizer_content", 17).s;
    return stops || !(is_key(line, n, "test") || (n > 5 && !strncmp(line, "test_", 5)));
}

// The lines of `a` that differ in `b`; missing: only those that `b` lacks. swap: `a` is ours.
static void compare_lines(const char *a, const char *a_end, const char *b, const char *b_end, bool stops, bool swap,
                          differences *d) {
    const value by_default = word("as by default");
    char what[128];
    for (const char *line = a; line < a_end; line = next_line(line)) {
        const size_t n = strcspn(line, ":\n");
        if (line[n] != ':' || !counts_in_task(a, a_end, line, n, stops)) continue;
        const value mine = value_of(line, next_line(line), line, n), other = value_of(b, b_end, line, n);
        if (other.s && (swap || is_same(mine, other))) continue;
        snprintf(what, sizeof what, "task.%.*s", (int)n, line);
        differ(d, what, swap ? by_default : mine, swap ? mine : other.s ? other : by_default);
    }
}

static void compare_tasks(const char *theirs, const char *ours, bool stops, differences *d) {
    const char *te = recipe_of(theirs), *oe = recipe_of(ours);
    const value a = or_word(value_of(theirs, te, "task", 4), "none"), b = value_of(ours, oe, "task", 4);
    if (!is_same(a, b)) {  // its options are others too
        differ(d, "task", a, b);
        return;
    }
    compare_lines(theirs, te, ours, oe, stops, false, d);
    compare_lines(ours, oe, theirs, te, stops, true, d);
}

// ---------------------------------------------------------------------------------------------------- the recipe
static hy_status read_recipe(const char *text, const char *where, hy_train_spec *out) {
    char name[64], text_value[512];
    memset(out, 0, sizeof *out);
    hy_fields_default(hy_train_fields, out);
    for (const char *line = recipe_of(text); *line; line = next_line(line)) {
        const size_t n = strcspn(line, ":\n");
        snprintf(name, sizeof name, "%.*s", (int)n, line);
        if (line[n] != ':' || !strcmp(name, "seed")) continue;
        const value v = value_of(line, next_line(line), line, n);
        snprintf(text_value, sizeof text_value, "%.*s", (int)v.n, v.s);
        const hy_status s = hy_fields_set(hy_train_fields, out, name, text_value);
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
    static const char *const evaluation[] = {"eval_every", "eval_epochs", "eval_examples", NULL};
    static const char *const rates[] = {"steps", "lr", "min_lr", "schedule", "schedule_per", "warmup", "decay", NULL};
    const bool stops = theirs->stop_accuracy > 0 || ours->stop_accuracy > 0, same = same_rates(theirs, ours, step),
               passes = theirs->epochs && ours->epochs;  // one order of batches, however many of them
    for (const hy_field *f = hy_train_fields; f->name; f++) {
        if (is_one_of(f->name, never) || (!stops && is_one_of(f->name, evaluation))) continue;
        if (!strcmp(f->name, "stop_step")) continue;  // it changes no step that is made
        if (same && is_one_of(f->name, rates)) continue;
        if (same && passes && !strcmp(f->name, "epochs")) continue;
        const hy_field one[] = {*f, HY_FIELD_END};
        hy_buf a = {0}, b = {0};
        hy_fields_text(one, theirs, 0, &a);
        hy_fields_text(one, ours, 0, &b);
        const char *x = a.s ? a.s + strlen(f->name) + 2 : f->def, *y = b.s ? b.s + strlen(f->name) + 2 : f->def;
        const value left = {x, strcspn(x, "\n")}, right = {y, strcspn(y, "\n")};
        char what[64];
        snprintf(what, sizeof what, "train.%s", f->name);
        if (!is_same(left, right)) differ(d, what, left, right);
        free(a.s);
        free(b.s);
    }
}

// Older versions looked at other examples.
static void compare_stops(const char *theirs, const char *ours, differences *d) {
    const size_t n = strlen(STOPPED_BY);
    const value before = word("evaluation examples");
    const value a = or_word(value_of(theirs, recipe_of(theirs), STOPPED_BY, n), before.s),
                b = or_word(value_of(ours, recipe_of(ours), STOPPED_BY, n), before.s);
    if (!is_same(a, b)) differ(d, "train.stop_accuracy is of", a, b);
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
    differences d = {0};
    HY_TRY(read_recipe(theirs, where, &spec));
    const value a = or_word(value_of(recipe_of(theirs), theirs + strlen(theirs), "seed", 4), "none"),
                b = value_of(recipe_of(ours), ours + strlen(ours), "seed", 4);
    if (!is_same(a, b)) differ(&d, "seed", a, b);
    compare_recipes(&spec, &t->spec, step, &d);
    if (spec.stop_accuracy > 0 && t->spec.stop_accuracy > 0) compare_stops(theirs, ours, &d);
    compare_tasks(theirs, ours, spec.stop_accuracy > 0 || t->spec.stop_accuracy > 0, &d);
    const hy_status s = d.n ? refuse(t, where, &spec, step, &d) : HY_OK;
    free(d.text.s);
    t->loaded_steps = hy_train_end(&spec);
    return s;
}
