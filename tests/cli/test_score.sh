#!/usr/bin/env bash
# hylab score: answers beside those of lm-evaluation-harness's own model of transformers (tests/golden/scores), refusals, and, where the
# package lm_eval is there, whole evaluations by python/hylab_lm_eval.
set -u
cd "$(dirname "$0")/../.." || exit 1
export HYLAB=${HYLAB:-./hylab}
. tests/check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
G=tests/golden/scores
PYTHONDONTWRITEBYTECODE=1 python3 tests/python/score_check.py || bad=1

ask() { # what is on standard input, options
  local in=$1
  shift
  printf '%s' "$in" | "$HYLAB" score "$G/llama" --max-length 64 "$@"
}
say_it='{"request": "loglikelihood", "context": "The cat", "continuation": " sat"}'
# ---- README.md: the requests that stand there, and an answer for each
sed -n '/^    {"request"/s/^ *//p' README.md >"$dir/requests.jsonl"
check 'the requests of README.md' 0 '^3$' bash -c "'$HYLAB' score $G/llama <'$dir/requests.jsonl' | tee '$dir/answers' | wc -l"
check 'their answers' 0 '^\{"loglikelihood": -[0-9.]+, "is_greedy": (true|false), "tokens": [0-9]+, "id": 7\}$' cat "$dir/answers"
check 'help' 0 'loglikelihood_rolling' "$HYLAB" score --help
check 'nothing to do' 0 '^$' ask ''
check 'an empty line' 0 '^\{"loglikelihood": .*\}$' ask "$say_it"$'\n\n\n'
check 'an id of any kind' 0 '"id": \[1, "x"\]' ask "${say_it%\}}, \"id\": [1, \"x\"]}"
check 'white space alone before' 0 '"tokens": [2-9]' ask '{"request": "loglikelihood", "context": " \n", "continuation": "x y"}'
check 'a text without tokens' 0 '"loglikelihood": 0.0, "tokens": 0|"tokens": 1' ask '{"request": "loglikelihood_rolling", "text": ""}'

# ---- what is wrong is told by line and field
refused() { check "$1" 2 "$3" ask "$say_it"$'\n'"$2" "${@:4}"; }
refused 'no JSON' '{"request"' 'standard input, line 2: line 1, column'
refused 'a list' '[1]' 'line 2: an object is wanted, not a list'
refused 'no request' '{}' 'line 2: "request" is missing'
refused 'an unknown request' '{"request": "score"}' 'line 2: request: "score" is none of loglikelihood, loglikelihood_rolling, generate_until'
refused 'a missing context' '{"request": "loglikelihood", "continuation": "x"}' 'line 2: "context" is missing'
refused 'a context of another type' '{"request": "loglikelihood", "context": 5, "continuation": "x"}' 'line 2: "context": is an integer'
refused 'an unknown field' '{"request": "loglikelihood_rolling", "txt": "x"}' 'line 2: txt: there is no such field \(did you mean "text"\?\)'
refused 'an empty continuation' '{"request": "loglikelihood", "context": "x", "continuation": ""}' 'line 2: continuation: it has no token of its own'
refused 'a long continuation' "{\"request\": \"loglikelihood\", \"context\": \"x\", \"continuation\": \"$(printf 'wq%.0s' {1..70})\"}" 'line 2: continuation: its [0-9]+ tokens are more than the 64'
refused 'no room for a context' '{"request": "generate_until", "context": "x", "gen_kwargs": {"max_gen_toks": 64}}' 'line 2: gen_kwargs: 64 new tokens leave no room'
refused 'an unknown way of generating' '{"request": "generate_until", "context": "x", "gen_kwargs": {"num_beams": 4}}' 'line 2: gen_kwargs: num_beams: there is no such field'
refused 'an until of another type' '{"request": "generate_until", "context": "x", "gen_kwargs": {"until": ["a", 5]}}' 'line 2: gen_kwargs: until\[1\]: '
refused 'half a document' '{"arguments": {"gen_args_0": {"arg_1": "x"}}}' 'line 2: arguments.gen_args_0: "arg_0" is missing'
refused 'a document without requests' '{"arguments": {}}' 'line 2: arguments: there is no request'
check 'no such file' 2 'nowhere.jsonl: cannot read it' "$HYLAB" score $G/llama nowhere.jsonl
check 'a prefix beyond the tokenizer' 2 'prefix-token 5000' ask "$say_it" --prefix-token 5000
check 'bytes have no BOS' 2 'line 1: text: .*--prefix-token ID' bash -c "echo '{\"request\": \"loglikelihood_rolling\", \"text\": \"x\"}' | '$HYLAB' score variants/llama.yaml --set vocab=256"
if [ -w /dev/full ]; then check 'full disk' 1 'standard output' bash -c "echo '$say_it' | '$HYLAB' score $G/llama >/dev/full"; fi
check 'a reader that has gone' 0 '' bash -c "yes '$say_it' | head -3000 | '$HYLAB' score $G/llama --window 10 | head -1"

# ---- the harness itself
python=
for p in ${PYTHON:-} python3; do
  if PYTHONPATH=python "$p" -c 'import lm_eval' 2>/dev/null; then python=$p; break; fi
done
if [ -z "$python" ]; then echo "skip lm_eval (no Python with the package lm-eval: PYTHON=)"; exit $bad; fi
PYTHONPATH=python HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME=$dir/hf "$python" tests/python/lm_eval_check.py || bad=1
exit $bad
