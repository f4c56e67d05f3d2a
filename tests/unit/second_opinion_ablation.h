// second_opinion_ablation.h - what is lost without parts of a model, from plain_model.h: the part is left out there.
#ifndef HY_SECOND_OPINION_ABLATION_H
#define HY_SECOND_OPINION_ABLATION_H
#include "tests/unit/second_opinion_score.h"

static inline bool is_ablation(const char *metric) {
    static const char *const all[] = {"loss_rise", "accuracy_drop", "loss_without", "accuracy_without",
                                      "random_as_much"};
    for (int i = 0; i < 5; i++)
        if (!strcmp(metric, all[i])) return true;
    return false;
}

// "layer1.head2" as a part; shares: of heads or groups. False: it names no part.
static inline bool part_of(const subject *s, const char *cell, int groups, plain_lack *out) {
    char what[16] = "";
    *out = (plain_lack){.index = -1, .shares = 1};
    if (sscanf(cell, "layer%d.%15[a-z]%d", &out->layer, what, &out->index) < 1) return false;
    const hy_layer_spec *l = &s->spec->layers[out->layer];
    snprintf(out->kind, sizeof out->kind, "%s", what);
    if (!strcmp(what, "head")) out->shares = l->heads;
    if (!strcmp(what, "group")) out->shares = l->ssm_kind == HY_SSM_MAMBA2 ? l->d_inner / l->head_dim : groups;
    return true;
}

// Mean loss and share of right labels of the examples with labels, first `most` of each cell.
static inline int score_without(subject *s, const plain_lack *lack, int most, double *loss, double *right) {
    int n = 0;
    s->w.lack = *lack;
    for (int c = 0; c < s->n_cells; c++)
        for (int i = 0; i < s->n_examples[c] && i < most; i++) {
            example e = s->examples[c][i];
            scores t = {0};
            plain_forward(&s->w, e.ids, e.T, &e.run);
            add_example(&e, s->spec->meta_tokens, &t);
            plain_run_free(&e.run);
            if (t.examples) loss[n] = t.nll[0] / t.count[0], right[n++] = t.accuracy[0];
        }
    s->w.lack = (plain_lack){0};
    return n;
}

// Cells: a part; "intact"; "removed", "random" and "" of the set of all layers (so every random set is that one).
static inline want ablated(subject *s, const figure *f) {
    double loss[2][64], right[2][64], d[64];
    plain_lack lack = {0}, none = {0};
    const bool part = part_of(s, f->cell, option_int(f->options, "groups", 8), &lack);
    const bool set = !strcmp(f->cell, "removed") || !strcmp(f->cell, "random");
    if (!strcmp(f->metric, "random_as_much")) {
        want w = exactly(1);
        w.n = option_int(f->options, "controls", 20);
        return w;
    }
    if (!part) lack = (plain_lack){.layer = -1, .index = -1, .shares = set};
    assert_true(part || set || !strcmp(f->cell, "intact"));
    const int most = option_int(f->options, "examples", 64), n = score_without(s, &none, most, loss[0], right[0]);
    assert_int_equal(score_without(s, &lack, most, loss[1], right[1]), n);
    const bool of_loss = !strncmp(f->metric, "loss", 4), change = strstr(f->metric, "without") == NULL;
    for (int i = 0; i < n; i++)
        d[i] = of_loss ? loss[1][i] - (change ? loss[0][i] : 0) : change ? right[0][i] - right[1][i] : right[1][i];
    want w = over_examples(d, n);
    if (part) w.x = lack.layer;
    if (!strcmp(f->cell, "random")) w.n = option_int(f->options, "controls", 20), w.se = 0;
    if (of_loss) w.tolerance = fmax(w.tolerance, 3e-6 / fabs(w.value));  // of the losses that it is made from
    return w;
}

// Cells ORDER.K: with no layer taken out, and with all of them; what is between, and the shares that suffice, are the
// business of test_removal.c.
static inline want removed(subject *s, const figure *f) {
    double loss[64], right[64];
    const char *dot = strchr(f->cell, '.');
    const int K = dot ? atoi(dot + 1) : -1, random = !strncmp(f->cell, "random", 6);
    if (K != 0 && K != s->spec->n_layers) {
        want w = exactly(f->value);
        w.x = f->x, w.y = f->y, w.n = f->n, w.se = f->se;
        return w;
    }
    const plain_lack lack = {.layer = -1, .index = -1, .shares = K > 0};
    const int n = score_without(s, &lack, option_int(f->options, "examples", 64), loss, right);
    want w = over_examples(!strcmp(f->metric, "loss_left") ? loss : right, n);
    w.x = K, w.y = K > 0;
    if (random) w.n = option_int(f->options, "orders", 5), w.se = 0;
    return w;
}
#endif
