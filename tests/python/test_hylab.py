#!/usr/bin/env python3
"""The package against NumPy: what it gives is computed a second time from its own activations, from files made by
other programs, and by the program. Prints "ok NAME" or "not ok NAME"; arguments: parts of names. HYLAB: the
program; cwd: the tree.
"""

import csv
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import numpy as np

import hylab

GOLDEN = pathlib.Path("tests/golden")
tmp = pathlib.Path(tempfile.mkdtemp())
rng = np.random.default_rng(3)


def tensors(path):
    """A safetensors file as NumPy arrays."""
    data = pathlib.Path(path).read_bytes()
    n = int.from_bytes(data[:8], "little")
    kinds = {"F32": np.float32, "I32": np.int32, "I64": np.int64}
    out = {}
    for name, t in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = np.frombuffer(data[8 + n + a : 8 + n + b], kinds[t["dtype"]]).reshape(t["shape"])
    return out


def near(found, wanted, relative, what=""):
    """The 2-norm of the difference over that of what is wanted."""
    found, wanted = np.asarray(found, float), np.asarray(wanted, float)
    assert found.shape == wanted.shape, f"{what}: shape {found.shape}, wanted {wanted.shape}"
    error = np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-300)
    assert error <= relative, f"{what}: relative error {error:.3g} above {relative}"


def refused(*words, **how):
    """A context in which hylab.Error with these words is raised."""

    class Refused:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, _):
            assert kind is not None, f"nothing was refused; wanted: {words}"
            if not issubclass(kind, hylab.Error):
                return False
            for word in words:
                assert word in str(error), f"no {word!r} in: {error}"
            if "status" in how:
                assert error.status == how["status"], f"status {error.status}"
            return True

    return Refused()


