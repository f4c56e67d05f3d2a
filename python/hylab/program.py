"""The hylab program, started as a process."""

import os
import subprocess
import sys
import threading

from . import _lib
from ._lib import Error
from .places import program


def command(*args, progress=None):
    """Runs ``hylab ARGS``; returns what it prints. What it says on the way goes line by line to ``progress`` (None: to
    sys.stderr).

    A failure raises Error with the program's message; ctrl-C is passed on to it and waited for.
    """
    words = [str(program())] + [
        _lib.encoded(str(a) if not isinstance(a, os.PathLike) else a, "an argument").decode() for a in args
    ]
    tell = progress if progress is not None else lambda line: print(line, file=sys.stderr, flush=True)
    said = []
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    except OSError as e:
        raise Error(f"{words[0]} cannot be started: {e}") from None
    with process:
        printed = []
        reader = threading.Thread(target=lambda: printed.append(process.stdout.read()), daemon=True)
        reader.start()
        try:
            for line in process.stderr:
                said.append(line.rstrip("\n"))
                tell(said[-1])
            process.wait()
        except BaseException:  # ctrl-C reached the program too: it saves what is to be saved
            if process.poll() is None:
                process.send_signal(2)
            process.wait()
            raise
        finally:
            reader.join()
    status = process.returncode
    if status == 130 or status == -2:
        raise KeyboardInterrupt
    if status:
        raise Error("\n".join(said[-20:]) or f"hylab ended with status {status}", status if status > 0 else 1)
    return printed[0]


def run(experiment, db=None, set=None, progress=None, **options):
    """Runs an experiment file, as ``hylab run`` does: only what is not stored yet; returns the table that it prints.

    set: {"train.steps": 100} and other changes; options: those of ``hylab run --help``: scale="small", jobs=2,
    dry_run=True, only="hymba".
    """
    args = ["run", experiment]
    if db is not None:
        args += ["--db", db]
    for name, value in (set or {}).items():
        args += ["--set", f"{name}={_lib.yaml_value(value)}"]
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            args.append(option)
        elif isinstance(value, (list, tuple)):
            for one in value:
                args += [option, one]
        elif value is not None and value is not False:
            args += [option, value]
    return command(*args, progress=progress)
