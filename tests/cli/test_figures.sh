#!/usr/bin/env bash
# hylab plot and hylab report on a small experiment that is run here: every figure in every format, the page, exit statuses.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-./hylab}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
if ! command -v gnuplot >/dev/null; then
  echo 'skip figures (gnuplot is not installed)'
  exit 0
fi
cat >"$dir/e.yaml" <<'END'
name: mini
question: "Is <this> escaped & shown?"
variant: {vocab: 64, d_model: 8, mlp.d_ff: 8}
variants:
  - {name: Llama, spec: {layers: 2, mixer: attention, attention: {heads: 2, kv_heads: 2}}, paper: {recall: 40, cache_mb: 400}}
  - {name: "A_1 <b>", spec: {layers: 2, mixer: ssm, ssm: {d_state: 2, dt_rank: 1}}, paper: {recall: 19, cache_mb: 2}}
  - {name: hybrid, spec: {layers: 2, mixer: parallel, meta_tokens: 2, attention: {heads: 2, kv_heads: 1, window: 4}, ssm: {d_state: 2, dt_rank: 1}}, paper: {recall: 50, cache_mb: 40}}
tasks:
  - {name: mqar, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2], [24, 4]], train_examples: 50, test_examples: 4}}
seeds: [1, 2]
train: {steps: 4, batch: 2, lr: 0.003, log_every: 1}
measures:
  cache: {tokens: 100}
  throughput: {contexts: [8, 16], repetitions: 5, decode_tokens: 1, only_seed: 1}
  maps: {examples: 1, seeds: [1]}
  erf: {examples: 2}
  outputs: {examples: 2}
  kv_similarity: {examples: 2}
  reach: {examples: 2}
  retrieval: {examples: 2}
  gradient_erf: {examples: 2}
  contributions: {examples: 2}