def program(*args):
    done = subprocess.run([os.environ["HYLAB"], *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(*args):
    return list(csv.DictReader(io.StringIO(program(*args, "--format", "csv"))))


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def nll(logits, labels):
    """Nats of the label at each position, in float64."""
    z = logits.astype(float)
    z = z - z.max(-1, keepdims=True)
    return np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, labels[..., None], -1)[..., 0]


def small(**set):
    return hylab.load("hymba", set={"vocab": 64, "attention.window": 5, **set}, threads=1)


def ids_of(m, *shape):
    return rng.integers(0, m.vocab, shape)


# ---------------------------------------------------------------- what others computed
def test_golden():
    for folder in ("hymba-tiny", "llama3-tiny", "mamba-tiny", "mamba2-tiny-groups", "falcon-h1-tiny"):
        wanted = tensors(GOLDEN / folder / "expected.safetensors")
        ids = wanted["input_ids"]
        with hylab.load(GOLDEN / folder, threads=1) as m:
            assert m.trained and m.vocab == wanted["logits"].shape[-1]
            near(m.logits(ids), wanted["logits"], 1e-5, folder)
            nats, predicted = m.loss(ids)
            near(nats[:, :-1].mean(dtype=float), wanted["loss"].reshape(()), 1e-5, f"{folder} loss")
            assert (nats[:, -1] == 0).all() and (predicted[:, -1] == -1).all()
            assert (predicted[:, :-1] == wanted["logits"].argmax(-1)[:, :-1]).all()
            seen = m.activations(ids, ["layers.*.input", "final_norm"])
            for i in range(m.layers):
                near(seen[f"layers.{i}.input"], wanted[f"hidden.{i}"], 1e-5, f"{folder} hidden.{i}")
            near(seen["final_norm"], wanted[f"hidden.{m.layers}"], 1e-5, f"{folder} final_norm")


def test_parameters():
    file = tensors(GOLDEN / "hymba-tiny/model.safetensors")
    with hylab.load(GOLDEN / "hymba-tiny") as m:
        assert (m.parameter("embed") == file["model.embed_tokens.weight"]).all()
        assert (m.parameter("meta") == file["model.memory_tokens"]).all()
        assert (m.parameter("layers.1.D") == file["model.layers.1.mamba.D.0"]).all()
        for name, shape in m.parameters.items():
            assert m.parameter(name).shape == shape
        assert m.params == sum(m.parameter(name).size for name in m.parameters)
        with refused("no parameter 'layers.0.DD'", "layers.0.D"):
            m.parameter("layers.0.DD")


# ---------------------------------------------------------------- facts, shapes
def test_facts():
    with small() as m:
        assert (m.vocab, m.d_model, m.layers, m.meta_tokens, m.name, m.trained) == (64, 128, 7, 16, "hymba", False)
        assert m.spec["vocab"] == 64 and m.spec["layers.1.attention.window"] == 5 and m.spec["tied"] is True
        assert (
            m.spec["layers.0.attention.window"] == "none"
            and m.spec["layers.0.mixer"] == "parallel"
            and m.spec["attention.window"] == "none,5"
        )
        assert [h["window"] for h in m.heads] == [0, 5, 5, 0, 5, 5, 0] and m.heads[2]["kv_source"] == 1
        assert m.heads[0]["attention"] == 4 and m.heads[0]["ssm"] == 256
        assert f"{m.params}" in repr(m)
        shown = program("show", "spec", "variants/hymba.yaml", "--set", "vocab=64", "--set", "attention.window=5")
        assert f"{m.params:,}" in shown or str(m.params) in shown, shown
    assert hylab.load("variants/hymba.yaml").spec == hylab.load("hymba").spec
    assert "paper/hymba-1.5b" in hylab.variants() and "hymba" in hylab.variants()
    assert "examples" in hylab.measures("maps") and "Measure erf" in hylab.measures() and "vocab" in hylab.tasks("mqar")
    assert "mqar" in hylab.tasks() and hylab.__version__ in hylab.version()


def test_shapes():
    with small() as m:
        ids = ids_of(m, 9)
        every = m.activations(ids)
        assert set(every) == set(m.values)
        for name, a in every.items():
            assert a.shape == (16 + 9, m.values[name]) and a.dtype == np.float32, name
        two = m.activations(ids_of(m, 2, 9), "layers.3.*")
        assert all(a.shape == (2, 25, m.values[name]) for name, a in two.items()) and len(two) > 20
        text = m.activations(ids, "final_norm", meta=False)["final_norm"]
        assert (text == every["final_norm"][16:]).all()
        assert m.logits(ids).shape == (9, 64) and m.logits(ids[None]).shape == (1, 9, 64)
        assert m.logits(list(map(int, ids))).dtype == np.float32
        near(m.logits(ids), every["final_norm"][16:] @ m.parameter("embed").T, 1e-5, "logits from final_norm")
        m.logits(ids)[:] = 0  # a copy: nothing of the model changes
        assert (m.logits(ids) != 0).any()


def test_bits():
    """The same bits on 1 and 2 threads, in two models, in threads of Python; together and alone the same up to
    rounding.
    """
    with small() as one, hylab.load("hymba", set={"vocab": 64, "attention.window": 5}, threads=2) as two, hylab.load(
        "hymba", init_seed=2, set={"vocab": 64}, threads=1
    ) as other:
        ids = ids_of(one, 3, 21)
        alone = [one.logits(row) for row in ids]
        together = one.logits(ids)
        assert (two.logits(ids) == together).all() and (other.logits(ids) != together).any()
        near(np.stack(alone), together, 1e-6)
        found = [None] * 4
        work = [
            threading.Thread(target=lambda i=i: found.__setitem__(i, (one, other)[i % 2].logits(ids))) for i in range(4)
        ]
        [t.start() for t in work], [t.join() for t in work]
        assert all((f == (one, other)[i % 2].logits(ids)).all() for i, f in enumerate(found))


def test_precisions():
    """Matrices in bfloat16 are the float32 ones rounded; so are the results, about."""
    with small() as m, hylab.load("hymba", set={"vocab": 64, "attention.window": 5}, weights="bf16") as kept:
        ids, f32 = ids_of(m, 30), m.parameter("embed")
        rounded = (
            f32.view(np.uint32) + 0x7FFF + (f32.view(np.uint32) >> 16 & 1) & 0xFFFF0000
        )  # to nearest, ties to even
        assert (kept.parameter("embed") == rounded.view(np.float32)).all() and (rounded.view(np.float32) != f32).any()
        assert (kept.parameter("layers.0.A_log") == m.parameter("layers.0.A_log")).all()
        near(kept.logits(ids), m.logits(ids), 2e-2, "weights in bfloat16")
        assert (kept.logits(ids) != m.logits(ids)).any()
    with hylab.load("hymba", set={"vocab": 64, "attention.window": 5}, precision="bf16") as low:
        assert low.precision == "bf16"
        near(low.logits(ids), small().logits(ids), 5e-2, "computed in bfloat16")


def test_loss():
    with small() as m:
        ids = ids_of(m, 2, 12)
        labels = np.where(rng.random((2, 12)) < 0.5, ids_of(m, 2, 12), -100)
        nats, predicted = m.loss(ids, labels)
        logits = m.logits(ids)
        near(nats[labels >= 0], nll(logits, np.maximum(labels, 0))[labels >= 0], 1e-5)
        assert (nats[labels < 0] == 0).all() and (predicted[labels < 0] == -1).all()
        assert (predicted[labels >= 0] == logits.argmax(-1)[labels >= 0]).all()


# ---------------------------------------------------------------- maps
def attention_maps(m, seen, layer):
    """[heads, S, S] in plain NumPy, from queries and the keys of the layer whose keys are used."""
    of = lambda key: m.spec[f"layers.{layer}.attention.{key}"]
    H, KV, d = of("heads"), of("kv_heads"), of("d_qk")
    q = seen[f"layers.{layer}.attn.q"].astype(float)
    k = seen[f"layers.{m.heads[layer]['kv_source']}.attn.k"].astype(float)
    S, window = len(q), m.heads[layer]["window"]
    i, j = np.indices((S, S))
    visible = (j <= i) & ((window == 0) | (i - j <= window) | (j < m.meta_tokens))
    out = []
    for h in range(H):
        g = h // (H // KV)
        scores = q[:, h * d : (h + 1) * d] @ k[:, g * d : (g + 1) * d].T / np.sqrt(d)
        out.append(softmax(np.where(visible, scores, -np.inf)))
    return np.stack(out), visible


def test_attention_maps():
    with small() as m, hylab.load(GOLDEN / "hymba-tiny", threads=1) as golden:
        for model in (m, golden):
            ids = ids_of(model, 19)
            seen = model.activations(ids, ["layers.*.attn.q", "layers.*.attn.k"])
            each, mean = model.maps(ids, head="each"), model.maps(ids)
            second = model.maps(ids, head=1, hidden=np.nan)
            for i in range(model.layers):
                wanted, visible = attention_maps(model, seen, i)
                near(each[i], wanted, 1e-5, f"layer {i}")
                near(mean[i], wanted.mean(0), 1e-5, f"mean of layer {i}")
                assert (np.isnan(second[i]) == ~visible).all()
                near(second[i][visible], wanted[1][visible], 1e-5, f"head 1 of layer {i}")
        assert list(m.maps(ids_of(m, 4), layers=3)) == [3] and list(m.maps(ids_of(m, 4), layers=[2, 5])) == [2, 5]


def test_ssm_maps():
    """alpha x + D x is what a Mamba-1 SSM gives before its gate, by the map and by the recurrence."""
    silu = lambda a: a / (1 + np.exp(-a))
    with small() as m:
        ids, layer = ids_of(m, 11), 2
        seen = {k.split(".ssm.")[1]: v.astype(float) for k, v in m.activations(ids, f"layers.{layer}.ssm.*").items()}
        A, D = -np.exp(m.parameter(f"layers.{layer}.A_log").astype(float)), m.parameter(f"layers.{layer}.D").astype(
            float
        )
        x, delta = seen["x"], np.log1p(np.exp(seen["dt"]))
        h, y = np.zeros(A.shape), []
        for t in range(len(x)):
            h = np.exp(delta[t][:, None] * A) * h + (delta[t] * x[t])[:, None] * seen["B"][t]
            y.append(h @ seen["C"][t] + D * x[t])
        y = np.array(y)
        near(seen["out"], y * silu(seen["gate"]), 1e-5, "the recurrence")
        every = m.maps(ids, layers=layer, kind="ssm", head="each", norm="signed")[layer]
        near(np.einsum("dij,jd->id", every, x) + D * x, y, 1e-5, "alpha x + D x")
        one = np.abs(every.astype(float)).mean(0)
        near(m.maps(ids, layer, "ssm")[layer], one / one.sum(1, keepdims=True), 1e-5, "all channels as one")
        both = m.maps(ids, layer, "layer")[layer]
        near(both, (m.maps(ids, layer)[layer] + m.maps(ids, layer, "ssm")[layer]) / 2, 1e-6, "the layer")


def test_ssd_maps():
    """The same for the heads of Mamba-2."""
    with hylab.load(GOLDEN / "mamba2-tiny-groups", threads=1) as m:
        ids = ids_of(m, 13)
        seen = m.activations(ids, "layers.1.ssm.*")
        D, x, y = m.parameter("layers.1.D"), seen["layers.1.ssm.x"], seen["layers.1.ssm.y"]
        maps = m.maps(ids, 1, "ssm", head="each", norm="signed")[1]
        H = m.heads[1]["ssm"]
        assert maps.shape == (H, 13, 13) and D.shape == (H,)
        x = x.reshape(13, H, -1)
        near((np.einsum("hij,jhp->ihp", maps, x) + D[:, None] * x).reshape(13, -1), y, 1e-5)
        with refused("no attention"):
            m.maps(ids)


def test_erf():
    with small() as m:
        ids = ids_of(m, 17)
        S, L = 16 + 17, m.layers
        back = S - 1 - np.arange(S)
        attention, ssm = m.maps(ids, head="each"), m.maps(ids, kind="ssm")
        by_head = {i: attention[i][:, -1].astype(float) @ back for i in range(L)}
        by_ssm = {i: ssm[i][-1].astype(float) @ back for i in range(L)}
        weight = np.array([2 * (L - n) / (L * (L + 1)) for n in range(L)])  # layers from 0
        found = m.erf(ids)
        near(found.layers["attention"], [by_head[i].mean() for i in range(L)], 1e-5, "attention")
        near(found.layers["ssm"], [by_ssm[i] for i in range(L)], 1e-5, "ssm")
        halves = np.array([(by_head[i].mean() + by_ssm[i]) / 2 for i in range(L)])
        near(float(found), weight @ halves, 1e-5, "eq. 5")
        near(
            m.erf(ids, heads="attention"), weight @ [by_head[i].mean() for i in range(L)], 1e-5, "attention heads alone"
        )
        near(
            m.erf(ids, heads="pooled"),
            weight @ [np.append(by_head[i], by_ssm[i]).mean() for i in range(L)],
            1e-5,
            "pooled",
        )
        near(m.erf(ids, uniform=True), halves.mean(), 1e-5, "uniform")
        text = [(attention[i][:, -1, 16:] @ back[16:] / attention[i][:, -1, 16:].sum(1)).mean() for i in range(L)]
        near(m.erf(ids, heads="attention", meta="renormalised"), weight @ text, 1e-5, "without meta tokens")
        several = m.erf(np.stack([ids, ids[::-1]]))
        assert several.each[0] == float(found) and several == several.each.mean()


# ---------------------------------------------------------------- ablations, tasks, measures
def test_ablation():
    with small() as m:
        task = hylab.Task("mqar", seed=1, vocab=48, train=[[32, 4]], test=[[32, 4]], test_examples=12)
        ids, labels = task.examples(12)
        found = m.ablate(task, batch=5)
        assert found.names == m.units() and len(found.names) == 14 and found.n == 12
        logits = m.logits(ids)
        wanted = labels >= 0
        per = (nll(logits, np.maximum(labels, 0)) * wanted).sum(1) / wanted.sum(1)
        near(found.intact_loss, per, 1e-5, "intact loss")
        near(
            found.intact_accuracy,
            ((logits.argmax(-1) == labels) & wanted).sum(1) / wanted.sum(1),
            1e-9,
            "intact accuracy",
        )
        d = found.loss - found.intact_loss
        near(found.loss_rise, d.mean(1), 1e-9)
        near(found.loss_rise_se, d.std(1, ddof=1) / np.sqrt(12), 1e-9)
        low, high = found.interval()
        near(high - found.loss_rise, 2.200985160 * found.loss_rise_se, 1e-6, "Student's t of 11 degrees")
        near(low + high, 2 * found.loss_rise, 1e-9)
        same = m.ablate(ids, labels=labels, batch=5)
        assert (same.loss == found.loss).all() and (same.accuracy == found.accuracy).all()
        own = m.ablate(ids, labels=m.logits(ids).argmax(-1))  # of which the whole model has every one right
        assert (own.intact_accuracy == 1).all() and (own.accuracy_drop > 0).any()
        near(own.accuracy_drop, 1 - own.accuracy.mean(1), 1e-9)
        stored = m.measure("ablation", task, examples=12, batch=5)
        for i, name in enumerate(found.names):
            near(stored.value("loss_rise", name), found.loss_rise[i], 1e-9, name)
        # without the last layer: the rest of the way in NumPy
        last = m.layers - 1
        x = m.activations(ids, f"layers.{last}.input", meta=False)[f"layers.{last}.input"].astype(float)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + m.spec["norm.eps"]) * m.parameter("final_norm")
        per = (nll(x @ m.parameter("embed").T.astype(float), np.maximum(labels, 0)) * wanted).sum(1) / wanted.sum(1)
        near(m.ablate(task, "layers", remove=f"layer{last}").loss[0], per, 1e-5, "without the last layer")
        sets = m.ablate(task, remove=["layer0.ssm", "layer0.*, layer3.ssm"], batch=5)
        assert sets.names == ["layer0.ssm", "layer0.*, layer3.ssm"]
        assert (sets.loss[0] == found.loss[found.names.index("layer0.ssm")]).all() and (
            sets.loss[1] != sets.loss[0]
        ).any()
        assert m.units("heads")[:2] == ["layer0.head0", "layer0.head1"] and "layer6" in m.units("layers, mlps")
        for how in ("mean", "resample"):
            other = m.ablate(task, remove="layer0.ssm", how=how, batch=5)
            assert (other.intact_loss == found.intact_loss).all() and (other.loss[0] != sets.loss[0]).any()
        with refused("'layer9' fits none"):
            m.ablate(task, remove="layer9")
        with refused("how nothing: there are zero|mean|resample", status=2):
            m.ablate(task, how="nothing")
        with refused("parts heds"):
            m.ablate(task, "heds")
        with refused("vocabulary of 64"):
            m.ablate(hylab.Task("mqar"))
        with refused("no example has a label"):
            m.ablate(ids, labels=np.full(ids.shape, -1))


