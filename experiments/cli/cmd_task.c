// cmd_task.c - `hylab task`: the kinds of tasks, the fields of one with their meaning, its cells, and examples that a
// person can read. Trains nothing.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/task.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"

enum { LINE_WIDTH = 100 };

typedef struct {
    hy_arg_list sets;
    int show, seed;
    const char *split;
    hy_table_format format;
} options;

// ------------------------------------------------------------------------------------------------ kinds, fields, cells
static hy_status print_kinds(const options *o) {
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "kind", NULL, NULL, HY_LEFT);
    hy_table_column(t, "about", NULL, NULL, HY_LEFT);
    char *names = hy_xstrdup(hy_task_kinds()), *rest = names, *name;
    while ((name = strsep(&rest, "|"))) {
        hy_table_row(t);
        hy_table_text(t, "%s", name);
        hy_table_text(t, "%s", hy_task_about(name));
    }
    hy_table_note(t, "hylab task KIND shows the fields of a kind, its cells and examples");
    hy_status st = hy_table_print(t, o->format, stdout);
    free(names);
    hy_table_free(t);
    return st;
}

static hy_table *fields_table(const char *kind) {
    hy_table *t = hy_table_new(NULL);
    static const char *const columns[] = {"name", "default", "min", "max", "choices", "meaning"};
    for (int i = 0; i < 6; i++) hy_table_column(t, columns[i], NULL, NULL, i == 2 || i == 3 ? HY_RIGHT : HY_LEFT);
    for (const hy_field *f = hy_task_fields(kind); f->name; f++) {
        bool bounded = f->min < f->max && f->type != HY_F_BOOL;
        hy_table_row(t);
        hy_table_text(t, "%s", f->name);
        hy_table_text(t, "%s", f->def);
        hy_table_num(t, bounded ? f->min : NAN, -6);
        hy_table_num(t, bounded ? f->max : NAN, -6);
        hy_table_text(t, "%s", f->choices ? f->choices : "");
        hy_table_text(t, "%s", f->doc);
    }
    return t;
}

static hy_table *cells_table(const hy_task *task) {
    hy_table *t = hy_table_new("cells");
    hy_table_column(t, "split", NULL, NULL, HY_LEFT);
    hy_table_column(t, "cell", NULL, NULL, HY_LEFT);
    hy_table_column(t, "tokens", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "examples", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "weight", "share of batches", NULL, HY_RIGHT);
    for (int s = 0; s < HY_SPLITS; s++)
        for (int i = 0; i < hy_task_cells(task, s); i++) {
            const hy_cell *c = hy_task_cell(task, s, i);
            hy_table_row(t);
            hy_table_text(t, "%s", hy_split_name(s));
            hy_table_text(t, "%s", c->name);
            hy_table_int(t, c->T);
            if (c->count)
                hy_table_int(t, c->count);
            else
                hy_table_text(t, "no end");
            if (s == HY_SPLIT_TRAIN)
                hy_table_num(t, c->weight, 3);
            else
                hy_table_empty(t);
        }
    hy_table_note(t, "vocabulary %d, longest example %d tokens", hy_task_vocab(task), hy_task_max_len(task));
    for (int i = 0; i < hy_task_cells(task, HY_SPLIT_TRAIN); i++)
        if (hy_task_pass(task, i))
            hy_table_note(t, "a pass over the training part has %lld examples of %s", (long long)hy_task_pass(task, i),
                          hy_task_cell(task, HY_SPLIT_TRAIN, i)->name);
    double h = hy_task_entropy(task);
    if (!isnan(h)) hy_table_note(t, "no model can have a lower mean loss than %.6g nats per label", h);
    return t;
}

// ---------------------------------------------------------------------------------------------------- examples
typedef struct {
    const hy_task *task;
    hy_split split;
    int cell, T;
    int64_t index;
    int32_t *ids, *labels;  // [T]
} example;

// A token as a person reads it: bytes of a text as characters, pieces of a tokenizer, other tokens as numbers; "." for
// an ignored label.
static void token_text(const hy_task *task, int32_t id, char out[16]) {
    const char *piece = id < 0 ? NULL : hy_task_piece(task, id);
    if (id < 0)
        snprintf(out, 16, ".");
    else if (piece) {
        size_t n = strnlen(piece, 15);
        while (piece[n] && n && ((unsigned char)piece[n] & 0xc0) == 0x80) n--;  // no half character
        snprintf(out, 16, "%.*s", (int)n, piece);
    } else if (strcmp(hy_task_kind(task), "text") || id > 255)
        snprintf(out, 16, "%d", id);
    else if (id == '\n')
        snprintf(out, 16, "\\n");
    else if (id == '\t')
        snprintf(out, 16, "\\t");
    else if (id == ' ')
        snprintf(out, 16, "sp");
    else if (id > 32 && id < 127)
        snprintf(out, 16, "%c", (char)id);
    else
        snprintf(out, 16, "x%02x", (unsigned)id);
}

