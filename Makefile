# demo · test · check · bench; each makes what it needs. Nothing is wanted but Python 3.11+, a C++ compiler and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export GATEWISE_DATA ?= $(wildcard $(abspath ../shared/data))

.PHONY: demo test check bench docs clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

demo: $(VENV)/installed
	$(BIN)/gatewise train nyc-taxi --output runs/demo --overwrite

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/pipeline.py

docs: $(VENV)/installed-dev
	$(BIN)/python docs/make_cli.py

clean:
	rm -rf $(VENV) build dist runs
