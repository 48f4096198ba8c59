# `make run` and `make test` are the two that matter; `make help` lists the others.

PYTHON ?= python3
PORT ?= 4730
# A file of policies for `make run`; none where this is empty.
CONFIG ?=
# Where `make run` has its web; this machine's port 4780, if that is free, where this is empty.
WEB ?=

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# What the targets leave behind for a reader: logs and trial's temporary folder.
OUT := build
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Modules without Twisted, a clock or I/O: every line and branch of each is covered by its own tests alone.
PURE := txgear/protocol/*.py txgear/broker/*.py txgear/broker/*/*.py txgear/errors.py txgear/quantities.py txgear/policies.py txgear/cluster/watch.py

# Those that measure no time are done two at a time, the longest first; then those that do, alone.
STEPS := lint types wheel unit docs covered

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12 chooses the interpreter.'
	@echo '  PORT=4731 is the port of `make run`, WEB=127.0.0.1:4781 the place of its web, CONFIG=policies.toml its policies.'
	@echo '  T=txgear.test.broker lets `make unit` run only these: a folder, a module, a class or one test.'

# The stamps lie in the environment itself and go with it; only a change of pyproject.toml makes
# them old. There is one for each extra, so that nobody waits for what a target does not need.
RUNNABLE := $(VENV)/.installed
TESTABLE := $(VENV)/.installed-test
DOCUMENTABLE := $(VENV)/.installed-docs
DEVELOPABLE := $(VENV)/.installed-dev

$(BIN)/python:
	@echo "==> a virtual environment in $(VENV)"
	@$(PYTHON) -m venv --prompt txgear $(VENV)

$(RUNNABLE): pyproject.toml | $(BIN)/python
	@echo "==> installing txgear into $(VENV)"
	@$(PIP) -e .
	@touch $@

# The extra `dev` holds the two others.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "==> installing txgear with its extra [$*] into $(VENV)"
	@$(PIP) -e '.[$*]'
	@touch $@ $(RUNNABLE) $(if $(filter dev,$*),$(TESTABLE) $(DOCUMENTABLE))

$(OUT):
	@mkdir -p $@

.PHONY: run
run: $(RUNNABLE) ## a job server on 127.0.0.1:4730, its web on 4780, its jobs in a file that the log names
	@.ci/serve $(PORT) $(BIN)/twistd -n --pidfile= txgear --port $(PORT) $(if $(CONFIG),--config '$(CONFIG)') $(if $(WEB),--web '$(WEB)')

.PHONY: demo
demo: $(RUNNABLE) ## the programs of examples/ together, some seconds; TRACE=1 shows their packets
	@$(BIN)/python examples/demo.py $(if $(TRACE),--trace)

# Debian's packages come while pip's do. The last lines repeat what the two suites said of themselves.
.PHONY: test
test: | $(OUT) ## everything that is checked before a change is taken in
	@.ci/debian-packages & packages=$$!; \
	installed=0; $(MAKE) -s --no-print-directory $(DEVELOPABLE) || installed=$$?; \
	status=0; wait $$packages || status=$$?; \
	[ $$installed = 0 ] || exit $$installed; \
	case $$status in 0) export TXGEAR_REQUIRE_INTEROP=1 ;; 3) ;; *) exit $$status ;; esac; \
	$(MAKE) --no-print-directory -j2 --output-sync=target $(STEPS); \
	$(MAKE) --no-print-directory -j1 integration; \
	printf '\n==> all passed: %s\n' '$(STEPS) integration'; \
	grep -E '^(Ran [0-9]+ tests|PASSED)' $(OUT)/unit.log; \
	tail -n 1 $(OUT)/integration.log

.PHONY: lint
lint: $(DEVELOPABLE) ## ruff: rules and format
	@printf '\n==> lint\n'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(DEVELOPABLE) ## mypy, strict
	@printf '\n==> types\n'
	@$(BIN)/mypy

.PHONY: unit
unit: $(TESTABLE) | $(OUT) ## unit tests
	@printf '\n==> unit tests\n'
ifneq ($(T),)
	@$(BIN)/python -m twisted.trial --temp-directory=$(OUT)/trial $(T)
else
	@$(BIN)/python -m twisted.trial --temp-directory=$(OUT)/trial txgear 2>&1 | tee $(OUT)/unit.log
	@! grep -E '^PASSED.*skips=' $(OUT)/unit.log || { echo 'nothing is to be skipped here'; exit 1; }
endif

.PHONY: covered
covered: $(TESTABLE) | $(OUT) ## the coverage of the modules without I/O, each by its own unit tests
	@printf '\n==> coverage of modules without I/O\n'
	@$(BIN)/coverage erase
	@$(BIN)/coverage run .ci/own_tests.py $(OUT)/trial-covered $(PURE) > $(OUT)/covered.log 2>&1 || { cat $(OUT)/covered.log; exit 1; }
	@$(BIN)/python .ci/covered_alone.py $(PURE)

.PHONY: integration
integration: $(TESTABLE) | $(OUT) ## real sockets, real processes, clients of other languages
	@printf '\n==> integration tests\n'
	@# Most of the time tests wait for other processes: two at a time take half of it.
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not alone' 2>&1 | tee $(OUT)/integration.log
	@$(BIN)/python -m pytest -m alone 2>&1 | tee -a $(OUT)/integration.log

