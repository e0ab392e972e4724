# Needs Python 3.11 to 3.13 and make; everything else comes from the package index into .venv.
# (The Redis that comes from there has no build for 3.14.)
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c '$(FITS)' 2>/dev/null && echo $$python; done) python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench-quick bench-latency bench-groups bench-overtaking chaos clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

install: $(STAMP) ## make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(FITS)' \
	  || { echo "clickhouse-scim needs Python 3.11 to 3.13; run: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing into $(VENV), this once …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install ## a day of an identity provider's traffic, shown on ClickHouse
	@$(BIN)/clickhouse-scim demo

test: install ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install ## what CI runs: format, lint, types, import rules, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

format: install ## format the code and mend what ruff can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench-quick: install ## the ratios that this project claims, against the kept ones, in under three minutes
	$(BIN)/python benchmarks/quick.py

bench-latency: install ## from 2xx to applied on an idle system
	$(BIN)/python benchmarks/latency.py

bench-groups: install ## what a change of a whole large group costs, and whom it makes wait
	$(BIN)/python benchmarks/large_groups.py

bench-overtaking: install ## how long a deactivation takes behind 100,000 waiting events
	$(BIN)/python benchmarks/overtaking.py

chaos: install ## random faults for minutes (CHAOS_SEED=…, CHAOS_SECONDS=…)
	CHAOS_SECONDS=$${CHAOS_SECONDS:-180} $(BIN)/python -m pytest -s tests/e2e/test_chaos.py

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
