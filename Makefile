# Fan: overlay networking for containers. `make` alone lists the targets.

GO ?= $(shell command -v go || echo /usr/local/go/bin/go)
export CGO_ENABLED ?= 0
# With sudo, caches of root's own.
# They make the bytes of what is built, together with the source and Go's version.
export VERSION ?= $(shell sh ifupdown/package/version.sh)
export SOURCE_DATE_EPOCH ?= $(shell sh ifupdown/package/version.sh date)
LDFLAGS = -s -w -X main.version=$(VERSION)
PROGRAMS := fanctl fanatic
BIN ?= bin
DIST ?= dist
LINT_VERSION := v2.15.0
STATICCHECK_VERSION := v0.8.2
FUZZTIME ?= 30s
KERNEL ?=
BENCH ?= -beds 1 -rounds 3 -seconds 0.3 -measure packets,stream,pingpong -containers 0 -state=false

.DEFAULT_GOAL := help
.PHONY: help build install deb rpm release demo demo-docker test test-unit test-arch test-vm test-vm-arch kernels test-install test-containers bench bench-vm fuzz lint generate check-generated deps deps-demo deps-demo-docker deps-arch deps-vm deps-vm-arch deps-install deps-containers deps-generate clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/fanctl and bin/fanatic, static binaries; needs only Go
	@mkdir -p $(BIN)
	for program in $(PROGRAMS); do $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/$$program ./cmd/$$program || exit 1; done
	@# With sudo in somebody's clone, what is built is theirs, to build anew and to clean.
	@[ "$$(id -u)" -ne 0 ] || chown -Rh --reference=Makefile $(BIN) || true

install: build ## install the programs, units, manuals and completion; DESTDIR: below that folder
	sh ifupdown/package/stage.sh $(BIN) '$(or $(DESTDIR),/)'

deb: build ## make a Debian package of the programs, in dist
	@mkdir -p $(DIST)
	@bash ifupdown/package/package.sh deb $(BIN) $$($(GO) env GOARCH) $(DIST)

rpm: build ## make an RPM package of the programs, in dist
	@mkdir -p $(DIST)
	@bash ifupdown/package/package.sh rpm $(BIN) $$($(GO) env GOARCH) $(DIST)

release: ## make programs and Debian packages for every processor and their checksums, in dist; the same bytes each time
	bash ifupdown/package/release.sh $(DIST)

demo: deps-demo build ## two hosts in network namespaces, a fan, ping and iperf3 between containers (root)
	bash tests/demo/demo.sh bin/fanctl

demo-docker: deps-demo-docker build ## two hosts with real Docker, fanatic, iperf3 between containers (root)
	bash tests/demo/demo-docker.sh bin/fanctl

test: deps ## all tests but those in VMs and of packages (root)
	$(GO) vet ./...
	GO='$(GO)' bash tests/all.sh $(TESTFLAGS)

test-unit: ## the tests that need neither root nor Debian packages
	$(GO) test ./fan/... ./internal/plan/... ./internal/firewall/...

test-arch: deps-arch ## the tests that need no kernel of their own for arm, arm64, 386, ppc64le and s390x, under QEMU; PROCESSORS='s390x arm'
	PROCESSORS='$(PROCESSORS)' $(GO) test -tags arch -count 1 -v -timeout 60m $(TESTFLAGS) ./tests/arch

test-vm: deps deps-vm ## the whole-program tests on Debian's kernels under QEMU; KERNEL='5.10 6.12', RUN=full, core or Reach, PATHS='ipip by device,vxlan'
	KERNEL='$(KERNEL)' RUN='$(RUN)' PATHS='$(PATHS)' $(GO) test -tags vm -count 1 -v -parallel 2 -timeout 80m $(TESTFLAGS) ./tests/vm

