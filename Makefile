# `make` lists the targets. Go and make must be there. Each target installs the other programs that it needs, or says what
# is missing (scripts/setup). Tools written in Go are built once, into .cache/ or Go's own cache.

VERSION      ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
VERSIONS     ?= 14 15 16 17 18
TESTS        ?= $(LONGEST) ./...
TEST_FLAGS   ?=
FUZZ_SECONDS ?= 60
FUZZ_WORKERS ?=
BENCH_ARGS   ?=

SETUP        := scripts/setup go

# Tests of one package that run at once, and packages: one more than processors. Tests spend half of their time waiting, so two
# processors carry twelve of them.
PARALLEL     := 4
PACKAGES      = $$(( $$(getconf _NPROCESSORS_ONLN) + 1 ))

# The packages that take longest, longest first: the last ones to start should be short.
LONGEST      := $(addprefix ./tests/,client/typescript client/python health breaker job bulk chaos clock worker node claim limit weirtest work)

# Folders that test what SQL and single calls answer. `make race` runs them without the race detector, which would double
# their processor time: the same handlers and batches run beside each other in the other folders.
UNRACED      := $(addprefix ./tests/,access audit bounds bulk change cli dead docs enqueue examples facet input job openapi plans \
                preset problems queue quota retention retry rollup search stats tenant workflow client/typescript)

LINT_VERSION := 2.15.0
LINT_BIN     := $(CURDIR)/.cache/bin/golangci-lint-$(LINT_VERSION)
VALE_VERSION := 3.21.0
VALE_BIN     := $(CURDIR)/.cache/bin/vale-$(VALE_VERSION)

# Without C, sqlc builds in two thirds of the time: it runs the same parser as WebAssembly.
TOOL         := env CGO_ENABLED=0 go tool -modfile=tools/go.mod

# Tracked and new Go files that people write. Generated ones keep the form that their generator gives them.
GO_FILES      = $$(git ls-files --cached --others --exclude-standard --deduplicate -- '*.go' \
                | xargs -r grep --no-messages --files-without-match '^// Code generated .* DO NOT EDIT\.$$')

MODULES      := . tools bench
CHECKS       := check-format check-tidy check-generated check-openapi check-clients lint vuln prose race test-bench fuzz

.DEFAULT_GOAL := help
.PHONY: help run build test test-fast test-clean check $(CHECKS) generate generate-clients release-schema pictures zones fmt tidy bench test-versions

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build weir and start it with a private PostgreSQL
	@$(SETUP) postgres
	bin/weir dev

build: ## build bin/weir
	@$(SETUP)
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/weir ./cmd/weir

# gotestsum runs `go test` and ends with a list of the failed and the skipped tests, each with its reason. `make lint` vets the
# tests too. Without DWARF (-w) the test programs link in two thirds of the time. The race detector needs C.
test: ## run all tests, then list those that could not run (TESTS=./api TEST_FLAGS='-race -run Claim')
	@$(SETUP) postgres $(if $(filter -race,$(TEST_FLAGS)),cc) --optional pgbouncer zsh fish node javac jackson jdbc python
	@gotestsum=$$($(TOOL) -n gotestsum) || exit 1; \
		$(if $(filter -race,$(TEST_FLAGS)),CGO_ENABLED=1) "$$gotestsum" --format pkgname-and-test-fails --format-hide-empty-pkg --format-icons text -- \
		-vet=off -ldflags=-w -p $(PACKAGES) -parallel $(PARALLEL) -timeout 40m $(TEST_FLAGS) $(TESTS)

test-fast: ## run the tests without the long ones, in under two minutes
	@$(MAKE) --no-print-directory test TEST_FLAGS='-short $(TEST_FLAGS)'

test-clean: ## try make run and make test in a fresh Debian that has only Go (needs root and debootstrap)
	scripts/test-clean

check: ## run what CI runs: format, generated code, contract, lint, tests, a minute of fuzzing
	@for step in $(CHECKS); do \
		echo "-- $$step"; began=$$(date +%s); \
		$(MAKE) --no-print-directory $$step || exit 1; \
		echo "-- $$step: $$(($$(date +%s) - began)) s"; \
	done

