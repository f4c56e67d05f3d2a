// cmd_report.c - hylab report: one self-contained HTML page about a stored experiment.
#include <stdlib.h>
#include <string.h>

#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "analysis/report/report_page.h"
#include "experiments/cli/stored.h"

typedef struct {
    hy_stored_options which;
    const char *out, *figures;
} options;

static hy_status write_page(hy_plots *p, const char *path) {
    char *label = *p->s->scale ? hy_asprintf("%s scale", p->s->scale) : NULL;
    hy_report *r = hy_report_new(p->s->experiment, label);
    hy_status s = hy_plots_draw(p, NULL);
    if (!s) s = hy_report_page(p, r);
    if (!s) s = hy_report_write(r, path);
    if (!s) printf("%s (%d figures from %s)\n", path, p->n, p->dir);
    hy_report_free(r);
    free(label);
    return s;
}

static hy_status report(const options *o, const char *file) {
    hy_store *store;
    hy_summary *s;
    HY_TRY(hy_stored_open(&o->which, file, &store, &s));
    const char *slash = o->out ? strrchr(o->out, '/') : NULL;
    char *dir = o->figures ? hy_xstrdup(o->figures)
                : slash    ? hy_asprintf("%.*s", slash == o->out ? 1 : (int)(slash - o->out), o->out)
                : o->out   ? hy_xstrdup(".")
                           : hy_stored_folder(&o->which, s);
    char *path = o->out ? hy_xstrdup(o->out) : hy_asprintf("%s/report.html", dir);
    hy_plots p = {.store = store, .s = s, .dir = dir, .formats = HY_FIG_SVG};
    hy_status st = hy_outfolder_try(dir);
    if (!st) st = hy_outfile_try(path);
    if (!st) st = write_page(&p, path);
    hy_plots_free(&p);
    free(dir), free(path);
    hy_summary_free(s);
    hy_store_close(store);
    return st;
}

int hy_cmd_report(int argc, char **argv) {
    options o = {.which = {.db = hy_default_db()}};
    const hy_arg args[] = {
        {"--out", "FILE", HY_ARG_PATH, &o.out, 0, "the page (report.html in the folder of the figures)"},
        {"--figures", "DIR", HY_ARG_PATH, &o.figures, 0,
         "folder for the figures (that of the page, else figures/EXPERIMENT beside the database)"},
        HY_STORED_ARGS(o.which),
        {0},
    };
    const hy_args a = {
        .usage = "hylab report [EXPERIMENT.yaml] [options]",
        .text = "Writes one HTML page that needs nothing else: question, table with the paper's figures beside, what "
                "it shows\n"
                "and does not, all figures that have data, recipe and provenance. Draws the figures first.\n\n"
                "examples:\n"
                "  hylab report experiments/roadmap/roadmap.yaml\n"
                "  hylab report --db runs/hylab.db --experiment roadmap --scale small --out roadmap.html\n",
        .args = args,
        .max_rest = 1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = report(&o, rest.n ? rest.v[0] : NULL);
    free(rest.v);
    free(o.which.sets.v);
    return hy_command_end("report", s);
}
