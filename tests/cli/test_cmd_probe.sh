#!/usr/bin/env bash
# hylab probe: tables, figures, options and exit statuses.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
cp tests/data/tiny-parallel.yaml "$dir/m.yaml"
sed 's/^name: tiny/name: attn/; s/parallel/attention/; /^ssm/d' "$dir/m.yaml" >"$dir/a.yaml"
P=("$H" probe "$dir/m.yaml" --task mqar --task-set vocab=256 --task-set 'test=[[24, 2]]' --task-set 'train=[[24, 2]]')
check help 0 'hylab probe .*--erf' "$H" probe --help
check table 0 '^ +2 +layer ' "${P[@]}"
check 'self-test' 0 'alpha x \+ D x against the recurrence: [0-9.]+e-1[4-9]' "${P[@]}"
check erf 0 '^ERF ' "${P[@]}" --erf --prompts 3 --erf-set meta=renormalised --erf-set heads=pooled
check 'options on record' 0 'heads=pooled meta=renormalised' "${P[@]}" --erf --erf-set meta=renormalised --erf-set heads=pooled
check csv 0 '^0,attention,[0-9.]+,' "${P[@]}" --entropy --format csv
check json 0 '"entropy_relative": 0\.[0-9]+' "${P[@]}" --entropy --format json
check 'attention only' 0 '^ +1 +attention ' "$H" probe "$dir/a.yaml" --task-set vocab=256 --tokens 20
check 'any measure' 0 '^layer2.ssm ' "${P[@]}" --measure outputs --prompts 2
check 'its options' 0 '^positions: all' "${P[@]}" --measure outputs --option positions=all --layers 1
check 'its figures as CSV' 0 '^layer1.attention,1,attention,[0-9.e-]+,[0-9.e-]*,' "${P[@]}" --measure outputs --format csv
check 'a measure without a task' 0 '^layer0.kv ' "${P[@]}" --measure cache --option tokens=100
check 'the residual stream' 0 '^layer2.heads +[0-9.]+ ±' "${P[@]}" --measure stream --prompts 2
check 'keys and values of two layers' 0 '^layer0.layer2 +-?0\.[0-9]+ ± 0\.[0-9]+ ' "${P[@]}" --kv-similarity --prompts 3
check 'that share them' 0 'the same keys and values, shared: layer1.layer2' "${P[@]}" --kv-similarity
check 'as CSV' 0 '^layer0.layer1,0,kv,-?0\.' "${P[@]}" --kv-similarity --format csv
check 'what to share, as YAML' 0 '^kv_share: \[\[1, 2\]\]' "${P[@]}" --kv-similarity --propose
check 'and nothing else' 0 '^0$' echo "$("${P[@]}" --kv-similarity --propose 2>/dev/null | grep -vc '^#\|^kv_share: ')"
check 'how far heads look back' 0 '^layer1.ssm +[0-9.]+ ± [0-9.]+ ' "${P[@]}" --reach --prompts 3
check 'of one kind of heads no half-lives' 0 '^layer1.attention,1,attention,[0-9.]+,[0-9.]+,,,,' "${P[@]}" --reach --format csv
check 'what heads copy' 0 '^layer1.head1 +[0-9.]+ ± [0-9.]+ ' "${P[@]}" --retrieval --prompts 3
check 'beside all keys alike' 0 '^layer1.ssm,1,ssm,,[0-9.]+,[0-9.]+,[0-9.]+$' "${P[@]}" --retrieval --format csv
check 'nothing to copy' 2 'nothing to copy in the first 8 examples of mqar, T24.K' "${P[@]}" --measure retrieval --tokens 4
check 'a receptive field by gradients' 0 '^model +[0-9.]+ ± [0-9.]+ ' "${P[@]}" --gradient-erf --prompts 3
check 'from each layer' 0 '^layer2.from,2,from,[0-9.]+,[0-9.]+,[0-9.]+$' "${P[@]}" --gradient-erf --format csv
check 'with an option of its own' 0 'of=top norm=l1 .* each=to$' "${P[@]}" --gradient-erf --option of=top --option norm=l1 --option each=to
check 'of one table alone' 2 'or of one table with its own figure' "${P[@]}" --gradient-erf --reach --option of=top
check 'no wanted token' 2 'example 0 of mqar, T24.K2 has no wanted token in its first 4' "${P[@]}" --measure gradient_erf --option of=label --tokens 4
check 'contributions of positions' 0 '^layer1.ssm +[0-9.]+ ± [0-9.]+ ' "${P[@]}" --contributions --prompts 3
check 'of the whole layer' 0 '^layer2.layer,2,layer,,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+$' "${P[@]}" --contributions --format csv
check 'rows for maps' 2 'rows: 4, but maps are of all rows' "${P[@]}" --contributions --option rows=4
check 'propose alone' 2 '--propose is for --kv-similarity' "${P[@]}" --propose
check 'by what' 2 '--by both: cka or cosine' "${P[@]}" --kv-similarity --propose --by both
check 'at least how much' 2 '--at-least 2: a number from -1 to 1' "${P[@]}" --kv-similarity --propose --at-least 2
check 'options are in the help' 0 'Measure outputs, version 1' "$H" probe --help
check 'it stands alone' 2 'stands alone' "${P[@]}" --measure outputs --erf
# ---- what is measured is stored, the same figures as printed
db=$dir/p.db
stored() { "$H" show sql "$1" --db "$db" --format csv | tail -n +2 | tr -d '\r'; }
check 'statistics are stored' 0 'stored in .*p.db: maps of run 1' "${P[@]}" --db "$db"
check 'so is a receptive field' 0 'erf of run 1' "${P[@]}" --erf --db "$db"
check 'and any measure' 0 'outputs of run 1' "${P[@]}" --measure outputs --prompts 2 --db "$db"
check 'an evaluation' 0 'accuracy of run 1' "$H" eval "$dir/m.yaml" "${P[@]:3}" --db "$db"
check 'timings' 0 'throughput of run 2' "$H" bench "$dir/m.yaml" --context 8 --repetitions 2 --db "$db"
check 'a cache' 0 'cache of run 2' "$H" cache "$dir/m.yaml" --tokens 64 --db "$db"
check 'measurements' 0 '^accuracy cache erf maps outputs outputs throughput $' echo "$(stored "SELECT measure FROM v_measurement WHERE measure != 'training' ORDER BY 1" | tr '\n' ' ')"
erf=$("${P[@]}" --erf --format csv | awk -F, '$1 == "ERF" {print $5}')
check 'the receptive field is the one printed' 0 '^1$' stored "SELECT count(*) FROM v_final WHERE metric = 'erf' AND cell = '' AND abs(value - $erf) < 1e-9"
beta=$("${P[@]}" --measure outputs --prompts 2 --format csv | awk -F, '$1 == "layer1.ssm" {print $4}')
check 'an output is the one printed' 0 '^1$' stored "SELECT count(*) FROM v_metric WHERE metric = 'output_rms' AND layer = 1 AND kind = 'ssm' AND abs(value - $beta) < 1e-9 AND options LIKE '%positions: text%'"
check 'a second time in its place' 0 'outputs of run 1' "${P[@]}" --measure outputs --prompts 2 --db "$db"
check 'not beside it' 0 '^2$' stored "SELECT count(*) FROM v_measurement WHERE measure = 'outputs' AND status = 'done'"
check 'no such measure' 2 'did you mean "outputs"' "${P[@]}" --measure output
check 'no such option' 2 'measure outputs: unknown key "position"' "${P[@]}" --measure outputs --option position=all
check 'an option of no measure' 2 'that --measure names' "${P[@]}" --option cell=0
sed 's/parallel/none/; /^attention/d; /^kv_share/d; /^ssm/d; /^meta/d' "$dir/m.yaml" >"$dir/n.yaml"
check 'no heads' 2 'finds nothing in tiny' "$H" probe "$dir/n.yaml" --task-set vocab=256
if command -v gnuplot >/dev/null; then
  check maps 0 "figures are in $dir/out" "${P[@]}" --layers 0,2 --head 1 --channel 3 --out "$dir/out" --entropy --formats svg,png,pdf
  for f in maps.svg maps.png maps.pdf maps.dat maps.gp entropy.svg; do
    if [ -s "$dir/out/$f" ]; then echo "ok $f"; else echo "not ok $f"; bad=1; fi
  done
  # 2 layers x 5 maps of 26 x 26 positions, as float32
  size=$(stat -c %s "$dir/out/maps.dat")
  if [ "$size" = $((2 * 5 * 26 * 26 * 4)) ]; then echo 'ok data of the maps'; else echo "not ok data of the maps ($size bytes)"; bad=1; fi
  # a long text: pixels of 3 x 3 positions, which the figure and its data say; then a part of it, position by position
  head -c 900 CONTRIBUTING.md >"$dir/long.txt"
  check 'a long map' 0 "figures are in $dir/long" "$H" probe "$dir/m.yaml" --text "$dir/long.txt" --layers 1 --maps attention --out "$dir/long"
  check 'what a pixel is' 0 'Each pixel: max over 3 x 3 positions' cat "$dir/long/maps.gp"
  check 'so say the data' 0 '^# layer 1: attention: 301 rows x 301 columns from byte +[0-9]+; each value: max over 3 x 3 positions' head -2 "$dir/long/maps.dat"
  size=$(stat -c %s "$dir/long/maps.dat")
  if [ "$size" -gt $((301 * 301 * 4)) ] && [ "$size" -lt $((301 * 301 * 4 + 500)) ]; then echo 'ok data of the long map'; else echo "not ok data of the long map ($size bytes)"; bad=1; fi
  check 'a part of it' 0 "figures are in $dir/part" "$H" probe "$dir/m.yaml" --text "$dir/long.txt" --layers 1 --maps attention --out "$dir/part" --zoom 500:600,450:600
  check 'is said' 0 'Queries 500 to 599, keys 450 to 599 only' cat "$dir/part/maps.gp"
  check 'and drawn' 0 'array=\(150,100\) .* origin=\(450,500\) dx=1 dy=1' cat "$dir/part/maps.gp"
  check 'the mean instead' 0 'mean over 3 x 3' bash -c "'$H' probe '$dir/m.yaml' --text '$dir/long.txt' --layers 1 --maps attention --out '$dir/long' --reduce-map mean && cat '$dir/long/maps.gp'"
