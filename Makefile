# Conclave. `make` lists what there is.

.DEFAULT_GOAL := help
.PHONY: help run build web test check fmt lint lint-deny unit web-test fuzz contract examples e2e bench setup
CARGO := cargo
DATA ?= data

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

run: build ## build everything, start the server, print the URL of the demo page
	./target/release/conclave serve --data-dir "$(DATA)" --demo conclave/demo/dist

# Rust links by it, and SQLite is compiled by it.
.PHONY: compiler
compiler:
	@command -v cc >/dev/null || { echo "no C compiler (cc) was found: apt-get install build-essential, or run: make setup" >&2; exit 1; }

build: compiler web ## build the SDK, the demo page and the release binary
	$(CARGO) build --locked --release --bin conclave

WEB_SOURCES := package.json $(shell find sdk-spec/web conclave/demo -type f \
	-not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/test/*')

web: conclave/demo/dist/index.html ## build the web SDK and the demo page

# The last file of `npm run build`; built again only when a source changed.
conclave/demo/dist/index.html: node_modules/.package-lock.json $(WEB_SOURCES)
	npm run build
	touch $@

node_modules/.package-lock.json: package-lock.json
	npm ci --loglevel=error

test: ## everything that .ci/run asks for, from a fresh clone: installs what is missing, then tests
	.ci/test

check: fmt-check lint unit web-test ## the tests without browsers and fuzzing

fmt: ## format Rust and TypeScript
	$(CARGO) fmt --all
	npm run format

.PHONY: fmt-check
fmt-check: web
	$(CARGO) fmt --all --check
	npm run lint

lint: ## clippy, warnings are errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

lint-deny: ## licences, bans and sources by cargo-deny (installs it: minutes)
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	cargo deny check licenses bans sources

.PHONY: unit-build
unit-build: compiler
	$(CARGO) test --locked --workspace --no-run

unit: compiler ## Rust tests, the tidy test included
	@rm -rf target/tmp && mkdir -p target/tmp
	TMPDIR="$(CURDIR)/target/tmp" $(CARGO) test --locked --workspace

web-test: web ## tests of the SDK and the demo page
	npm test

fuzz: ## every fuzz target for a short time, with its corpus
	fuzz/run.sh

e2e: compiler web ## browsers and other clients against the release binary
	$(CARGO) build --locked --release --bin conclave
	$(CARGO) test --locked --workspace --no-run
	node --test e2e/run.test.mjs

contract: compiler ## requests made up from openapi.json against the release binary
	$(CARGO) build --locked --release --bin conclave
	node e2e/contract.mjs

examples: compiler ## the partner servers of examples/ against the release binary
	$(CARGO) build --locked --release --bin conclave
	node --test examples/test.mjs

bench: ## ns per forwarded packet beside the measured floor
	$(CARGO) bench --locked -p loadtest

setup: ## install what the tests need (apt, npm, pip); needs root or sudo
	.ci/setup
