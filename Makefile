# Two commands: `make demo` and `make test`. Everything lives in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Quick tests run on two processes; the slow ones start clusters and kill things, so they run alone.
PYTEST_ARGS ?=

.PHONY: demo test test-slow test-long lint docs clean

demo: $(VENV)/.installed
	$(BIN)/python -m dflow.cadaccess.kernel.check
	$(BIN)/dflow demo

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -m "not slow and not long" -n 2 --dist loadfile $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow and not long" $(PYTEST_ARGS)

# Exit code 5: no test is selected.
test-long: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "long" --timeout 0 $(PYTEST_ARGS) || [ $$? = 5 ]

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell dflow tests cluster docs README.md CONTRIBUTING.md

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dflow needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing: on Debian or Ubuntu, apt-get install -y python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

clean:
	rm -rf $(VENV) site demo_output .mypy_cache .ruff_cache .pytest_cache .hypothesis
