#!/usr/bin/env bash
# Runs tests/vllm on vLLM for CPUs, in .venv-vllm (made on the first run: about 3 minutes and 2 GB). vLLM needs
# other versions than the rest of the project, hence a venv of its own.
# Usage: scripts/test_vllm.sh [pytest arguments]      PYTHON=python3.12 chooses the interpreter.
#        scripts/test_vllm.sh --only-venv             makes the venv and runs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$(command -v python3.11 || command -v python3)}
venv=.venv-vllm
pins=constraints-vllm.txt

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
  echo "test_vllm: vLLM for CPUs is packaged for x86-64 Linux; this is $(uname -s) on $(uname -m). Nothing was run."
  exit 0
fi

# The stamp holds what the venv was made from.
wanted=$(cat "$pins" pyproject.toml scripts/test_vllm.sh | sha256sum)
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  pip=("$venv/bin/python" -m pip install -q)
  # PyTorch with its dependencies: where an index serves the CUDA build, it needs those to be imported.
  "${pip[@]}" "$(grep '^torch==' "$pins")"
  "${pip[@]}" --no-deps --ignore-requires-python -r "$pins"
  "${pip[@]}" --no-deps --no-build-isolation -e .
  echo "$wanted" >"$venv/.installed"
fi
if [ "${1-}" = --only-venv ]; then exit 0; fi

# SmolLM2 is converted where its wheel and gguf are installed; here it is read from the cache.
if [ -x .venv/bin/python ]; then
  .venv/bin/python -c 'from introspection_bench.demo_model import smollm2_path; smollm2_path()' >/dev/null 2>&1 || true
fi

export VLLM_ENABLE_V1_MULTIPROCESSING=0 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=1
export VLLM_LOGGING_LEVEL=${VLLM_LOGGING_LEVEL:-WARNING} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Two processes, each with engines of its own; a class's tests stay together, since they share one.
exec "$venv/bin/python" -m pytest tests/vllm -n 2 --dist loadscope "$@"
