#!/usr/bin/env bash
# faults.sh - plants the faults of tests/faults/*.faults (README.md there: their format) one at a time in copies of the tree and looks
# whether the tests see them. A fault is killed when a test that it names goes red. If those stay green, the other tests are run: one
# that goes red ought to be the one named; if none does, the fault SURVIVES.
#   tests/faults/faults.sh [--check] [--resume] [--named-only] [--quick] [--sample N] [--day N] [--tree DIR] [part of area/name]...
# --check only looks whether every fault applies. --quick takes those seen by unit tests on the CPU, --sample takes N, others each day.
# --resume goes on with a run that was broken off, if tree, lists and choice are the same: what it saw killed is not planted again.
# Status 1: a survivor, a wrongly named test, or a fault that does not apply or compile. JOBS copies are worked in at a time (2), under
# $BUILD/faults.
main() { # read as a whole before it runs
set -u
die() { echo "faults: $*" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)
check='' resume='' named_only='' quick='' sample='' day=$(($(date +%s) / 86400)) select=''
while [ $# -gt 0 ]; do
  case $1 in
    --check) check=1 ;;
    --resume) resume=1 ;;
    --named-only) named_only=1 ;;
    --quick) quick=1 ;;
    --sample) sample=${2:?} && shift ;;
    --day) day=${2:?} && shift ;;
    --tree) tree=$(cd "${2:?}" && pwd) && shift ;;
    -*) die "unknown option $1" ;;
    *) select="$select $1" ;;
  esac
  shift
