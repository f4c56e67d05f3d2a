#!/usr/bin/env bash
# test_hostile.sh - folders that are damaged, lie or are made to harm: each ends with exit 2 and a message that names the file,
# the tensor or key and the reason, within a second or so and in 200 MB of address space beside the program's own (so nothing of the size that a file
# claims was allocated), with no more on the terminal than text.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-./hylab}")
golden=$PWD/tests/golden/llama-tiny
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
D=$tmp/d # the folder under test
run() { timeout 20 "$H" generate "$1" '1 2' --ids --max-new 1 --temperature 0 --threads 1; }
"$H" export "$golden" --family llama --dtype f32 --shard-size 32KB --out "$tmp/sharded" >/dev/null || exit 1

# The limit, where the undamaged folders live within it (not under a sanitizer, which reserves terabytes).
LIMIT=$((200000 + $(stat -Lc %s "$H") / 1024)) # kB; kernels for GPUs make the program itself large
if (ulimit -v $LIMIT; run "$golden") >/dev/null 2>&1; then echo "ok undamaged within $LIMIT kB"; else
  LIMIT=unlimited
  echo "skip the limit of memory: the undamaged folder does not run within it"
fi
for d in "$golden" "$tmp/sharded"; do
  if run "$d" >"$tmp/out" 2>&1; then echo "ok $(basename "$d") is sound"; else echo "not ok $(basename "$d") is sound"; cat "$tmp/out"; bad=1; fi
done

hostile() { # name, folder to start from, commands that damage it (run inside it), words of the message
  local name=$1 from=$2 damage=$3 rc word
  shift 3
  chmod -R u+rwx "$D" 2>/dev/null
  rm -rf "$D"
  cp -r "$from" "$D"
  (cd "$D" && eval "$damage") || { echo "not ok $name (the damage failed)"; bad=1; return; }
  (ulimit -v $LIMIT; run "$D") >"$tmp/out" 2>&1
  rc=$?
  if [ $rc != 2 ]; then echo "not ok $name (exit $rc)"; head -c 600 "$tmp/out"; bad=1; return; fi
  for word in "$@"; do
    grep -qF -- "$word" "$tmp/out" || { echo "not ok $name (no \"$word\")"; head -c 900 "$tmp/out"; bad=1; return; }
  done
  if LC_ALL=C grep -q $'[^\t -~\x80-\xff]' "$tmp/out"; then echo "not ok $name (control bytes)"; head -c 900 "$tmp/out"; bad=1; return; fi
  echo "ok $name"
}
one() { local name=$1; shift; hostile "$name" "$golden" "$@"; }            # one weight file
many() { local name=$1; shift; hostile "$name" "$tmp/sharded" "$@"; }      # an index and three
W=model.safetensors I=model.safetensors.index.json S=model-00002-of-00003.safetensors

