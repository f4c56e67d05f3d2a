"""Tasks: where examples come from. Tokenizers: text to ids and back."""

import ctypes
from ctypes import byref, c_int32, c_size_t, c_void_p

import numpy as np

from . import _lib
from ._lib import Error, Handle

IGNORE = -100  # a position without a label
_SPLITS = {"train": 0, "eval": 1, "tune": 2}


class Task(Handle):
    """A task as the program has it: ``Task("mqar", vocab=48, train=[[32, 4]], test=[[32, 4]])``.

    ``hylab.tasks()`` lists the kinds, ``hylab.tasks("mqar")`` the options of one. An example is a function of
    options, seed, split, cell and index alone.
    """

    _close, _what = "hylab_task_close", "the task"

    def __init__(self, kind, seed=1, **options):
        handle = c_void_p()
        _lib.call(
            "hylab_task_open",
            _lib.encoded(kind, "kind"),
            _lib.options_text(options),
            _lib.whole(seed, "seed", 0, 2**64 - 1),
            byref(handle),
        )
        self._begin(handle)

    @classmethod
    def given(cls, ids, labels=None, vocab=2**24):
        """A task of your own sequences, ids [n, T] or [T]. labels: the token wanted AT each position, negative where
        none is; None: the next token of the sequence.
        """
        ids = np.atleast_2d(_lib.ids_array(ids))
        if labels is not None:
            labels = np.atleast_2d(_lib.ids_array(labels, "labels"))
            if labels.shape != ids.shape:
                raise Error(f"labels has shape {list(labels.shape)}, ids {list(ids.shape)}: they must be the same")
        self, handle = cls.__new__(cls), c_void_p()
        _lib.call(
            "hylab_task_given",
            ids.shape[0],
            ids.shape[1],
            _lib.pointer(ids, c_int32),
            None if labels is None else _lib.pointer(labels, c_int32),
            vocab,
            byref(handle),
        )
        self._begin(handle)
        return self

    def _begin(self, handle):
        super().__init__(handle)
        facts = _lib.facts("hylab_task_facts", handle)
        self.kind = facts["kind"]
        self.vocab = facts["vocab"]
        self.entropy = float("nan") if facts["entropy"] is None else facts["entropy"]
        self.text = facts["text"]  #: kind and all options, resolved
        self.cells = facts["cells"]  #: {"train": [{"name", "tokens", "count", ...}], "eval": ..., "tune": ...}

    def example(self, index=0, cell=0, split="eval"):
        """(ids [T], labels [T]) of one example; label IGNORE (-100) where none is wanted."""
        if split not in _SPLITS:
            raise Error(f"split {split!r}: there are train, eval and tune")
        cells = self.cells[split]
        if not isinstance(cell, (int, np.integer)) or not 0 <= cell < len(cells):
            raise Error(f"there is no {split} cell {cell!r} of task {self.kind}: it has {len(cells)}")
        ids = np.zeros(cells[cell]["tokens"], np.int32)
        labels = np.zeros_like(ids)
        _lib.call(
            "hylab_task_example",
            self,
            _SPLITS[split],
            cell,
            _lib.whole(index, "index", 0, 2**48),
            _lib.pointer(ids, c_int32),
            _lib.pointer(labels, c_int32),
        )
        return ids, labels

    def examples(self, n, cell=0, split="eval"):
        """(ids [n, T], labels [n, T]) of the first n examples of a cell."""
        both = [self.example(i, cell, split) for i in range(_lib.whole(n, "n", 1))]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])

    def __repr__(self):
        return (
            f"<hylab.Task {self.kind}, {self.vocab} tokens, {len(self.cells['eval'])} cells"
            f"{', closed' if self.closed else ''}>"
        )


class Tokenizer(Handle):
    """Text to ids and back. path: "bytes", a tokenizer.json, a SentencePiece model, or a folder that has one of them."""

    _close, _what = "hylab_tokenizer_close", "the tokenizer"

    def __init__(self, path):
        handle = c_void_p()
        _lib.call("hylab_tokenizer_open", _lib.encoded(path, "path"), byref(handle))
        super().__init__(handle)
        facts = _lib.facts("hylab_tokenizer_facts", handle)
        self.kind, self.vocab, self.path, self.notes = facts["kind"], facts["vocab"], facts["path"], facts["notes"]
        self.bos, self.eos, self.unk, self.pad = (facts[k] for k in ("bos", "eos", "unk", "pad"))

    def encode(self, text, special=True):
        """ids [T], int32. special: with what the file puts around a text (BOS, EOS)."""
        if isinstance(text, str):
            text = text.encode("utf-8")
        if not isinstance(text, bytes):
            raise Error(f"{type(text).__name__}: a text is wanted")
        n, ids = c_size_t(), ctypes.POINTER(c_int32)()
        _lib.call("hylab_tokenizer_encode", self, text, len(text), int(special), byref(n), byref(ids))
        return _lib.take(ids, n.value, np.int32)

    def decode(self, ids, skip_special=True):
        """The text of ids [T]."""
        if np.size(ids) == 0:
            return ""
        ids = _lib.ids_array(ids, dims=(1,))
        n, found = c_size_t(), c_void_p()
        _lib.call(
            "hylab_tokenizer_decode",
            self,
            _lib.pointer(ids, c_int32),
            ids.size,
            int(skip_special),
            byref(n),
            byref(found),
        )
        return _lib.take(found, n.value, np.uint8).tobytes().decode("utf-8", "replace")

    def __repr__(self):
        return f"<hylab.Tokenizer {self.path}: {self.kind}, {self.vocab} tokens{', closed' if self.closed else ''}>"
