// summary_tune.c - which point of the grid stands for a variant, and what a variant reaches on seeds that did not
// choose its point. See summary.h. It reads no store: what is compared was loaded by summary.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"
#include "analysis/summary/summary_impl.h"
#include "results/schema.h"

// The rows of one variant on one task: all points of the grid.
typedef struct {
    const hy_summary_row *row;
    int n;
} points;

static double mean_of(const hy_summary_row *r, const char *metric, double missing) {
    const hy_summary_value *v = hy_summary_get(r, metric, "");
    return v && !isnan(v->stat.mean) ? v->stat.mean : missing;
}

// Without "tune:": the highest mean accuracy, then the lowest mean loss.
static int plain_best(const points *p) {
    int best = 0;
    for (int i = 1; i < p->n; i++) {
        const double a = mean_of(&p->row[i], "accuracy", -1), b = mean_of(&p->row[best], "accuracy", -1);
        if (a > b || (a == b && mean_of(&p->row[i], "loss", INFINITY) < mean_of(&p->row[best], "loss", INFINITY)))
            best = i;
    }
    return best;
}

bool hy_summary_is_course(const hy_summary *s) {
    return s->n_grid > 1 && !*s->tune_by && (!strcmp(s->axis, "train.stop_step") || !strcmp(s->axis, "stop_step"));
}

// The latest point that has figures; where none has, the latest of all.
static int course_end(const points *p) {
    int end = 0;
    for (int i = 1; i < p->n; i++) {
        const bool here = p->row[i].n_values > 0, before = p->row[end].n_values > 0;
        if (here == before ? p->row[i].number > p->row[end].number : here) end = i;
    }
    return end;
}

// Seeds that a point has a value for, without one of them, and the mean over these with its sign turned so that more is
// better.
static int score(const hy_summary *m, const hy_summary_row *r, const int64_t *without, double *mean) {
    const hy_summary_value *v = hy_summary_get(r, m->tune_by, m->tune_cell);
    int n = 0;
    double sum = 0;
    for (int i = 0; v && i < v->n; i++) {
        if (without && v->seed[i] == *without) continue;
        sum += v->v[i];
        n++;
    }
    const hy_metric_def *d = hy_metric_find(m->tune_by);
    *mean = n == 0 ? -INFINITY : (d && !strcmp(d->direction, "lower") ? -sum : sum) / n;
    return n;
}

// Runs that fail count against their point: of two points the one with more finished seeds wins, whatever its mean.
// -1 if no point has a value.
static int tuned_best(const hy_summary *m, const points *p, const int64_t *without) {
    int best = -1, best_n = 0;
    double best_mean = -INFINITY;
    for (int i = 0; i < p->n; i++) {
        double mean;
        const int n = score(m, &p->row[i], without, &mean);
        if (n == 0 || n < best_n || (n == best_n && !(mean > best_mean))) continue;
        best = i, best_n = n, best_mean = mean;
    }
    return best;
}

// Every seed that any point has a value of the tuned metric for.
static int seeds_of(const hy_summary *m, const points *p, int64_t **out) {
    int n = 0;
    *out = NULL;
    for (int i = 0; i < p->n; i++) {
        const hy_summary_value *v = hy_summary_get(&p->row[i], m->tune_by, m->tune_cell);
        for (int k = 0; v && k < v->n; k++) {
            int j = 0;
            while (j < n && (*out)[j] != v->seed[k]) j++;
            if (j < n) continue;
            *out = hy_xrealloc(*out, (size_t)(n + 1) * sizeof **out);
            (*out)[n++] = v->seed[k];
        }
    }
    return n;
}

// The value of one seed at the point that the other seeds choose; false: no other seed has one, or this seed failed
// there.
static bool held_out(const hy_summary *m, const points *p, const hy_summary_value *of, int64_t seed, double *value) {
    const int at = tuned_best(m, p, &seed);
    const hy_summary_value *v = at < 0 ? NULL : hy_summary_get_set(&p->row[at], of->metric, of->cell, of->set);
    for (int i = 0; v && i < v->n; i++)
        if (v->seed[i] == seed) {
            *value = v->v[i];
            return true;
        }
    return false;
}

static bool wants_held_out(const hy_summary *m, const char *metric) {
    return !strcmp(metric, "accuracy") || !strcmp(metric, "loss") || !strcmp(metric, m->tune_by);
}

