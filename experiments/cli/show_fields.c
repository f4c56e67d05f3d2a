// show_fields.c - `hylab show variants`, `hylab show fields` and `hylab show measures`: what there is to start from,
// and what can be written.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/spec/spec_read.h"
#include "core/task/task.h"
#include "core/train/train.h"
#include "experiments/cli/args.h"
#include "experiments/runner/experiment.h"
#include "experiments/cli/show_spec.h"

// ---------------------------------------------------------------------------------------------------- variants
typedef struct {
    int n;
    char **path;
} paths;

// The .yaml files of a folder and of the folders in it, `depth` levels down.
static hy_status find_variants(const char *folder, int depth, paths *out) {
    DIR *dir = opendir(folder);
    if (!dir) return hy_error(HY_EINPUT, "%s: cannot read the folder: %s", folder, strerror(errno));
    hy_status st = HY_OK;
    for (struct dirent *e; !st && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        char *path = hy_asprintf("%s/%s", folder, e->d_name);
        size_t n = strlen(path);
        struct stat info;
        bool folder_too = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
        if (folder_too && depth > 0) st = find_variants(path, depth - 1, out);
        if (folder_too || n < 5 || strcmp(path + n - 5, ".yaml")) {
            free(path);
            continue;
        }
        out->path = hy_xrealloc(out->path, (size_t)(out->n + 1) * sizeof *out->path);
        out->path[out->n++] = path;
    }
    closedir(dir);
    return st;
}

// The first sentence of the comment that opens a file: what the variant is. Cut at 76 bytes.
static void about(const char *path, char out[80]) {
    char text[512] = "", line[256];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f) && line[0] == '#') {
        line[strcspn(line, "\n")] = 0;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", line + 1 + strspn(line + 1, " "));
        if (n >= sizeof text) n = sizeof text - 1;
    }
    if (f) fclose(f);
    char *stop = strstr(text, ". ");
    if (stop) *stop = 0;
    n = strlen(text);
    if (n && text[n - 1] == '.') text[n - 1] = 0;
    if (n > 76) memcpy(text + 73, "...", 4);
    memcpy(out, text, strlen(text) + 1);
}

static const char *mixer_of_all(const hy_model_spec *m) {
    for (int i = 1; i < m->n_layers; i++)
        if (m->layers[i].mixer != m->layers[0].mixer) return "mixed";
    return hy_mixer_text(m->layers[0].mixer);
}

static hy_status print_variants(const paths *p, hy_table_format format) {
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "file", NULL, NULL, HY_LEFT);
    hy_table_column(t, "mixer", NULL, NULL, HY_LEFT);
    hy_table_column(t, "layers", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "d_model", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "parameters", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "cache_mb", "cache", "MB at 8000", HY_RIGHT);
    hy_table_column(t, "about", NULL, NULL, HY_LEFT);
    hy_model_spec *m = hy_xcalloc(1, sizeof *m);
    for (int i = 0; i < p->n; i++) {
        hy_table_row(t);
        hy_table_text(t, "%s", p->path[i]);
        if (hy_spec_load(p->path[i], NULL, m)) {  // one bad file does not hide the others
            for (int c = 0; c < 5; c++) hy_table_empty(t);
            hy_table_text(t, "cannot be read: %s", hy_error_text());
            continue;
        }
        hy_param_count c;
        hy_cache_bytes b;
        char text[80];
        hy_model_count(m, &c);
        hy_model_cache(m, HY_CACHE_TRUE, 8000, 2, 2, 2, NULL, &b);
        about(p->path[i], text);
        hy_table_text(t, "%s", mixer_of_all(m));
        hy_table_int(t, m->n_layers);
        hy_table_int(t, m->d_model);
        hy_table_int(t, c.total);
        hy_table_num(t, b.total / 1e6, 2);
        hy_table_text(t, "%s", text);
    }
    hy_table_note(
        t,
        "cache: what one sequence of 8000 tokens holds at 2 bytes a value; hylab show spec FILE tells all about one");
    hy_status st = hy_table_print(t, format, stdout);
    free(m);
    hy_table_free(t);
    return st;
}