# From nothing each time: a build that goes on from the last one is silent on the pages it skips.
.PHONY: docs
docs: $(DOCUMENTABLE) | $(OUT) ## the pages in docs/_build/html, and the notes for the next release
	@printf '\n==> documentation\n'
	@rm -rf docs/_build
	@$(BIN)/sphinx-build -q -W --keep-going -n -b html -d docs/_build/doctrees docs docs/_build/html
	@rm -rf docs/_build/html/api.sphinx_files
	@$(BIN)/towncrier build --draft > $(OUT)/changelog.md 2> $(OUT)/towncrier.log || { cat $(OUT)/towncrier.log; exit 1; }
	@echo 'docs/_build/html/index.html'

.PHONY: wheel
wheel: $(DEVELOPABLE) ## build it, install it elsewhere, try it, remove it
	@printf '\n==> the wheel\n'
	@PYTHON=$(BIN)/python .ci/try-wheel

.PHONY: soak
soak: $(TESTABLE) ## ten minutes of load with disturbances, and ten with a store and hardly any memory
	@$(BIN)/python bench/soak.py --seconds 600
	@$(BIN)/python bench/soak.py --seconds 600 --rows

.PHONY: crash
crash: $(TESTABLE) ## 50 kills under load for each kind of store, five minutes of a runtime's troubles, and no job lost
	@$(BIN)/python tests/crash.py
	@$(BIN)/python tests/runtimecrash.py

.PHONY: failover
failover: $(TESTABLE) ## three servers over one database, and all that can happen to any of it: the times of docs/cluster.md; an hour
	@$(BIN)/python tests/clusterproof.py
	@$(BIN)/python tests/clusterproof.py --jobs 1000000
	@TXGEAR_TEST_GALERA_NODES=3 $(BIN)/python -m pytest -k TestGalera tests/test_cluster_contract.py

.PHONY: bench
bench: $(TESTABLE) ## the figures of docs/performance.md
	@$(BIN)/python bench/run.py

.PHONY: bench-tls
bench-tls: $(TESTABLE) ## TLS beside bare Twisted, and gearmand if GEARMAND names one built with it; needs libssl-dev
	@$(BIN)/python bench/run.py --tls --rounds 5 $(if $(GEARMAND),--gearmand '$(GEARMAND)')

.PHONY: bench-doors
bench-doors: $(TESTABLE) ## 10,000 connections, 4,000 with TLS, and access rules; needs libssl-dev
	@$(BIN)/python bench/doors.py

.PHONY: bench-nagle
bench-nagle: $(TESTABLE) ## a worker that waits for acknowledgements, as many libraries have them
	@$(BIN)/python bench/nagle.py

.PHONY: libraries
libraries: $(TESTABLE) ## the table of client libraries in docs/compatibility.md; some minutes
	@$(BIN)/python bench/libraries.py

.PHONY: bench-workers
bench-workers: $(TESTABLE) ## what one worker process does, beside other libraries; BEFORE=FOLDER has a checkout of an earlier build
	@$(BIN)/python bench/workers.py $(if $(BEFORE),--before '$(BEFORE)')

.PHONY: bench-stalls
bench-stalls: $(TESTABLE) ## what one peer can do to all others; ONLY=status,unread for some of it
	@$(BIN)/python bench/stalls.py $(if $(ONLY),--only '$(ONLY)')

.PHONY: bench-web
bench-web: $(TESTABLE) ## pages of the API with 100,000 jobs, 1,000 functions and 5,000 connections
	@$(BIN)/python bench/webpages.py

.PHONY: pictures
pictures: $(TESTABLE) ## the pictures of the docs, from the run that looks at every view of the dashboard; needs pngquant
	@TXGEAR_PICTURES='$(CURDIR)/docs/_static/dashboard' $(BIN)/python -m pytest -q tests/test_dashboard_browser.py
	@pngquant --force --strip --speed 1 --ext .png 64 docs/_static/dashboard/*.png

.PHONY: screens
screens: $(TESTABLE) ## the screens of txgear top in the docs, from the run that tests it
	@TXGEAR_SCREENS='$(CURDIR)/docs/_static/cli' $(BIN)/python -m pytest -q tests/test_cli_top.py -k views

.PHONY: bench-dashboard
bench-dashboard: $(TESTABLE) ## the dashboard at that size in chromium; MINUTES=15 watches the memory of a page for that long
	@$(BIN)/python bench/dashboard.py $(if $(MINUTES),--minutes '$(MINUTES)')

.PHONY: bench-asking
bench-asking: $(TESTABLE) ## what it costs a busy server to be asked each second, as by txgear top
	@$(BIN)/python bench/asking.py

.PHONY: bench-memory
bench-memory: $(TESTABLE) ## a million jobs of 10 kB in the store; needs 15 GB of disk
	@$(BIN)/python bench/longqueue.py

.PHONY: bench-deep
bench-deep: $(TESTABLE) ## two and ten million small jobs in the store; BEFORE=COMMAND starts another build; needs 8 GB of disk
	@$(BIN)/python bench/deep.py $(if $(BEFORE),--other '$(BEFORE)')

.PHONY: bench-cluster
bench-cluster: $(TESTABLE) ## one server of a cluster beside one alone, and two and three over one PostgreSQL and one MariaDB
	@$(BIN)/python bench/clustercost.py

.PHONY: bench-policies
bench-policies: $(TESTABLE) ## retries, kept results and a rate on every function, beside the same server without
	@$(BIN)/python bench/policies.py

.PHONY: bench-archive
bench-archive: $(TESTABLE) ## a million dead or kept jobs; needs 4 GB of disk
	@$(BIN)/python bench/archive.py

.PHONY: clean
clean: ## remove all that these targets made
	@rm -rf $(VENV) $(OUT) dist docs/_build _trial_temp* .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@rm -f twisted/plugins/dropin.cache txgear/plugins/dropin.cache
	@find txgear tests bench docs examples twisted -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