// Adds "METRIC_held_out" beside every value of the chosen row that it makes sense for.
static void add_held_out(const hy_summary *m, const points *p, hy_summary_row *best) {
    int64_t *seeds;
    const int n_seeds = seeds_of(m, p, &seeds), n_values = best->n_values;
    for (int k = 0; k < n_values; k++) {
        const hy_summary_value from = best->values[k];
        if (!wants_held_out(m, from.metric)) continue;
        hy_summary_value *to = hy_summary_value_add(best);
        *to = (hy_summary_value){.metric = hy_asprintf("%s_held_out", from.metric),
                                 .cell = hy_xstrdup(from.cell),
                                 .unit = hy_xstrdup(from.unit),
                                 .set = from.set,
                                 .options = hy_xstrdup(from.options),
                                 .layer = from.layer,
                                 .head = from.head,
                                 .kind = hy_xstrdup(from.kind),
                                 .x = from.x,
                                 .y = from.y,
                                 .range = from.range};
        for (int i = 0; i < n_seeds; i++) {
            double v;
            if (held_out(m, p, &from, seeds[i], &v)) hy_summary_value_push(to, seeds[i], v);
        }
        to->stat = hy_stat_of(to->v, to->n, to->range);
    }
    free(seeds);
}

// What a choice was made from: interim tables have not all points yet.
static int points_with(const points *p, const char *metric, const char *cell) {
    int n = 0;
    for (int i = 0; i < p->n; i++) n += hy_summary_get(&p->row[i], metric, cell) != NULL;
    return n;
}

void hy_summary_choose(hy_summary *m) {
    for (int i = 0, k; i < m->n_rows; i = k) {
        for (k = i; k < m->n_rows && m->rows[k].variant_ord == m->rows[i].variant_ord &&
                    m->rows[k].task_ord == m->rows[i].task_ord;)
            k++;
        const points p = {m->rows + i, k - i};
        int best = *m->tune_by ? tuned_best(m, &p, NULL) : -1;
        const bool tuned = best >= 0;
        if (!tuned) best = hy_summary_is_course(m) ? course_end(&p) : plain_best(&p);
        m->rows[i + best].best = true;
        const int n = tuned ? points_with(&p, m->tune_by, m->tune_cell) : points_with(&p, "accuracy", "");
        for (int j = i; j < k; j++) m->rows[j].points = n;
        if (tuned) add_held_out(m, &p, &m->rows[i + best]);
    }
}

// ---------------------------------------------------------------------------------------------------- questions
static const hy_summary_value *held_out_of(const hy_summary_row *r, const char *metric) {
    char *name = hy_asprintf("%s_held_out", metric);
    const hy_summary_value *v = hy_summary_get(r, name, "");
    free(name);
    return v && v->n ? v : NULL;
}

bool hy_summary_holds_out(const hy_summary *s, const char *metric) {
    for (int i = 0; i < s->n_rows; i++)
        if (held_out_of(&s->rows[i], metric)) return true;
    return false;
}

const hy_summary_value *hy_summary_fair(const hy_summary *s, const hy_summary_row *r, const char *metric) {
    return hy_summary_holds_out(s, metric) ? held_out_of(r, metric) : hy_summary_get(r, metric, "");
}

const char *hy_summary_chosen_by(const hy_summary *s) {
    if (hy_summary_is_course(s)) return NULL;
    for (int i = 0; *s->tune_by && i < s->n_rows; i++)
        if (hy_summary_get(&s->rows[i], s->tune_by, s->tune_cell)) return s->tune_by;
    static const char *const plain[] = {"accuracy", "loss"};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < s->n_rows; i++)
            if (hy_summary_get(&s->rows[i], plain[k], "")) return plain[k];
    return NULL;
}

bool hy_summary_all_points(const hy_summary *s) {
    for (int i = 0; i < s->n_rows; i++)
        if (s->rows[i].points != s->n_grid) return s->n_grid < 2;
    return true;
}

char *hy_summary_choice_text(const hy_summary *s) {
    if (s->n_grid < 2) return NULL;
    if (hy_summary_is_course(s)) return hy_asprintf("of the %d steps of the grid, the last", s->n_grid);
    const char *by = hy_summary_chosen_by(s);
    if (!by)
        return hy_asprintf("of the grid's %d points, the first: there is neither accuracy nor loss to choose by",
                           s->n_grid);
    const bool tuned = !strcmp(by, s->tune_by), cell = tuned && *s->tune_cell;
    return hy_asprintf("of the grid's %d points, the one of the best mean %s%s%s over the same seeds%s", s->n_grid, by,
                       cell ? " in " : "", cell ? s->tune_cell : "",
                       tuned && hy_summary_holds_out(s, by)
                           ? "; held out: for each seed the point that is best over the other seeds"
                           : "");
}
