"""The model class of python/hylab_lm_eval without the package lm_eval: the two names that it takes from there are stood in for, and its
answers are those of the goldens. Needs nothing but Python; lm_eval_check.py is the same with the harness itself."""

import json
import os
import sys
import types

seen = {}


class LM:
    def __init__(self):
        self.cache_hook = types.SimpleNamespace(add_partial=lambda kind, args, answer: seen.setdefault(kind, []).append((args, answer)))


def module(name, **members):
    m = types.ModuleType(name)
    m.__dict__.update(members)
    sys.modules[name] = m


registered = {}
module("lm_eval")
module("lm_eval.api")
module("lm_eval.api.model", LM=LM)
module("lm_eval.api.registry", register_model=lambda name: lambda cls: registered.setdefault(name, cls))
module("tqdm", tqdm=lambda it, **_: it)
import hylab_lm_eval  # noqa: E402

SCORES = "tests/golden/scores"
bad = 0


def said(name, wrong):
    global bad
    bad += bool(wrong)
    print(f"not ok {name}: {wrong}" if wrong else f"ok {name}")


def requests(task):
    with open(f"{SCORES}/llama/{task}.jsonl", encoding="utf-8") as f:
        docs = [json.loads(line) for line in f]
    pairs = [(a, r) for d in docs for a, r in zip(d["arguments"].values(), d["resps"])]
    asked = [types.SimpleNamespace(args=tuple(a[k] for k in sorted(a))) for a, _ in pairs]
    return asked, [r[0] for _, r in pairs]


model = registered["hylab"](path=f"{SCORES}/llama", max_length=64, threads="1", batch_size="3", max_batch_size=None, device="cpu")
for task in ("tiny_choice", "tiny_last_word"):
    asked, wanted = requests(task)
    found = model.loglikelihood(asked, disable_tqdm=True)
    off = [(f, w) for f, w in zip(found, wanted) if abs(f[0] - w[0]) > 1e-3 or f[1] is not bool(w[1])]
    said(f"HylabLM, {task}", off[:1] or len(found) != len(wanted))
asked, wanted = requests("tiny_pages")
found = model.loglikelihood_rolling(asked)
said("HylabLM, tiny_pages", [f for f, w in zip(found, wanted) if abs(f - w) > 1e-3] or len(found) != len(wanted))
asked, wanted = requests("tiny_answer")
said("HylabLM, tiny_answer", model.generate_until(asked) != wanted and "other texts")
said("answers are handed to the harness's cache", {k: len(v) for k, v in seen.items()} != {"loglikelihood": 80, "loglikelihood_rolling": 5, "generate_until": 7} and seen)
many = asked * 400  # more than two pipes hold: it must be read while it is written
said("many requests at once", model.generate_until(many) != wanted * 400 and "other texts")
said("no requests", model.loglikelihood([]) != [] and "some answer")
try:
    model.loglikelihood([types.SimpleNamespace(args=("a", ""))])
    said("a request that is refused", "it was answered")
except RuntimeError as e:
    said("a request that is refused", "continuation: it has no token" not in str(e) and str(e))
try:
    model.loglikelihood([types.SimpleNamespace(args=("a", "b"))])
    said("a model after that", "it answered")
except RuntimeError as e:
    said("a model after that", not str(e) and "nothing is said")
model.close()
model = registered["hylab"](path=f"{SCORES}/llama", max_length=64, batch_size="1", device="cuda:0")  # what the command gives by default
said("the command's defaults", model.generate_until(asked) != wanted and "other texts")
model.close()
for given, words in (({"path": f"{SCORES}/llama", "nonsense": 1}, "no argument nonsense"), ({}, "path=MODEL is wanted")):
    try:
        registered["hylab"](**given)
        said(f"refusal of {given}", "it was taken")
    except ValueError as e:
        said(f"refusal of {given}", words not in str(e) and str(e))
try:
    hylab_lm_eval.Scorer(["/nowhere/hylab", "score"])
    said("no program", "it was taken")
except RuntimeError as e:
    said("no program", "/nowhere/hylab cannot be run" not in str(e) and str(e))
sys.exit(1 if bad else 0)
