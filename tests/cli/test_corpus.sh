#!/usr/bin/env bash
# Text at scale: hylab tokenize --out makes token shards, which a second reader checks; the same bytes for any number of threads and
# after kills; what is damaged, unfinished or of another job is refused.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-build/release/hylab}")
ROOT=$PWD
. tests/check.sh
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
G=$ROOT/tests/golden/tokenizers
head -c 60000 "$ROOT/tests/data/shakespeare-100k.txt" >book.txt
head -c 30000 "$ROOT/tests/data/shakespeare-100k.txt" | tail -c 9000 >b2.txt
reader() { python3 "$ROOT/tests/python/corpus_check.py" "$@"; }
reader none >out 2>&1; [ $? = 77 ] && { echo "skip token shards: $(cat out)"; exit 0; }
shards() { local out=$1; shift; "$H" tokenize "$@" --out "$out" >o 2>&1 || { cat o; return 1; }; }
made() { # name, what the reader says, folder, arguments
  local name=$1 says=$2 out=$3
  shift 3
  shards "$out" "$@"; check "$name" 0 "$says" reader "$out"
}

# ---- what is made, by a second reader
made "a file is a document" '^1 documents, 60000 tokens, 1 shards$' one bytes book.txt
paragraphs() { local n=0 f; for f; do n=$((n + $(awk -v RS= 'END {print NR}' "$f"))); done; echo $n; }
made "blank lines, ids before and after" "^$(paragraphs book.txt b2.txt) documents, .* tokens, 10 shards\$" many bytes book.txt b2.txt --split blank --begin 0 --end 256 --shard-size 7k
printf '\n \t\r\n\n  a\n b \n\t\nc\n \n\n' >blank.txt
printf 'no end' >end.txt
: >empty.txt
made "blank lines of all kinds" '^3 documents, 14 tokens' kinds bytes blank.txt empty.txt end.txt --split blank
made "a separator" "^$(($(grep -c '^CORIOLANUS:' book.txt) + 1)) documents" sep bytes book.txt --split $'\nCORIOLANUS:' --shard-size 10k
printf 'a||b||||c||' >bars.txt
made "separators beside each other" '^3 documents, 3 tokens' bars bytes bars.txt --split '||'
check "and the empty ones are counted" 0 'note: 1 empty|1 empty documents' "$H" tokenize bytes bars.txt --split '||' --files --count
made "an escaped separator" '^2 documents' esc bytes book.txt --split '\n\nMENENIUS:\nAy,'
# what lies across two reads of a file, which are of a MiB
python3 - <<'PY'
for name, gap in (("r1", "|\n|"), ("r2", "\n \t\n"), ("r3", "\n \t\n"), ("r4", "\n")):
    for back in {"r1": (1, 2), "r2": (2,), "r3": (1, 3), "r4": (1,)}[name][:]:
        with open(f"{name}-{back}.txt", "w") as f: f.write("x" * ((1 << 20) - back) + gap + "y" * 9)
PY
made "a separator across two reads" '^4 documents' r1 bytes r1-1.txt r1-2.txt --split '|\n|'
made "a blank line across two reads" '^7 documents' r2 bytes r2-2.txt r3-1.txt r3-3.txt r4-1.txt --split blank
made "long documents cut" 'documents' long bytes book.txt --split-long --max-document 1k --shard-size 9k
tr -d '\n' <book.txt >nolines.txt
tr -d '\n \t' <book.txt | sed 's/e/é/g' >nowords.txt
made "at words, at characters" 'documents' words bytes nolines.txt nowords.txt --split-long --max-document 777
check "no character is cut in two" 0 '' "$H" tokenize $G/llama3.json nowords.txt --split-long --max-document 777 --files --count
python3 - <<'PY'
import json
text = open("book.txt").read()
with open("a.jsonl", "w") as f, open("lines", "w") as g:
    for i, d in enumerate(text.split("\n\n")):
        d = d + ("é✓\t" if i % 5 == 0 else "")
        f.write(json.dumps({"id": i, "text": d, "more": {"text": "no"}}, ensure_ascii=i % 2 == 0) + ("\r\n" if i % 3 == 0 else "\n") + ("\n" if i % 7 == 0 else ""))
        if d: g.write(json.dumps(d) + "\n")
