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

NO_KERNELS := The CPU kernels are not built, so training networks on this CPU takes up to twice as long. Install a C++ compiler \
  (Debian: apt install g++; macOS: xcode-select --install; without root: pip install ziglang and CXX='python -m ziglang c++'), \
  then make kernels.

.DEFAULT_GOAL := help
.PHONY: help setup run compare report list doctor peers cluster browser kernels bench test test-slow test-faults lint types layers format lock clean

help: ## print this
	@echo "usage: make TARGET [EXP=digits_cnn_adamw] [STUDY=digits] [RESULTS=PATH] [ARGS=\"--epochs 2 …\"]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/kernels ## make .venv, with the versions of requirements.lock, and build the CPU kernels where there is a compiler

run: .venv/kernels ## train EXP with the flags ARGS; use the same command again to resume
	@$(BIN)/jaxopt-bench run $(EXP) $(ARGS)

compare: .venv/kernels ## compare the optimizers of STUDY with the flags ARGS; use the same command again to resume
	@$(BIN)/jaxopt-bench compare $(STUDY) $(ARGS)

report: .venv/ready ## build the page and the figures of RESULTS (recorded results, a study's folder, a run), into reports/
	@$(BIN)/jaxopt-bench report $(RESULTS) $(ARGS)

list: .venv/ready ## list experiments, studies, models, data sets, optimizers, schedules
	@$(BIN)/jaxopt-bench list $(ARGS)

doctor: .venv/kernels ## check in seconds that this machine's backend computes what training needs
	@$(BIN)/jaxopt-bench doctor $(ARGS)

peers: .venv/ready ## install PyTorch, where it is absent: make bench needs it, and some tests compare with it
	@$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'

cluster: .venv/ready ## install Ray, where it is absent: studies on a cluster need it, and their tests
	@$(BIN)/python -c "import ray" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check '$(RAY)'

browser: .venv/ready ## install Chromium, where no browser is found: the tests look at pages in one
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  $(BIN)/playwright install chromium

kernels: .venv/ready ## build the CPU kernels anew, as `make setup` does by itself, and say what is missing if that fails
	@$(BIN)/jaxopt-bench kernels
	@touch .venv/kernels

bench: peers .venv/kernels ## measure speed beside PyTorch; ARGS="--quick" tries it
	@$(BIN)/python -m experiments.speed $(ARGS)

test: lint types layers browser .venv/kernels ## check style, types and import layers, and run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" --durations=10 $(ARGS)

test-slow: .venv/kernels ## run all tests, those that take minutes too, on programs compiled as training compiles them (an hour or two)
	XLA_FLAGS= $(BIN)/python -m pytest $(ARGS)

test-faults: .venv/kernels ## kill, damage and fill up runs, and count what was injected (minutes)
	XLA_FLAGS= $(BIN)/python -m pytest -s tests/faults tests/data/test_fuzz.py $(ARGS)

lint: .venv/ready ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/ready ## check types
	$(BIN)/mypy

layers: .venv/ready ## check that each layer imports only layers below it
	$(BIN)/lint-imports

format: .venv/ready ## put the code into its style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## choose versions anew, newest that pyproject.toml admits (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade \
	  --extra dev --extra report --extra kernels pyproject.toml --output-file requirements.lock

clean: ## remove .venv, the CPU kernels and caches; runs stay
	rm -rf .venv jaxopt_bench/kernels/kernels.so .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); accepted: Python 3.11 or later, as in make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Whether or not they could be built, this is done once for the same sources.
.venv/kernels: .venv/ready $(wildcard jaxopt_bench/kernels/*.cc jaxopt_bench/kernels/*.h jaxopt_bench/kernels/build.py)
	@$(BIN)/jaxopt-bench kernels 2>/dev/null || echo "$(NO_KERNELS)"
	@touch $@