test-vm-arch: deps deps-vm deps-vm-arch ## a fan by every path on Debian's kernels for other processors; ARCH='s390x arm64 386', KERNEL, RUN
	for arch in $(or $(ARCH),s390x arm64); do ARCH=$$arch KERNEL='$(or $(KERNEL),6.1)' RUN='$(or $(RUN),^TestReach$$/./(ping|UDP|address|host))' $(GO) test -tags vm -count 1 -v -timeout 40m $(TESTFLAGS) -run TestKernels ./tests/vm || exit 1; done

kernels: deps deps-vm ## write docs/kernels.md: what Debian's kernels can do, as they say in QEMU
	UPDATE=yes $(GO) test -tags vm -count 1 -v -parallel 2 -timeout 40m -run TestSmoke ./tests/vm

test-install: deps deps-install ## the packages in a fresh Debian and under systemd, a release built twice (root)
	$(GO) test -tags install -count 1 -timeout 40m $(TESTFLAGS) ./tests/install

test-containers: deps deps-containers ## fanatic with real Docker 20 and 28, LXD and Incus (root)
	$(GO) test -tags containers -count 1 -parallel 4 -timeout 30m $(TESTFLAGS) ./tests/containers

bench-vm: deps deps-vm ## the benchmarks there, a nanosecond being an instruction; BENCH: their flags
	KERNEL='$(or $(KERNEL),6.12)' BENCH='$(BENCH)' $(GO) test -tags vm -count 1 -v -timeout 40m -run TestBench ./tests/vm

bench: deps deps-demo-docker build ## packets/s, TCP, round trips and CPU of every path and of Docker Swarm, as ratios of one run (root); DOC=docs, FLAGS='-beds 1'
	$(GO) build -o $(BIN)/fanbench ./tests/bench
	FANCTL=$(abspath $(BIN))/fanctl $(BIN)/fanbench -doc $(or $(DOC),$(DIST)/bench) $(FLAGS)
	@# With sudo in somebody's clone, what is written is theirs.
	@[ "$$(id -u)" -ne 0 ] || chown -Rh --reference=Makefile $(BIN) $(if $(DOC),$(DOC)/bench.*,$(DIST)) || true

fuzz: ## every fuzz target for FUZZTIME (default 30s)
	GO='$(GO)' FUZZTIME=$(FUZZTIME) bash tests/fuzz.sh

lint: ## gofmt, go vet, staticcheck and golangci-lint
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "gofmt: $$files"; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags vm,install,containers,arch ./tests/vm/... ./tests/install/... ./tests/containers/... ./tests/arch/...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION) -tags vm,install,containers,arch ./...
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) run --build-tags vm,install,containers,arch ./...

generate: deps-generate ## compile the eBPF programs (clang 14)
	$(GO) generate ./tunnel/bpf

check-generated: generate ## fail if the committed eBPF objects are not what the C compiles to
	git diff --exit-code -- tunnel/bpf

deps: ## install the Debian packages that the tests use (root)
	bash tests/deps.sh iproute2 iptables nftables iperf3 iputils-ping busybox-static procps ifupdown dnsmasq-base firewalld ufw dbus man-db mandoc bash bash-completion zsh fish qemu-user-static

deps-demo:
	bash tests/deps.sh iproute2 iptables iperf3 iputils-ping

deps-demo-docker: deps-demo
	bash tests/deps.sh docker.io busybox-static

deps-arch:
	bash tests/deps.sh qemu-user-static

deps-vm-arch:
	bash tests/deps.sh qemu-system-misc qemu-system-arm

deps-vm:
	bash tests/deps.sh qemu-system-x86 busybox-static iproute2 iptables nftables iperf3 iputils-ping kmod

deps-install:
	bash tests/deps.sh mmdebstrap make git iproute2 rpm

deps-containers:
	bash tests/deps.sh systemd docker.io lxd lxd-client mmdebstrap busybox-static udhcpc iperf3 dnsmasq-base iptables iproute2

deps-generate:
	bash tests/deps.sh clang-14 llvm-14 libbpf-dev linux-libc-dev

clean: ## remove what was built
	rm -rf bin dist out
