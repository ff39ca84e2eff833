# FerroLB. `make demo` shows it, `make test` proves it; `make help` lists the rest.

CARGO ?= cargo
PYTHON := /usr/bin/python3
LAB := lab
KUBE := kube

.PHONY: help check test test-kube interop interop-doc conformance-doc demo demo-kube lab-up lab-down kube-build kube-up kube-down golden crds deploy dist binary sbom image bench bench-kube fuzz setup

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

check: ## format, lints, unit tests, docs: offline, without root
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --package ferrolb-api --package ferrolb-core
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

test: setup ## everything, live labs and a Kubernetes cluster included (root, Go 1.26; three quarters of an hour, and 18 minutes for what is built once)
	$(PYTHON) testbed/suite.py

test-kube: setup ## of these the stages in a Kubernetes cluster; besides, each right taken away, and the migration from MetalLB (root, Go 1.26)
	$(PYTHON) testbed/suite.py binary once kube chart admission controller speaker metallb traffic rights migrate

conformance-doc: ## writes docs/conformance.md from what the tests say of themselves
	$(PYTHON) testbed/conformance.py

interop: setup ## the routers' view of a node; ROUTER=frr, bird, gobgp, openbgpd or exabgp for one of them (root)
	$(PYTHON) testbed/interop.py $(ROUTER)

interop-doc: setup ## writes docs/interoperability.md from a run against all of them (root)
	$(PYTHON) testbed/interop.py --doc

demo: setup ## a tour: three nodes, a real router, and what happens when a node goes away (root)
	$(PYTHON) testbed/demo.py

demo-kube: setup ## the walkthrough in a real Kubernetes cluster: layer 2, BGP, a node lost (root, Go 1.24; builds Kubernetes once, in some 13 minutes)
	$(PYTHON) testbed/kubedemo.py

lab-up: setup ## the demo's lab, left standing to play in (root)
	$(PYTHON) testbed/demo.py --up $(LAB)

lab-down: setup ## takes it down again
	$(PYTHON) testbed/lab.py down $(LAB)

kube-build: setup ## Kubernetes and helm from pinned modules, once, into a cache outside the tree (root, Go 1.26; 10 to 20 minutes)
	$(PYTHON) testbed/kubelab.py build

kube-up: setup ## a Kubernetes cluster of three nodes with routers and clients, left standing (root, Go 1.24)
	$(PYTHON) testbed/kubelab.py up $(KUBE)

kube-down: ## takes it down again
	$(PYTHON) testbed/kubelab.py down $(KUBE)

golden: ## writes the expected outputs of the golden scenarios anew; review the diff
	FERROLB_UPDATE=1 $(CARGO) test --locked --package ferrolb --test golden

crds: ## writes the CRDs in config/crd anew
	FERROLB_UPDATE=1 $(CARGO) test --locked --package ferrolb-api crd

deploy: ## writes deploy/ferrolb.yaml anew, from config and deploy/parts, and the version where it stands in deploy
	FERROLB_UPDATE=1 $(CARGO) test --locked --package ferrolb-api deploy

bench: setup ## measures beside BIRD, FRR and GoBGP, within 3 minutes; BENCH=full writes docs/benchmarks.md (root)
	$(CARGO) build --locked --release --package ferrolb
	$(PYTHON) testbed/bench/run.py $(if $(filter full,$(BENCH)),--full)

bench-kube: setup binary ## controller and speaker, as they are shipped, at a real API server with 10,000 Services; writes docs/benchmarks-kube.md (root)
	FERROLB_BIN=target/$(DIST_TARGET)/dist/ferrolb $(PYTHON) testbed/bench/kubebench.py

FUZZ_SECONDS ?= 60
fuzz: ## each fuzz target for FUZZ_SECONDS (60), or TARGET alone, with its coverage (nightly)
	sh fuzz/run.sh $(FUZZ_SECONDS) $(TARGET)

# The one place of the version is Cargo.toml.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
MACHINE := $(shell uname -m)

dist: binary sbom ## a static, small binary for shipping, and what is in it; DIST_ARCH=aarch64 for another machine

# glibc without musl; the explicit target keeps the flag away from build scripts and macros. Another architecture is linked by
# Debian's cross compiler: gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.
DIST_ARCH ?= $(MACHINE)
DIST_TARGET := $(DIST_ARCH)-unknown-linux-gnu
DIST_LINKER := $(if $(filter $(MACHINE),$(DIST_ARCH)),cc,$(DIST_ARCH)-linux-gnu-gcc)
binary: ## the binary alone
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --profile dist --target $(DIST_TARGET) \
		--config 'target.$(DIST_TARGET).linker="$(DIST_LINKER)"' --package ferrolb

sbom: ## a bill of materials (CycloneDX 1.5) of that binary, from Cargo.lock
	$(PYTHON) deploy/sbom.py --target $(DIST_TARGET)

DOCKER ?= docker
IMAGE ?= localhost/ferrolb
image: ## the container image IMAGE:VERSION (localhost/ferrolb), with DOCKER (docker)
	$(DOCKER) build --file deploy/Dockerfile --tag $(IMAGE):$(VERSION) .

setup:
	@sh testbed/setup.sh