def test_task():
    task = hylab.Task("mqar", vocab=48, train=[[32, 4]], test=[[32, 4]], seed=5)
    ids, labels = task.example(3)
    assert (
        ids.shape == labels.shape == (32,)
        and ids.max() < 48 == task.vocab
        and set(labels[labels < 0]) == {hylab.IGNORE}
    )
    assert (labels >= 0).sum() == 4 and (
        hylab.Task("mqar", vocab=48, train=[[32, 4]], test=[[32, 4]], seed=5).example(3)[0] == ids
    ).all()
    shown = program(
        "task",
        "mqar",
        "--set",
        "vocab=48",
        "--set",
        "train=[[32,4]]",
        "--set",
        "test=[[32,4]]",
        "--seed",
        5,
        "--split",
        "eval",
        "--show",
        4,
        "--format",
        "csv",
    )
    rows = [r for r in csv.reader(io.StringIO(shown)) if r[2] == "3"]
    assert [int(r[4]) for r in rows] == list(ids) and [int(r[5] or -100) for r in rows] == list(labels)
    own = hylab.Task.given([[1, 2, 3], [4, 5, 6]])
    assert (own.example(1)[0] == [4, 5, 6]).all() and (own.example(1)[1] == [5, 6, -100]).all()
    with refused("no example 2"):
        own.example(2)
    with refused("cell 1"):
        own.example(0, cell=1)
    with refused('unknown key "vocb"', "vocab"):
        hylab.Task("mqar", vocb=3)
    with refused("no task kind"):
        hylab.Task("mqarr")
    with refused("labels has shape"):
        hylab.Task.given([[1, 2, 3]], [[1, 2]])


