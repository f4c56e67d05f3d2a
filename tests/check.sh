# check.sh - sourced by the tests of commands: check, say, same, and bad (1 once something failed).
bad=0
say() { # status, name, what is wrong if it is not 0 (may be left out)
  if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2${3:+: $3}"; bad=1; fi
}
same() { # found, wanted, name
  if [ "$1" = "$2" ]; then echo "ok $3"; else echo "not ok $3: \"$1\", wanted \"$2\""; bad=1; fi
}
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
