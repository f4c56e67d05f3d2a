// measure_plan.h - what an experiment measures: its `measures:` as a list of measures with options.
#ifndef HY_MEASURE_PLAN_H
#define HY_MEASURE_PLAN_H
#include "analysis/measure/measure.h"
#include "core/format/yaml.h"

enum { HY_MEASURES_MAX = 63 };  // sets of them are bits (sweep.h)
typedef struct {
    const hy_measure *measure;
    hy_measure_options options;
    hy_ints seeds;  // only in runs of these seeds; n 0: of all
    bool named;     // the file names it; false: on because nothing was said
} hy_planned_measure;
typedef struct {
    int n;
    hy_planned_measure v[HY_MEASURES_MAX];  // in the order of measures.def, several of one measure in that of the file
} hy_measure_plan;

// Reads a map: `NAME: {option: value}`, `NAME: true` (with its defaults), `NAME: false`, or several of one measure as a
// list, `cache: [{tokens: 200}, {tokens: 8000}]`. Any measure takes `seeds: [1, 2]`, and `only_seed: N`, which is
// seeds: [N] (0: all). accuracy, size and cache are on unless they are `false`. node NULL or null: these three.
hy_status hy_measure_plan_read(const hy_yaml *node, hy_measure_plan *out);
bool hy_measure_plan_wants(const hy_planned_measure *m, int64_t seed);
#endif
