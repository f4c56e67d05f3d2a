// cmd_plot.c - hylab plot: the figures of a stored experiment.
#include <stdlib.h>

#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "analysis/report/plots.h"
#include "experiments/cli/stored.h"

typedef struct {
    hy_stored_options which;
    const char *figure, *out, *formats;
} options;

static hy_status plot(const options *o, const char *file) {
    hy_store *store;
    hy_summary *s;
    unsigned formats;
    HY_TRY(hy_fig_formats_parse(o->formats, &formats));
    HY_TRY(hy_stored_open(&o->which, file, &store, &s));
    char *dir = o->out ? hy_xstrdup(o->out) : hy_stored_folder(&o->which, store, s);
    hy_plots p = {.store = store, .s = s, .dir = dir, .formats = formats};
    hy_status st = hy_outfolder_try(dir);
    if (!st) st = hy_plots_draw(&p, o->figure);
    for (int i = 0; i < p.n; i++) printf("%s/%s.{%s}\n    %s\n", dir, p.file[i].name, o->formats, p.file[i].caption);
    if (*hy_plot_missing())
        fprintf(stderr,
                "note: no font here has %s: PNG and PDF figures do not show it; install one, such as fonts-noto-cjk\n",
                hy_plot_missing());
    hy_plots_free(&p);
    free(dir);
    hy_summary_free(s);
    hy_store_close(store);
    return st;
}

int hy_cmd_plot(int argc, char **argv) {
    options o = {.which = {.db = hy_default_db()}, .formats = "svg,png,pdf"};
    const hy_arg args[] = {
        {"--figure", "NAME", HY_ARG_TEXT, &o.figure, 0,
         "only this one (default: all that the stored runs have figures for)"},
        {"--out", "DIR", HY_ARG_PATH, &o.out, 0, "folder for the figures (figures/EXPERIMENT beside the database)"},
        {"--formats", "LIST", HY_ARG_TEXT, &o.formats, 0, "svg,png,pdf (all three)"},
        HY_STORED_ARGS(o.which),
        {0},
    };
    hy_buf text = {0};
    hy_buf_printf(&text, "Draws what an experiment has stored. Beside each figure stand its data (.dat) and the "
                         "script of gnuplot (.gp).\n\nfigures:\n");
    for (const hy_plot_kind *k = hy_plot_kinds; k->name; k++)
        hy_buf_printf(&text, "  %-20s %s (needs %s)\n", k->name, k->shows, k->needs);
    hy_buf_printf(
        &text,
        "\nexamples:\n"
        "  hylab plot experiments/roadmap/roadmap.yaml\n"
        "  hylab plot --db runs/hylab.db --experiment roadmap --figure accuracy-cache --formats pdf --out paper\n");
    const hy_args a = {.usage = "hylab plot [EXPERIMENT.yaml] [options]", .text = text.s, .args = args, .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = plot(&o, rest.n ? rest.v[0] : NULL);
    free(rest.v);
    free(o.which.sets.v);
    free(text.s);
    return hy_command_end("plot", s);
}
