# make demo · make test · make bench · make lint · make ui · make lock. The first of them installs, once per lock.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
INSTALLED := $(VENV)/installed
EXPERIMENT ?= tiny
ARGS ?=
ifndef REFORGE_SHELL_PATH
export REFORGE_SHELL_PATH := $(PATH)
endif
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.PHONY: help demo test bench lint format ui lock install clean

help: ## what there is
	@awk -F': .*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## the whole road: raw problems → trained, distilled, evaluated model (EXPERIMENT=tiny ARGS="key=value ...")
	@python -m flows.local --experiment $(EXPERIMENT) $(ARGS)

test: $(INSTALLED) ## all tests that need no GPU
	@pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(INSTALLED) ## the measurements that there are, and how to run them
	@grep -rl --include=*.py '__name__ == "__main__"' benchmarks | sort | sed 's|/|.|g; s|\.py$$||; s|^|$(VENV)/bin/python -m |'

lint: $(INSTALLED) ## style, types, import contracts
	@ruff check . && ruff format --check . && mypy && lint-imports --no-cache

format: $(INSTALLED) ## put the style right
	@ruff check --fix . && ruff format .

ui: $(INSTALLED) ## every run and metric, in a browser on this machine (PORT=5000)
	@reforge ui --port $(or $(PORT),5000)

lock: $(INSTALLED) ## resolve requirements/*.in again, changing no more than they demand
	@requirements/lock

install: $(INSTALLED) ## only the environment

$(INSTALLED): requirements/cpu.lock requirements/build.lock
	@PYTHON="$(PYTHON)" requirements/install $(VENV)
	@touch $@

clean: ## remove the environment; runs, outputs and the DVC cache stay
	@rm -rf $(VENV)
