# On a fresh machine each target does its own set-up; it needs make and python3 (3.11 or newer, with venv).
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
# The oldest versions have wheels for Python 3.11 only.
PYTHON_OLDEST ?= python3.11

VENV := .venv
OLDEST := .venv-oldest
WORKERS ?= 2

# One thread per process: small nets lose more to threads than they gain, and tests run in parallel.
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help test bench lint test-oldest clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

test: lint  ## lint, tests, doctests
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup

bench: $(VENV)/.ready  ## the benchmark on tables that need no network
	$(VENV)/bin/mixsk bench run --suite builtin

lint: $(VENV)/.ready  ## ruff and mypy
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

# Without doctests: numpy 2 prints scalars in another way than numpy 1.
test-oldest: $(OLDEST)/.ready  ## the tests on the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist loadgroup tests

clean:  ## remove the environments and all that tools leave behind
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The version is in mixsk/__init__.py and an environment knows the one that it was installed with.
METADATA := pyproject.toml mixsk/__init__.py

$(VENV)/.ready: $(METADATA) constraints.txt
	$(call install,$(PYTHON),$(VENV),constraints.txt,dev)

$(OLDEST)/.ready: $(METADATA) constraints-oldest.txt
	$(call install,$(PYTHON_OLDEST),$(OLDEST),constraints-oldest.txt,test)

# install(python, environment, constraints, extra). torch goes first and by itself: "==2.13.0" also matches
# the local version 2.13.0+cpu and pip prefers it, so the small CPU build is taken wherever pip's own
# configuration offers it, and the usual build elsewhere.
define install
	@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "mixsk needs Python 3.11 or newer; '$(1)' is $$($(1) --version 2>/dev/null || echo missing)" >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(1) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(1)' cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(2) (some minutes the first time)"
	$(2)/bin/python -c '' 2>/dev/null || $(1) -m venv --clear $(2)
	$(2)/bin/python -m pip install -c $(3) torch
	$(2)/bin/python -m pip install -c $(3) -e '.[$(4)]'
	@touch $(2)/.ready
endef
