#!/usr/bin/env bash
# Runs what needs inspect_ai: our provider of models, our logs, and what `inspect view` shows of them.
# It takes .venv, which `make venv` makes, and puts inspect_ai before it in a venv of its own, .venv-inspect (made on the
# first run: about a minute and 150 MB): inspect_ai wants an older fsspec than the rest is tested with.
# Usage: scripts/test_inspect.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(cd .venv && pwd -P) || { echo "test_inspect: there is no .venv. Run: make venv"; exit 1; }
venv=.venv-inspect
pin=inspect-ai==0.3.285

# The stamp holds what the venv was made from.
wanted=$(cat pyproject.toml scripts/test_inspect.sh | sha256sum)
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$venv"
  "$base/bin/python" -m venv "$venv"
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  # Behind its own packages, so that these win; what .venv has in the right version is not installed twice.
  "$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/of_the_project.pth"
  "$venv/bin/python" -m pip uninstall -q -y setuptools  # an older one than .venv has, which would win
  "$venv/bin/python" -m pip install -q "$pin"
  "$venv/bin/python" -m pip install -q --no-deps --no-build-isolation -e .
  echo "$wanted" >"$venv/.installed"
fi

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1
exec "$venv/bin/python" -m pytest tests/harness tests/interop/test_inspect_log.py "$@"
