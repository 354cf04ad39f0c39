# Targets of runfold. "make" prints them.
GO ?= go
FUZZTIME ?= 20s
SOAK ?= 60s
DIFFERENTIAL ?= 60s
POWERTIME ?= 10m
OLD ?= 0ac5a63
FLAKES ?= 20
FLAKEPKGS ?= ./...
PYTHON ?= python3
VENV = .venv
ENGINES = .venv-engines
TRACKERS = .venv-trackers
GENERATIONS ?= 200
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
UNPARAM = mvdan.cc/unparam@v0.0.0-20260823230713-2fa3d841b0c8
REVIVE = github.com/mgechev/revive@v1.17.0

# The commands state their commit where git answers; where it does not, a build must not fail for that.
STAMP ?= $(shell git status >/dev/null 2>&1 && echo -buildvcs=auto)

.DEFAULT_GOAL := help
.PHONY: help build test test-short test-places test-32 test-machines test-windows test-outside test-foreign test-differential test-engines test-docs check fmt vet staticcheck unused cross fuzz soak flakes figures bench bench-python example clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/journal-append and bin/compactd
	$(GO) build -trimpath $(STAMP) -o bin/ ./cmd/...

example: build ## the main job on the example data, into ./example-runs
	docs/examples/run.sh example-runs

test: check $(VENV)/made $(TRACKERS)/made ## everything that must hold: checks, all tests with the race detector, the pages, a program of another module, a foreign reader
	$(GO) test -race -timeout 30m ./... # test-docs is one of them: it finds $(VENV)
	$(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),-O) test-places test-32 test-machines-short test-outside test-foreign test-differential test-engines-short test-python

test-short: ## the tests that take seconds
	$(GO) test -short ./...

test-places: ## fail, stop and kill folds at every place; the race detector leaves some out
	$(GO) test -timeout 30m ./journal ./compactor ./compactor/index ./compactor/view/sqlite
	$(GO) test -timeout 30m ./compactor/view/postgres -run TestView -args -every 4 # all of them take minutes: -every 1

.PHONY: test-locks
test-locks: ## locks that lie, at every place: real Redis, etcd and PostgreSQL, stopped, killed, cut off, with a clock that is set; prints the figures
	$(GO) test -count=1 -v -timeout 60m ./compactor/lock/locktest -args -every 1 | grep -E 'figure: |^(---|ok|FAIL)|_test.go'
	$(GO) test -count=1 -v -run 'TestFleet$$' ./internal/acceptance | grep -E 'figure: |^(---|ok|FAIL)|_test.go'

test-32: ## the tests that take seconds, with ints of 32 bits; such programs run on linux/amd64
	@if [ "$$($(GO) env GOHOSTOS)/$$($(GO) env GOHOSTARCH)" = linux/amd64 ]; then set -x; \
	  GOARCH=386 CGO_ENABLED=0 $(GO) test -short ./cohort ./journal ./compactor/... ./internal/durable/...; \
	else echo "test-32: left out: this is not linux/amd64"; fi

# The machines of test-machines: GOARCH, and the program that runs programs of that machine.
MACHINES ?= arm64=qemu-aarch64-static s390x=qemu-s390x-static
MACHINETESTS ?= .

test-machines: ## formats on arm64 and on s390x (the highest byte comes first), emulated by qemu-user-static: the same bytes as here
	@set -e; for machine in $(MACHINES); do arch=$${machine%%=*}; qemu=$${machine#*=}; \
	  if ! command -v $$qemu >/dev/null; then \
	    echo "test-machines: $$arch is left out: there is no $$qemu (Debian has it in qemu-user-static)"; \
	    test -z "$$RUNFOLD_MUST_RUN"; continue; \
	  fi; \
	  echo "test-machines: $$arch"; \
	  RUNFOLD_EMULATOR=$$qemu GOARCH=$$arch CGO_ENABLED=0 $(GO) test -short -exec $$qemu -run '$(MACHINETESTS)' \
	    ./cohort ./journal ./compactor/generation ./compactor/index; \
	  RUNFOLD_EMULATOR=$$qemu GOARCH=$$arch CGO_ENABLED=0 $(GO) test -exec $$qemu -run TestFormats ./compactor; \
	  $(GO) test -count=1 -run TestMachines ./internal/acceptance -args -goarch $$arch -emulator $$qemu; \
	done

.PHONY: test-machines-short
test-machines-short: # the part of it that make test runs: the machine that differs most, and the tests that look at bytes
	@$(MAKE) --no-print-directory test-machines MACHINES=s390x=qemu-s390x-static \
	  MACHINETESTS='SameBytes|Vector|Frame|Manifest|Find|Copy|Interleave|V1|Fine|WholeSeconds|Settings|Key|Order'

# What Wine or Windows does not have: signals, sh and cp, symbolic links, and other words for errors.
WINESKIP = TestScripts/($(WINESCRIPTS))$$|TestDaemon|TestConsoleLog|TestLocked|TestSignal|TestManyProcesses|TestKilledProcesses|TestExamples|TestDifferential|$(WINELINKS)
WINESCRIPTS = version|actions|run-refused|root-id|repair|published-other|check-damage|copies-merged|doctor|dump|links|no-root|once|modes|no-input|encodings|cohort-names|roots|set|read-only|repeat|umask|backup|settings|root-id-flip|repair-copies|missing-manifests|previous-old|init|import-left-out|import-mlruns|import-trackers|import-rows|query
WINELINKS = TestReplaceFollowsNoLink|TestDeletedLockFile|TestOnlyWalGoKnowsTheLibrary|TestSegmentThatIsNone|TestLinkedCohort|TestRoots|TestHeader|TestStreams|TestHolderIsNoLink|TestHolderOfBefore

test-windows: ## the tests of the commands and of what touches the disk, for Windows, under Wine (wine64, binutils-mingw-w64-x86-64)
	.ci/wine . '$(WINESKIP)' internal/durable journal cmd/journal-append cmd/compactd internal/acceptance

.PHONY: test-windows-smoke
test-windows-smoke: ## a short part of test-windows: append, publish, publish again, read, go on after a kill
	.ci/wine 'TestSmoke|TestReplaceReadOnly|TestOpenLetsOthersChange|TestInitRootRace' NONE internal/durable journal internal/acceptance

test-outside: ## use the packages as a program of another module does, and run the code of docs/library.md
	cd internal/outside && $(GO) test ./...

.PHONY: test-power
test-power: ## as root, until POWERTIME (default 10m) is over: appends and folds on XFS and ext4 whose power is cut
	$(GO) test -count=1 -v -run TestPowerOfRealDisks -timeout $(POWERTIME) ./internal/acceptance -args -power 0

test-foreign: ## read the published files with DuckDB, and files of other writers (python3 makes them) with import's reader
	cd internal/foreignreader && $(GO) test ./...
	$(GO) test -run TestForeignLive ./compactor/index -args -live

test-differential: $(VENV)/made ## for DIFFERENTIAL (default 60s): random records, and what DuckDB, pyarrow and polars read, against a model in Python
	$(GO) test -count=1 -v -run 'TestDifferential$$' -timeout 0 ./internal/acceptance -args -differential $(DIFFERENTIAL) -python $(abspath $(VENV))/bin/python $(DIFFERENTIALFLAGS)

# DuckDB has a Python of its own, because its delta extension is to be had as a package for that version only.
.PHONY: test-engines-short
test-engines-short: $(ENGINES)/made # the part of test-engines that make test runs
	$(GO) test -count=1 -v -run 'TestEngines$$' -timeout 0 ./internal/acceptance -args -engines deltalake,polars,duckdb -engines-python $(abspath $(ENGINES))/bin/python -generations 20

test-engines: $(ENGINES)/all ## a random history of GENERATIONS folds (default 200): delta-rs, Polars, DuckDB, Spark and ClickHouse read every version of Delta tables, and these, parquet-java 1.12.0, hyparquet, node and jq padded files; needs Java, Maven, node and jq
	CHDB=$(abspath $(ENGINES))/node_modules/chdb NODE_HOME=$(abspath $(ENGINES)) JAVA_LIBS=$(abspath $(ENGINES))/java $(GO) test -count=1 -v -run 'Test(Engines|Cluster|Padded)$$' -timeout 0 ./internal/acceptance -args -padded $(PADDED) -engines deltalake,polars,duckdb,chdb,pyspark -engines-python $(abspath $(ENGINES))/bin/python -generations $(GENERATIONS)

# MLflow 2 lies beside MLflow 3, and uses the libraries of that one.
$(TRACKERS)/made: internal/trackers/requirements.txt internal/trackers/requirements-mlflow2.txt
	rm -rf $(TRACKERS)
	$(PYTHON) -m venv $(TRACKERS)
	$(TRACKERS)/bin/python -m pip install -q --disable-pip-version-check -r $<
	$(TRACKERS)/bin/python -m pip install -q --disable-pip-version-check --no-deps --target $(TRACKERS)/mlflow2 -r internal/trackers/requirements-mlflow2.txt
	touch $@

.PHONY: test-trackers
test-trackers: $(TRACKERS)/made ## compactd import of files that the real MLflow 2 and 3, wandb, Optuna, Sacred and TensorBoard make; make test runs it
	$(GO) test -count=1 ./internal/trackers

$(ENGINES)/made: internal/acceptance/testdata/engines/requirements.txt
	rm -rf $(ENGINES)
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install -q --disable-pip-version-check -r $<
	touch $@

PADDED = pyarrow,polars,duckdb,pyspark,java,chdb,hyparquet,python,node,jq

$(ENGINES)/all: $(ENGINES)/made internal/acceptance/testdata/engines/requirements-spark.txt internal/acceptance/testdata/engines/pom.xml
	$(ENGINES)/bin/python -m pip install -q --disable-pip-version-check -r internal/acceptance/testdata/engines/requirements-spark.txt
	npm install --silent --no-fund --no-audit --prefix $(ENGINES) chdb@3.4.0 hyparquet@1.33.0 hyparquet-compressors@1.1.2
	mvn -q -B -f internal/acceptance/testdata/engines/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(ENGINES))/java
	touch $@

test-docs: $(VENV)/made ## run the code blocks of the README and of docs: shell, Python, SQL
	$(GO) test -count=1 ./internal/docs

$(VENV)/made: internal/docs/requirements.txt journal/python/requirements.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check $(addprefix -r ,$^)
	touch $@

.PHONY: test-python test-python-long wheel wheels
test-python: build $(VENV)/made ## the Python package: its types, and its tests with the real commands; PYTESTFLAGS
	cd journal/python && RUNFOLD_BIN=$(abspath bin) $(abspath $(VENV))/bin/python -m pytest $(PYTESTFLAGS)

test-python-long: ## kill processes and their children for many rounds, and try many values; a failure names its seed
	$(MAKE) test-python PYTESTFLAGS="-s --rounds 60 --hypothesis-profile long"

# Wheels hold static programs, for Linux with any libc. GOOS and GOARCH say for which platform; without them it is this one.
wheel: $(VENV)/made ## build a wheel of the Python package with both commands, into journal/python/dist
	env -u RUNFOLD_BIN $(VENV)/bin/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w journal/python/dist ./journal/python

wheels: ## the wheels of all platforms
	set -e; for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do \
	  GOOS=$${platform%/*} GOARCH=$${platform#*/} $(MAKE) --no-print-directory wheel; \
	done

check: fmt vet staticcheck unused cross ## gofmt, vet, staticcheck, unused parameters, builds for macOS, Windows and 32 bits

fmt:
	@bad=$$(gofmt -l bench cmd cohort compactor internal journal); \
	if [ -n "$$bad" ]; then echo "gofmt these files:" $$bad; exit 1; fi

