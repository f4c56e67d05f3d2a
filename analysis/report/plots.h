// plots.h - the figures of a stored experiment: which figures of the store go into which picture. How a picture looks
// is analysis/figure/figures.h; what the numbers are is summary.h.
#ifndef HY_PLOTS_H
#define HY_PLOTS_H
#include "analysis/figure/figures.h"
#include "analysis/summary/summary.h"
#include "results/query.h"

typedef struct {
    char *name;           // file stem
    char *caption;        // one or two sentences for people
    int kind;             // of hy_plot_kinds
    int task;             // -1: of no task
    const char *variant;  // NULL: of all; borrowed from the summary
} hy_plot_file;
typedef struct {
    hy_store *store;
    const hy_summary *s;
    const char *dir;   // where files go
    unsigned formats;  // HY_FIG_*
    char scale[320];   // "small scale", how a grid point was chosen, what it was computed on; made by hy_plots_draw
    int kind;          // that is drawn now
    int n;             // drawn so far
    hy_plot_file *file;
} hy_plots;
void hy_plots_free(hy_plots *p);  // the list of files only

// What a reader asks of models, in the order of the page; each kind of figure answers one.
typedef enum {
#define Q(question, words) HY_QUESTION_##question,
#include "analysis/report/plots.def"
    HY_QUESTIONS
} hy_question;
extern const char *const hy_questions[HY_QUESTIONS];

// The kinds of figures: name, what it shows, what a run must measure for it. name NULL at the end.
typedef struct {
    const char *name, *shows, *needs;
    hy_status (*draw)(hy_plots *p, int task);  // draws nothing when there is no data
    bool once;                                 // one figure for the experiment, else one for each task
    hy_question question;                      // that it answers
    const char *heading, *reading;             // on the page; one sentence on how to read it
} hy_plot_kind;
extern const hy_plot_kind hy_plot_kinds[];

// Draws one kind, or (NULL) every kind that has data. HY_EINPUT: no such kind, nothing stored that it could show, or
// what is stored for a figure is damaged: then all others are drawn.
hy_status hy_plots_draw(hy_plots *p, const char *kind);

// ---- for the files that draw (plots*.c)
// The best row of a variant on a task, NULL if nothing of it is done.
const hy_summary_row *hy_plots_row(const hy_plots *p, int task, int variant);
const char *hy_plots_task(const hy_plots *p, int task);
// Names of all variants by their order; free() the array only.
const char **hy_plots_variants(const hy_plots *p);
// Fills head with title, runs, seeds and scale of the rows of a task that have the metric, without a note; title is
// made with the task's name where there are several, freed by the caller.
char *hy_plots_head(const hy_plots *p, int task, const char *metric, const char *title, hy_fig_head *head);
// Of each variant how many seeds a metric has on a task: fills runs and seeds of head.
void hy_plots_count(const hy_plots *p, int task, const char *metric, hy_fig_head *head);
// "; throughput is disturbed: ...", where stored timings say that other programs had the processors; else "". For notes
// of figures that show it.
void hy_plots_disturbed(const hy_plots *p, char out[120]);
// What the error bars of a figure are, as a clause for its note and caption, by the seeds of its points: an interval of
// the mean (hy_stat), or none.
const char *hy_plots_bars(const hy_fig_head *head);
// "n = 3 seeds", "n = 2 to 3 seeds": for captions.
void hy_plots_seeds(const hy_fig_head *head, char out[40]);
// Of file NAME, NAME-TASK, NAME-VARIANT or NAME-TASK-VARIANT, the task only where there are several (-1: of no task),
// variant NULL: of all. See hy_fig_name. The returned name lives as long as p.
hy_fig_out hy_plots_out(hy_plots *p, int task, const char *name, const char *variant);
// An axis that shows a metric in its look; label must outlive it.
hy_fig_axis hy_plots_axis(const char *label, bool log);
// " at 8000 tokens" of a value that was measured at a context, else "".
void hy_plots_context(const hy_summary_value *v, char out[40]);
// Points of a line: x, y, lo and hi in four stretches of `room` numbers. Puts one more among n, in order of x: the mean
// and interval of stat, times scale.
void hy_plots_insert(int n, int room, double *at, double x, const hy_stat *stat, double scale);
// Those of a metric of one kind of heads, by layer, in the unit that is shown. Returns how many.
int hy_plots_by_layer(const hy_summary_row *r, const char *metric, const char *kind, int room, double *at);
// What the figure of measure kv_similarity shows, in words. options: in one line. Caller frees.
char *hy_plots_pairs_text(bool shared, const char *options);
// The figure of measure reach. points: fills in those of a metric as hy_plots_by_layer does.
#define HY_PLOTS_REACH                                                                                                 \
    "Span: the distance that holds most (mass) of what the last position looks at; half-life: tokens after which SSM " \
    "states hold half, quantiles over channels and states, logarithmic"
typedef int hy_plots_points(const void *user, const char *metric, const char *kind, int room, double *at);
hy_status hy_plots_draw_reach(const hy_fig_out *out, const hy_fig_head *head, int room, hy_plots_points *points,
                              const void *user);
// The figure of measure gradient_erf: a line by distance, at hy_plots_gradient_x of its first and last distance.
#define HY_PLOTS_GRADIENT                                                                                              \
    "Size of the gradient of the last position's output with respect to each input, as a share of all: of each token " \
    "at a distance; both axes logarithmic, what is 0 is not drawn"
double hy_plots_gradient_x(double first, double last);
hy_status hy_plots_draw_gradient(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_series *series, int n);
// The figure of measure contributions: bars of the shares of both kinds of heads, in %, by layer; values [n, 2].
#define HY_PLOTS_CONTRIBUTIONS                                                                                       \
    "Size of the vectors that positions add to the residual stream through attention and through SSM heads, summed " \
    "over positions, as shares of both; of layers that have both"
hy_status hy_plots_draw_shares(const hy_fig_out *out, const hy_fig_head *head, const hy_fig_stack *panels, int n);
// The figure of measure retrieval: a field for each head of each layer.
typedef struct {
    int layer, head;  // head -1: the SSM
    double value;     // in the unit of the metric
} hy_plots_head_value;
hy_status hy_plots_draw_heads(const hy_fig_out *out, const hy_fig_head *head, const char *label,
                              const hy_plots_head_value *v, int n);
// What it shows, in words. lo, hi: of the layers, the share that a head has which looks at all keys alike. Caller
// frees.
char *hy_plots_heads_text(double lo, double hi);
// Counts a drawn figure, with its caption, if s is HY_OK; else forgets its name. Returns s.
hy_status hy_plots_done(hy_plots *p, hy_status s, const char *caption, ...) __attribute__((format(printf, 3, 4)));
// How the experiment is named in the store; borrowed from p.
hy_experiment_id hy_plots_id(const hy_plots *p);

#define X(draw, name, shows, needs, once, question, heading, reading) hy_status draw(hy_plots *p, int task);
#include "analysis/report/plots.def"
// Up to so many evaluation cells are bars; more are a heat map.
#define HY_PLOTS_MAX_BARS 6
#endif
