# Programs are static: they run on any Linux, whatever its C library.
export CGO_ENABLED = 0

FUZZTIME ?= 10m
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GOBUILD := go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
DEB := $(addprefix debian/,preinst postinst prerm postrm)
SCRIPTS := scripts/install.sh tests/testhost tests/demo .ci/run $(addprefix packaging/,build version $(DEB)) \
	examples/tvs/offline.sh examples/tvsapp-units/install.sh $(wildcard examples/tvs/entry/docker-entrypoint.d/*.sh)

.PHONY: help build examples test check fuzz lint bench demo install deb docs clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## tvsctl and tvsctld, into bin/
	$(GOBUILD) -o bin/ ./cmd/...

examples: ## the programs of the example stack and of the tests, into bin/examples and bin/tests
	$(GOBUILD) -o bin/examples/webapp ./examples/tvs/webapp
	$(GOBUILD) -o bin/examples/storage ./examples/tvs/storage-standin
	$(GOBUILD) -o bin/tests/app ./tests/app
	$(GOBUILD) -o bin/tests/load ./tests/load
	$(GOBUILD) -o bin/tests/bench ./tests/bench
	$(GOBUILD) -o bin/tests/clients ./tests/clients
	$(GOBUILD) -o bin/tests/raw ./tests/raw
	$(GOBUILD) -tags faults -o bin/tests/tvsctld-faults ./cmd/tvsctld

test: build examples ## everything, with all set-up: unit tests, then end to end on a test machine (root)
	tests/testhost setup bookworm
	$(MAKE) check
	go test -tags e2e -count=1 -timeout 80m -v ./tests

check: lint ## unit tests, with the race detector where there is a C compiler; no root
	@command -v cc >/dev/null || echo "no C compiler: without the race detector"
	if command -v cc >/dev/null; then CGO_ENABLED=1 go test -race ./...; else go test ./...; fi

fuzz: ## every fuzz target for FUZZTIME, 10m; what one finds is kept in its package's testdata
	@for file in $$(grep -l '^func Fuzz' $$(git ls-files '*_test.go')); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
			echo "$$target, of $${file%/*}"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel 1 -fuzzminimizetime 20x ./$${file%/*} || exit; \
		done; \
	done

lint: ## gofmt, go vet, shellcheck where it is installed
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt would change:" $$files >&2; exit 1; }
	go vet -tags e2e,bench ./...
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "no shellcheck: scripts are not checked"; fi

bench: build examples ## measure against docker compose, and write docs/benchmarks.md (root)
	tests/testhost setup
	go test -tags e2e,bench -count=1 -timeout 60m -v -run TestBench ./tests

demo: build examples ## the example under load on a test machine (root); SHELL_AFTER=1 leaves it up
	tests/testhost setup
	tests/demo

install: build ## install on this host (root); PREFIX=DIR
	scripts/install.sh $(if $(PREFIX),--prefix $(PREFIX))

deb: build ## a Debian package, into bin/; DEB_VERSION=1.2.3 if git describe does not say
	packaging/build

docs: ## the man pages and docs/openapi.json anew, where they come from the code
	go test ./cmd/tvsctl ./policy -run 'TestManPage$$' -update
	go test ./daemon -run 'TestOpenAPI$$' -update

clean: ## remove what was built
	rm -rf bin
