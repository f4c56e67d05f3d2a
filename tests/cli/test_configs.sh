#!/usr/bin/env bash
# test_configs.sh - config.json as public releases have them (as far as keys that matter and oddities go), read without weights: each
# makes a model of the released number of parameters; what hylab does not compute is refused by the name of its key.
set -u
hylab=${HYLAB:-./hylab}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; echo "  $2"; bad=1; }
total() { # NAME, parameters, configuration, a line that show spec --yaml must have...
  local name=$1 want=$2 out
  mkdir -p "$tmp/$name"
  printf '%s' "$3" >"$tmp/$name/config.json"
  shift 3
  out=$("$hylab" show spec "$tmp/$name" 2>&1 | sed -n 's/^total  *\([0-9]*\) .*/\1/p')
  [ "$out" = "$want" ] || { not_ok "config_$name" "$out parameters instead of $want: $("$hylab" show spec "$tmp/$name" 2>&1 | tail -2)"; return; }
  "$hylab" show spec "$tmp/$name" --yaml >"$tmp/yaml"
  for line in "$@"; do grep -qF -- "$line" "$tmp/yaml" || { not_ok "config_$name" "no \"$line\""; return; }; done
  ok "config_$name"
}
refused() { # NAME, words, configuration
  mkdir -p "$tmp/$1"
  printf '%s' "$3" >"$tmp/$1/config.json"
  "$hylab" show spec "$tmp/$1" >"$tmp/out" 2>&1
  local rc=$?
  [ $rc = 2 ] && grep -qF -- "$2" "$tmp/out" && grep -qF config.json "$tmp/out" && ok "refused_$1" || not_ok "refused_$1" "exit $rc: $(cat "$tmp/out")"
}

total llama-2-7b 6738415616 '{"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
 "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
 "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false,
 "torch_dtype": "float16", "transformers_version": "4.31.0.dev0", "use_cache": true, "vocab_size": 32000}' 'max_len: 4096' '  eps: 1e-05' '  base: 10000'
total llama-3.2-1b 1235814400 '{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
 "eos_token_id": [128001, 128008], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
 "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
 "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
 "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
 "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256}' '  kind: llama3' '  base: 500000' '  factor: 32' 'orig_len: 8192' 'tied: true'
total tinyllama-1.1b 1100048384 '{"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 5632,
 "max_position_embeddings": 2048, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4,
 "rms_norm_eps": 1e-05, "tie_word_embeddings": false, "torch_dtype": "float32", "vocab_size": 32000}'
total smollm2-135m 134515008 '{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 0,
 "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
 "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
 "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
 "transformers_version": "4.40.1", "use_cache": true, "vocab_size": 49152}' '  base: 100000'
total qwen2.5-0.5b 494032768 '{"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu",
 "hidden_size": 896, "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2",
 "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
 "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true, "use_mrope": false,
 "use_sliding_window": false, "vocab_size": 151936}' 'qkv_bias: true' 'window: none'
total mistral-7b 7241732096 '{"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
 "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
 "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
 "torch_dtype": "bfloat16", "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000}' 'window: 4095'
total qwen3-0.6b 596049920 '{"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645,
 "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
 "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
 "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
 "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936}' 'qk_norm: true' '  base: 1000000'
nope='1, 1, 1, 0' && for i in 2 3 4 5 6 7 8 9; do nope="$nope, 1, 1, 1, 0"; done
total smollm3-3b 3075098624 '{"architectures": ["SmolLM3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": null, "eos_token_id": 128012,
 "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 11008, "layer_types": null, "max_position_embeddings": 65536,
 "max_window_layers": 28, "mlp_bias": false, "model_type": "smollm3", "no_rope_layer_interval": 4, "no_rope_layers": ['"$nope"'], "num_attention_heads": 16,
 "num_hidden_layers": 36, "num_key_value_heads": 4, "pad_token_id": 128004, "pretraining_tp": 2, "rms_norm_eps": 1e-06, "rope_scaling": null,
 "rope_theta": 5000000.0, "sliding_window": null, "torch_dtype": "bfloat16", "transformers_version": "4.54.0.dev0", "use_cache": false,
 "use_sliding_window": false, "vocab_size": 128256}' 'no_rope: true' '  base: 5000000'
