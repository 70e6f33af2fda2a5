# Everything runs in a virtual environment of its own, built from requirements.lock.
# An active virtual environment, if there is one, is neither used nor changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# What is compiled once is compiled for every process that the tests start.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d" " -f1)
# The pip of the lock comes first: that of an older Python takes twice as long for the rest. Of what
# is installed, what only tests and tools load is compiled where it is used; the program may run as a
# user who may not write here, and would compile what it loads at every start.
UNLOADED := ccxt|hypothesis|_pytest|mypy|pip|setuptools|tests
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
# Two more than there are cores: a good part of the tests waits for other processes.
WORKERS ?= $(shell expr $$(nproc) + 2)
SOCKET_ARGS ?=

.PHONY: help run tables campaign test thorough check check-report format types collected readme lock clean setup

help:
	@echo "make run     set up and run the market maker on the embedded exchange (Ctrl+C stops it)"
	@echo "make test    set up and run all tests"
	@echo "make thorough  the same with every seed and example of the costly ones"
	@echo "make check   format, lint, types, import contracts, tests, README commands: what CI runs"
	@echo "make check-report  the page of a report in headless Chromium; skipped, visibly, where there is none"
	@echo "make format  rewrite the code in the project's format"
	@echo "make setup   build .venv from the hashed lock file, which the others do by themselves"
	@echo "make clean   remove .venv and every cache"
	@echo "make tables  what is claimed of the quoter, measured into docs/results within an hour"
	@echo "make campaign  2000 runs with faults of the venue and the network, 100 more over sockets, one of a day"
	@echo "make lock    resolve requirements.lock anew from pyproject.toml"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@python=$$(./.ci/find-python) && \
	  rm -rf $(VENV) && \
	  echo "setting up $(VENV) with $$python" && \
	  "$$python" -m venv $(VENV)
	@$(PIP) --require-hashes -r <(sed -n '/^pip==/,/[^\\]$$/p' requirements.lock)
	@$(PIP) --require-hashes --no-deps --no-compile -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check >/dev/null || { $(BIN)/python -m pip check >&2; exit 1; }
	@$(BIN)/python -m compileall -q -j 0 -x '/($(UNLOADED))/' src $(VENV)/lib
	@touch $@

run: setup
	@exec $(BIN)/mmbot run --config configs/emulator.toml $(ARGS)

test: setup
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

thorough: setup
	@MMBOT_THOROUGH=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory -j 3 --output-sync=target types collected readme
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

check-report: setup
	@$(BIN)/python -m pytest -q -rs tests/runtime/test_report_page.py $(ARGS)

types: setup
	$(BIN)/mypy

# Compiles the tests once, while the types are looked at; each worker would do it for itself.
collected: setup
	$(BIN)/python -m pytest -q --collect-only >/dev/null

readme: setup
	@$(BIN)/python -m pytest -q .ci/test_readme.py

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup
	@$(BIN)/python .ci/lock.py

tables: $(STAMP)
	@$(BIN)/python -m benchmarks.tables $(ARGS)

campaign: $(STAMP)
	@$(BIN)/python -m benchmarks.campaign $(ARGS)
	@$(BIN)/python -m benchmarks.campaign --sockets $(SOCKET_ARGS)
	@$(BIN)/python -m benchmarks.campaign --soak 24

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
