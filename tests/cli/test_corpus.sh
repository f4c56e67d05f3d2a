#!/usr/bin/env bash
# Text at scale: hylab tokenize --out makes token shards, which a second reader checks; the same bytes for any number of threads and
# after kills; what is damaged, unfinished or of another job is refused; task text trains on them.
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

# ---- what is made, by a second reader
shards() { local out=$1; shift; "$H" tokenize "$@" --out "$out" >o 2>&1 || { cat o; return 1; }; }
shards one bytes book.txt; check "one file is one document" 0 '^1 documents, 60000 tokens, 1 shards$' reader one
shards many bytes book.txt b2.txt --split blank --begin 0 --end 256 --shard-size 7k
check "blank lines" 0 '^[0-9]+ documents, [0-9]+ tokens, 10 shards$' reader many
exit $bad
