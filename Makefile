# One environment, installed from the lock file once; a stamp makes the second run do nothing.
#   make demo       a sick and a healthy start on real digits
#   make test       what must pass before a change is merged (.ci/run calls it)
#   make test-all   the same and the slow tests
#   make bench      the measurements, into benchmarks/results/ and docs/benchmarks.md; those that are
#                   not finished go on. make BENCHMARKS="step cv" bench: some of them
#   make docs       settings.json and docs/catalogue.md from the tables; the pictures of the README from the demo's runs
# PYTHON picks the interpreter of a new environment: make PYTHON=python3.12 test

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/uv
STAMP := .venv/.installed
# Bytecode is kept even where the environment forbids it: a process that compiles torch anew starts
# seconds later, and the suite starts many.
export PYTHONDONTWRITEBYTECODE :=
# One thread a process: the suite runs two side by side, and results must not depend on the machine.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: demo test test-all bench docs check lock install clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	rm -rf runs/demo-sick runs/demo-healthy
	$(BIN)/fitwell improve digits model.activation=sigmoid optim.lr=0.01 --out runs/demo-sick
	$(BIN)/fitwell improve digits --out runs/demo-healthy

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

test: check
	$(PYTEST)

test-all: check
	$(PYTEST) -m "slow or not slow"

bench: $(STAMP)
	$(BIN)/python -m benchmarks.run $(BENCHMARKS)

docs: $(STAMP)
	$(BIN)/python -m fitwell.catalog --write
	$(BIN)/python docs/make_catalogue.py
	$(BIN)/python docs/make_images.py

# After a change of the dependencies: `make lock`, then any other target installs it.
lock: $(STAMP)
	$(UV) pip compile pyproject.toml --group dev --extra all --universal --generate-hashes \
		--no-annotate --no-header --quiet --output-file requirements.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
