#!/usr/bin/env bash
# hylab task: what it prints, its formats and exit statuses.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
. tests/check.sh
check kinds 0 '^needle ' "$H" task
check help 0 'hylab task mqar' "$H" task --help
for kind in mqar induction selective_copy needle markov text; do check "fields of $kind" 0 "^  train " "$H" task $kind --show 0; done
check example 0 '^example 0 of train cell T32.K4' "$H" task mqar --set 'train=[[32, 4]]' --show 1
check text 0 'label .* sp' "$H" task text --set path=tests/data/shakespeare-100k.txt --split eval --show 1
# an image of 2 x 2 pixels, drawn: two characters a pixel, black and white
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
{ printf '\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2'; printf '\0\377\377\0%.0s' 1 2; } >"$dir/train-images-idx3-ubyte"
printf '\0\0\10\1\0\0\0\2\3\3' >"$dir/train-labels-idx1-ubyte"
images=(images --set "path=$dir" --set validation=0.5 --set tuning=0)
check image 0 '^  \|  @@\|$' "$H" task "${images[@]}" --show 1
check 'image, other row' 0 '^  \|@@  \|$' "$H" task "${images[@]}" --show 1
check 'class of the image' 0 'wanted at position 4: class 3' "$H" task "${images[@]}" --show 1
check 'fields of images' 0 '^  downsample ' "$H" task images
check mnist1d 0 'wanted at position 40: class 0' "$H" task mnist1d --show 1
check 'fields of speech' 0 '^  decimate ' "$H" task speech
check 'no recordings' 2 'no folder in it has a .wav file' "$H" task speech --set "path=$dir"
check 'no images' 2 'no train-images-idx3-ubyte' "$H" task images --set path=/nonexistent
check csv 0 '^eval,len128.depth0.00,0,127,[0-9]+,[0-9]+' "$H" task needle --split eval --show 1 --format csv
check json 0 '"labels": \[null' "$H" task induction --show 1 --format json
check 'no kind' 2 'there are mqar' "$H" task mqr
check 'unknown field' 2 'did you mean' "$H" task mqar --set vocabs=100
check 'no value' 2 'name=value' "$H" task mqar --set vocab
check 'impossible' 2 'at least 68' "$H" task mqar --set 'train=[[64, 17]]'
check 'no file' 2 'No such file' "$H" task text --set path=/nonexistent
check 'split' 2 'train, eval or tune' "$H" task mqar --split test
if [ -w /dev/full ]; then check 'full disk' 1 'task' bash -c "$H task mqar --show 1 --format csv >/dev/full"; fi
exit $bad