total falcon-mamba-7b 7272665088 '{"architectures": ["FalconMambaForCausalLM"], "bos_token_id": 0, "conv_kernel": 4, "eos_token_id": 11, "expand": 16, "hidden_act": "silu",
 "hidden_size": 4096, "initializer_range": 0.1, "intermediate_size": 8192, "layer_norm_epsilon": 1e-05, "mixer_rms_eps": 1e-06, "model_type": "falcon_mamba",
 "num_hidden_layers": 64, "pad_token_id": 11, "rescale_prenorm_residual": false, "residual_in_fp32": true, "state_size": 16, "tie_word_embeddings": false,
 "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1, "time_step_min": 0.001, "time_step_rank": 256, "time_step_scale": 1.0,
 "torch_dtype": "bfloat16", "use_bias": false, "use_cache": true, "use_conv_bias": true, "use_falcon_mambapy": false, "vocab_size": 65024}' 'inner_norms: plain' 'inner_norm_eps: 1e-06'
kinds='"mamba", "mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba", "mamba"' && kinds="$kinds, $kinds, $kinds, $kinds"
total granite-4.0-h-micro 3191396096 '{"architectures": ["GraniteMoeHybridForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attention_multiplier": 0.015625,
 "bos_token_id": 100257, "embedding_multiplier": 12, "eos_token_id": 100257, "hidden_act": "silu", "hidden_size": 2048, "init_method": "mup",
 "initializer_range": 0.1, "intermediate_size": 8192, "layer_types": ['"$kinds"'], "logits_scaling": 8, "mamba_chunk_size": 256, "mamba_conv_bias": true,
 "mamba_d_conv": 4, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 64, "mamba_proj_bias": false,
 "max_position_embeddings": 131072, "model_type": "granitemoehybrid", "normalization_function": "rmsnorm", "num_attention_heads": 32,
 "num_experts_per_tok": 0, "num_hidden_layers": 40, "num_key_value_heads": 8, "num_local_experts": 0, "output_router_logits": false,
 "position_embedding_type": "nope", "residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000,
 "router_aux_loss_coef": 0.01, "shared_intermediate_size": 8192, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 100352}' \
  '  kind: none' 'key: 0.125' 'head: 0.125' 'ssm_out: 0.22' 'mlp_down: 0.22' 'embedding: 12'
total nemotron-h-8b 8100852736 '{"architectures": ["NemotronHForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attention_head_dim": 128, "chunk_size": 128,
 "conv_kernel": 4, "expand": 2, "head_dim": 128, "hidden_dropout": 0.0, "hidden_size": 4096,
 "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-", "initializer_range": 0.02, "intermediate_size": 21504,
 "layer_norm_epsilon": 1e-05, "mamba_head_dim": 64, "mamba_hidden_act": "silu", "mamba_num_heads": 128, "mamba_proj_bias": false,
 "max_position_embeddings": 8192, "mlp_bias": false, "mlp_hidden_act": "relu2", "model_type": "nemotron_h", "n_groups": 8, "num_attention_heads": 32,
 "num_hidden_layers": 52, "num_key_value_heads": 8, "num_logits_to_keep": 1, "num_query_groups": 8, "rescale_prenorm_residual": true,
 "residual_in_fp32": false, "rms_norm_eps": 1e-05, "sliding_window": null, "ssm_state_size": 128, "tie_word_embeddings": false, "time_step_floor": 0.0001,
 "time_step_limit": [0.0, Infinity], "time_step_max": 0.1, "time_step_min": 0.001, "torch_dtype": "bfloat16", "use_bias": false, "use_conv_bias": true,
 "use_mamba_kernels": true, "vocab_size": 131072}' 'dt_min: 0.001' 'kind: relu2' 'd_ff: 21504'
total bamba-9b 9780235392 '{"architectures": ["BambaForCausalLM"], "attention_bias": false, "attn_layer_indices": [9, 18, 27], "attn_rotary_emb": 64, "hidden_act": "silu",
 "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "mamba_chunk_size": 256, "mamba_conv_bias": true, "mamba_d_conv": 4,
 "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 128, "mamba_proj_bias": false,
 "max_position_embeddings": 262144, "mlp_bias": false, "model_type": "bamba", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
 "num_logits_to_keep": 1, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128256}' 'rotary: 64'
total jamba-3b 3197109632 '{"architectures": ["JambaForCausalLM"], "attn_layer_offset": 7, "attn_layer_period": 14, "expert_layer_offset": 1, "expert_layer_period": 2,
 "hidden_act": "silu", "hidden_size": 2560, "intermediate_size": 8192, "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_state": 16, "mamba_dt_rank": 160,
 "mamba_expand": 2, "mamba_proj_bias": false, "max_position_embeddings": 262144, "model_type": "jamba", "num_attention_heads": 20, "num_experts": 1,
 "num_experts_per_tok": 1, "num_hidden_layers": 28, "num_key_value_heads": 1, "rms_norm_eps": 1e-06, "tie_word_embeddings": false, "use_mamba_kernels": true,
 "vocab_size": 65536}' 'dt_rank: 160' 'inner_norms: true'
