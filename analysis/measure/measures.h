// measures.h - what a run measures beside accuracy and loss: the options of each measure, and doing them.
#ifndef HY_MEASURES_H
#define HY_MEASURES_H
#include "core/format/field.h"
#include "core/task/task.h"
#include "core/train/train.h"
#include "core/format/yaml.h"
#include "core/base/timing_lock.h"
#include "results/record.h"

typedef struct {
    int tokens;
} hy_measure_cache;
typedef struct {
    hy_ints contexts, batch;
    int repetitions, warmup, decode_tokens, train, prefill, decode, fit, only_seed;
} hy_measure_throughput;
typedef struct {
    hy_ints layers;
    int examples, cell, max_len, heads, reduce, gate, only_seed;
} hy_measure_maps;
typedef struct {
    int examples, cell, ssm, heads, meta, missing, uniform, reduce, gate, only_seed;
} hy_measure_erf;

typedef enum { HY_MEASURE_CACHE = 1, HY_MEASURE_THROUGHPUT = 2, HY_MEASURE_MAPS = 4, HY_MEASURE_ERF = 8 } hy_measure_bits;
typedef struct {
    unsigned on;  // hy_measure_bits
    hy_measure_cache cache;
    hy_measure_throughput throughput;
    hy_measure_maps maps;
    hy_measure_erf erf;
} hy_measures;

// Reads the "measures:" map of an experiment; node NULL: the cache only, which costs nothing.
hy_status hy_measures_read(const hy_yaml *node, hy_measures *out);
// What the run of one seed does: measures with an only_seed of another number are off.
hy_measures hy_measures_of_seed(const hy_measures *m, int64_t seed);
// Canonical text: part of a run's identity. Equal measures give equal text.
void hy_measures_text(const hy_measures *m, hy_buf *out);
void hy_measures_help(hy_buf *out);

// What a trained model is measured with.
typedef struct {
    const hy_program *prog;
    hy_params *params;
    const hy_backend *be;
    const hy_task *task;
    const hy_train_spec *train;
    uint64_t seed;
    int64_t step;  // training steps behind the parameters
    hy_timing_lock *timing;  // timings are taken while other runs pause
    int jobs;      // runs that share the machine
} hy_measure_context;
// Does every measure that is on and adds what it found. HY_EINTR: interrupted.
hy_status hy_measures_run(const hy_measures *m, const hy_measure_context *c, hy_facts *facts);
// Its parts in measure_maps.c. Maps are stored as artifacts "map.layer3.attention", ".ssm", ".layer", ".attention.head0":
// f32 [S, S], rows are queries, NaN where a row may not look, S positions with the meta tokens first.
hy_status hy_measure_maps_run(const hy_measure_maps *o, const hy_measure_context *c, hy_facts *facts);
hy_status hy_measure_erf_run(const hy_measure_erf *o, const hy_measure_context *c, hy_facts *facts);
#endif
