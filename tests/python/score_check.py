"""Answers of `hylab score` to what lm-evaluation-harness asked, beside those of its own model of transformers: the logs and results in
tests/golden/scores (make_scores.py). Prints a line a check; needs nothing but Python."""

import json
import math
import os
import re
import subprocess
import sys

PROGRAM, SCORES = os.environ.get("HYLAB", "./hylab"), "tests/golden/scores"
LIMIT = 1e-3
bad = 0


def said(name, wrong):
    global bad
    bad += bool(wrong)
    print(f"not ok {name}: {wrong}" if wrong else f"ok {name}")


def score(model, stdin=None, *files, options=("--max-length", "64")):
    done = subprocess.run([PROGRAM, "score", f"{SCORES}/{model}", *files, *options], input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"not ok score {model} {files}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def documents(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def flat(resp):
    return resp[0] if len(resp) == 1 else resp


def difference(answer, resp):
    """What is wrong with an answer, or None; the difference of log-likelihoods."""
    resp = flat(resp)
    if "text" in answer:
        return None if answer["text"] == resp else f"{answer['text']!r}, not {resp!r}", 0.0
    theirs = resp if isinstance(resp, (int, float)) else float(resp[0])
    d = abs(answer["loglikelihood"] - theirs)
    if d > LIMIT:
        return f"{answer['loglikelihood']}, not {theirs}", d
    if "is_greedy" in answer and answer["is_greedy"] != (str(resp[1]) == "True"):
        return f"greedy {answer['is_greedy']}, not {resp[1]}", d
    return None, d


def first_largest(v):
    return v.index(max(v))


def results_of(task, docs, answers):
    """The harness's metrics, computed from our answers as its documentation defines them."""
    mean = lambda v: sum(v) / len(v)
    sums = [[a.get("loglikelihood") for a in x["answers"]] for x in answers]
    doc = [d["doc"] for d in docs]
    if task == "tiny_choice":  # the unconditional scores for acc_mutual_info follow the choices
        n = [len(d["choices"]) for d in doc]
        ll, alone = [s[:k] for s, k in zip(sums, n)], [s[k:] for s, k in zip(sums, n)]
        norm = [[x / len(c) for x, c in zip(s, d["choices"])] for s, d in zip(ll, doc)]
        mutual = [[x - y for x, y in zip(s, u)] for s, u in zip(ll, alone)]
        right = lambda all_: mean([first_largest(s) == d["answer"] for s, d in zip(all_, doc)])
        return {"acc": right(ll), "acc_norm": right(norm), "acc_mutual_info": right(mutual)}
    if task == "tiny_blank":
        return {"acc": mean([first_largest(s) == int(d["answer"]) - 1 for s, d in zip(sums, doc)])}
    if task == "tiny_last_word":
        return {"perplexity": math.exp(-mean([s[0] for s in sums])), "acc": mean([x["answers"][0]["is_greedy"] for x in answers])}
    if task == "tiny_pages":
        total = -sum(s[0] for s in sums)
        words = sum(len(re.split(r"\s+", d["page"])) for d in doc)
        size = sum(len(d["page"].encode()) for d in doc)
        return {"word_perplexity": math.exp(total / words), "byte_perplexity": math.exp(total / size), "bits_per_byte": total / size / math.log(2)}
    return {"exact_match": mean([x["answers"][0]["text"].lower() == d["value"].lower() for x, d in zip(answers, doc)])}


def check_model(model):
    with open(f"{SCORES}/{model}/results.json", encoding="utf-8") as f:
        expected = json.load(f)
    for task, theirs in expected["results"].items():
        path = f"{SCORES}/{model}/{task}.jsonl"
        docs, answers = documents(path), score(model, None, path)
        wrong, largest, n, choices = None, 0.0, 0, 0
        if [a["doc_id"] for a in answers] != [d["doc_id"] for d in docs]:
            wrong = "the answers are not in the order of the documents"
        for d, a in zip(docs, answers):
            if len(a["answers"]) != len(d["resps"]):
                wrong = wrong or f"document {d['doc_id']} has {len(a['answers'])} answers"
            for x, resp in zip(a["answers"], d["resps"]):
                what, off = difference(x, resp)
                largest, n = max(largest, off), n + 1
                wrong = wrong or what and f"document {d['doc_id']}: {what}"
            if len(d["resps"]) > 1:
                ours, hf = [x["loglikelihood"] for x in a["answers"]], [float(flat(r)[0]) for r in d["resps"]]
                choices += first_largest(ours) == first_largest(hf)
                wrong = wrong or first_largest(ours) != first_largest(hf) and f"document {d['doc_id']}: another choice"
        said(f"{model}, {task}: {n} answers as those of hf, largest difference {largest:.0e}", wrong)
        found = results_of(task, docs, answers)
        off = {k: (v, theirs[k + ",none"]) for k, v in found.items() if abs(v - theirs[k + ",none"]) > 1e-3 * max(1, abs(v))}
        said(f"{model}, {task}: {' '.join(f'{k} {v:.4g}' for k, v in found.items())}", off or len(docs) != expected["n-samples"][task]["effective"])


def check_order(model):
    """Requests of all kinds in one stream: answers in their order, with any batch, in any company, the same bits."""
    requests = []
    for task in ("tiny_choice", "tiny_pages", "tiny_answer", "tiny_last_word"):
        for d in documents(f"{SCORES}/{model}/{task}.jsonl"):
            for args in d["arguments"].values():
                a, b = args["arg_0"], args.get("arg_1")
                kind = "loglikelihood_rolling" if b is None else "generate_until" if isinstance(b, dict) else "loglikelihood"
                fields = {"text": a} if b is None else {"context": a, "gen_kwargs" if isinstance(b, dict) else "continuation": b}
                requests.append({"request": kind, "id": f"{task}-{len(requests)}", **fields})
    requests = requests[::2] + requests[1::2][::-1]
    text = "".join(json.dumps(r) + "\n" for r in requests)
    together = score(model, text)
    said(f"{model}: {len(requests)} answers in the order of the requests", [a["id"] for a in together] != [r["id"] for r in requests])
    for name, options in {
        "one by one": ("--window", "1", "--batch", "1"),
        "token by token": ("--batch", "1", "--rows", "1"),
        "in small windows, batches and passes": ("--window", "7", "--batch", "3", "--rows", "50", "--threads", "1"),
    }.items():
        said(f"{model}: the same bits {name}", score(model, text, options=("--max-length", "64", *options)) != together)
    apart = score(model, "".join(json.dumps(r) + "\n\n" for r in requests))
    said(f"{model}: the same with an empty line after each", apart != together)


for model in sys.argv[1:] or sorted(os.listdir(SCORES)):
    if os.path.isfile(f"{SCORES}/{model}/results.json"):
        check_model(model)
        check_order(model)
sys.exit(1 if bad else 0)