total mamba-130m-original 129135360 '{"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {}, "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true,
 "pad_vocab_size_multiple": 8}' 'vocab: 50280' 'dt_rank: 48'
total mamba2-130m-original 128989632 '{"d_model": 768, "d_intermediate": 0, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2"}, "attn_layer_idx": [],
 "attn_cfg": {}, "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 16, "tie_embeddings": true}' 'vocab: 50288' 'head_dim: 64'
total mamba-130m 129135360 '{"architectures": ["MambaForCausalLM"], "bos_token_id": 0, "conv_kernel": 4, "d_inner": 1536, "d_model": 768, "eos_token_id": 0, "expand": 2,
 "fused_add_norm": true, "hidden_act": "silu", "hidden_size": 768, "initializer_range": 0.1, "intermediate_size": 1536, "layer_norm_epsilon": 1e-05,
 "model_type": "mamba", "n_layer": 24, "num_hidden_layers": 24, "pad_token_id": 0, "pad_vocab_size_multiple": 8, "rescale_prenorm_residual": false,
 "residual_in_fp32": true, "rms_norm": true, "ssm_cfg": {}, "state_size": 16, "time_step_floor": 0.0001, "time_step_init_scheme": "random",
 "time_step_max": 0.1, "time_step_min": 0.001, "time_step_rank": 48, "time_step_scale": 1.0, "torch_dtype": "float32", "use_bias": false,
 "use_cache": true, "use_conv_bias": true, "vocab_size": 50280}' 'inner_norms: false' 'dt_rank: 48'

