// measure.h - the measures: what can be asked of a model beside its training. Each is one file, m_NAME.c, that exports
// a hy_measure, and one row of measures.def. `hylab run` and the commands (eval, bench, cache, probe) take measures
// from here with the same options, and get the same facts, for the database and for the terminal. What an experiment
// measures is measure_plan.h.
#ifndef HY_MEASURE_H
#define HY_MEASURE_H
#include "core/base/timing_lock.h"
#include "core/exec/exec.h"
#include "core/format/field.h"
#include "core/model/precision.h"
#include "core/task/task.h"
#include "core/train/evaluate.h"
#include "results/record.h"

// Room for the options of any measure, aligned for any member.
enum { HY_MEASURE_OPTIONS_MAX = 2048 };
typedef union {
    double align;
    char bytes[HY_MEASURE_OPTIONS_MAX];
} hy_measure_options;

typedef enum {
    HY_NEEDS_TASK = 1,      // examples of a task, or something else that depends on it
    HY_NEEDS_WEIGHTS = 2,   // parameters; else the figures follow from the spec
    HY_NEEDS_GRADIENT = 4,  // parameters in float32, and memory for their gradients
    HY_NEEDS_QUIET = 8,     // a machine that does nothing else meanwhile
} hy_measure_needs;

// What is known before anything is trained.
typedef struct {
    const hy_model_spec *spec;
    const hy_task *task;  // NULL: none was named
    const char *device;   // kind: "cpu", "cuda"
    hy_precision precision;
} hy_measure_subject;

// What a measure is taken of.
typedef struct {
    const hy_program *prog;
    hy_params *params;  // NULL where the measure needs no weights
    hy_dtype compute;   // what is computed in: params->compute where there are parameters
    const hy_backend *be;
    const hy_task *task;  // NULL where the measure needs none
    int eval_batch;       // sequences at a time where a measure evaluates: how, not what, so no part of a measurement
    int64_t step;         // training steps behind the parameters
    hy_timing_lock *timing;  // NULL: nobody else shares the machine
    int jobs;                // runs that share the machine: recorded with timings
} hy_measure_context;

typedef struct hy_measure {
    const char *name;  // a YAML key, a word on the command line
    int version;  // raised when the same options of the same model give other figures; more figures are no new version
    const char *doc;  // one line
    const hy_field *fields;
    size_t options_size;  // at most HY_MEASURE_OPTIONS_MAX
    unsigned needs;       // hy_measure_needs
    // Refuses (HY_EINPUT) all that can be refused before anything is trained. Called after the ranges of the options
    // and what `needs` asks for have been checked; NULL: nothing more to check.
    hy_status (*check)(const hy_measure_subject *s, const void *options);
    // Whether it finds anything in such a model; NULL: in any. Models without it are passed over, but a measure that
    // finds nothing in any model of an experiment is a mistake.
    bool (*applies)(const hy_model_spec *spec, const void *options);
    // Adds facts. HY_EINTR: interrupted.
    hy_status (*run)(const hy_measure_context *c, const void *options, hy_facts *facts);
} hy_measure;

extern const hy_measure *const hy_measures[];         // rows of measures.def in their order, NULL at the end
const hy_measure *hy_measure_find(const char *name);  // NULL if there is none
char *hy_measure_names(void);                         // "accuracy|size|cache|...", caller frees
// Reads options from YAML text ("examples: 4\ncell: 1\n"; "": defaults). Errors name the measure.
hy_status hy_measure_options_read(const hy_measure *m, const char *yaml, hy_measure_options *out);
// Canonical text of the options, which hy_measure_options_read reads back: with name, version and, where a task is
// needed, its text, it is what a stored measurement is identified by.
void hy_measure_options_text(const hy_measure *m, const void *options, hy_buf *out);
// The value of an option that is a whole number, a choice or a yes or no (an assertion that there is one of that name).
int hy_measure_option_int(const hy_measure *m, const void *options, const char *name);
// HY_EINPUT with the measure's name: options out of their range, no task where one is needed, a vocabulary too small
// for it, or what the measure's own check refuses.
hy_status hy_measure_check(const hy_measure *m, const hy_measure_subject *s, const void *options);
bool hy_measure_applies(const hy_measure *m, const hy_model_spec *spec, const void *options);
// Takes the measure, alone on the machine if it needs that. HY_EINTR: interrupted; HY_EDIVERGED: a figure is not a
// number.
hy_status hy_measure_run(const hy_measure *m, const hy_measure_context *c, const void *options, hy_facts *facts);
// "a task, weights", or "" if it needs nothing.
void hy_measure_needs_text(const hy_measure *m, char out[96]);
// Name, version, needs and options of every measure, for people. name NULL: of all.
void hy_measure_help(const char *name, hy_buf *out);

// An evaluation as facts: accuracy, loss and what follows from them, of everything (cell "") and, where there are
// several, of each cell.
void hy_accuracy_facts(hy_facts *f, const hy_task *task, const hy_eval *e, int64_t step, bool final);
#endif