else
  echo 'skip maps (gnuplot is not installed)'
fi
# ---- values and maps in files
check 'names' 0 '^layers.1.attn.q +16 +queries as attention uses them; 2 heads of 8$' "$H" probe "$dir/m.yaml" --values
check 'names as CSV' 0 '^layers.2.map.ssm.channel.N,positions,' "$H" probe "$dir/m.yaml" --values --format csv
check 'save' 0 '4 values of 26 positions, 5.1 kB, are in' "${P[@]}" --save 'layers.*.attn.q' --save ids --save-to "$dir/q.safetensors"
check 'about what is saved' 0 '"positions": "26: 2 meta tokens, then 24 tokens of the text"' head -c 4000 "$dir/q.safetensors"
check 'a map' 0 'is in' "${P[@]}" --save layers.1.map.attention.head.1 --save-to "$dir/head.csv"
# a query of a row sums to one over the keys that it sees; of 26 x 26 the first row sees itself
check 'rows of it sum to one' 0 '^26 26$' awk -F, 'NR > 1 {s[$2] += $4; if ($2 == 0 && $3 == 0 && $4 != 1) exit 1} END {for (i in s) n += s[i] > 0.9999 && s[i] < 1.0001; print n, length(s)}' "$dir/head.csv"
for i in 0 3; do "${P[@]}" --save ids --example $i --save-to "$dir/ids$i.csv" 2>/dev/null; done
check 'another example' 1 'differ' diff -q "$dir/ids0.csv" "$dir/ids3.csv"
check 'of the tokens given' 0 '^ids,6,0,111$' bash -c "'$H' probe '$dir/m.yaml' --prompt 'Hello world' --save ids --save-to '$dir/p.csv' && grep ,111 '$dir/p.csv'"
printf '5 17\n3, 9 300\n' >"$dir/ids.txt"
# the fifth is outside the vocabulary
check 'ids of a file' 0 'a text of 4 tokens' "$H" probe "$dir/m.yaml" --text "$dir/ids.txt" --ids --tokens 4
check 'tables of a prompt' 0 'on a prompt of 11 tokens' "$H" probe "$dir/m.yaml" --prompt 'Hello world' --erf
check 'no such value' 2 'named "layers.\*.atn.q" \(did you mean "layers.\*.attn.q"\?\)' "${P[@]}" --save 'layers.*.atn.q' --save-to "$dir/x.csv"
check 'save where to' 2 'where to' "${P[@]}" --save ids
check 'saved to without values' 2 '--save-to is for --save' "${P[@]}" --save-to "$dir/x.csv"
check 'no mean is saved' 2 'not the mean over --prompts 2' "${P[@]}" --save ids --save-to "$dir/x.csv" --prompts 2
check 'no such example' 2 'has examples 0 to 999' "${P[@]}" --save ids --save-to "$dir/x.csv" --example 1000
check 'not below a file' 2 'cannot create folder' "${P[@]}" --save ids --save-to "$dir/m.yaml/x"
check 'a prompt is no task' 2 'not with --task' "$H" probe "$dir/m.yaml" --prompt hello --task mqar
check 'nor is it stored' 2 'not with --db' "$H" probe "$dir/m.yaml" --prompt hello --db "$db"
check 'an empty prompt' 2 'no token in it' "$H" probe "$dir/m.yaml" --prompt ''
H=$(realpath "$H")
check 'no gnuplot' 1 'apt-get install gnuplot-nox' env PATH=/nonexistent "$H" "${P[@]:1}" --out "$dir/none"
check 'no zoom' 2 'FROM:TO,FROM:TO' "${P[@]}" --zoom 3:9 --out "$dir/none"
check 'no such part' 2 'queries 3 to 30 are no part of the 26 positions' "${P[@]}" --zoom 3:30,0:9 --out "$dir/none"
check 'zoom of what' 2 '--zoom is of the maps that --out draws' "${P[@]}" --zoom 3:9,0:9
check 'more than there is' 2 'needs about [0-9.]+ GB .* and this machine has [0-9.]+ GB: take fewer tokens' timeout 60 "$H" probe variants/paper/hymba-1.5b.yaml --task needle --task-set 'test=[1000000]' --save ids --save-to "$dir/x.npy"
check 'no model' 2 'cannot open' "$H" probe "$dir/none.yaml"
check 'no layer' 2 'from 0 to 2' "${P[@]}" --layers 3
check 'no head' 2 'no attention head 7' "${P[@]}" --out "$dir/none" --head 7
check 'no cell' 2 'evaluation cells 0 to 0' "${P[@]}" --cell 4
check 'no such map' 2 'attention\|ssm\|layer' "${P[@]}" --maps ssn --out "$dir/none"
check 'no such norm' 2 'rowsum, minmax' "${P[@]}" --norm softmax
check 'no such ERF option' 2 'group, channels' "${P[@]}" --erf --erf-set ssm=all
check 'two tables as CSV' 2 'one at a time' "${P[@]}" --erf --entropy --format csv
check 'vocabulary' 2 'vocabulary' "$H" probe "$dir/m.yaml" --task mqar --task-set vocab=300
exit $bad
