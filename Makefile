# `make run` starts the exchange, `make test` passes the tests; both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export SWITCHROOM_TESTDATA ?= $(abspath ../shared/data)

# The files of the state tables: every line and branch of them is reached by tests/unit.
TABLES := $(addsuffix .py,$(addprefix src/switchroom/sip/, dialog event notifier offer_exchange publication registration \
	reliable_provisional session_table session_timer success_response transaction))
comma := ,
empty :=
space := $(empty) $(empty)

.PHONY: help run test lint typecheck arrows unit scenarios peers test-mutate test-compiled test-peers fuzz soak bench docs clean

help:
	@echo "make run            start the exchange with embedded defaults"
	@echo "make test           everything that must pass before a change lands (at most 12 minutes)"
	@echo "make test-mutate    change each row of each state table; some test must notice"
	@echo "make test-compiled  compile the hot modules with mypyc and run the same unit tests"
	@echo "make test-peers     the full matrix against real peers"
	@echo "make fuzz           feed mutated messages for SWITCHROOM_FUZZ_SECONDS (default 600)"
	@echo "make soak           every scenario of the lab over 10,000 seeds for each quality of link (an hour)"
	@echo "make bench          the figures in benchmarks/, beside peers, on an idle machine"
	@echo "make docs           draw the diagrams anew from the state tables, and build the pages"

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Switchroom needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

run: $(VENV)/.ready
	$(BIN)/switchroom serve

test: lint typecheck arrows peers unit scenarios

lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

typecheck: $(VENV)/.ready
	$(BIN)/mypy

arrows: $(VENV)/.ready
	$(BIN)/lint-imports --no-cache

peers:
	tests/interop/install_peers.sh

unit: $(VENV)/.ready
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m coverage run -m pytest tests/unit
	$(BIN)/coverage report --include='src/switchroom/sip/*,src/switchroom/sdp/*,src/switchroom/rtp/*' --fail-under=95
	$(BIN)/coverage report --include='$(subst $(space),$(comma),$(strip $(TABLES)))' --fail-under=100

scenarios: $(VENV)/.ready
	$(BIN)/python -m pytest tests/lab tests/wire tests/interop tests/fuzz

test-mutate: $(VENV)/.ready
	$(BIN)/python tests/mutate.py

test-compiled: $(VENV)/.ready
	$(PYTHON) -m venv .venv-compiled
	.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --group dev
	rm -rf build/compiled
	SWITCHROOM_MYPYC=1 .venv-compiled/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/compiled .
	.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps build/compiled/*.whl
	.venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check build/compiled/*.whl
	.venv-compiled/bin/python -c 'import switchroom.sip.layer as m; assert m.__file__.endswith((".so", ".pyd")), m.__file__'
	.venv-compiled/bin/python -m pytest tests/unit/sip
	$(BIN)/python benchmarks/compiled.py $(BIN)/python .venv-compiled/bin/python $(BENCH_OPTIONS)

test-peers: $(VENV)/.ready peers
	SWITCHROOM_PEER_MATRIX=full $(BIN)/python -m pytest tests/interop

fuzz: $(VENV)/.ready
	SWITCHROOM_FUZZ_SECONDS=$${SWITCHROOM_FUZZ_SECONDS:-600} $(BIN)/python -m pytest tests/fuzz --timeout=0

soak: $(VENV)/.ready
	SWITCHROOM_SOAK_SEEDS=$${SWITCHROOM_SOAK_SEEDS:-10000} $(BIN)/python -m pytest tests/lab --timeout=0 -n auto

bench: $(VENV)/.ready
	$(BIN)/python benchmarks/run.py $(BENCH_OPTIONS)

docs: $(VENV)/.ready
	$(BIN)/python docs/generate_diagrams.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	$(BIN)/mkdocs build --quiet
	@echo "the pages are in build/docs"

clean:
	rm -rf $(VENV) .venv-bench .venv-compiled build dist .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache
