# Everything is set up inside the clone: .venv (the environment), .venv-cuda12 and -cuda13 (CUDA toolchains without a
# device), .cache (caches), demo-output (pictures).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib

.PHONY: demo test test-cuda test-cuda12 test-cuda13 gpu-check bench results results-fine results-levers results-direction \
	results-anyone results-preselect robustness lint clean

demo: $(VENV)/.installed
	$(BIN)/idesketch demo --out demo-output --overwrite

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Every GPU kernel compiled by both toolchains, at the same time; needs no GPU.
test-cuda:
	$(MAKE) --jobs=2 --keep-going --output-sync=target test-cuda12 test-cuda13

test-cuda12 test-cuda13: test-cuda%: .venv-cuda%/.installed
	IDESKETCH_CUDA_GATE=$* .venv-cuda$*/bin/python -m pytest -o addopts="-q --strict-markers" tests/cuda_gate

# On a machine with a card, for four minutes at most: installs nothing, takes the Python it is given.
#   make gpu-check OUT=folder [PYTHON=python3] [DATA=folder] [YARDSTICK=folder] [ONLY=part] [WRITE=docs/GPU.md]
OUT ?= gpu-check-output
gpu-check:
	$(PYTHON) -m benchmarks.gpu_check --out "$(OUT)" $(if $(DATA),--data "$(DATA)") \
		$(if $(YARDSTICK),--yardstick "$(YARDSTICK)") $(if $(ONLY),--only $(ONLY)) $(if $(WRITE),--write "$(WRITE)")

bench: $(VENV)/.installed-test
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

results: $(VENV)/.installed
	$(BIN)/python -m benchmarks.results --write docs/RESULTS.md

results-fine: $(VENV)/.installed
	$(BIN)/python -m benchmarks.fine --jobs 2 --write docs/RESULTS.md

results-levers: $(VENV)/.installed
	$(BIN)/python -m benchmarks.levers --jobs 2 --write docs/RESULTS.md

results-direction: $(VENV)/.installed
	$(BIN)/python -m benchmarks.direction --write docs/RESULTS.md

# The face descriptor and OpenCV's filter come with the extras of the tests.
results-anyone: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.anyone --write docs/RESULTS.md

# The bank of 10,000 drawn faces is made the first time, in some ten minutes; BANK=file takes one that is there.
results-preselect: $(VENV)/.installed
	$(BIN)/python -m benchmarks.preselect $(if $(BANK),--bank "$(BANK)") \
		$(if $(BACKEND),--backend $(BACKEND)) --write docs/RESULTS.md

robustness: $(VENV)/.installed
	$(BIN)/python -m benchmarks.robustness --write docs/RESULTS.md

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-cuda12 .venv-cuda13 .cache demo-output results-output gpu-check-output cluster-output build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

.venv-cuda12/.installed .venv-cuda13/.installed: .venv-cuda%/.installed: tests/cuda_gate/requirements-cuda%.txt constraints.txt
	$(PYTHON) -m venv --clear .venv-cuda$*
	.venv-cuda$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r $< numpy lazy-loader numba scipy h5py pytest
	touch $@
