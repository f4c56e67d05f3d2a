#!/usr/bin/env bash
# The page of hylab report in a browser, without a window: no error, every picture shown, no text cut off or beyond the page on a narrow
# and a wide screen, contrast of all text in light and dark, figures that open large, links, headings (page_check.js).
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-./hylab}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
browser=
for b in chromium chromium-browser google-chrome; do
  if [ -z "$browser" ] && command -v $b >/dev/null; then browser=$b; fi
done
if [ -z "$browser" ]; then
  echo 'skip page in a browser (no chromium, chromium-browser or google-chrome is installed)'
  exit 0
fi
if ! command -v gnuplot >/dev/null; then
  echo 'skip page in a browser (gnuplot is not installed)'
  exit 0
fi
cat >"$dir/e.yaml" <<'END'
name: page
question: "Is <this> shown, andthiswordthatisfarlongerthananyscreenofatelephoneiswideevenifitisturnedonitssideandheldveryfaraway too?"
variant: {vocab: 64, d_model: 8, mlp.d_ff: 8}
variants:
  - {name: Llama with a name that is far longer than there is room for, spec: {layers: 2, mixer: attention, attention: {heads: 2, kv_heads: 2}}, paper: {recall: 40, cache_mb: 400}}
  - {name: "A_1 <b>", spec: {layers: 2, mixer: ssm, ssm: {d_state: 2, dt_rank: 1}}, paper: {recall: 19, cache_mb: 2}}
  - {name: hybrid, spec: {layers: 2, mixer: parallel, meta_tokens: 2, attention: {heads: 2, kv_heads: 1, window: 4}, ssm: {d_state: 2, dt_rank: 1}}}
tasks:
  - {name: mqar, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2], [24, 4]], train_examples: 50, test_examples: 4}}
  - {name: needle, kind: needle, options: {vocab: 64, train: 16, test: [8, 16], depths: [0, 0.5, 0.75, 1], test_examples: 3}}
seeds: [1]
grid: {train.lr: [1e-3, 1e-2]}
train: {steps: 4, batch: 2, log_every: 1}
measures:
  cache: {tokens: 100}
  throughput: {contexts: [8, 16], repetitions: 5, decode_tokens: 1}
  maps: {examples: 1}
  erf: {examples: 2}
  outputs: {examples: 2}
  stream: {examples: 2}
  ablation: {examples: 2}
  removal: {examples: 2, reference: 2}
  kv_similarity: {examples: 2}
  reach: {examples: 2}
END
export HYLAB_DB=$dir/r.db
check run 0 'hybrid' "$H" run "$dir/e.yaml" --jobs 2 --threads 2
check report 0 'page.html' "$H" report "$dir/e.yaml" --out "$dir/page.html"
figures=$(grep -c '<figure ' "$dir/page.html")
open=$(sed -n '/<div class="row">/{n;s/<figure id="\([^"]*\)".*/\1/p;q}' "$dir/page.html")
[ -n "$open" ]
say $? 'there is a row of figures'
frame() { # name, width, figure to open: a copy of the page that looks at itself, and a frame of that width around it
  {
    sed 's#</body></html>$##' "$dir/page.html"
    echo "<script>const want = {width: $2, dark: $dark, open: '${3:-}'};"
    cat tests/cli/page_check.js
    echo '</script></body></html>'
  } >"$dir/$1.html"
  echo "<iframe name=\"$1\" src=\"$1.html${3:+#$3}\" style=\"width:$2px;height:900px;border:0\"></iframe>"
}
for scheme in light dark; do
  dark=$([ $scheme = dark ] && echo true || echo false)
  {
    echo '<!DOCTYPE html><html lang="en"><body>'
    frame $scheme-narrow 360
    frame $scheme-wide 1280
    frame $scheme-large 1280 "$open"
    frame $scheme-narrow-large 360 "$open"
    echo '<script>addEventListener("load", () => { for (const f of document.querySelectorAll("iframe")) {'
    echo '  const p = document.createElement("pre"), found = f.contentDocument.getElementById("found");'
    echo '  p.textContent = found.textContent.replace(/^/gm, f.name + " "), f.after(p); } });</script></body></html>'
  } >"$dir/$scheme.html"
  timeout 300 "$browser" --headless --no-sandbox --disable-gpu --no-first-run --disable-extensions --user-data-dir="$dir/profile" \
    --allow-file-access-from-files --blink-settings=preferredColorScheme="$([ "$scheme" = dark ] && echo 0 || echo 1)" --enable-logging=stderr \
    --window-size=1400,1000 --dump-dom "file://$dir/$scheme.html" >"$dir/$scheme.out" 2>"$dir/$scheme.err"
  sed -i 's/<[^>]*>//g' "$dir/$scheme.out"
  for at in narrow wide large narrow-large; do
    name=$scheme-$at
    grep -q "^$name CHECKED $figures\$" "$dir/$scheme.out"
    say $? "$name was looked at" "$(tail -n 3 "$dir/$scheme.err")"
    finds=$(grep "^$name FOUND" "$dir/$scheme.out" | sort | uniq -c | sort -rn | head -8)
    [ -z "$finds" ]
    say $? "$name has no fault" "$finds"
  done
  errors=$(grep CONSOLE "$dir/$scheme.err" | head -3)
  [ -z "$errors" ]
  say $? "$scheme: nothing on the console" "$errors"
done
exit $bad