llama='"model_type": "llama", "hidden_size": 32, "intermediate_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 9, "max_position_embeddings": 64'
small=$((9 * 32 * 2 + 2 * (4 * 32 * 32 + 3 * 16 * 32 + 64) + 32))
total small "$small" "{$llama}"
total passed_over "$small" "{$llama, \"unsloth_fixed\": true, \"_attn_implementation\": \"sdpa\", \"do_sample\": true, \"temperature\": 0.6}"
# without the key: the families' 4096
shared="${llama#*, }, \"num_key_value_heads\": 4"
total mistral_window "$small" "{\"model_type\": \"mistral\", $shared}" 'window: 4095'
total mistral_no_window "$small" "{\"model_type\": \"mistral\", $shared, \"sliding_window\": null}" 'window: none'
total qwen2_window "$((small + 2 * 3 * 32))" "{\"model_type\": \"qwen2\", $shared, \"use_sliding_window\": true, \"max_window_layers\": 0}" 'window: 4095'
total qwen2_windows_from "$((small + 2 * 3 * 32))" "{\"model_type\": \"qwen2\", $shared, \"use_sliding_window\": true, \"max_window_layers\": 1}" 'window: 4095' 'window: none'
refused yarn '"yarn" is not supported (default, linear, llama3)' "{$llama, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}}"
refused rope_twice 'say the same thing in two ways' "{$llama, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}, \"rope_parameters\": {\"rope_type\": \"default\"}}"
refused rope_no_factor 'factor' "{$llama, \"rope_scaling\": {\"type\": \"linear\"}}"
refused rope_part 'partial_rotary_factor' "{$llama, \"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}}"
refused rope_ramp 'low_freq_factor (4) must be below' "{$llama, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 16}}"
refused quantized 'the weights are quantized' "{$llama, \"quantization_config\": {\"quant_method\": \"gptq\"}}"
refused unknown '"use_qk_norm" is not a key' "{$llama, \"use_qk_norm\": true}"
refused gelu '"hidden_act": "gelu" is not supported, only "silu" or "swish" is' "{$llama, \"hidden_act\": \"gelu\"}"
refused heads 'is not divisible' "{${llama/\"num_attention_heads\": 4/\"num_attention_heads\": 5}}"
refused kv_heads 'kv_heads' "{$llama, \"num_key_value_heads\": 3}"
refused huge 'heads * d_qk' "{$llama, \"head_dim\": 1000000, \"num_key_value_heads\": 1}"
refused layers 'num_hidden_layers' "{${llama/\"num_hidden_layers\": 2/\"num_hidden_layers\": 1000000}}"
refused text '"hidden_size"' "{${llama/\"hidden_size\": 32/\"hidden_size\": \"32\"}}"
refused family '"gpt2" is not a family' '{"model_type": "gpt2"}'
refused no_family '"model_type"' '{}'
refused mixtral 'mixtures of experts' '{"model_type": "mixtral"}'
refused qwen3_moe 'mixtures of experts' '{"model_type": "qwen3_moe"}'
refused deepseek 'latent attention' '{"model_type": "deepseek_v3"}'
refused qwen3_next 'gated delta rule' '{"model_type": "qwen3_next"}'
refused zamba2 'share their weights' '{"model_type": "zamba2"}'
refused jamba_experts '"num_experts" is 16: mixtures of experts' '{"model_type": "jamba"}'
refused granite_experts '"num_local_experts" is 62: mixtures of experts' '{"model_type": "granitemoehybrid", "num_local_experts": 62}'
refused granite_bias 'it would have to multiply them too' '{"model_type": "granitemoehybrid", "num_local_experts": 0, "attention_bias": true, "residual_multiplier": 0.5}'
refused granite_kind '"layer_types"[1]: "delta" is not a kind' '{"model_type": "granitemoehybrid", "num_local_experts": 0, "num_hidden_layers": 2, "layer_types": ["mamba", "delta"]}'
refused granite_mlp '"layer_types"[1]: "mlp" is no kind' '{"model_type": "granitemoehybrid", "num_local_experts": 0, "num_hidden_layers": 2, "layer_types": ["mamba", "mlp"]}'
refused granite_count '"layer_types" lists 1 layers' '{"model_type": "granitemoehybrid", "num_local_experts": 0, "num_hidden_layers": 2, "layer_types": ["mamba"]}'
refused nemotron_experts 'letter 2: mixtures of experts' '{"model_type": "nemotron_h", "hybrid_override_pattern": "M-E"}'
refused nemotron_moe '"layers_block_type"[1]: mixtures of experts' '{"model_type": "nemotron_h", "layers_block_type": ["mlp", "moe"]}'
refused nemotron_letter "'x' is not a kind of layer" '{"model_type": "nemotron_h", "hybrid_override_pattern": "Mx"}'
refused nemotron_count 'has 2 letters, but "num_hidden_layers" is 3' '{"model_type": "nemotron_h", "hybrid_override_pattern": "M-", "num_hidden_layers": 3}'
refused nemotron_none 'says what the layers are' '{"model_type": "nemotron_h"}'
refused nemotron_width '"attention_head_dim" is 64' '{"model_type": "nemotron_h", "hybrid_override_pattern": "M*", "attention_head_dim": 64}'
refused bamba_third 'not whole pairs' '{"model_type": "bamba", "partial_rotary_factor": 0.01}'
refused bamba_layer '"attn_layer_indices"[1]' '{"model_type": "bamba", "attn_layer_indices": [3, 32]}'
refused smollm3_short '"no_rope_layers" lists 2 layers' '{"model_type": "smollm3", "no_rope_layers": [1, 0]}'
refused smollm3_two '"no_rope_layers"[0]' '{"model_type": "smollm3", "num_hidden_layers": 1, "no_rope_layers": [2]}'
refused llama_partial 'turns whole heads' "{$llama, \"partial_rotary_factor\": 0.5}"
refused original_attention '"attn_layer_idx": [9]' '{"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2"}, "attn_layer_idx": [9]}'
refused original_layer '"layer": "Mamba3"' '{"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba3"}}'
refused original_key '"ssm_cfg": "d_ssm": 9' '{"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2", "d_ssm": 9}}'
refused original_short '"vocab_size" is missing' '{"d_model": 768, "n_layer": 24}'
refused list 'an object is wanted' '[]'
refused window_1 'sliding_window' "{${llama/llama/mistral}, \"sliding_window\": 1}"
refused layer_types 'chunked_attention' "{${llama/llama/qwen2}, \"layer_types\": [\"full_attention\", \"chunked_attention\"]}"
refused mamba_repeat '"d_inner" is 7' '{"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 5, "state_size": 2, "conv_kernel": 2, "d_inner": 7}'
refused mamba2_cfg '"ssm_cfg"' '{"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 5, "state_size": 2, "conv_kernel": 2, "ssm_cfg": {"layer": "Mamba2"}}'

