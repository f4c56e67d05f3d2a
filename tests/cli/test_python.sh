#!/usr/bin/env bash
# The Python package (python/hylab): what it gives is what NumPy makes of it (tests/python/test_hylab.py), its library shows nothing but the
# API, and pip installs it.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build/release}
export HYLAB=${HYLAB:-$PWD/$BUILD/hylab}
export HYLAB_LIBRARY=$PWD/$BUILD/libhylab.so
bad=0
if grep -q __asan_init "$HYLAB"; then echo "skip python (a build with sanitizers: Python cannot load its library)"; exit 0; fi
if [ ! -f "$HYLAB_LIBRARY" ]; then echo "not ok python: there is no $HYLAB_LIBRARY: make python"; exit 1; fi
python=
for p in ${PYTHON:-} /usr/bin/python3 python3; do
  if "$p" -c 'import numpy' 2>/dev/null; then python=$p; break; fi
done
[ -n "$python" ] || { echo "skip python (no Python with numpy: Debian's python3-numpy)"; exit 0; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export TMPDIR=$tmp PYTHONDONTWRITEBYTECODE=1

shown=$(nm -D --defined-only "$HYLAB_LIBRARY" | awk '$2 != "A" {print $3}' | sort)
wanted=$(grep -oE '^HYLAB_API.* \**hylab_[a-z_]+\(' python/capi/hylab_api.h | grep -oE 'hylab_[a-z_]+\($' | tr -d '(' | sort)
if [ "$shown" = "$wanted" ]; then echo "ok the library shows the functions of its header alone"; else
  echo "not ok the library shows the functions of its header alone"; diff <(echo "$shown") <(echo "$wanted") | head; bad=1
fi
PYTHONPATH=python "$python" tests/python/test_hylab.py || bad=1

# ---- the example
if OUT=$tmp PYTHONPATH=python "$python" python/examples/look_inside_a_hybrid.py >"$tmp/out" 2>"$tmp/err" &&
  grep -qE '^accuracy over 100 examples: (9[0-9]\.|100)' "$tmp/out" && grep -qE "largest difference from the model's own: [0-9.]+e-0[6-9]" "$tmp/out"; then
  echo "ok the example"
else echo "not ok the example"; tail -5 "$tmp/out" "$tmp/err"; bad=1; fi

# ---- pip, in a tree of its own, so that nothing is left in this one
unset MAKEFLAGS MFLAGS MAKELEVEL
mkdir "$tmp/tree" "$tmp/fake" && cp -r python "$tmp/tree/" && ln -s "$PWD/Makefile" "$PWD/core" "$PWD/variants" "$tmp/tree/"
pip() { PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip --python "$tmp/venv/bin/python" install -q --no-build-isolation "$tmp/tree/python"; }
if ! "$python" -c 'import setuptools, wheel' 2>/dev/null || ! "$python" -m pip --version >/dev/null 2>&1; then echo "skip pip (no pip, setuptools or wheel: Debian's python3-pip, python3-setuptools)"
elif ! "$python" -m venv --without-pip --system-site-packages "$tmp/venv" 2>/dev/null; then echo "skip pip (no venv: Debian's python3-venv)"
else
  printf '#!/bin/sh\necho "make: $*"; exit 2\n' >"$tmp/fake/make" && chmod +x "$tmp/fake/make"
  if PATH=$tmp/fake:$PATH pip >"$tmp/out" 2>&1; then echo "not ok pip tells a failed make"; bad=1
  elif grep -q 'make: .* python build/release/hylab' "$tmp/out" && grep -q 'Debian.*make deps' "$tmp/out" && grep -q ' libyaml-dev .*libsentencepiece-dev' "$tmp/out"; then
    echo "ok pip tells a failed make"
  else echo "not ok pip tells a failed make"; tail -20 "$tmp/out"; bad=1; fi
  if HYLAB_BUILD=$PWD/$BUILD pip >"$tmp/out" 2>&1 && (cd "$tmp" && env -u HYLAB -u HYLAB_LIBRARY -u PYTHONPATH venv/bin/python) >"$tmp/out" 2>&1 <<'END'
import hylab, sys
assert hylab.__file__.startswith(sys.prefix), hylab.__file__
assert hylab.load("hymba-small").logits([1, 2]).shape == (2, 48) and "paper/300m-hymba" in hylab.variants()
said = hylab.command("--version")
assert said.split()[1] == hylab.__version__ == hylab.version().split()[0], said
import importlib.metadata
assert importlib.metadata.version("hylab") == hylab.__version__
assert sys.prefix in str(hylab.program_path()), hylab.program_path()
END
  then echo "ok pip install"; else echo "not ok pip install"; tail -20 "$tmp/out"; bad=1; fi
fi
exit $bad
