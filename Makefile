# Every command does its own set-up and skips it when nothing changed. `make help` lists them.

# The first Python ≥ 3.10 that can make a virtual environment; `make test PYTHON=python3.12` overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUST := $(shell find rust -name '*.rs')
# Whatever environment the caller sits in, ours is the one that is built into.
MATURIN := env -u CONDA_PREFIX VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin
# The interpreter that cargo builds the binding against, the same as maturin's.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-gpu lint bench bench-guard docs format clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.built  ## make .venv, install the dependencies, compile the Rust module

demo: setup  ## train ewa, linear and vgg_like on the embedded digits: a table and plots, in a minute
	$(BIN)/ewa compare --data digits --epochs 20 --models vgg_like:1,ewa:3,linear:3 --output runs/demo

test: setup  ## cargo test, then pytest
	cargo test --locked
	$(BIN)/python -m pytest

test-gpu: setup  ## the tests that need a CUDA device; without one they are skipped by name
	$(BIN)/python -m pytest tests/gpu

lint: setup  ## formatting, clippy, ruff, mypy, and the stub of the compiled module
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --features python -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ewa_rs._core

bench: setup  ## install the peers and measure the ops against them, ten minutes: results/bench
	$(MATURIN) develop --release --locked --extras train,dev,bench
	$(BIN)/ewa bench --output results/bench

bench-guard:  ## count three kernels' instructions under valgrind, against benchmarks/instructions.json
	$(PYTHON) tools/bench_guard.py

docs: setup  ## put the tables of results/ into the README and the guides
	$(BIN)/python benchmarks/aims.py
	$(BIN)/python tools/include.py

format: setup  ## let rustfmt and ruff put the sources in order
	cargo fmt
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove .venv and everything that was built (runs/ and results/ stay)
	rm -rf $(VENV) target python/ewa_rs/_core*.so

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.10 or later with venv found; set PYTHON=…" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "cargo not found: install Rust, https://rustup.rs" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/maturin: | $(BIN)/python
	$(BIN)/python -m pip install --quiet 'maturin>=1.9,<2'

$(VENV)/.built: pyproject.toml Cargo.toml Cargo.lock $(RUST) | $(BIN)/maturin
	$(MATURIN) develop --release --locked --extras train,ray,onnx,dev
	@touch $@
