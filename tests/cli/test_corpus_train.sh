#!/usr/bin/env bash
# Training on token shards and on .bin files: the same bits as on the same text given directly, after a break in the middle of a pass,
# and by several processes; what a model is told by; bits per byte; what is refused.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-build/release/hylab}")
ROOT=$PWD
. tests/check.sh
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
unset HYLAB_DB HYLAB_MPI
G=$ROOT/tests/golden/tokenizers
head -c 30000 "$ROOT/tests/data/shakespeare-100k.txt" >book.txt
cat >m.yaml <<'END'
{vocab: 600, d_model: 8, layers: 2, mixer: parallel, attention: {heads: 2, window: 8}, ssm: {expand: 2, d_state: 4}, mlp: {d_ff: 8}, meta_tokens: 2}
END
train() { # name, options
  local name=$1
  shift
  "$H" train m.yaml --train steps=8 --train batch=4 --train log_every=1 --train eval_examples=20 --threads 1 --task text --task-set train=32 \
    --task-set test=32 "$@" --out "$name.st" --curve "$name.csv" >"$name.out" 2>&1 || { echo "$name: $(tail -3 "$name.out")"; return 1; }
}
tensors() { # all but the text that says whose they are
  python3 -c 'import hashlib, struct, sys; d = open(sys.argv[1], "rb").read(); print(hashlib.sha256(d[8 + struct.unpack_from("<Q", d)[0]:]).hexdigest())' "$1.st"
}
losses() { cut -d, -f1-4 "$1.csv"; }
equal() { # name, two trainings
  [ -s "$2.st" ] && [ "$(tensors "$2")" = "$(tensors "$3")" ] && [ "$(losses "$2")" = "$(losses "$3")" ]
  say $? "$1" "$(diff <(losses "$2") <(losses "$3") | head -3)"
}

# ---- the same text, directly and as a set or a file of ids
"$H" tokenize bytes book.txt --out one >o 2>&1
python3 - <<'PY'
import array, struct
text = open("book.txt", "rb").read()
ids = array.array("H", list(text))
open("nano.bin", "wb").write(ids.tobytes())
head = lambda magic, version, n: struct.pack("<256i", magic, version, n, *[0] * 253)
open("gpt2.bin", "wb").write(head(20240520, 1, len(ids)) + ids.tobytes())
open("llama3.bin", "wb").write(head(20240801, 7, len(ids)) + array.array("I", list(text)).tobytes())
open("cut.bin", "wb").write(head(20240520, 1, len(ids)) + ids.tobytes()[:-2])
open("old.bin", "wb").write(head(20240520, 2, len(ids)) + ids.tobytes())
open("odd.bin", "wb").write(ids.tobytes()[:-1])
PY
train direct --task-set path=book.txt
train set --task-set path=one
equal "a set of one document trains as its text does" direct set
same "$(grep '^T32' set.out)" "$(grep '^T32' direct.out)" "and is evaluated as it is"
grep -q '^T32' direct.out; say $? "by figures that are there"
train nano --task-set path=nano.bin --task-set vocab=256; equal "so does a file of nanoGPT" direct nano
train gpt2 --task-set path=gpt2.bin --task-set vocab=256; equal "and one of llm.c" direct gpt2
train llama3 --task-set path=llama3.bin --task-set vocab=256; equal "in 32 bits too" direct llama3
train crops --task-set path=one --task-set draw=windows; train windows --task-set path=book.txt --task-set draw=windows
equal "in windows, too" crops windows
[ "$(tensors crops)" != "$(tensors direct)" ]; say $? "which are others than crops"
mkdir bins mixed
python3 - <<'PY'
import struct
ids = open("nano.bin", "rb").read()
for i, (a, b) in enumerate(((0, 9999), (9999, 10000), (10000, 30000))):
    open(f"bins/train_{i}.bin", "wb").write(struct.pack("<256i", 20240520, 1, b - a, *[0] * 253) + ids[2 * a:2 * b])
PY
train bins --task-set path=bins --task-set vocab=256; equal "a folder of them is one text" direct bins
cp gpt2.bin mixed/a.bin; cp llama3.bin mixed/b.bin
check "of one kind" 2 'mixed/b.bin: has ids of 4 bytes, the files before it of 2' "$H" task text --set path=mixed
check "the vocabulary of a header" 0 'vocabulary 50257' "$H" task text --set path=gpt2.bin --show 0
check "of the other" 0 'vocabulary 128256' "$H" task text --set path=llama3.bin --show 0
check "without a header it must be told" 2 'nano.bin: has no header of llm.c.*say vocab' "$H" task text --set path=nano.bin
check "and be right" 2 'nano.bin: token [0-9]+ is id [0-9]+, not below the vocabulary of 100' "$H" task text --set path=nano.bin --set vocab=100 --show 40
check "a file that is cut off" 2 'cut.bin: its header tells 30000 tokens, it holds 29999' "$H" task text --set path=cut.bin
check "another version" 2 'old.bin: a file of llm.c for GPT-2 of version 2; version 1 is read' "$H" task text --set path=old.bin
check "half an id" 2 'odd.bin: its 59999 bytes are no whole number of ids of 2 bytes' "$H" task text --set path=odd.bin --set vocab=256
check "more ids than 16 bits have" 2 'below 65536, vocab is 70000' "$H" task text --set path=nano.bin --set vocab=70000
check "a vocabulary for a text" 2 'vocab: is for .bin files' "$H" task text --set path=book.txt --set vocab=256

