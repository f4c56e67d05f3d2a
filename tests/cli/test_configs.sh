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