def test_measure():
    """Figures and arrays of measures are those of the commands."""
    task = hylab.Task("mqar", vocab=48, train=[[32, 4]], test=[[32, 4]])
    options = [a for k in ("vocab=48", "train=[[32,4]]", "test=[[32,4]]") for a in ("--task-set", k)]
    with hylab.load("hymba") as m:
        rows = table("probe", "variants/hymba.yaml", "--task", "mqar", *options, "--erf", "--prompts", 2)
        found = m.measure("erf", task, examples=2)
        near(float(rows[-1]["used"]), found.value("erf"), 1e-4, "the command")
        near(m.erf(task.examples(2)[0]), found.value("erf"), 1e-9, "of ids")
        assert found.frame().shape == (len(found.rows), 10) if pandas_is_there() else True
        maps = m.measure("maps", task, layers=[1], heads=True, keep="maps")
        ids = task.example(0)[0]
        near(np.nan_to_num(maps.arrays["map.layer1.attention.head2"]), m.maps(ids, 1, head=2)[1], 1e-7)
        assert m.measure("size", task).value("parameters") == m.params
        with refused("no measure", 'did you mean "erf"'):
            m.measure("erff", task)
        with refused("it needs a task"):
            m.measure("erf")
        with refused("measure erf", "examples"):
            m.measure("erf", task, examples=0)


