// second_opinion_runs.h - what test_second_opinion.c trains and measures: every architecture on one task, every kind of
// task with one architecture, and trainings that end early.
#ifndef HY_SECOND_OPINION_RUNS_H
#define HY_SECOND_OPINION_RUNS_H
#include "tests/unit/second_opinion.h"

#define SMALL "d_model: 12\ninit: {std: 0.3}\nmlp: {kind: silu, d_ff: 10}\n"
#define SSM "ssm: {expand: 2, d_state: 3, d_conv: 3, dt_rank: 2}\n"
static const struct {
    const char *file, *text;
} g_variants[] = {
    {"hymba.yaml",
     "layers: 4\nmixer: parallel\nmeta_tokens: 3\nmultipliers: {attention_out: 0.5, ssm_out: 3}\n"
     "attention: {heads: 2, kv_heads: 1, window: 5, global_layers: [0], qk_norm: true}\nkv_share: [[1, 2]]\n" SSM
         SMALL},
    {"gate.yaml", "layers: 2\nmixer: parallel\nfusion: gate\nmeta_tokens: 2\ntied: false\nattention: {heads: 4, "
                  "kv_heads: 2, d_qk: 4, "
                  "window: 30}\nssm: {kind: mamba2, expand: 2, d_state: 3, d_conv: 4, head_dim: 6, groups: 2}\n" SMALL},
    {"sum.yaml", "layers: 1\nmixer: parallel\nfusion: sum\nmultipliers: {attention_out: 0.25, ssm_out: "
                 "1.5}\nattention: {heads: 1}\n"
                 "ssm: {kind: mamba2, expand: 1, d_state: 2, d_conv: 1, head_dim: 12, gated_norm: false}\n" SMALL},
    {"concat.yaml", "layers: 2\nmixer: parallel\nfusion: concat\nmeta_tokens: 1\nnorm: {kind: layer}\nattention: "
                    "{heads: 2, d_v: 5}\n" SSM SMALL},
    {"llama.yaml", "layers: 2\nattention: {heads: 3, kv_heads: 1, d_qk: 4}\n" SMALL},
    {"mamba.yaml", "layers: 2\nmixer: ssm\nmeta_tokens: 2\n" SSM SMALL},
    {"mamba2.yaml",
     "layers: 2\nmixer: ssm\nssm: {kind: mamba2, expand: 2, d_state: 4, d_conv: 3, head_dim: 4, groups: 3, "
     "norm_before_gate: true, dt_min: 0.02, dt_max: 0.06}\n" SMALL},
    {"sequential.yaml",
     "layers: 4\nmeta_tokens: 2\nattention: {heads: 2, kv_heads: 2, window: 6}\n" SSM SMALL
     "pattern: [{mixer: ssm_attention}, {mixer: attention_ssm}, {mixer: none}, {mixer: attention}]\n"},
};

#define MEASURES                                                                                                       \
    "measures:\n"                                                                                                      \
    "  accuracy: [{}, {examples: 2}]\n"                                                                                \
    "  size: [{}, {context: 4}]\n"                                                                                     \
    "  cache: [{tokens: 100}, {tokens: 4}, {tokens: 7}]\n"                                                             \
    "  throughput: {contexts: [6], batch: [2], repetitions: 4, warmup: 1, decode_tokens: 3}\n"                         \
    "  maps: [{heads: true, examples: 3, channels: [0]}, {max_len: 7, reduce: abs_mean, gate: true, cell: 1,"          \
    " examples: 2}, {layers: [1], reduce: mean_rows, keep: statistics}, {max_len: 1, keep: statistics}, {gate: true, " \
    "max_len: 8, keep: statistics},"                                                                                   \
    " {max_len: 9, norm: minmax, keep: maps, examples: 2},"                                                            \
    " {max_len: 9, norm: signed, keep: maps, channels: [0], single_heads: [0]}]\n"                                     \
    "  erf: [{}, {examples: 3, cell: 1, ssm: channels, heads: pooled, meta: renormalised, max_len: 20},"               \
    " {heads: attention, missing: zero, reduce: abs_mean, gate: true, examples: 2}, {heads: ssm, uniform: true,"       \
    " reduce: mean_rows, examples: 1}, {max_len: 1}]\n"                                                                \
    "  outputs: [{}, {positions: all, cell: 1, examples: 2, max_len: 9}, {layers: [1], examples: 1}]\n"                \
    "  stream: [{}, {positions: all, cell: 1, examples: 2, max_len: 9}, {max_len: 1, examples: 1}]\n"                  \
    "  ablation: [{examples: 4}, {parts: heads}, {parts: groups, groups: 2}, {parts: layers, examples: 3}, {parts: "   \
    "mlps, examples: 2}, {parts: convs}, {parts: layers, remove: 'layer*', controls: 3}]\n"                            \
    "  removal: [{parts: layers, examples: 4, reference: 2, orders: 2}]\n"                                             \
    "  kv_similarity: [{}, {examples: 2, cell: 1, positions: all, keys: rotated}, {cka: debiased, max_len: 9}]\n"      \
    "  reach: [{}, {rows: 3, mass: 0.7, meta: renormalised, decay: mean, heads: true, examples: 3, cell: 1,"           \
    " max_len: 20}]\n"                                                                                                 \
    "  retrieval: [{}, {source: token, which: last, cell: 1, examples: 3, max_len: 30, reduce: abs_mean,"              \
    " gate: true}]\n"                                                                                                  \
    "  gradient_erf: [{max_len: 8, examples: 2, each: both}, {of: top, norm: l1, meta: renormalised, mass: 0.6,"       \
    " max_len: 9, cell: 1, examples: 2}, {of: label, examples: 1}]\n"                                                  \
    "  contributions: [{}, {examples: 2, cell: 1, max_len: 20}, {rows: 4, keep: statistics, layers: [0], examples: "   \
    "3}]\n"                                                                                                            \
    "  meta: [{}, {layers: [0, 1, 3], heads: true, examples: 2, max_len: 9}]\n"

