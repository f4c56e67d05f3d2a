#!/usr/bin/env bash
# test_export.sh - `hylab export` and the way back: unchanged folders byte by byte, with values through a trained checkpoint too;
# new folders of every family and element type; shards and what can be wrong with them; what a family cannot say.
set -u
hylab=${HYLAB:-./hylab}
golden=$(dirname "$0")/../golden
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; echo "  $2"; bad=1; }
run() { # NAME, command: must succeed
  local name=$1
  shift
  if "$@" >"$tmp/out" 2>&1; then return 0; fi
  not_ok "$name" "$(tail -5 "$tmp/out")"
  return 1
}
must_fail() { # NAME, words..., --, command: must exit with 2 and say the words
  local name=$1 words=() rc
  shift
  while [ "$1" != -- ]; do words+=("$1"); shift; done
  shift
  "$@" >"$tmp/out" 2>&1
  rc=$?
  [ $rc = 2 ] || { not_ok "$name" "exit $rc: $(tail -3 "$tmp/out")"; return; }
  for w in "${words[@]}"; do grep -qF -- "$w" "$tmp/out" || { not_ok "$name" "no \"$w\" in: $(tail -8 "$tmp/out")"; return; }; done
  ok "$name"
}
same_files() { # every file of $1 but expected.safetensors is in $2, byte by byte, and there is no other
  local f
  (cd "$1" && find . -type f ! -name 'expected*' | sort) >"$tmp/a"
  (cd "$2" && find . -type f ! -name 'expected*' | sort) >"$tmp/b"
  cmp -s "$tmp/a" "$tmp/b" && while read -r f; do cmp -s "$1/$f" "$2/$f" || { echo "$f differs"; return 1; }; done <"$tmp/a"
}
tune() { "$hylab" train --from "$1" --task mqar --task-set vocab=34 --task-set 'train=[[20,2]]' --task-set 'test=[[20,2]]' --train steps=2 --train batch=2 \
  --train eval_examples=4 --train lr="$2" --train weight_decay=0 --threads 1 --out "$3"; }
family_of() { grep -q '"model_type"' "$1/config.json" && sed -n 's/.*"model_type": *"\([a-z0-9_]*\)".*/\1/p' "$1/config.json" || echo mamba_ssm; }

