# `make bench` and `make test` do all set-up they need; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# rustup puts cargo where a fresh shell may not look.
export PATH := $(HOME)/.cargo/bin:$(PATH)
# What a shell may have set for other projects, or git for a hook: none of it is meant for what is run here.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PYTEST_ADDOPTS PYTEST_PLUGINS PYTEST_DISABLE_PLUGIN_AUTOLOAD
unexport RUSTFLAGS RUSTDOCFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_TARGET_DIR
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX

BIN := .venv/bin
# One more than the cores, since tests that start phones wait for them more than they compute; at most four.
CORES := $(shell getconf _NPROCESSORS_ONLN)
TOGETHER := -n $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) < 3 ? $$(getconf _NPROCESSORS_ONLN) + 1 : 4 )))

# The theme's notice about another program's next version is not about this site.
SITE_VARIABLES := NO_MKDOCS_2_WARNING=1
SITE := $(SITE_VARIABLES) $(BIN)/python -m mkdocs

.PHONY: help setup docs docs-serve docs-rust docs-version lab-demo bench test check test-python test-thorough test-lowest test-android test-ios test-rust smoke cli bindings prose lint lint-python lint-rust lint-tools format audit lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

setup: ## make .venv with the locked packages (the other targets do it themselves)
	@tools/setup

bench: setup ## the main job: compile, run and compare the embedded model on this machine
	@$(BIN)/pytest suites --device host

test: test-python ## the tests of both languages, and the suites on virtual phones
	@# Rust's tests leave one core of two idle half of the time, so the phones' suites run beside them.
	@echo "make test: now test-rust beside test-android and test-ios"
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line test-rust test-android test-ios

check: lint ## format, lint, types, and every test that starts no compiler, virtual phone, browser or lab: for use while writing
	@tools/setup-tests --pure
	@$(BIN)/pytest tests -m pure -n $(CORES) --dist worksteal -q

test-python: setup
	@tools/setup-tests
	@# A file's tests stay in one process, so that what they share is compiled once.
	@$(BIN)/pytest tests -m 'not thorough' $(TOGETHER) --dist loadfile --no-loadscope-reorder --durations 60

test-thorough: setup ## the further cases that make test leaves out: more targets, precisions, phones
	@tools/setup-tests --thorough
	@$(BIN)/pytest tests -m thorough $(TOGETHER) --dist loadfile --no-loadscope-reorder --durations 20
	@tools/test-rust --thorough

test-lowest: setup ## the quick tests with the lowest versions that pyproject.toml allows
	@tools/test-lowest

test-android: setup ## the suites on two virtual Android phones at once, three unrelated models in one arm64 runner
	@$(BIN)/pytest suites --device virtual-android:2 --words tests/vectors/words.tsv --warmup 0 --repeat 1 \
	  --models g2p --models detector --models bert

test-ios: setup ## the suites on two virtual iPhones at once, iOS 16 and 26, three unrelated models in one app
	@$(BIN)/pytest suites --device virtual-ios --words tests/vectors/words.tsv --warmup 1 --repeat 1 \
	  --models g2p --models detector --models bert

test-rust: setup
	@tools/test-rust

lab-demo: setup ## a whole lab on this machine: two hosts of two phones, a nightly run over all, and its page
	@$(BIN)/harness lab demo $(DEMO)

smoke: setup ## cargo test system_lib_smoke: load a tiny archive from Rust, 1.5 -> 2.5
	@eval "$$($(BIN)/harness link-env --smoke)" && cargo test -p charsiug2p-g2p-tvm system_lib_smoke

cli: setup ## the Rust command line on two words
	@eval "$$($(BIN)/harness link-env)" && \
	  cargo run -p charsiug2p-g2p-cli -- --system-lib --tvm-target llvm --lang eng-us Char siu

bindings: setup ## write the bindings for apps again: Kotlin, Swift, C and Flutter
	@$(BIN)/python tools/write_bindings.py
	@$(BIN)/python tools/write_flutter.py

docs: setup ## build the site of the documentation into build/site, and check its links
	@$(SITE) build
	@echo "make docs: open build/site/index.html; a search needs a server: make docs-serve"

docs-serve: setup ## show the site on 127.0.0.1:8000, and again after each change of a page
	@$(SITE) serve

docs-rust: ## have cargo document the crates, for the next make docs
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --lib --locked --quiet
	@RUSTDOCFLAGS='-D warnings' cargo doc --package charsiug2p-mobile --features tokenizer --no-deps --lib --locked --quiet

docs-version: setup ## commit the site as VERSION=1.2 to the branch gh-pages, for the menu of versions
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(SITE_VARIABLES) mike deploy --update-aliases $(VERSION) latest

# Both languages at once: without their caches mypy and clippy take half a minute each.
lint: setup lint-tools ## format, lint, types and English of both languages
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-python lint-rust

lint-python:
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/prose.py

prose: setup ## the English of pages, help texts, messages and docstrings (tools/prose-words.tsv)
	@$(BIN)/python tools/prose.py

lint-rust: docs-rust
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@cargo clippy --package charsiug2p-mobile --features tokenizer --package charsiug2p-language --all-targets --locked -- -D warnings

# Of rustup's minimal profile neither is a part.
lint-tools:
	@cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 || \
	  { echo "lint: rustup adds clippy and rustfmt"; rustup component add clippy rustfmt; }

format: setup lint-tools ## format both languages
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@cargo fmt --all

audit: setup ## known faults and licences of what is depended on (cargo-deny, pip-audit)
	@$(BIN)/python tools/audit.py

lock: setup ## write requirements.lock again from pyproject.toml, and the notices of what it names
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --all-extras --no-annotate --no-header \
	  --only-binary apache-tvm --only-binary torch pyproject.toml --output-file requirements.lock
	@tools/setup
	@# What set-up leaves out, too: the notices name every package of the lock file.
	@$(BIN)/uv pip install --quiet --no-deps $$(sed -nE 's/^((triton|nvidia-cusolver|nvidia-nvtx|cuda-[a-z]+)==[^ ;]+).*/\1/p' requirements.lock | sort -V | awk -F== '{v[$$1] = $$0} END {for (n in v) print v[n]}')
	@$(BIN)/python tools/write_notices.py

clean: ## remove .venv and build output of this checkout (the cache stays: harness cache clear)
	@rm -rf .venv target build .pytest_cache .mypy_cache .ruff_cache
