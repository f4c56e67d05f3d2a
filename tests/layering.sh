#!/usr/bin/env bash
# layering.sh - who may know whom, as one table. Prints each violation and exits 1, or one line and exits 0 when all of it holds.
#   1. a folder includes folders of a lower rank only, never another of its own rank;
#   2. NAME_impl.h is included only inside its folder;
#   3. no circle between headers (by include) nor between sources (by the symbols of the objects of the last build);
#   4. each system library has one file that knows it;
#   5. SELECT is written under results/ only; only main and a lack of memory end the process; gnuplot is started in one file.
# ROOT=folder checks another tree, BUILD=folder the objects of another build.
set -u
cd "${ROOT:-$(dirname "$0")/..}" || exit 1
BUILD=${BUILD:-build/release}
bad=0
say() { echo "layering: $*"; bad=1; }

# ---- the table: rank, folder. tests/, experiments/bench and core/hylab.h are outside: they may know everything.
ranks='0 core/base
1 core/dist
1 core/format
1 kernels
1 results
2 core/spec
2 core/token
3 core/corpus
3 core/model
4 core/exec
4 core/task
5 core/train
5 core/family
6 analysis/probe
6 analysis/figure
7 analysis/measure
7 analysis/summary
8 analysis/report
9 experiments/runner
10 experiments/cli
10 python/capi'
sources() { find core kernels results analysis experiments python/capi -name '*.c' -o -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.def' | grep -v '^experiments/bench/' | sort; }
includes() { # file included
  sources | xargs grep -HE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' | sed -E 's/^([^:]+):[^"]*"([^"]+)".*/\1 \2/'
}

# ---- 1, 2
faults=$(includes | awk -v ranks="$ranks" '
  BEGIN { n = split(ranks, line, "\n"); for (i = 1; i <= n; i++) { split(line[i], f, " "); rank[f[2]] = f[1] } }
  function room(path,  best, r) { best = ""; for (r in rank) if (index(path, r "/") == 1 && length(r) > length(best)) best = r; return best }
  function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
  {
    if ($1 == "core/hylab.h") next  # the umbrella header, for programs outside
    a = room($1); b = room($2)
    if (a == "") { if (!seen[$1]++) print $1 " lies in no room of the table" ; next }
    if ($2 ~ /^tests\/cuda_emu\/(cuda_emu|emu_cublas)\.h$/ && a == "kernels") next  # in the build of the emulation only
    if ($2 == "core/hylab.h") { print $1 " includes the umbrella header"; next }
    if (b == "") { print $1 " includes " $2 ", which lies in no room of the table"; next }
    if (a == b) { if ($2 ~ /_impl\.h$/ && folder($1) != folder($2)) print $1 " includes " $2 " of another folder"; next }
    if ($2 ~ /_impl\.h$/) print $1 " includes " $2 ", which is internal to its folder"
    else if (rank[b] > rank[a]) print $1 " (rank " rank[a] ") includes " $2 " (rank " rank[b] ")"
    else if (rank[b] == rank[a]) print $1 " includes " $2 " of a room beside its own (rank " rank[a] ")"
  }')
[ -z "$faults" ] || while read -r f; do say "$f"; done <<<"$faults"

# ---- 3
circle() { # what; edges "user used" on standard input
  local loop
  loop=$(tsort 2>&1 >/dev/null | sed -n 's/^tsort: //p' | grep -v 'input contains a loop' | tr '\n' ' ')
  [ -z "$loop" ] || say "circle between $1: $loop"
}
circle headers < <(includes | grep -E '^[^ ]+\.(h|cuh) ')
objects=$(find "$BUILD/core" "$BUILD/kernels" "$BUILD/results" "$BUILD/analysis" "$BUILD/experiments/runner" "$BUILD/experiments/cli" "$BUILD/python/capi" -name '*.o' 2>/dev/null |
  while read -r o; do # those of sources that are still there; of a kernel built several times, one
    s=${o#"$BUILD"/} s=${s%.o}
    case $s in *.f64 | *.base | *.avx2) continue ;; esac
    s=${s%.f32} s=${s%.avx512}
    for e in c cc cu; do [ -f "$s.$e" ] && echo "$o" && break; done
  done)
if [ -n "$objects" ]; then
  circle sources < <(echo "$objects" | xargs nm -A -g 2>/dev/null | awk -v build="$BUILD/" '
    { file = $1; sub(/:[0-9a-fA-F]*$/, "", file); sub(/:$/, "", file); name = $NF; type = $(NF - 1)
      sub("^" build, "", file); sub(/\.o$/, "", file)
      if (type == "U") use[file, name] = 1
      else if (type ~ /[TDBRVW]/ && !(name in home)) home[name] = file }
    END { for (k in use) { split(k, p, SUBSEP); if (p[2] in home && home[p[2]] != p[1] && !((p[1], home[p[2]]) in done)) { done[p[1], home[p[2]]] = 1; print p[1], home[p[2]] } } }')
fi

# ---- 4
only() { # system header, the files that may include it
  local header=$1 hits f
  shift
  hits=$(sources | xargs grep -lE "#[[:space:]]*include[[:space:]]*<$header" | grep -vxF "$(printf '%s\n' "$@")")
  [ -z "$hits" ] || say "<$header> only in $*, but also in: $hits"
  for f; do [ -f "$f" ] || say "$f is gone: who knows <$header> now?"; done
}
only 'yaml\.h' core/format/yaml.c
only 'sqlite3\.h' results/store_impl.h
only 'oneapi/dnnl' kernels/cpu/gemm.c kernels/cpu/gemm_half.c
only 'jansson\.h' core/format/json.c
only 'xxhash\.h' core/base/hash.c
only 'pcre2\.h' core/token/tok_regex.c
only 'utf8proc\.h' core/token/tok_norm.c
only 'sentencepiece' core/token/tok_sentencepiece.cc
hits=$(sources | xargs grep -lE '#[[:space:]]*include[[:space:]]*<(cuda|cublas)' | grep -v '^kernels/cuda/')
[ -z "$hits" ] || say "CUDA headers only under kernels/cuda: $hits"

# ---- 5
# as the name of a program, not as the first word of a text
hits=$(sources | xargs grep -lE '"gnuplot("| -)' | grep -v '^analysis/figure/gnuplot\.c$')
[ -z "$hits" ] || say "gnuplot is started only in analysis/figure/gnuplot.c, but also in: $hits"
hits=$(sources | xargs grep -lE '"(MPI_|ompi_|libmpi)' | grep -v '^core/dist/dist_mpi\.c$')
[ -z "$hits" ] || say "MPI is known in core/dist/dist_mpi.c only, but also in: $hits"
hits=$(sources | xargs grep -nE '(^|[^_a-zA-Z])exit\(' | grep -vE '^(experiments/cli/main\.c|core/base/memory\.c):')
[ -z "$hits" ] || say "only main ends the process: $hits"
hits=$(sources | grep -v '^results/' | xargs grep -nE '"[^"]*\<SELECT\>' | grep -vE '"[^"]*(hylab show sql|show sql)')
[ -z "$hits" ] || say "SELECT only under results/: $(echo "$hits" | cut -c1-120 | head -5)"
[ $bad = 0 ] && echo "layering holds"
exit $bad
