# `make demo` and `make test` do all the set-up they need and are safe to run again.
# One set of compile settings everywhere: RocksDB is compiled once for all of it.

CARGO := cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DEMO := demo
SOURCES = $(wildcard $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*)

.PHONY: setup build failpoints previous tools fixture demo demo-stop test check proof fuzz

setup:
	@./scripts/setup

build: setup
	$(CARGO) build --release --workspace --all-targets --locked

demo: build
	@$(TARGET)/release/jepsen demo --dir $(DEMO) $(foreach tree,$(SOURCES),--tree $(tree))

demo-stop:
	@$(TARGET)/release/curlew playground --dir $(DEMO) --stop

# The programs with places at which a test can end them, beside those without.
failpoints: setup
	$(CARGO) build --release --workspace --locked --features meta-server/failpoints,cli/failpoints \
		--bin curlew-meta-failpoints --bin curlew-failpoints

# The programs of the commit before the last one that touched a format, to be tested together with
# these. What is built here serves to build them.
previous: build failpoints
	$(CARGO) xtask previous

# Programs of others that exercise a file system: only tests start them, and nothing is linked with
# them. What is there in the version that is wanted is left alone. They are built in a directory that
# goes afterwards, and not among what is built here.
TOOLS := pjdfstest@0.2.2 fsx@0.3.2
tools: setup
	@./scripts/setup tests
	@for tool in $(TOOLS); do \
		grep -qs "^\"$${tool%@*} $${tool#*@} " $(TARGET)/tools/.crates.toml || \
		env -u CARGO_TARGET_DIR $(CARGO) install --locked --root $(TARGET)/tools $$tool || exit 1; \
	done

# What a node stores, kept for later versions to open: once for each new version of a format.
fixture: build
	$(CARGO) xtask fixture

test: build failpoints previous tools
	$(CARGO) xtask verify
	$(CARGO) test --release --workspace --locked -- --test-threads 2
	$(CARGO) test --release --locked -p sim --features seeded-bugs --test seeded_bugs

# The long proof: goes on where it stopped, in proof/.
MINUTES := 150
proof: build failpoints
	@test proof/damages -nt $(TARGET)/release/curlew-meta || { mkdir -p proof && CURLEW_DAMAGES=1000 $(CARGO) test --release --locked --workspace --lib \
		damage_anywhere_is_refused_or_changes_nothing -- --nocapture && touch proof/damages; }
	@$(TARGET)/release/jepsen proof --minutes $(MINUTES) --dir proof

# The inner loop: no RocksDB.
check: setup
	$(CARGO) xtask tidy
	$(CARGO) fmt --all --check
	$(CARGO) test --release --locked --no-default-features -p meta-core -p proto -p chunk-store \
		-p raft-store -p meta-server -p meta-client -p fs-client -p cli -p xtask

# Looks for inputs that a decoder does not take: so many seconds for each.
FUZZ_SECONDS := 60
fuzz: setup
	$(CARGO) xtask fuzz --seconds $(FUZZ_SECONDS)