static void print_row(const example *e, const char *name, const int32_t *tokens, int from, int to, int width) {
    printf("  %-8s", name);
    for (int i = from; i < to; i++) {
        char text[16];
        if (tokens)
            token_text(e->task, tokens[i], text);
        else
            snprintf(text, sizeof text, "%d", i);
        printf(" %*s", width, text);
    }
    printf("\n");
}

// The picture of an example, and in words what is asked where its tokens are many.
static void picture_print(const example *e) {
    hy_buf b = {0};
    const bool drawn = hy_task_picture(e->task, e->ids, e->labels, &b);
    if (drawn) printf("%s", b.s);
    free(b.s);
    const int32_t last = e->labels[e->T - 1];
    const char *piece = drawn && last >= 0 ? hy_task_piece(e->task, last) : NULL;
    if (piece) printf("  wanted at position %d: %s\n", e->T - 1, piece);
}

static hy_status example_print(const example *e, void *user) {
    (void)user;
    int width = 3;
    char digits[16];
    for (int i = 0; i < 2; i++) {
        int n = snprintf(digits, sizeof digits, "%d", i ? e->T - 1 : hy_task_vocab(e->task) - 1);
        if (n > width && (i || strcmp(hy_task_kind(e->task), "text"))) width = n;
    }
    int per_line = (LINE_WIDTH - 10) / (width + 1);
    printf("\nexample %lld of %s cell %s\n", (long long)e->index, hy_split_name(e->split),
           hy_task_cell(e->task, e->split, e->cell)->name);
    picture_print(e);
    for (int from = 0; from < e->T; from += per_line) {
        int to = from + per_line < e->T ? from + per_line : e->T, wanted = 0;
        for (int i = from; i < to; i++) wanted += e->labels[i] >= 0;
        print_row(e, "position", NULL, from, to, width);
        print_row(e, "token", e->ids, from, to, width);
        if (wanted) print_row(e, "label", e->labels, from, to, width);
    }
    return HY_OK;
}

static hy_status example_csv(const example *e, void *user) {
    hy_table *t = user;
    for (int i = 0; i < e->T; i++) {
        hy_table_row(t);
        hy_table_text(t, "%s", hy_split_name(e->split));
        hy_table_text(t, "%s", hy_task_cell(e->task, e->split, e->cell)->name);
        hy_table_int(t, e->index);
        hy_table_int(t, i);
        hy_table_int(t, e->ids[i]);
        if (e->labels[i] >= 0)
            hy_table_int(t, e->labels[i]);
        else
            hy_table_empty(t);
    }
    return HY_OK;
}

static hy_status example_json(const example *e, void *user) {
    hy_json *o = hy_json_new_object(), *ids = hy_json_new_array(), *labels = hy_json_new_array();
    hy_json_set_string(o, "split", hy_split_name(e->split));
    hy_json_set_string(o, "cell", hy_task_cell(e->task, e->split, e->cell)->name);
    hy_json_set_int(o, "index", e->index);
    for (int i = 0; i < e->T; i++) {
        hy_json_add(ids, hy_json_new_int(e->ids[i]));
        hy_json_add(labels, e->labels[i] >= 0 ? hy_json_new_int(e->labels[i]) : hy_json_new_null());
    }
    hy_json_set(o, "ids", ids);
    hy_json_set(o, "labels", labels);
    hy_json_add(user, o);
    return HY_OK;
}

// Calls `each` for the first `show` examples, going through the cells in turn.
static hy_status examples_visit(const hy_task *task, const options *o, hy_status (*each)(const example *, void *),
                                void *user) {
    hy_split split = HY_SPLIT_TRAIN;
    while (strcmp(hy_split_name(split), o->split)) split++;
    int cells = hy_task_cells(task, split);
    if (!cells && o->show)
        return hy_error(HY_EINPUT, "task %s has no %s examples: set its option tuning", hy_task_kind(task), o->split);
    size_t n = (size_t)hy_task_max_len(task);
    int32_t *ids = hy_alloc(2 * n * sizeof *ids);
    if (!ids) return HY_ENOMEM;
    hy_status st = HY_OK;
    for (int i = 0; i < o->show && !st; i++) {
        example e = {
            .task = task, .split = split, .cell = i % cells, .index = i / cells, .ids = ids, .labels = ids + n};
        e.T = hy_task_cell(task, split, e.cell)->T;
        st = hy_task_example(task, split, e.cell, e.index, e.ids, e.labels);
        if (!st) st = each(&e, user);
    }
    free(ids);
    return st;
}