check-format:
	@$(SETUP) git
	@unformatted=$$($(TOOL) gofumpt -l $(GO_FILES)) || exit 1; \
	if [ -n "$$unformatted" ]; then \
		echo "These files are not in gofumpt's format. Run make fmt:"; echo "$$unformatted"; exit 1; \
	fi
	@! LC_ALL=C.UTF-8 grep -nE '^.{121,}' sql/*/*.sql || { echo "Lines of SQL have at most 120 characters."; exit 1; }

check-tidy:
	@for module in $(MODULES); do \
		(cd $$module && go mod tidy -diff) || { echo "$$module/go.mod is not tidy. Run make tidy."; exit 1; }; \
	done

# An interface{} in a query's code means that sqlc did not understand a column: it compiles, and loses the type.
check-generated: generate
	@git diff --exit-code -- db && [ -z "$$(git ls-files --others --exclude-standard -- db)" ] || { \
		echo; git status --short -- db; \
		echo "db/ differed from what sqlc generates, or has files that are not in git. It is up to date now: review and add it."; \
		exit 1; }
	@! grep -n 'interface{}' db/*.sql.go /dev/null || { \
		echo "sqlc found no type for these. Name the columns of a function call, and cast them: select c.job_id::bigint as job_id."; \
		exit 1; }

check-openapi:
	@$(SETUP) node java
	scripts/check-openapi

check-clients: generate-clients
	@git diff --exit-code --stat -- client && [ -z "$$(git ls-files --others --exclude-standard -- client)" ] || { \
		echo; git status --short -- client; \
		echo "client/ differed from what the OpenAPI document gives, or has files that are not in git. It is up to date now: review and add it."; \
		exit 1; }

lint: ## run golangci-lint, with go vet's analyses (.golangci.yml)
	@lint=golangci-lint; \
	if [ "$$($$lint version --short 2>/dev/null)" != $(LINT_VERSION) ]; then \
		$(MAKE) --no-print-directory $(LINT_BIN) && lint=$(LINT_BIN) || exit 1; \
	fi; \
	echo "$$lint run"; $$lint run

$(LINT_BIN):
	@echo "building golangci-lint $(LINT_VERSION), once; this takes a minute or two"
	CGO_ENABLED=0 GOBIN=$(@D)/new go install -ldflags='-s -w' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION)
	mv $(@D)/new/golangci-lint $@ && rmdir $(@D)/new

# The database of vulnerabilities is on the network. Where it cannot be reached, this says so and does not fail.
vuln: ## look for known vulnerabilities in what weir calls
	@if out=$$($(TOOL) govulncheck ./... 2>&1); then echo "$$out"; \
	elif echo "$$out" | grep -q '^govulncheck: fetching vulnerabilities:'; then \
		echo "NOT CHECKED: the database of vulnerabilities cannot be reached."; echo "$$out" | tail -1; \
	else echo "$$out"; exit 1; fi

# Prose in Markdown, Go and SQL, as plain text, so that errors and help are read as well as comments.
prose: $(VALE_BIN) ## look for phrases that read badly (tools/prose)
	$(VALE_BIN) --output line $$(git ls-files --cached --others --exclude-standard --deduplicate -- '*.md' '*.go' '*.sql' | grep -v '^db/')

$(VALE_BIN):
	@echo "building vale $(VALE_VERSION), once; this takes a minute"
	CGO_ENABLED=1 GOBIN=$(@D)/new go install -ldflags='-s -w' github.com/vale-cli/vale/v3/cmd/vale@v$(VALE_VERSION)
	mv $(@D)/new/vale $@ && rmdir $(@D)/new

race: ## run all tests, those of concurrent code with the race detector
	@$(MAKE) --no-print-directory test TEST_FLAGS='-race $(TEST_FLAGS)' \
		TESTS="$(filter-out $(UNRACED),$(LONGEST)) $$(go list -f '.{{slice .Dir (len .Module.Dir)}}' ./... | grep -vxF $(UNRACED:%=-e %) | tr '\n' ' ')"
	@$(MAKE) --no-print-directory test TESTS="$(filter $(UNRACED),$(LONGEST)) $(UNRACED)"

test-bench:
	cd bench && go vet ./... && go test -vet=off -timeout 10m ./...

fuzz: ## run every fuzz test, for FUZZ_SECONDS in all
	@$(SETUP) git
	scripts/fuzz $(FUZZ_SECONDS) $(FUZZ_WORKERS)

generate: ## generate db/ from sql/, with a throw-away PostgreSQL
	@$(SETUP) postgres
	go run ./cmd/with-postgres -- $(TOOL) sqlc generate

generate-clients: ## generate the clients in client/ from the OpenAPI document (needs Node and Java)
	@$(SETUP) node java
	scripts/generate-clients

release-schema: ## record this schema and this OpenAPI document as the last release's, which later versions must migrate and not break (when you tag a version)
	go test ./migrations -count=1 -run TestLastReleaseMigratesToTheFreshSchema -write-release
	go run ./cmd/weir openapi >api/testdata/release/openapi.json

pictures: ## draw the pictures of the documentation
	@$(SETUP) postgres
	go test ./tests/cli -count=1 -run TestTopIsDrawn -write-picture

zones: ## copy the time zones of this Go release, which schedules use
	cp "$$(go env GOROOT)/lib/time/zoneinfo.zip" migrations/zoneinfo.zip
	sed -i.old "s/^const ZoneVersion = .*/const ZoneVersion = \"$$(sed -n 's/^DATA=//p' "$$(go env GOROOT)/lib/time/update.bash")\"/" migrations/zone.go && rm migrations/zone.go.old

fmt: ## format all Go code
	$(TOOL) gofumpt -w $(GO_FILES)

tidy: ## tidy the modules: weir, tools and bench
	for module in $(MODULES); do (cd $$module && go mod tidy) || exit 1; done

bench: ## run the benchmark (BENCH_ARGS='…' are its arguments)
	@$(SETUP) postgres
	cd bench && go run . $(BENCH_ARGS)

test-versions: ## run the tests on several PostgreSQL versions (VERSIONS='14 18')
	@$(SETUP) node
	VERSIONS='$(VERSIONS)' scripts/test-versions
