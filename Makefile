# Each target sets up what it needs in a virtual environment of its own; PYTHON names the interpreter it is made from.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-full check schemas manifests format clean

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(READY)  ## A real Dask computation on a cluster made by our controller on the embedded Kubernetes
	@$(BIN)/python examples/demo.py

test: $(READY)  ## The tests of every change, under 15 minutes on 2 cores
	$(BIN)/python -m pytest -m "not full"

test-full: $(READY)  ## All tests, those that take long as well
	$(BIN)/python -m pytest

check: $(READY)  ## Formatter, linter, types, import contract, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m dask_k8s_models.generate --check
	$(BIN)/python -m dask_k8s_models.crd --check
	$(BIN)/python chart/generate.py --check
	$(BIN)/python manifests/generate.py --check
	$(BIN)/python -m dask_k8s_local.api.generate --check

schemas: $(READY)  ## Regenerate all that is generated
	$(BIN)/python -m dask_k8s_models.generate
	$(BIN)/python -m dask_k8s_models.crd
	$(BIN)/python chart/generate.py
	$(BIN)/python manifests/generate.py
	$(BIN)/python -m dask_k8s_local.api.generate

manifests: $(READY)  ## Regenerate what `kubectl apply` and kustomize install, from the chart
	$(BIN)/python manifests/generate.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV)
