"""Models: load one, run it, look inside."""

import ctypes
import fnmatch
import os
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int, c_int32, c_uint8, c_void_p

import numpy as np

from . import _lib
from ._lib import Error, Handle
from .places import variant
from .statistics import mean_and_error, t_quantile
from .task import Task, Tokenizer

_KINDS = {"attention": 0, "ssm": 1, "layer": 2}


def _parsed(value):
    """A value of the spec: a number or a truth value where it is one."""
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _by_path(leaves):
    """The values of a spec as a database has them: of each layer, "layers.3.attention.window", and of all that have it,
    "attention.window": each once, in the order of the layers ("none,16")."""
    out, over = {}, {}
    for path, value in leaves.items():
        if path.startswith("layer_table."):
            number, _, rest = path[len("layer_table.") :].partition(".")
            path = f"layers.{number}.{rest}"
            over.setdefault(rest, [])
            if value not in over[rest]:
                over[rest].append(value)
        out[path] = _parsed(value)
    out.update((path, _parsed(",".join(values))) for path, values in over.items() if path not in out)
    return out


def load(path, init_seed=1, set=None, threads=0, weights="auto", precision="f32", isa="auto"):
    """Opens a model.

    path: a variant, as a YAML file or by its name (``hylab.variants()``), with random weights of ``init_seed``; a
        checkpoint of hylab (``.safetensors``); or a published folder with ``config.json`` and safetensors.
    set: changes to the spec, ``{"attention.window": 32, "kv_share": "none"}``; of trained weights those that keep
        the shapes.
    threads: 0 is all cores. The results are the same bits for any number.
    weights: how large matrices lie in memory: "auto" (as the file has them), "f32", "bf16".
    precision: in what is computed: "f32", or "bf16" (slower on a CPU). isa: "auto", "ref", "base", "avx2",
        "avx512".
    """
    return Model(path, init_seed, set, threads, weights, precision, isa)


