// identity.h - when two models, or two measurements of one, are the same: hashes of canonical texts, without what does
// not change the result. The runner, which makes the texts, and the migration of old databases, which has stored ones,
// both ask here.
#ifndef HY_IDENTITY_H
#define HY_IDENTITY_H
#include "core/base/base.h"

// Raised when the program changes so that the same configuration gives other weights: stored models of older versions
// are then not taken for answers any more. (A measure has a version of its own.)
#define HY_MODEL_IDENTITY 1

// Key of a model, which seed and kind of device complete. The texts are canonical (hy_model_spec_text, hy_task_text,
// hy_fields_text of the recipe); "name: ..." of the spec does not count, nor do `test...` options of the task, nor
// log_every, checkpoint_every, save_seconds, eval_batch, eval_every, eval_examples of the recipe. The path of a text or
// tokenizer does not count where the text of the task tells its content. Only where stop_accuracy ends a training by
// tuning examples, which are like those of evaluation, what these are and when they are tried do count. A recipe of
// "steps: 0" (random weights) counts as that and its precision; "none\n": no training. source_hash: of the file that
// the weights come from; "" if from none.
void hy_model_identity(const char *spec_text, const char *task_kind, const char *task_text, const char *train_text,
                       const char *source_hash, char key[33]);
// The key that databases up to version 3 of the schema stand for: there stop_accuracy looked at the evaluation
// examples, so such a training is another model than one that the same texts ask for now.
void hy_model_identity_v3(const char *spec_text, const char *task_kind, const char *task_text, const char *train_text,
                          const char *source_hash, char key[33]);
// Key of a measurement within model, measure and version. task_text: "" where the measure needs none; all of it counts
// but such paths.
void hy_measurement_identity(const char *options_text, const char *task_text, char key[33]);

// ---------------------------------------------------------------------------------------------------- canonical texts
// The value behind "name: " of an unindented line; false if there is no such line. out is cut to its size.
bool hy_canonical_value(const char *text, const char *name, char *out, size_t size);
// Calls leaf(user, path, value) for each value of a canonical text, in its order: nested maps give "attention.window";
// items of a list of maps their index ("layer_table.3.mixer"); lists in one line stay one value ("[[16, 2]]"), and
// quoted texts keep their quotes.
typedef void (*hy_canonical_leaf)(void *user, const char *path, const char *value);
void hy_canonical_leaves(const char *text, hy_canonical_leaf leaf, void *user);
#endif
