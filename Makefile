# What a user calls; `make help` lists it. Everything that is downloaded or built goes below .tools, which git ignores.

SHELL := bash
.DEFAULT_GOAL := help

# go.mod may ask for a newer Go than the installed one; some machines forbid to fetch it.
export GOTOOLCHAIN := auto
# Nothing here needs C. One setting for all builds also means that each package is compiled once.
export CGO_ENABLED := 0

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# One package at a time: several run a Vitess, with a Temporal server and workers whose patience is in seconds. The
# longest is far from the timeout.
TEST_FLAGS  ?= -p 1 -timeout 40m

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: tools
tools: ## Build Vitess' programs and install a MySQL server into .tools (once)
	@scripts/install-tools.sh

.PHONY: build
build: ## Build temporal-server and temporal-vitess-tool into .tools/bin
	@mkdir -p .tools/bin
	go build -tags disable_grpc_modules -o .tools/bin/ ./cmd/...

.PHONY: demo
demo: tools ## Run workflows on a local Vitess with 4 Vitess shards; DEMO_EXIT=1 ends when they are done
	go run ./integration/demo

.PHONY: test
test: tools build ## Run all tests, on real MySQL, Vitess and Temporal servers
	go test $(TEST_FLAGS) ./...

.PHONY: bench
bench: tools ## Compare with upstream's plugin, on MySQL and Vitess (13 minutes; BENCH_QUICK=1: 2); BENCH_FLAGS="-out docs/benchmark"
	go run ./integration/bench $(BENCH_FLAGS)

.PHONY: lint
lint: ## Check the code with go vet and staticcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on these files" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: image
image: ## Build the server's container image (docker, else buildah); TAG=name:tag
	scripts/build-image.sh $(TAG)

.PHONY: clean
clean: ## Remove .tools
	rm -rf .tools
