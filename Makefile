# Two commands: `make demo` shows it, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: demo test test-fast test-cluster check bench browser picture screenshots clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/python -m raysys.tune --space digits

# On two cores, each module on one: its tests share Rays and runs. The short ones first: what is wrong is told soon.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: check
	$(PYTEST) -m "not slow and not cluster"
	$(PYTEST) -m "slow and not cluster"

test-fast: $(VENV)/installed-dev
	$(PYTEST) -m "not slow and not cluster"

test-cluster: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m cluster

check: $(VENV)/installed-dev browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable ".[dev]"
	@touch $@

# Every table about speed and memory, some 15 minutes on two cores with nothing beside it.
bench: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/all.py

# The browser tests need a Chromium; where it cannot be installed they are skipped (in CI they fail).
CHROMIUM := chromium-headless-shell chromium chromium-browser google-chrome
browser:
	@if [ -n "$$RAYSYS_CHROMIUM" ] || which $(CHROMIUM) | grep -q .; then :; \
	elif [ "$$(id -u)" = 0 ] && which apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; \
	  apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null || \
	  apt-get install -y -qq --no-install-recommends chromium >/dev/null || \
	  echo "Chromium could not be installed; install it yourself, or set RAYSYS_CHROMIUM to its path"; \
	else echo "no Chromium for the browser tests: install the package chromium, or set RAYSYS_CHROMIUM"; fi

# make picture RUN=runs/digits-...: the front in the README, from a real run
picture: $(VENV)/installed-dev
	$(BIN)/python -m raysys.figures.picture $(RUN) -o docs/front.svg

# make screenshots RUNS=runs [RUN=name]: the dashboard's pages in the README, from real runs
screenshots: $(VENV)/installed-dev
	$(BIN)/python tests/screenshots.py $(RUNS) $(if $(RUN),--run $(RUN)) -o docs

clean:
	rm -rf $(VENV) build dist