def pandas_is_there():
    try:
        import pandas

        return True
    except ImportError:
        return False


# ---------------------------------------------------------------- tokenizers
def test_tokenizer():
    t = hylab.Tokenizer("bytes")
    assert (t.encode("h\u00e9") == [104, 195, 169]).all() and t.decode([104, 195, 169]) == "h\u00e9" and t.vocab == 256
    assert t.encode("").size == 0 and t.decode([]) == ""
    llama = hylab.Tokenizer("tests/golden/tokenizers/llama2.json")
    ids = llama.encode("Hybrid heads\n")
    assert ids.dtype == np.int32 and llama.decode(ids) == "Hybrid heads\n" and llama.bos is None
    shown = table("tokenize", "tests/golden/tokenizers/llama2.json", "Hybrid heads\n")
    assert [int(row["id"]) for row in shown] == list(ids), shown
    assert (llama.encode("Hybrid heads\n", special=False) == ids[1:]).all() and ids[0] == 1
    with refused("x.json"):
        hylab.Tokenizer("x.json")
    folder = tmp / "with-tokenizer"
    shutil.copytree(GOLDEN / "llama-tiny", folder)
    shutil.copy("tests/golden/tokenizers/llama2.json", folder / "tokenizer.json")
    with hylab.load(folder) as m:
        assert (m.tokenizer.encode("Hybrid heads\n") == ids).all()
    with refused("no folder"), small() as m:
        m.tokenizer