done
[[ $sample =~ ^([1-9][0-9]*)?$ && $day =~ ^[0-9]+$ ]] || die "--sample and --day take a number"
cd "$tree" || exit 2
lists=(tests/faults/*.faults)
[ -f "${lists[0]}" ] || die "no tests/faults/*.faults in $tree"
perl "$here/faults.pl" check . "${lists[@]}" || { echo "faults: these do not apply: mend the list (the code has moved on), or the code" >&2; exit 1; }
if [ -n "$check" ]; then echo "$(cat "${lists[@]}" | grep -c '^@ ') faults apply"; exit 0; fi

BUILD=${BUILD:-build/release}
JOBS=${JOBS:-2}
least=${FAULTS_SECONDS:-60} # the least that a test may take
work=$(mkdir -p "$BUILD/faults" && cd "$BUILD/faults" && pwd) || exit 2
exec 9>"$work/lock"
flock -n 9 || die "another run is at work in $work (BUILD=folder gives this one its own)"
sources() { # names of the tracked files as they are now; without git, of all that is not built
  git -C "$tree" ls-files --cached --others --exclude-standard 2>/dev/null | sort -u | grep . ||
    find . \( -path ./build -o -path ./.git -o -path "./$BUILD" \) -prune -o -type f -print | sed 's|^\./||'
}
GIT_CEILING_DIRECTORIES=$work sources >"$work/sources"
state=$(grep -vE '^tests/faults/|\.md$' "$work/sources" | xargs -d '\n' cksum 2>/dev/null | cksum | tr ' ' -)
this="$state $(cat "${lists[@]}" | cksum) named_only=$named_only quick=$quick sample=$sample${sample:+ day=$day} select=$select"
if [ -n "$resume" ] && [ "$(cat "$work/run/what" 2>/dev/null)" = "$this" ]; then
  grep -LE "^[^	]*	killed	" "$work"/run/results/* 2>/dev/null | xargs -r rm -f
  rm -rf "$work/run/claims" "$work/run/lists" "$work/run/broken"
  mkdir -p "$work/run/claims" && (cd "$work/run/results" && find . -type f -exec mkdir -p ../claims/{} \;)
  echo "faults: going on; $(find "$work/run/results" -type f | wc -l) were seen killed before"
else
  [ -z "$resume" ] || echo "faults: nothing to go on with: tree, lists or choice are others than those of the newest run; all are planted"
  rm -rf "$work/run"
fi
mkdir -p "$work/run/claims" "$work/run/results" "$work/times" && echo "$this" >"$work/run/what"
# lists and tools may be edited while this runs: from here on copies of them are read
mkdir "$work/run/lists" && cp "${lists[@]}" "$work/run/lists" && cp "$here/faults.pl" "$work/run" && mv "$work/sources" "$work/run/sources"
lists=("$work"/run/lists/*)
perl "$work/run/faults.pl" list . "$select" "$sample" "$day" "$quick" "${lists[@]}" >"$work/run/list" || exit 1
total=$(wc -l <"$work/run/list")
[ "$total" -gt 0 ] || die "no fault has$select in its name"
# A make above this one says nothing to those below; nor does git, which would find the tree around the copy.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS GIT_DIR
export GIT_CEILING_DIRECTORIES=$work CCACHE_NOHASHDIR=1
per_make=$(($(nproc) / JOBS > 0 ? $(nproc) / JOBS : 1))

# A copy that is new takes over times and the objects built beside it; in an older one, what differs is brought up to date.
prepare() { # copy
  local copy=$1 f
  mkdir -p "$copy"
  if [ ! -f "$copy/.copied" ]; then
    xargs -d '\n' -a "$work/run/sources" tar -c 2>/dev/null | tar -x -C "$copy"
    mkdir -p "$copy/build/release"
    for f in core kernels analysis results experiments python emu bench tests/unit tests/kt; do
      case $BUILD in *asan*) ;; *) [ ! -d "$BUILD/$f" ] || { mkdir -p "$copy/build/release/$f" && cp -a "$BUILD/$f/." "$copy/build/release/$f"; } ;; esac
    done
    touch "$copy/.copied"
    return
  fi
  (cd "$copy" && find . \( -path ./build -o -path ./tmp \) -prune -o -type f ! -name .copied -print | sed 's|^\./||' | sort) >"$copy.has"
  sort "$work/run/sources" | comm -13 - "$copy.has" | while read -r f; do rm -f "$copy/$f"; done
  while read -r f; do
    [ -f "$f" ] || { rm -f "$copy/$f"; continue; }
    cmp -s "$f" "$copy/$f" || { mkdir -p "$copy/$(dirname "$f")" && cp "$f" "$copy/$f"; }
  done <"$work/run/sources"
}

targets() { # what has to be built for a test
  case $1 in
    *.sh)
      echo build/release/hylab
      grep -q 'EMU' "tests/cli/$1" && echo build/release/hylab-emu
      [ "$1" = test_python.sh ] && echo build/release/libhylab.so
      grep -q 'bench_gpu-emu' "tests/cli/$1" && echo build/release/bench/bench_gpu-emu
      grep -q 'bench/baseline' "tests/cli/$1" && echo build/release/bench/baseline
      if [ "$1" = test_fuzz.sh ]; then (cd tests/fuzz && printf '%s\n' fuzz_*.c | sed 's|^fuzz|build/release/tests/replay|; s/\.c$//'); fi
      ;;
    *) echo "build/release/tests/$1" ;;
  esac
}
# Kernels of vectors that this machine lacks are not built with a fault: no test here runs them.
unused() { # copy: options for make
  grep -qw avx512f /proc/cpuinfo 2>/dev/null || (cd "$1" && find build/release/kernels -name '*.avx512.o' -printf '-o %p ')
}
build() { # copy, tests...
  local copy=$1
  shift
  # shellcheck disable=SC2046
  make -C "$copy" --no-print-directory $([ -z "${planted:-}" ] || unused "$copy") -j"$per_make" CUDA=0 SAN= WERROR= BUILD=build/release CC="${CC:-gcc}" CXX="${CXX:-g++}" \
    $(for t in "$@"; do targets "$t"; done | sort -u) >"$copy.log" 2>&1
}
# Runs a test in a copy up to its first red case: 0 green, 1 red, 124 it had to be stopped. It may take ten times as long as without a fault.
try() { # copy, test
  local copy=$1 limit rc
  limit=$(cut -d' ' -f1 "$work/times/$2" 2>/dev/null | grep . || echo "$least")
  limit=$((limit * 10 > least ? limit * 10 : least))
  rm -rf "$copy/tmp"
  mkdir -p "$copy/tmp"
  (cd "$copy" && unset HYLAB HYLAB_EMU && TMPDIR=$copy/tmp BUILD=build/release JOBS=1 FIRST=1 exec timeout -k 5 "$limit" tests/run.sh "=$2") >"$copy.log" 2>&1 &
  echo $! >"$copy.pid"
  wait $!
  rc=$?
  rm -f "$copy.pid"
  case $rc in 0) return 0 ;; 124 | 137) return 124 ;; *) return 1 ;; esac
}

say() { # a line of progress: how many are done, when it is likely to end
  local n left
  n=$(find "$work/run/results" -type f | wc -l)
  left=$(((SECONDS - planted_at) * (total - n) / (n > before ? n - before : 1)))
  printf '[%d/%d, %d:%02d left] %s\n' "$n" "$total" $((left / 60)) $((left % 60)) "$1"
}

# Every named test must be green before anything is planted: one that is red anyway sees nothing.
clean_tests() { # copy
  local t started
  while read -r t; do
    mkdir "$work/run/claims/$t" 2>/dev/null || continue
    [ "$(cut -d' ' -f2 "$work/times/$t" 2>/dev/null)" != "$state" ] || continue # it was, in this very state of the tree
    if ! build "$1" "$t"; then echo "$t does not build" >>"$work/run/broken"; tail -5 "$1.log" >>"$work/run/broken"; continue; fi
    started=$SECONDS
    if try "$1" "$t"; then
      # one that skips all of its cases here (a package is missing) is green whatever is planted
      if tail -1 "$1.log" | grep -q '^0 passed, 0 failed'; then { echo "$t runs nothing here:"; tail -5 "$1.log"; } >>"$work/run/broken"; continue; fi
      echo "$((SECONDS - started)) $state" >"$work/times/$t"
    else
      echo "$t is red without any fault:" >>"$work/run/broken"
      tail -20 "$1.log" >>"$work/run/broken"
    fi
  done <"$work/run/tests"
}

others() { # the tests that a fault does not name, the quicker ones first
  (cd tests && printf '%s\n' unit/test_*.c unit/test_*.cc cli/test_*.sh | sed -E 's|.*/||; s/\.cc?$//'
    grep -l kt_group unit/test_*.c 2>/dev/null | sed -E 's|.*/test_(.*)\.c$|emu_\1|') |
    grep -vxE 'test_faults.sh|test_\*.*' | while read -r t; do
      case " $* " in *" $t "*) continue ;; esac
      case $t in test_*.sh) kind=20 ;; emu_*) kind=40 ;; *) kind=5 ;; esac
      echo "$(cut -d' ' -f1 "$work/times/$t" 2>/dev/null | grep . || echo $kind) $t"
    done | sort -n | cut -d' ' -f2
}

