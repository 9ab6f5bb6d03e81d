# Every target makes what it needs in this checkout; Python 3.11 or newer is all that must be there.
#
#   make demo        evaluate embedded SAEs, offline once installed      (DEMO_ARGS=--all)
#   make test        the fast tests                                      (TEST_ARGS="-k fvu")
#   make test-slow   the slow tests, and the model side under transformer_lens 3.x
#   make lint        ruff, mypy, and the workflows: their schema and what is unsafe in them
#   make venv        .venv with everything for development
#   make clean       remove environments, caches and demo output
#
# PYTHON=python3.12 chooses the interpreter. PIP_ARGS goes to every pip install; without CUDA on Linux:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
DEMO_ARGS ?=
TEST_ARGS ?=
WORKERS ?= 2
# The order of the tests: a number, so that a failure can be repeated; make test SEED=7 shuffles anew.
SEED ?= 0

VENV := .venv
VENV_TL3 := .venv-tl3
PY := $(VENV)/bin/python
PY_TL3 := $(VENV_TL3)/bin/python
INPUTS := pyproject.toml constraints.txt
WORKFLOWS := $(wildcard .github/workflows/*.yml docs/workflows/*.yml)

# Tests run in WORKERS processes with one thread each: more threads than cores make them slower.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST_OPTIONS := -q -n $(WORKERS) --randomly-seed=$(SEED)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-tl3 lint venv clean

help:
	@sed -n 's/^#   make/  make/p' Makefile

demo: $(VENV)/.installed
	$(VENV)/bin/darkmatter demo $(DEMO_ARGS)

test: $(VENV)/.installed-test
	$(ONE_THREAD) $(PY) -m pytest $(PYTEST_OPTIONS) $(TEST_ARGS)

test-slow: $(VENV)/.installed-test test-tl3
	$(ONE_THREAD) $(PY) -m pytest $(PYTEST_OPTIONS) -m slow $(TEST_ARGS)

test-tl3: $(VENV_TL3)/.installed-test
	$(ONE_THREAD) $(PY_TL3) -m pytest $(PYTEST_OPTIONS) -m "slow or not slow" tests/darkmatter_plugins/sources

lint: $(VENV)/.installed-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/zizmor --offline --quiet --no-progress $(WORKFLOWS) action.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-actions action.yml

venv: $(VENV)/.installed-lint

clean:
	rm -rf $(VENV) $(VENV_TL3) darkmatter-demo dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find harness plugins tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written only when its step has worked, so an interrupted install is done again.
%/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    f"darkmatter needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}. " \
	    "Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $*
	@$*/bin/python -m pip --version >/dev/null
	@touch $@

$(VENV)/.installed: $(INPUTS) | $(VENV)/.made
	@echo "Installing into $(VENV): minutes the first time, nothing afterwards."
	$(PY) -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PY) -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(PY) -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[test,lint]'
	@touch $@

$(VENV_TL3)/.installed-test: pyproject.toml constraints-tl3.txt | $(VENV_TL3)/.made
	$(PY_TL3) -m pip install --quiet $(PIP_ARGS) -c constraints-tl3.txt -e '.[test]'
	@touch $@
