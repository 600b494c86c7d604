# Two commands matter: `make run` starts Playhouse, `make test` runs everything that must pass.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The black-box suites are a client of their own: they share nothing with the binary, not even its dependencies.
SERVER := --workspace --exclude playhouse-blackbox

.PHONY: help
help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -ts $$'\t'

.PHONY: deps
deps: ## install what the build needs (apt packages when root or with sudo, npm packages)
	@scripts/deps.sh build

.PHONY: test-deps
test-deps: ## install what the tests need beside
	@scripts/deps.sh test

.PHONY: web
web: deps ## build the page into web/dist
	@scripts/web.sh build

.PHONY: build
build: web ## release binaries: target/release/playhouse and playhouse-agent
	cargo build --release --bin playhouse
	scripts/agent.sh release

.PHONY: run
run: build ## build, then serve on 127.0.0.1:8080 and print the login link (ARGS="--listen …" for more)
	@$(TARGET)/release/playhouse serve $(ARGS)

.PHONY: debug
debug: web
	cargo build $(SERVER) --bin playhouse
	scripts/agent.sh debug

.PHONY: check
check: web ## format, clippy, licences and bans, web lint and types
	cargo fmt --all --check
	cargo clippy $(SERVER) --all-targets -- -D warnings
	cargo clippy -p playhouse-blackbox --all-targets -- -D warnings
	scripts/deny.sh
	scripts/web.sh check

.PHONY: unit
unit: web
	cargo test $(SERVER) --no-run
	scripts/agent.sh debug
	cargo test $(SERVER)
	scripts/web.sh test

.PHONY: blackbox
blackbox: debug test-deps ## the contract, from outside: real binary, real sandboxes
	cargo test -p playhouse-blackbox --no-run
	scripts/blackbox.sh $(SUITES)

.PHONY: e2e
e2e: debug test-deps ## the whole journey in Chromium; screenshots in target/e2e
	scripts/e2e.sh

.PHONY: test
test: test-deps check unit blackbox e2e ## everything that must pass
	@echo "all tests passed"

.PHONY: bench
bench: build ## the figures of docs/PERFORMANCE.md, beside the bridge in the same run
	$(TARGET)/release/playhouse bench $(ARGS)

.PHONY: openapi
openapi: debug ## write web/openapi.json and the types made from it
	$(TARGET)/debug/playhouse openapi > web/openapi.json
	scripts/web.sh types

.PHONY: fuzz
fuzz: ## fuzz agent frames and client messages for a minute each (needs nightly and cargo-fuzz)
	scripts/fuzz.sh

.PHONY: soak
soak: debug test-deps ## the crash test, 200 kills
	PLAYHOUSE_KILLS=200 scripts/blackbox.sh survival

.PHONY: sim sim-soak
sim sim-soak:
	@echo "the simulator is not built yet" >&2; exit 3
