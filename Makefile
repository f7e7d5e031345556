# `make help` lists the targets. Python 3.11 to 3.13: make setup PYTHON=python3.12

PYTHON ?= python3
PROMPT ?= a large red circle moving left over a navy background
SEED   ?= 0
MODEL  ?= shapes
OUT    ?= outputs/video.mp4

VENV := .venv
RUN  := $(VENV)/bin/python
PIP  := $(RUN) -m pip install --quiet --disable-pip-version-check

NEWEST        := .venv-newest
NEWEST_PYTHON ?= $(shell .ci/newest-python)

# Through the environment, so that quotes in a prompt reach the program as they are.
export PROMPT SEED MODEL OUT

.PHONY: help setup video test test-slow test-newest lint format docs
.PHONY: train-shapes train-ablations eval-shapes eval-ablations
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.dev  ## make .venv with everything for development

video: $(VENV)/.runtime  ## sample PROMPT="..." with SEED, MODEL (a shipped name or a folder) to OUT
	$(RUN) -m sample.video "$$PROMPT" --seed "$$SEED" --model "$$MODEL" --out "$$OUT"

# Two processes: most of the time is tracing and compiling, for which a process uses one core.
test: $(VENV)/.dev  ## run the tests on the CPU, without those marked slow
	JAX_PLATFORMS=cpu $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# For example `make test-slow TESTS=tests/training/runs` before changing how runs work.
test-slow: $(VENV)/.dev  ## run the tests that take minutes each; TESTS=... selects files or folders
	JAX_PLATFORMS=cpu $(RUN) -m pytest -n 2 --no-loadscope-reorder -m slow $(TESTS)

# With the newest packages of the index instead of those of requirements.txt, and without torch and
# diffusers. Every run installs them again, because the newest versions change from day to day.
test-newest: $(NEWEST)/bin/python  ## run tests/newest.txt with the newest JAX, on the CPU
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--upgrade --upgrade-strategy eager --editable '.[train]' pytest pytest-xdist
	@$(NEWEST)/bin/python -m pip list --format freeze | \
	grep -E '^(flax|grain|jax|jaxlib|numpy|optax|orbax-checkpoint)=='
	JAX_PLATFORMS=cpu $(NEWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	--without-references -rs $$(grep -v '^#' tests/newest.txt)

lint: $(VENV)/.dev  ## run ruff and pyright
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

docs: $(VENV)/.docs  ## build the pages of docs/ as a site in site/, strictly
	JAX_PLATFORMS=cpu $(RUN) -m mkdocs build --strict

format: $(VENV)/.dev  ## sort imports and format the code with ruff
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

train-shapes: $(VENV)/.runtime  ## train all parts of the shipped model; run it again to resume
	$(RUN) -m train.shapes

train-ablations: $(VENV)/.runtime  ## train the models for MODEL's ablations; run it again to resume
	$(RUN) -m train.ablations --model "$$MODEL"

eval-shapes: $(VENV)/.runtime  ## make the numbers and pictures of docs/results.md for MODEL
	$(RUN) -m sample.evaluate_shapes --model "$$MODEL" --prompts 256 --out outputs/evaluation
	$(RUN) -m sample.gallery --model "$$MODEL" --out outputs/gallery

eval-ablations: $(VENV)/.runtime  ## print the tables of docs/shapes.md, after train-ablations
	$(RUN) -m sample.ablations --model "$$MODEL"

$(RUN):
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); \
	sys.exit(None if ok else "Python 3.11 to 3.13 is needed, $(PYTHON) is %d.%d; say which: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(NEWEST)/bin/python:
	$(if $(NEWEST_PYTHON),,$(error Python 3.12 or 3.13 is needed: make test-newest NEWEST_PYTHON=...))
	$(NEWEST_PYTHON) -m venv $(NEWEST)

$(VENV)/.runtime: requirements.txt | $(RUN)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.docs: requirements-docs.txt $(VENV)/.dev
	$(PIP) -r requirements-docs.txt
	@touch $@

# torch first and alone: together with other packages, pip may choose a build with CUDA.
$(VENV)/.dev: requirements-dev.txt requirements-data.txt requirements-app.txt \
    requirements-buckets.txt $(VENV)/.runtime
	$(PIP) "$$(grep '^torch==' requirements-dev.txt)"
	$(PIP) -r requirements-dev.txt
	@touch $@
