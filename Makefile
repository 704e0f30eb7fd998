# The project's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv installs in half of pip's time; pip does where uv cannot, or where pip was told of an index.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock
INSTALL := $(if $(PIP_INDEX_URL)$(PIP_EXTRA_INDEX_URL),false,VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet -c requirements.lock)
# What is imported is compiled once, which is a small part of what uv installs.
export PYTHONDONTWRITEBYTECODE :=

# Nothing phones home, also while the package is not imported yet.
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true

# viz, demo and serve take the environment of the newest run; ENV=tagged names another one.
NEWEST = $(BIN)/python -m affinitynet.runs.newest
KEEP ?= 3
# Many tests wait for processes that they started: one worker more than there are cores.
WORKERS = $$($(BIN)/python -c 'import os; print(min(os.cpu_count() + 1, 4))')
PYTEST = $(BIN)/python -m pytest --quiet --numprocesses=$(WORKERS) --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit bench lint format viz mlflow serve demo screenshots docs clean clean-runs

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create the virtual environment and install the project

run: setup ## Run everything on the embedded default (kedro run)
	$(BIN)/kedro run

test: $(VENV)/.installed-dev ## Run all tests
	$(PYTEST)

test-unit: $(VENV)/.installed-dev ## Run the fast tests, of single functions
	$(PYTEST) --numprocesses=logical tests/unit

bench: $(VENV)/.installed-dev ## Measure against plain baselines (BENCH="-k walk": some of it)
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-quiet $(BENCH)

lint: $(VENV)/.installed-dev ## Check style, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

viz: setup ## Show the lineage graph in the browser (ENV=tagged: another environment's)
	$(BIN)/kedro viz run $$($(NEWEST) option $(ENV))

mlflow: setup ## Show the tracked runs at http://127.0.0.1:5000
	@echo "Runs: http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server \
		--backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --workers 1

serve: setup ## Serve the newest model at http://127.0.0.1:5001, see docs/models.md (ENV=tagged)
	MODEL=$$($(NEWEST) model $(ENV)) && echo "$$MODEL" && \
	MLFLOW_TRACKING_URI=sqlite:///mlflow.db PATH="$(CURDIR)/$(BIN):$$PATH" \
		MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 \
		mlflow models serve --model-uri "$$MODEL" --env-manager local --port 5001

demo: $(VENV)/.installed-demo ## Try the trained networks on a photo, in the browser (ENV=tagged)
	$(BIN)/streamlit run src/affinitynet/demo/page.py -- $(if $(ENV),--env $(ENV)) $(DEMO)

screenshots: $(VENV)/.installed-dev ## Make the pictures of the docs from the newest runs
	$(BIN)/python scripts/screenshots.py

docs: $(VENV)/.installed-dev ## Build the documentation, site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## Remove caches, but neither data nor tracked runs
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-runs: setup ## List and remove what old runs have made (KEEP=3 runs of each environment stay)
	$(BIN)/python -m affinitynet.runs.clean --keep $(KEEP)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 …" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null \
		|| { echo "A C++ compiler is needed to build pydensecrf2 (Debian: apt install g++)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(PIP) uv || echo "pip installs all, as there is no uv" >&2
	@# The Cython that pydensecrf2 asks for is too old for Python 3.13.
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))' \
		|| { $(PIP) cython setuptools && $(PIP) --no-build-isolation pydensecrf2; }

$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(INSTALL) -e . || $(PIP) -e .
	@touch $@

$(VENV)/.installed-demo: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(INSTALL) -e ".[demo]" || $(PIP) -e ".[demo]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(INSTALL) -e ".[dev]" || $(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.installed $(VENV)/.installed-demo
