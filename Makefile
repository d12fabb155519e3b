# Two commands for a newcomer: `make demo` does the main job on real data, `make test` runs the tests.
# Both make their own environment in .venv from the pinned versions in constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)

.PHONY: demo test test-all test-lowest test-newest lint docs changelog golden faults attack benchmarks clean

demo: $(VENV)/.run
	$(BIN)/mmg-ray genomics

# a file at a time, the longest first
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

# minutes: the mathematics, files, commands; `test-all` adds whole runs on Ray, S3 stores, faults, browsers
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.dev
	$(PYTEST) -n 2 -m 'not full and not integration'

test-all: export OMP_NUM_THREADS = 1
test-all: $(VENV)/.dev
	$(PYTEST) -n 2

# with the lowest versions of dependencies that pyproject.toml allows, and with the newest that there are
test-lowest test-newest: test-%:
	rm -rf .venv-$*
	if [ $* = lowest ]; then $(PYTHON) tests/lowest_versions.py; fi > .venv-$*.txt
	$(MAKE) test-all VENV=.venv-$* CONSTRAINTS=.venv-$*.txt

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the site, in docs/_build; notebooks are executed, and a warning is an error
docs: export OMP_NUM_THREADS = 1
docs: $(VENV)/.docs
	$(BIN)/python docs/make_api.py
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

# what the next release would say, of the fragments in changes/
changelog: $(VENV)/.dev
	$(BIN)/towncrier build --draft --version next

# the numbers that tests compare with: after RESULTS_FORMAT was raised in mmg_ray/store/manifest.py
golden: $(VENV)/.dev
	$(BIN)/python tests/golden/edges.py

# every fault in full, and the table of what was survived
faults: $(VENV)/.dev
	MMG_RAY_FAULT_TABLE=1 $(BIN)/python -m pytest tests/faults -m 'full or not full'

# damaged storage and malformed input: each attack_*.py prints a table and fails on anything silent or raw
attack: export OMP_NUM_THREADS = 1
attack: $(VENV)/.dev
	for campaign in tests/attack/attack_*.py; do $(BIN)/python $$campaign || exit 1; done

benchmarks: export OMP_NUM_THREADS = 1
benchmarks: $(VENV)/.dev
	$(PIP) --no-deps elephant quantities neo tqdm frites mne lazy_loader pooch decorator spkit
	for n in 300 1000; do $(BIN)/python benchmarks/accuracy.py --n-samples $$n; done
	$(BIN)/python benchmarks/accuracy.py --n-samples 5000 --seeds 8
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/speed.py --n-samples 5000 --repeats 3 --screen-variables 1000 --ksg-pairs 32
	$(BIN)/python benchmarks/recall.py --seeds 5
	$(BIN)/python benchmarks/choice.py --tasks-times-samples 10000
	$(BIN)/python benchmarks/levels.py
	$(BIN)/python benchmarks/pvalues.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/sampling.py --n-draws 16 --repeats 60
	$(BIN)/python benchmarks/single_cell.py
	$(BIN)/python benchmarks/forecast.py
	for part in prepare pbmc demo; do $(BIN)/python benchmarks/real_size.py --part $$part; done
	$(BIN)/python benchmarks/strata.py
	for part in rankings rates stability changes; do $(BIN)/python benchmarks/evidence.py --part $$part; done
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/scale.py
	for part in synchrony lags nulls; do $(BIN)/python benchmarks/neural.py --part $$part; done
	for part in levels network speed; do $(BIN)/python benchmarks/lags.py --part $$part; done

clean:
	rm -rf $(VENV) runs

# scanpy carries the blood cells, cdt the Sachs table, nitime fMRI and a grasshopper's spikes; of the
# packages themselves nothing is used, so their dependencies stay out
$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[plots]'
	$(PIP) --no-deps scanpy cdt nitime
	touch $@

# pip would list what scanpy, cdt and nitime lack
$(VENV)/.dev: $(VENV)/.run
	$(PIP) --no-warn-conflicts --editable '.[dev]'
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) --no-warn-conflicts --editable '.[docs]'
	touch $@
