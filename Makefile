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
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

.PHONY: tools
tools: ## Build Vitess' programs and install a MySQL server into .tools (once)
	@scripts/install-tools.sh

.PHONY: tools-cluster
tools-cluster: ## The same, with the programs of a Vitess of many processes, and etcd
	@scripts/install-tools.sh cluster

.PHONY: build
build: ## Build temporal-server and temporal-vitess-tool into .tools/bin
	@mkdir -p .tools/bin
	go build -tags disable_grpc_modules -o .tools/bin/ ./cmd/...

.PHONY: demo
demo: tools ## Run workflows on a local Vitess with 4 Vitess shards; DEMO_EXIT=1 ends when they are done
	cd integration/demo && go build -o ../../.tools/bin/demo .
	.tools/bin/demo

.PHONY: cluster
cluster: tools-cluster ## Start a Vitess of many processes to try failovers and resharding by hand; CLUSTER_FLAGS="-replicas 2"
	go run ./integration/fullcluster/run $(CLUSTER_FLAGS)

.PHONY: test
test: tools-cluster build ## Run all tests, on real MySQL, Vitess and Temporal servers
	go test $(TEST_FLAGS) ./...
	cd deploy && go test $(TEST_FLAGS) ./...

.PHONY: test-migrate
test-migrate: tools-cluster build ## Run the tests of migrate's checks and of its interrupted steps (10 minutes)
	go test -tags migratechecks -timeout 30m -run TestChecks -v ./integration/migration

# The race detector needs a C compiler, and compiles all packages once more.
.PHONY: test-race
test-race: ## Run the tests of the plugin's packages with the race detector
	CGO_ENABLED=1 go test -race ./plugin ./internal/bulkhead ./internal/conn ./internal/outcome ./internal/router ./internal/session ./internal/vtgates

.PHONY: bench
bench: tools ## Compare with upstream's plugin, on MySQL and Vitess (17 minutes; BENCH_QUICK=1: 3); BENCH_FLAGS="-out docs/benchmark"
	go run ./integration/bench $(BENCH_FLAGS)

.PHONY: bench-placement
bench-placement: tools-cluster ## Measure where vtgates should stand, on a Vitess of many processes (6 minutes); BENCH_FLAGS as above
	go run ./integration/bench -placement $(BENCH_FLAGS)

# With flags, such as FAULTS_FLAGS="-faults Reshard", the page is printed, and docs/reliability.md stays.
FAULTS_FLAGS ?= -out docs/reliability.md

.PHONY: faults
faults: tools-cluster ## Let parts of a distributed Vitess fail under load, and write docs/reliability.md (50 minutes)
	go run ./integration/faults/reliability $(FAULTS_FLAGS)

SOAK ?= 2h
.PHONY: soak
soak: tools-cluster ## Let parts of a distributed Vitess fail under load at random, until SOAK=2h are over or Ctrl-C; SOAK_FLAGS="-seed 1"
	go run ./integration/faults/soak -for $(SOAK) $(SOAK_FLAGS)

.PHONY: lint
lint: ## Check the code with go vet and staticcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on these files" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	cd deploy && go vet -tags containers ./... && go run $(STATICCHECK) -tags containers ./...
	cd integration/demo && go vet -tags browser ./... && go run $(STATICCHECK) -tags browser ./...

# The container engine, for what follows.
export ENGINE ?= docker

.PHONY: image
image: ## Build the server's container image with Docker; ENGINE=podman, TAG=name:tag, PLATFORM=linux/arm64
	scripts/build-image.sh $(TAG)

.PHONY: image-dev
image-dev: ## Build the image of a development server, with MySQL, Vitess and web UI; the same variables, and BASE=image
	scripts/build-dev-image.sh $(TAG)

.PHONY: test-deploy
test-deploy: ## Run the tests that need a container engine
	@$(ENGINE) info >/dev/null 2>&1 || { echo "make test-deploy: no container engine answers to '$(ENGINE) info', so nothing was tested: start Docker, or name another with ENGINE=podman" >&2; exit 1; }
	cd deploy && go test -tags containers -count 1 -timeout 30m -v ./containers

.PHONY: test-browser
test-browser: tools ## Run the demo and look at its web UI with Chromium (Debian's is installed if there is none); SCREENSHOTS=folder
	scripts/install-chromium.sh
	cd integration/demo && go test -tags browser -count 1 -timeout 15m -v .

.PHONY: clean
clean: ## Remove .tools
	rm -rf .tools
