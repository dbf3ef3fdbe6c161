# provider-kitops. `make help` lists the targets.

GO ?= go
# The linter is pinned in a module of its own, so that the provider's does not
# depend on it.
LINT = $(GO) tool -modfile=$(CURDIR)/hack/tools/go.mod golangci-lint

# What is not the product is in modules of its own, so that the provider does
# not depend on what only it needs.
MODULES = hack/dashboard test/localcluster test/fakes/function test/gitops hack/vulncheck

IMAGE ?= provider-kitops:dev
IMAGE_TAR ?= provider-kitops.tar
VERSION ?= v0.0.0-dev
XPKG_DIR ?= _output/xpkg
FUZZTIME ?= 10s

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z.-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Show the main job on a cluster: Artifacts become OCI artifacts and are pulled back. CLUSTER=existing MODEL=org/name uses yours.
	$(GO) run ./test/demo

.PHONY: build
build: ## Build the two programs, provider and worker, into bin/.
	$(GO) build -o bin/ ./cmd/provider ./cmd/worker

# The tag leaves out what only controllers need of the API's types.
PLUGIN ?= bin/kubectl-kitops
.PHONY: plugin
plugin: ## Build the plugin of kubectl, kubectl kitops, as $(PLUGIN); GOOS= and GOARCH= name another platform. VERSION= names it.
	CGO_ENABLED=0 $(GO) build -trimpath -tags=kubectl -ldflags='-s -w -X github.com/crossplane-contrib/provider-kitops/internal/version.Version=$(VERSION)' -o $(PLUGIN) ./cmd/kubectl-kitops

.PHONY: run
run: build ## Run the provider against the current kubeconfig, after a confirmation (CONFIRM=yes gives it); CLUSTER=local: against make cluster's. ARGS= adds flags.
	./hack/run $(ARGS)

.PHONY: reviewable
reviewable: generate lint unit ## Before asking for a review: generate, lint and unit.

# -short leaves out what needs an API server (internal/controller, cmd/provider,
# test/suites/api), a cluster (test/suites/e2e, test/suites/crossplane), or the
# compilation of whole programs. .ci/run has all of it.
.PHONY: unit
unit: ## Run the tests that need no API server, no cluster and no root; under 2 minutes once all is compiled.
	@for m in . $(MODULES); do $(GO) test -C $$m -short ./... || exit 1; done

.PHONY: test
test: ## Run all tests; those on the local cluster need root on Linux.
	./hack/test

# A suite of its own: building Kueue takes longer than all other tests together. Once it
# is built, make test runs the suite, too.
.PHONY: test.kueue
test.kueue: ## Run the tests with the real Kueue, which is built the first time (12 minutes); root on Linux.
	$(GO) run -C test/localcluster . build
	$(GO) run -C test/localcluster . build kueue
	E2E=required $(GO) test -count=1 -timeout=30m -v ./test/suites/kueue

.PHONY: fuzz
fuzz: ## Fuzz what reads foreign input, each test for FUZZTIME=10s.
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$p/*_test.go | cut -c6-); do \
			echo "=== $$p $$f"; \
			$(GO) test -run='^$$' -fuzz="^$$f\$$" -fuzztime=$(FUZZTIME) ./$$p || exit 1; \
		done; \
	done

.PHONY: bench
bench: ## Measure Stream beside the limit by curl, an older commit's worker, and kit with KIT=path; writes the tables of docs/benchmark.md; about 25 minutes (Linux, curl, git). ARGS= adds flags.
	$(GO) run ./test/bench/throughput --kit="$(KIT)" --page=docs/benchmark.md $(ARGS)

.PHONY: bench-pull
bench-pull: ## Measure worker pull beside oras, and kit and modctl with KIT=path and MODCTL=path; writes a table of docs/benchmark.md; about 20 minutes (Linux). ARGS= adds flags.
	$(GO) run ./test/bench/pull --kit="$(KIT)" --modctl="$(MODCTL)" --page=docs/benchmark.md $(ARGS)

.PHONY: bench-controller
bench-controller: ## Measure the controllers against a real API server: Jobs beside a bare client, requests, a restart, changes of the leader, and memory; about 20 minutes (Linux). ARGS= adds flags.
	$(GO) run ./test/bench/controller $(ARGS)

.PHONY: lint
lint: ## Run the linters.
	@for m in . $(MODULES); do echo "lint $$m"; (cd $$m && $(LINT) run ./...) || exit 1; done
	$(GO) tool -modfile=$(CURDIR)/hack/release/go.mod actionlint -shellcheck= -pyflakes=

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities that the programs reach; fails on those that an available version fixes.
	cd hack/vulncheck && GOTOOLCHAIN=auto $(GO) run . -dir=$(CURDIR) ./cmd/...
	cd hack/vulncheck && GOTOOLCHAIN=auto $(GO) run . -dir=$(CURDIR)/test/localcluster .

.PHONY: generate
generate: ## Write the deepcopy functions, the CRDs, the generated pages of docs/reference and the dashboard anew.
	$(GO) generate ./apis
	$(GO) run -C hack/dashboard . > examples/monitoring/dashboard.json

.PHONY: generate.check
generate.check: generate ## Fail if what is generated, or go.mod, is stale.
	@for m in . $(MODULES); do $(GO) -C $$m mod tidy -diff || exit 1; done
	@stale="$$(git status --porcelain -- apis package docs/reference examples/monitoring)"; if [ -n "$$stale" ]; then \
		echo "stale: run make generate and commit"; echo "$$stale"; git diff -- apis package docs/reference examples/monitoring; exit 1; fi

.PHONY: image
image: ## Build the provider's image as $(IMAGE_TAR), without a container engine. IMAGE= names it.
	$(GO) run ./cluster/images/build provider --name=$(IMAGE) --output=$(IMAGE_TAR)

.PHONY: xpkg
xpkg: ## Build the Crossplane package for amd64 and arm64 into $(XPKG_DIR), without a container engine. VERSION= names it.
	$(GO) run ./cluster/images/build xpkg --version=$(VERSION) --output=$(XPKG_DIR)

.PHONY: xpkg.push
xpkg.push: ## Build the package and push it as REGISTRY=host[:port]/org, with docker's credentials; PLAIN_HTTP=true without TLS.
	@test -n "$(REGISTRY)" || { echo "say where to: make xpkg.push REGISTRY=registry.example.com/org VERSION=$(VERSION)"; exit 1; }
	$(GO) run ./cluster/images/build xpkg --version=$(VERSION) --push=$(REGISTRY) $(if $(filter true,$(PLAIN_HTTP)),--plain-http)

.PHONY: release
release: ## Build all files of a release into _output/release, for VERSION=v0.1.0: package, manifests, plugin, bills of materials.
	./hack/release/build "$(VERSION)"

.PHONY: release.check
release.check: ## Build a release twice, the second one in another folder with an empty build cache, compare, and install the plugin from it with krew.
	./hack/release/check "$(VERSION)"

.PHONY: cluster
cluster: ## Bring the local cluster up and leave it running (root on Linux).
	$(GO) run -C test/localcluster . up

.PHONY: cluster.down
cluster.down: ## Take the local cluster down, and what a crashed one left.
	$(GO) run -C test/localcluster . down

.PHONY: clean
clean: cluster.down ## Take the local cluster down and remove the programs that were built for it.
	$(GO) run -C test/localcluster . clean
