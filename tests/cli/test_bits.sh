#!/usr/bin/env bash
# The bits that training leaves behind, pinned: some 40 small runs (tests/data/bits/runs.txt) of every kind of model on every kind
# of task with every part of a recipe, by each instruction set that this machine has: weights, moments, the loss, learning rate and
# gradient norm of every step, and what eval, generate, probe, cache and show spec say of them. A change that is to leave results
# alone passes; one that changes a last digit says in which run, step, tensor and figure.
#
#   test_bits.sh [ISA...]            compare with what is pinned
#   test_bits.sh --record [ISA...]   pin what the binary gives now (after a change of results that is wanted)
#
# ref is plain C without contraction, so one file holds for any machine. The others depend on compiler, processor and oneDNN: their
# files carry a key of these, and a machine whose key has no file skips them.
set -uf # words such as train=[[16,2]] are no patterns
cd "$(dirname "$0")/../.." || exit 1
HYLAB=${HYLAB:-$PWD/build/release/hylab}
export HYLAB_DEVICE=cpu OMP_NUM_THREADS=1
data=tests/data/bits
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
record=0
if [ "${1:-}" = --record ]; then record=1; shift; fi
isas=("$@")
[ $# -gt 0 ] || isas=(ref base avx2 avx512)
GENERATED=" llama-biases mamba2-groups hymba "
PROBED=" parallel hymba mamba2 "
SHOWN=" llama-window hymba-concat hymba falcon-h1 samba mamba2-groups "

told() { "$HYLAB" doctor | grep -oE -m 1 "$1" | head -n 1; } # the first such words that doctor prints
key() { # what the bits of fast kernels depend on
  local onednn gcc
  onednn=$(told 'oneDNN [0-9.]+')
  gcc=$(told '(gcc|[Cc]lang) [0-9.]+')
  [ -n "$onednn" ] && [ -n "$gcc" ] || return 1
  awk -F': *' '
    function simd(flags,   a, i, k, out) {
      k = split(flags, a, " ")
      for (i = 1; i <= k; i++) if (a[i] ~ /^(avx|fma|amx|sse4_1|f16c)/) out = out " " a[i]
      return out
    }
    /^model name/ { m = $2 } /^cpu family/ { f = $2 } /^model\t/ { n = $2 }
    /^flags/ { printf "%s family %s model %s with%s; ", m, f, n, simd($2); exit }' /proc/cpuinfo
  echo "$onednn; $gcc; $(getconf GNU_LIBC_VERSION)"
}
expected() { # isa, key
  if [ "$1" = ref ]; then echo "$data/ref.tsv"; else echo "$data/$1.$(printf %s "$2" | sha256sum | cut -c1-8).tsv"; fi
}

words() { # option, words: the option before each word
  local option=$1 w
  shift
  for w in "$@"; do printf '%s\n%s\n' "$option" "$w"; done
}
try() { # file for the output, command
  local out=$1
  shift
  "$@" --isa "$isa" --threads 1 >"$out" 2>"$dir/err" && return
  echo "    $isa $name: ${out##*.} ended with status $?: $(tail -n 1 "$dir/err")"
  rm -f "$out"
  broken=1
  return 1
}
all_runs() { # isa, folder: every run, its files in the folder
  local isa=$1 to=$2 small="" name model changes task recipe line a kind
  declare -A tasks=()
  while IFS= read -r line; do
    case "$line" in
      '#'* | '') continue ;;
      'SMALL '*) small=${line#SMALL }; continue ;;
      'task '*) read -r _ name task <<<"$line"; tasks[$name]=$task; continue ;;
    esac
    IFS='|' read -r name model changes task recipe <<<"$line"
    read -r name <<<"$name"
    read -r model <<<"$model"
    read -r task <<<"$task"
    read -r kind task <<<"${tasks[$task]}"
    local on=(--task "$kind") with=() start by=() of="$to/$name.safetensors"
    mapfile -t a < <(words --task-set $task); on+=("${a[@]}")
    mapfile -t with < <(words --set ${changes/SMALL/$small})
    mapfile -t by < <(words --train steps=5 batch=2 lr=1e-2 $recipe)
    case "$model" in @*) start=(--from "$to/${model#@}.safetensors") ;; *) start=("variants/$model") ;; esac
    try "$to/$name.train" "$HYLAB" train "${start[@]}" "${with[@]}" "${on[@]}" "${by[@]}" --out "$of" --curve "$to/$name.curve" || continue
    try "$to/$name.eval" "$HYLAB" eval "$of" "${on[@]}" --format json
    case "$GENERATED" in *" $name "*)
      try "$to/$name.generate" "$HYLAB" generate "$of" --ids "5 6 7 8 5" "9" --max-new 12 --temperature 0
      try "$to/$name.sample" "$HYLAB" generate "$of" --ids "5 6 7 8 5" "9" --max-new 12 --temperature 1 --top-k 9 --seed 3 ;;
    esac
    case "$PROBED" in *" $name "*)
      try "$to/$name.entropy" "$HYLAB" probe "$of" "${on[@]}" --entropy --format json
      try "$to/$name.erf" "$HYLAB" probe "$of" "${on[@]}" --erf --prompts 2 --format json ;;
    esac
    [ "$isa" = ref ] || continue # what follows does not compute
    "$HYLAB" cache "$of" --format json >"$to/$name.cache"
    case "$SHOWN" in *" $name "*) "$HYLAB" show spec "$of" --format json >"$to/$name.spec" ;; esac
  done <"$data/runs.txt"
}

