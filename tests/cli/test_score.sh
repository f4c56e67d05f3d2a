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
if ! command -v python3 >/dev/null; then echo "skip score (no python3)"; exit 0; fi
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
spaced=$(ask '{"request": "loglikelihood", "context": "The cat  \u00a0", "continuation": "sat"}')
same "$spaced" "$(ask '{"request": "loglikelihood", "context": "The cat", "continuation": "  \u00a0sat"}')" 'white space at the end belongs to what follows'
same "$(ask '{"request": "loglikelihood", "context": "<s>The cat", "continuation": " sat"}')" "$(ask "$say_it")" 'BOS in a text is not doubled'
check 'a text that ends it, the second of two' 0 '"text": "[^R]*", "tokens": ([0-9]|1[0-9])\}' \
  ask '{"request": "generate_until", "context": "The capital of France is", "gen_kwargs": {"until": ["zzzz", "R"], "max_gen_toks": 24}}'
sample='{"request": "generate_until", "context": "The cat", "gen_kwargs": {"until": null, "max_new_tokens": 8, "do_sample": true, "temperature": 2, "top_k": 50}}'
same "$(ask "$sample")" "$(ask "$say_it"$'\n'"$sample" | tail -1)" 'a sample is the same beside others'
check 'and another with another seed' 1 '' cmp -s <(ask "$sample") <(ask "$sample" --seed 2)
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

# ---- what the harness found, as measurements of the model; and the paper's suites beside its values
R=$G/llama/results.json
check 'results are stored' 0 'stored in .*: scores of run 1 \(llama\)' "$HYLAB" score $G/llama --store $R --db "$dir/s.db"
same "$(sqlite3 "$dir/s.db" "select printf('%.6f %.6f %d', value, stderr, n) from v_final where metric = 'score' and cell = 'tiny_choice acc_norm'")" \
  "$(python3 -c "import json; r = json.load(open('$R'))['results']['tiny_choice']; print('%.6f %.6f 12' % (r['acc_norm,none'], r['acc_norm_stderr,none']))")" 'with standard error and n'
same "$(sqlite3 "$dir/s.db" "select count(*), count(distinct cell), count(stderr) from v_final where metric = 'score'")" '10|10|7' 'every metric once; three have no standard error'
same "$(sqlite3 "$dir/s.db" "select distinct replace(options, x'0a', ' ') from v_final where cell like 'tiny_choice %'")" 'task: tiny_choice version: "1" shots: 1 limited: 0 ' 'of that task, version and shots'
"$HYLAB" score $G/llama --store $R --db "$dir/s.db" 2>/dev/null
same "$(sqlite3 "$dir/s.db" "select count(*) from v_final where metric = 'score'")" 10 'again: in place of the earlier ones'
check 'and doctor is content' 0 'results +ok' "$HYLAB" doctor --db "$dir/s.db"
echo '{"results": {"t": {"acc,none": 0.5, "acc_stderr,none": "N/A"}}, "n-samples": {"t": {"original": 9, "effective": 4}}}' >"$dir/few.json"
check 'a part of the documents' 0 'scores of run' "$HYLAB" score $G/llama --store "$dir/few.json" --db "$dir/s.db"
same "$(sqlite3 "$dir/s.db" "select n, stderr is null, options like '%limited: 4%' from v_final where cell = 't acc'")" '4|1|1' 'is told'
# the table of all of it against SQL over the raw rows
"$HYLAB" show scores --db "$dir/s.db" --format csv >"$dir/scores.csv"
same "$(python3 - "$dir/scores.csv" <<'END'
import csv, sys
for r in sorted(csv.DictReader(open(sys.argv[1])), key=lambda r: (int(r["run"]), r["task"], r["metric"])):
    print(r["run"], r["variant"], r["task"], r["metric"], "%.9g" % float(r["score"]), "%.9g" % float(r["stderr"]) if r["stderr"] else "-", r["n"], r["how"], sep="|")