verdict() { # copy, named tests: prints what became of a planted fault
  local copy=$1 t rc
  shift
  if ! build "$copy" "$@"; then
    echo "error	does not compile: $(grep -m1 -E 'error|\*\*\*' "$copy.log")"
    return
  fi
  for t in "$@"; do
    try "$copy" "$t"
    rc=$?
    if [ $rc = 124 ]; then echo "killed	by $t, which had to be stopped"; return; fi
    if [ $rc != 0 ]; then echo "killed	by $t"; return; fi
  done
  [ -z "$named_only" ] || { echo "survived	$* stays green"; return; }
  for t in $(others "$@"); do
    if build "$copy" "$t"; then try "$copy" "$t" && continue; else grep -q 'No rule to make' "$copy.log" && continue; fi
    echo "misnamed	$* stays green, but $t sees it"
    return
  done
  echo "survived	no test sees it"
}

plant_all() { # copy
  local copy=$1 number name tests what at file out kind why started planted=1
  while IFS=$'\t' read -r number name tests what at; do
    mkdir "$work/run/claims/$number" 2>/dev/null || continue
    started=$SECONDS
    rm -rf "$copy.saved"
    mkdir -p "$copy.saved"
    if perl "$work/run/faults.pl" plant "$copy" "$copy.saved" "$number" "${lists[@]}" >"$copy.files" 2>"$copy.log"; then
      # shellcheck disable=SC2086
      out=$(verdict "$copy" $tests)
    else
      out="error	$(tail -1 "$copy.log")"
    fi
    # the old text with a new time, so that make builds it again
    while read -r file; do cat "$copy.saved/$file" >"$copy/$file"; done <"$copy.files"
    printf '%s\t%s\t%s\t%s\n' "$name" "$out" "$what" "$at" >"$work/run/results/$number"
    kind=${out%%	*} why=${out#*	}
    case $kind in killed) ;; *) kind="${kind^^}:" ;; esac
    say "$name $kind $why ($((SECONDS - started)) s)"
  done <"$work/run/list"
}

in_copies() { # function: once in every copy, at a time
  local w pids=()
  for ((w = 1; w <= JOBS; w++)); do "$1" "$work/w$w" 9>&- & pids+=($!); done
  wait "${pids[@]}"
}
# timeout has put each test in a process group of its own: it is told separately
stop() {
  trap - INT TERM
  cat "$work"/*.pid 2>/dev/null | xargs -r kill 2>/dev/null
  kill 0
  exit 130
}
trap stop INT TERM

cut -f3 "$work/run/list" | tr ' ' '\n' | sort -u >"$work/run/tests"
echo "faults: $total to plant, $(wc -l <"$work/run/tests") tests named, $JOBS copies under ${work#"$tree"/}"
in_copies prepare
in_copies clean_tests
if [ -s "$work/run/broken" ]; then cat "$work/run/broken"; die "a fault can be found only by a test that passes without it"; fi
echo "faults: the named tests pass without a fault (${SECONDS} s)"
planted_at=$SECONDS before=$(find "$work/run/results" -type f | wc -l)
in_copies plant_all

cat "$work"/run/results/* | awk -F'\t' -v total="$total" '
  { split($1, p, "/"); a = p[1]; areas[a]++; n[a, $2]++; all[$2]++; if ($2 != "killed") bad[++nbad] = sprintf("  %-9s %s (%s): %s; %s", $2, $1, $5, $4, $3) }
  END {
    printf "\n%-14s %8s %8s %9s %9s %6s\n", "area", "planted", "killed", "misnamed", "survived", "error"
    for (a in areas) printf "%-14s %8d %8d %9d %9d %6d\n", a, areas[a], n[a, "killed"], n[a, "misnamed"], n[a, "survived"], n[a, "error"] | "sort"
    close("sort")
    printf "%-14s %8d %8d %9d %9d %6d\n", "all", NR, all["killed"], all["misnamed"], all["survived"], all["error"]
    for (i = 1; i <= nbad; i++) print bad[i]
    exit nbad > 0 || NR != total
  }'
exit
}
main "$@"
