# check.sh - sourced by the tests of commands: check, and bad (1 once something failed).
bad=0
check() { # name, wanted exit status, pattern that the output must hold, command
  local name=$1 want=$2 pattern=$3 out rc
  shift 3
  out=$("$@" 2>&1)
  rc=$?
  out=${out//$'\r'/} # csv lines end in CR LF
  if [ $rc = "$want" ] && grep -qE -- "$pattern" <<<"$out"; then echo "ok $name"; else
    echo "not ok $name (exit $rc, wanted $want and /$pattern/)"
    echo "$out" | head -20
    bad=1
  fi
}
