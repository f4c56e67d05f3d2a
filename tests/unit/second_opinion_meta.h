// second_opinion_meta.h - what each meta token receives once more, from the maps of plain_model.h.
#ifndef HY_SECOND_OPINION_META_H
#define HY_SECOND_OPINION_META_H
#include "analysis/measure/prompts.h"
#include "tests/unit/second_opinion_maps.h"

static inline bool is_meta(const char *metric) { return !strcmp(metric, "meta_attention"); }

typedef struct {
    char kind[64];
    int layer, head, token;  // head -1: the mean
} meta_place;
// "T24.K2.layer3.head1.meta0"
static inline meta_place meta_place_of(const char *cell) {
    meta_place p = {.head = -1};
    const char *at = strstr(cell, ".layer");
    assert_non_null(at);
    snprintf(p.kind, sizeof p.kind, "%.*s", (int)(at - cell), cell);
    if (sscanf(at, ".layer%d.head%d.meta%d", &p.layer, &p.head, &p.token) != 3) {
        p.head = -1;
        assert_int_equal(sscanf(at, ".layer%d.meta%d", &p.layer, &p.token), 2);
    }
    return p;
}

// The mean over the text rows before `end` of one run, and over the heads if none is named.
static inline double meta_received(const plain_run *r, const meta_place *p, int end) {
    const int M = r->m->meta_tokens, H = r->m->layers[p->layer].heads;
    double *row = hy_xcalloc((size_t)r->S, sizeof *row), sum = 0;
    for (int h = 0; h < H; h++)
        for (int i = M; i < end && (p->head < 0 || h == p->head); i++) {
            plain_attention_row(r, p->layer, h, i, row);
            sum += row[p->token] / (end - M) / (p->head < 0 ? H : 1);
        }
    free(row);
    return sum;
}

// Of one of the shipped texts, as bytes, as long as the shortest of them.
static inline double meta_of_text(const plain_weights *w, const meta_place *p, int most) {
    size_t n = most ? (size_t)most : 1 << 20, k = 0;
    for (int i = 0; i < HY_PROMPTS; i++) n = strlen(hy_prompts[i].text) < n ? strlen(hy_prompts[i].text) : n;
    while (strcmp(hy_prompts[k].kind, p->kind)) assert_true(++k < HY_PROMPTS);
    int32_t *ids = hy_xcalloc(n, sizeof *ids);
    plain_run run;
    for (size_t i = 0; i < n; i++) ids[i] = (unsigned char)hy_prompts[k].text[i];
    plain_forward(w, ids, (int)n, &run);
    const double v = meta_received(&run, p, run.S);
    plain_run_free(&run);
    free(ids);
    return v;
}
#endif
