// second_opinion_retrieval.h - retrieval scores once more, from the maps of plain_model.h and the tokens themselves.
#ifndef HY_SECOND_OPINION_RETRIEVAL_H
#define HY_SECOND_OPINION_RETRIEVAL_H
#include "tests/unit/second_opinion_maps.h"

static inline bool is_retrieval(const char *metric) { return !strncmp(metric, "retrieval_", 10); }

// Whether text position j is what a label at t has to copy.
static inline bool to_copy(const figure *f, const example *e, int t, int j) {
    const bool anywhere = option_is(f->options, "source", "token");
    if (e->labels[t] < 0 || j >= t || e->ids[j] != e->labels[t]) return false;
    if (!anywhere && (j == 0 || e->ids[j - 1] != e->ids[t])) return false;
    for (int later = j + 1; option_is(f->options, "which", "last") && later < t; later++)
        if (e->ids[later] == e->labels[t] && (anywhere || e->ids[later - 1] == e->ids[t])) return false;
    return true;
}

// The mean of an example's queries for one head (or the SSM); NAN: it has none.
static inline double copied(const figure *f, const example *e, int end, const char *kind, int head) {
    const plain_run *r = &e->run;
    const int layer = layer_of(f), M = r->m->meta_tokens;
    double *row = hy_xcalloc((size_t)r->S, sizeof *row), sum = 0;
    int n = 0;
    for (int t = 0; t < end - M; t++) {
        double on = 0, most = 0, seen = 0, of = 0;
        bool any = false, top = false;
        map_row(r, layer, kind, head, reduce_of(f->options), option_is(f->options, "gate", "true"), M + t, row);
        for (int j = 0; j <= M + t; j++) most = fmax(most, row[j]), seen += map_sees(r, layer, kind, M + t, j);
        for (int j = 0; j < t; j++) {
            if (!to_copy(f, e, t, j)) continue;
            any = true, on += row[M + j], of += map_sees(r, layer, kind, M + t, M + j);
            top = top || row[M + j] == most;
        }
        if (!any) continue;
        n++;
        sum += !strcmp(f->metric, "retrieval_score") ? on : !strcmp(f->metric, "retrieval_top") ? top : of / seen;
    }
    free(row);
    return n ? sum / n : NAN;
}

// A head; the mean over the heads of a layer; the SSM.
static inline double retrieved(const figure *f, const example *e, int end) {
    if (!strcmp(f->kind, "ssm")) return copied(f, e, end, "ssm", -1);
    if (f->head >= 0) return copied(f, e, end, "attention", f->head);
    const int heads = e->run.m->layers[layer_of(f)].heads;
    double mean = 0;
    for (int h = 0; h < heads; h++) mean += copied(f, e, end, "attention", h) / heads;
    return mean;
}
#endif
