#!/usr/bin/env bash
# hylab tokenize, generate with a folder's tokenizer, and text tasks with tokenizers, as a user types them.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
G=tests/golden/tokenizers
. tests/check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
same() { # name, wanted output, command
  local name=$1 want=$2 out
  shift 2
  out=$("$@" 2>&1)
  if [ "$out" = "$want" ]; then echo "ok $name"; else echo "not ok $name: \"$out\", wanted \"$want\""; bad=1; fi
}
check help 0 'hylab tokenize models/hymba' "$H" tokenize --help
check table 0 'Ġthe' "$H" tokenize $G/llama3.json "in the end"
same 'ids of bytes' '104 195 169' "$H" tokenize bytes --ids $'h\xc3\xa9'
same 'bytes back' 'hé' "$H" tokenize bytes --decode "104 195 169"
same 'ids in several lines' 'hihi' bash -c "printf '104 105\n\n104,\r\n 105\n' | $H tokenize bytes --decode"
same 'a list of ids' 'hi' "$H" tokenize bytes --decode ' [104, 105] '
check 'two lists of ids' 2 'follows the list of ids' bash -c "printf '[104]\n[105]\n' | $H tokenize bytes --decode"
check 'half a list of ids' 2 'does not end' "$H" tokenize bytes --decode '[104, 105'
check 'zeros among ids' 2 'follows the list' bash -c "printf '104\000 105' | $H tokenize bytes --decode"
same 'half a character' $'h\xef\xbf\xbd' "$H" tokenize bytes --decode "104 195"
check count 0 '^byte-level BPE,.*,8,' "$H" tokenize $G/llama3.json --count --format csv "12345678"
check pieces 0 '^\["<\|begin_of_text\|>", "1' "$H" tokenize $G/llama3.json --pieces "123"
check 'without special' 0 '^\["1' "$H" tokenize $G/llama3.json --pieces --no-special "123"
for f in llama2.json hymba-first.json llama3.json qwen2.json gptneox.json falcon.json sp-bpe.model; do
  # ids and text of the goldens' strings through the command, in lines
  sed -n '1~3p' $G/${f%.*}.golden >"$dir/in"
  sed -n '2~3p' $G/${f%.*}.golden >"$dir/want"
  check "lines of $f" 0 '' bash -c "$H tokenize $G/$f --lines <$dir/in >$dir/ids && cmp $dir/ids $dir/want"
done
check 'bad text' 2 'byte 0xFF at offset 1' "$H" tokenize $G/llama3.json --ids $'a\xff'
check 'bad line' 2 'line 1: a JSON string is wanted' bash -c "echo '[1]' | $H tokenize $G/llama3.json --lines"
check 'lone surrogate' 2 'line 1' bash -c "echo '\"\\ud800\"' | $H tokenize $G/llama3.json --lines"
check 'no such file' 2 'No such file' "$H" tokenize /nonexistent x
check 'not a model' 2 'not a SentencePiece model' "$H" tokenize README.md x
check 'empty folder' 2 'neither tokenizer.json nor tokenizer.model' "$H" tokenize "$dir" x
# a byte order mark is no text, but to bytes
hi=$("$H" tokenize $G/llama3.json --ids --no-special hi)
same 'a byte order mark' "$hi" bash -c "printf '\xef\xbb\xbfhi' | $H tokenize $G/llama3.json --ids --no-special"
same 'a byte order mark before lines' "[${hi// /, }]" bash -c "printf '\xef\xbb\xbf\"hi\"\n' | $H tokenize $G/llama3.json --no-special --lines"
same 'bytes are bytes' '239 187 191 104' bash -c "printf '\xef\xbb\xbfh' | $H tokenize bytes --ids"
check 'UTF-16' 2 'byte order mark of UTF-16: save it as UTF-8' bash -c "printf '\xff\xfeh\0' | $H tokenize $G/llama3.json --ids"
printf '\xef\xbb\xbf%s' "$(cat $G/wordlevel.json)" >"$dir/mark.json"
same 'a byte order mark in tokenizer.json' "$("$H" tokenize $G/wordlevel.json --ids 'the end')" "$H" tokenize "$dir/mark.json" --ids 'the end'
check 'kind of words' 0 '^WordPiece,' "$H" tokenize $G/wordpiece.json --count --format csv "the end"
if [ -w /dev/full ]; then check 'full disk' 1 'standard output' bash -c "$H tokenize bytes --ids x >/dev/full"; fi

