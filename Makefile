# demo · test · quick · check · bench; each makes what it needs. Nothing is wanted but Python 3.11+, a C++ compiler and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export GATEWISE_DATA ?= $(wildcard $(abspath ../shared/data))

.PHONY: demo test quick check bench docs clean

# Each worker takes a stretch of the tests, so that those of a file share its fixtures, and then the rest
# of another's.
WORKERS := --numprocesses auto --dist worksteal

# The installation maps the names of modules to files, so another list of modules is another installation.
INSTALLED := $(VENV)/installed-$(shell find src -name '*.py' | sort | cksum | cut -d' ' -f1)

NATIVE := CMakeLists.txt $(wildcard native/*)
CPP := $(wildcard native/*.h native/*.cpp native/tests/*.h native/tests/*.cpp)

$(INSTALLED): pyproject.toml $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

demo: $(INSTALLED)
	$(BIN)/gatewise train nyc-taxi --output runs/demo --overwrite

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(WORKERS)

# The inner loop: all tests but the slow ones.
quick: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(MAKE) build/address/tests/checked build/thread/tests/checked

# The native tests under sanitizers: of addresses on the narrowest and the widest vectors, of threads
# on one kind, as they do not depend on it.
build/address/tests/checked: SANITIZE := -DGATEWISE_SANITIZE=address,undefined "-DGATEWISE_ISAS=portable;avx512"
build/thread/tests/checked: SANITIZE := -DGATEWISE_SANITIZE=thread -DGATEWISE_ISAS=portable
build/%/tests/checked: $(NATIVE) $(wildcard native/tests/*) | $(VENV)/installed-dev
	PATH="$(abspath $(BIN)):$$PATH" cmake -S . -B build/$* $(SANITIZE) \
	    -DGATEWISE_XLA=OFF -DGATEWISE_TESTS=ON -DGATEWISE_WERROR=ON
	PATH="$(abspath $(BIN)):$$PATH" cmake --build build/$* --parallel $(shell nproc)
	for isa in portable avx512; do \
	    GATEWISE_ISA=$$isa build/$*/tests/check $$isa 60 || test $$? = 77 || exit 1; done
	touch $@

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/kernel.py
	$(BIN)/python benchmarks/training.py

docs: $(VENV)/installed-dev
	$(BIN)/python docs/make_cli.py

clean:
	rm -rf $(VENV) build dist runs