PY
made "JSON lines" '^[0-9]+ documents' json bytes a.jsonl --field text --shard-size 20k
for t in llama3.json llama2.json sp-bpe.model wordpiece.json; do
  shards "j-$t" $G/$t a.jsonl --field text --shard-size 20k --threads 2
  reader "j-$t" --ids >got
  "$H" tokenize $G/$t --lines --no-special <lines | grep -v '^\[\]$' >want
  [ -s want ] && cmp -s got want; say $? "ids of $t are those of single texts" "$(cmp got want 2>&1)"
done
echo '{"model": {"type": "WordLevel", "unk_token": "u", "vocab": {"u": 0, "the": 69999, "of": 70000}}, "pre_tokenizer": {"type": "Whitespace"}}' >wide.json
made "ids of 32 bits" '^1 documents' wide "$dir/wide.json" book.txt --end of
same "$(reader wide --ids | grep -o '69999' | head -1) $(reader wide --ids | grep -oE '[0-9]+\]$')" "69999 70000]" "and they are above 65535"
printf '\xef\xbb\xbfhi' >mark.txt
made "a byte order mark is no text" '^1 documents, 2 tokens' mark bytes mark.txt
check "counting writes nothing" 0 "^bytes +256 +$(paragraphs book.txt) "  "$H" tokenize bytes --files --count book.txt --split blank
mkdir pat; cp b2.txt pat/b.txt; cp book.txt pat/a.txt; cp book.txt pat/c.md
made "a pattern" '^2 documents, 69000 tokens' pattern bytes 'pat/*.txt'
same "$(python3 -c 'import json; print([s["path"] for s in json.load(open("pattern/manifest.json"))["sources"]])')" "['pat/a.txt', 'pat/b.txt']" "in the order of names"

python3 - "$H" >pty.out <<'PY'
import pty, sys
pty.spawn([sys.argv[1], "tokenize", "bytes", "--files", "--count", *["book.txt"] * 3])
PY
check "how far it is, and how long yet, on a terminal" 0 'tokenize \[#+\.*\] +[0-9]+ %  ETA .* documents' cat pty.out

# ---- the same bytes for any number of threads
for n in 1 2 7; do shards "t$n" $G/llama3.json a.jsonl a.jsonl --field text --end 5 --shard-size 9k --threads $n; done
diff -r t1 t2 >d && diff -r t1 t7 >>d; say $? "the same bytes on 1, 2 and 7 threads" "$(head -3 d)"
[ "$(find t1 -name '*.tokens' | wc -l)" -gt 10 ]; say $? "in many shards"

# ---- killed and resumed
for _ in $(seq 12); do cat a.jsonl; done >big.jsonl
until_there() { while kill -0 "$1" 2>/dev/null && [ ! -f "$2" ]; do sleep 0.002; done; } # process, file
job=(tokenize $G/llama3.json a.jsonl big.jsonl --field text --shard-size 30k --threads 2)
"$H" "${job[@]}" --out whole >o 2>&1
for at in 04 09 15; do
  "$H" "${job[@]}" --out k >o 2>&1 &
  p=$!
  until_there $p k/000$at.tokens
  kill -9 $p; wait $p 2>/dev/null
  [ $at = 04 ] && { ls -i k/00003.tokens >kept; [ -f k/unfinished.json ] && [ ! -f k/manifest.json ]; say $? "a kill leaves it unfinished"; }
