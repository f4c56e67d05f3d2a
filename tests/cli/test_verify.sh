#!/usr/bin/env bash
# test_verify.sh - `hylab verify` on the golden checkpoints of every family, with every kernel set that this machine has;
# and that it fails when a weight, a tensor or a key of the configuration is wrong.
set -u
hylab=${HYLAB:-./hylab}
golden=$(dirname "$0")/../golden
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; echo "  $2"; bad=1; }

has() { # does this machine run these kernels?
  case $1 in
    ref | base) return 0 ;;
    avx2) grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo ;;
    avx512) grep -qw avx512f /proc/cpuinfo && grep -qw avx512vl /proc/cpuinfo && grep -qw avx512dq /proc/cpuinfo ;;
  esac
}

# ---- the golden files
for config in "$golden"/*/config.json; do
  dir=${config%/config.json}
  g=$(basename "$dir")
  for how in "f32 ref" "f32 base" "f32 avx2" "f32 avx512" "f64 ref"; do
    set -- $how
    name="verify_${g}_$1_$2"
    if ! has "$2"; then echo "skip $name"; continue; fi
    if "$hylab" verify "$golden/$g" --dtype "$1" --isa "$2" --threads 2 >"$tmp/out" 2>"$tmp/err" && ! grep -q FAIL "$tmp/out"; then ok "$name"
    else not_ok "$name" "$(grep FAIL "$tmp/out"; cat "$tmp/err")"; fi
  done
done
# every tensor of the file is a line: logits, loss, hidden states, gradients; input_ids is the one that is not
lines=$("$hylab" verify "$golden/hymba-tiny" --format csv | grep -c ',PASS,')
[ "$lines" = 25 ] && ok verify_all_lines || not_ok verify_all_lines "$lines lines instead of 25"
"$hylab" verify "$golden/hymba-tiny" --format json | grep -q '"tensor": "grad.model.memory_tokens"' && ok verify_json || not_ok verify_json "no such row"
one=$("$hylab" verify "$golden/hymba-tiny" --threads 1 --format csv) two=$("$hylab" verify "$golden/hymba-tiny" --threads 2 --format csv)
[ "$one" = "$two" ] && ok verify_threads_agree || not_ok verify_threads_agree "errors differ between 1 and 2 threads"

if [ -w /dev/full ]; then # a full disk behind the output
  "$hylab" verify "$golden/hymba-tiny" --format csv >/dev/full 2>"$tmp/err"
  rc=$?
  [ $rc = 1 ] && grep -q "No space left" "$tmp/err" && ok verify_full_output || not_ok verify_full_output "exit $rc: $(cat "$tmp/err")"
else echo "skip verify_full_output"; fi

# ---- what must fail: NAME, exit status, words of the output, each
damaged() { rm -rf "$tmp/d"; cp -r "$golden/hymba-tiny" "$tmp/d"; }
must_fail() {
  local name=$1 want=$2
  shift 2
  "$hylab" verify "$tmp/d" --isa base --threads 1 >"$tmp/out" 2>&1
  local rc=$?
  if [ $rc != "$want" ]; then not_ok "$name" "exit $rc instead of $want: $(tail -3 "$tmp/out")"; return; fi
  for word in "$@"; do
    grep -qF -- "$word" "$tmp/out" || { not_ok "$name" "no \"$word\" in: $(tail -8 "$tmp/out")"; return; }
  done
  ok "$name"
}
poke() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

damaged # one weight in the middle of the file becomes 2.0
poke "$tmp/d/model.safetensors" 200000 '\x00\x00\x00\x40'
must_fail verify_wrong_weight 1 "FAIL" "tensors are missing or differ"
damaged
poke "$tmp/d/model.safetensors" 200000 '\x00\x00\xc0\x7f'
must_fail verify_nan_weight 1 "not a finite number"
damaged
LC_ALL=C sed -i 's/model.layers.1.mamba.D.0/model.layers.1.mamba.E.0/' "$tmp/d/model.safetensors"
must_fail verify_missing_weight 2 "missing: model.layers.1.mamba.D.0 [64]" "unknown: model.layers.1.mamba.E.0 [64]" config.json model.safetensors
damaged
LC_ALL=C sed -i 's/"logits"/"logitz"/; s/"hidden.3"/"hidden.9"/' "$tmp/d/expected.safetensors"
must_fail verify_missing_expected 1 "missing in the file" "not an output that is known" "4 of 27"
damaged
LC_ALL=C sed -i 's/"grad.model.layers.0.mamba.D.0"/"grad.model.layers.0.mamba.X.0"/' "$tmp/d/expected.safetensors"
must_fail verify_unknown_gradient 1 "the model has no such tensor"
damaged
truncate -s -4 "$tmp/d/model.safetensors"
must_fail verify_cut_weights 2 "cut short"
damaged
rm "$tmp/d/expected.safetensors"
must_fail verify_no_expected 2 "expected.safetensors: cannot open"
# ---- what a user can make in a few lines: ids and logits alone, or some of the rest
only() { # FOLDER, tensors...: expected.safetensors of a golden folder with these alone
  local from=$1/expected.safetensors n head=$tmp/head data=$tmp/data at=0 a b text='{' name entry
  shift
  n=$(od -An -tu8 -N8 "$from" | tr -d ' ')
  tail -c +9 "$from" | head -c "$n" >"$head"
  : >"$data"
  for name; do
    entry=$(tr -d ' ' <"$head" | grep -o "\"$name\":{[^}]*}")
    read -r a b < <(sed 's/.*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/' <<<"$entry")
    tail -c +$((9 + n + a)) "$from" | head -c $((b - a)) >>"$data"
    text+="${entry%\"data_offsets*}\"data_offsets\":[$at,$((at + b - a))]},"
    at=$((at + b - a))
  done
  text="${text%,}}"
  while [ $((${#text} % 8)) != 0 ]; do text+=' '; done
  { printf "%b" "$(printf '\\x%02x\\x%02x\\0\\0\\0\\0\\0\\0' $((${#text} % 256)) $((${#text} / 256)))"; printf '%s' "$text"; cat "$data"; } >"$tmp/d/expected.safetensors"
}
must_pass() { # NAME, options --, words of the output
  local name=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  "$hylab" verify "$tmp/d" --isa base --threads 1 "${options[@]}" >"$tmp/out" 2>&1 || { not_ok "$name" "$(tail -3 "$tmp/out")"; return; }
  for word in "$@"; do grep -qE -- "$word" "$tmp/out" || { not_ok "$name" "no \"$word\" in: $(tail -8 "$tmp/out")"; return; }; done
  ok "$name"
}
damaged
only "$golden/hymba-tiny" input_ids logits
must_pass verify_logits_only -- '^logits .*PASS' 'no loss: it is untested' 'no hidden states' 'no gradients: they are untested' '^1 of 1 tensors agree'
must_pass verify_limit --limit 0.5 -- '^logits .* 0.5 +PASS' 'limits: 0.5, gradients 5: given with --limit'
poke "$tmp/d/expected.safetensors" $(($(stat -c %s "$tmp/d/expected.safetensors") - 4)) '\x00\x24\x74\x49' # the last logit: a million
must_pass verify_relative_to_expected --limit 1 -- '^logits .* (1|0.99[0-9]*|1e\+00) +1 +PASS'
only "$golden/hymba-tiny" input_ids logits
bytes=$(stat -c %s "$tmp/d/expected.safetensors")
dd if=/dev/zero of="$tmp/d/expected.safetensors" bs=1 seek=$((bytes - 2 * 24 * 61 * 4)) count=$((2 * 24 * 61 * 4)) conv=notrunc status=none
must_fail verify_zeros_expected 1 'only zeros are expected'
only "$golden/hymba-tiny" input_ids logits loss
must_pass verify_logits_and_loss -- '^loss  *\[1\] .*PASS' '^2 of 2 tensors agree'
LC_ALL=C sed -i 's/\("loss":{"dtype":"F32","shape":\)\[1\]/\1[ ]/' "$tmp/d/expected.safetensors" # as PyTorch saves it: no dimension
must_pass verify_scalar_loss -- '^loss .*PASS' '^2 of 2 tensors agree'
only "$golden/hymba-tiny" input_ids logits hidden.0 hidden.2
must_fail verify_some_hidden 1 'hidden.1' 'missing in the file' '5 of 8 tensors are missing'
only "$golden/hymba-tiny" input_ids loss
must_fail verify_no_logits 1 'missing in the file' '1 of 2 tensors are missing'
for limit in 0 -1 nan 2 x 1e-5x; do
  "$hylab" verify "$tmp/d" --limit "$limit" >"$tmp/out" 2>&1
  [ $? = 2 ] && grep -q -- '--limit' "$tmp/out" && ok "verify_bad_limit_$limit" || not_ok "verify_bad_limit_$limit" "$(cat "$tmp/out")"
done
damaged # a limit below what float32 can do fails, and gradients have ten times it
"$hylab" verify "$tmp/d" --isa base --threads 1 --limit 1e-9 --format csv >"$tmp/out" 2>/dev/null
[ $? = 1 ] && grep -q 'logits,.*,1e-09,FAIL' "$tmp/out" && grep -q 'grad.*,1e-08,FAIL' "$tmp/out" && ok verify_small_limit || not_ok verify_small_limit "$(tail -3 "$tmp/out")"

config() { # NAME, sed script, words
  local name=$1 script=$2
  shift 2
  damaged
  sed -i "$script" "$tmp/d/config.json"
  cmp -s "$tmp/d/config.json" "$golden/hymba-tiny/config.json" && { not_ok "$name" "the script changed nothing"; return; }
  must_fail "$name" 2 config.json "$@"
}
config verify_config_meta 's/"num_memory_tokens": 4/"num_memory_tokens": 5/' model.safetensors "model.memory_tokens is [4, 32]" "makes it [5, 32]"
config verify_config_tied 's/"tie_word_embeddings": true/"tie_word_embeddings": false/' "missing: lm_head.weight [61, 32]"
config verify_config_groups 's/"kv_reuse_every_i_layer": -1/"kv_reuse_every_i_layer": 2/' kv_reuse_every_i_layer
config verify_config_v_head 's/"v_head_dim": 16/"v_head_dim": 8/' v_head_dim mamba_expand
config verify_config_conv_dim 's/"3": 64/"3": 32/' conv_dim mamba_expand
config verify_config_heads 's/"num_attention_heads": 4/"num_attention_heads": 5/' num_attention_heads
config verify_config_global 's/"num_hidden_layers": 6/"num_hidden_layers": 5/' global_attn_idx
config verify_config_unknown 's/"num_mamba": 1/"num_mambas": 1/' num_mambas
config verify_config_act 's/"hidden_act": "silu"/"hidden_act": "gelu"/' '"gelu" is not supported'
config verify_config_rope 's/"rope_type": "ntk"/"rope_type": "yarn"/' yarn
config verify_config_family 's/"model_type": "hymba"/"model_type": "rwkv"/' rwkv
config verify_config_missing '/"sliding_window"/d' '"sliding_window" is missing'
config verify_config_cut '20q' 'line 21'
config verify_config_mask 's/   1,$/   0,/' 'layer'
exit $bad
