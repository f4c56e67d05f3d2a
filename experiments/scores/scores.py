#!/usr/bin/env python3
"""The paper's suites on a model: runs lm-evaluation-harness on hylab, and prints ours, the paper's and the difference.

    python3 experiments/scores/scores.py list                                    suites, their tasks, rows of the paper
    python3 experiments/scores/scores.py run MODEL --suite commonsense --row table9.hymba --out runs/scores --db runs/hylab.db
    python3 experiments/scores/scores.py table RESULTS.json... --row table9.hymba

`run` needs the package lm_eval in the Python that runs it, and the harness's data sets; what follows `--` goes to the
harness. `table` and `list` need nothing but Python. RESULTS.json is what lm_eval writes with --output_path.
"""

import argparse
import glob
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.join(HERE, "..", "..")
with open(os.path.join(HERE, "suites.json"), encoding="utf-8") as f:
    KNOWN = json.load(f)
PERCENT = {"acc", "acc_norm", "contains", "exact_match"}


def value_of(results, task, metric):
    """(value, standard error, n) of a task in results of lm_eval; None where it is not there."""
    found = results["results"].get(task)
    if not found:
        return None
    for key, value in found.items():
        name, _, filter_ = key.partition(",")
        if name == metric and isinstance(value, (int, float)):
            error = found.get(f"{metric}_stderr,{filter_}")
            n = results.get("n-samples", {}).get(task, {}).get("effective")
            scale = 100 if metric in PERCENT else 1
            return value * scale, error * scale if isinstance(error, (int, float)) else None, n
    return None


def rows_of(results, row):
    """(suite, task, metric, ours, error, n, published): every task of every suite that has one, then the suite's mean."""
    published = KNOWN["rows"][row] if row else {}
    out = []
    for suite, s in KNOWN["suites"].items():
        found = {task: value_of(results, task, metric) for task, metric in s["tasks"].items()}
        if not any(found.values()):
            continue
        for task, metric in s["tasks"].items():
            if found[task]:
                name = KNOWN["published_tasks"].get(f"{task} {metric}")
                out.append((suite, task, metric, *found[task], published.get(name)))
        if s["published"] and all(found.values()):
            mean = sum(v[0] for v in found.values()) / len(found)
            known = [v[1] for v in found.values()]
            error = None if None in known else sum(e * e for e in known) ** 0.5 / len(known)
            out.append((suite, "mean", "", mean, error, None, published.get(s["published"])))
    return out


def show(results, row, out=sys.stdout):
    shown = lambda v, digits=2: "" if v is None else f"{v:.{digits}f}"
    print(f"{'suite':12} {'task':22} {'metric':16} {'ours':>8} {'+-':>6} {'n':>6} {'paper':>8} {'difference':>10}", file=out)
    for suite, task, metric, ours, error, n, paper in rows_of(results, row):
        difference = None if paper is None else ours - paper
        print(f"{suite:12} {task:22} {metric:16} {ours:8.2f} {shown(error):>6} {'' if n is None else n:>6} {shown(paper):>8} "
              f"{'' if difference is None else f'{difference:+.2f}':>10}", file=out)


def merged(files):
    all_ = {"results": {}, "n-samples": {}}
    for name in files:
        with open(name, encoding="utf-8") as f:
            one = json.load(f)
        if not isinstance(one.get("results"), dict):
            sys.exit(f"{name}: results: this is no file of results that lm_eval wrote")
        all_["results"].update(one["results"])
        all_["n-samples"].update(one.get("n-samples") or {})
    return all_


def run(a, more):
    tasks = KNOWN["suites"][a.suite]["tasks"]
    out = os.path.join(a.out, a.suite)
    command = [sys.executable, "-m", "hylab_lm_eval", "--model", "hylab", "--model_args", f"path={a.model}", "--tasks", ",".join(tasks),
               "--include_path", os.path.join(HERE, "tasks"), "--output_path", out, "--log_samples", *more]
    python = os.pathsep.join(p for p in (os.path.join(TREE, "python"), os.environ.get("PYTHONPATH")) if p)
    before = set(glob.glob(os.path.join(out, "**", "results_*.json"), recursive=True))
    print(" ".join(command), flush=True)
    if subprocess.run(command, env={**os.environ, "PYTHONPATH": python}).returncode:
        sys.exit("scores.py: the harness failed")
    files = sorted(set(glob.glob(os.path.join(out, "**", "results_*.json"), recursive=True)) - before)
    show(merged(files), a.row)
    if a.db:
        for name in files:
            subprocess.run([os.environ.get("HYLAB", "hylab"), "score", a.model, "--store", name, "--db", a.db], check=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="what", required=True)
    sub.add_parser("list")
    r = sub.add_parser("run")
    r.add_argument("model")
    r.add_argument("--suite", choices=list(KNOWN["suites"]), default="commonsense")
    r.add_argument("--out", default="runs/scores")
    r.add_argument("--db")
    t = sub.add_parser("table")
    t.add_argument("results", nargs="+")
    for one in (r, t):
        one.add_argument("--row", choices=list(KNOWN["rows"]), help="of the paper, to print beside")
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    a = p.parse_args(given[:at])
    if a.what == "list":
        for name, s in KNOWN["suites"].items():
            print(f"{name}: {s['says']}\n  " + ", ".join(f"{task} ({metric})" for task, metric in s["tasks"].items()))
        print("rows of the paper:\n  " + ", ".join(KNOWN["rows"]))
    elif a.what == "table":
        show(merged(a.results), a.row)
    else:
        run(a, given[at + 1 :])


if __name__ == "__main__":
    main()
