#!/usr/bin/env bash
# make install into a folder, and back out of it: the program runs from there and knows its version, the man page has every command and
# option of the help texts, what comes with hylab lies where its own paths find it, and nothing is left behind.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ok() { # name, status of the command before
  if [ "$2" = 0 ]; then echo "ok $1"; else echo "not ok $1"; bad=1; fi
}
export BUILD=${BUILD:-build/release}
unset MAKEFLAGS MFLAGS MAKELEVEL
# as it was built: nothing of it is made again
made() { make --no-print-directory -o "$BUILD/hylab" BUILD="$BUILD" PREFIX=/usr DESTDIR="$tmp/root" "$@" >"$tmp/log" 2>&1 || { tail -5 "$tmp/log"; return 1; }; }
made install
ok "make install" $?
root=$tmp/root/usr
version=$(sed -n 's/^#define HY_VERSION "\(.*\)".*/\1/p' core/base/version.h)
check "its version" 0 "^hylab ${version//./\\.} \\(commit ([0-9a-f]{12}|unknown)( with local changes)?, .+\\)$" "$root/bin/hylab" --version
grep -q "^## \[$version\]" CHANGELOG.md
ok "CHANGELOG.md has that version" $?
(cd "$root/share/hylab" && "$root/bin/hylab" run experiments/roadmap/roadmap.yaml --db "$tmp/x.db" --dry-run >"$tmp/log" 2>&1)
ok "an experiment that came with it is read where it was put" $?
cmp -s LICENSE "$root/share/doc/hylab/LICENSE" && grep -q 'Apache License' LICENSE
ok "the licence" $?

page=$root/share/man/man1/hylab.1
for c in $(sed -n 's/^X(\([a-z]*\),.*/\1/p' experiments/cli/commands.def); do
  missing=$(grep -q "^.SS \"hylab $c\"" "$page" || echo "$c")
  for o in $("$root/bin/hylab" "$c" --help | grep -oE '^  --[a-z-]+' | sort -u); do
    sed -n "/^.SS \"hylab $c\"/,/^.S[SH] /p" "$page" | grep -qF -- "${o//-/\\-}" || missing="$missing $c $o"
  done
  [ -z "$missing" ]
  ok "man page: $c" $?
  [ -z "$missing" ] || echo "  missing: $missing"
done
if command -v groff >/dev/null; then
  out=$(groff -man -ww -z -Tutf8 "$page" 2>&1)
  [ -z "$out" ]
  ok "man page: groff has nothing to say" $?
  [ -z "$out" ] || echo "$out" | head -5
else echo "skip man page: groff has nothing to say (no groff)"; fi

made uninstall
left=$(find "$tmp/root" -type f)
[ -z "$left" ]
ok "make uninstall leaves nothing" $?
exit $bad
