#!/usr/bin/env bash
# hylab show spec|variants|fields and hylab cache: what they print, their formats and exit statuses.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
. tests/check.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
V=variants/hymba.yaml P=variants/paper
check 'spec help' 0 'hylab show spec MODEL' "$H" show spec --help
check 'spec of a folder' 0 '^ +1  attention +global +4 +2 +12 +12 +1 ' "$H" show spec tests/golden/llama3-tiny
check 'spec of a folder, rope' 0 'rope llama3 base 5000 factor 8' "$H" show spec tests/golden/llama3-tiny
# no two models that differ look alike
check 'spec of a folder, llama3' 0 'factor 8 \(1 to 4 turns in 32 tokens\)' "$H" show spec tests/golden/llama3-tiny
check 'spec, what enters the first layer' 0 'layer \(with bias\) norm, rope none, learned positions, tied embedding \(dropout 0.1\), dropout of attention 0.1, texts of up to 512 tokens$' "$H" show spec variants/zoology-attention.yaml
check 'spec, biases' 0 '^besides: query, key and value biases; attention out bias; mlp biases$' "$H" show spec tests/golden/llama-tiny
check 'spec, Mamba-2' 0 '^besides: ssm projection biases; no convolution bias; ssm steps of 0.01 to 0.06$' "$H" show spec tests/golden/mamba2-tiny-groups
check 'spec, some layers' 0 '^besides: ssm gate without a norm \(1 of 2 layers\)$' \
  "$H" show spec variants/mamba2.yaml --set 'pattern=[{mixer: ssm, ssm: {gated_norm: false}}, {mixer: attention}, {mixer: ssm}]' --set layers=3
check 'spec of a folder, set' 0 'vocabulary 3,' "$H" show spec tests/golden/llama3-tiny --set vocab=3
check 'a part of every layer of a folder' 0 'window 8' "$H" show spec tests/golden/llama3-tiny --set attention.window=8
check 'shapes of a folder stay' 2 'llama3-tiny/.*shape' "$H" eval tests/golden/llama3-tiny --set vocab=9000
check 'spec layers' 0 '^ +2  parallel +mean +window 64 +4 +2 +32 +64 +1 ' "$H" show spec $V
check 'spec parts' 0 '^total +[0-9]+ +100.0' "$H" show spec $V
while read -r file ratio; do # Table 10, rows 2 to 5, 7 and 8
  check "spec ratio $file" 0 "attention : SSM = 1 : $ratio " "$H" show spec "$P/$file.yaml"
done <<'ROWS'
300m-parallel-4heads 8.48
300m-parallel-8heads 4.24
300m-parallel-16heads 2.12
300m-parallel 3.64
300m-parallel-window 3.64
300m-parallel-local-global 3.64
ROWS
check 'spec ratio of mamba' 0 'attention : SSM = 0 : 1' "$H" show spec $P/300m-mamba.yaml
check 'spec 1.5B' 0 '^total +1522797824 ' "$H" show spec $P/hymba-1.5b.yaml
check 'spec set' 0 '^ +1  parallel +mean +window 9 ' "$H" show spec $V --set attention.window=9
check 'spec csv' 0 '^1,parallel,mean,window 64,4,2,32,64,1,256,16,4,8,,,silu,256,[0-9]+$' "$H" show spec $V --format csv
check 'spec json' 0 '^ +"kv_source": 4,' "$H" show spec $V --format json
check 'spec json names' 0 '"name": "hymba"' "$H" show spec $V --format json
# the expanded text is a variant with the same hash and the same text
"$H" show spec $V --yaml >"$tmp/expanded.yaml"
"$H" show spec "$tmp/expanded.yaml" --yaml >"$tmp/again.yaml"
check 'spec yaml is a fixed point' 0 '' cmp "$tmp/expanded.yaml" "$tmp/again.yaml"
check 'spec hash' 0 "$("$H" show spec $V | head -1 | grep -oE '[0-9a-f]{32}')" "$H" show spec "$tmp/expanded.yaml"
printf 'name: x\nattention:\n  heads: 8\n  kv_heads: 3\n' >"$tmp/bad.yaml"
check 'fault with its place' 2 'bad.yaml:4:3: 8 query heads cannot be shared out to 3' "$H" show spec "$tmp/bad.yaml"
check 'fault in a set' 2 '--set attention.heads=5:1:11: ' "$H" show spec $V --set attention.heads=5
check 'unknown key in a set' 2 'unknown key "windw" \(did you mean "window"\?\)' "$H" show spec $V --set attention.windw=5
check 'no file' 2 'nothing.yaml' "$H" show spec nothing.yaml
check 'no argument' 2 'show spec' "$H" show spec
head -c 3000 /dev/urandom >"$tmp/noise.yaml"
check 'noise' 2 'noise.yaml:' "$H" show spec "$tmp/noise.yaml"

