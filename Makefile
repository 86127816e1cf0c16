# The only commands anyone needs. Each one does its own set-up.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
LINT := .venv-lint
PRISM := .prism
BIN := $(VENV)/bin

# Nothing here may phone home.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test check check-code check-project bench soak clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.done  ## create .venv with every pinned dependency

$(VENV)/.done: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v[:2] == (3, 11) or sys.exit(f"Python {v[0]}.{v[1]} found, 3.11 expected; set PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# Not compiled: of this much Python most is never imported, and what is gets compiled then.
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/pip check
	@touch $@

$(LINT)/.done: requirements-lint.lock
	@test -x $(LINT)/bin/python || $(PYTHON) -m venv $(LINT)
	@$(LINT)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-lint.lock
	@touch $@

# Not for users: an independent judge of what the tests send. Node.js comes as a wheel, so nothing else has to be there.
$(PRISM)/.done: tests/prism/requirements.lock tests/prism/package-lock.json
	@test -x $(PRISM)/bin/python || $(PYTHON) -m venv $(PRISM)
	@$(PRISM)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/prism/requirements.lock
	@cp tests/prism/package.json tests/prism/package-lock.json $(PRISM)
	@cd $(PRISM) && PATH="$$PWD/bin:$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
	@touch $@

demo: $(VENV)/.done  ## 45 virtual days of a simulated customer base, then what they were worth (FRESH=1 starts over)
	@$(BIN)/uptake demo $(if $(FRESH),--fresh)

ui: $(VENV)/.done  ## a Prefect server with every deployment, on the demo's data
	@$(BIN)/python -m uptake.ui

test: $(VENV)/.done  ## every test
	@tests/run $(ARGS)

check: $(VENV)/.done $(LINT)/.done  ## the inner loop: style, types, structure, SQL, playbooks, packaging
	@$(MAKE) --no-print-directory -j 2 check-code check-project

check-code:
	@$(LINT)/bin/ruff format --check .
	@$(LINT)/bin/ruff check .
	@$(LINT)/bin/mypy --python-executable $(BIN)/python
	@PYTHONPATH=. $(LINT)/bin/lint-imports
	@$(LINT)/bin/python -m build --wheel --no-isolation --outdir build/wheel . > /dev/null
	@tests/wheel_imports build/wheel

check-project:
	@$(LINT)/bin/sqlfluff lint --disable-progress-bar dbt_project/models dbt_project/tests dbt_project/analyses
	@cd dbt_project && ../$(BIN)/dbt --quiet parse --profiles-dir . --target-path target/parse
	@$(BIN)/uptake check
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/contract/test_engine_neutral.py

bench: $(VENV)/.done  ## performance, as ratios to a floor measured in the same run (ARGS="build gate": some)
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(VENV)/.done  ## the long reliability runs, resumable
	@$(BIN)/python -m tests.soak

clean:  ## remove everything that was built, but not var/
	@rm -rf $(VENV) $(LINT) $(PRISM) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dbt_project/target
