#!/usr/bin/env bash
# man.sh - writes hylab(1) to standard output: what `hylab --help` and each command's --help say, so what commands.def lists. `make man`.
#   man.sh ./hylab
set -eu
hylab=${1:?usage: man.sh PROGRAM}
version=$("$hylab" --version | cut -d' ' -f2)
commands=$("$hylab" --help | sed -n 's/^  \([a-z]*\)  *.*/\1/p')

# One help text: its usage line is the synopsis, indented rows after "options:" are tagged, other indented lines stay as they are.
page() { # name of the command or ""
  awk -v command="$1" '
    function text(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); gsub(/`/, "\\(ga", s); gsub(/\^/, "\\(ha", s); gsub(/~/, "\\(ti", s)
                       return s ~ /^[.\x27]/ ? "\\&" s : s }
    function verbatim(on) { if (on != kept) print on ? ".PP\n.RS 4\n.nf" : ".fi\n.RE"; kept = on }
    /^usage: / { sub(/^usage: /, ""); if (command != "") { print ".PP\n.nf\n.B " text($0) "\n.fi" } else print text($0); next }
    /^ +hylab .*options|^       hylab/ && NR < 4 { print ".PP\n.nf\n.B " text($0) "\n.fi"; next }
    /^options:/ { verbatim(0); options = 1; print ".PP\nOptions:"; next }
    /^[a-z ]+:$/ { verbatim(0); options = 0; print ".PP\n" toupper(substr($0, 1, 1)) text(substr($0, 2)); next }
    /^ *$/ { blank = 1; next }
    options && /^  --/ {
      at = index($0, " "); line = substr($0, 3)
      if (length($0) > 29 && substr($0, 28, 1) == " ") { name = substr(line, 1, 26); what = substr($0, 30) }
      else { match(line, /^[^ ]+ [^ ]+ /); name = substr(line, 1, RLENGTH); what = substr(line, RLENGTH + 1) }
      sub(/ +$/, "", name); sub(/^ +/, "", what)
      print ".TP\n.B " text(name) "\n" text(what); next
    }
    /^  / { verbatim(1); print text(substr($0, 3)); blank = 0; next }
    { verbatim(0); if (blank) print ".PP"; blank = 0; print text($0) }
    END { verbatim(0) }'
}

ascii() { perl -CS -pe 's/([^\x00-\x7f])/sprintf "\\[u%04X]", ord $1/ge'; }
{
cat <<END
.\" made by experiments/cli/man.sh from the help texts
.TH HYLAB 1 "" "hylab $version" "User Commands"
.SH NAME
hylab \- build, train, measure and compare hybrid\-head language models
.SH SYNOPSIS
.B hylab
.I COMMAND
.RI [ options ]
.SH DESCRIPTION
.B hylab
builds language models out of attention and state space heads from a YAML file, trains them, measures them and keeps the results in a
database, from which it makes tables, figures and pages.
Every command explains itself:
.BR "hylab \fICOMMAND\fP \-\-help" .
.SH COMMANDS
END
for c in $commands; do
  "$hylab" --help | sed -n "s/^  $c  *\(.*\)/.SS \"hylab $c\"\n\1/p" | sed '2{s/\\/\\e/g; s/-/\\-/g; s/\([^.;?!]\)$/\1./}'
  "$hylab" "$c" --help | page "$c"
done
cat <<'END'
.SH EXIT STATUS
0 done, 1 the work failed, 2 bad usage or input, 130 interrupted, 141 nobody reads the output.
.SH ENVIRONMENT
.TP
.B HYLAB_DB
the results database where \-\-db is not given (else runs/hylab.db)
.TP
.B HYLAB_DEVICE
where to run where \-\-device is not given: cpu, cuda, cuda:N or auto
.SH FILES
Variants and experiments that come with hylab are installed below
.IR PREFIX/share/hylab .
END
} | ascii
