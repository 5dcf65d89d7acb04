# demo · test · quick · check · bench · docs; each builds what it needs. Requires Python 3.11+, a C++ compiler and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export GATEWISE_DATA ?= $(wildcard $(abspath ../shared/data))

# Without bytecode on disk, each of the many processes of the tests compiles two hundred modules: 0.6 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick check bench docs clean

# Each worker takes a block of consecutive tests, so that tests of one file share its fixtures, and then
# remaining tests of other workers.
WORKERS := --numprocesses auto --dist worksteal

PIP := $(BIN)/python -m pip install --quiet

# The installation maps module names to files, so a changed list of modules needs a new installation.
INSTALLED := $(VENV)/installed-$(shell find src -name '*.py' | sort | cksum | cut -d' ' -f1)

NATIVE := CMakeLists.txt $(wildcard native/*)
CPP := $(wildcard native/*.h native/*.cpp native/tests/*.h native/tests/*.cpp)

$(INSTALLED): pyproject.toml $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(INSTALLED)
	$(PIP) --group dev
	touch $@

demo: $(INSTALLED)
	$(BIN)/gatewise train nyc-taxi --output runs/demo --overwrite

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(WORKERS)

# The inner loop, in two minutes: all tests but those of tests/slow.txt.
quick: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/python -m pip install --quiet --group check
	$(BIN)/python -m pytest $(WORKERS) tests/fuzz tests/serving/test_serving_every_task.py
	$(MAKE) build/address/tests/checked build/thread/tests/checked

# The native tests under sanitizers: addresses on the narrowest and the widest vectors, threads on one
# kind only, because they do not depend on the vectors.
build/address/tests/checked: SANITIZE := -DGATEWISE_SANITIZE=address,undefined "-DGATEWISE_ISAS=portable;avx512;amx_emulated"
build/thread/tests/checked: SANITIZE := -DGATEWISE_SANITIZE=thread -DGATEWISE_ISAS=portable
build/%/tests/checked: $(NATIVE) $(wildcard native/tests/*) | $(VENV)/installed-dev
	PATH="$(abspath $(BIN)):$$PATH" cmake -S . -B build/$* $(SANITIZE) \
	    -DGATEWISE_XLA=OFF -DGATEWISE_TESTS=ON -DGATEWISE_WERROR=ON
	PATH="$(abspath $(BIN)):$$PATH" cmake --build build/$* --parallel $(shell nproc)
	for isa in portable avx512 amx_emulated; do \
	    GATEWISE_ISA=$$isa build/$*/tests/check $$isa 60 || test $$? = 77 || exit 1; done
	touch $@

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/kernel.py
	for one in jax tensorflow torch; do \
		$(BIN)/python benchmarks/training.py --backend $$one || exit 1; done

# The generated pages, and the site of all pages in build/site. The variable hides a notice that Material for MkDocs ends
# in 2027, which is not about these pages.
docs: $(VENV)/installed-dev
	$(PIP) --group docs
	$(BIN)/python docs/make_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist runs
