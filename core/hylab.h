// hylab.h - the page at the door: what the words of this project mean, in the order in which one reads them, and the
// umbrella header of the library (libhylab.a). tests/unit/test_hylab.c is a whole program on it: build, train, measure,
// store.
//
//     variants/x.yaml   config.json + safetensors
//            \              /             read, expanded, checked
//             v            v
//            hy_model_spec                what a model is: plain data                core/spec
//                  | hy_model_build
//                  v
//              hy_program                 what it computes: ops over named values    core/model
//              /        \               for a device, for a batch of sequences
//     hy_params          hy_state         weights; what is kept of each sequence between tokens  core/model
//              \        /
//               hy_exec  <----- hy_backend    runs it on a device; hy_probe looks in  core/exec, kernels
//              /   |    \               three uses of one program
//   hy_trainer  hy_generate  hy_capture   training, decoding, analysis               core/{train,exec}, analysis/probe
//       ^                        |
//    hy_task                hy_measure    examples in; questions asked of a model    core/task, analysis/measure
//                                |
//                            hy_facts ---> hy_store ---> tables, figures, report     results, analysis/{summary,report}
//                                              ^
//                              experiment -----+    variants x tasks x grid x seeds, run and stored experiments/runner
//
// SPEC (core/spec/spec.h). A hy_model_spec is the expanded form of a variant YAML: a row for each layer with its mixer
// (attention, ssm, parallel, ...), widths, window, whose keys it uses. Reading YAML: spec_read.h. Every rule that makes
// a spec valid is in hy_model_spec_check, with the YAML path at fault. Its canonical text is hashed and stored; its
// parameters, FLOPs and cache are counted from it alone (hy_model_count, hy_model_flops_token, hy_model_cache).
//
// PROGRAM (core/model/program.h). hy_model_build turns a spec into a flat list of coarse ops (linear, attention, scan,
// fuse, ...) over named values ("layers.3.attn.q"), with the list of parameters and of state slots. model.c is the only
// place that knows what a layer is. Batch size and length are given when it runs. What an op is - operands, parameters,
// what its backward reads, its kernels - is one row of ops.def.
//
// BACKEND, KERNELS (kernels/backend.h, kernels/kernels.h). A device: memory, and a table of plan functions, one for
// each kernel. kernels.h is the seam: argument structs with shapes and the mathematics. A kernel's plan checks that it
// supports the arguments and chooses how to launch; it looks at sizes, never at data. Each kernel has a slow, obvious
// reference (kernels/cpu/ref) in float and double; what a query may see is one rule for all of them
// (kernels/attn_rule.h).
//
// PARAMETERS, STATE (core/model/params.h, state.h). hy_params: the weights of a program on a device, with gradients on
// request. hy_state: KV rings with pinned meta tokens, convolution tails, SSM states of B sequences.
//
// EXECUTOR (core/exec/exec.h). hy_exec_create places every value once for a largest batch and plans every kernel;
// hy_exec_forward and hy_exec_backward run. The whole sequence, chunks, single tokens and padded batches go through the
// same ops and give the same numbers. A hy_probe sees any named value (core/model/values.h: by pattern) as it is made,
// a hy_edit puts another in its place: there is no second forward pass for analysis. Decoding: generate.h; scores of
// given texts: likelihood.h.
//
// TASK (core/task/task.h). Where examples come from: synthetic recall tasks, Markov sources, text, images and speech as
// sequences of levels. An example is a pure function of (options, seed, split, cell, index); a cell is a setting that
// is reported on its own. Tokenizers: core/token/tokenizer.h. Text that is tokenised once, into shards:
// core/corpus/corpus.h.
//
// TRAINER (core/train/train.h). Recipe (recipe.h), steps (optim.h), evaluations (evaluate.h), checkpoints from which a
// run goes on bit by bit. Several processes train one model (hy_trainer_share) through a hy_dist (core/dist/dist.h):
// rank r makes every size-th micro-batch, and gradients are summed in one order for any number of ranks.
//
// FAMILY (core/family/import.h). A layout of checkpoint folders that other programs wrote (Llama, Mamba-2, Hymba, ...):
// one table from their tensors to ours serves loading, gradients and export. model_file.h opens "a model": a variant, a
// checkpoint or a folder.
//
// MEASURE (analysis/measure/measure.h). A question asked of a model: accuracy, cache, throughput, attention maps,
// receptive field. One file and one row of measures.def: options, what it needs, what it refuses before anything is
// trained, and how it is answered - in facts. The same measure serves `hylab run`, `eval`, `bench`, `cache` and
// `probe`.
//
// FACTS, STORE (results/facts.h, results/record.h). A fact is a number with the name of a metric (metrics.def: meaning,
// unit, version), a cell, a layer, an n and a standard error. The store keeps MODELS (trained once, identified by all
// that decides their weights) and MEASUREMENTS of them (identified by model, measure, version and options): claimed,
// done and settled one by one, safe against other processes and against being killed. Every SELECT of the project is in
// results/.
//
// EXPERIMENT (experiments/runner/experiment.h). A YAML of variants x tasks x grid x seeds and measures, resolved and
// checked before anything runs; the runner does what is not stored yet, each model in a process of its own. Command
// line: experiments/cli.
//
// OTHER LANGUAGES. python/capi/hylab_api.h: a shared library with plain C types; python/hylab is Python on it.
//
// HOW IT IS KEPT IN ORDER. Folders depend downwards only: tests/layering.sh has the table. Functions that can fail
// return hy_status and leave a text that says what, where and what to do (core/base/base.h). Names begin with hy_,
// hy_<noun>_<verb>. NAME_impl.h is internal to its folder. A .def file is a list with a row for each thing of a kind:
// ops, tasks, families, measures, metrics, commands.
//
// READING ORDER. This page; core/spec/spec.h; core/model/program.h and model.c; kernels/kernels.h; core/exec/exec.h and
// exec.c; core/train/train.c; analysis/measure/measure.h and one m_*.c; results/record.h; experiments/runner/run_one.c.
#ifndef HYLAB_H
#define HYLAB_H
#include "analysis/measure/measure.h"
#include "analysis/probe/capture.h"
#include "core/corpus/corpus.h"
#include "core/exec/generate.h"
#include "core/exec/likelihood.h"
#include "core/family/export.h"
#include "core/family/model_file.h"
#include "core/model/checkpoint.h"
#include "core/model/device.h"
#include "core/spec/spec_read.h"
#include "core/task/task.h"
#include "core/token/tokenizer.h"
#include "core/train/train.h"
#include "results/identity.h"
#include "results/record.h"
#endif