# ---------------------------------------------------------------- what is refused
def test_refused():
    with small() as m:
        for ids, words in (
            ([], "empty"),
            ([64], "ids[0] is 64: "),
            ([3, -1], "ids[1] is -1"),
            ([1.0, 2.0], "float64"),
            ("abc", "tokenizer"),
            ([2**40], str(2**40)),
            ([[1, 2], [3]], "one length"),
            ([True], "bool"),
            (np.zeros((1, 1, 1), int), "[1, 1, 1]"),
            (7, "shape"),
        ):
            for call in (m.logits, m.loss, m.activations, m.erf, m.ablate, m.maps):
                with refused(words):
                    call(ids)
        with refused("ids has shape [1, 2]"):
            m.maps([[1, 2]])
        with refused("labels[1] is 64", status=2):
            m.loss([1, 2], [3, 64])
        with refused("labels has shape [1], ids [2]"):
            m.loss([1, 2], [3])
        for name in ("layers.0.attn.qq", "logits", "x"):
            with refused(name, "Model.values"):
                m.activations([1, 2], name)
        with refused("kind 'heads'"):
            m.maps([1], kind="heads")
        with refused("layer is 7"):
            m.maps([1], layers=7)
        with refused("no attention map of head 4: layer 0 has 4", status=2):
            m.maps([1], head=4)
        with refused("head is 'all'"):
            m.maps([1], head="all")
        with refused("norm must be one of"):
            m.maps([1], norm="rows")
        with refused("hidden is None"):
            m.maps([1], hidden=None)
        with refused("heads must be one of"):
            m.erf([1], heads="both")
    with refused("no layer of mamba has heads of the kind"), hylab.load(GOLDEN / "mamba-tiny") as m:
        m.erf([1, 2], heads="attention")
    with refused("nowhere", status=2):
        hylab.load("nowhere.yaml")
    with refused("hymbaa", "hymba"):
        hylab.load("hymbaa")
    with refused("d_modell", "d_model"):
        hylab.load("hymba", set={"d_modell": 64})
    with refused("threads"):
        hylab.load("hymba", threads=-1)
    with refused("isa"):
        hylab.load("hymba", isa=3)
    with refused("avx3"):
        hylab.load("hymba", isa="avx3")
    with refused("weights f16: there are auto, f32 and bf16"):
        hylab.load("hymba", weights="f16")
    with refused("precision"):
        hylab.load("hymba", precision="f64")
    with refused("path is None"):
        hylab.load(None)
    with refused("max_len"), hylab.load("hymba", set={"positions": "learned", "max_len": 8, "rope.kind": "none"}) as m:
        m.logits(np.arange(9))


