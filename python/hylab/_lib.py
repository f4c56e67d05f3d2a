"""The shared library: where it is, its functions (python/capi/hylab_api.h), and errors."""

import ctypes
import json
import os
import threading
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint64,
    c_void_p,
)
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent  # where this is used from the source tree; elsewhere nothing of it is found there


class Error(Exception):
    """What went wrong, in hylab's own words: what, where, and what to do.

    ``status``: 1 the work failed, 2 bad input, 3 no memory, 4 a figure is NaN or infinite; None: found by Python.
    """

    def __init__(self, text, status=None):
        super().__init__(text)
        self.status = status


def find(what, environment, *places):
    """The first of some files that is there; what ``environment`` names comes first."""
    given = os.environ.get(environment)
    if given:
        if not Path(given).is_file():
            raise Error(f"{environment}={given}: there is no such file")
        return Path(given)
    for place in places:
        if place.is_file():
            return place
    raise Error(
        f"{what} is not there: install the package (pip install ./python), run `make python` in the tree, "
        f"or set {environment}"
    )


class Map(ctypes.Structure):
    _fields_ = [("layer", c_int), ("kind", c_int), ("head", c_int)]


_handle, _out = c_void_p, POINTER(c_void_p)
_ids, _floats, _doubles = POINTER(c_int32), POINTER(c_float), POINTER(c_double)
_TEXT = {  # functions that return a text to be freed
    "hylab_measure_help": [c_char_p],
    "hylab_task_help": [c_char_p],
    "hylab_model_facts": [_handle],
    "hylab_task_facts": [_handle],
    "hylab_units": [_handle, c_char_p, c_int],
    "hylab_facts_json": [_handle],
    "hylab_tokenizer_facts": [_handle],
}
_STATUS = {  # functions that return a status
    "hylab_model_open": [c_char_p, POINTER(c_char_p), c_uint64, c_int, c_char_p, c_char_p, c_char_p, _out],
    "hylab_parameter": [_handle, c_int, _floats],
    "hylab_logits": [_handle, c_int, c_int, _ids, _floats],
    "hylab_loss": [_handle, c_int, c_int, _ids, _ids, _floats, _ids],
    "hylab_values": [_handle, c_int, c_int, _ids, c_int, POINTER(c_int), POINTER(_floats)],
    "hylab_maps": [_handle, c_int, _ids, c_char_p, c_int, c_int, POINTER(Map), POINTER(_floats)],
    "hylab_erf": [_handle, c_int, _ids, c_char_p, _doubles, _doubles],
    "hylab_task_open": [c_char_p, c_char_p, c_uint64, _out],
    "hylab_task_given": [c_int, c_int, _ids, _ids, c_int, _out],
    "hylab_task_example": [_handle, c_int, c_int, c_int64, _ids, _ids],
    "hylab_ablate": [
        _handle,
        _handle,
        c_char_p,
        c_int,
        c_char_p,
        c_int,
        c_int,
        c_int,
        c_int,
        POINTER(c_uint8),
        POINTER(c_int),
        POINTER(_doubles),
        POINTER(_doubles),
    ],
    "hylab_measure": [_handle, _handle, c_char_p, c_char_p, c_int, _out],
    "hylab_tokenizer_open": [c_char_p, _out],
    "hylab_tokenizer_encode": [_handle, c_char_p, c_size_t, c_int, POINTER(c_size_t), POINTER(_ids)],
    "hylab_tokenizer_decode": [_handle, _ids, c_size_t, c_int, POINTER(c_size_t), POINTER(c_void_p)],
}
_CLOSE = ["hylab_model_close", "hylab_task_close", "hylab_facts_close", "hylab_tokenizer_close", "hylab_free"]

# One call at a time in a process (hylab_api.h). Reentrant: the garbage collector may close a handle in between.
_lock = threading.RLock()
_loaded = None


def library():
    """The library, loaded when it is first needed."""
    global _loaded
    with _lock:
        if _loaded is None:
            path = find(
                "the library libhylab.so", "HYLAB_LIBRARY", HERE / "libhylab.so", TREE / "build/release/libhylab.so"
            )
            try:
                lib = ctypes.CDLL(str(path))
            except OSError as e:
                raise Error(
                    f"{path} cannot be loaded: {e}. "
                    "It was built for another machine, or a library that it needs is not installed"
                ) from None
            for name, args in {**_STATUS, **_TEXT}.items():
                getattr(lib, name).argtypes = args
                getattr(lib, name).restype = c_int if name in _STATUS else c_void_p
            for name in _CLOSE:
                getattr(lib, name).argtypes, getattr(lib, name).restype = [c_void_p], None
            lib.hylab_student_quantile.argtypes, lib.hylab_student_quantile.restype = [c_double, c_double], c_double
            lib.hylab_error.argtypes, lib.hylab_error.restype = [], c_char_p
            lib.hylab_version.argtypes, lib.hylab_version.restype = [], c_char_p
            lib.hylab_facts_array.argtypes, lib.hylab_facts_array.restype = [
                _handle,
                c_int,
                POINTER(c_size_t),
            ], c_void_p
            _loaded = lib
        return _loaded


