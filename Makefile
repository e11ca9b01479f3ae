# Each target sets up what it needs in a virtual environment of its own, from the interpreter PYTHON.
PYTHON ?= python3
# Another PYTHON gets another environment: `make test PYTHON=python3.13` leaves .venv alone.
VENV ?= $(if $(filter file,$(origin PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := .venv-demo
BENCH := .venv-bench
THEIRS := .venv-bench-dask-kubernetes
LOWEST := .venv-lowest

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full test-pythons test-3.11 test-3.12 test-3.13 test-3.14 test-lowest bench \
	check docs schemas manifests prometheus shells lock format clean

help:  ## This list
	@sed -n 's/^\([a-z][-a-z0-9.]*\):.*  ## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; \
		do printf '  %-14s %s\n' "$$target" "$$text"; done
	@echo 'PYTHON=python3.12 before or behind a target chooses the interpreter.'

# $(call new_environment,FOLDER,PURPOSE)
define new_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@echo "Making $(1) with $$($(PYTHON) --version) for $(2). This happens once, and takes a minute or two:"
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --upgrade pip
endef

# $(call install,FOLDER,EXTRAS): a line for each package while it goes on.
define install
	@set -o pipefail; $(1)/bin/python -m pip install --progress-bar off --editable '.[$(2)]' | \
		awk '/^Collecting/ {print "  found", $$2} /^Installing collected/ {print "  installing them"} {fflush()}'
endef
SHELL := /bin/bash

$(READY): pyproject.toml
	$(call new_environment,$(VENV),development)
	$(call install,$(VENV),dev)
	@touch $@

$(DEMO)/.ready: pyproject.toml
	$(call new_environment,$(DEMO),the demo)
	$(call install,$(DEMO),demo)
	@touch $@

$(LOWEST)/.ready: pyproject.toml
	$(call new_environment,$(LOWEST),tests on the lowest versions that pyproject.toml allows)
	@$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	@touch $@

$(BENCH)/.ready: pyproject.toml
	$(call new_environment,$(BENCH),benchmarks)
	$(call install,$(BENCH),bench)
	@touch $@

$(THEIRS)/.ready: benchmarks/dask-kubernetes.txt $(BENCH)/.ready
	$(call new_environment,$(THEIRS),dask-kubernetes)
	@$(BENCH)/bin/python -m pip freeze | grep -E '^(dask|distributed|numpy)==' >$(THEIRS)/same.txt
	@$(THEIRS)/bin/python -m pip install --quiet -r benchmarks/dask-kubernetes.txt -r $(THEIRS)/same.txt
	@touch $@

bench: $(BENCH)/.ready $(THEIRS)/.ready  ## How fast it is, beside dask-kubernetes; BENCH_OPTIONS='--quick --only NAME'
	$(BENCH)/bin/python -m benchmarks --theirs $(THEIRS)/bin/python $(BENCH_OPTIONS)

setup: $(READY)  ## All that development needs: the environment and the hooks of git
	$(BIN)/pre-commit install

demo: $(DEMO)/.ready  ## A real Dask computation on a cluster made by our controller on the local Kubernetes
	@$(DEMO)/bin/python examples/demo.py

# Two processes, as tests mostly wait: each has Kubernetes and controllers of its own, and takes over what is left.
EACH_CHANGE = -m "not full" --numprocesses 2 --dist worksteal

test: $(READY)  ## The tests of every change, under 15 minutes on 2 cores
	$(BIN)/python -m pytest $(EACH_CHANGE)

test-full: $(READY)  ## All tests, those that take long as well
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest tests/e2e --rights=namespaced -k namespaced

test-3.11 test-3.12 test-3.13 test-3.14: test-%:  # The tests on that Python
	$(MAKE) test PYTHON=python$*

test-pythons: test-3.11 test-3.12 test-3.13 test-3.14  ## The tests on every supported Python: test-3.11 … test-3.14

test-lowest: $(LOWEST)/.ready  ## The tests on the lowest version of every dependency
	$(LOWEST)/bin/python -m pytest $(EACH_CHANGE)

check: $(READY)  ## Formatter, linter, types, import contract, generated files, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m dask_k8s_models.generate --check
	$(BIN)/python -m dask_k8s_models.crd --check
	$(BIN)/python chart/generate.py --check
	$(BIN)/python manifests/generate.py --check
	$(BIN)/python -m dask_k8s_local.api.generate --check
	$(BIN)/python docs/architecture.py --check
	$(BIN)/python -m benchmarks.publish --check
	$(SPHINX)

SPHINX = $(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html

docs: $(READY)  ## The documentation as a site, in docs/_build/html; warnings and broken links are errors
	$(SPHINX)

schemas: $(READY)  ## Regenerate all that is generated
	$(BIN)/python -m dask_k8s_models.generate
	$(BIN)/python -m dask_k8s_models.crd
	$(BIN)/python chart/generate.py
	$(BIN)/python manifests/generate.py
	$(BIN)/python -m dask_k8s_local.api.generate
	$(BIN)/python docs/architecture.py

manifests: $(READY)  ## Regenerate what `kubectl apply` and kustomize install, from the chart
	$(BIN)/python manifests/generate.py

prometheus: .prometheus/usr/bin/promtool  ## Prometheus from Debian's package, for tests

.prometheus/usr/bin/promtool:
	mkdir -p .prometheus
	cd .prometheus && apt-get download prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb

shells: .shells/usr/bin/fish  ## zsh and fish from Debian's packages, for tests of completion

.shells/usr/bin/fish:
	mkdir -p .shells
	cd .shells && apt-get download zsh zsh-common fish fish-common libpcre2-32-0
	cd .shells && for package in *.deb; do dpkg-deb -x $$package . && rm $$package; done
	ln -s ../etc .shells/usr/etc

lock: $(READY)  ## Pin anew what the image is made of
	$(BIN)/python image/lock.py

format: $(READY)  ## Lay the sources out, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove all environments
	rm -rf .venv .venv-*