END
)" "$(sqlite3 "$dir/s.db" "with v as (select *, substr(cell, 1, instr(cell, ' ') - 1) t, substr(cell, instr(cell, ' ') + 1) m from v_final where metric = 'score')
  select run_id, variant, t, m, printf('%.9g', value), case when stderr is null then '-' else printf('%.9g', stderr) end, n,
    case t when 't' then '0 shots, version none, limited' when 'tiny_choice' then '1 shots, version 1' else '0 shots, version 1' end from v order by run_id, t, m")" 'show scores: every score as it is stored'
"$HYLAB" score $G/mamba --store "$dir/few.json" --db "$dir/s.db" 2>/dev/null
check 'models side by side' 0 '^t  +acc  +0 shots, version none, limited  +4  +0\.5000  +0\.5000 *$' "$HYLAB" show scores --db "$dir/s.db"
check 'a score that the other lacks' 0 '^tiny_choice  +acc_norm  +1 shots, version 1  +12  +[0-9.]+ ± [0-9.]+ *$' "$HYLAB" show scores --db "$dir/s.db"
check 'scores of one variant' 0 '^task  +metric  +how  +n  +mamba \(run 2\)$' "$HYLAB" show scores --db "$dir/s.db" --variant mamba
check 'no scores' 2 'holds no scores of x' "$HYLAB" show scores --db "$dir/s.db" --variant x
check 'results without figures' 2 'results: there is no figure' bash -c "echo '{\"results\": {}}' >'$dir/r.json'; '$HYLAB' score $G/llama --store '$dir/r.json' --db '$dir/s.db'"
check 'no results' 2 '"results" is missing' bash -c "echo '{}' >'$dir/r.json'; '$HYLAB' score $G/llama --store '$dir/r.json' --db '$dir/s.db'"
check 'a model and more' 2 'is left over' "$HYLAB" score $G/llama x.jsonl --store $R
cat >"$dir/recall.json" <<'JSON'
{"results": {"squad_completion": {"contains,none": 0.5, "contains_stderr,none": 0.03}, "swde": {"contains,none": 0.6, "contains_stderr,none": 0.04}},
 "n-samples": {"squad_completion": {"original": 2984, "effective": 100}}}
JSON
S=(python3 experiments/scores/scores.py)
check 'suites' 0 'recall_v0: ' "${S[@]}" list
check 'a task beside the paper' 0 '^recall +squad_completion +contains +50\.00 +3\.00 +100 +45\.24 +\+4\.76 *$' "${S[@]}" table "$dir/recall.json" --row table9.hymba
check 'the mean of a suite' 0 '^recall +mean +55\.00 +2\.50 +51\.79 +\+3\.21 *$' "${S[@]}" table "$dir/recall.json" --row table9.hymba
check 'without a row' 0 '^recall +swde +contains +60\.00 +4\.00 *$' "${S[@]}" table "$dir/recall.json"
check 'no results of the harness' 1 'results: this is no file' "${S[@]}" table tests/golden/llama-tiny/config.json
same "$(python3 - <<'END'
import json
k = json.load(open("experiments/scores/suites.json"))
rows = k["rows"]
for name, t9 in {"mamba": "mamba", "transformer": "llama3"}.items():  # rows that two tables print
    assert rows["table1." + name]["recall"] == rows["table9." + t9]["recall"], name
for r in rows.values():  # the average of Table 9 is that of its two columns
    if "SWDE" in r:
        assert abs((r["SWDE"] + r["SQuAD-C"]) / 2 - r["recall"]) < 0.011, r
print(len(rows))
END
)" 14 'the published values agree with one another'

# ---- the model class for the harness: without it, then with it
PYTHONPATH=python PYTHONDONTWRITEBYTECODE=1 python3 tests/python/lm_stub_check.py || bad=1
python=
for p in ${PYTHON:-} python3; do
  if PYTHONPATH=python "$p" -c 'import lm_eval' 2>/dev/null; then python=$p; break; fi
done
if [ -z "$python" ]; then echo "skip lm_eval (no Python with the package lm-eval: PYTHON=)"; exit $bad; fi
PYTHONPATH=python HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME=$dir/hf "$python" tests/python/lm_eval_check.py || bad=1
exit $bad