check 'variants' 0 '^variants/paper/hymba-1.5b.yaml +parallel +32 +1600 +1522797824 ' "$H" show variants
check 'variants of a folder, one bad' 0 'bad.yaml .*cannot be read: ' "$H" show variants "$tmp"
check 'variants csv' 0 '^variants/samba.yaml,mixed,8,128,' "$H" show variants --format csv
check 'variants of nothing' 2 'cannot read the folder' "$H" show variants "$tmp/none"
check 'fields' 0 '^  kv_heads ' "$H" show fields
check 'fields of training' 0 '^  weight_decay ' "$H" show fields train
check 'fields of a task' 0 '^Task mqar' "$H" show fields mqar
check 'fields of a measure' 0 '^  examples +8 +evaluation examples' "$H" show fields outputs
check 'fields of measures' 0 '^Measure throughput, version 1: .*; needs weights, gradients, a quiet machine$' "$H" show fields measures
check 'measures' 0 '^outputs +1 +a task, weights +output magnitude' "$H" show measures
check 'measures csv' 0 '^cache,2,,' "$H" show measures --format csv
check 'fields of nothing' 2 'did you mean "mqar"' "$H" show fields mqr

# what figures mean needs no database; one that was asked for by name has to be there
full=$(realpath "$H")
(cd "$tmp" && HYLAB_DB='' "$full" show metrics >"$tmp/metrics" 2>&1)
check 'metrics without a database' 0 '^accuracy +1  1 +higher +0  share of labelled positions' cat "$tmp/metrics"
check 'metrics without a database, which is said' 0 '^there is no database yet: runs/hylab.db$' cat "$tmp/metrics"
check 'metrics of a database that is not there' 2 'none.db' "$H" show metrics --db "$tmp/none.db"
check 'runs of no status' 2 '--status fail: there are running, interrupted, done and failed' "$H" show runs --status fail
check 'cache help' 0 'hylab cache MODEL' "$H" cache --help
check 'cache of the abstract' 0 '^hymba-1.5b .* 78\.602 +11\.67$' "$H" cache $P/llama-3.2-3b.yaml $P/hymba-1.5b.yaml --accounting paper
check 'cache with the groups' 0 '^hymba-1.5b .* 77\.619$' "$H" cache $P/hymba-1.5b.yaml --accounting paper-groups
check 'cache by layer' 0 '^hymba +2  parallel +window 64 +1  0.000 +0.000 ' "$H" cache $V --by-layer
check 'cache csv' 0 '^llama,[0-9]+,12.288,0.0,0.0,0.0,12.288$' "$H" cache variants/llama.yaml --elem bf16 --format csv
check 'cache json' 0 '"total_mb": 12.288' "$H" cache variants/llama.yaml --elem bf16 --format json
check 'cache tokens' 0 '^llama .* 1\.573$' "$H" cache variants/llama.yaml --tokens 512
check 'cache set' 0 '^llama .* 6\.144 ' "$H" cache variants/llama.yaml --elem bf16 --set attention.kv_heads=1
check 'cache beside the printed' 0 '^Table 10 row 13 +300m-hymba +[0-9]+ +40.01 +40.01 +0.00 +40.21 +41.337$' "$H" cache $P/*.yaml --accounting both --elem bf16
check 'cache csv names what is printed' 0 '^300m-parallel-16heads,[0-9]+,393.216,0.0,0.0,0.786432,394.002432,394.00,Table 10 row 4,' "$H" cache $P/*.yaml --accounting paper --tokens 8000 --format csv
check 'cache csv at another length' 0 '^variant,parameters,kv_mb,meta_mb,conv_mb,ssm_mb,total_mb$' "$H" cache $P/300m-llama.yaml --accounting paper --tokens 100 --format csv
check 'a changed model is not the printed one' 0 '^ +300m-llama ' "$H" cache $P/300m-llama.yaml --accounting both --set layers=6
check 'by layer of both' 2 'by-layer shows one accounting' "$H" cache $V --accounting both --by-layer
E='cache --explain variants/paper/hymba-1.5b.yaml'
check 'explain in words' 0 '^ +14 of the 29 layers keep their own' "$H" $E
check 'explain terms' 0 '^KV, window 1024 +14 x 1024 x 960 x 2  27.525 +14.5 x 1024 x 960 x 2  28.508 +-0.983$' "$H" $E --elem bf16
check 'explain steps' 0 '^of 29 window layers 14 keep .* half, 14.5 +-0.983 +77.619$' "$H" $E
check 'explain element type' 0 '^4 bytes a value are held .* 81.674 +163.348$' "$H" $E
check 'explain what is printed' 0 'printed in Table 1 row F: 78.6 MB' "$H" $E
check 'explain at another length' 0 'the newest 100 tokens of text' "$H" $E --tokens 100
check 'explain json' 0 '"held_positions": 1024' "$H" $E --format json
check 'explain csv' 0 '^hymba-1.5b,total,.*81.67424,.*78.602' "$H" $E --elem bf16 --format csv
check 'explain where both agree' 0 '^the two accountings agree$' "$H" cache --explain $P/llama-3.2-3b.yaml --elem bf16
check 'explain without a mixer' 0 'no layer keeps anything' "$H" cache --explain variants/mixer-none.yaml
check 'explain no file' 2 'no.yaml' "$H" cache --explain no.yaml
wide=$("$H" cache --explain variants/*.yaml $P/*.yaml | awk '{ if (length($0) > m) m = length($0) } END { print m }')
check "explain within 120 columns ($wide)" 0 '' [ "$wide" -le 120 ]
check 'published figures' 0 '^released weights +hymba-1.5b +parameters +1522797824  1522797824  equal$' "$H" show published $P/*.yaml
"$H" show published $P/*.yaml | grep differs | grep -vE '^Table 10 row (9|11|13) +[^ ]+ +SSM / attention' >"$tmp/differs"
check 'all but three printed figures come out' 1 '' test -s "$tmp/differs"
check 'published of nothing' 2 'too few arguments' "$H" show published
check 'cache accounting' 2 'true, paper, paper-groups and both' "$H" cache $V --accounting papr
check 'cache elem' 2 'elem f12: there are f64.f32.bf16.f16.f8.i8' "$H" cache $V --elem f12
check 'cache elem of the states' 2 'state-elem x: there are' "$H" cache $V --state-elem x
check 'cache of one byte' 0 '^llama .* 6\.144$' "$H" cache variants/llama.yaml --elem f8
check 'states of another type' 0 '^mamba-130m +129135360 .* 0.442 +2.359 +2.802$' "$H" cache $P/mamba-130m.yaml --elem bf16 --state-elem f32
check 'both types in words' 0 '^2 bytes a key or value, 4 a value of states are held .* 3.891 +85.565$' "$H" $E --elem bf16 --state-elem f32
check 'cache no tokens' 2 'tokens' "$H" cache $V --tokens 0
check 'cache no file' 2 'no.yaml' "$H" cache $V no.yaml
if [ -w /dev/full ]; then
  check 'full disk' 1 'show spec' bash -c "$H show spec $V --yaml >/dev/full"
  check 'full disk, cache' 1 'cache' bash -c "$H cache $V >/dev/full"
  check 'full disk, fields' 1 'show fields' bash -c "$H show fields >/dev/full"
fi
exit $bad