failed=0
sanitized=0
if grep -q __asan_init "$HYLAB"; then sanitized=1; fi
machine=$(key) || { echo "not ok key: doctor tells no oneDNN or no compiler"; exit 1; }
for isa in "${isas[@]}"; do
  file=$(expected "$isa" "$machine")
  if ! "$HYLAB" train variants/mixer-none.yaml --set vocab=40 --set d_model=16 --set layers=1 --task mqar --task-set vocab=40 \
    --task-set 'train=[[16,2]]' --task-set 'test=[[16,2]]' --train steps=1 --train eval_examples=1 --isa "$isa" --threads 1 \
    >/dev/null 2>"$dir/err"; then
    if grep -q "not available" "$dir/err"; then echo "skip $isa: this machine does not have it"; continue; fi
    echo "not ok $isa: $(tail -n 1 "$dir/err")"; failed=1; continue
  fi
  if [ "$isa" != ref ] && [ $sanitized = 1 ]; then echo "skip $isa: sanitizers change how fast kernels are compiled"; continue; fi
  if [ $record = 0 ] && [ ! -f "$file" ]; then echo "skip $isa: nothing is pinned for $machine"; continue; fi
  mkdir "$dir/$isa"
  broken=0
  all_runs "$isa" "$dir/$isa"
  python3 "$data/bits.py" facts "$dir/$isa" >"$dir/$isa.tsv" || { echo "not ok $isa: its files cannot be read"; failed=1; continue; }
  if [ $record = 1 ] && [ $broken = 1 ]; then echo "not recorded: $file"; failed=1
  elif [ $record = 1 ]; then
    { echo "# What $isa gives (tests/cli/test_bits.sh --record), made with commit $(told '[0-9a-f]{12}[^ ]*')"
      if [ "$isa" = ref ]; then echo "# on any machine; made with $(getconf GNU_LIBC_VERSION)"; else echo "# on $machine"; fi
      echo "# libm $(python3 "$data/bits.py" libm)"
      cat "$dir/$isa.tsv"; } >"$file"
    echo "recorded $file"
  else
    python3 "$data/bits.py" check "$dir/$isa.tsv" "$file" "$isa" || failed=1
  fi
done
exit $failed
