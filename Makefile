# Everything runs from .venv, which is made from the lock files with their hashes.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
FIND_PYTHON = for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec echo "$$name"; done; \
	echo "Leadline needs Python 3.11 or newer with the venv module" >&2; echo false
PYTHON ?= $(shell $(FIND_PYTHON))
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
PROCESSES ?= auto
PYTEST = $(BIN)/pytest -n $(PROCESSES) --dist worksteal -q --durations 10 --durations-min 1

# How the Redis of `make chaos` keeps its data: each-write, everysec, no-file.
REDIS ?= each-write

.PHONY: help install demo test test-busy proxies corpus tools chaos crash-scan lost-answers outage flood allowance bench fuzz sbom audit pictures lock clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

install: .venv/installed ## Install everything into .venv from the lock files

.venv/installed: requirements.lock deploy/build.lock pyproject.toml
	@echo "Installing into .venv ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements.lock -r deploy/build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## Start everything, post a sample of every kind, show what arrived in Pipedrive
	@$(BIN)/leadline demo

tools: .venv/tools

.venv/tools: .venv/installed tests/requirements.lock
	@echo "Installing the test tools ..."
	@$(PIP) install --require-hashes -r tests/requirements.lock
	@touch $@

test: tools ## Lint, check types, run all tests; says what is slow, what was skipped and why
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy
	@$(PYTEST) $(TESTS)

test-busy: tools ## Run all tests beside four busy loops: none may judge by the clock
	@$(BIN)/python -m tests.tools.beside_load 4 $(PYTEST) $(TESTS)

proxies: tools ## Bring nginx and Caddy, as Debian packages them, into .proxies where they are missing, for the tests of deploy/proxy
	@$(BIN)/python -m tests.tools.proxies

corpus: tools ## Read every labelled submission; prints precision and recall, and what was read wrong; fails below the floor
	@$(BIN)/python -m tests.corpus $(CORPUS)

chaos: tools ## 200 SIGKILLs, and stops besides, under load, five seeds; fails on anything lost or doubled; REDIS=everysec or no-file: power cuts instead
	@$(BIN)/python -m tests.chaos.loop --submissions 10000 --kills 200 --seeds 1,2,3,4,5 --redis $(REDIS)

crash-scan: tools ## Die at every message of every scenario in turn; fails on anything lost or doubled
	@$(BIN)/python -m tests.chaos.crash_scan

lost-answers: tools ## One create in five committed with its answer lost, 5,000 submissions; fails on anything lost or doubled
	@$(BIN)/python -m tests.chaos.lost_answers --submissions 5000

outage: tools ## Ten minutes without Redis at 50 posts/s; fails on an answer that is no 2xx, p99 over 100 ms, anything lost or doubled
	@$(BIN)/python -m tests.bench.outage --seconds 600

flood: tools ## 10,000 spam posts of 256 KiB; fails if Redis passes its bound, a partner is refused or lost, or nobody is told in time
	@$(BIN)/python -m tests.bench.flood --posts 10000

allowance: tools ## Ten minutes of eight workers on one small window; fails beyond the plan or below 95 %
	@$(BIN)/python -m tests.bench.allowance --seconds 600 --processes 8

fuzz: tools ## 1,000,000 hostile requests: the reader by mutation, the running server by its document; fails on anything that falls
	@$(BIN)/python -m tests.fuzz --cases $(or $(CASES),1000000)

sbom: tools ## Write build/sbom.json, CycloneDX: each package of the lock file with its hashes
	@mkdir -p build
	@PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--validate --of JSON -o build/sbom.json
	@echo "build/sbom.json"

audit: tools ## Look every locked package up in a database of advisories; says what could not be looked up
	@$(BIN)/python -m tests.tools.audit

PEERS := .venv-peers

$(PEERS)/installed: tests/bench/peers/requirements.lock
	@echo "Installing the peers that the benchmarks compare with ..."
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r tests/bench/peers/requirements.lock
	@touch $@

bench: tools $(PEERS)/installed ## Measure intake and delivery beside peers, the console and previews; prints the tables of docs/benchmarks.md
	@$(BIN)/python -m tests.bench --peers $(PEERS)/bin/python $(BENCH)

pictures: tools ## Take the pictures of the documents anew
	@LEADLINE_PICTURES=docs/pictures $(BIN)/pytest -q -n 0 tests/browser/test_pictures.py

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
LOCK = { echo "\# Made by 'make lock' from pyproject.toml. Do not edit."; cat $(1).new; } > $(1) && rm $(1).new

lock: install ## Make the lock files anew with the newest versions
	@$(PIP) install uv
	@$(COMPILE) --upgrade pyproject.toml -o requirements.lock.new && $(call LOCK,requirements.lock)
	@$(COMPILE) --upgrade --group build -c requirements.lock -o deploy/build.lock.new && $(call LOCK,deploy/build.lock)
	@$(COMPILE) --upgrade --group test -c requirements.lock -c deploy/build.lock -o tests/requirements.lock.new \
		&& $(call LOCK,tests/requirements.lock)
	@$(COMPILE) --upgrade -c requirements.lock tests/bench/peers/requirements.in -o tests/bench/peers/requirements.lock.new \
		&& $(call LOCK,tests/bench/peers/requirements.lock)

clean: ## Remove what was installed and cached; the data in .leadline stay
	@rm -rf .venv .venv-peers .proxies build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find service worker tests -name __pycache__ -type d -prune -exec rm -rf {} +
