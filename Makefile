# `make` alone prints what can be done.
export CGO_ENABLED := 0
# Debian keeps e2fsprogs, which the tests compare with, out of an ordinary user's path.
export PATH := $(PATH):/usr/sbin:/sbin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFLAGS_BUILD = -trimpath -ldflags '-s -w -X github.com/banger-dev/banger/internal/version.Version=$(VERSION) -X main.version=$(VERSION)'
GOLANGCI = go tool -modfile=tools/go.mod golangci-lint
# SMOKE=name runs one scenario; SMOKE=a,b runs two.
SMOKE ?=
FUZZTIME ?= 10s

.PHONY: help run test setup setup-test build install unit race integration lint fmt smoke bench fuzz docs docs-check clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

run: setup build ## install what is missing, build, boot a VM and run something in it
	scripts/demo.sh

test: setup-test build lint docs-check race integration smoke ## install what the tests need and pass them all

setup: ## install the host packages that banger needs (asks for sudo only where not root)
	scripts/setup.sh run

setup-test:
	scripts/setup.sh test

build: ## build bin/banger and bin/banger-agent, both static
	go build $(GOFLAGS_BUILD) -o bin/banger ./cmd/banger
	go build $(GOFLAGS_BUILD) -o bin/banger-agent ./cmd/banger-agent

PREFIX ?= $(HOME)/.local
install: build ## copy both binaries to PREFIX (default ~/.local)
	install -D -m 755 bin/banger $(PREFIX)/bin/banger
	install -D -m 755 bin/banger-agent $(PREFIX)/libexec/banger/banger-agent

unit: ## unit tests: no VM, no network
	go test ./...

race: ## unit tests under the race detector
	CGO_ENABLED=1 go test -race -timeout 10m ./...

# Oracles are compared through loop mounts, which only root can make.
ROOT_TESTS = $(if $(filter 0,$(shell id -u)),BANGER_TEST_ORACLE=1 BANGER_TEST_MOUNT=1)
integration: build ## tests that boot machines, fetch packages, run registries and, as root, compare with other tools
	BANGER_TEST_VM=1 BANGER_TEST_REGISTRY=1 $(ROOT_TESTS) go test -count=1 -p 1 -timeout 15m \
		./internal/ext4/... ./internal/image/... ./internal/kernel/... ./internal/guest/... ./internal/vm/... ./internal/vmm/...

lint: ## go vet, golangci-lint with the import rules, gofumpt
	go vet -tags smoke,bench ./...
	$(GOLANGCI) run --allow-parallel-runners ./...

fmt: ## format
	$(GOLANGCI) fmt ./...

smoke: build ## scenarios on real VMs; SMOKE=name for one
	SMOKE='$(SMOKE)' go test -tags smoke -count=1 -timeout 20m -v ./test/smoke

bench: build ## cold boot against a bare QEMU, image pull against skopeo, umoci and podman; BENCH_LARGE=1 for 2 GB
	go test -tags bench -count=1 -timeout 20m -v ./test/bench

fuzz: ## every fuzz target for FUZZTIME (default 10s) each
	scripts/fuzz.sh $(FUZZTIME)

docs: build ## regenerate what is generated: docs/openapi.json, docs/cli.md
	bin/banger internal openapi > docs/openapi.json
	bin/banger internal clidoc > docs/cli.md

docs-check: build ## fail when a generated document is out of date
	scripts/docs-check.sh

clean: ## remove what the build made
	rm -rf bin
