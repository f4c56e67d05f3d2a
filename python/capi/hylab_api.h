// hylab_api.h - hylab as a shared library (libhylab.so) with plain C types, for other languages: python/hylab is its
// first user. What the words mean is in core/hylab.h; nothing is computed here that the program does not compute.
//
// Rules
//   - A function that can fail returns a hylab_status; hylab_error() then says what, where and what to do. Bad input is
//     told and never ends the process. (What does is a lack of memory for small blocks: "hylab: out of memory".)
//   - Arrays are the caller's, packed, row-major; their sizes follow from hylab_model_facts. What they hold after a
//     status other than HYLAB_OK is of no use. Handles are made by *_open and end with *_close (NULL: nothing), in any
//     order.
//   - Texts returned as char * are the caller's: hylab_free. Texts given are UTF-8.
//   - One call at a time in a process: calls from several threads need a lock of their caller. A call uses the threads
//     that its model was opened with. Several models may be open.
//   - While a call works, SIGINT ends it with HYLAB_INTERRUPTED, and then goes to whatever handler the process has.
//     Where the process has none (SIG_DFL, SIG_IGN), that stays as it is.
//   - Options are "name: value" lines of YAML, checked like those of the program (`hylab show measures`, `hylab task`);
//     NULL or "": the defaults.
//
// Letters: B sequences, T tokens of each, S = meta tokens + T positions (meta tokens come first), L layers.
#ifndef HYLAB_API_H
#define HYLAB_API_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#define HYLAB_API __attribute__((visibility("default")))

typedef enum {
    HYLAB_OK = 0,
    HYLAB_FAILED,       // the work failed
    HYLAB_BAD_INPUT,    // a file, an option or data
    HYLAB_NO_MEMORY,    // for a large block
    HYLAB_NOT_FINITE,   // NaN or infinity where a figure should be
    HYLAB_INTERRUPTED,  // SIGINT
} hylab_status;

// What failed last in this thread; valid until the next call.
HYLAB_API const char *hylab_error(void);
// "0.1.0 (commit 0123456789ab, ...)", static.
HYLAB_API const char *hylab_version(void);
HYLAB_API void hylab_free(void *text);
// The t with P(T <= t) = p of Student's t with df degrees of freedom; NaN where there is none.
HYLAB_API double hylab_student_quantile(double p, double df);
// Every measure, or one, with its options, for people.
HYLAB_API char *hylab_measure_help(const char *name);
// A kind of task with its options, for people (NULL: what kinds there are).
HYLAB_API char *hylab_task_help(const char *kind);

// ---------------------------------------------------------------------------------------------------- models
typedef struct hylab_model hylab_model;
// path: a variant (YAML; random weights from seed), a checkpoint of hylab (.safetensors), or a folder with config.json
// and safetensors. sets: NULL-terminated "path=value", or NULL. threads 0: all cores. isa: "auto", "ref", "base",
// "avx2", "avx512"; weights: "auto", "f32", "bf16" (how matrices lie in memory); precision: "f32", "bf16" (in what is
// computed). NULL: auto, auto, f32. The device is the CPU.
HYLAB_API hylab_status hylab_model_open(const char *path, const char *const *sets, uint64_t seed, int threads,
                                        const char *isa, const char *weights, const char *precision, hylab_model **out);
HYLAB_API void hylab_model_close(hylab_model *m);
// JSON: name, path, trained, notes, vocab, d_model, layers, meta_tokens, threads, isa, precision; spec: {"path":
// "value"} of all resolved values by their paths in the canonical text; spec_text: the same as YAML; parameters:
// [{name, shape, type}]; values: [{name, width}] of what hylab_values gives; heads: [{attention, ssm, window}] by
// layer: how many maps hylab_maps has there (window 0: global).
HYLAB_API char *hylab_model_facts(const hylab_model *m);
// Parameter i of the list as float32.
HYLAB_API hylab_status hylab_parameter(const hylab_model *m, int i, float *out);
// ids [B,T] -> logits [B,T,vocab], of text positions. HYLAB_NOT_FINITE: a logit is NaN or infinite.
HYLAB_API hylab_status hylab_logits(hylab_model *m, int B, int T, const int32_t *ids, float *out);
// Loss in nats of the label wanted AT each position (negative: none; there it is 0), and the likeliest token there
// (-1). labels NULL: the next token of ids. nll, predicted: [B,T]; predicted may be NULL.
HYLAB_API hylab_status hylab_loss(hylab_model *m, int B, int T, const int32_t *ids, const int32_t *labels, float *nll,
                                  int32_t *predicted);
// Values of the program, as they are made: which[n] are places in the list of the facts, out[k] is [B,S,width].
HYLAB_API hylab_status hylab_values(hylab_model *m, int B, int T, const int32_t *ids, int n, const int *which,
                                    float *const *out);

