# Everything is set up inside the clone: .venv (the environment), .cache (caches), demo-output (pictures).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib

.PHONY: demo test bench results results-fine results-direction lint clean

demo: $(VENV)/.installed
	$(BIN)/idesketch demo --out demo-output --overwrite

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest

bench: $(VENV)/.installed-test
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

results: $(VENV)/.installed
	$(BIN)/python -m benchmarks.results --write docs/RESULTS.md

results-fine: $(VENV)/.installed
	$(BIN)/python -m benchmarks.fine --write docs/RESULTS.md

results-direction: $(VENV)/.installed
	$(BIN)/python -m benchmarks.direction --write docs/RESULTS.md

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .cache demo-output results-output build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