# generating: a folder with its tokenizer
cp tests/golden/hymba-tiny/config.json tests/golden/hymba-tiny/model.safetensors "$dir"
check 'a folder without one' 2 'no tokenizer' "$H" generate "$dir" "ab"
cp $G/llama3.json "$dir/tokenizer.json"
check 'one that is too large' 2 'has 403 ids, but .* has a vocabulary of 61' "$H" generate "$dir" "ab"
letters=$(for i in {3..28}; do printf '"\\u00%02x": %d, ' $((i + 94)) "$i"; done)
cat >"$dir/tokenizer.json" <<JSON
{"model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, $letters"\u2581": 29, "th": 30, "the": 31, "\u2581the": 32}, "merges": ["t h", "th e", "\u2581 the"]},
 "added_tokens": [{"id": 1, "content": "<s>", "special": true}, {"id": 2, "content": "</s>", "special": true}],
 "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
 "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}
JSON
same 'no BOS unless told' '32 29 3' "$H" tokenize "$dir" "the a" --ids
echo '{"add_bos_token": true, "bos_token": {"content": "<s>"}, "eos_token": "</s>", "model_max_length": 1000000000000000019884624838656}' >"$dir/tokenizer_config.json"
same 'BOS of tokenizer_config.json' '1 32 29 3' "$H" tokenize "$dir" "the a" --ids
ids=$("$H" generate "$dir" --ids "1 32 29 3" --max-new 12 --seed 3 --threads 1)
want="the a$("$H" tokenize "$dir" --decode "1 32 29 3 $ids" | tail -c +6)"
same 'text of a folder' "$want" "$H" generate "$dir" "the a" --max-new 12 --seed 3 --threads 1
same 'and as --model' "$want" "$H" generate --model "$dir" "the a" --max-new 12 --seed 3 --threads 1
check 'too many samples' 2 'at most 1048576 sequences' "$H" generate "$dir" "the" "a" --samples 1500000000
check 'in a batch too' 0 '^the a' "$H" generate "$dir" "the a" "the" --max-new 12 --seed 3 --threads 1
first=${ids%% *}
echo "{\"eos_token_id\": [60, $first]}" >"$dir/generation_config.json"
same 'ends at EOS' "$first" bash -c "$H generate $dir --ids '1 32 29 3' --max-new 12 --seed 3 --threads 1 | sed 's/ *\$//'"
echo '{"eos_token_id": "x"}' >"$dir/generation_config.json"
check 'EOS that is no id' 2 'generation_config.json: "eos_token_id"' "$H" generate "$dir" "the" --threads 1
check 'no prompt' 2 'a prompt is missing' "$H" generate "$dir"

# what the template of tokenizer.json adds, tokenizer_config.json does not add once more
mkdir "$dir/both" && cp $G/llama3.json "$dir/both/tokenizer.json" && echo '{"add_bos_token": true, "bos_token": "<|begin_of_text|>"}' >"$dir/both/tokenizer_config.json"
same 'one BOS' "$("$H" tokenize $G/llama3.json --ids hi)" "$H" tokenize "$dir/both" --ids hi

# control characters of a hostile file: no breaks in a table, no commands to a terminal
sed 's/"content": *"<|begin_of_text|>"/"content":"\\n\\u001b[31m"/' $G/llama3.json >"$dir/control.json"
check 'control characters in a table' 0 '[0-9] *\\n\\x1b\[31m  *"' "$H" tokenize "$dir/control.json" --no-special $'\n\x1b[31m'
mkdir "$dir/c" && cp $G/llama3.json "$dir/c/tokenizer.json" && printf '{"bos_token": "\\u001b[31m"}' >"$dir/c/tokenizer_config.json"
check 'control characters in a note' 0 'bos_token "[?]\[31m" is not in the vocabulary' "$H" tokenize "$dir/c" a

# a SentencePiece file alone: the model may have more ids, and tokens that were added later are only told of
rm "$dir/tokenizer.json" "$dir/generation_config.json"
cp $G/sp-bpe.model "$dir/tokenizer.model"
same 'ids beyond a SentencePiece model' 'a' "$H" tokenize $G/sp-bpe.model --decode "$("$H" tokenize $G/sp-bpe.model --ids --no-special a) 400 16000000"
echo '{"tokenizer_class": "LlamaTokenizer", "eos_token": "<unk>", "added_tokens_decoder": {"400": {"content": "<|im_end|>", "special": true}, "1": {"content": "<s>"}}}' >"$dir/tokenizer_config.json"
check 'added tokens of a SentencePiece model' 0 'tokenizer_config.json: 1 added tokens' "$H" tokenize "$dir" a

# text tasks
T="--task text --task-set path=tests/data/shakespeare-100k.txt --task-set train=16 --task-set test=16 --threads 1"
M="variants/hymba.yaml --set d_model=32 --set layers=3 --set kv_share=none"
check 'a text task with a tokenizer' 0 'vocabulary 403' "$H" task text --set path=tests/data/shakespeare-100k.txt --set tokenizer=$G/llama3.json --show 1
check 'its pieces' 0 'Ġ' "$H" task text --set path=tests/data/shakespeare-100k.txt --set tokenizer=$G/llama3.json --show 1
check 'training on it' 0 'bits/byte' "$H" train $M --set vocab=403 $T --task-set tokenizer=$G/llama3.json --train steps=2 --train batch=2 --train eval_examples=20 --out "$dir/t.safetensors"
check 'generating from it' 0 '^ROMEO' "$H" generate "$dir/t.safetensors" "ROMEO" --tokenizer $G/llama3.json --max-new 5 --threads 1
printf '\xef\xbb\xbf%s' "$(head -c 4000 tests/data/shakespeare-100k.txt)" >"$dir/mark.txt"
printf '%s' "$(head -c 4000 tests/data/shakespeare-100k.txt)" >"$dir/plain.txt"
plain=$("$H" task text --set "path=$dir/plain.txt" --show 2 | grep -v path)
same 'a text with a byte order mark' "${plain//plain.txt/mark.txt}" bash -c "$H task text --set path=$dir/mark.txt --show 2 | grep -v path"
check 'a model that is too small' 2 'uses 403 tokens' "$H" train $M --set vocab=256 $T --task-set tokenizer=$G/llama3.json --train steps=2
printf 'abc\xff' >"$dir/bad.txt"
check 'a text that is not UTF-8' 2 'offset 3' "$H" task text --set "path=$dir/bad.txt" --set tokenizer=$G/llama3.json --show 1
exit $bad