// ---------------------------------------------------------------------------------------------------- one kind
static hy_status print_text(const char *kind, const hy_task *task, const options *o) {
    hy_buf b = {0};
    char *title = hy_asprintf("%s - %s", kind, hy_task_about(kind));
    hy_fields_help(hy_task_fields(kind), title, &b);
    printf("%s\n", b.s);
    free(title);
    free(b.s);
    if (!task) {  // a kind that must be told something, before it was
        printf("no cells and examples yet: %s\n", hy_error_text());
        return HY_OK;
    }
    hy_table *t = cells_table(task);
    hy_status st = hy_table_print(t, HY_TABLE_TEXT, stdout);
    hy_table_free(t);
    return st ? st : examples_visit(task, o, example_print, NULL);
}

static hy_status print_csv(const char *kind, const hy_task *task, const options *o) {
    hy_table *t;
    hy_status st = HY_OK;
    if (o->show && task) {
        t = hy_table_new(NULL);
        static const char *const columns[] = {"split", "cell", "example", "position", "token", "label"};
        for (int i = 0; i < 6; i++) hy_table_column(t, columns[i], NULL, NULL, HY_LEFT);
        st = examples_visit(task, o, example_csv, t);
    } else {
        t = fields_table(kind);
    }
    if (!st) st = hy_table_print(t, HY_TABLE_CSV, stdout);
    hy_table_free(t);
    return st;
}

static hy_status print_json(const char *kind, const hy_task *task, const options *o) {
    hy_json *doc = hy_json_new_object(), *examples = hy_json_new_array();
    hy_status st = HY_OK;
    hy_table *t = fields_table(kind);
    hy_json_set_string(doc, "kind", kind);
    hy_json_set_string(doc, "about", hy_task_about(kind));
    hy_json_set(doc, "fields", hy_table_json(t));
    hy_table_free(t);
    if (task) {
        t = cells_table(task);
        hy_json_set(doc, "cells", hy_table_json(t));
        hy_table_free(t);
        hy_json_set_int(doc, "vocab", hy_task_vocab(task));
        hy_json_set_double(doc, "entropy", hy_task_entropy(task));
        st = examples_visit(task, o, example_json, examples);
    }
    hy_json_set(doc, "examples", examples);
    if (!st) st = hy_json_print(doc, stdout);
    hy_json_free(doc);
    return st;
}

static hy_status one_kind(const char *kind, const options *o) {
    hy_buf yaml = {0};
    hy_task *task = NULL;
    hy_status st = HY_OK;
    if (!hy_task_fields(kind)) st = hy_error(HY_EINPUT, "no task kind \"%s\"; there are %s", kind, hy_task_kinds());
    for (int i = 0; i < o->sets.n && !st; i++) {
        const char *set = o->sets.v[i], *eq = strchr(set, '=');
        if (!eq)
            st = hy_error(HY_EINPUT, "--set %s: write it as name=value", set);
        else
            hy_buf_printf(&yaml, "%.*s: %s\n", (int)(eq - set), set, eq + 1);
    }
    if (!st) st = hy_task_open(kind, yaml.s, (uint64_t)o->seed, &task);
    if (st == HY_EINPUT && !o->sets.n && hy_task_fields(kind)) st = HY_OK;
    free(yaml.s);
    if (!st)
        st = (o->format == HY_TABLE_TEXT  ? print_text
              : o->format == HY_TABLE_CSV ? print_csv
                                          : print_json)(kind, task, o);
    hy_task_close(task);
    return st;
}

int hy_cmd_task(int argc, char **argv) {
    options o = {.show = 2, .split = "train"};
    const hy_arg args[] = {
        {"--set", "NAME=VALUE", HY_ARG_LIST, &o.sets, 0, "sets a field of the task; may be given many times"},
        {"--show", "N", HY_ARG_INT, &o.show, 0, "prints N examples, cell by cell in turn (2)"},
        {"--split", "train|eval|tune", HY_ARG_TEXT, &o.split, 0,
         "which examples (train); tune: those that train.stop_accuracy looks at"},
        {"--seed", "N", HY_ARG_INT, &o.seed, 0, "seed of the data (0)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0,
         "how to print; csv: the examples, or the fields with --show 0"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab task [KIND] [options]",
        .text = "Shows the kinds of tasks; of one kind the fields with their meaning, the cells, and examples. The "
                "label under a\n"
                "token is what the model must give at that position; \".\" and positions without a label row are not "
                "scored.\n\n"
                "examples:\n"
                "  hylab task\n"
                "  hylab task mqar --set vocab=40 --set 'train=[[32, 4]]' --set 'test=[[32, 4]]'\n"
                "  hylab task needle --split eval --show 5\n"
                "  hylab task text --set path=experiments/data/tinyshakespeare.txt --show 1\n"
                "  hylab task images --set path=~/mnist --set downsample=2",
        .args = args,
        .min_rest = 0,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help && strcmp(o.split, "train") && strcmp(o.split, "eval") && strcmp(o.split, "tune"))
        st = hy_error(HY_EINPUT, "--split is \"%s\"; it must be train, eval or tune", o.split);
    if (!st && !help) st = rest.n ? one_kind(rest.v[0], &o) : print_kinds(&o);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("task", st);
}
