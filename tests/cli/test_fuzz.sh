#!/usr/bin/env bash
# Every fuzz target is given what fuzzing begins with (tests/fuzz/seeds.sh) and the inputs that fuzzing found and that are kept
# (tests/fuzz/corpus): what held once holds.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
replays=$(realpath "${BUILD:-build/release}")/tests
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for f in tests/fuzz/fuzz_*.c; do
  name=${f#tests/fuzz/fuzz_} name=${name%.c}
  tests/fuzz/seeds.sh "$name" "$dir/$name" || { say 1 "$name has inputs to begin with"; continue; }
  want=$(find "$dir/$name/in" "tests/fuzz/corpus/$name" -type f | wc -l)
  [ "$(find "tests/fuzz/corpus/$name" -type f | wc -l)" -ge 20 ]; say $? "$name has a corpus"
  check "$name: $want inputs" 0 "^$want inputs$" "$replays/replay_$name" "$dir/$name/in" "tests/fuzz/corpus/$name"
done
printf '{"a": [1, 2}' >"$dir/bad"
check "an input that is refused is an input" 0 "^1 inputs" "$replays/replay_json" "$dir/bad"
check "what is not there is an error" 2 "none" "$replays/replay_json" "$dir/none"
exit $bad