class Model(Handle):
    """A model in memory. ``hylab.load`` makes one.

    Facts: ``name``, ``path``, ``trained``, ``notes``, ``vocab``, ``d_model``, ``layers`` (how many),
    ``meta_tokens``, ``threads``, ``isa``, ``precision``; ``spec``: every resolved value by its path, as in the view
    v_param of a database (``spec["attention.window"]``, ``spec["layers.3.mixer"]``), ``spec_text``: the same
    as YAML; ``parameters``: {name: shape}; ``values``: {name: width} of every named value (activation); ``heads``:
    for each layer {"attention": heads, "ssm": channels or Mamba-2 heads, "window": 0 is global, "kv_source"}.

    ids are whole numbers [T] or, where that is said, [n, T]: n sequences of one length, run together, with the
    results that they have one by one (up to rounding). Meta tokens are put before every sequence by the model
    itself: never give them. All arrays that come back are copies. Calls of several threads wait for one another.
    """

    _close = "hylab_model_close"

    def __init__(self, path, init_seed=1, set=None, threads=0, weights="auto", precision="f32", isa="auto"):
        if set is not None and not hasattr(set, "items"):
            raise Error('set: a dict is wanted, such as {"attention.window": 32}')
        sets = [_lib.encoded(f"{k}={_lib.yaml_value(v)}", "set") for k, v in (set or {}).items()]
        texts = (c_char_p * (len(sets) + 1))(*sets, None)
        handle = c_void_p()
        _lib.call(
            "hylab_model_open",
            _lib.encoded(variant(path), "path"),
            texts,
            _lib.whole(init_seed, "init_seed", 0, 2**64 - 1),
            _lib.whole(threads, "threads"),
            *(_lib.encoded(v, k) for k, v in (("isa", isa), ("weights", weights), ("precision", precision))),
            byref(handle),
        )
        super().__init__(handle)
        facts = _lib.facts("hylab_model_facts", handle)
        for key in (
            "name",
            "path",
            "trained",
            "notes",
            "vocab",
            "d_model",
            "layers",
            "meta_tokens",
            "threads",
            "isa",
            "precision",
            "spec_text",
            "heads",
        ):
            setattr(self, key, facts[key])
        self.spec = _by_path(facts["spec"])
        self.parameters = {p["name"]: tuple(p["shape"]) for p in facts["parameters"]}
        self.values = {v["name"]: v["width"] for v in facts["values"]}
        self._tokenizer = None

    @property
    def _what(self):
        return f"the model {self.name}"

    @property
    def params(self):
        """How many parameters."""
        return sum(int(np.prod(s)) for s in self.parameters.values())

    def __repr__(self):
        return (
            f"<hylab.Model {self.name}: {self.layers} layers, d_model {self.d_model}, {self.params} parameters, "
            f"{'trained' if self.trained else 'random weights'}{', closed' if self.closed else ''}>"
        )

    # ---------------------------------------------------------------- weights, tokenizer
    def parameter(self, name):
        """A parameter by its name, float32."""
        if name not in self.parameters:
            raise Error(f"{self.name} has no parameter {name!r}{_near(name, self.parameters)}")
        out = np.zeros(self.parameters[name], np.float32)
        _lib.call("hylab_parameter", self, list(self.parameters).index(name), _lib.pointer(out, c_float))
        return out

    @property
    def tokenizer(self):
        """The tokenizer of a published folder."""
        if self._tokenizer is None:
            if not os.path.isdir(self.path):
                raise Error(f"{self.path} is no folder, so it has no tokenizer: open one with hylab.Tokenizer(PATH)")
            self._tokenizer = Tokenizer(self.path)
        return self._tokenizer

    # ---------------------------------------------------------------- running
    def logits(self, ids):
        """ids [T] or [n, T] -> float32 [T, vocab] or [n, T, vocab]: of the token after each one. Error: NaN or
        infinity among them.
        """
        ids = _lib.ids_array(ids)
        out = np.zeros(ids.shape + (self.vocab,), np.float32)
        _lib.call("hylab_logits", self, *_shape(ids), _lib.pointer(ids, c_int32), _lib.pointer(out, c_float))
        return out

    def loss(self, ids, labels=None):
        """-> (nats, predicted), both shaped as ids: the negative log likelihood of the label at each position and the
        likeliest token.

        labels: the token wanted AT each position, negative where none is (there 0 and -1 come back); None: the next
        token of the sequence, so that the last position has none.
        """
        ids = _lib.ids_array(ids)
        if labels is not None:
            labels = _lib.ids_array(labels, "labels")
            if labels.shape != ids.shape:
                raise Error(f"labels has shape {list(labels.shape)}, ids {list(ids.shape)}: they must be the same")
        nats, predicted = np.zeros(ids.shape, np.float32), np.zeros(ids.shape, np.int32)
        _lib.call(
            "hylab_loss",
            self,
            *_shape(ids),
            _lib.pointer(ids, c_int32),
            None if labels is None else _lib.pointer(labels, c_int32),
            _lib.pointer(nats, c_float),
            _lib.pointer(predicted, c_int32),
        )
        return nats, predicted

    def activations(self, ids, pattern="*", meta=True):
        """Named values of one run: {name: float32 [S, width]}, or [n, S, width] for ids [n, T].

        pattern: shell wildcards over ``values``, or a list of such: "layers.*.attn.q", ["layers.0.*",
            "final_norm"]. Positions are those of the
        model: S = meta_tokens + T, meta tokens first; meta=False leaves their rows out. They come as they are, NaN
            too.
        """
        ids = _lib.ids_array(ids)
        patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        wanted = []
        for one in patterns:
            fits = fnmatch.filter(self.values, one)
            if not fits:
                hint = ": hylab calls it through Model.logits" if one == "logits" else _near(one, self.values)
                raise Error(f"{self.name} has no value {one!r}{hint} (Model.values lists them)")
            wanted += [name for name in fits if name not in wanted]
        places = {name: i for i, name in enumerate(self.values)}
        first = 0 if meta else self.meta_tokens
        arrays = [
            np.zeros(ids.shape[:-1] + (self.meta_tokens + ids.shape[-1], self.values[name]), np.float32)
            for name in wanted
        ]
        _lib.call(
            "hylab_values",
            self,
            *_shape(ids),
            _lib.pointer(ids, c_int32),
            len(wanted),
            (c_int * len(wanted))(*[places[name] for name in wanted]),
            _lib.pointers(arrays),
        )
        return {name: a[..., first:, :].copy() if first else a for name, a in zip(wanted, arrays)}

    # ---------------------------------------------------------------- maps
    def maps(
        self, ids, layers=None, kind="attention", head=None, norm="rowsum", reduce="mean_abs", gate=False, hidden=0
    ):
        """Attention maps of ids [T]: {layer: float32 [S, S]}, row: the position that looks, column: where; meta tokens
        come first.

        kind: "attention" (softmax rows), "ssm" (hidden attention of Ali et al. 2024), "layer" (mean of the two).
        layers: a number or a list; None: all that have such heads.
        head: None: all heads as one map (their mean; SSM channels as ``reduce`` says); a number: that head (SSM:
            channel, of Mamba-2: head);
        "each": [heads, S, S].
        norm: "rowsum" (rows of absolute values sum to 1), "signed" (as they are: with it alpha x + D x is what an
            SSM gives), "minmax".
        reduce: "mean_abs", "abs_mean", "mean_rows"; gate: SSM rows times silu(gate) (Hymba eq. 2).
        hidden: what stands where a row may not look: 0, or NaN.
        """
        ids = _lib.ids_array(ids, dims=(1,))
        if kind not in _KINDS:
            raise Error(f"kind {kind!r}: there are attention, ssm and layer")
        if not (hidden == 0 or hidden != hidden):
            raise Error(f"hidden is {hidden!r}: 0 or NaN")
        counts = [h["attention"] + h["ssm"] if kind == "layer" else h[kind] for h in self.heads]
        if layers is None:
            layers = [i for i, n in enumerate(counts) if n]
            if not layers:
                raise Error(f"{self.name} has no {kind} heads")
        single = isinstance(layers, (int, np.integer))
        layers = [_lib.whole(i, "layer", 0, self.layers - 1) for i in ([layers] if single else layers)]
        S, wanted, out = self.meta_tokens + ids.size, [], {}
        for i in layers:
            if isinstance(head, str) and head == "each":
                out[i] = np.zeros((counts[i] if kind != "layer" else 1, S, S), np.float32)
                wanted += [(i, h if kind != "layer" else -1, out[i][h]) for h in range(len(out[i]))]
            else:
                out[i] = np.zeros((S, S), np.float32)
                wanted.append((i, -1 if head is None else _lib.whole(head, "head", 0), out[i]))
        maps = (_lib.Map * max(1, len(wanted)))(*[_lib.Map(i, _KINDS[kind], h) for i, h, _ in wanted])
        _lib.call(
            "hylab_maps",
            self,
            ids.size,
            _lib.pointer(ids, c_int32),
            _lib.options_text(dict(norm=norm, reduce=reduce, gate=gate)),
            int(np.isnan(hidden)),
            len(wanted),
            maps,
            _lib.pointers([a for _, _, a in wanted]),
        )
        return out

    def erf(
        self,
        ids,
        ssm="group",
        heads="halves",
        meta="included",
        missing="skip",
        uniform=False,
        reduce="mean_abs",
        gate=False,
    ):
        """Effective receptive field (Hymba, eq. 5) of ids [T], or the mean over sequences [n, T]: an ``ERF``.

        The options are those of measure erf (``print(hylab.measures("erf"))``). ssm: "group" (an SSM is one head),
        "channels"; heads: "halves", "pooled", "attention", "ssm"; meta: "included", "renormalised"; missing (layers
        without such heads): "skip", "zero"; uniform: all layers weigh the same.
        """
        ids = _lib.ids_array(ids)
        options = dict(ssm=ssm, heads=heads, meta=meta, missing=missing, uniform=uniform, reduce=reduce, gate=gate)
        rows = np.atleast_2d(ids)
        erf, layers = np.zeros(len(rows)), np.zeros((len(rows), self.layers, 4))
        for i, row in enumerate(rows):
            row = np.ascontiguousarray(row)
            _lib.call(
                "hylab_erf",
                self,
                row.size,
                _lib.pointer(row, c_int32),
                _lib.options_text(options),
                _lib.pointer(erf[i:], c_double),
                _lib.pointer(layers[i], c_double),
            )
        return ERF(erf, layers.mean(0), options)

    # ---------------------------------------------------------------- ablations, measures
    def units(self, parts="branches", groups=8):
        """Names of the parts that can be taken out: "layer3.attention", "layer3.head0" ...

        parts: "branches" (all attention or SSM heads of a layer), "heads", "groups" (of SSM channels; Mamba-2:
        heads), "layers", "mlps", "convs", "meta"; several with commas. groups: that the channels of a Mamba-1 mixer are
        divided into.
        """
        return [
            u["name"]
            for u in _lib.facts("hylab_units", self, _lib.encoded(parts, "parts"), _lib.whole(groups, "groups", 1))
        ]

    def ablate(
        self,
        data,
        parts="branches",
        remove=None,
        how="zero",
        labels=None,
        examples=64,
        groups=8,
        reference=64,
        batch=32,
    ):
        """What the model loses without some of its parts, on the same examples: an ``Ablation``.

        data: a ``Task``, or ids [n, T] (with labels, or to predict the next token). parts: as for ``units``; each
            is taken out in turn.
        remove: instead a pattern, or several in one text, that are taken out together ("layer0.ssm, layer3.*"); a
            list of such texts: one set each.
        how: "zero" (nothing stands in its place), "mean" (its mean over positions and reference examples: tuning
            examples of a task; of ids the same), "resample" (what it gives for the next example).
        examples, reference: of each cell of a task at most; of ids all are taken. batch: sequences at a time; no
            figure depends on it.
        """
        task = data if isinstance(data, Task) else None
        if task is None:
            task = Task.given(data, labels, self.vocab)
            examples = reference = task.cells["eval"][0]["count"]
        elif labels is not None:
            raise Error("labels are for ids of your own: a task has its labels")
        names = self.units(parts, groups)
        if remove is None:
            sets, chosen = names, np.eye(len(names), dtype=np.uint8)
        else:
            sets = [remove] if isinstance(remove, str) else list(remove)
            chosen = np.zeros((len(sets), len(names)), np.uint8)
            for row, one in zip(chosen, sets):
                for pattern in str(one).replace(",", " ").split():
                    fits = [fnmatch.fnmatchcase(name, pattern) for name in names]
                    if not any(fits):
                        raise Error(
                            f"remove: {pattern!r} fits none of the {len(names)} parts, "
                            f"which begin with {names[0]}: parts={parts!r}"
                        )
                    row |= np.array(fits, np.uint8)
        n, loss, right = c_int(), POINTER(c_double)(), POINTER(c_double)()
        _lib.call(
            "hylab_ablate",
            self,
            task,
            _lib.encoded(parts, "parts"),
            groups,
            _lib.encoded(how, "how"),
            _lib.whole(examples, "examples", 1),
            _lib.whole(reference, "reference", 1),
            _lib.whole(batch, "batch", 1),
            len(sets),
            _lib.pointer(np.ascontiguousarray(chosen), c_uint8),
            byref(n),
            byref(loss),
            byref(right),
        )
        shape = (len(sets) + 1, n.value)
        scores = [_lib.take(a, shape[0] * shape[1], np.float64).reshape(shape) for a in (loss, right)]
        if not n.value:
            raise Error("no example has a label: there is no loss")
        return Ablation(sets, *scores)

    def measure(self, name, task=None, batch=32, **options):
        """Any measure of the program (``print(hylab.measures())``): ``Facts``. task: a ``Task``, or ids [n, T]."""
        if task is not None and not isinstance(task, Task):
            task = Task.given(task, None, self.vocab)
        handle = c_void_p()
        _lib.call(
            "hylab_measure",
            self,
            None if task is None else task,
            _lib.encoded(name, "name"),
            _lib.options_text(options),
            _lib.whole(batch, "batch", 1),
            byref(handle),
        )
        try:
            return Facts(handle)
        finally:
            _lib.close("hylab_facts_close", handle)


