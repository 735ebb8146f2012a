# Two commands are all a newcomer needs: `make demo` and `make test`. Each makes its own environment in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard src/celltable/_native/*.cpp src/celltable/_native/*.hpp)
SOURCES := $(NATIVE) CMakeLists.txt pyproject.toml
WORKERS ?= auto

.PHONY: demo test lint check sanitize bench docs clean install

install: $(VENV)/.installed

$(VENV)/.environment: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "celltable needs Python 3.11 or newer; this is %d.%d: name another with PYTHON=..." % sys.version_info[:2])'
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
	  { echo "celltable needs a C++17 compiler to build its core: install one (Debian/Ubuntu: apt-get install g++; macOS: xcode-select --install)."; exit 1; }
	@echo "Making the environment in $(VENV) (a minute or two the first time) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.environment $(SOURCES)
	@echo "Building the compiled core …"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: install
	@$(BIN)/celltable demo demo --overwrite

test: install
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)

check: lint test

sanitize: install
	@PYTHON=$(BIN)/python tools/sanitize

bench: install
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: install
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r docs/requirements.lock
	@$(BIN)/python tools/make-docs-pages
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q && echo "site/index.html"

clean:
	rm -rf build .venv site demo src/celltable/_native/*.so
