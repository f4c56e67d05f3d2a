"""Where the variants and the program are: in the installed package, or in the source tree."""

import difflib
import os
import shutil
from pathlib import Path

from . import _lib
from ._lib import HERE, TREE, Error


def _variants():
    for place in (HERE / "variants", TREE / "variants"):
        if place.is_dir():
            return place
    return None


def variants():
    """Names of the variants that come with hylab, for ``hylab.load(NAME)``."""
    place = _variants()
    return sorted(str(p.relative_to(place).with_suffix("")) for p in place.rglob("*.yaml")) if place else []


def variant(path):
    """A path as it is, or the file of a variant's name."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str) or os.path.exists(text) or Path(text).suffix:
        return text
    place = _variants()
    if place and (place / f"{text}.yaml").is_file():
        return str(place / f"{text}.yaml")
    near = difflib.get_close_matches(text, variants(), 1)
    raise Error(
        f"{text}: there is no such file or folder, and no such variant"
        f"{f' (did you mean {near[0]!r}?)' if near else ''}; "
        "hylab.variants() lists those that come with hylab"
    )


def program():
    """The hylab program."""
    found = shutil.which("hylab")
    places = [HERE / "bin" / "hylab", TREE / "build/release/hylab", TREE / "hylab"] + ([Path(found)] if found else [])
    return _lib.find("the program hylab", "HYLAB", *places)
