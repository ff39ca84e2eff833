# FerroLB. `make demo` shows it, `make test` proves it; `make help` lists the rest.

CARGO ?= cargo
PYTHON := /usr/bin/python3
LAB := lab
KUBE := kube

.PHONY: help check test test-kube interop interop-doc conformance-doc demo lab-up lab-down kube-build kube-up kube-down golden crds deploy dist bench fuzz setup

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

check: ## format, lints, unit tests, docs: offline, without root
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --package ferrolb-api --package ferrolb-core
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

test: setup ## everything, live labs included (root; within 30 minutes)
	$(PYTHON) testbed/suite.py

test-kube: setup ## controller and speaker in a real Kubernetes cluster, which is built once in some 13 minutes (root)
	$(PYTHON) testbed/tests/run.py kube_cache kube_lab kube_controller kube_speaker \
		conform_bgp conform_bgp_selectors conform_bgp_sessions conform_state conform_layer2 conform_assignment conform_webhook

conformance-doc: ## writes docs/conformance.md from what the tests say of themselves
	$(PYTHON) testbed/conformance.py

interop: setup ## the routers' view of a node; ROUTER=frr, bird, gobgp, openbgpd or exabgp for one of them (root)
	$(PYTHON) testbed/interop.py $(ROUTER)

interop-doc: setup ## writes docs/interoperability.md from a run against all of them (root)
	$(PYTHON) testbed/interop.py --doc

demo: setup ## a tour: three nodes, a real router, and what happens when a node goes away (root)
	$(PYTHON) testbed/demo.py

lab-up: setup ## the demo's lab, left standing to play in (root)
	$(PYTHON) testbed/demo.py --up $(LAB)

lab-down: setup ## takes it down again
	$(PYTHON) testbed/lab.py down $(LAB)

kube-build: setup ## Kubernetes from pinned modules, once, into a cache outside the tree (root, Go; 10 to 15 minutes)
	$(PYTHON) testbed/kubelab.py build

kube-up: setup ## a Kubernetes cluster of three nodes with routers and clients, left standing (root, Go)
	$(PYTHON) testbed/kubelab.py up $(KUBE)

kube-down: ## takes it down again
	$(PYTHON) testbed/kubelab.py down $(KUBE)

golden: ## writes the expected outputs of the golden scenarios anew; review the diff
	FERROLB_UPDATE=1 $(CARGO) test --locked --package ferrolb --test golden

crds: ## writes the CRDs in config/crd anew
	FERROLB_UPDATE=1 $(CARGO) test --locked --package ferrolb-api crd

deploy: ## writes deploy/ferrolb.yaml anew, from config/crd, config/rbac and deploy/parts
	FERROLB_UPDATE=1 $(CARGO) test --locked --package ferrolb-api deploy

bench: setup ## measures beside BIRD, FRR and GoBGP, within 3 minutes; BENCH=full writes docs/benchmarks.md (root)
	$(CARGO) build --locked --release --package ferrolb
	$(PYTHON) testbed/bench/run.py $(if $(filter full,$(BENCH)),--full)

FUZZ_SECONDS ?= 60
fuzz: ## each fuzz target for FUZZ_SECONDS (60), or TARGET alone, with its coverage (nightly)
	sh fuzz/run.sh $(FUZZ_SECONDS) $(TARGET)

# glibc without musl; the explicit target keeps the flag away from build scripts and macros.
DIST_TARGET := $(shell uname -m)-unknown-linux-gnu
dist: ## a static, small binary for shipping
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --profile dist --target $(DIST_TARGET) --package ferrolb

setup:
	@sh testbed/setup.sh
