# Fan: overlay networking for containers. `make` alone lists the targets.

GO ?= $(shell command -v go || echo /usr/local/go/bin/go)
export CGO_ENABLED ?= 0
# With sudo, caches of root's own.
# They make the bytes of what is built, together with the source and Go's version.
export VERSION ?= $(shell sh ifupdown/package/version.sh)
export SOURCE_DATE_EPOCH ?= $(shell sh ifupdown/package/version.sh date)
LDFLAGS = -s -w -X main.version=$(VERSION)
PROGRAM ?= bin/fanctl
DIST ?= dist
LINT_VERSION := v2.15.0
STATICCHECK_VERSION := v0.8.2
FUZZTIME ?= 30s
KERNEL ?= 6.1
BENCH ?= -beds 1 -rounds 3 -seconds 0.3 -state=false

.DEFAULT_GOAL := help
.PHONY: help build program install deb rpm release demo test test-unit test-vm test-install bench bench-vm fuzz lint generate check-generated deps deps-vm deps-install deps-generate clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: program ## build bin/fanctl, one static binary; needs only Go

program:
	$(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(PROGRAM) ./cmd/fanctl

install: build ## install bin/fanctl, units, manuals and completion; DESTDIR: below that folder
	sh ifupdown/package/stage.sh $(PROGRAM) '$(or $(DESTDIR),/)'

deb: build ## make a Debian package of bin/fanctl, in dist
	@mkdir -p $(DIST)
	@bash ifupdown/package/package.sh deb $(PROGRAM) $$($(GO) env GOARCH) $(DIST)

rpm: build ## make an RPM package of bin/fanctl, in dist
	@mkdir -p $(DIST)
	@bash ifupdown/package/package.sh rpm $(PROGRAM) $$($(GO) env GOARCH) $(DIST)

release: ## make programs and Debian packages for every processor and their checksums, in dist; the same bytes each time
	bash ifupdown/package/release.sh $(DIST)

demo: deps build ## two hosts in network namespaces, a fan, ping and iperf3 between containers (root)
	bash tests/demo/demo.sh bin/fanctl

test: deps ## all tests but those in VMs and of packages (root)
	$(GO) vet ./...
	GO='$(GO)' bash tests/all.sh $(TESTFLAGS)

test-unit: ## the tests that need neither root nor Debian packages
	$(GO) test ./fan/... ./internal/plan/... ./internal/firewall/...

test-vm: deps deps-vm ## the whole-program tests on a Debian kernel with the ipip device, under QEMU; KERNEL=6.1 RUN=Reach PATHS='ipip by device,vxlan'
	KERNEL=$(KERNEL) RUN='$(RUN)' PATHS='$(PATHS)' $(GO) test -tags vm -count 1 -v -timeout 40m ./tests/vm

test-install: deps deps-install ## the packages in a fresh Debian and under systemd, a release built twice (root)
	$(GO) test -tags install -count 1 -timeout 40m $(TESTFLAGS) ./tests/install

bench-vm: deps deps-vm ## the benchmarks there, a nanosecond being an instruction; BENCH: their flags
	KERNEL=$(KERNEL) BENCH='$(BENCH)' $(GO) test -tags vm -count 1 -v -timeout 40m -run TestBench ./tests/vm

bench: deps build ## packets/s, TCP and round trips of every path, as ratios of one run (root)
	$(GO) build -o bin/fanbench ./tests/bench
	FANCTL=$(CURDIR)/bin/fanctl bin/fanbench

fuzz: ## every fuzz target for FUZZTIME (default 30s)
	GO='$(GO)' FUZZTIME=$(FUZZTIME) bash tests/fuzz.sh

lint: ## gofmt, go vet, staticcheck and golangci-lint
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "gofmt: $$files"; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags vm,install ./tests/vm/... ./tests/install/...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION) -tags vm,install ./...
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) run --build-tags vm,install ./...

generate: deps-generate ## compile the eBPF programs (clang 14)
	$(GO) generate ./tunnel/bpf

check-generated: generate ## fail if the committed eBPF objects are not what the C compiles to
	git diff --exit-code -- tunnel/bpf

deps: ## install the Debian packages that the tests use (root)
	bash tests/deps.sh iproute2 iptables nftables iperf3 iputils-ping busybox-static procps ifupdown dnsmasq-base firewalld ufw dbus man-db mandoc bash bash-completion zsh fish

deps-vm:
	bash tests/deps.sh qemu-system-x86 busybox-static iproute2 iptables nftables iperf3 iputils-ping kmod

deps-install:
	bash tests/deps.sh mmdebstrap make git iproute2 rpm

deps-generate:
	bash tests/deps.sh clang-14 llvm-14 libbpf-dev linux-libc-dev

clean: ## remove what was built
	rm -rf bin dist out
