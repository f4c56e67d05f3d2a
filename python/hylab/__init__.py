"""hylab from Python: load hybrid-head language models and look inside them as NumPy arrays.

    import hylab
    m = hylab.load("hymba")                       # a variant, a checkpoint or a published folder
    ids = [1, 5, 9, 2]
    m.logits(ids)                                 # [T, vocab]
    m.activations(ids, "layers.*.attn.q")         # {name: [S, width]}
    m.maps(ids, kind="ssm")                       # {layer: [S, S]}
    m.erf(ids)                                    # effective receptive field (Hymba, eq. 5)
    m.ablate(hylab.Task("mqar")).frame()          # what each branch is worth
    hylab.results("runs/hylab.db").final("accuracy", params="train.lr")   # pandas

Everything is computed by the program's own code, through libhylab.so; errors are ``hylab.Error`` with its words.
"""

from ._lib import Error
from .model import ERF, Ablation, Facts, Model, load
from .places import program as program_path
from .places import variants
from .program import command, run
from .results import Results, results
from .task import IGNORE, Task, Tokenizer
from . import _lib

__all__ = [
    "Ablation",
    "ERF",
    "Error",
    "Facts",
    "IGNORE",
    "Model",
    "Results",
    "Task",
    "Tokenizer",
    "command",
    "load",
    "measures",
    "program_path",
    "results",
    "run",
    "tasks",
    "variants",
    "version",
]
__version__ = "0.1.0"


def version():
    """Version and build of the library."""
    return _lib.library().hylab_version().decode()


def measures(name=None):
    """What can be measured, with all options, as a text; or one measure."""
    return _lib.text("hylab_measure_help", None if name is None else _lib.encoded(name, "name"))


def tasks(kind=None):
    """The kinds of tasks; or the options of one, as a text."""
    found = _lib.text("hylab_task_help", None if kind is None else _lib.encoded(kind, "kind"))
    return found.split("|") if kind is None else found
