#!/usr/bin/env bash
# Planted faults (tests/faults): every one of the lists applies to this tree; the tool tells killed, misnamed, surviving and broken ones
# apart, in a tree of its own that builds at once; and some of the lists' faults, others each day, are killed here.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
tool=$PWD/tests/faults/faults.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
check "every planted fault applies" 0 '^[0-9]+ faults apply$' "$tool" --check

# ---- a tree with a program of two lines that can be wrong and two tests
mkdir -p "$tmp/tests/faults" "$tmp/tests/cli" "$tmp/tests/unit" "$tmp/core"
printf 'int add(int a, int b) {\n    return a + b;\n}\nint twice(int a) {\n    return 2 * a;\n}\nint idle(void) {\n    return 7;\n}\n' >"$tmp/core/sum.h"
cat >"$tmp/Makefile" <<'END'
$(BUILD)/tests/%: tests/unit/%.c core/sum.h
	@mkdir -p $(@D)
	$(CC) $(if $(WERROR),-Wall -Wextra -Werror) -I. -o $@ $<
END
printf '#include "core/sum.h"\n#include <stdio.h>\n#include <unistd.h>\nint main(void) {\n    puts(add(2, 3) == 5 ? "ok add" : "not ok add");\n    fflush(stdout);\n    while (add(2, 3) != 5) pause();\n    return 0;\n}\n' >"$tmp/tests/unit/test_add.c"
printf '#include "core/sum.h"\nint puts(const char *);\nint main(void) { puts("ok twice"); return twice(4) != 8; }\n' >"$tmp/tests/unit/test_twice.c"
cp tests/run.sh "$tmp/tests"
fault() { printf '@ %s  %s  %s\n= core/sum.h\n-%s\n%s\n' "$1" "$2" "what it is" "$3" "${4:+"+$4"}"; }
run() { BUILD=build "$tool" --tree "$tmp" "$@"; }
{ fault sub test_add '    return a + b;' '    return a - b;'; fault odd test_twice '    return 2 * a;' '    return a * 2 + 1;'; } >"$tmp/tests/faults/good.faults"
check "killed faults, status 0" 0 'all +2 +2 +0 +0 +0' run
check "a test is stopped at its first red case" 0 'good/sub killed by test_add \(' run good/sub
check "chosen by name" 0 'all +1 +1 +0 +0 +0' run good/su
check "a sample" 0 'all +1 +1 +0 +0 +0' run --sample 1 --day 3
fault leftover test_add '    return a + b;' '    return a;' >"$tmp/tests/faults/warned.faults"
check "a fault may leave a warning where warnings are errors" 0 'warned/leftover killed by test_add' env WERROR=1 BUILD=build "$tool" --tree "$tmp" warned/
rm "$tmp/tests/faults/warned.faults"
sample() { run --sample 1 --day "$1" | grep -oE 'good/[a-z]+ killed'; }
if [ "$(sample 4)" != "$(sample 5)" ]; then echo "ok a sample is another each day"; else echo "not ok a sample is another each day"; bad=1; fi
if grep -q 'return a + b;' "$tmp"/build/faults/w1/core/sum.h && cmp -s "$tmp/core/sum.h" "$tmp/build/faults/w2/core/sum.h"; then
  echo "ok the copies are as they were"
else echo "not ok the copies are as they were"; bad=1; fi
run >/dev/null 2>&1 && rm "$tmp"/build/faults/run/results/1
check "a run that was broken off goes on" 0 'going on; 1 were seen killed before' run --resume
check "and plants the rest only" 0 '^2$' sh -c "ls '$tmp'/build/faults/run/results | wc -l"
resumed() { run --resume | grep -cE '^\[' ; }
check "of one that is done, nothing" 1 '^0$' resumed
printf '\n' >>"$tmp/core/sum.h"
check "of another tree, all" 0 'all are planted' run --resume
fault hang test_add '    return a + b;' '    for (;;) { }' >"$tmp/tests/faults/bad.faults"
FAULTS_SECONDS=2 check "one that never ends" 0 'bad/hang killed by test_add, which had to be stopped' run bad/
fault never test_add '    return 7;' '    return 8;' >"$tmp/tests/faults/bad.faults"
check "a survivor, status 1" 1 'survived +bad/never .*no test sees it' run
fault other test_add '    return 2 * a;' '    return a;' >"$tmp/tests/faults/bad.faults"
check "seen by another test only" 1 'misnamed +bad/other .*test_add stays green, but test_twice sees it' run bad/
fault other test_add '    return 2 * a;' '    return a;' >"$tmp/tests/faults/bad.faults"
check "others need not be tried" 1 'survived +bad/other' run --named-only bad/
fault text test_add '    return 2 * a;' '    return 2 *;' >"$tmp/tests/faults/bad.faults"
check "one that does not compile" 1 'error +bad/text .*does not compile: .*error' run bad/
fault gone test_add '    return 3 * a;' '    return a;' >"$tmp/tests/faults/bad.faults"
check "one that no longer applies" 1 'bad/gone: its old lines are in core/sum.h 0 times, not once' run --check
fault many test_add '}' ')' >"$tmp/tests/faults/bad.faults"
check "one that is not at one place" 1 '3 times, not once' run --check
fault file test_none '    return 2 * a;' '    return a;' >"$tmp/tests/faults/bad.faults"
check "a test that is not there" 1 'bad/file: there is no test test_none' run --check
printf 'core/sum.h\n' >"$tmp/tests/faults/bad.faults"
check "a line that is none of a list" 1 'bad.faults:1: not a line of a list' run --check
rm "$tmp/tests/faults/bad.faults"
printf '#include "core/sum.h"\nint main(void) { return 1; }\n' >"$tmp/tests/unit/test_add.c"
check "a test that is red without a fault" 2 'test_add is red without any fault' run good/sub

# ---- some of the lists: not under sanitizers (another build), not where a build is being tested that make did not make here
case ${BUILD:-build/release} in
  *release)
    if [ -f "${BUILD:-build/release}/libhylab.a" ]; then
      export BUILD
      check "faults of today" 0 'all +([0-9]+) +\1 +0 +0 +0' "$tool" --named-only --quick --sample "${FAULTS_SAMPLE:-3}"
    else echo "skip faults of today: no build to start from"; fi
    ;;
  *) echo "skip faults of today: only in build/release" ;;
esac
exit $bad