done
check "an unfinished set is not trained on" 2 'shards are not finished: run the same hylab tokenize again' "$H" task text --set path=k
touch k/00099.tokens.tmp.123
check "the same command goes on" 0 '^[0-9]+ shards were there already' "$H" "${job[@]}" --out k
diff -r whole k >d; say $? "killed and resumed: the same bytes" "$(head -3 d)"
same "$(ls -i k/00003.tokens)" "$(cat kept)" "what was whole was kept"
"$H" "${job[@]}" --out c >o 2>&1 &
p=$!
until_there $p c/00010.tokens
kill -INT $p; wait $p
same "$? $(grep -c 'interrupted; the same command goes on' o) $(find c -name '*.tmp.*' | wc -l)" "130 1 0" "ctrl-C ends it in order"
cp big.jsonl kept.jsonl
sed -i '0,/the/s//thx/' big.jsonl
check "what was read of a file must be what it was" 2 'big.jsonl: is not what it was when the shards of it were made' "$H" "${job[@]}" --out c
cp kept.jsonl big.jsonl
echo 'not JSON' >>big.jsonl # what was not read yet may change: a bad line found late can be mended
check "a bad line far behind" 2 'big.jsonl: line [0-9]+: ' "$H" "${job[@]}" --out c
mv kept.jsonl big.jsonl
printf x | dd of=c/00004.tokens bs=1 seek=700 conv=notrunc 2>/dev/null
check "a damaged shard is made again" 0 'note: c: shard 00004 is missing or damaged' "$H" "${job[@]}" --out c
diff -r whole c >d; say $? "with the same bytes" "$(head -3 d)"
rm c/00007.documents
check "of a finished set too" 0 'shard 00007 is missing or damaged' "$H" "${job[@]}" --out c
diff -r whole c >d; say $? "again" "$(head -3 d)"
check "what is whole is only looked at" 0 '^[0-9]+ shards were there already' "$H" "${job[@]}" --out c
same "$(python3 -c 'import json; print(len(json.load(open("c/manifest.json"))["shards"]))')" "$("$H" "${job[@]}" --out c 2>&1 | grep -oE '^[0-9]+ shards' | cut -d' ' -f1)" "all of it"

# ---- memory does not grow with the sources: of 4 MB, and of 40
if ! grep -q __asan_init "$H"; then # which keeps what is freed
for _ in $(seq 67); do cat book.txt; done >four.txt
python3 - "$H" four.txt >memory.out <<'PY'
import os, subprocess, sys
def peak(n):
    p = subprocess.Popen([sys.argv[1], "tokenize", "bytes", *[sys.argv[2]] * n, "--split", "blank", "--threads", "1", "--out", f"mem{n}"], stdout=subprocess.DEVNULL)
    status, used = os.wait4(p.pid, 0)[1:]
    assert status == 0
    return used.ru_maxrss / 1024
one, ten = peak(1), peak(10)
print(f"{one:.0f} MB, {ten:.0f} MB")
sys.exit(ten > one + 24)
PY
say $? "ten times the text in about the same memory" "$(cat memory.out)"
rm -rf mem1 mem10
fi

# ---- another job, another hylab
check "other options" 2 'holds shards of another job: what was asked for was .*"shard_size": 30000' "$H" tokenize $G/llama3.json a.jsonl big.jsonl --field text --shard-size 31k --out k
check "another tokenizer" 2 'the hash of the tokenizer was' "$H" tokenize $G/llama2.json a.jsonl big.jsonl --field text --shard-size 30k --out k
check "another file" 2 'a source was a.jsonl, is book.txt now' "$H" tokenize $G/llama3.json book.txt big.jsonl --field text --shard-size 30k --out k
check "one more" 2 'the number of sources was 2, is 3 now' "$H" tokenize $G/llama3.json a.jsonl big.jsonl a.jsonl --field text --shard-size 30k --out k
rm k/00012.tokens; sed -i '3s/1/2/' a.jsonl
check "a source that changed" 2 'a.jsonl: is not what it was when the shards of it were made' "$H" "${job[@]}" --out k
echo '{"text": "x"}' >>a.jsonl
check "a source that grew" 2 'a.jsonl: has [0-9]+ bytes, and had' "$H" "${job[@]}" --out k
mkdir full; echo mine >full/x
check "a folder with something else" 2 'full: is not empty, and holds no token shards' "$H" tokenize bytes book.txt --out full
same "$(cat full/x)" mine "which is left alone"
if command -v flock >/dev/null; then
  check "two at once" 2 'another hylab is writing there' flock many "$H" tokenize bytes book.txt b2.txt --split blank --begin 0 --end 256 --shard-size 7k --out many
