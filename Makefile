# `make` lists what there is. Nothing here needs more than Go, git, a C compiler (for the race detector)
# and PostgreSQL's programs (test-versions: npm); what else it uses, it builds once into .cache/.

VERSION      ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
VERSIONS     ?= 14 15 16 17 18
BENCH_ARGS   ?=
TEST_FLAGS   ?=

# Tests wait for half of their time, for clocks and for PostgreSQL: on a machine with few processors more of them run at once than it has.
PARALLEL     := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$(( n > 4 ? n : 4 )))

LINT_VERSION := 2.15.0
LINT_BIN     := $(CURDIR)/.cache/bin/golangci-lint-$(LINT_VERSION)
VALE_VERSION := 3.21.0
VALE_BIN     := $(CURDIR)/.cache/bin/vale-$(VALE_VERSION)

# Without C, sqlc is built in two thirds of the time: it parses with the same parser as WebAssembly.
TOOL         := env CGO_ENABLED=0 go tool -modfile=tools/go.mod

# Tracked and new Go files that people write. Generated ones keep the form that their generator gives them.
GO_FILES      = $$(git ls-files --cached --others --exclude-standard --deduplicate -- '*.go' \
                | xargs -r grep --no-messages --files-without-match '^// Code generated .* DO NOT EDIT\.$$')

CHECKS       := check-format check-generated vet lint race test-bench

.DEFAULT_GOAL := help
.PHONY: help run build test check $(CHECKS) generate release-schema zones fmt tidy bench test-versions prose

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build weir and start it with a PostgreSQL of its own
	bin/weir dev

build: ## build bin/weir
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/weir ./cmd/weir

test: ## run all tests (TEST_FLAGS='-race' and others are handed on)
	go test $(TEST_FLAGS) -parallel $(PARALLEL) -timeout 40m ./...

check: ## run everything that CI runs: format, generated code, vet, lint, tests with the race detector
	@for step in $(CHECKS); do \
		echo "-- $$step"; began=$$(date +%s); \
		$(MAKE) --no-print-directory $$step || exit 1; \
		echo "-- $$step: $$(($$(date +%s) - began)) s"; \
	done

check-format:
	@unformatted=$$($(TOOL) gofumpt -l $(GO_FILES)) || exit 1; \
	if [ -n "$$unformatted" ]; then \
		echo "Not in gofumpt's format (make fmt puts that right):"; echo "$$unformatted"; exit 1; \
	fi

# An interface{} in a query's code means that sqlc did not understand a column: it compiles, and loses the type.
check-generated: generate
	@git diff --exit-code -- db && [ -z "$$(git ls-files --others --exclude-standard -- db)" ] || { \
		echo; git status --short -- db; \
		echo "db/ was not what sqlc makes of sql/ and migrations/, or is not yet in git. It is generated now: look at it and git add db."; \
		exit 1; }
	@! grep -n 'interface{}' db/*.sql.go /dev/null || { \
		echo "sqlc found no type for these. Name the columns of a function call, and cast them: select c.job_id::bigint as job_id."; \
		exit 1; }

vet:
	go vet ./...
	cd bench && go vet ./...

lint:
	@lint=golangci-lint; \
	if [ "$$($$lint version --short 2>/dev/null)" != $(LINT_VERSION) ]; then \
		$(MAKE) --no-print-directory $(LINT_BIN) && lint=$(LINT_BIN) || exit 1; \
	fi; \
	echo "$$lint run"; $$lint run

$(LINT_BIN):
	@echo "building golangci-lint $(LINT_VERSION), once; this takes a minute or two"
	CGO_ENABLED=0 GOBIN=$(@D)/new go install -ldflags='-s -w' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION)
	mv $(@D)/new/golangci-lint $@ && rmdir $(@D)/new

# Prose in Markdown, Go and SQL, as plain text, so that errors and help are read as well as comments.
prose: $(VALE_BIN) ## look for phrases that read badly (tools/prose)
	$(VALE_BIN) --output line $$(git ls-files --cached --others --exclude-standard --deduplicate -- '*.md' '*.go' '*.sql' | grep -v '^db/')

$(VALE_BIN):
	@echo "building vale $(VALE_VERSION), once; this takes a minute"
	GOBIN=$(@D)/new go install -ldflags='-s -w' github.com/vale-cli/vale/v3/cmd/vale@v$(VALE_VERSION)
	mv $(@D)/new/vale $@ && rmdir $(@D)/new

race:
	@$(MAKE) --no-print-directory test TEST_FLAGS=-race

test-bench:
	cd bench && go test -timeout 10m ./...

generate: ## write db/ anew from sql/, with a throw-away PostgreSQL
	go run ./cmd/with-postgres -- $(TOOL) sqlc generate

release-schema: ## keep this schema as the last release's, which later ones must be able to migrate (when a version is tagged)
	go test ./migrations -count=1 -run TestLastReleaseMigratesToTheFreshSchema -write-release

zones: ## bring the time zones of this Go's distribution, which schedules go by
	cp "$$(go env GOROOT)/lib/time/zoneinfo.zip" migrations/zoneinfo.zip
	sed -i.old "s/^const ZoneVersion = .*/const ZoneVersion = \"$$(sed -n 's/^DATA=//p' "$$(go env GOROOT)/lib/time/update.bash")\"/" migrations/zone.go && rm migrations/zone.go.old

fmt: ## format all Go code
	$(TOOL) gofumpt -w $(GO_FILES)

tidy: ## tidy the modules: weir, tools and bench
	go mod tidy
	cd tools && go mod tidy
	cd bench && go mod tidy

bench: ## run the benchmark (BENCH_ARGS='…' is handed to it)
	cd bench && go run . $(BENCH_ARGS)

test-versions: ## run the tests on several PostgreSQL versions (VERSIONS='14 18')
	VERSIONS='$(VERSIONS)' tests/versions.sh
