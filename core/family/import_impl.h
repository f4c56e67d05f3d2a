// import_impl.h - reading config.json: what the families share. A key that no table knows might change the model, so it
// is an error unless its value is nothing; values are checked for type and range, and messages begin with the file and
// name the key.
#ifndef HY_IMPORT_CONFIG_H
#define HY_IMPORT_CONFIG_H
#include "core/format/gguf.h"
#include "core/format/json.h"
#include "core/format/shards.h"
#include "core/spec/spec.h"

// What is done with a key.
typedef struct hy_config_key {
    const char *key;   // NULL: end of the table
    const char *only;  // NULL: the family reads it; "": does not touch what the model computes; else the JSON texts
                       // supported, with bars between them: "false", "null|1"
    const char *def;   // where a file leaves the key out: the default of the family's class in transformers, as JSON
                       // text; HY_CONFIG_NEEDED: there is none; NULL: other keys, or the reader, say what then counts
} hy_config_key;
#define HY_CONFIG_NEEDED "?"
// Every key of `config` against a family's table and that of keys which all families let pass (names of classes, token
// ids, element types, dropout, options of generation). A key of neither that is null, false or empty asks for nothing
// and passes too. *out: a copy with the defaults of what is left out; HY_EINPUT with the names of all that is needed.
hy_status hy_config_complete(const hy_json *config, const char *where, const hy_config_key *table, hy_json **out);

#define HY_CONFIG_MAX_WIDTH (1 << 20)
#define HY_CONFIG_MAX_TOKENS (1 << 28)
bool hy_config_has(const hy_json *c, const char *key);  // there and not null
// A required member.
hy_status hy_config_int(const hy_json *c, const char *where, const char *key, int lo, int hi, int *out);
// true, false, or null for false.
hy_status hy_config_bool(const hy_json *c, const char *where, const char *key, int *out);
// Members that may be absent or null (of integers also -1, the sign for "not given"): *out then stays as it is.
hy_status hy_config_int_or(const hy_json *c, const char *where, const char *key, int hi, int *out);
hy_status hy_config_double_or(const hy_json *c, const char *where, const char *key, double lo, double hi, double *out);
// "auto" or absent: ceil(d_model / 16), as all Mamba families have it.
hy_status hy_config_dt_rank(const hy_json *c, const char *where, const char *key, int d_model, int *out);
// What all families have: hidden_size, num_hidden_layers, vocab_size, RMSNorm with the epsilon under eps_key,
// initializer_range, tie_word_embeddings.
hy_status hy_config_model(const hy_json *c, const char *where, const char *eps_key, hy_model_spec *m);
// The same for Mamba and Mamba-2, with d_state, d_conv and the biases.
hy_status hy_config_mamba(const hy_json *c, const char *where, hy_model_spec *m, hy_layer_spec *l);
// Limits of the step of Mamba-2 under a key (time_step_limit): [least, most], where `most` may be Infinity as
// transformers 5 writes it
// ({"__float__": "Infinity"}). Absent: [0, Infinity]. *most is 0 for Infinity, as in hy_layer_spec.dt_max.
hy_status hy_config_dt_limit(const hy_json *c, const char *where, const char *key, double *least, double *most);
void hy_config_write_dt_limit(double least, double most, const char *key, hy_json *out);
// The class of transformers that loads the folder.
void hy_config_write_class(const char *name, hy_json *out);
// max_position_embeddings and the rotary positions, as transformers 5 writes them (rope_parameters: {rope_type,
// rope_theta, ...}) or 4 did (rope_theta, rope_scaling: {rope_type or type, factor, ...}): default, linear, llama3.
// default_base: where no rope_theta is given; 0: it must be. *share: of each head, that turns (partial_rotary_factor),
// left as it is where that is not said; NULL: the family's heads turn as a whole.
hy_status hy_config_rope(const hy_json *c, const char *where, double default_base, double *share, hy_model_spec *m);
// The same as transformers 5 writes it; share 0: that is not said.
void hy_config_write_rope(const hy_model_spec *m, double share, hy_json *out);
// A model without rotary positions, whatever its keys of them say.
void hy_config_no_rope(hy_model_spec *m);
// ---- parts of layers (import_layers.c). l: all zero before.
// num_attention_heads, num_key_value_heads, head_dim (else hidden_size / heads): widths of attention.
hy_status hy_config_attention(const hy_json *c, const char *where, int d_model, hy_layer_spec *l);
void hy_config_write_attention(const hy_layer_spec *l, hy_json *out);
// mamba_n_heads, mamba_d_head, mamba_d_ssm or mamba_expand, mamba_n_groups, mamba_d_state, mamba_d_conv,
// mamba_conv_bias, time_step_limit: Mamba-2 heads without their norm.
hy_status hy_config_mamba2_heads(const hy_json *c, const char *where, int d_model, hy_layer_spec *l);
void hy_config_write_mamba2_heads(const hy_layer_spec *l, hy_json *out);
// A list with one item per layer (HY_EINPUT: it has more or fewer), and its item i, a string: path becomes how an error
// names it.
hy_status hy_config_list(const hy_json *c, const char *where, const char *key, int n_layers, const hy_json **out);
hy_status hy_config_word(const hy_json *list, const char *where, const char *key, int i, char path[512],
                         const char **out);
// A list of the layers' kinds as transformers 5 names them (linear_attention, full_attention, mlp) or 4 did (mamba,
// attention). Experts ("moe") are refused with the reason.
typedef enum { HY_CONFIG_SSM, HY_CONFIG_ATTENTION, HY_CONFIG_MLP } hy_config_layer;
hy_status hy_config_kind(const char *text, const char *path, hy_config_layer *out);
hy_status hy_config_kinds(const hy_json *c, const char *where, const char *key, int n_layers, hy_config_layer *out);
hy_json *hy_config_kinds_of(const hy_model_spec *m);
hy_status hy_config_experts(const char *path);  // HY_EINPUT: why experts are not read
// The first layer of attention alone, of SSM heads alone, of an MLP alone; where a model has none, one of the least
// sizes that a configuration must name all the same.
hy_layer_spec hy_config_attention_layer(const hy_model_spec *m);
hy_layer_spec hy_config_ssm_layer(const hy_model_spec *m);
hy_layer_spec hy_config_mlp_layer(const hy_model_spec *m);

// GGUF (import_gguf.c): what its keys say as the config.json of a family; its tensors under that family's names, l: any
// of its layers. *memory, which the shards look into, is free()d after they are closed.
hy_status hy_import_gguf_config(const hy_gguf *g, hy_json **out);
hy_status hy_import_gguf_weights(const hy_gguf *g, const hy_layer_spec *l, void **memory, hy_shards **out);
#endif