int hy_show_variants(int argc, char **argv) {
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab show variants [FOLDER] [options]",
        .text = "Lists the variants of a folder (default: variants) and of the folders in it.",
        .args = args,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    paths p = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) {
        const char *folder = rest.n ? rest.v[0] : "variants";
        st = find_variants(folder, 2, &p);
        if (!st && p.n == 0) st = hy_error(HY_EINPUT, "%s: no .yaml file in it", folder);
        if (p.n) qsort(p.path, (size_t)p.n, sizeof *p.path, hy_by_text);
        if (!st) st = print_variants(&p, format);
    }
    for (int i = 0; i < p.n; i++) free(p.path[i]);
    free(p.path);
    free(rest.v);
    return hy_command_end("show variants", st);
}

// ---------------------------------------------------------------------------------------------------- fields
static hy_status print_fields(const char *what) {
    hy_buf b = {0};
    bool all = !what[0];
    if (all || !strcmp(what, "variant")) hy_spec_fields_help(&b);
    if (all || !strcmp(what, "train")) {
        if (all) hy_buf_printf(&b, "\n");
        hy_fields_help(hy_train_fields, "Training recipe", &b);
    }
    if (all || !strcmp(what, "experiment")) {
        if (all) hy_buf_printf(&b, "\n");
        hy_experiment_help(&b);
    }
    if (all || !strcmp(what, "measures")) {
        if (all) hy_buf_printf(&b, "\n");
        hy_measure_help(NULL, &b);
    }
    if (!all && hy_measure_find(what)) hy_measure_help(what, &b);
    for (const char *p = hy_task_kinds(); *p; p += strcspn(p, "|"), p += *p == '|') {
        char kind[48], title[80];
        snprintf(kind, sizeof kind, "%.*s", (int)strcspn(p, "|"), p);
        if (!all && strcmp(what, kind)) continue;
        snprintf(title, sizeof title, "%sTask %s", all ? "\n" : "", kind);
        hy_fields_help(hy_task_fields(kind), title, &b);
    }
    hy_status st = HY_OK;
    if (!b.n) {
        char *names = hy_measure_names(),
             *list = hy_asprintf("variant|train|experiment|measures|%s|%s", hy_task_kinds(), names),
             *hint = hy_suggest(what, list);
        st = hy_error(HY_EINPUT, "no fields of \"%s\"%s; there are %s", what, hint, list);
        free(hint);
        free(list);
        free(names);
    } else {
        fputs(b.s, stdout);
        st = hy_stream_end(stdout, "the text");
    }
    free(b.s);
    return st;
}

int hy_show_fields(int argc, char **argv) {
    const hy_arg args[] = {{0}};
    const hy_args a = {
        .usage = "hylab show fields [variant|train|experiment|measures|MEASURE|TASK]",
        .text = "Every key that a variant, a training recipe, an experiment, a measure or a task takes, with default, "
                "meaning and range.\n\n"
                "examples:\n"
                "  hylab show fields variant\n"
                "  hylab show fields measures\n"
                "  hylab show fields mqar",
        .args = args,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) st = print_fields(rest.n ? rest.v[0] : "");
    free(rest.v);
    return hy_command_end("show fields", st);
}

// ---------------------------------------------------------------------------------------------------- measures
static hy_status print_measures(hy_table_format format) {
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "name", NULL, NULL, HY_LEFT);
    hy_table_column(t, "version", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "needs", NULL, NULL, HY_LEFT);
    hy_table_column(t, "doc", "what it finds", NULL, HY_LEFT);
    for (int i = 0; hy_measures[i]; i++) {
        char needs[96];
        hy_measure_needs_text(hy_measures[i], needs);
        hy_table_row(t);
        hy_table_text(t, "%s", hy_measures[i]->name);
        hy_table_int(t, hy_measures[i]->version);
        hy_table_text(t, "%s", needs);
        hy_table_text(t, "%s", hy_measures[i]->doc);
    }
    hy_table_note(t, "in an experiment `measures: {NAME: {OPTION: VALUE}}`, on the command line `hylab probe MODEL "
                     "--measure NAME --option OPTION=VALUE`");
    hy_table_note(
        t, "options: hylab show fields NAME; accuracy, size and cache are on in an experiment unless they are false");
    const hy_status st = hy_table_print(t, format, stdout);
    hy_table_free(t);
    return st;
}

int hy_show_measures(int argc, char **argv) {
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "hylab show measures [options]",
                       .text = "Lists what can be measured of a model, trained or not.",
                       .args = args};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) st = print_measures(format);
    free(rest.v);
    return hy_command_end("show measures", st);
}
