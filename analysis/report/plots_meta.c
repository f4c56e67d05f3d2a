// plots_meta.c - what each meta token receives of attention, a row for each evaluation cell or kind of prompt, one
// figure for each variant. Meta tokens of two seeds have nothing to do with each other: the first seed is shown. See
// plots.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/plots.h"
#include "core/format/field.h"

enum { MOST_KINDS = 64, MOST_TOKENS = 4096 };  // a file may say anything
typedef char label[72];

// "article" of "article.layer3.meta5"; false: it is none of a layer's mean.
static bool kind_of(const hy_summary_value *v, label out) {
    char end[32];
    snprintf(end, sizeof end, ".layer%d.meta%d", v->layer, (int)v->x);
    const size_t n = strlen(v->cell), k = strlen(end);
    if (n <= k || n - k >= sizeof(label) || strcmp(v->cell + n - k, end)) return false;
    snprintf(out, sizeof(label), "%.*s", (int)(n - k), v->cell);
    return true;
}

typedef struct {
    int kinds, tokens, layer;  // the last layer that was measured
    label kind[MOST_KINDS];
    double a[MOST_KINDS * MOST_TOKENS];  // [kinds][MOST_TOKENS]
    int64_t seed;
    const char *options;
} shares;

static bool counts(const hy_summary_value *v) {
    return !strcmp(v->metric, "meta_attention") && !v->set && v->head < 0 && v->layer >= 0 && v->n > 0 && v->x >= 0 &&
           v->x < MOST_TOKENS && fabs(v->v[0]) <= 1;
}

static shares *shares_of(const hy_summary_row *r, double scale) {
    shares *s = hy_xcalloc(1, sizeof *s);
    s->layer = -1;
    for (int i = 0; i < r->n_values; i++)
        if (counts(&r->values[i]) && r->values[i].layer > s->layer) s->layer = r->values[i].layer;
    for (size_t i = 0; i < sizeof s->a / sizeof *s->a; i++) s->a[i] = NAN;
    for (int i = 0; i < r->n_values; i++) {
        const hy_summary_value *v = &r->values[i];
        label kind;
        int k = 0;
        if (!counts(v) || v->layer != s->layer || !kind_of(v, kind)) continue;
        while (k < s->kinds && strcmp(s->kind[k], kind)) k++;
        if (k == MOST_KINDS) continue;
        if (k == s->kinds) snprintf(s->kind[s->kinds++], sizeof(label), "%s", kind);
        s->a[k * MOST_TOKENS + (int)v->x] = scale * v->v[0];
        if ((int)v->x + 1 > s->tokens) s->tokens = (int)v->x + 1;
        s->seed = v->seed[0], s->options = v->options;
    }
    return s;
}

static hy_status draw(hy_plots *p, int task, const hy_summary_row *r, const hy_metric_def *d, const shares *s) {
    const hy_metric_look look = hy_metric_look_of(d, INFINITY);
    const int cells = s->kinds * s->tokens, names = s->kinds + s->tokens;
    double *a = hy_xcalloc((size_t)cells, sizeof *a), most = 0;
    char(*number)[16] = hy_xcalloc((size_t)s->tokens, sizeof *number);
    const char **name = hy_xcalloc((size_t)names, sizeof *name);
    for (int k = 0; k < s->kinds; k++)
        for (int j = 0; j < s->tokens; j++) {
            a[k * s->tokens + j] = s->a[k * MOST_TOKENS + j];
            most = fmax(most, s->a[k * MOST_TOKENS + j]);
        }
    for (int j = 0; j < s->tokens; j++) {
        snprintf(number[j], sizeof *number, "%d", j);
        name[j] = number[j];
    }
    for (int k = 0; k < s->kinds; k++) name[s->tokens + k] = s->kind[k];
    char *title = hy_asprintf("%s: attention that each meta token receives, %s%s%s", p->s->experiment, r->variant,
                              p->s->n_tasks > 1 ? ", " : "", p->s->n_tasks > 1 ? r->task : ""),
         *options = hy_fields_line(s->options), *axis = hy_metric_axis(d, &look, "");
    char *note = hy_asprintf("Layer %d, mean of its heads and of the text positions. 1 run: seed %lld. %s", s->layer,
                             (long long)s->seed, options);
    const hy_fig_head head = {.title = title, .scale = *p->scale ? p->scale : NULL, .note = note};
    const hy_fig_out out = hy_plots_out(p, task, "meta", r->variant);
    hy_status st = hy_fig_heat(&out, &head, "meta token", "prompt", axis, 0, most > 0 ? most : 1, name, s->tokens,
                               name + s->tokens, s->kinds, a);
    st = hy_plots_done(p, st, "%s, in layer %d (seed %lld): rows are kinds of prompts, columns the meta tokens.", title,
                       s->layer, (long long)s->seed);
    free(title), free(options), free(axis), free(note), free(a), free(number), free(name);
    return st;
}

hy_status hy_plot_meta(hy_plots *p, int task) {
    const hy_metric_def *d = hy_metric_find("meta_attention");
    hy_status st = HY_OK;
    for (int v = 0; v < p->s->n_variants && !st; v++) {
        const hy_summary_row *r = hy_plots_row(p, task, v);
        shares *s = r ? shares_of(r, hy_metric_look_of(d, INFINITY).scale) : NULL;
        if (s && s->kinds && s->tokens) st = draw(p, task, r, d, s);
        free(s);
    }
    return st;
}
