#!/usr/bin/env bash
# The Python package (python/hylab): what it gives is what NumPy makes of it (tests/python/test_hylab.py), its library shows nothing but the
# API, and pip installs it.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build/release}
export HYLAB=${HYLAB:-$PWD/$BUILD/hylab}
export HYLAB_LIBRARY=$PWD/$BUILD/pic/libhylab.so
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
exit $bad
