# `make demo` and `make test` do all the set-up they need and are safe to run again.
# One set of compile settings everywhere: RocksDB is compiled once for all of it.

CARGO := cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DEMO := demo
SOURCES = $(wildcard $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*)

.PHONY: setup build demo demo-stop test check

setup:
	@./scripts/setup

build: setup
	$(CARGO) build --release --workspace --bins --locked

demo: build
	@$(TARGET)/release/jepsen demo --dir $(DEMO) $(foreach tree,$(SOURCES),--tree $(tree))

demo-stop:
	@$(TARGET)/release/curlew playground --dir $(DEMO) --stop

# The gate: what has been seen to pass as a whole. `cargo xtask verify` (lints and docs) and the
# suites of raft-store, meta-server and fs-client join it once they have.
test: build
	$(CARGO) xtask tidy
	$(CARGO) fmt --all --check
	$(CARGO) test --release --locked -p meta-core --lib
	$(CARGO) test --release --locked -p proto -p chunk-store -p xtask
	$(CARGO) test --release --locked -p jepsen --test hand_over -- --test-threads 1

# The inner loop: no RocksDB.
check: setup
	$(CARGO) xtask tidy
	$(CARGO) fmt --all --check
	$(CARGO) test --release --locked --no-default-features -p meta-core -p proto -p chunk-store -p raft-store -p xtask