def test_closed():
    m = small()
    q = m.parameter("final_norm")
    m.close(), m.close()
    assert m.closed and "closed" in repr(m) and (q == 1).all()
    for call in (m.logits, m.loss, m.activations, m.maps, m.erf, m.ablate):
        with refused("the model hymba is closed"):
            call([1, 2])
    with refused("closed"):
        m.parameter("final_norm")
    with refused("closed"), m:
        pass
    m, found = small(), []
    many = np.tile(np.arange(60), (100, 8))
    work = threading.Thread(target=lambda: found.append(m.ablate(many, remove="layer0.ssm").n))
    work.start()
    time.sleep(0.3)
    m.close()  # waits for the call of the other thread
    assert found == [100] or work.join() or found == [100]
    task = hylab.Task.given([1, 2])
    task.close()
    with refused("the task is closed"):
        task.example(0)
    t = hylab.Tokenizer("bytes")
    t.close()
    with refused("the tokenizer is closed"):
        t.encode("x")


def test_not_a_number():
    folder = tmp / "nan"
    shutil.copytree(GOLDEN / "hymba-tiny", folder)
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[200000:200004] = np.float32(np.nan).tobytes()
    file.write_bytes(data)
    with hylab.load(folder) as m:
        ids = np.arange(12)
        with refused("is not a finite number", "hymba", status=4):
            m.logits(ids)
        with refused("not a finite number", status=4):
            m.loss(ids)
        with refused("not", status=4):
            m.ablate(ids)
        seen = m.activations(ids)
        first = next(name for name, a in seen.items() if not np.isfinite(a).all())
        assert np.isfinite(seen["layers.0.input"]).all() and first.startswith("layers."), first


# ---------------------------------------------------------------- the package
def test_syntax():
    """Python 3.8 reads it, as pyproject.toml says."""
    import ast

    for file in [*pathlib.Path("python").rglob("*.py")]:
        ast.parse(file.read_text(), feature_version=(3, 8))


# ---------------------------------------------------------------- processes
def test_interrupt():
    """ctrl-C ends a call in C; the model works on."""
    code = """
import hylab, numpy as np, sys, time
m = hylab.load("hymba", set={"vocab": 64}, threads=1)
before = m.logits(np.arange(20))
print("ready", flush=True)
try:
    m.ablate(np.tile(np.arange(60), (2000, 8)), "heads")
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted", (m.logits(np.arange(20)) == before).all(), flush=True)
time.sleep(0)
"""
    # what a shell starts in the background ignores the signal, and so would the child
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, preexec_fn=heard)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)  # all of it would take an hour
    finally:
        process.kill()
    assert out == "interrupted True\n" and process.returncode == 0, (out, process.returncode)


