# Each target needs Python 3.10 to 3.13 and make, and brings the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most of the time of these tests is compiling small loops, the same ones again and again.
JAX_CACHE := JAX_COMPILATION_CACHE_DIR=$(VENV)/jax-cache JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
SOURCES := layers components pipeline tests data benchmarks setup.py

.PHONY: run test test-slow test-cluster verify-outside test-jax test-jax-fidelity lint bench clean

run: $(VENV)/installed
	$(BIN)/rnnpipe run

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not cluster"

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not cluster" $(SLOW_SELECT)

# An engine, workers and servers on 127.0.0.1, which are built where there is Go; the tests are skipped without it.
test-cluster: $(VENV)/installed-test $(VENV)/installed-gcp
	if command -v go > /dev/null; then tests/remote/install.sh; fi
	$(BIN)/python -m pytest -m cluster tests/cluster $(CLUSTER_SELECT)

# The real Dataflow and the real TensorFlow Serving, for somebody who has them: docs/dataflow.md.
verify-outside: $(VENV)/installed $(VENV)/installed-gcp $(VENV)/installed-gcs
	$(BIN)/python tests/outside/verify.py $(FLAGS)

test-jax: $(VENV)/installed-test $(VENV)/installed-jax
	KERAS_BACKEND=jax $(JAX_CACHE) $(BIN)/python -m pytest -n 2 --dist loadfile tests/layers $(JAX_SELECT)

# Those that compare with equations and with known layers.
test-jax-fidelity: JAX_SELECT := -k equal
test-jax-fidelity: test-jax

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/beam_expansion.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/ingest_tokenize.py
	$(BIN)/python benchmarks/train_step.py

$(VENV)/installed: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-%: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
