# `make` alone prints the targets. Everything runs in one environment, .venv, which make keeps up to date.

PYTHON ?= python3
EXP ?= digits_cnn_adamw
STUDY ?= digits
RESULTS ?= experiments/results/cifar100_alexnet_small
ARGS ?=
TORCH ?= torch>=2.9
RAY ?= ray>=2.50
BIN := .venv/bin
# How many processes run tests: three for two cores, since many tests wait for processes that they start.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))

.DEFAULT_GOAL := help
.PHONY: help setup run compare report list doctor peers cluster browser kernels bench test test-slow test-faults lint types floors format lock clean

help: ## print this
	@echo "usage: make TARGET [EXP=digits_cnn_adamw] [STUDY=digits] [RESULTS=PATH] [ARGS=\"--epochs 2 …\"]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## make .venv, with the versions of requirements.lock

run: .venv/ready ## train EXP with the flags ARGS; the same command continues it
	@$(BIN)/jaxopt-bench run $(EXP) $(ARGS)

compare: .venv/ready ## compare the optimizers of STUDY with the flags ARGS; the same command continues it
	@$(BIN)/jaxopt-bench compare $(STUDY) $(ARGS)

report: .venv/ready ## build the page and the figures of RESULTS (recorded results, a study's folder, a run), into reports/
	@$(BIN)/jaxopt-bench report $(RESULTS) $(ARGS)

list: .venv/ready ## list experiments, studies, models, data sets, optimizers, schedules
	@$(BIN)/jaxopt-bench list $(ARGS)

doctor: .venv/ready ## check in seconds that this machine's backend computes what training needs
	@$(BIN)/jaxopt-bench doctor $(ARGS)

peers: .venv/ready ## install PyTorch, where it is absent: make bench needs it, and some tests compare with it
	@$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'

cluster: .venv/ready ## install Ray, where it is absent: studies on a cluster need it, and their tests
	@$(BIN)/python -c "import ray" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check '$(RAY)'

browser: .venv/ready ## install Chromium, where no browser is found: the tests look at pages in one
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  $(BIN)/playwright install chromium

kernels: .venv/ready ## build PyTorch's convolutions for CPUs, where oneDNN is installed (Debian's libdnnl-dev): twice as fast
	@$(BIN)/python -m jaxopt_bench.kernels.build

bench: peers ## measure speed beside PyTorch; ARGS="--quick" tries it
	@$(BIN)/python -m experiments.speed $(ARGS)

test: lint types floors browser ## check style, types and import layers, and run the tests
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" --durations=10 $(ARGS)

test-slow: .venv/ready ## run all tests, those that take minutes too, on programs compiled as training compiles them (an hour or two)
	XLA_FLAGS= $(BIN)/python -m pytest $(ARGS)

test-faults: .venv/ready ## kill, damage and fill up runs, and count what was injected (minutes)
	XLA_FLAGS= $(BIN)/python -m pytest -s tests/faults tests/data/test_fuzz.py $(ARGS)

lint: .venv/ready ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/ready ## check types
	$(BIN)/mypy

floors: .venv/ready ## check that each layer imports only layers below it
	$(BIN)/lint-imports

format: .venv/ready ## put the code into its style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## choose versions anew, newest that pyproject.toml admits (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade \
	  --extra dev --extra report pyproject.toml --output-file requirements.lock

clean: ## remove .venv and caches; runs stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); accepted: Python 3.11 or later, as in make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