mkdir web; cp book.txt web/; echo '{"format": "of something else"}' >web/manifest.json
check "a folder with another manifest is text" 0 'vocabulary 256' "$H" task text --set path=web --show 0

# ---- documents
head -c 9000 book.txt >small.txt
"$H" tokenize $G/llama3.json small.txt --split blank --end 5 --out docs --shard-size 2k >o 2>&1
[ "$(find docs -name '*.tokens' | wc -l)" -gt 4 ]; say $? "a set of several shards" "$(cat o)"
windows=$("$H" task text --set path=docs --set train=32 --set test=32 --show 0 | sed -n 's/.*a pass over the training part has \([0-9]*\) examples of T32/\1/p')
[ "$windows" -gt 56 ] && [ "$windows" -lt 228 ]; say $? "breaking off after 13 and 57 steps of 4 is in the first pass and in another" "$windows windows"
train whole --task-set path=docs --train steps=70
for n in 13 57; do # steps
  train part --task-set path=docs --train steps=70 --train stop_step=$n
  train resumed --task-set path=docs --train steps=70 --resume part.st
  same "$(tensors resumed)" "$(tensors whole)" "a run that was broken off at step $n has the same bits"
done
mv docs moved
train there --task-set path=moved --train steps=70 --resume part.st
same "$(tensors there)" "$(tensors whole)" "also where the shards were moved"
mv moved docs
train parts --task-set path=docs --train sum=parts --train accumulate=4 --train batch=2
for kind in openmpi mpich; do
  mpirun=$(command -v mpirun.$kind) || { echo "skip shards by several processes: mpirun.$kind is not here"; continue; }
  args=()
  if [ $kind = openmpi ]; then
    args=(--oversubscribe --bind-to none --mca btl "self,vader" --mca pml ob1)
    [ "$(id -u)" = 0 ] && args+=(--allow-run-as-root)
  fi
  env ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" timeout -k 5 90 "$mpirun" "${args[@]}" -n 3 "$H" train m.yaml --train steps=8 \
    --train log_every=1 --train eval_examples=20 --threads 1 --task text --task-set train=32 --task-set test=32 --task-set path=docs --train sum=parts \
    --train accumulate=4 --train batch=2 --out three.st --curve three.csv >three.out 2>&1
  equal "three processes see the batches that one sees" parts three
  break
done
train stream --task-set path=docs --task-set pack=stream
[ "$(tensors stream)" != "$(tensors whole)" ] && [ -s stream.st ]; say $? "packed end to end"
check "packed and cut is refused" 2 'pack: cut is not there: attention and states of a row have no way to begin anew' "$H" task text --set path=docs --set pack=cut
check "a plain text has no documents to pack" 2 'pack: book.txt is no set of token shards' "$H" task text --set path=book.txt --set pack=stream
check "all documents held out" 2 'none of its [0-9]+ documents is in the training part|too short' "$H" task text --set path=docs --set validation=0.9 --set tuning=0.099999
check "none" 2 'none of its [0-9]+ documents is in the validation part' "$H" task text --set path=docs --set validation=0.000001
check "the tokenizer is known by its hash" 2 'is not the one that made the shards' "$H" task text --set path=docs --set tokenizer=$G/llama2.json
check "its pieces are shown where it is named" 0 'Ġ' "$H" task text --set path=docs --set tokenizer=$G/llama3.json --set train=32 --set test=32
check "epochs of a finite set of windows" 0 '' train epochs --task-set path=docs --task-set train_examples=40 --train steps=0 --train epochs=1

# ---- what a model is: the content, not the place
stored() { "$H" show sql "SELECT count(DISTINCT model_key) FROM model" --db m.db --format csv | tail -1 | tr -d '\r'; }
train d1 --task-set path=docs --db m.db
mv docs elsewhere; train d2 --task-set path=elsewhere --db m.db; mv elsewhere docs
same "$(stored)" 1 "a folder that moved is the same data"
"$H" tokenize $G/llama3.json small.txt --split blank --end 5 --out cut --shard-size 4k >o 2>&1
train d3 --task-set path=cut --db m.db
same "$(stored)" 1 "so is one that is cut into shards otherwise"
equal "and trains to the same bits" d1 d3
sed 's/Citizen/citizen/' small.txt >b2.txt
"$H" tokenize $G/llama3.json b2.txt --split blank --end 5 --out other --shard-size 2k >o 2>&1
train d4 --task-set path=other --db m.db
same "$(stored)" 2 "another text is another model"

# ---- bits per byte: by the bytes and tokens of what is held out
"$H" train m.yaml --train steps=0 --threads 1 --task text --task-set train=32 --task-set test=32 --task-set path=docs >flat.out 2>&1
per=$(grep -oE 'has [0-9.]+ bytes on average' flat.out | cut -d' ' -f2)
python3 - "$per" >wanted <<'PY'
import json, subprocess, struct, sys, os
# the rule of the split, by the hashes that the set has
M = (1 << 64) - 1
def mix(a, b):
    x = (a + 0x9E3779B97F4A7C15 * (b + 1)) & M
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M
    return x ^ x >> 31
tokens = size = 0
for name in sorted(f for f in os.listdir("docs") if f.endswith(".documents")):
    at = 0
    for end, n, h in struct.iter_unpack("<QQQ", open("docs/" + name, "rb").read()):
        if (mix(h, 42) >> 11) * 2.0 ** -53 < 0.1:
            tokens, size = tokens + end - at, size + n
        at = end
print("%.4f" % (size / tokens))
PY
same "$per" "$(cat wanted)" "bytes a token has in the documents that are held out"
exit $bad
