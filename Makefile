.DEFAULT_GOAL := help
SHELL := /bin/bash
# Debian's own Python is built with profiles, a fifth faster than one that pyenv builds: taken where it can make a venv.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    && echo /usr/bin/python3 || echo python3)
BIN := .venv/bin
# Foreign programs the interop tests talk to; tests skip by name (and fail in CI) where they are missing.
# libpcsclite-dev, swig, gcc and python3-dev build pyscard, the extra `pcsc`.
DEBIAN_PACKAGES := gcc golang-go golang-golang-x-mod-dev libosmocore-utils libpcsclite-dev osmo-hlr pcsc-tools pcscd python3-dev swig vsmartcard-vpcd

.PHONY: help demo test lint bench load swarm curves serve debian-packages pcsc

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.installed ## play the marketplace end to end; results in build/demo/ (ARGS="--seed 7 --subscribers 20")
	$(BIN)/landfall demo $(ARGS)

test: .venv/.installed debian-packages pcsc ## run every test (ARGS="tests/unit -k sdr")
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.installed ## ruff, mypy --strict and the downward-only imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

bench: .venv/.installed ## measure the ledger, cards over the air, TAP files and settlement; results in build/bench/
	$(BIN)/python -m loadtests.bench $(ARGS)
	$(BIN)/python -m loadtests.ota_bench
	$(BIN)/python -m loadtests.tap_bench
	$(BIN)/python -m loadtests.settlement_bench

SHAPE ?= steady
MIX ?= everything
USERS ?= 24
SECONDS ?= 60
WORKERS ?= 2
load: .venv/.installed ## load by Locust on nodes started here; results in build/load/ (SHAPE= MIX= USERS= SECONDS= WORKERS= ARGS=)
	$(BIN)/landfall load run --shape $(SHAPE) --mix $(MIX) --users $(USERS) --seconds $(SECONDS) --workers $(WORKERS) $(ARGS)

swarm: .venv/.installed ## short worlds with random faults and frauds, each checked, for a while (HOURS=8)
	$(BIN)/python -m simulator.swarm --minutes $$(( $(or $(HOURS),1) * 60 )) $(ARGS)

curves: .venv/.installed ## measure how the ledger's throughput bends; a picture and JSON in build/bench/ (some six minutes)
	$(BIN)/python -m loadtests.curves $(ARGS)

serve: .venv/.installed ## start a ledger node on 127.0.0.1:8400, data in ./data (ARGS="--port 9000")
	$(BIN)/landfall serve --role ledger $(ARGS)

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Landfall needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

debian-packages:
	@missing=(); for p in $(DEBIAN_PACKAGES); do \
	    [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing+=($$p); done; \
	command -v npm >/dev/null || missing+=(nodejs npm); \
	[ $${#missing[@]} -eq 0 ] && exit 0; \
	[ $$(id -u) -eq 0 ] || { echo "Not root: interop tests that need $${missing[*]} will be skipped (apt-get install them)."; exit 0; }; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "$${missing[@]}"; } >/dev/null \
	    || echo "apt-get could not install $${missing[*]}: interop tests that need them will be skipped."

pcsc: .venv/.installed debian-packages
	@$(BIN)/python -c 'import smartcard' 2>/dev/null \
	    || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[pcsc]' >/dev/null 2>&1 \
	    || echo "pyscard could not be built (apt-get install libpcsclite-dev swig gcc): tests of card readers will be skipped."
