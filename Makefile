# Every target sets up what it needs first; only the first time takes minutes.
WORKSPACE ?= $(HOME)/Plumbline
ARGS ?=
# More than two fight over the processor in what the tests time, and each holds a gigabyte.
WORKERS ?= 2
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test check lint clean

help:   ## show this
	@echo 'make run [WORKSPACE=~/Plumbline]   open the window; with no display, take the tour in the terminal'
	@echo 'make test [ARGS="-k grpo"]         the whole test suite, without a screen'
	@echo 'make check                         the quick gate before a commit: linters, types, contracts, fast tests'
	@echo 'make clean                         remove the virtual environment and caches; workspaces stay'

run:
	@.ci/setup run
	@.ci/open "$(WORKSPACE)"

test:
	@.ci/setup test
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: lint
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not real_model and not oracle" $(ARGS)

lint:
	@.ci/setup test
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy -n $(WORKERS)
	.venv/bin/lint-imports

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find engine workbench tests -name __pycache__ -type d -prune -exec rm -rf {} +
