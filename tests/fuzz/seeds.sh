#!/usr/bin/env bash
# Writes what a fuzz target starts from: seeds.sh NAME FOLDER -> FOLDER/in/*, FOLDER/dict (words of its language).
set -eu
name=$1 out=$2
rm -rf "$out"
mkdir -p "$out/in"
words() { sort -u | sed 's/["\\]/\\&/g; s/^/"/; s/$/"/' >"$out/dict"; } # a line each

case $name in
safetensors)
  header='{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}'
  printf '\206\0\0\0\0\0\0\0%s01234567abc' "$header" >"$out/in/small"
  printf '%s\n' __metadata__ dtype shape data_offsets BF16 F64 BOOL I64 | words
  ;;
gguf)
  u64() { printf "\\x$(printf %02x "$1")\\0\\0\\0\\0\\0\\0\\0"; }
  u32() { printf "\\x$(printf %02x "$1")\\0\\0\\0"; }
  str() { u64 ${#1}; printf %s "$1"; } # ASCII
  zeros() { head -c "$1" /dev/zero; }
  head_of() { printf 'GGUF\3\0\0\0'; u64 "$1"; u64 "$2"; } # tensors, keys
  pad() { cat >"$1"; zeros $(((32 - $(stat -c %s "$1") % 32) % 32)) >>"$1"; }
  for t in '0 32 128' '1 32 64' '2 32 18' '3 32 20' '8 32 34' '14 256 210' '30 32 64'; do # type, elements, bytes
    read -r type n bytes <<<"$t"
    { head_of 1 1; str k; u32 4; u32 7; str x; u32 2; printf "\\x$(printf %02x $((n % 256)))\\x$(printf %02x $((n / 256)))\\0\\0\\0\\0\\0\\0"; u64 1; u32 "$type"; u64 0; } | pad "$out/in/type$type"
    zeros "$bytes" >>"$out/in/type$type"
  done
  for value in '0 1' '1 1' '2 2' '3 2' '4 4' '5 4' '6 4' '7 1' '10 8' '11 8' '12 8'; do # type of a key, bytes
    { head_of 0 2; str k; u32 "${value% *}"; zeros "${value#* }"; str l; u32 9; u32 "${value% *}"; u64 2; zeros $((2 * ${value#* })); } | pad "$out/in/key${value% *}"
  done
  for pre in gpt-2 smollm llama-bpe qwen2; do
    { head_of 0 6; str tokenizer.ggml.model; u32 8; str gpt2; str tokenizer.ggml.pre; u32 8; str $pre
      str tokenizer.ggml.tokens; u32 9; u32 8; u64 4; str '<s>'; str a; str b; str ab
      str tokenizer.ggml.token_type; u32 9; u32 5; u64 4; u32 3; u32 1; u32 1; u32 4
      str tokenizer.ggml.merges; u32 9; u32 8; u64 1; str 'a b'; str tokenizer.ggml.bos_token_id; u32 4; u32 0; } | pad "$out/in/tokens-$pre"
  done
  printf '%s\n' GGUF general.alignment tokenizer.ggml.tokens tokenizer.ggml.add_bos_token | words
  ;;
yaml)
  for f in variants/*.yaml variants/paper/*.yaml; do grep -v '^base:' "$f" >"$out/in/$(basename "$f")"; done
  for s in attention.heads=2 pattern.0.mixer=ssm 'kv_share=[[0, 1]]' mlp.kind=none; do
    { cat variants/samba.yaml && echo "--set $s"; } >"$out/in/set-$s"
  done
  cp tests/fuzz/yaml.dict "$out/dict"
  ;;
json)
  printf '{"a": [1, -2.5e3, "x\\u00e9\\n", null, true], "o": {"k": {}}, "l": [[], [{}]]}' >"$out/in/all"
  printf '[9223372036854775807, -9223372036854775808, 1e308, 0.1, -0.0]' >"$out/in/numbers"
  printf '"\\ud83d\\ude00 \xf0\x9f\x98\x80 \xed\x9f\xbf"' >"$out/in/unicode"
  { printf '[%.0s' {1..32}; printf ']%.0s' {1..32}; } >"$out/in/deep"
  printf '%s\n' true false null '\u0000' '\ud800' '\udc00' 1e999 9223372036854775808 '":' '],[' | words
  ;;
config)
  for f in tests/golden/*/config.json; do cp "$f" "$out/in/$(basename "$(dirname "$f")")"; done
  grep -ohE '"[A-Za-z_0-9.]+"' tests/golden/*/config.json | tr -d '"' | words
  ;;
shards)
  index='{"metadata":{"total_size":48},"weight_map":{"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors"}}'
  a='{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"y":{"dtype":"BF16","shape":[2,2],"data_offsets":[16,24]}}'
  b='{"__metadata__":{"format":"pt"},"z":{"dtype":"F16","shape":[3,4],"data_offsets":[0,24]}}'
  printf '%s\n---\n%s\n---\n%s' "$index" "$a" "$b" >"$out/in/two"
  printf '%s\n---\n%s\n---\n' '{"weight_map":{"x":"a.safetensors","y":"a.safetensors"}}' "$a" >"$out/in/one"
  y='"y":{"dtype":"U8","shape":[24],"data_offsets":[0,24]}' x='"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
  printf '%s\n---\n%s\n---\n%s' '{"weight_map":{"x":"a.safetensors","z":"b.safetensors"}}' "{$x,$y}" "{${x/x/z},$y}" >"$out/in/unlisted"
  printf '%s\n' metadata weight_map a.safetensors b.safetensors ../a.safetensors dtype shape data_offsets F32 BF16 | words
  ;;
tokenizer)
  text=$'Hello  the \xc3\xa9<s>\n12'
  # the files of released models with the first 40 pieces and no merges: what costs time is their length
  few='s/("vocab":\s*\{)((?:"(?:[^"\\]|\\.)*":\s*\d+,?\s*){1,40})(.*?)\}(\s*,\s*"merges":\s*\[).*\](\s*\})/my ($a, $v, $m, $e) = ($1, $2, $4, $5); $v =~ s|,\s*$||; "$a$v}$m]$e"/se; s/\b40([0-4])\b/4$1/g'
  for f in llama2 hymba-first llama3 qwen2 falcon; do printf '%s\n---\n%s' "$(perl -0777 -pe "$few" tests/golden/tokenizers/$f.json)" "$text" >"$out/in/$f"; done
  for f in sp-bpe sp-unigram; do { cat tests/golden/tokenizers/$f.model && printf '\n---\n%s' "$text"; } >"$out/in/$f"; done
  # small ones, one for each kind of step: most of what fails is found in a few bytes
  model='"model":{"type":"BPE","unk_token":"u","fuse_unk":true,"byte_fallback":true,"vocab":{"u":0,"a":1,"b":2,"ab":3,"<0x41>":4,"\u2581":5},"merges":["a b"]}'
  i=0
  for part in '"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"x"},{"type":"Replace","pattern":{"Regex":"a+|b"},"content":"ab"},{"type":"NFKC"}]}' \
    '"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"[^\\s\\p{L}]+|(?i:'"'"'s)"},"behavior":"MergedWithNext","invert":true},{"type":"ByteLevel","add_prefix_space":true},{"type":"Digits","individual_digits":true}]}' \
    '"pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":true},"decoder":{"type":"Metaspace","replacement":"_"}' \
    '"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"a"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":1}]}' \
    '"added_tokens":[{"id":6,"content":"<s>","special":true,"lstrip":true,"rstrip":true},{"id":7,"content":"ba","single_word":true,"normalized":true}],"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[6]}}}'; do
    printf '{%s,%s}\n---\nab A <s> ba' "$model" "$part" >"$out/in/small$i"
    i=$((i + 1))
  done
  grep -ohE '"[A-Za-z_0-9]{4,24}"' tests/golden/tokenizers/*.json core/token/tok_*.c | tr -d '"' | words
  ;;
db)
  # fuzz_db.c tells the form; padded, so that each of its 18 questions is asked: the length of an input decides
  pad() { printf "%$(($1 % 18))s" ''; }
  i=0
  for column in {0..118}; do # a value of each column: large, negative, a text
    value='\001\010\377\377\377\377\377\377\377\177'
    case $((column % 3)) in 1) value='\001\001\200' ;; 2) value='\003\005../%n' ;; esac
    printf "v\\x$(printf %02x "$column")\\x00$value%s" "$(pad $((i++)))" >"$out/in/value$column"
  done
  for k in {0..17}; do
    printf '%s' "$(pad "$k")" >"$out/in/none$k"
    printf 'b\0\0\020\010\0\0\0\0\0\0\0\0%s' "$(pad "$k")" >"$out/in/header$k"
    printf 'b\0\140\0\100%064d%s' 0 "$(pad "$k")" >"$out/in/page$k"
  done
  printf 'w\0\067\177\006\202\0\055\342\030\0\0\020\0%0100d' 0 >"$out/in/log"
  printf '%s\n' map.layer0.attention layer-7.kv '[8,8]' '[65536,65536]' '{"meta_tokens":99}' ../x cpu done failed cuda | words
  ;;
tokens)
  hash=0123456789abcdef0123456789abcdef
  head='"format":"hylab.tokens","version":1,"dtype":"u16","vocab":257,"tokens":5,"documents":2,"bytes":3,"tokenizer":{"kind":"bytes","hash":"'$hash'"},"settings":{"documents":"file"}'
  shards='"shards":[{"tokens":5,"documents":2,"bytes":3,"tokens_hash":"'$hash'","documents_hash":"'$hash'","from":{"source":0,"offset":0,"line":1,"hash":""}}]'
  sources='"sources":[{"path":"a.txt","bytes":38,"hash":"'$hash'"}]'
  printf '%s' "m{$head,\"content\":\"$hash\",$sources,$shards}" >"$out/in/whole"
  printf '%s' "u{$head,\"content\":\"\",$sources,$shards,\"next\":{\"source\":1,\"offset\":7,\"line\":3,\"hash\":\"\"}}" >"$out/in/part"
  printf 's\5\1\3\0\0\0\1\0\2\0\3\0\4\0\5\0\n---\n\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0hashhash\5\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0hashhash' >"$out/in/shard"
  printf 'b\5\1\1\0\2\0\3\0' >"$out/in/nano"
  { printf 'b\5\1\210\330\64\1\1\0\0\0\2\0\0\0'; head -c 1012 /dev/zero; printf '\1\0\2\0'; } >"$out/in/gpt2"
  { printf 'b\5\1\241\331\64\1\7\0\0\0\1\0\0\0'; head -c 1012 /dev/zero; printf '\1\0\0\0'; } >"$out/in/llama3"
  printf 't\0\377a text\n' >"$out/in/file"
  printf 't\15\6\n\na b c d e\n \t\nb\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\n\n' >"$out/in/blank"
  printf 't\6\4aababbabxxxxxxxxxx' >"$out/in/separator"
  printf 't\3\377{"text": "a"}\n\n{"text": "\\u00e9", "k": [1]}\r\n' >"$out/in/jsonl"
  printf '%s\n' '"format"' hylab.tokens '"dtype"' u32 '"next"' '"sources"' '"shards"' '"from"' '{"text": "' ab | words
  ;;
data)
  printf 'i\0\0\10\3\0\0\0\2\0\0\0\1\0\0\0\2abcd\n---\n\0\0\10\1\0\0\0\2\1\3' >"$out/in/idx"
  head='\1\0\1\0\100\37\0\0\0\0\0\0'
  printf "wRIFF\\0\\0\\0\\0WAVEfmt \\20\\0\\0\\0$head\\2\\0\\20\\0data\\4\\0\\0\\0abcd" >"$out/in/wav16"
  printf "wRIFF\\0\\0\\0\\0WAVELIST\\1\\0\\0\\0x\\0fmt \\20\\0\\0\\0$head\\1\\0\\10\\0data\\4\\0\\0\\0abcd" >"$out/in/wav8"
  printf 'mpath,label,split,group\r\na.wav,x,train,g\n"b, ""c"".wav",y,test,\n\nd.wav,x,,h' >"$out/in/manifest"
  printf '%s\n' 'RIFF' 'WAVE' 'fmt ' 'data' 'path,label' ',split' ',group' train validation tune eval '"' '""' | words
  ;;
*) echo "fuzz_seeds.sh: no inputs for \"$name\"" >&2; exit 2 ;;
esac