# ---- every golden folder
for config in "$golden"/*/config.json; do
  dir=${config%/config.json}
  g=$(basename "$dir")
  f=$(family_of "$dir")
  run "export_${g}" "$hylab" export "$dir" --out "$tmp/$g-copy" && same_files "$dir" "$tmp/$g-copy" && ok "export_${g}_bytes" || not_ok "export_${g}_bytes" "files differ"
  # through a training run that changes nothing
  run "tune_${g}" tune "$dir" 0 "$tmp/$g-0.safetensors" && run "export_${g}_like" "$hylab" export "$tmp/$g-0.safetensors" --like "$dir" --out "$tmp/$g-0" &&
    same_files "$dir" "$tmp/$g-0" && ok "export_${g}_unchanged" || not_ok "export_${g}_unchanged" "files differ"
  # a new folder in shards computes what the family's code computed
  run "export_${g}_new" "$hylab" export "$tmp/$g-0.safetensors" --family "$f" --shard-size 20KB --out "$tmp/$g-new" && cp "$dir/expected.safetensors" "$tmp/$g-new" &&
    run "verify_${g}_new" "$hylab" verify "$tmp/$g-new" && [ -f "$tmp/$g-new/model.safetensors.index.json" ] && ok "export_${g}_shards" || not_ok "export_${g}_shards" "no"
  # trained: export, import, export again gives the same bits
  run "train_${g}" tune "$dir" 1e-3 "$tmp/$g-1.safetensors" && run "export_${g}_trained" "$hylab" export "$tmp/$g-1.safetensors" --family "$f" --out "$tmp/$g-1" &&
    run "export_${g}_again" "$hylab" export "$tmp/$g-1.safetensors" --like "$tmp/$g-1" --out "$tmp/$g-2" --format csv && grep -q ',0[[:space:]]*$' "$tmp/out" && same_files "$tmp/$g-1" "$tmp/$g-2" &&
    run "export_${g}_changed" "$hylab" export "$tmp/$g-1.safetensors" --like "$dir" --out "$tmp/$g-3" --format csv && ! grep -q ',0[[:space:]]*$' "$tmp/out" && ! cmp -s "$dir/model.safetensors" "$tmp/$g-3/model.safetensors" &&
    cmp -s <("$hylab" export "$tmp/$g-1" --dtype f32 --out "$tmp/$g-4" --shard-size 1GB >/dev/null; cat "$tmp/$g-4/model.safetensors") "$tmp/$g-1/model.safetensors" &&
    ok "export_${g}_round" || not_ok "export_${g}_round" "$(tail -2 "$tmp/out")"
done

# ---- element types: what was rounded once stays as it is
for t in bf16 f16; do
  run "export_$t" "$hylab" export "$golden/llama3-tiny" --dtype $t --shard-size 9KB --out "$tmp/$t" && grep -q '"dtype": "b\?float16"' "$tmp/$t/config.json" &&
    run "tune_$t" tune "$tmp/$t" 0 "$tmp/$t.safetensors" && run "like_$t" "$hylab" export "$tmp/$t.safetensors" --like "$tmp/$t" --out "$tmp/$t-again" &&
    same_files "$tmp/$t" "$tmp/$t-again" && ok "export_$t" || not_ok "export_$t" "files differ"
done
echo '{}' >"$tmp/bf16/tokenizer.json"
echo '{"a": 1}' >"$tmp/bf16/generation_config.json"
echo 'x = 1' >"$tmp/bf16/modeling_x.py"  # config.json of a released Hymba names such a file
mkdir "$tmp/bf16/folder.py"
run export_tokenizer "$hylab" export "$tmp/bf16" --out "$tmp/tok" && same_files "$tmp/bf16" "$tmp/tok" && ok export_tokenizer || not_ok export_tokenizer "$(ls "$tmp/tok")"

# other shards alone: every tensor keeps its type (here the first file is bf16, the rest float32)
run mixed_1 "$hylab" export "$golden/llama3-tiny" --shard-size 18KB --out "$tmp/f32s" && run mixed_2 "$hylab" export "$golden/llama3-tiny" --dtype bf16 --shard-size 9KB --out "$tmp/mixed" &&
  last=model-00002-of-$(ls "$tmp/f32s" | sed -n 's/^model-00001-of-//p') && cp "$tmp/f32s/$last" "$tmp/mixed" && run mixed_3 "$hylab" export "$tmp/mixed" --shard-size 1KB --out "$tmp/mixed1" &&
  run mixed_4 "$hylab" export "$tmp/mixed1" --dtype f32 --shard-size 18KB --out "$tmp/mixed2" && cmp -s "$tmp/f32s/$last" "$tmp/mixed2/$last" && cmp -s "$tmp/mixed/config.json" "$tmp/mixed1/config.json" &&
  [ "$(cat "$tmp"/mixed1/*.safetensors | grep -ao '"BF16"' | wc -l)" = "$(cat "$tmp"/mixed/*.safetensors | grep -ao '"BF16"' | wc -l)" ] && ok export_keeps_types || not_ok export_keeps_types "other types or values"

# ---- random weights of a variant are those that `hylab eval VARIANT` has
cat >"$tmp/v.yaml" <<'V'
vocab: 40
d_model: 32
layers: 3
mixer: parallel
meta_tokens: 3
attention: {heads: 4, kv_heads: 2, window: 8, global_layers: [first]}
kv_share: pairs
V
figures() { "$hylab" eval "$1" --task mqar --task-set vocab=34 --task-set 'train=[[20,2]]' --task-set 'test=[[20,2]]' --format csv; }
run export_init "$hylab" export "$tmp/v.yaml" --init 1 --family hymba --out "$tmp/init" && figures "$tmp/v.yaml" >"$tmp/f1" && figures "$tmp/init" >"$tmp/f2" &&
  grep -q '[0-9]\.[0-9]' "$tmp/f1" && cmp -s "$tmp/f1" "$tmp/f2" && ok export_init || not_ok export_init "$(diff "$tmp/f1" "$tmp/f2")"
run export_init_2 "$hylab" export "$tmp/v.yaml" --init 2 --family hymba --out "$tmp/init2" && ! cmp -s "$tmp/init/model.safetensors" "$tmp/init2/model.safetensors" && ok export_init_2 ||
  not_ok export_init_2 "the seed has no effect"

# ---- ctrl-C leaves no file that looks whole, and the same command goes on
"$hylab" export variants/paper/mamba-130m.yaml --init 1 --family mamba --out "$tmp/big" --shard-size 1MB >"$tmp/out" 2>&1 &
pid=$!
for _ in $(seq 100); do [ -e "$tmp/big" ] && break; sleep 0.05; done
kill -INT $pid
wait $pid
rc=$?
[ $rc = 130 ] && [ ! -e "$tmp/big/config.json" ] && ! ls "$tmp/big" | grep -qv '^model-.*safetensors$' && ok export_interrupted || not_ok export_interrupted "exit $rc: $(cat "$tmp/out"; ls "$tmp/big")"

# ---- the spec of a checkpoint
"$hylab" show spec "$tmp/llama-tiny-1.safetensors" >"$tmp/out" 2>&1 && grep -q '^total  *19520 ' "$tmp/out" && ok checkpoint_spec || not_ok checkpoint_spec "$(tail -3 "$tmp/out")"

# ---- refused, with the reason
must_fail export_no_init "--init SEED" -- "$hylab" export "$tmp/v.yaml" --family hymba --out "$tmp/x"
must_fail export_not_llama 'cannot say what this model is' 'meta_tokens: 3' -- "$hylab" export "$tmp/v.yaml" --init 1 --family llama --out "$tmp/x"
must_fail export_not_mamba 'cannot say what this model is' -- "$hylab" export "$tmp/v.yaml" --init 1 --family mamba --set meta_tokens=0 --out "$tmp/x"
must_fail export_uneven 'd_ff: 16' -- "$hylab" export "$tmp/v.yaml" --init 1 --family llama --set meta_tokens=0 --set mixer=attention --set kv_share=none --set attention.window=none \
  --set attention.global_layers=none --set 'pattern=[{times: 2}, {mlp: {d_ff: 16}}]' --out "$tmp/x"
must_fail export_no_family "--family" -- "$hylab" export "$tmp/llama-tiny-1.safetensors" --out "$tmp/x"
must_fail export_bad_family "there are hymba" -- "$hylab" export "$tmp/llama-tiny-1.safetensors" --family rwkv --out "$tmp/x"
must_fail export_other_like "config.json" "vocab" -- "$hylab" export "$tmp/llama-tiny-1.safetensors" --like "$golden/hymba-tiny" --out "$tmp/x"
must_fail export_taken "already holds a model" -- "$hylab" export "$golden/llama-tiny" --out "$tmp/init"
run tune_huge tune "$golden/llama-tiny" 1e6 "$tmp/huge.safetensors" && must_fail export_f16_overflow 'tensor "' 'which float16 cannot hold' -- \
  "$hylab" export "$tmp/huge.safetensors" --family llama --dtype f16 --out "$tmp/huge"
must_fail export_no_out "--out DIR" -- "$hylab" export "$golden/llama-tiny"
must_fail train_two "one of the two" -- "$hylab" train "$tmp/v.yaml" --from "$golden/llama-tiny"
must_fail train_from_variant "has no weights" -- "$hylab" train --from "$tmp/v.yaml"
[ -e "$tmp/x" ] && not_ok export_leaves_nothing "$(ls "$tmp/x")" || ok export_leaves_nothing

# ---- shards that do not fit their index
shards() { rm -rf "$tmp/s"; cp -r "$tmp/llama3-tiny-new" "$tmp/s"; index=$tmp/s/model.safetensors.index.json; }
broken() { # NAME, words...
  local name=$1
  shift
  must_fail "$name" "$@" -- "$hylab" verify "$tmp/s"
}
two=model-00002-of-0000$(ls "$tmp/llama3-tiny-new" | grep -c '^model-').safetensors
shards; rm "$tmp/s/$two"; broken shard_missing index.json "$two: cannot open"
shards; truncate -s -3 "$tmp/s/$two"; broken shard_cut "$two" "cut short"
shards; sed -i "s/\"model.norm.weight\": \"[^\"]*\"/\"model.norm.weight\": \"$two\"/" "$index"; broken shard_elsewhere '"model.norm.weight" is listed in' "but found in"
shards; sed -i '/"model.norm.weight"/d' "$index"; broken shard_unlisted '"model.norm.weight" is in' "but not listed"
shards; sed -i 's/"model.norm.weight"/"model.extra.weight"/' "$index"; broken shard_unknown '"model.extra.weight" is listed in' "but is not there"
shards; sed -i "0,/$two/s//..\/$two/" "$index"; broken shard_outside "is not the name of a .safetensors file in the same folder"
shards; sed -i "0,/$two/s//\/etc\/passwd.safetensors/" "$index"; broken shard_absolute "is not the name of a .safetensors file in the same folder"
shards; sed -i "0,/\"$two\"/s//7/" "$index"; broken shard_number '"weight_map"' "a string is wanted"
shards; echo '{"weight_map": {}}' >"$index"; broken shard_empty "names no tensors"
shards; echo '{"weight_map": []}' >"$index"; broken shard_list "weight_map"
shards; sed -i '$d' "$index"; broken shard_json "line"
shards; cp "$tmp/s/$two" "$tmp/s/model-copy.safetensors"; sed -i "0,/\"model.*\": \"$two\"/s//\"model.twice\": \"model-copy.safetensors\",\n&/" "$index"; broken shard_twice "is both in" "model-copy.safetensors"
shards; rm "$index"; broken shard_no_index "model.safetensors: cannot open"
touch "$tmp/s/pytorch_model.bin"; broken shard_pickled "pytorch_model.bin, which is not read: save the model as safetensors"
exit $bad