static const char g_models[] =
    "name: models\nvariant: {vocab: 40}\nvariants:\n"
    "  - {name: hymba, file: hymba.yaml}\n  - {name: gate, file: gate.yaml}\n  - {name: sum, file: sum.yaml}\n"
    "  - {name: concat, file: concat.yaml}\n  - {name: llama, file: llama.yaml}\n  - {name: mamba, file: "
    "mamba.yaml}\n"
    "  - {name: mamba2, file: mamba2.yaml}\n  - {name: sequential, file: sequential.yaml}\n"
    "tasks:\n  - {name: recall, kind: mqar, options: {vocab: 40, train: [[16, 2], [24, 3]], test: [[24, 2], [32, "
    "3]],"
    " test_examples: 5}}\n"
    "seeds: [3]\ntrain: {steps: 4, batch: 3, accumulate: 2, lr: 2e-2, log_every: 3, eval_batch: 3, eval_every: "
    "2}\n" MEASURES;

// Each kind of task: several cells, several labels an example, few examples, a window of text that reaches back.
static const char g_tasks[] =
    "name: tasks\nvariant: {vocab: 256}\nvariants:\n  - {name: hymba, file: hymba.yaml}\n"
    "tasks:\n"
    "  - {name: induction, kind: induction, options: {vocab: 12, train: 16, test: [10, 20], test_examples: [4, 1]}}\n"
    "  - {name: copy, kind: selective_copy, options: {vocab: 9, memorize: 3, train: 12, test: [12, 15], test_examples: "
    "4}}\n"
    "  - {name: needle, kind: needle, options: {vocab: 24, values: 2, train: 20, test: [16, 21], depths: [0, 0.5, 1],"
    " test_examples: [2, 3]}}\n"
    "  - {name: markov, kind: markov, options: {vocab: 5, order: 2, branch: 2, smoothing: 0.2, train: 12, test: [9, "
    "14],"
    " test_examples: 4}}\n"
    "  - {name: text, kind: text, options: {path: book.txt, validation: 0.5, train: 12, test: [17, 9]}}\n"
    "seeds: [5]\ntrain: {steps: 3, batch: 2, lr: 1e-2, eval_batch: 4}\n"
    "measures: {accuracy: [{}, {examples: 3}], size: true, cache: false, erf: {examples: 2, cell: 1}}\n";

// Ends at its first evaluation, and never.
static const char g_stops[] =
    "name: stops\nvariant: {vocab: 40}\nvariants:\n  - {name: llama, file: llama.yaml}\n"
    "tasks:\n  - {name: early, kind: selective_copy, options: {vocab: 4, memorize: 4, train: 12, test: 12, "
    "test_examples: "
    "12}, train: {stop_accuracy: 0.05}}\n"
    "  - {name: never, kind: selective_copy, options: {vocab: 4, memorize: 4, train: 12, test: 12, test_examples: 12},"
    " train: {stop_accuracy: 1}}\n"
    "seeds: [1]\ntrain: {steps: 6, batch: 2, eval_every: 2, lr: 1e-3}\nmeasures: {size: false, cache: false}\n";

// Prompts of several kinds, in the task's own tokens.
static const char g_texts[] =
    "name: texts\nvariant: {vocab: 256}\nvariants:\n  - {name: hymba, file: hymba.yaml}\n"
    "tasks:\n  - {name: text, kind: text, options: {path: book.txt, validation: 0.5, train: 12, test: 17}}\n"
    "seeds: [6]\ntrain: {steps: 2, batch: 2, lr: 1e-2}\nmeasures: {size: false, cache: false, accuracy: false,"
    " meta: [{prompts: texts}, {prompts: texts, heads: true, layers: [1], max_len: 40}]}\n";

static const char g_book[] = "When the first frost came, the miller's daughter counted the sacks again: nineteen, and "
                             "one torn. Nobody had asked "
                             "her to. The river was low; the wheel stood.\n";

static inline int run_all(void **state) {
    if (open_folder(state)) return -1;
    for (size_t i = 0; i < sizeof g_variants / sizeof *g_variants; i++)
        write_file(g_variants[i].file, g_variants[i].text);
    write_file("models.yaml", g_models), write_file("tasks.yaml", g_tasks), write_file("stops.yaml", g_stops);
    write_file("texts.yaml", g_texts);
    write_file("book.txt", g_book);
    OK(run_experiment("models.yaml", "x.db", ""));
    OK(run_experiment("tasks.yaml", "x.db", ""));
    OK(run_experiment("stops.yaml", "x.db", ""));
    OK(run_experiment("texts.yaml", "x.db", ""));
    return 0;
}

#endif