# ---------------------------------------------------------------------------------------------------- weight files
length() { # of a header, 8 bytes, little-endian
  local n=$1 i out=
  for i in 0 1 2 3 4 5 6 7; do out+=$(printf '\\x%02x' $((n >> 8 * i & 255))); done
  printf '%b' "$out"
}
st() { # header text, bytes of data: a whole file
  { length ${#1}; printf %s "$1"; head -c "$2" /dev/zero; } >$W
}
replace() { # file, sed script that must change it; lengths stay as they are
  cp "$1" ../before
  LC_ALL=C sed -i "$2" "$1"
  ! cmp -s "$1" ../before
}
t() { printf '"%s":{"dtype":"%s","shape":%s,"data_offsets":%s}' "$@"; } # a tensor of a header

one 'no weights' 'rm $W' $W 'cannot open'
one 'weights empty' ': >$W' $W
one 'weights of 7 bytes' 'head -c 7 /dev/zero >$W' $W
one 'weights cut in the header' 'truncate -s 200 $W' $W header
one 'weights cut in the data' 'truncate -s -4 $W' $W tensor 'cut short'
one 'weights with bytes too many' 'printf x >>$W' $W 'belong to no tensor'
one 'weights are a folder' 'rm $W; mkdir $W' $W
one 'weights are a pipe' 'rm $W; mkfifo $W' $W
one 'weights link to themselves' 'rm $W; ln -s $W $W' $W
one 'header longer than the file' '{ length 9223372036854775807; echo "{}"; } >$W' $W header
one 'header of minus one byte' '{ length -1; echo "{}"; } >$W' $W header
one 'header of 100 MB' '{ length 104857608; echo "{}"; } >$W; truncate -s 106M $W' $W header
one 'header not JSON' 'st "{\"a\": nothing}" 0' $W 'not valid JSON'
one 'header a list' 'st "[]" 0' $W
one 'header nested deeply' 'st "{\"a\":$(head -c 100000 /dev/zero | tr "\0" "[")" 0' $W deeper
one 'header not UTF-8' 'st "{\"a$(printf "\xff")\": {}}" 0' $W
one 'a name twice' 'st "{$(t a F32 [1] [0,4]),$(t a F32 [1] [4,8])}" 8' $W duplicate
one 'a tensor without a name' 'st "{$(t "" F32 [1] [0,4])}" 4' $W 'empty name'
one 'a name with control bytes' 'st "{$(t "a\\u001b[2Jb" F99 [1] [0,4])}" 4' $W 'element type'
one 'metadata not texts' 'st "{\"__metadata__\": {\"k\": 1}}" 0' $W __metadata__
one 'unknown element type' 'st "{$(t a F8_E4M3 [4] [0,4])}" 4' $W '"a"' F8_E4M3
one 'no shape' 'st "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}" 4' $W '"a"' '"shape" is missing'
one 'negative shape' 'st "{$(t a F32 [-1] [0,4])}" 4' $W '"a"' shape -1
one 'fractional shape' 'st "{$(t a F32 [1.5] [0,4])}" 4' $W '"a"' shape 'an integer'
one 'shape beyond 64 bits' 'st "{$(t a F32 [99999999999999999999] [0,4])}" 4' $W 'too big'
one 'shape whose product overflows' 'st "{$(t a F32 [4294967296,4294967296] [0,4])}" 4' $W '"a"' overflows
one 'shape whose bytes overflow' 'st "{$(t a F64 [4611686018427387904] [0,4])}" 4' $W '"a"'
one 'shape of nine dimensions' 'st "{$(t a F32 [1,1,1,1,1,1,1,1,1] [0,4])}" 4' $W '"a"' dimensions
one 'offsets outside the data' 'st "{$(t a F32 [1] [4,8])}" 4' $W '"a"' data_offsets
one 'offsets the wrong way round' 'st "{$(t a F32 [1] [4,0])}" 4' $W '"a"' data_offsets
one 'offsets not of the shape' 'st "{$(t a F32 [2] [0,4])}" 4' $W '"a"' 'F32 of [2]'
one 'three offsets' 'st "{$(t a F32 [1] [0,4,8])}" 8' $W '"a"' 'two numbers'
one 'tensors that overlap' 'st "{$(t a F32 [2] [0,8]),$(t b F32 [2] [4,12])}" 12' $W '"a"' '"b"' overlap
one 'a hole between tensors' 'st "{$(t a F32 [1] [0,4]),$(t b F32 [1] [8,12])}" 12' $W '"b"' 'belong to no tensor'
one 'no tensors' 'st "{}" 0' $W config.json missing model.embed_tokens.weight
one 'a tensor missing, one unknown' 'replace $W s/layers.1.mlp.up_proj.weight/layers.1.mlp.xp_proj.weight/' $W config.json \
  'missing: model.layers.1.mlp.up_proj.weight' 'unknown: model.layers.1.mlp.xp_proj.weight'
one 'weights of integers' 'replace $W s/F32/I32/' $W 'wrong type' 'is of I32'
one 'a shape of the same size' 'replace $W "s/\[40,32\]/[32,40]/"' $W config.json '[32, 40]' '[40, 32]'

# ---------------------------------------------------------------------------------------------------- several weight files
many 'no index' 'rm $I' $W 'cannot open'
many 'index empty' ': >$I' $I
many 'index cut' 'truncate -s 300 $I' $I 'not valid JSON'
many 'index a list' 'echo "[]" >$I' $I 'an object'
many 'index without a map' 'echo "{}" >$I' $I weight_map
many 'map empty' 'echo "{\"weight_map\": {}}" >$I' $I weight_map
many 'map of numbers' 'echo "{\"weight_map\": {\"a\": 1}}" >$I' $I '"a"' 'a string'
many 'index nested deeply' 'head -c 100000 /dev/zero | tr "\0" "[" >$I' $I deeper
many 'index with a tensor twice' 'replace $I s/layers.1.input_layernorm/layers.0.input_layernorm/' $I duplicate
many 'a file that is not there' 'rm $S' $I $S
many 'a file outside the folder' 'replace $I "s#\"$S#\"../sharded/$S#"' $I "../sharded/$S"
many 'a file by its full path' 'replace $I "s#\"$S#\"$tmp/sharded/$S#"' $I 'same folder'
many 'a file that is the index' 'replace $I "s#\"$S#\"$I#"' $I 'same folder'
many 'a file that links to itself' 'rm $S; ln -s $S $S' $I $S
many 'a file that is a folder' 'rm $S; mkdir $S' $I $S
many 'a file that is a pipe' 'rm $S; mkfifo $S' $I $S
many 'a file cut' 'truncate -s -8 $S' $I $S 'cut short'
many 'a file in place of another' 'cp model-00001-of-00003.safetensors $S' $I $S
many 'a tensor put into the wrong file' 'replace $I "/lm_head/s/00001-of/00003-of/"' $I '"lm_head.weight"' model-00003-of-00003 model-00001-of-00003
many 'a tensor that is not listed' 'replace $I /lm_head/d' $I '"lm_head.weight"' 'not listed'
many 'a tensor that is nowhere' 'replace $I "s/\"lm_head.weight\"/\"lm_heat.weight\"/"' $I '"lm_heat.weight"'
many 'five thousand files' '{ printf "{\"weight_map\":{\"a0\":\"a0.safetensors\""
  for i in $(seq 5000); do printf ",\"a%d\":\"a%d.safetensors\"" $i $i; done; printf "}}"; } >$I' $I a0.safetensors

# ---------------------------------------------------------------------------------------------------- config.json
C=config.json
set_key() { replace $C "s/\"$1\": [^,]*/\"$1\": $2/"; }
one 'no config' 'rm $C' $C 'cannot open'
one 'config empty' ': >$C' $C
one 'config a folder' 'rm $C; mkdir $C' $C
one 'config a pipe' 'rm $C; mkfifo $C' $C
one 'config cut' 'truncate -s 300 $C' $C 'not valid JSON'
one 'config a list' 'echo "[1]" >$C' $C
one 'config of 8 MB' '{ printf "{\"model_type\": \"llama\", \"a\": \""; head -c 8M /dev/zero | tr "\0" a; printf "\"}"; } >$C' $C
one 'config nested deeply' '{ printf "{\"model_type\": "; head -c 1M /dev/zero | tr "\0" "["; } >$C' $C deeper
one 'config not UTF-8' 'replace $C "s/LlamaFor/Llama\xc3For/"' $C
one 'config with a key twice' 'replace $C "s/\"use_cache\"/\"vocab_size\"/"' $C duplicate
one 'config with an unknown key' 'replace $C "s/\"use_cache\"/\"use_magic\"/"' $C use_magic
one 'config with control characters' 'replace $C "s/\"use_cache\"/\"use\\\\u001b[2J\\\\u009b\"/"' $C 'use?[2J??'
one 'no family' 'replace $C /model_type/d' $C model_type missing
one 'an unknown family' 'set_key model_type "\"gpt2\""' $C gpt2 llama
one 'a family that is a number' 'set_key model_type 7' $C model_type 'a string'
one 'the tensors of another family' 'cp "$golden/../mamba-tiny/config.json" $C' $C $W missing unknown
one 'width zero' 'set_key hidden_size 0' $C hidden_size
one 'width a text' 'set_key hidden_size "\"32\""' $C hidden_size 'an integer'
one 'width a fraction' 'set_key hidden_size 32.5' $C hidden_size 'an integer'
one 'width beyond 64 bits' 'set_key hidden_size 32000000000000000000' $C '3.2e+19 is outside'
one 'width beyond all models' 'set_key hidden_size 4000000000' $C hidden_size 4000000000
one 'layers by the million' 'set_key num_hidden_layers 1000000' $C num_hidden_layers
one 'heads that do not share out' 'set_key num_key_value_heads 3' $C kv_heads
one 'an odd head' 'set_key head_dim 7' $C rope
one 'an epsilon too large' 'set_key rms_norm_eps 1e300' $C rms_norm_eps
one 'a number beyond double' 'set_key rms_norm_eps 1e999' $C 'not valid JSON'
one 'another activation' 'set_key hidden_act "\"gelu\""' $C hidden_act gelu
one 'rope of an unknown type' 'set_key rope_scaling "{\"type\": \"yarn\"}"' $C yarn
one 'rope without its factor' 'set_key rope_scaling "{\"type\": \"linear\"}"' $C rope_scaling factor
one 'a vocabulary that contradicts' 'set_key vocab_size 48' $C $W 'model.embed_tokens.weight is [47, 32]' '[48, 32]'
one 'a layer too many' 'set_key num_hidden_layers 3' $C $W 'missing: model.layers.2.'
one 'a layer too few' 'set_key num_hidden_layers 1' $C $W 'unknown: model.layers.1.'
one 'heads that contradict' 'set_key num_attention_heads 8' $C $W q_proj
one 'biases that are not there' 'set_key tie_word_embeddings true' $C $W lm_head.weight model.embed_tokens.weight differ
one 'a model of terabytes' 'set_key hidden_size 1048576; set_key intermediate_size 65536' $C $W \
  'model.embed_tokens.weight is [47, 32]' '[47, 1048576]'
many 'a model of terabytes, several files' 'set_key vocab_size 16777216; set_key intermediate_size 4194304; set_key num_hidden_layers 256' \
  $C $I 'model.embed_tokens.weight is [47, 32]'

# ---------------------------------------------------------------------------------------------------- checkpoints of hylab
"$H" train variants/llama.yaml --set layers=1 --set d_model=16 --set vocab=32 --set attention.heads=2 --set attention.kv_heads=1 \
  --set mlp.d_ff=16 --task induction --task-set test=16 --task-set train=16 --train steps=1 --out "$tmp/trained.safetensors" >/dev/null 2>&1
rehead() { # sed script for the header, which may become longer or shorter; the header's length is set anew
  local n header new
  n=$(od -An -tu8 -N8 "$tmp/trained.safetensors" | tr -d ' ')
  header=$(tail -c +9 "$tmp/trained.safetensors" | head -c "$n")
  new=$(sed "$1" <<<"$header")
  [ "$new" != "$header" ] || return 1
  { length ${#new}; printf %s "$new"; tail -c +$((9 + n)) "$tmp/trained.safetensors"; } >"$tmp/x.safetensors"
}
checkpoint() { # name, sed script, words
  local name=$1 script=$2 rc word
  shift 2
  rehead "$script" || { echo "not ok $name (the script changed nothing)"; bad=1; return; }
  (ulimit -v $LIMIT; run "$tmp/x.safetensors") >"$tmp/out" 2>&1
  rc=$?
  if [ $rc != 2 ]; then echo "not ok $name (exit $rc)"; head -c 600 "$tmp/out"; bad=1; return; fi
  for word in x.safetensors "$@"; do
    grep -qF -- "$word" "$tmp/out" || { echo "not ok $name (no \"$word\")"; head -c 900 "$tmp/out"; bad=1; return; }
  done
  echo "ok $name"
}
checkpoint 'a checkpoint without its model' 's/hylab.spec"/hylab.spek"/' hylab
checkpoint 'a checkpoint of another format' 's/"hylab.format": "1"/"hylab.format": "99"/' 99
checkpoint 'a checkpoint whose model is not YAML' 's/"hylab.spec": "name/"hylab.spec": "{{{/'
checkpoint 'a checkpoint whose model was changed' 's/d_ff: 16/d_ff: 4194304/' hash
checkpoint 'a checkpoint without a layer' 's/layers.0.in_proj/layers.0.in_prok/' 'missing: layers.0.in_proj' 'unknown: layers.0.in_prok'
checkpoint 'a checkpoint of integers' 's/"embed": {"dtype": "F32"/"embed": {"dtype": "I32"/' 'wrong type: embed is of I32'
exit $bad