# ---- keys that are left out: what the classes of transformers have then. data/configs holds their defaults, written in full by 4.57.1
# and 5.24.0 (to_json_string(use_diff=False)); a configuration of the family's name alone must be the same model.
data=$(dirname "$0")/../data/configs
spec() { # JSON
  mkdir -p "$tmp/d"
  printf '%s' "$1" >"$tmp/d/config.json"
  "$hylab" show spec "$tmp/d" --yaml 2>&1
}
for f in "$data"/*.json; do
  g=$(basename "$f" .json)
  case $g in
    falcon_h1-v4) some=', "rope_theta": 100000' ;; # the two versions differ
    falcon_h1-*) some=', "rope_theta": 10000' ;;
    jamba-*) some=', "num_experts": 1' ;; # the classes have experts
    granitemoehybrid-*) some=', "num_local_experts": 0' ;;
    nemotron_h-*) some=', "hybrid_override_pattern": "M-*-"' ;;
    *) some= ;;
  esac
  whole=$(spec "$(cat "$f")")
  if grep -q '^vocab: ' <<<"$whole" && [ "$whole" = "$(spec "{\"model_type\": \"${g%-v*}\"$some}")" ]; then ok "defaults_$g"
  else not_ok "defaults_$g" "$(diff <(echo "$whole") <(spec "{\"model_type\": \"${g%-v*}\"$some}") | head -5)"; fi
done
refused falcon_theta '"rope_theta" is missing' '{"model_type": "falcon_h1"}'
refused hymba_all '"hidden_size", "num_hidden_layers", "num_attention_heads"' '{"model_type": "hymba"}'
refused hymba_two '"mamba_d_conv", "rms_norm_eps" are missing' "$(sed '/"mamba_d_conv"/d; /"rms_norm_eps"/d' "$(dirname "$0")/../golden/hymba-tiny/config.json")"

# ---- what each key says: KEY=VALUE and the line of the spec that must then be there (and was not before)
declare -A plain # of a family: the configuration in full, and the spec of it
says() { # FAMILY, KEY, VALUE, LINE
  local base name="says_$1_$2" extra out
  base=$(tr -d '\n' <"$data/$1-v5.json" | sed 's/"id2label.*"initializer/"initializer/; s/"layer_types": \[[^]]*\], //')
  extra=$(sed -E "s/\"$2\": (\[[^]]*\]|\"[^\"]*\"|[-a-z0-9.]+)/\"$2\": $3/" <<<"$base")
  [ "$extra" = "$base" ] && extra=${base/%\}/, \"$2\": $3\}}
  [ -n "${plain[$1]:-}" ] || plain[$1]=$(spec "$base")
  out=$(spec "$extra")
  if grep -qF -- "$4" <<<"$out" && ! grep -qF -- "$4" <<<"${plain[$1]}"; then ok "$name"; else not_ok "$name" "$(head -40 <<<"$out")"; fi
}
says llama vocab_size 77 'vocab: 77'
says llama rms_norm_eps 0.001 '  eps: 0.001'
says llama initializer_range 0.07 '  std: 0.07'
says llama tie_word_embeddings true 'tied: true'
says llama attention_bias true 'qkv_bias: true'
says llama attention_bias true 'out_bias: true'
says llama mlp_bias true 'bias: true'
says llama num_key_value_heads 4 'kv_heads: 4'
says llama num_attention_heads 64 ' heads: 64'
says llama intermediate_size 99 'd_ff: 99'
says llama rope_theta 5000 '  base: 5000'
says llama max_position_embeddings 99 'max_len: 99'
says mistral sliding_window 100 'window: 99'
says mamba state_size 5 'd_state: 5'
says mamba conv_kernel 3 'd_conv: 3'
says mamba time_step_rank 7 'dt_rank: 7'
says mamba use_bias true 'proj_bias: true'
says mamba use_conv_bias false 'conv_bias: false'
says mamba layer_norm_epsilon 0.001 '  eps: 0.001'
says mamba2 n_groups 4 'groups: 4'
says mamba2 state_size 5 'd_state: 5'
says mamba2 time_step_limit '[0.5, 2.0]' 'dt_min: 0.5'
says mamba2 time_step_limit '[0.5, 2.0]' 'dt_max: 2'
says falcon_h1 key_multiplier 0.5 'key: 0.5'
says falcon_h1 lm_head_multiplier 0.25 'head: 0.25'
says falcon_h1 embedding_multiplier 3.5 'embedding: 3.5'
says falcon_h1 attention_in_multiplier 0.5 'attention_in: 0.5'
says falcon_h1 attention_out_multiplier 0.5 'attention_out: 0.5'
says falcon_h1 ssm_in_multiplier 0.5 'ssm_in: 0.5'
says falcon_h1 ssm_out_multiplier 0.5 'ssm_out: 0.5'
says falcon_h1 ssm_multipliers '[0.1, 0.2, 0.3, 0.4, 0.5]' 'ssm_B: 0.3'
says falcon_h1 ssm_multipliers '[0.1, 0.2, 0.3, 0.4, 0.5]' 'ssm_dt: 0.5'
says falcon_h1 mlp_multipliers '[0.1, 0.2]' 'mlp_gate: 0.1'
says falcon_h1 mamba_n_groups 2 'groups: 2'
says falcon_h1 mamba_rms_norm true 'gated_norm: true'
says qwen3 attention_bias true 'out_bias: true'
says qwen3 head_dim 64 'd_qk: 64'
says qwen3 num_attention_heads 64 ' heads: 64' && grep -q 'd_qk: 128' <<<"$(spec '{"model_type": "qwen3", "num_attention_heads": 64}')" && ok qwen3_head_dim || not_ok qwen3_head_dim 'not 128'
says smollm3 mlp_bias true 'bias: true'
says falcon_mamba mixer_rms_eps 0.5 'inner_norm_eps: 0.5'
says falcon_mamba intermediate_size 99 'd_inner: 99'
says jamba mamba_dt_rank 7 'dt_rank: 7'
says jamba mamba_proj_bias true 'proj_bias: true'
says bamba attn_layer_indices '[3]' 'rotary: 64'
says bamba mlp_bias true '      bias: true'
says bamba mamba_n_groups 2 'groups: 2'
says granitemoehybrid residual_multiplier 0.5 'mlp_down: 0.5'
says granitemoehybrid residual_multiplier 0.5 'ssm_out: 0.5'
says granitemoehybrid logits_scaling 8 'head: 0.125'
says granitemoehybrid embedding_multiplier 3 'embedding: 3'
says granitemoehybrid shared_intermediate_size 99 'd_ff: 99'
says nemotron_h time_step_min 0.5 'dt_min: 0.5'
says nemotron_h intermediate_size 99 'd_ff: 99'
says nemotron_h mamba_head_dim 16 'head_dim: 16'
says nemotron_h use_bias true 'proj_bias: true'
says nemotron_h layer_norm_epsilon 0.5 '  eps: 0.5'
scaling() { # NAME, JSON, LINE...: rope_scaling as version 4 and rope_parameters as 5 write it
  local key out
  for key in rope_scaling rope_parameters; do
    out=$(spec "{$llama, \"$key\": $2}")
    for line in "${@:3}"; do grep -qF -- "$line" <<<"$out" || { not_ok "scaling_$1_$key" "$out"; return; }; done
    ok "scaling_$1_$key"
  done
}
scaling linear '{"type": "linear", "factor": 3.0, "rope_theta": 500}' '  kind: linear' '  factor: 3' '  base: 500'
scaling llama3 '{"rope_type": "llama3", "factor": 8, "low_freq_factor": 2, "high_freq_factor": 5, "original_max_position_embeddings": 16}' '  kind: llama3' '  factor: 8' 'low_freq_factor: 2' 'high_freq_factor: 5' 'orig_len: 16'
total rope_null "$small" "{$llama, \"rope_scaling\": null, \"rope_parameters\": null}" '  kind: default'

# ---- keys that nobody knows pass where they ask for nothing
for v in null false '""' '[]' '{}'; do total "neutral_${v//[^a-z]/_}" "$small" "{$llama, \"some_future_key\": $v, \"quantization_config\": $v}"; done
for v in true 0 1 0.5 '"x"' '[1]' '{"a": 1}'; do refused "active_${v//[^a-z0-9]/_}" '"some_future_key" is not a key' "{$llama, \"some_future_key\": $v}"; done
total llama_null_bias "$small" "{$llama, \"attention_bias\": null, \"tie_word_embeddings\": null}" 'tied: false'
total mamba_auto_rank 6456 '{"model_type": "mamba", "hidden_size": 24, "num_hidden_layers": 1, "vocab_size": 5}' 'dt_rank: 2'
total mistral_bias "$small" "{\"model_type\": \"mistral\", $shared, \"attention_bias\": false, \"sliding_window\": null}"
refused mistral_biased '"attention_bias" is not a key' "{\"model_type\": \"mistral\", $shared, \"attention_bias\": true}"
exit $bad
