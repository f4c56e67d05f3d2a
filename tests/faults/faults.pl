#!/usr/bin/perl
# faults.pl - reads lists of planted faults (tests/faults/README.md) for faults.sh. Needs nothing beyond perl-base.
#   list TREE SELECT SAMPLE DAY LIST...   each fault on a line: number, area/name, tests, what it breaks, list:line
#   check TREE LIST...                    every fault applies to the tree and names tests that are there; else why not, status 1
#   plant TREE SAVED NUMBER LIST...       applies one; the old files are kept under SAVED, their names are printed
use strict;
use warnings;

my ($mode, $tree, @rest) = @ARGV;

sub slurp {
    my ($path) = @_;
    open(my $f, '<:raw', $path) or return undef;
    local $/;
    my $text = <$f>;
    return defined $text ? $text : '';
}

# Every fault of the lists: { number, area, name, tests, what, at, hunks => [{ file, old, new, at }] }
sub read_lists {
    my (@lists) = @_;
    my (@faults, @errors, %seen);
    for my $list (@lists) {
        my ($area) = $list =~ m{([^/]+)\.faults$} or do { push @errors, "$list: the name of a list ends in .faults"; next };
        my $text = slurp($list);
        if (!defined $text) { push @errors, "$list: $!"; next }
        my ($fault, $file, $hunk, $line) = (undef, undef, undef, 0);
        for (split /\n/, $text, -1) {
            my $at = "$list:" . ++$line;
            if (/^\@ +(\S+) +(\S+) +(\S.*)$/) {
                $fault = { number => scalar(@faults), area => $area, name => $1, tests => [split /,/, $2], what => $3, at => $at, hunks => [] };
                push @errors, "$at: a second fault with the name $area/$1" if $seen{"$area/$1"}++;
                push @faults, $fault;
                ($file, $hunk) = (undef, undef);
            } elsif (/^= +(\S+)$/ && $fault) {
                ($file, $hunk) = ($1, undef);
            } elsif (/^-(.*)$/s && $file) {
                if (!$hunk || $hunk->{closed}) {
                    $hunk = { file => $file, old => [], new => [], at => $at };
                    push @{ $fault->{hunks} }, $hunk;
                }
                push @{ $hunk->{old} }, $1;
            } elsif (/^\+(.*)$/s && $hunk) {
                push @{ $hunk->{new} }, $1;
                $hunk->{closed} = 1;
            } elsif (/^\s*$/) {
                $hunk->{closed} = 1 if $hunk;
            } elsif (!/^#/) {
                push @errors, "$at: not a line of a list (\@ NAME TESTS WHAT, = FILE, -OLD, +NEW, # comment): $_";
            }
        }
    }
    for my $f (@faults) { push @errors, "$f->{at}: $f->{area}/$f->{name} changes nothing" if !@{ $f->{hunks} } }
    return (\@faults, \@errors);
}

# The files of a fault with it in them: { file => text }, or why it does not apply.
sub apply {
    my ($fault, $cache) = @_;
    my %files;
    for my $h (@{ $fault->{hunks} }) {
        my $file = $h->{file};
        return "$h->{at}: $fault->{area}/$fault->{name}: $file leaves the tree" if $file =~ m{^/|(^|/)\.\.(/|$)};
        $cache->{$file} = slurp("$tree/$file") if !exists $cache->{$file};
        my $text = exists $files{$file} ? $files{$file} : $cache->{$file};
        return "$h->{at}: $fault->{area}/$fault->{name}: there is no file $file" if !defined $text;
        my $old = join('', map { "$_\n" } @{ $h->{old} });
        my $new = join('', map { "$_\n" } @{ $h->{new} });
        return "$h->{at}: $fault->{area}/$fault->{name}: old and new lines are the same" if $old eq $new;
        my ($n, $at, $from) = (0, -1, 0);
        while ((my $i = index($text, $old, $from)) >= 0) {
            if ($i == 0 || substr($text, $i - 1, 1) eq "\n") { $n++; $at = $i }
            $from = $i + 1;
        }
        return "$h->{at}: $fault->{area}/$fault->{name}: its old lines are in $file $n times, not once" if $n != 1;
        substr($text, $at, length $old) = $new;
        $files{$file} = $text;
    }
    return (undef, \%files);
}

sub test_exists {
    my ($t) = @_;
    return -f "$tree/tests/cli/$t" if $t =~ /\.sh$/;
    return -f "$tree/tests/unit/$t.c" || -f "$tree/tests/unit/$t.cc" if $t =~ /^test_/;
    return $t =~ /^emu_(.*)$/ && -f "$tree/tests/unit/test_$1.c";
}

sub check {
    my ($faults, $errors) = @_;
    my %cache;
    for my $f (@$faults) {
        my ($why) = apply($f, \%cache);
        push @$errors, $why if defined $why;
        for (@{ $f->{tests} }) { push @$errors, "$f->{at}: $f->{area}/$f->{name}: there is no test $_" if !test_exists($_) }
    }
    print STDERR "$_\n" for @$errors;
    return @$errors ? 1 : 0;
}

# An order in which neighbours of a list lie far apart, the same every day: a sample then has faults of several areas.
sub scatter {
    my ($text) = @_;
    my $h = 2166136261;
    $h = (($h ^ ord($_)) * 16777619) & 0xffffffff for split //, $text;
    return $h;
}

sub list {
    my ($faults, $select, $sample, $day) = @_;
    my @chosen = @$faults;
    my @parts = split ' ', $select;
    @chosen = grep { my $n = "$_->{area}/$_->{name}"; grep { index($n, $_) >= 0 } @parts } @chosen if @parts;
    if ($sample ne '' && $sample < @chosen) {
        my @order = sort { scatter("$a->{area}/$a->{name}") <=> scatter("$b->{area}/$b->{name}") } @chosen;
        @chosen = map { $order[($day * $sample + $_) % @order] } 0 .. $sample - 1;
    }
    print join("\t", $_->{number}, "$_->{area}/$_->{name}", join(' ', @{ $_->{tests} }), $_->{what}, $_->{at}), "\n" for @chosen;
}

sub plant {
    my ($faults, $saved, $number) = @_;
    my ($why, $files) = apply($faults->[$number], {});
    if (defined $why) { print STDERR "$why\n"; return 1 }
    for my $file (sort keys %$files) {
        my $path = $saved;
        for (split m{/}, $file) { mkdir $path; $path .= "/$_" }
        for ([$path, slurp("$tree/$file")], ["$tree/$file", $files->{$file}]) {
            my $f;
            if (!(open($f, '>:raw', $_->[0]) && print($f $_->[1]) && close $f)) { print STDERR "$_->[0]: $!\n"; return 1 }
        }
        print "$file\n";
    }
    return 0;
}

my @own = splice @rest, 0, { list => 3, check => 0, plant => 2 }->{$mode};
my ($faults, $errors) = read_lists(@rest);
exit check($faults, $errors) if $mode eq 'check';
if (@$errors) { print STDERR "$_\n" for @$errors; exit 1 }
if ($mode eq 'list') { list($faults, @own) } else { exit plant($faults, @own) }