fi

# ---- what is wrong in the sources
printf 'good\nbad \xff here\n' >utf.txt
check "text that is not UTF-8" 2 'utf.txt: line 2: is not UTF-8: byte 0xFF at offset 9 of the file' "$H" tokenize $G/llama3.json b2.txt utf.txt --out e1
printf 'a\nb\n\nc\n\nd\ne \xe2\x82 f\n' >utf2.txt
check "in a later document" 2 'utf2.txt: line 7: is not UTF-8: byte 0xE2 at offset 12 of the file' "$H" tokenize $G/llama3.json utf2.txt --split blank --out e1
printf 'a\nb\n\nc\n\nd\ne f\n' >utf2.txt
check "mended, it begins anew" 0 '' "$H" tokenize $G/llama3.json utf2.txt --split blank --end 3 --out e1
check "bytes take any" 0 '' "$H" tokenize bytes utf.txt --out e2
printf '{"text": "a"}\n{"text": 5}\n' >bad.jsonl
check "not a string" 2 'bad.jsonl: line 2: "text": is an integer, but a string is wanted' "$H" tokenize bytes bad.jsonl --field text --out e3
printf '{"text": "a"}\n\n{"text": "b"\n' >bad.jsonl
check "not JSON" 2 'bad.jsonl: line 3: ' "$H" tokenize bytes bad.jsonl --field text --out e4
printf '{"text": "a"}\n["text"]\n' >bad.jsonl
check "not an object" 2 'bad.jsonl: line 2: a JSON object is wanted' "$H" tokenize bytes bad.jsonl --field text --out e5
printf '{"text": "a"}\n{"other": "b"}\n' >bad.jsonl
check "no such field" 2 'bad.jsonl: line 2: .*text' "$H" tokenize bytes bad.jsonl --field text --out e6
printf '{"text": "a"}\n{"text": "\xff"}\n' >bad.jsonl
check "JSON that is not UTF-8" 2 'bad.jsonl: line 2: ' "$H" tokenize bytes bad.jsonl --field text --out e7
printf '\xff\xfea\0' >u16.txt
check "UTF-16" 2 'u16.txt: begins with the byte order mark of UTF-16' "$H" tokenize $G/llama3.json u16.txt --out e8
check "a document that is too long" 2 'book.txt: line 1: begins a document of more than 1000 bytes: .*--split-long' "$H" tokenize bytes book.txt --max-document 1k --out e9
check "a line that is too long" 2 'a.jsonl: line [0-9]+: is longer than 100 bytes: raise --max-document' "$H" tokenize bytes a.jsonl --field text --max-document 100 --split-long --out e10
check "a folder" 2 "is a folder: name files, or a pattern like 'pat/\*.txt'" "$H" tokenize bytes pat --out e11
check "no file" 2 'none.txt: no such file, and no file that it fits as a pattern' "$H" tokenize bytes none.txt --out e12
check "no pattern" 2 'no such file' "$H" tokenize bytes 'none*.txt' --out e13
check "no text" 2 'there is no text in empty.txt' "$H" tokenize bytes empty.txt --out e14
check "JSONL taken for text" 0 'note: a.jsonl is taken for plain text' "$H" tokenize bytes a.jsonl --out e15
check "both ways to cut" 2 'leave one out' "$H" tokenize bytes a.jsonl --field text --split blank --out e16
check "no such token" 2 '\-\-end <none>: is neither bos, eos, a piece of the tokenizer nor an id from 0 to 256' "$H" tokenize bytes book.txt --end '<none>' --out e17
check "no EOS in the file" 2 'name no such token' "$H" tokenize bytes book.txt --end eos --out e18
check "of no files" 2 'is for files' "$H" tokenize bytes text --split blank
check "ids of files" 2 'without --ids' "$H" tokenize bytes book.txt --out e19 --ids
check "neither" 2 'makes shards of them, --count counts' "$H" tokenize bytes book.txt --files
check "count and write" 2 'counts and writes nothing' "$H" tokenize bytes book.txt --out e20 --count

