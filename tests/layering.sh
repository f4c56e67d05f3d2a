#!/usr/bin/env bash
# Who may include whom. Prints each violation and exits 1; prints one line and exits 0 when the layering holds.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
say() { echo "layering: $*"; bad=1; }
# folder: the project headers it may include (regular expression)
check() {
  while IFS=: read -r file _ inc; do
    path=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$inc")
    grep -qE "^($2)" <<<"$path" || say "$file includes $path (allowed: $2)"
  done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' -r "$1" --include='*.c' --include='*.cc' --include='*.h' --include='*.cu' --include='*.cuh')
}
check kernels 'kernels/|core/base.h|tests/cuda_emu/(cuda_emu|emu_cublas).h' # the last one only in the build of the emulation
check core 'core/|kernels/kernels.h|kernels/attn_rule.h'
check results 'results/|core/base.h'
check analysis 'analysis/|results/|core/|kernels/kernels.h|kernels/attn_rule.h'
check experiments 'experiments/|analysis/|results/|core/|kernels/kernels.h|kernels/attn_rule.h'
only() { # system header, the one file that may include it
  hits=$(grep -rlE "#[[:space:]]*include[[:space:]]*<$1" --include='*.c' --include='*.h' --include='*.cc' --include='*.cu' core kernels analysis results experiments | grep -v "^$2\$")
  [ -z "$hits" ] || say "<$1> only in $2, but also in: $hits"
}
only 'yaml\.h' core/yaml.c
only 'sqlite3\.h' results/store.c
only 'oneapi/dnnl' kernels/cpu/gemm.c
only 'jansson\.h' core/json.c
only 'pcre2\.h' core/tok_regex.c
only 'utf8proc\.h' core/tok_norm.c
only 'sentencepiece' core/tok_sentencepiece.cc
hits=$(grep -rlE '"gnuplot' --include='*.c' core kernels analysis results experiments | grep -v '^analysis/gnuplot.c$')
[ -z "$hits" ] || say "gnuplot is started only in analysis/gnuplot.c, but also in: $hits"
hits=$(grep -rlE '#[[:space:]]*include[[:space:]]*<(cuda|cublas)' --include='*.c' --include='*.h' --include='*.cu' . | grep -v '^./kernels/cuda/')
[ -z "$hits" ] || say "CUDA headers only under kernels/cuda: $hits"
hits=$(grep -rnE '[^_a-z]exit\(' --include='*.c' core kernels analysis results experiments | grep -vE '^(experiments/main\.c|core/base\.c):|_exit\(')
[ -z "$hits" ] || say "only main exits the process: $hits"
[ $bad = 0 ] && echo "layering holds"
exit $bad