// ---------------------------------------------------------------------------------------------------- maps
typedef enum { HYLAB_ATTENTION = 0, HYLAB_SSM, HYLAB_LAYER } hylab_map_kind;  // analysis/probe/attnmap.h
typedef struct {
    int layer, kind;
    int head;  // an attention head, an SSM channel (Mamba-2: head); -1: all of them as one map
} hylab_map;
// Maps [S,S] of one sequence, row: query, column: key; entries that a row may not see are NAN if hidden_nan, else 0.
// options: reduce, norm and gate of measure maps.
HYLAB_API hylab_status hylab_maps(hylab_model *m, int T, const int32_t *ids, const char *options, int hidden_nan, int n,
                                  const hylab_map *maps, float *const *out);
// Effective receptive field of one sequence (Hymba, eq. 5; analysis/probe/erf.h). options: those of measure erf but
// examples, cell, max_len. layers [L,4]: distance of attention heads, of the SSM as one map, of its channels apart, of
// the layer as it enters eq. 5; NAN where a layer has none.
HYLAB_API hylab_status hylab_erf(hylab_model *m, int T, const int32_t *ids, const char *options, double *erf,
                                 double *layers);

// ---------------------------------------------------------------------------------------------------- tasks
typedef struct hylab_task hylab_task;
// kind and options as on the command line (`hylab task`); seed: of the data.
HYLAB_API hylab_status hylab_task_open(const char *kind, const char *options, uint64_t seed, hylab_task **out);
// n sequences of T tokens of the caller's own, copied: what evaluates, and what `how: mean` takes its means over.
// labels: as in hylab_loss.
HYLAB_API hylab_status hylab_task_given(int n, int T, const int32_t *ids, const int32_t *labels, int vocab,
                                        hylab_task **out);
HYLAB_API void hylab_task_close(hylab_task *t);
// JSON: kind, vocab, entropy, text, cells: {"train": [{name, tokens, x, y, count, chance}], "eval": ..., "tune": ...}.
HYLAB_API char *hylab_task_facts(const hylab_task *t);
// split: 0 training, 1 evaluation, 2 tuning. ids, labels: [tokens of the cell]; label -100: none.
HYLAB_API hylab_status hylab_task_example(const hylab_task *t, int split, int cell, int64_t index, int32_t *ids,
                                          int32_t *labels);

// ---------------------------------------------------------------------------------------------------- ablations
// The parts of a model that can be taken out (analysis/probe/units.h) as JSON: [{name, kind, layer, index}]. parts:
// branches, heads, groups, layers, mlps, convs or meta; several with commas. groups: that the channels of a Mamba-1
// mixer are divided into. NULL: see hylab_error.
HYLAB_API char *hylab_units(const hylab_model *m, const char *parts, int groups);
// chosen [sets, units]: what is taken out together. how: "zero", "mean", "resample" (analysis/probe/ablate.h).
// examples: of each cell of evaluation at most; batch: sequences at a time. loss and accuracy: [sets + 1, n] of the n
// examples that have labels, row 0 of the intact model; hylab_free both.
HYLAB_API hylab_status hylab_ablate(hylab_model *m, const hylab_task *t, const char *parts, int groups, const char *how,
                                    int examples, int reference, int batch, int sets, const uint8_t *chosen, int *n,
                                    double **loss, double **accuracy);

// ---------------------------------------------------------------------------------------------------- measures
typedef struct hylab_facts hylab_facts;
// Any measure of the program. task NULL: none (some need none). batch: sequences at a time.
HYLAB_API hylab_status hylab_measure(hylab_model *m, const hylab_task *t, const char *name, const char *options,
                                     int batch, hylab_facts **out);
// JSON: {"facts": [{metric, cell, layer, kind, head, value, stderr, n, x, y}], "arrays": [{name, layer, kind, head,
// type, shape, meta}]}; what there is none of is null.
HYLAB_API char *hylab_facts_json(const hylab_facts *f);
HYLAB_API const void *hylab_facts_array(const hylab_facts *f, int i, size_t *bytes);  // valid until close
HYLAB_API void hylab_facts_close(hylab_facts *f);

// ---------------------------------------------------------------------------------------------------- tokenizers
typedef struct hylab_tokenizer hylab_tokenizer;
// path: "bytes", a tokenizer.json, a SentencePiece model, or a folder with one of them.
HYLAB_API hylab_status hylab_tokenizer_open(const char *path, hylab_tokenizer **out);
HYLAB_API void hylab_tokenizer_close(hylab_tokenizer *t);
// JSON: kind, vocab, path, notes, bos, eos, unk, pad (null: none).
HYLAB_API char *hylab_tokenizer_facts(const hylab_tokenizer *t);
// special: with what the file puts around a text. ids: hylab_free.
HYLAB_API hylab_status hylab_tokenizer_encode(hylab_tokenizer *t, const char *text, size_t bytes, int special,
                                              size_t *n, int32_t **ids);
// text: hylab_free; it may hold NUL.
HYLAB_API hylab_status hylab_tokenizer_decode(hylab_tokenizer *t, const int32_t *ids, size_t n, int skip_special,
                                              size_t *bytes, char **text);
#ifdef __cplusplus
}
#endif
#endif