# ---- what is damaged is not read
broken() { # name, pattern, what is done to the folder x
  local name=$1 pattern=$2
  rm -rf x; cp -r many x
  (cd x && eval "$3")
  check "$name" 2 "$pattern" "$H" task text --set path=x --set train=16 --set test=16 --show 200
}
broken "a manifest of another version" 'version 2 of the format; this hylab reads version 1' "sed -i 's/\"version\": 1/\"version\": 2/' manifest.json; python3 $ROOT/tests/python/corpus_check.py . --sign"
broken "a manifest that was edited" 'damaged or changed by hand' "sed -i 's/\"vocab\": 257/\"vocab\": 258/' manifest.json"
broken "counts that do not fit" 'its shards have .* together, it says' "sed -i '0,/\"tokens\": [0-9]*/s//\"tokens\": 7/' manifest.json; python3 $ROOT/tests/python/corpus_check.py . --sign"
broken "content of another set" 'its content is not what the manifest says' "sed -i 's/\"content\": \"..../\"content\": \"0000/' manifest.json; python3 $ROOT/tests/python/corpus_check.py . --sign"
broken "half a manifest" 'damaged: it has no checksum; is it cut off' 'head -c 700 manifest.json >m; mv m manifest.json'
broken "no manifest" 'has token shards, but no manifest.json' 'rm manifest.json'
broken "ids that are cut off" '00003.tokens: damaged: its size' 'truncate -s -2 00003.tokens'
broken "ids that are changed" '00003.tokens: damaged: its checksum' 'printf x | dd of=00003.tokens bs=1 seek=100 conv=notrunc 2>/dev/null'
broken "documents that are changed" '00005.documents: damaged: its checksum' 'printf x | dd of=00005.documents bs=1 seek=30 conv=notrunc 2>/dev/null'
broken "a shard that is gone" '00002.tokens: cannot open' 'rm 00002.tokens'
broken "numbers that are none" 'manifest.json: .*vocab' "sed -i 's/\"vocab\": 257/\"vocab\": -1/' manifest.json; python3 $ROOT/tests/python/corpus_check.py . --sign"

# ---- a full disk
if ! grep -q __asan_init "$H" && ${CC:-gcc} -shared -fPIC -o nth.so "$ROOT/tests/shim/nth.c" -ldl 2>/dev/null; then
  small=(tokenize bytes b2.txt --split blank --shard-size 3k --threads 1 --out)
  nth() { NTH=$1 NTH_COUNT=$dir/count LD_PRELOAD=$dir/nth.so "${@:2}"; }
  "$H" "${small[@]}" f.want >o 2>&1
  nth write:0 "$H" "${small[@]}" f.count >o 2>&1
  read -r _ writes <count
  wrong=
  for n in $(seq 1 "$([ "${NTH_ALL:-}" ] && echo 1 || echo 5)" "$writes"); do # NTH_ALL=1: all
    rm -rf f
    nth write:"$n" "$H" "${small[@]}" f >o 2>&1; rc=$?
    { [ $rc = 1 ] || [ $rc = 0 ]; } && { [ $rc = 0 ] || grep -q 'No space left' o; } || wrong="$wrong write $n: exit $rc, $(head -1 o);"
    "$H" "${small[@]}" f >o 2>&1 && diff -r f f.want >/dev/null || wrong="$wrong after write $n;"
  done
  [ "$writes" -gt 20 ] && [ -z "$wrong" ]; say $? "one of $writes writes fails, and the same command goes on" "$wrong"
fi
exit $bad