def test_run_and_results():
    experiment = tmp / "small.yaml"
    (tmp / "m.yaml").write_text(
        "{vocab: 40, d_model: 8, layers: 1, mixer: attention, attention: {heads: 2}, mlp: {d_ff: 8}}\n"
    )
    experiment.write_text("""
name: small
variants:
  - {name: a, file: m.yaml}
  - {name: b, file: m.yaml, set: {d_model: 16}}
tasks:
  - {name: recall, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 8}}
train: {batch: 2, steps: 3}
seeds: [1, 2]

""")
    db, lines = tmp / "x.db", []
    printed = hylab.run(experiment, db=db, set={"train.steps": 4}, progress=lines.append, jobs=1, threads=1)
    assert lines and "recall" in printed, (lines, printed)
    with refused("no figure of acuracy", "accuracy") if pandas_is_there() else refused("pandas"), hylab.results(
        db
    ) as r:
        rows = r.rows("SELECT * FROM v_run")
        assert len(rows) == 4 and r.experiments() == ["small"]
        assert not pandas_is_there() or results_are_tables(r, db)
        r.final("acuracy")
    with refused("attempt to write"), hylab.results(db) as r:
        r.rows("DELETE FROM model")
    with refused("no such file"):
        hylab.results(tmp / "none.db")
    (tmp / "other.db").write_text("not a database at all, but long enough to be looked at")
    with refused("not a database"):
        hylab.results(tmp / "other.db")
    with refused("nowhere.yaml", status=2):
        hylab.run(tmp / "nowhere.yaml", db=db, progress=lines.append)
    with refused("stepz", "steps"):
        hylab.run(experiment, db=db, set={"train.stepz": 4}, progress=lines.append)
    assert hylab.command("--version").startswith("hylab ")


def results_are_tables(r, db):
    models = r.models()
    assert len(models) == 4 and set(models["d_model"]) == {8, 16} and set(models["train.steps"]) == {4}
    assert list(r.models(params=["train.lr"]).columns) == list(r.models(params=False).columns) + ["train.lr"]
    stored = r.rows(
        "SELECT path, value FROM v_param JOIN v_run USING(run_id) WHERE v_run.variant = 'b' AND v_run.seed = 1"
    )
    stored = {x["path"]: str(x["value"]) for x in stored if not x["path"].startswith(("task.", "train."))}
    spec = hylab.load(tmp / "m.yaml", set={"d_model": 16}).spec
    spec.pop("name")
    assert {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in spec.items()} == stored
    final = r.final("accuracy", experiment="small", cell="", params=["d_model", "train.*"])
    assert len(final) == 4 and set(final["train.batch"]) == {2}
    wanted = program(
        "show",
        "sql",
        "select avg(r.value) from v_result r join v_param p using(run_id) where metric = 'accuracy' and cell = '' "
        "and path = 'd_model' and p.value = 16",
        "--db",
        db,
        "--format",
        "csv",
    ).split()[-1]
    near(final[final["d_model"] == 16]["value"].mean(), float(wanted), 1e-9)
    assert len(r.final(["accuracy", "loss"], seed=1, variant="a")) >= 2
    varying = r.final("accuracy", cell="")
    assert set(varying["d_model"]) == {8, 16} and "vocab" not in varying
    assert not {"d_model", "vocab"} & set(r.final("accuracy", params=False).columns)
    with refused("no column sead", "seed"):
        r.final("accuracy", sead=1)
    with refused("none of these models has the parameter train.lrr"):
        r.models(params="train.lrr")
    return True


def main():
    bad = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (sys.argv[1:] and not any(a in name for a in sys.argv[1:])):
            continue
        try:
            test()
            print("ok python", name[5:], flush=True)
        except Exception:
            print("not ok python", name[5:])
            print("".join("  " + line for line in traceback.format_exc().splitlines(True)), flush=True)
            bad = 1
    shutil.rmtree(tmp, ignore_errors=True)
    return bad


if __name__ == "__main__":
    sys.exit(main())
