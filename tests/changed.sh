# changed.sh - sourced by the tests of readers of config.json: copies of a golden folder with one thing changed. Wants $golden, $tmp and
# $hylab; bad is 1 once something failed.
bad=0
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; echo "  $2"; bad=1; }

# NAME, sed script for config.json, exit status, words of the output
changed() {
  local name=$1 script=$2 want=$3 rc
  shift 3
  rm -rf "$tmp/d"
  cp -r "$golden" "$tmp/d"
  sed -i -z "$script" "$tmp/d/config.json" # -z: lists go over lines
  cmp -s "$tmp/d/config.json" "$golden/config.json" && { not_ok "$name" "the script changed nothing"; return; }
  "$hylab" verify "$tmp/d" --isa base --threads 1 >"$tmp/out" 2>&1
  rc=$?
  [ $rc = "$want" ] || { not_ok "$name" "exit $rc instead of $want: $(tail -3 "$tmp/out")"; return; }
  for word in "$@"; do grep -qF -- "$word" "$tmp/out" || { not_ok "$name" "no \"$word\" in: $(tail -3 "$tmp/out")"; return; }; done
  ok "$name"
}