def _shape(ids):
    return (1, ids.size) if ids.ndim == 1 else ids.shape


def _near(name, names):
    import difflib

    near = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def frame(rows):
    """A pandas DataFrame of dicts."""
    try:
        import pandas
    except ImportError:
        raise Error(
            "pandas is not installed, and this is a table of it: pip install pandas, or Debian's python3-pandas"
        ) from None
    return pandas.DataFrame(rows)


class ERF(float):
    """An effective receptive field: a number (the mean over sequences), with

    ``each`` [n]: of each sequence; ``layers``: {"attention", "ssm", "channels", "layer"}: distances [layers] (means
    over sequences, NaN where a layer has none) of its attention heads, its SSM as one map, its channels apart, and
    of the layer as it enters eq. 5; ``options``.
    """

    def __new__(cls, each, layers, options):
        self = super().__new__(cls, each.mean())
        self.each, self.options = each, options
        self.layers = {name: layers[:, i].copy() for i, name in enumerate(("attention", "ssm", "channels", "layer"))}
        return self


class Ablation:
    """What a model loses without parts of it.

    ``names``: what was taken out, set by set; ``loss`` [sets, n]: nats per label of each example without it;
    ``accuracy`` [sets, n]: share of its labels that are right; ``intact_loss``, ``intact_accuracy`` [n].
    ``loss_rise``, ``accuracy_drop`` [sets]: means of the paired differences; ``loss_rise_se``,
    ``accuracy_drop_se``: their standard errors over the n examples.
    """

    def __init__(self, names, loss, accuracy):
        self.names = list(names)
        self.intact_loss, self.intact_accuracy = loss[0].copy(), accuracy[0].copy()
        self.loss, self.accuracy = loss[1:].copy(), accuracy[1:].copy()
        self.loss_rise, self.loss_rise_se = mean_and_error(self.loss - self.intact_loss)
        self.accuracy_drop, self.accuracy_drop_se = mean_and_error(self.intact_accuracy - self.accuracy)

    @property
    def n(self):
        return self.intact_loss.size

    def interval(self, level=0.95):
        """(low, high) [sets] of the loss rise: Student's t over the examples; NaN of one example."""
        half = self.loss_rise_se * (t_quantile((1 + level) / 2, self.n - 1) if self.n > 1 else np.nan)
        return self.loss_rise - half, self.loss_rise + half

    def rows(self):
        """A list of dicts, one for each set."""
        low, high = self.interval()
        return [
            dict(
                part=name,
                loss_rise=self.loss_rise[i],
                low=low[i],
                high=high[i],
                accuracy_drop=self.accuracy_drop[i],
                n=self.n,
            )
            for i, name in enumerate(self.names)
        ]

    def frame(self):
        """The rows as a pandas DataFrame."""
        return frame(self.rows())

    def __repr__(self):
        return (
            f"<hylab.Ablation of {len(self.names)} sets on {self.n} examples, "
            f"intact loss {self.intact_loss.mean():.4g}>"
        )


class Facts:
    """What a measure found: ``rows``, dicts with metric, cell, layer, kind, head, value, stderr, n, x, y (None: none),
    and ``arrays``, {name: array}.
    """

    def __init__(self, handle):
        found = _lib.facts("hylab_facts_json", handle)
        self.rows = found["facts"]
        self.arrays = {}
        for i, a in enumerate(found["arrays"]):
            size = ctypes.c_size_t()
            data = _lib.library().hylab_facts_array(handle, i, byref(size))
            kind = {"f32": np.float32, "f64": np.float64, "i32": np.int32}[a["type"]]
            self.arrays[a["name"]] = np.frombuffer(ctypes.string_at(data, size.value), kind).reshape(a["shape"]).copy()

    def value(self, metric, cell=""):
        """The value of a metric and cell."""
        for r in self.rows:
            if r["metric"] == metric and r["cell"] == cell:
                return r["value"]
        raise Error(
            f"there is no {metric} of cell {cell!r}: there are " + ", ".join(sorted({r["metric"] for r in self.rows}))
        )

    def frame(self):
        """The rows as a pandas DataFrame."""
        return frame(self.rows)

    def __repr__(self):
        return f"<hylab.Facts: {len(self.rows)} figures, {len(self.arrays)} arrays>"
