"""pip install ./python, from the source tree: calls make for the library and the program, and packs both with the
variants.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
if not (TREE / "Makefile").is_file() or not (TREE / "core/base/version.h").is_file():
    sys.exit(
        "hylab: the package is built in the source tree of hylab, of which it takes the library: "
        "pip install TREE/python (pip 21.3 or newer)"
    )
BUILD = os.environ.get("HYLAB_BUILD", "build/release")  # given: taken as it is, without make
VERSION = re.search(r'define HY_VERSION "([^"]+)"', (TREE / "core/base/version.h").read_text()).group(1)


def make():
    jobs = [] if "-j" in os.environ.get("MAKEFLAGS", "") else [f"-j{len(os.sched_getaffinity(0))}"]
    command = ["make", "--no-print-directory", *jobs, f"BUILD={BUILD}", "python", f"{BUILD}/hylab"]
    if "HYLAB_BUILD" in os.environ:
        return
    if subprocess.run(command, cwd=TREE).returncode:
        packages = re.search(r"^PACKAGES = ((?:.*\\\n)*.*)$", (TREE / "Makefile").read_text(), re.M).group(1)
        sys.exit(
            f"hylab: {' '.join(command)} failed (in {TREE}). "
            "On Debian it needs these packages, which `make deps` installs there:\n  "
            + " ".join(packages.replace("\\", " ").split())
        )


class Build(build_py):
    def run(self):
        make()
        super().run()
        to = Path(self.build_lib) / "hylab"
        (to / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(TREE / BUILD / "libhylab.so", to / "libhylab.so")
        shutil.copy2(TREE / BUILD / "hylab", to / "bin/hylab")
        for name in ("libhylab.so", "bin/hylab"):
            strip = shutil.which("strip")
            if strip:
                subprocess.run([strip, "--strip-unneeded", str(to / name)], check=True)
        shutil.rmtree(to / "variants", ignore_errors=True)
        shutil.copytree(TREE / "variants", to / "variants", ignore=shutil.ignore_patterns("*.md", "init"))


class Binary(Distribution):
    def has_ext_modules(self):
        return True  # it holds programs of this kind of machine


setup(version=VERSION, cmdclass={"build_py": Build}, distclass=Binary)