vet:
	$(GO) vet ./...
	cd bench && $(GO) vet ./...
	cd internal/outside && $(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

unused: # a parameter or a result that is always the same or never read; a name in a signature that its body does not use
	$(GO) run $(UNPARAM) ./...
	$(GO) run $(REVIVE) -config .revive.toml ./...

# Nobody runs what is compiled for vet, so the libraries need no optimizing, which takes a third of the time.
UNOPTIMIZED = -gcflags='all=-N -l'

cross:
	GOOS=darwin GOARCH=arm64 $(GO) vet $(UNOPTIMIZED) ./...
	GOOS=windows GOARCH=amd64 $(GO) vet $(UNOPTIMIZED) ./...
	GOOS=linux GOARCH=386 $(GO) vet ./... # test-32 runs it

soak: ## kill writers and compactors for SOAK (default 60s): nothing acknowledged may be lost
	$(GO) test -count=1 -v -run TestSoak ./internal/acceptance -args -soak $(SOAK)

.PHONY: test-matrix
test-matrix: ## the commands of commit OLD (default 0ac5a63, whose frames are of version 1) and those of today on one root
	$(GO) test -count=1 -v -run TestMatrix ./internal/acceptance -args -old $(OLD)

# A test that fails now and then fails when others want the processor: each core has a busy loop meanwhile. The loops are
# ended with the shell, whatever ends it; they look for it themselves, should nothing else be able to. Each run is a go test
# of its own, so that a panic or a timeout hides nothing of the others. What failed is counted at the end, after Ctrl-C too.
flakes: ## run the tests of FLAKEPKGS (default all) FLAKES times (default 20) with the race detector on busy cores
	@dir=$$(mktemp -d) && loops= && me=$$$$; \
	trap 'kill $$loops 2>/dev/null; rm -rf "$$dir"' EXIT; trap 'stop=yes' INT TERM HUP; \
	for core in $$(seq $$(getconf _NPROCESSORS_ONLN)); do \
	  while kill -0 $$me; do :; done 2>/dev/null & loops="$$loops $$!"; \
	done; \
	for run in $$(seq $(FLAKES)); do \
	  echo "run $$run of $(FLAKES)"; \
	  { $(GO) test -race -count=1 $(FLAKEPKGS) 2>&1 || echo "run $$run" >>"$$dir/bad"; } | tee -a "$$dir/log"; \
	  test -z "$$stop" || break; \
	done; \
	test -z "$$stop" || echo "stopped in run $$run of $(FLAKES)"; \
	awk '/^ *--- FAIL: /{sub(/^ *--- FAIL: /, ""); sub(/ \(.*/, ""); tests[++n] = $$0} \
	  /^FAIL\t/{if (!n) tests[++n] = "(no test is named: see above)"; for (i = 1; i <= n; i++) bad[$$2 " " tests[i]]++; n = 0} \
	  END{for (b in bad) print "failed " bad[b] " times: " b}' "$$dir/log" | sort; \
	test -z "$$stop" && ! test -e "$$dir/bad" && echo "nothing failed"

figures: ## what the tests of durability go through: faults, crash states, kills, flipped bits
	@$(GO) test -count=1 -v ./internal/durable/... ./journal ./compactor/... ./internal/acceptance 2>&1 | \
	  awk '/figure: /{sub(/.*figure: /, "  "); print} /^ *(--- )?FAIL/{print; bad = 1} END{exit bad}'

fuzz: ## run every fuzz target for FUZZTIME (default 20s)
	@set -e; for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
	  for target in $$(cd $$dir && $(GO) test -list '^Fuzz' . | grep '^Fuzz' || true); do \
	    echo "$$dir $$target"; (cd $$dir && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x .); \
	  done; \
	done

bench: ## side by side with others, about an hour, into docs/bench; see bench/README.md
	cd bench && $(GO) run . -out ../docs/bench $(if $(wildcard bench/.venv/made),-python .venv/bin/python) $(BENCHFLAGS)

.PHONY: test-bench
test-bench: ## tests of the bench; as root with file systems that it makes; TESTBENCHFLAGS
	cd bench && $(GO) test $(TESTBENCHFLAGS) ./...

.PHONY: bench-steady
bench-steady: ## as root, most of an hour: ten minutes of 1,000 appends/s with and without a fold each second, on XFS, into 1 M and 10 M rows, into docs/bench
	cd bench && $(GO) run . -out ../docs/bench -add -only minutes -rows-large -fs xfs -fs-gib 32 -skip-dir $(BENCHFLAGS)

bench-python: ## what bench compares views, runs and the Python package with: pandas, delta-rs, MLflow, wandb, trackio and DuckDB, in bench/.venv
	rm -rf bench/.venv
	$(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install -q --disable-pip-version-check -r bench/requirements.txt
	touch bench/.venv/made

clean: ## remove what the targets above made
	rm -rf bin example-runs $(VENV) $(ENGINES) $(TRACKERS) journal/python/build journal/python/dist