INTERRUPTED = 5


def _opened(args):
    """Handles as C has them; called under the lock, so that none is closed meanwhile."""
    return [a.opened() if isinstance(a, Handle) else a for a in args]


def call(name, *args):
    """Calls a function that returns a status and raises what it says."""
    lib = library()
    with _lock:
        status = getattr(lib, name)(*_opened(args))
        text = lib.hylab_error().decode("utf-8", "replace") if status else None
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        raise Error(text, status)


def text(name, *args):
    """Calls a function that returns a text."""
    lib = library()
    with _lock:
        found = getattr(lib, name)(*_opened(args))
        if not found:
            raise Error(lib.hylab_error().decode("utf-8", "replace"), 2)
        try:
            return ctypes.string_at(found).decode("utf-8", "replace")
        finally:
            lib.hylab_free(found)


def facts(name, *args):
    return json.loads(text(name, *args))


def close(name, handle):
    with _lock:
        getattr(library(), name)(handle)


def take(pointer, count, type_):
    """A NumPy copy of what the library has allocated, which is freed."""
    try:
        if not count:
            return np.zeros(0, type_)
        size = count * np.dtype(type_).itemsize
        return np.frombuffer(ctypes.string_at(pointer, size), type_).copy()
    finally:
        with _lock:
            library().hylab_free(ctypes.cast(pointer, c_void_p))


def encoded(value, what):
    """A text for C."""
    if isinstance(value, (str, os.PathLike)):
        value = os.fspath(value)
    if isinstance(value, bytes) or not isinstance(value, str):
        raise Error(f"{what} is {value!r}: a text is wanted")
    if "\0" in value:
        raise Error(f"{what} {value!r} holds NUL")
    return os.fsencode(value)


def whole(value, what, least=0, most=2**31 - 1):
    """A whole number in a range."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise Error(f"{what} is {value!r}: a whole number from {least} to {most} is wanted")
    return int(value)


def yaml_value(value):
    """A value as YAML: JSON is YAML, and texts stay as they are, so that "[[32, 4]]" and "none" mean what they do on
    the command line.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise Error(f"{value!r}: a number, a text, True, False or a list of them is wanted") from None


def options_text(options):
    """Keyword arguments as the "name: value" lines that C reads; None: not given."""
    lines = []
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, str):  # quoted where plain text would be read as something else
            plain = (
                value == value.strip()
                and not any(c in value for c in "\n#'\"\\")
                and ": " not in value
                and not value.startswith(tuple("&*!|>%@`{?-"))
            )
            value = value if plain and value else json.dumps(value, ensure_ascii=False)
        else:
            value = yaml_value(value)
        lines.append(f"{name}: {value}\n")
    return encoded("".join(lines), "options")


def ids_array(ids, what="ids", dims=(1, 2)):
    """ids as int32 [T] or [n, T], packed."""
    if isinstance(ids, (str, bytes)):
        raise Error(f"{what} is a text: a tokenizer makes ids of it (Model.tokenizer, hylab.Tokenizer)")
    try:
        a = np.asarray(ids)
    except ValueError:
        raise Error(f"{what}: sequences of one length are wanted (give others one by one)") from None
    if a.dtype.kind == "O":
        raise Error(f"{what}: sequences of one length are wanted (give others one by one)")
    if a.size == 0:
        raise Error(f"{what} is empty: at least one token is needed")
    if a.dtype.kind not in "iu":
        raise Error(f"{what} has type {a.dtype}: whole numbers are wanted")
    if a.ndim not in dims:
        raise Error(
            f"{what} has shape {list(a.shape)}: {' or '.join('[n, T]' if d == 2 else '[T]' for d in dims)} is wanted"
        )
    if a.size >= 2**31:
        raise Error(f"{what} has {a.size} tokens: too many for one call")
    if a.min() < -(2**31) or a.max() >= 2**31:
        raise Error(f"{what} holds {a.min() if a.min() < 0 else a.max()}, which is no token")
    return np.ascontiguousarray(a, np.int32)


def pointer(a, type_):
    return a.ctypes.data_as(POINTER(type_))


def pointers(arrays):
    """float ** of some arrays."""
    return (_floats * max(1, len(arrays)))(*[pointer(a, c_float) for a in arrays])


class Handle:
    """Something that the library holds: closed by close(), at the end of a with block, or by the garbage collector."""

    _close, _what = None, "it"

    def __init__(self, handle):
        self._handle = handle

    def opened(self):
        if self._handle is None:
            raise Error(f"{self._what} is closed: open it again")
        return self._handle

    @property
    def closed(self):
        return self._handle is None

    def close(self):
        """Frees its memory. What was taken from it stays: arrays are copies."""
        with _lock:
            handle, self._handle = getattr(self, "_handle", None), None
            if handle is not None:
                close(self._close, handle)

    def __enter__(self):
        self.opened()
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        try:
            self.close()
        except Exception:
            pass
