# One word for each thing to do here. `make up` runs it, `make test` is what CI runs, `make check` is for the author.

# rustup's folder, for shells that have not been opened again since it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

BINARY := target/release/millrace
JARS := tests/kafka/target/dependency/.complete
VENV := target/venv/.complete
# Clients of another age, which do not go with those of the first.
VENV_9 := target/venv-9/.complete
VENV_ELASTALERT := target/venv-elastalert/.complete
VENV_OPENAPI := target/venv-openapi/.complete
# A provider of logins.
OIDC := target/oidc/.complete
CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.1
# How many cases a property test has in `make fuzz`, how long all of them may take, and how long each fuzz target runs.
FUZZ_CASES ?= 10000
PROPERTY_MINUTES ?= 30
FUZZ_MINUTES ?= 10

.PHONY: help up binary test parts check advisories bench chaos fuzz properties conformance clean

help:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

up: binary ## build what is missing and run `millrace up` (ARGS="--watch '/var/log/*.log'")
	$(BINARY) up $(ARGS)

binary:
	@tests/setup.sh build
	cargo build --release

test: parts ## install what is missing and run all tests, a real Kafka included
	cargo test --release --workspace

parts:
	@tests/setup.sh test
	@$(MAKE) --no-print-directory $(JARS) $(VENV) $(VENV_9) $(VENV_ELASTALERT) $(VENV_OPENAPI) $(OIDC)

$(JARS): tests/kafka/pom.xml
	mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies
	@touch $@

$(VENV): tests/requirements.txt
	@tests/setup.sh venv target/venv tests/requirements.txt
	@touch $@

$(VENV_9): tests/requirements-9.txt
	@tests/setup.sh venv target/venv-9 tests/requirements-9.txt
	@touch $@

$(VENV_ELASTALERT): tests/requirements-elastalert.txt
	@tests/setup.sh venv target/venv-elastalert tests/requirements-elastalert.txt
	@touch $@

$(VENV_OPENAPI): tests/requirements-openapi.txt
	@tests/setup.sh venv target/venv-openapi tests/requirements-openapi.txt
	@touch $@

$(OIDC): tests/oidc/package-lock.json tests/oidc/provider.mjs
	@tests/setup.sh npm target/oidc tests/oidc
	@touch $@

check: ## formatting, clippy without warnings, licences and banned crates
	@tests/setup.sh build
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --release -- -D warnings
	@command -v cargo-deny > /dev/null || cargo install cargo-deny --version $(CARGO_DENY) --locked
	cargo deny --all-features check bans licenses sources

advisories: ## known vulnerabilities of dependencies (fetches the RustSec database)
	@command -v cargo-deny > /dev/null || cargo install cargo-deny --version $(CARGO_DENY) --locked
	cargo deny --all-features check advisories

bench: binary ## measure, as bench/RESULTS.md says
	bench/run.sh

chaos: parts ## the long fault tests, one after another: processes, brokers, the database, the bucket, a full disk; wants root
	cargo test --release -p millrace --test chaos -- --ignored --nocapture --test-threads=1

fuzz: properties ## fuzz targets for FUZZ_MINUTES=10 each, after property tests with FUZZ_CASES=10000 cases each, at most PROPERTY_MINUTES=30
	@rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	@cargo fuzz --version > /dev/null 2>&1 || cargo install cargo-fuzz --version $(CARGO_FUZZ) --locked
	tests/fuzz/run.sh $(FUZZ_MINUTES)

properties: parts
	cargo test --release --workspace --exclude millrace --lib --no-run
	PROPTEST_CASES=$(FUZZ_CASES) timeout $(PROPERTY_MINUTES)m cargo test --release --workspace --exclude millrace --lib \
	  || { [ $$? -ne 124 ] || echo "fuzz: stopped after $(PROPERTY_MINUTES) minutes; lower FUZZ_CASES or raise PROPERTY_MINUTES" >&2; exit 1; }

conformance: parts ## run the suites of a folder outside the project: DIR=…
	@test -d "$(DIR)" || { echo "conformance: say which folder: make conformance DIR=/path/of/the/suites" >&2; exit 2; }
	@$(MAKE) --no-print-directory binary
	@MILLRACE_BIN="$(abspath $(BINARY))" tests/conformance.sh "$(DIR)"

clean: ## remove everything that was built
	cargo clean
	rm -rf tests/kafka/target
