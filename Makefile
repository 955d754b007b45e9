# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
#
# Everything is built with one profile, `release`: the lab's guest emulates a CPU and has no time for unoptimised code, and
# a second profile would build every dependency twice. Clippy checks with the same profile, so that it shares procedural
# macros and build scripts (bindgen over FFmpeg's headers is the longest) with the build.

SHELL := /bin/bash
CARGO ?= cargo
FORESTALL := target/release/forestall
SCENARIO ?= scenarios/reallocation
FUZZ_SECONDS ?= 600

# The lab makes namespaces, control groups and mounts: it runs as root, the build does not. Where there is no sudo, the
# lab itself says what it needs and exits 3.
ifeq ($(shell id -u),0)
  SUDO :=
  AS_ROOT :=
else
  SUDO := $(shell command -v sudo)
  # cargo lets this program start the test's binary.
  TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
  AS_ROOT = $(if $(SUDO),CARGO_TARGET_$(TRIPLE)_RUNNER="$(SUDO) env FORESTALL_LAB_TESTS=1 FORESTALL_RELIABILITY=$(FORESTALL_RELIABILITY) $(if $(FORESTALL_LAB_OPENSTACK),FORESTALL_LAB_OPENSTACK=1)",)
endif

# Steps follow each other, whatever -j says.
.NOTPARALLEL:
.PHONY: help demo build test test-long setup setup-tests format lint without-media unit end-to-end test-hosts test-openstack test-faults fuzz calibrate check deb

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 16

demo: setup build ## install what is missing, build, run the experiment, say where the report is
	$(SUDO) $(FORESTALL) lab run $(SCENARIO)

# One after the other, cheapest first: what fails early fails soon.
test: ## install what is missing, run all tests
	$(MAKE) setup-tests
	$(MAKE) format
	$(MAKE) lint
	$(MAKE) without-media
	$(MAKE) unit
	$(MAKE) end-to-end

setup: ## install what is missing (says what first; FORESTALL_INSTALL=no only says)
	scripts/setup.sh

setup-tests:
	scripts/setup.sh --tests

build: ## build the program
	$(CARGO) build --release

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

# All but the video commands has to build where FFmpeg's libraries are not. Only checked here: a second build of the program
# takes minutes. `make deb` makes it, and asks the linker, too.
without-media:
	$(CARGO) clippy --release -p forestall --no-default-features -- -D warnings
	@if $(CARGO) tree -p forestall --no-default-features -e normal,build | grep ffmpeg-sys; then \
	    echo "error: the program without the feature media needs FFmpeg's libraries" >&2; exit 1; \
	fi

# Unit, property and tidy tests, and about a second of fuzzing of each parser.
unit: ## all tests that need neither root nor virtual machines
	env -u FORESTALL_LAB_TESTS $(CARGO) test --release --workspace

# `--workspace` here too: with `-p forestall` cargo would choose other features and build dependencies anew. The tests of
# `reliability` leave the network they are started in, so they have a process of their own.
end-to-end test-hosts test-openstack test-faults: TEST_PROGRAM = $(CARGO) test --release --workspace --test program -- --test-threads=1 --nocapture
# The tests do not need ffplay's stages to be linked, and so do not build them; built with the tests, nothing gets other features.
end-to-end: ## tests on real QEMU, libvirt, sshd, snmpd and video (root)
	$(CARGO) build --release --workspace --lib --tests
	FORESTALL_LAB_TESTS=1 $(AS_ROOT) $(TEST_PROGRAM) lab:: libvirt:: hosts::what sandbox:: tshark::
	FORESTALL_LAB_TESTS=1 $(AS_ROOT) $(TEST_PROGRAM) reliability::

# Not in `make test`: each of the three machines is this one, and so foreign load to the others; all runs are made twice, in eight minutes.
test-hosts: setup-tests ## a scenario on machines that are reached by ssh, each with an sshd and a network of its own (root)
	FORESTALL_LAB_TESTS=1 $(AS_ROOT) $(TEST_PROGRAM) hosts::

# Not in `make test`: the packages are 160 MB, and it comes up in a minute or two. The lab brings up another one, by the same script.
test-openstack: export FORESTALL_LAB_OPENSTACK = 1
test-openstack: setup build ## the Nova driver, and the lab with it, on a real OpenStack with two compute hosts on this machine (root)
	$(SUDO) scripts/openstack/testbed.sh --install
	$(SUDO) scripts/openstack/testbed.sh target/openstack $(TEST_PROGRAM) openstack::
	$(AS_ROOT) $(TEST_PROGRAM) lab::nova

# About three quarters of an hour. A part that fails does not keep the others from being tried. QEMU, libvirt, agents,
# secrets; Nova's API is in its driver's tests.
test-faults: export FORESTALL_RELIABILITY = docs/reliability.json
test-faults: setup-tests ## faults in the middle of moves, as often as docs/reliability.json says, which it writes (root)
	@status=0; \
	for part in reliability:: libvirt::the_libvirtd_of libvirt::both_libvirtd agents:: is_written_nowhere; do \
	    echo "== $$part"; \
	    FORESTALL_LAB_TESTS=1 $(AS_ROOT) $(TEST_PROGRAM) $$part || status=1; \
	done; \
	echo "== Nova's API"; \
	$(AS_ROOT) $(CARGO) test --release --workspace --test nova -- --nocapture while_the_api_is_gone || status=1; \
	exit $$status

test-long: build ## the long search for a broken promise, and the comparison on made load
	$(FORESTALL) sim sweep --seeds 10000 scenarios/faults
	$(FORESTALL) sim compare --seeds 10 --out out/compare

fuzz: ## fuzz each parser for FUZZ_SECONDS (600)
	BOLERO_RANDOM_TEST_TIME_MS=$$(( $(FUZZ_SECONDS) * 1000 )) BOLERO_RANDOM_ITERATIONS=1000000000 \
	    $(CARGO) test --release --workspace --test fuzz
	BOLERO_RANDOM_TEST_TIME_MS=$$(( $(FUZZ_SECONDS) * 1000 )) BOLERO_RANDOM_ITERATIONS=1000000000 \
	    $(CARGO) test --release --workspace --lib fuzz

calibrate: setup build ## measure the knee and the time of a move again, into profile.toml
	$(SUDO) $(FORESTALL) lab calibrate $(SCENARIO)

check: build ## say what this machine offers to the lab
	$(SUDO) $(FORESTALL) lab check

# Without the video stages, so that it needs none of FFmpeg's libraries. That program then lies in the place of the whole one,
# until `make build`.
deb: PACKAGE = $(dir $(FORESTALL))package
deb: ## build a Debian package of the program without FFmpeg's libraries (needs cargo-deb)
	@$(CARGO) deb --version > /dev/null 2>&1 || \
	    { echo "cargo-deb is missing. Install it with: cargo install --locked cargo-deb" >&2; exit 3; }
	$(CARGO) build --release -p forestall --no-default-features
	@if ldd $(FORESTALL) | grep -E 'lib(av|sw)[a-z]+\.so'; then \
	    echo "error: the program without the feature media needs FFmpeg's libraries" >&2; exit 1; \
	fi
	rm -rf $(PACKAGE)
	$(FORESTALL) man $(PACKAGE)/man
	gzip -9n $(PACKAGE)/man/*
	$(FORESTALL) completions bash > $(PACKAGE)/forestall.bash
	$(FORESTALL) completions zsh > $(PACKAGE)/_forestall
	$(FORESTALL) completions fish > $(PACKAGE)/forestall.fish
	$(CARGO) deb -p forestall --no-build --dbgsym
