// identity.c - see identity.h. Canonical texts are YAML of one form (core/format/field.h): "name: value" a line, nested
// maps two spaces deeper, items of a list of maps behind "- ", other lists in one line.
#include "results/identity.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- lines
static bool has_key(const char *line, const char *key) {
    const size_t n = strlen(key);
    return !strncmp(line, key, n) && line[n] == ':';
}

static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

bool hy_canonical_value(const char *text, const char *name, char *out, size_t size) {
    for (const char *line = text; *line; line = next_line(line)) {
        if (!has_key(line, name)) continue;
        const char *v = line + strlen(name) + 1;
        v += strspn(v, " ");
        snprintf(out, size, "%.*s", (int)strcspn(v, "\n"), v);
        return true;
    }
    return false;
}

static double number_of(const char *text, const char *name) {
    char v[64];
    return hy_canonical_value(text, name, v, sizeof v) ? strtod(v, NULL) : 0;
}

// Appends the lines that keep() wants; where a text tells the content of a file, its place does not count.
static void filter(const char *text, bool (*keep)(const char *line, bool stops), bool stops, hy_buf *out) {
    char value[8];
    const bool content = hy_canonical_value(text, "content", value, sizeof value);
    const bool tokenizer = hy_canonical_value(text, "tokenizer_content", value, sizeof value);
    for (const char *line = text, *next; *line; line = next) {
        next = next_line(line);
        if ((content && has_key(line, "path")) || (tokenizer && has_key(line, "tokenizer"))) continue;
        if (keep(line, stops)) hy_buf_write(out, line, (size_t)(next - line));
    }
    if (out->n && out->s[out->n - 1] != '\n') hy_buf_printf(out, "\n");
}

// ---------------------------------------------------------------------------------------------------- identity
// stops: the training ends when an evaluation is good enough, so evaluations decide the weights.
static bool spec_line(const char *line, bool stops) {
    (void)stops;
    return !has_key(line, "name");
}

static bool task_line(const char *line, bool stops) {
    return stops || !(has_key(line, "test") || !strncmp(line, "test_", 5));
}

static bool train_line(const char *line, bool stops) {
    static const char *const never[] = {"log_every", "checkpoint_every", "save_seconds", "eval_batch"};
    static const char *const evaluation[] = {"eval_every", "eval_epochs", "eval_examples"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        if (has_key(line, never[i])) return false;
    for (size_t i = 0; !stops && i < sizeof evaluation / sizeof evaluation[0]; i++)
        if (has_key(line, evaluation[i])) return false;
    return true;
}

static bool random_line(const char *line, bool stops) {
    (void)stops;
    return has_key(line, "steps") || has_key(line, "precision");
}

static void model_key(const char *spec_text, const char *task_kind, const char *task_text, const char *train_text,
                      const char *source_hash, bool by_tuning, char key[33]) {
    char steps[32] = "";
    const bool random = hy_canonical_value(train_text, "steps", steps, sizeof steps) && !strcmp(steps, "0");
    const bool stops = !random && number_of(train_text, "stop_accuracy") > 0;
    hy_buf b = {0};
    hy_buf_printf(&b, "identity: %d\nmodel:\n", HY_MODEL_IDENTITY);
    filter(spec_text, spec_line, stops, &b);
    hy_buf_printf(&b, "task: %s\n", task_kind);
    filter(task_text, task_line, stops, &b);
    hy_buf_printf(&b, "train:\n");
    filter(train_text, random ? random_line : train_line, stops, &b);
    if (stops && by_tuning) hy_buf_printf(&b, "stopped_by: tuning examples\n");
    hy_buf_printf(&b, "source: %s\n", source_hash);
    hy_hash_hex(b.s, b.n, key);
    free(b.s);
}

void hy_model_identity(const char *spec_text, const char *task_kind, const char *task_text, const char *train_text,
                       const char *source_hash, char key[33]) {
    model_key(spec_text, task_kind, task_text, train_text, source_hash, true, key);
}

void hy_model_identity_v3(const char *spec_text, const char *task_kind, const char *task_text, const char *train_text,
                          const char *source_hash, char key[33]) {
    model_key(spec_text, task_kind, task_text, train_text, source_hash, false, key);
}

static bool any_line(const char *line, bool stops) {
    (void)line;
    (void)stops;
    return true;
}

void hy_measurement_identity(const char *options_text, const char *task_text, char key[33]) {
    hy_buf b = {0};
    hy_buf_printf(&b, "options:\n%s\ntask:\n", options_text);
    filter(task_text, any_line, false, &b);
    hy_hash_hex(b.s, b.n, key);
    free(b.s);
}

// ---------------------------------------------------------------------------------------------------- leaves
enum { MAX_DEPTH = 8, MAX_PATH = 512 };

typedef struct {
    int indent[MAX_DEPTH];     // of the keys of each open map
    size_t length[MAX_DEPTH];  // of the path that leads to them
    int item[MAX_DEPTH];       // items seen of the list under that path
    int depth;
    char path[MAX_PATH];
} walk;

// Opens a map whose keys stand at `indent`, under the first n bytes of the path.
static void open_map(walk *w, int indent, size_t n) {
    if (w->depth + 1 >= MAX_DEPTH) return;
    w->depth++;
    w->indent[w->depth] = indent;
    w->length[w->depth] = n;
    w->item[w->depth] = 0;
}

static void walk_line(walk *w, const char *line, size_t n, hy_canonical_leaf leaf, void *user) {
    size_t at = strspn(line, " ");
    while (w->depth > 0 && (int)at < w->indent[w->depth]) w->depth--;
    if (n > at + 1 && line[at] == '-' && line[at + 1] == ' ') {  // an item: its keys stand two further
        const size_t base = w->length[w->depth];
        snprintf(w->path + base, sizeof w->path - base, "%s%d", base ? "." : "", w->item[w->depth]++);
        at += 2;
        open_map(w, (int)at, strlen(w->path));
    }
    const char *colon = memchr(line + at, ':', n - at);
    if (!colon) return;
    const size_t base = w->length[w->depth];
    snprintf(w->path + base, sizeof w->path - base, "%s%.*s", base ? "." : "", (int)(colon - line - (long)at),
             line + at);
    size_t value = (size_t)(colon - line) + 1;
    while (value < n && line[value] == ' ') value++;
    if (value == n) {
        open_map(w, (int)at + 2, strlen(w->path));
        return;
    }
    char *text = hy_asprintf("%.*s", (int)(n - value), line + value);
    leaf(user, w->path, text);
    free(text);
}

void hy_canonical_leaves(const char *text, hy_canonical_leaf leaf, void *user) {
    walk w = {0};
    for (const char *line = text; *line; line = next_line(line)) {
        const size_t n = strcspn(line, "\n");
        if (n) walk_line(&w, line, n, leaf, user);
    }
}
