# Two commands: `make demo` shows it, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: demo test test-fast check browser picture clean

demo: $(VENV)/installed
	$(BIN)/python -m raysys.tune --space digits

test: check
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/installed-dev browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist
