# Every target sets up what it needs by itself. `make` alone prints this help.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## print this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

env: .venv/.installed ## the locked environment in .venv, bytecode compiled

.venv/.installed: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" bash .ci/install-env

demo: env ## the whole pipeline on the built-in synthetic set, in demo/
	@bash .ci/demo

test: lint ## lint, then every test; SLURM and browser tests where these are installed
	pytest --numprocesses logical --maxprocesses 4 --no-loadscope-reorder --durations=20 \
	    --cov --cov-report= tests
	coverage report --fail-under=90 --skip-covered

lint: env ## ruff, mypy, snakefmt and snakemake --lint
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check workflow
	snakemake --lint

bench: env ## measure against the usual ways and the targets, on ARCHIVE=images.zip or drawn images
	python -m tests.benchmarks $(if $(ARCHIVE),--archive $(ARCHIVE))

lock: ## bring requirements.lock up to date with pyproject.toml (needs uv)
	uv pip compile --quiet --universal --generate-hashes --extra dev --no-header --no-annotate \
	    --python-version 3.11 pyproject.toml --output-file requirements.lock

.PHONY: help env demo test lint bench lock
