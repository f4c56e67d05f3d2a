// examples.h - evaluation examples of one cell, run one by one with their values captured: what maps, erf and outputs
// have in common.
#ifndef HY_EXAMPLES_H
#define HY_EXAMPLES_H
#include "analysis/measure/measure.h"
#include "analysis/probe/capture.h"

// Rows of a field table.
#define HY_FIELD_EXAMPLES(type, def) \
    { "examples", HY_F_INT, offsetof(type, examples), 0, def, 1, 10000, NULL, "evaluation examples, averaged" }
#define HY_FIELD_CELL(type)                                             \
    {                                                                   \
        "cell", HY_F_INT, offsetof(type, cell), 0, "0", 0, 16383, NULL, \
            "evaluation cell that the examples come from, from 0"       \
    }
#define HY_FIELD_REDUCE(type)                                                                    \
    {                                                                                            \
        "reduce", HY_F_ENUM, offsetof(type, reduce), 0, "mean_abs", 0, 0, HY_SSM_REDUCE_CHOICES, \
            "how SSM channels become one map"                                                    \
    }
#define HY_FIELD_GATE(type) \
    { "gate", HY_F_BOOL, offsetof(type, gate), 0, "false", 0, 0, NULL, "SSM maps with the gate (Hymba eq. 2)" }

// HY_EINPUT: the task has no such evaluation cell.
hy_status hy_examples_check(const hy_measure_subject *s, int cell);
// Whether any layer that an option `layers` names (empty: all) has attention or SSM heads.
bool hy_layers_have_heads(const hy_model_spec *spec, const hy_ints *layers);
// HY_EINPUT if a number stands in a list of options twice: two figures would have one name.
hy_status hy_list_distinct(const hy_ints *list, const char *name);

// How many of a cell's tokens (max_len 0: all) and of its examples are looked at.
void hy_examples_size(const hy_cell *cell, int max_len, int wanted, int *T, int *n);

typedef struct {
    const hy_cell *cell;
    int index;   // of the cell
    int T;       // tokens in use
    int n;       // examples: as many as wanted, or as there are
    bool *want;  // [n_layers] whose values are captured; all false to begin with
    hy_capture *capture;
    int32_t *ids, *labels;
} hy_examples;
// max_len 0: whole examples. Close it, also after an error.
hy_status hy_examples_open(const hy_measure_context *c, int cell, int max_len, int wanted, hy_examples *e);
void hy_examples_close(hy_examples *e);
// What an array made of them says of itself, as JSON; caller frees.
char *hy_examples_meta(const hy_examples *e, int meta_tokens, const char *options);
// For a measure that runs them itself: the same without what captures values; close it too. Then example i is taken
// into e->ids and e->labels, of which the first e->T are in use.
void hy_examples_choose(const hy_measure_context *c, int cell, int max_len, int wanted, hy_examples *e);
hy_status hy_examples_take(const hy_measure_context *c, hy_examples *e, int i);
// Runs example i; fn is called for each layer marked in e->want that has heads, in the order of the layers.
hy_status hy_examples_run(const hy_measure_context *c, hy_examples *e, int i, hy_capture_fn fn, void *user);
// The same with a probe on any values of the program.
hy_status hy_examples_probe(const hy_measure_context *c, hy_examples *e, int i, const hy_probe *probe);

// A figure over examples: its sums.
typedef struct {
    double sum, squares;
    int n;
} hy_moments;
void hy_moments_add(hy_moments *m, double v);
double hy_moments_error(const hy_moments *m);  // standard error of the mean; NaN: of one there is none
// The fact of its mean with the standard error over the examples (of one: NaN). There is at least one example.
hy_fact *hy_moments_fact(const hy_measure_context *c, hy_facts *f, const char *metric, const char *cell,
                         const hy_moments *m);
// The same of a kind of a layer, cell "layerN.KIND", or of one of its attention heads (head not -1), "layerN.headH"; x
// is the layer.
hy_fact *hy_moments_layer_fact(const hy_measure_context *c, hy_facts *f, const char *metric, int layer,
                               const char *kind, int head, const hy_moments *m);
#endif
