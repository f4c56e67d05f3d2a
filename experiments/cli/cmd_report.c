// cmd_report.c - hylab report: one self-contained HTML page about a stored experiment.
#include <stdlib.h>
#include <string.h>

#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "analysis/report/report_page.h"
#include "experiments/cli/stored.h"
#include "core/base/plural.h"

typedef struct {
    hy_stored_options which;
    const char *out, *figures;
} options;

static hy_status write_page(hy_plots *p, const char *path) {
    char *label = *p->s->scale ? hy_asprintf("%s scale", p->s->scale) : NULL;
    hy_report *r = hy_report_new(p->s->experiment, label);
    const hy_status drawn = hy_plots_draw(p, NULL);
    char *left_out = hy_xstrdup(drawn ? hy_error_text() : "");
    hy_status s = drawn == HY_EINPUT && p->n ? HY_OK : drawn;  // the page has what is not damaged
    if (!s) s = hy_report_page(p, r);
    if (!s) s = hy_report_write(r, path);
    if (!s) fprintf(hy_is_stream(path) ? stderr : stdout, "%s (%d figure%s from %s)\n", path, p->n, hy_s(p->n), p->dir);
    if (!s && drawn) s = hy_error(drawn, "%s", left_out);
    hy_report_free(r);
    free(label), free(left_out);
    return s;
}

// The folder for the figures of a page: what belongs to other people lies beside the page, not in there. NULL: the page
// is no file (a device, a pipe).
static char *beside(const char *page) {
    if (hy_is_stream(page)) return NULL;
    const size_t n = strlen(page);
    const char *dot = strrchr(page, '.'), *slash = strrchr(page, '/');
    const bool named = dot && dot > (slash ? slash + 1 : page);
    return hy_asprintf("%.*s_files", (int)(named ? (size_t)(dot - page) : n), page);
}

static hy_status report(const options *o, const char *file) {
    hy_store *store;
    hy_summary *s;
    HY_TRY(hy_files_apart("--out", o->out, "the database", o->which.db));
    HY_TRY(hy_files_apart("--out", o->out, "the experiment", file));
    HY_TRY(hy_stored_open(&o->which, file, &store, &s));
    char *dir = o->figures ? hy_xstrdup(o->figures) : o->out ? beside(o->out) : NULL;
    if (!dir) dir = hy_stored_folder(&o->which, store, s);
    char *path = o->out ? hy_xstrdup(o->out) : hy_asprintf("%s/report.html", dir);
    hy_plots p = {.store = store, .s = s, .dir = dir, .formats = HY_FIG_SVG};
    hy_status st = hy_outfolder_try(dir);
    if (!st) st = hy_report_try(path);
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
         "folder for the figures (PAGE_files beside the page, else figures/EXPERIMENT beside the database)"},
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
