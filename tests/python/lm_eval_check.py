"""Whole evaluations of lm-evaluation-harness on hylab models (python/hylab_lm_eval), beside what the harness found with its own model of
transformers (tests/golden/scores/*/results.json). Needs the package lm_eval; neither torch nor transformers."""

import json
import os
import sys

import lm_eval
from lm_eval.tasks import TaskManager

import hylab_lm_eval

SCORES = "tests/golden/scores"
bad = 0


def said(name, wrong):
    global bad
    bad += bool(wrong)
    print(f"not ok {name}: {wrong}" if wrong else f"ok {name}")


manager = TaskManager(include_path=f"{SCORES}/tasks", include_defaults=False)
for model in sorted(os.listdir(SCORES)):
    if not os.path.isfile(f"{SCORES}/{model}/results.json"):
        continue
    with open(f"{SCORES}/{model}/results.json") as f:
        expected = json.load(f)["results"]
    found = lm_eval.simple_evaluate(
        model="hylab",
        model_args=f"path={SCORES}/{model},max_length=64",
        tasks=list(expected),
        task_manager=manager,
        bootstrap_iters=1000,
    )["results"]
    for task, theirs in expected.items():
        off = {}
        for key, value in theirs.items():
            ours = found[task].get(key)
            if isinstance(value, float) and not (isinstance(ours, float) and abs(ours - value) <= 1e-3 * max(1, abs(value))):
                off[key] = (ours, value)
        shown = " ".join(f"{k.split(',')[0]} {v:.4g}" for k, v in theirs.items() if isinstance(v, float))
        said(f"lm_eval {model}, {task}: {shown}", off)

for arguments, words in ((f"path={SCORES}/llama,nonsense=1", "no argument nonsense"), ("", "path=MODEL is wanted")):
    try:
        lm_eval.api.registry.get_model("hylab").create_from_arg_string(arguments)
        said(f"refusal of {arguments!r}", "it was taken")
    except ValueError as e:
        said(f"refusal of {arguments!r}", words not in str(e) and str(e))
scorer = hylab_lm_eval.Scorer([os.environ["HYLAB"], "score", f"{SCORES}/nowhere"])
try:
    list(scorer.ask([{"request": "loglikelihood", "context": "a", "continuation": "b"}]))
    said("a program that fails", "it answered")
except RuntimeError as e:
    said("a program that fails", "nowhere" not in str(e) and str(e))
sys.exit(1 if bad else 0)