END
export HYLAB_DB=$dir/r.db
check 'nothing stored' 2 'r.db' "$H" plot "$dir/e.yaml"
check run 0 'Llama +2 ' "$H" run "$dir/e.yaml" --jobs 2 --threads 2
check plot 0 'erf-cache' "$H" plot "$dir/e.yaml" --out "$dir/f"
for f in accuracy-cache accuracy-throughput recall loss throughput cache maps-Llama maps-A__1_.3cb.3e maps-hybrid entropy erf-cache outputs-Llama outputs-hybrid kv-similarity-hybrid reach-A__1_.3cb.3e retrieval-Llama gradient-erf contributions-Llama contributions-hybrid contribution-share; do
  for x in svg png pdf; do
    case $x in svg) magic='<?xml' ;; png) magic=$'\x89PNG' ;; pdf) magic='%PDF' ;; esac
    # a figure is of some size, complete (no half-written file under its name) and what its name says
    [ -s "$dir/f/$f.$x" ] && [ "$(stat -c %s "$dir/f/$f.$x")" -gt 2000 ] && [ "$(head -c "${#magic}" "$dir/f/$f.$x" | LC_ALL=C tr -d '\0')" = "$magic" ]
    say $? "$f.$x"
  done
  [ "$(tail -n 1 "$dir/f/$f.svg")" = '</svg>' ] || grep -q '</svg>' "$dir/f/$f.svg"
  say $? "$f.svg is complete"
done
grep -q 'meta=included' "$dir/f/erf-cache.svg"
say $? 'the options of the receptive field are on the figure'
grep -q 'after norm, beta and fusion' "$dir/f/outputs-hybrid.svg" && ! grep -q 'beta' "$dir/f/outputs-Llama.svg"
say $? 'weights of the fusion where there is one'
[ -z "$(ls "$dir/f" | grep tmp)" ]
say $? 'no temporary files'
grep -q '6 runs, 2 seeds each' "$dir/f/accuracy-cache.svg"
say $? 'runs and seeds are on the figure'
check 'only experiment' 0 'loss' "$H" plot --figure loss --out "$dir/g" --formats svg
check 'default folder' 0 'figures/mini/recall' "$H" plot --experiment mini --figure recall --formats svg
check report 0 'report.html \(27 figures' "$H" report "$dir/e.yaml" --figures "$dir/f"
page=$dir/f/report.html
[ "$(grep -c '<svg' "$page")" = 27 ] && [ "$(grep -c '<figcaption' "$page")" = 27 ]
say $? 'figures are inline'
grep -q 'Is &lt;this&gt; escaped &amp; shown?' "$page" && ! grep -q '<b>&lt;\|A_1 <b>' "$page"
say $? 'text is escaped'
! grep -oE '(src|href)=.[^#d][^ >]*' "$page" | grep -q .
say $? 'nothing is loaded from elsewhere'
grep -q 'over n = 3 variants' "$page" && grep -q '>19<' "$page" && grep -q 'commits' "$page"
say $? 'rank correlation, paper and provenance'
# beside a page nothing is written but the folder of its figures; what is there and not ours stays
mkdir -p "$dir/w/mine_files"
echo mine >"$dir/w/loss.svg"
check 'report beside files of the user' 0 'page.html \(27 figures from .*/w/page_files\)' "$H" report "$dir/e.yaml" --out "$dir/w/page.html"
[ "$(cat "$dir/w/loss.svg")" = mine ] && [ "$(ls "$dir/w")" = $'loss.svg\nmine_files\npage.html\npage_files' ] && [ -s "$dir/w/page_files/loss.svg" ]
say $? 'the figures of a page have a folder of their own'
cp "$dir/w/loss.svg" "$dir/w/mine_files/"
check 'a folder with a file of the user' 2 'mine_files/loss.svg is there' "$H" report "$dir/e.yaml" --out "$dir/w/mine.html"
[ "$(cat "$dir/w/mine_files/loss.svg")" = mine ]
say $? 'that file is left'
# names that once became one file, and names that gnuplot takes for formats: every variant has its own map, under its own name
spec=$(sed -n 's/.*hybrid, spec: \({.*}\), paper.*/\1/p' "$dir/e.yaml")
sed -e 's/^name: mini/name: 名前 50%d/' -e 's/name: Llama/name: "50% SSM"/; s/name: "A_1 <b>"/name: "50%d SSM"/; s/^seeds: .*/seeds: [1]/' \
  -e '/throughput:/d; /erf:/d' "$dir/e.yaml" >"$dir/p.yaml"
for name in A+B 'A B' A_B 窗口 全局; do sed -i "/name: hybrid/a\\  - {name: \"$name\", spec: $spec}" "$dir/p.yaml"; done
check 'run odd names' 0 '全局' "$H" run "$dir/p.yaml"
check 'plot odd names' 0 'recall' "$H" plot "$dir/p.yaml" --out "$dir/p" --formats svg,png
maps=0
while IFS='|' read -r file title; do
  grep -qF "attention maps of $title" "$dir/p/maps-$file.svg" && maps=$((maps + 1))
done <<'NAMES'
50.25_SSM|50% SSM
50.25d_SSM|50%d SSM
A.2bB|A+B
A_B|A B
A__B|A_B
窗口|窗口
全局|全局
NAMES
[ $maps = 7 ] && [ "$(find "$dir/p" -name 'maps-*.svg' | wc -l)" = 8 ]
say $? "each variant has its own map ($maps of 7)"
grep -qF '>50% SSM<' "$dir/p/recall.svg" && grep -qF '>50%d SSM<' "$dir/p/recall.svg"
say $? 'percent signs in names are drawn'
# a PNG is not ruined by a character that no font has
if command -v fc-list >/dev/null && [ -z "$(fc-list :charset=7a97)" ]; then
  check 'a font that is missing' 0 'no font here has .*窗' "$H" plot "$dir/p.yaml" --formats svg,png --out "$dir/p"
  grep -q '>窗口<' "$dir/p/recall.svg" && [ -z "$(ls "$dir/p" | grep tmp)" ]
  say $? 'the SVG has the name'
else
  echo 'skip a font that is missing (it is not, or fontconfig is)'
fi
check 'report of odd names' 0 'html' "$H" report "$dir/p.yaml" --out "$dir/p/r.html"
# names that differ in case only are told apart on every file system
sed -e 's/^name: .*/name: case/; s/name: "50% SSM"/name: Mix/; s/name: "50%d SSM"/name: mix/; /name: A/d; /name: "A/d; /name: 窗口/d' "$dir/p.yaml" >"$dir/c.yaml"
check 'run names in two cases' 0 'mix' "$H" run "$dir/c.yaml"
check 'plot names in two cases' 0 'maps-hybrid\.' "$H" plot "$dir/c.yaml" --figure maps --out "$dir/c" --formats svg
[ "$(ls "$dir/c" | tr A-Z a-z | sort -u | wc -l)" = "$(ls "$dir/c" | wc -l)" ] && grep -q 'maps of Mix<' "$dir"/c/maps-Mix..*.svg && grep -q 'maps of mix<' "$dir"/c/maps-mix..*.svg
say $? 'names that differ in case have files that differ in more'
check 'folder of odd names' 0 'figures/名前_50.25d/recall' "$H" plot "$dir/p.yaml" --figure recall --formats svg
check 'run with --set' 0 '全局' "$H" run "$dir/p.yaml" --set train.steps=3
check 'folder of --set' 0 'figures/名前_50.25d..set-[0-9a-f]{8}/recall' "$H" plot "$dir/p.yaml" --set train.steps=3 --figure recall --formats svg
cat >"$dir/n.yaml" <<'END'
name: needles
question: Where is it found?
variant: {vocab: 64, d_model: 8, mlp.d_ff: 8}
variants:
  - {name: Mamba, spec: {layers: 1, mixer: ssm, ssm: {d_state: 2, dt_rank: 1}}}
tasks:
  - {name: needle, kind: needle, options: {vocab: 64, train: 16, test: [8, 16], depths: [0, 0.5, 0.75, 1], test_examples: 3}}
seeds: [1]
train: {steps: 2, batch: 2, log_every: 1}
END
check 'run needles' 0 'Mamba' "$H" run "$dir/n.yaml"
check 'cells of needle' 0 'cells-Mamba' "$H" plot "$dir/n.yaml" --out "$dir/n" --formats svg
grep -q '>0.75<' "$dir/n/cells-Mamba.svg" && grep -q '>depth<' "$dir/n/cells-Mamba.svg"
say $? 'depths are on the figure'
# grid points are models of different size: a figure shows the timings of one of them, not their mean
sed -e 's/name: needles/name: sizes/' -e 's/^seeds:.*/seeds: [1]\ngrid: {variant.d_model: [8, 64]}\nmeasures: {throughput: {contexts: [8], repetitions: 5, prefill: false, decode: false}}/' "$dir/n.yaml" >"$dir/s.yaml"
check 'run sizes' 0 'd_model=64' "$H" run "$dir/s.yaml"
check 'timings of sizes' 0 'throughput' "$H" plot "$dir/s.yaml" --figure throughput --out "$dir/s" --formats svg
grep -q '1 timed run, batch 1' "$dir/s/throughput.svg"
say $? 'one grid point is timed'
value=$(awk '!/^#/ && NF >= 2 {print $2; exit}' "$dir/s/throughput.dat")
"$H" show sql "SELECT median FROM v_timing WHERE abs(median - $value) < 1e-4 * median" --format csv | grep -q '^[0-9]'
say $? "the timing shown ($value) is that of a run"
# learning rates: the chosen one of each variant with what is held out, and the figure of all of them
sed -e 's/name: mini/name: rates/' -e '/^measures/,$d' -e 's/^train:.*/grid: {train.lr: [1e-3, 1e-2]}\ntune: {by: loss}\ntrain: {steps: 3, batch: 2, stop_accuracy: 1, eval_every: 1}/' "$dir/e.yaml" >"$dir/r.yaml"
check 'run rates' 0 'loss, held out' "$H" run "$dir/r.yaml"
check 'how a rate was chosen' 0 "of the grid's 2 points, the one of the best mean loss over the same seeds" "$H" run "$dir/r.yaml"
check 'runs that never reach train.stop_accuracy' 0 '^Llama,lr=[^,]*,2,[01],2,2,2,0,.*,0.0,2,0.00144' "$H" run "$dir/r.yaml" --format csv
check 'plot rates' 0 'grid' "$H" plot "$dir/r.yaml" --out "$dir/r" --formats svg
grep -q '>learning rate' "$dir/r/grid.svg" && grep -q '12 runs, 2 seeds each' "$dir/r/grid.svg"
say $? 'all rates are on the figure'
grep -q 'best of 2 grid points by mean loss' "$dir/r/loss.svg"
say $? 'a figure of chosen rates says so'
check 'report of rates' 0 'r.html' "$H" report "$dir/r.yaml" --out "$dir/r/r.html"
grep -q 'told apart in held-out loss' "$dir/r/r.html" && grep -q 'loss, held out' "$dir/r/r.html"
say $? 'the report has what is held out'
# timings taken while another program has the processor say so
if [ -r /proc/self/schedstat ] && command -v taskset >/dev/null; then
  [ "$("$H" show sql "SELECT count(*) FROM v_final WHERE metric LIKE 'throughput%' AND json_extract(meta, '\$.waited') BETWEEN 0 AND 1" --format csv | tail -n 1 | tr -d '\r')" = 20 ]
  say $? 'every timing has its share of waiting'
  cpu=$(taskset -cp $$ | sed 's/.*: //; s/[,-].*//')
  sed -e 's/name: sizes/name: busy/' -e '/^grid/d' -e 's/contexts: .8., repetitions: 5/contexts: [512], batch: [4], repetitions: 40/' "$dir/s.yaml" >"$dir/b.yaml"
  taskset -c "$cpu" sh -c 'while :; do :; done' &
  other=$!
  check 'disturbed timings' 0 'throughput is disturbed' taskset -c "$cpu" "$H" run "$dir/b.yaml" --threads 1
  kill $other
  wait $other 2>/dev/null
  check 'report of disturbed timings' 0 'r.html' "$H" report "$dir/b.yaml" --out "$dir/b/r.html"
  grep -q 'Throughput is disturbed' "$dir/b/r.html"
  say $? 'the report says so'
fi
check 'which experiment' 2 'mini, .*needles, sizes' "$H" plot
check 'no gnuplot' 1 'apt-get install gnuplot-nox' env PATH=/nonexistent "$H" plot "$dir/e.yaml" --out "$dir/none"
check 'no gnuplot, report' 1 'apt-get install gnuplot-nox' env PATH=/nonexistent "$H" report "$dir/e.yaml" --figures "$dir/none"
check 'no such figure' 2 'accuracy-cache, accuracy-throughput' "$H" plot "$dir/e.yaml" --figure recal
check 'no such format' 2 'svg, png, pdf' "$H" plot "$dir/e.yaml" --formats jpg
check 'no such experiment' 2 'It holds: mini' "$H" plot --experiment other
check 'no such scale' 2 'scale' "$H" plot "$dir/e.yaml" --scale huge
check 'no database' 2 'none.db' "$H" report "$dir/e.yaml" --db "$dir/none.db"
check 'help' 0 'accuracy-cache +accuracy against cache' "$H" plot --help
check 'help of report' 0 'hylab report' "$H" report --help
# a format that cannot be written: an error, and the picture that was there is left alone
if [ "$(id -u)" != 0 ]; then
  chmod a-w "$dir/f"
  check 'read-only folder' 2 'cannot create' "$H" plot "$dir/e.yaml" --out "$dir/f" --figure loss
  chmod u+w "$dir/f"
fi
exit $bad
