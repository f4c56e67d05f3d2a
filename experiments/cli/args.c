// args.c - see args.h.
#include "experiments/cli/args.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void list_add(hy_arg_list *l, const char *v) {
    l->v = hy_xrealloc(l->v, (size_t)(l->n + 2) * sizeof *l->v);
    l->v[l->n++] = v;
    l->v[l->n] = NULL;
}

static void print_help(const hy_args *a) {
    printf("usage: %s\n\n%s\n\noptions:\n", a->usage, a->text);
    for (const hy_arg *o = a->args; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-26s %s\n", left, o->doc);
    }
    printf("  %-26s %s\n", "--help", "this text");
}

static hy_status read_int(const hy_arg *o, const char *text) {
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < o->min || v > INT_MAX)
        return hy_error(HY_EINPUT, "%s %s: expected a whole number from %d to %d", o->name, text, o->min, INT_MAX);
    *(int *)o->dst = (int)v;
    return HY_OK;
}

// What is expanded lives as long as the process, as argv does.
static hy_status read_path(const hy_arg *o, const char *text) {
    static hy_arg_list expanded;
    if (!*text) return hy_error(HY_EINPUT, "%s: the name is empty (is a variable of the shell not set?)", o->name);
    if (*text == '~') list_add(&expanded, text = hy_path_home(text));
    *(const char **)o->dst = text;
    return HY_OK;
}

static hy_status set(const hy_arg *o, const char *value) {
    switch (o->kind) {
        case HY_ARG_FLAG: *(bool *)o->dst = true; return HY_OK;
        case HY_ARG_INT: return read_int(o, value);
        case HY_ARG_TEXT: *(const char **)o->dst = value; return HY_OK;
        case HY_ARG_PATH: return read_path(o, value);
        case HY_ARG_LIST: list_add(o->dst, value); return HY_OK;
        case HY_ARG_FORMAT: return hy_table_format_parse(value, o->dst);
    }
    return HY_OK;
}

// One option at argv[*i]; moves *i over its value.
static hy_status read_option(const hy_args *a, int argc, char **argv, int *i) {
    const char *word = argv[*i], *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    for (const hy_arg *o = a->args; o->name; o++) {
        if (strlen(o->name) != n || strncmp(o->name, word, n)) continue;
        if (!o->value) return eq ? hy_error(HY_EINPUT, "%s takes no value", o->name) : set(o, NULL);
        if (eq) return set(o, eq + 1);
        if (*i + 1 >= argc) return hy_error(HY_EINPUT, "%s needs a value: %s %s", o->name, o->name, o->value);
        return set(o, argv[++*i]);
    }
    return hy_error(HY_EINPUT, "no option \"%.*s\"; --help lists them", (int)n, word);
}

hy_status hy_args_read(const hy_args *a, int argc, char **argv, hy_arg_list *rest, bool *help) {
    *rest = (hy_arg_list){0};
    rest->v = hy_xcalloc(1, sizeof *rest->v);
    *help = false;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *w = argv[i];
        if (options && !strcmp(w, "--"))
            options = false;
        else if (options && (!strcmp(w, "--help") || !strcmp(w, "-h"))) {
            print_help(a);
            *help = true;
            return HY_OK;
        } else if (options && w[0] == '-' && w[1])
            HY_TRY(read_option(a, argc, argv, &i));
        else
            list_add(rest, w);
    }
    if (rest->n < a->min_rest || (a->max_rest >= 0 && rest->n > a->max_rest))
        return hy_error(HY_EINPUT, "%s arguments; usage: %s", rest->n < a->min_rest ? "too few" : "too many", a->usage);
    return HY_OK;
}

hy_status hy_arg_size(const char *option, const char *text, double *out) {
    static const struct {
        const char *word;
        double times;
    } units[] = {{"", 1}, {"u", 1e-6}, {"m", 1e-3}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15}};
    char *end;
    *out = 0;
    if (!text) return HY_OK;
    const double v = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (end != text && !strcmp(end, units[i].word) && v > 0 && isfinite(v)) {
            *out = v * units[i].times;
            return HY_OK;
        }
    return hy_error(HY_EINPUT,
                    "%s %s: a number above 0 is wanted, with k, M, G, T or P for powers of 1000 (u, m below 1)", option,
                    text);
}

int hy_command_end(const char *command, hy_status st) {
    if (st && st != HY_EPIPE) fprintf(stderr, "hylab %s: %s\n", command, hy_error_text());
    return hy_status_exit(st);
}

const char *hy_default_db(void) {
    const char *e = getenv("HYLAB_DB");
    return e && *e ? e : "runs/hylab.db";
}
