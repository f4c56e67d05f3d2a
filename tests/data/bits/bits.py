#!/usr/bin/env python3
"""bits.py - the facts of the runs of tests/cli/test_bits.sh, as lines RUN, KIND, NAME, VALUE with tabs.

  bits.py facts FOLDER             the facts of the files that the runs left there
  bits.py check FACTS EXPECTED ISA one line "ok ISA RUN" or "not ok ISA RUN: what differs" for each run expected
  bits.py libm                     a hash of what exp, log and others of the C library give here

A checkpoint gives a fact for each tensor (the hashes of its weights and of its two moments; metadata, order and offsets do not count)
and one for all together; a loss curve gives loss, learning rate and gradient norm of every step; JSON gives a fact for each number,
named by what its row is of. What is expected must be there and equal; a
table may have more. Figures are sums in double, in whose last digit one sees which libm made them: where the machine's is not the one
that EXPECTED names, they must agree to 1e-12 of their size; tensors and tokens must be the same bits anywhere."""
import csv
import hashlib
import json
import math
import re
import struct
import sys
from pathlib import Path

# what tells the rows of a table apart; the other columns are figures
KEYS = {"eval": ["cell"], "entropy": ["layer", "map"], "erf": ["layer"], "cache": ["variant"],
        "layers": ["layer"], "parameters": ["part"], "lengths": ["tokens"]}


def tensors(path):
    data = path.read_bytes()
    (n,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    parts, everything = {}, hashlib.sha256()
    for name in sorted(header):
        t = header[name]
        begin, end = t["data_offsets"]
        about = f"{name} {t['dtype']} {t['shape']}\n".encode()
        body = data[8 + n + begin:8 + n + end]
        everything.update(about + body)
        m = re.fullmatch(r"train\.([mv])\.(.*)", name)
        what, tensor = (m[1], m[2]) if m else ("w", name)
        shape = "x".join(str(d) for d in t["shape"])
        parts.setdefault(tensor, []).append(f"{what}:{t['dtype']}:{shape}:{hashlib.sha256(body).hexdigest()[:10]}")
    for tensor, values in sorted(parts.items()):
        # one shape for all three is told once
        kinds = {v.split(":", 1)[1].rsplit(":", 1)[0] for v in values}
        if len(kinds) == 1:
            values = [kinds.pop()] + [v.split(":")[0] + ":" + v.split(":")[-1] for v in sorted(values)]
        yield "tensor", tensor, " ".join(sorted(values))
    yield "tensor", "(all)", everything.hexdigest()


def figures(kind, table):
    for row in table["rows"]:
        of = " ".join(str(row[k]) for k in KEYS[kind])
        for column, value in row.items():
            if column not in KEYS[kind] and value is not None:
                yield kind, f"{of} {column}", json.dumps(value)


def curve(path):
    """What training told of each step; how fast it was is no fact."""
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            for column in ("loss_nats", "lr", "grad_norm"):
                yield "curve", f"step {row['step']} {column}", row[column]


def facts(folder):
    for path in sorted(Path(folder).iterdir()):
        run, _, kind = path.name.rpartition(".")
        if kind == "safetensors":
            found = tensors(path)
        elif kind in ("generate", "sample"):
            lines = [x for x in path.read_text().splitlines() if not x.startswith("---")]
            found = [(kind, "ids", " ".join(" ".join(lines).split()))]
        elif kind == "spec":
            spec = json.loads(path.read_text())
            found = [f for k in ("layers", "parameters", "lengths") for f in figures(k, spec[k])]
        elif kind == "curve":
            found = curve(path)
        elif kind in KEYS:
            found = figures(kind, json.loads(path.read_text()))
        else:
            continue
        for f in found:
            print("\t".join((run,) + f))


def read(path):
    runs = {}
    for line in Path(path).read_text().splitlines():
        if line and not line.startswith("#"):
            run, kind, name, value = line.split("\t")
            runs.setdefault(run, {})[kind, name] = value
    return runs


def libm():
    """Processors with and without FMA take other code paths in one C library, and versions of it differ."""
    h = hashlib.sha256()
    for f in (math.exp, math.log, math.log1p, math.expm1, math.cos, math.sin):
        for i in range(1, 5000):
            x = (i * 0.6180339887498949) % 1 * 6
            h.update(struct.pack("<d", f(-x if f is math.exp else x)))
    return h.hexdigest()[:8]


def same(kind, a, b, tolerance):
    if a == b:
        return True
    if kind in ("tensor", "generate", "sample"):
        return False
    try:  # 1 and 1.0 are one number
        a, b = json.loads(a), json.loads(b)
        return abs(a - b) <= tolerance * max(abs(a), abs(b))
    except (TypeError, ValueError):
        return False


def check(got_path, wanted_path, isa):
    got, wanted, bad = read(got_path), read(wanted_path), 0
    here = "libm " + libm() in Path(wanted_path).read_text().split("\n", 3)[2]
    tolerance, note = (0, "") if here else (1e-12, " (pinned with another libm than this machine has)")
    for run, facts in wanted.items():
        have = got.get(run, {})
        wrong = [(k, v, have.get(k)) for k, v in facts.items() if have.get(k) is None or not same(k[0], have[k], v, tolerance)]
        # weights must be the same ones: a tensor more is another model
        wrong += [(k, None, v) for k, v in have.items() if k[0] == "tensor" and k not in facts]
        if not wrong:
            print(f"ok {isa} {run}")
            continue
        bad = 1
        print(f"not ok {isa} {run}: {len(wrong)} of {len(facts)} differ, first {wrong[0][0][0]} {wrong[0][0][1]}{note}")
        for (kind, name), want, value in wrong[:12]:
            print(f"    {kind} {name}: {'absent' if value is None else value}, wanted {'none' if want is None else want}")
        if len(wrong) > 12:
            print(f"    and {len(wrong) - 12} more")
    for run in got:
        if run not in wanted:
            bad = 1
            print(f"not ok {isa} {run}: nothing is expected of it (--record writes it)")
    return bad


if len(sys.argv) == 3 and sys.argv[1] == "facts":
    facts(sys.argv[2])
elif sys.argv[1:] == ["libm"]:
    print(libm())
elif len(sys.argv) == 5 and sys.argv[1] == "check":
    sys.exit(check(*sys.argv[2:]))
else:
    sys.exit(__doc__)
