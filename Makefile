# Each goal sets up what it needs and does nothing twice: Python packages by stamp files in .venv, the native module by cargo.
# Needed on the machine: Python >= 3.11, a Rust toolchain, make. Interoperability tests also want Java, Maven, Node and Go.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
CARGO ?= cargo
CARGO_FLAGS ?= --locked
# The first interpreter in PATH that is new enough; looked for only when the virtual environment is made.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell $(name) -c \
	'import sys; print("yes" if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(name))))
# Where `make run` keeps its records and listens. `make run ARGS="--set num.partitions=6"` passes more to `ottla serve`.
DATA ?= data
LISTEN ?= 127.0.0.1:9092
ARGS ?=
SOAK_MINUTES ?= 240
SEEDS ?= 5000
CORE := python/ottla/_core.abi3.so
LIBRARY := lib_core$(if $(filter Darwin,$(shell uname -s)),.dylib,.so)

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z%-]*\):[^#]*## /  make \1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-24s %s\n", $$1, $$2 }'

.PHONY: run
run: $(VENV)/stamp-run native ## The broker on 127.0.0.1:9092 over ./data (LISTEN, DATA and ARGS change that)
	@exec $(VENV)/bin/ottla serve --data-dir $(DATA) --listen $(LISTEN) $(ARGS)

.PHONY: test
test: tools-for-tests $(VENV)/stamp-test native ## Every test but the long ones
	@$(CARGO) test $(CARGO_FLAGS) --workspace --profile fast
	@$(PY) -m pytest $(ARGS)

.PHONY: test-portable
test-portable: tools-for-tests $(VENV)/stamp-test native ## Tests of the log on files as any Unix has them, without what only Linux has
	@OTTLA_DISK=portable $(CARGO) test $(CARGO_FLAGS) -p ottla-log --profile fast --lib --tests
	@OTTLA_DISK=portable $(PY) -m pytest tests/embed $(ARGS)

.PHONY: test-long
test-long: tools-for-tests $(VENV)/stamp-test native ## Every test
	@$(CARGO) test $(CARGO_FLAGS) --workspace --profile fast --lib --tests -- --include-ignored
	@$(PY) -m pytest --long $(ARGS)

.PHONY: lint
lint: $(VENV)/stamp-test $(VENV)/stamp-dev native ## Format, lints and types of Rust and Python; changes nothing
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@PYTHONPATH=python $(PY) -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tools/stubtest.txt ottla

.PHONY: lint-workflows
lint-workflows: ## The release workflow, by actionlint (Go needed)
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: bench
bench: $(VENV)/stamp-bench native-release ## The headline figures beside Apache Kafka's (Java and Maven needed)
	@$(PY) -m benches $(ARGS)

.PHONY: bench-full
bench-full: $(VENV)/stamp-bench native-release ## Every figure beside Apache Kafka's; more than an hour
	@$(PY) -m benches --full $(ARGS)

.PHONY: bench-instructions
bench-instructions: | $(PY) ## Instructions of storage engine and wire beside the committed counts (valgrind needed)
	@$(PY) -m benches.instructions $(ARGS)

.PHONY: bench-crossings
bench-crossings: $(VENV)/stamp-bench native-release ## What each door between Python and Rust costs
	@$(PY) -m pytest benches/crossings --benchmark-only --benchmark-columns=median,iqr,ops,rounds --benchmark-sort=name -p no:cacheprovider $(ARGS)

.PHONY: soak
soak: $(VENV)/stamp-test native ## A steady load for SOAK_MINUTES (four hours): memory, descriptors and times as it goes
	@SOAK_MINUTES=$(SOAK_MINUTES) $(PY) -m tests.soak $(ARGS)

.PHONY: example-flights
example-flights: $(VENV)/stamp-examples native ## 336,776 flights through a broker and a consumer that are killed on the way
	@$(PY) -m examples.flights $(ARGS)

example-%: $(VENV)/stamp-examples native ## One of the others: riders, orders, meters, retries, logs, accounts, outbox, jobs, audit, timetravel, tail
	@$(PY) -m examples.$* $(ARGS)

.PHONY: image
image: ## The container image `ottla` (a container engine needed); docs/container.md is its manual
	@docker build -f docker/Dockerfile -t ottla .

.PHONY: docs
docs: $(VENV)/stamp-docs ## The documentation site, in target/docs/site; a broken link is an error
	@$(PY) tools/docs_site.py pages
	@$(VENV)/bin/zensical build --clean --strict
	@$(PY) tools/docs_site.py check

.PHONY: power-cuts
power-cuts: ## Power cuts against the storage engine, from SEEDS seeds (5,000); docs/durability.md says what is looked for
	@OTTLA_SEEDS=$(SEEDS) $(CARGO) test $(CARGO_FLAGS) --profile fast -p ottla-sim --test power_cut thousands -- --ignored --nocapture
	@$(CARGO) test $(CARGO_FLAGS) --profile fast -p ottla-sim --test local_log -- --nocapture

.PHONY: clean
clean: ## Removes what was built and installed here; ./data stays
	@rm -rf $(VENV) target dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis $(CORE) tests/clients/js/node_modules
	@find python tests examples tools benches -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the goals above need ---------------------------------------------------------------------------------------------------

# Cargo decides what is out of date. A broker that runs keeps its module: the new file takes the name, the old one lives on unnamed.
define install_core
	@cmp -s target/$(1)/$(LIBRARY) $(CORE) || { cp target/$(1)/$(LIBRARY) $(CORE).new && mv $(CORE).new $(CORE); }
endef

.PHONY: native native-release
native: ## The native module, quick to build; the goals above call it
	@$(CARGO) build $(CARGO_FLAGS) --profile fast -p ottla-py
	$(call install_core,fast)

native-release:
	@$(CARGO) build $(CARGO_FLAGS) --profile release -p ottla-py
	$(call install_core,release)

# `import ottla` and the `ottla` command come from the tree itself, so that no change to Python asks for an installation.
$(VENV)/stamp-run: pyproject.toml tools/requirements.py Makefile | $(PY)
	@echo "installing what the broker needs into $(VENV)"
	@$(PY) tools/requirements.py cli > $(VENV)/requirements-run.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements-run.txt
	@echo "$(CURDIR)/python" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ottla.pth"
	@printf '#!%s\nimport sys\nfrom ottla.cli.main import main\nsys.exit(main())\n' "$(CURDIR)/$(PY)" > $(VENV)/bin/ottla
	@chmod +x $(VENV)/bin/ottla
	@touch $@

# The tests run the examples too, so their packages come along.
$(VENV)/stamp-test: EXTRAS = test examples
$(VENV)/stamp-dev: EXTRAS = dev
$(VENV)/stamp-bench: EXTRAS = bench
$(VENV)/stamp-examples: EXTRAS = examples
$(VENV)/stamp-docs: EXTRAS = docs
$(VENV)/stamp-test $(VENV)/stamp-dev $(VENV)/stamp-bench $(VENV)/stamp-docs $(VENV)/stamp-examples: $(VENV)/stamp-run
	@echo "installing $(EXTRAS) packages into $(VENV)"
	@$(PY) tools/requirements.py $(EXTRAS) > $(VENV)/requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	@touch $@

$(PY):
	@[ -n "$(PYTHON)" ] || { echo "no Python >= 3.11 in PATH: install one, or name it with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; }

# What only tests need. Without it those tests are skipped on a person's machine, with the reason, and refused where CI=true.
# From 1.21 on Go fetches the Go that tests/clients/go/go.mod asks for; an older one, as Debian 12's 1.19, counts as missing.
.PHONY: tools-for-tests
tools-for-tests:
	@missing=""; \
	need() { for tool in $$2; do command -v $$tool > /dev/null || missing="$$missing\n  $$tool: $$1"; done; }; \
	need "Java 17 or later and Maven run Apache Kafka 4.3.1 beside Ottla" "java mvn"; \
	need "Node 18 or later with npm runs KafkaJS" "node npm"; \
	need "Go 1.21 or later builds the tests with franz-go" "go"; \
	need "kcat is the client with an old librdkafka" "kcat"; \
	need "strace makes system calls of the broker fail" "strace"; \
	if command -v go > /dev/null && (cd / && go version | grep -qE ' go1\.(1?[0-9]|20)([^0-9]|$$)'); then \
		missing="$$missing\n  go: $$(cd / && go version | cut -d' ' -f3) is too old, franz-go needs Go 1.21 or later"; \
	fi; \
	if [ -n "$$missing" ]; then \
		printf "not found, wanted by tests:$$missing\n"; \
		if [ "$${CI:-}" = true ]; then echo "CI=true: nothing may be skipped" >&2; exit 1; fi; \
		echo "The tests that need them are skipped."; \
	fi
