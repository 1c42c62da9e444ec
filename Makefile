# Targets of rackreach; `make help` lists them. CI runs the same ones.
GO ?= go

.PHONY: help
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build rackreach, and rackreach-init beside it
	$(GO) build -o rackreach ./cmd/rackreach
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o rackreach-init ./cmd/rackreach-init

.PHONY: test
test: ## all tests, under the race detector
	$(GO) test -race ./...

# The crash harness ends the real binary by SIGKILL and starts it again; what it
# is told by environment variables stands in cmd/rackreach/kill_test.go.
KILL = $(GO) test -tags kill -count=1 -run 'TestKilled' -timeout 60m -parallel 12 ./cmd/rackreach

.PHONY: kill
kill: ## kill the agent at every boundary of its journal, and at 100 random moments
	$(KILL)

.PHONY: soak
soak: ## the same at every boundary of a rack of 9 devices, and at 2000 random moments (half an hour)
	KILL_RACK=testdata/rack-9.yaml $(KILL) -run TestKilledAtEveryBoundary
	KILL_RANDOM=2000 $(KILL) -run TestKilledAtRandom

.PHONY: proof-transport
proof-transport: ## what proto.actor's remote and our bus lose when a peer is frozen and killed (docs/adr/0001)
	$(GO) test -tags proof -count=1 -v -run 'TestProof$$' -timeout 10m ./internal/bus

# A bench by its command. The lines RESULT are the last ones: go test says more after them.
define bench
@mkdir -p dist && rm -f dist/$@.failed
@{ $(1) || touch dist/$@.failed; } 2>&1 | tee dist/$@.log
@test ! -e dist/$@.failed && grep '^RESULT ' dist/$@.log
endef

.PHONY: bench-fleet
bench-fleet: ## 10, 100 and 1,000 agents' streams, each with the same recorded run, at once against one coordinator (15 minutes)
	$(call bench,$(GO) test -tags bench -count=1 -v -run TestFleetBench -timeout 60m ./cmd/rackreach)

# Needs root and Debian's packages iproute2, kea-dhcp4-server, kea-admin, dnsmasq-base
# and strace; what it is told by environment variables stands in bench_dhcp_test.go.
.PHONY: bench-dhcp
bench-dhcp: ## our DHCP service, Kea and dnsmasq in turns under perfdhcp (20 minutes, on a quiet machine)
	$(call bench,$(GO) test -tags bench -count=1 -v -run 'TestDHCPBench|TestReadTrace|TestReadLoaded' -timeout 60m ./cmd/rackreach)

# Needs root and Debian's packages iproute2, nginx, atftpd, atftp and dnsmasq-base, and a
# mirror of Debian for tftpd-hpa, which is unpacked only;
# what it is told by environment variables stands in bench_images_test.go.
.PHONY: bench-images
bench-images: ## our boot services beside nginx over HTTP, and beside atftpd, tftpd-hpa and dnsmasq over TFTP; a rack on links of 1 Gb/s; bench-installer (12 minutes, on a quiet machine)
	$(call bench,$(GO) test -tags bench -count=1 -v -run TestImagesBench -timeout 60m ./cmd/rackreach && \
		$(GO) test -tags bench -count=1 -v -run TestInstallerBench -timeout 20m ./internal/installer)

# Needs Debian's packages openipmi, freeipmi-tools and ipmitool.
.PHONY: bench-bmc
bench-bmc: ## power state of 100 BMCs: ours, ipmipower, ipmitool in turns; 1,000 sessions polled (1 minute, on a quiet machine)
	$(call bench,$(GO) test -tags bench -count=1 -v -run TestBMCBench -timeout 10m ./internal/power)

# The real binary on hosts that are network namespaces: needs root and iproute2.
NETNS = $(GO) test -tags netns -count=1 -v

.PHONY: bench-installer
bench-installer: ## an installation beside what limits it: network, zstd, disk (3 minutes, 6 GB of disk)
	$(call bench,$(GO) test -tags bench -count=1 -v -run TestInstallerBench -timeout 20m ./internal/installer)

.PHONY: netns
netns: ## a coordinator and two agents on hosts of their own, two on one segment, a lost one that lives, and discovery on real interfaces, a management switch (needs root, iproute2, dnsmasq-base, lldpd, openssh-server, snmpd)
	$(NETNS) -run 'TestFleetInNamespaces|TestSiblings|TestAdopt|TestApply|TestProxy|TestSwitch|TestDiscover|TestListen|TestPreflight' -timeout 8m ./cmd/rackreach
	$(GO) test -tags netns -race -count=1 -timeout 5m ./discovery/... ./internal/adjacency ./internal/nstest ./internal/snmp ./internal/tftp

# Needs Debian's packages iproute2, tcpdump, udhcpc, isc-dhcp-client, dhcpcd-base,
# isc-dhcp-relay, kea-admin, dnsmasq-base and libfaketime, for TFTP tftp-hpa, atftp, curl
# and busybox; the tests say what is missing.
.PHONY: clients
clients: ## clients of DHCP and TFTP and a relay that others wrote, against our services (needs root)
	$(NETNS) -run 'TestClients|TestLossyCable|TestReadLoaded' -timeout 5m ./cmd/rackreach
	$(GO) test -tags system -count=1 -run TestClients -timeout 5m ./internal/tftp

# Needs Debian's packages qemu-system-x86, ipxe-qemu, ipxe, ovmf, dnsmasq-base and tcpdump.
.PHONY: lab-firmware
lab-firmware: ## machines with real firmware in QEMU boot from our services (needs root)
	$(GO) test -tags lab -count=1 -v -run TestFirmware -timeout 10m ./lab

# Needs those and debian-installer-12-netboot-amd64.
.PHONY: lab-debian
lab-debian: ## Debian's own installer in QEMU boots from our services and obeys its answer file (needs root, 2 minutes)
	$(GO) test -tags lab -count=1 -v -run TestDebianInstaller -timeout 5m ./lab

# Needs Debian's packages cloud-init and debconf; the tests say what is missing.
.PHONY: answer-files
answer-files: ## answer files as those read them whom they are for: debconf, cloud-init, shells, Python
	$(GO) test -tags answers -count=1 -timeout 5m ./internal/answerfile
# Needs those, and mtools, syslinux, syslinux-common, systemd-boot-efi, fdisk, kmod, gdisk,
# and linux-image-cloud-amd64, or LAB_KERNEL, the folder where that is unpacked.
.PHONY: lab-installer
lab-installer: ## machines in QEMU are installed and boot what was written; block devices of this kernel (needs root)
	$(GO) test -tags lab -race -count=1 -run 'Loop' -timeout 5m ./internal/installer
	$(GO) test -tags lab -count=1 -v -run TestInstaller -timeout 10m ./lab

# A rack of machines. Each target installs the Debian packages that are missing; it needs
# root. Each test leaves a report in a folder of LAB_REPORT: consoles, recordings, timeline,
# events.
LAB_REPORT ?= dist/lab-report
LAB_RACK = ./lab/testdata/rack/install.sh && LAB_REPORT='$(abspath $(LAB_REPORT))' $(GO) test -tags lab -count=1 -v
.PHONY: lab-judges
lab-judges: ## what the rack of machines is judged by, on recordings and files that are made up (seconds, without QEMU)
	$(GO) test -tags lab -count=1 -run TestJudge ./lab

.PHONY: lab
lab: ## a whole rack of machines in QEMU, from power-off to ready, with real firmware, BMCs and disks (needs root; 3 to 10 minutes)
	@mkdir -p dist && rm -f dist/lab-result
	LAB_RESULT=$(CURDIR)/dist/lab-result; export LAB_RESULT; $(LAB_RACK) -run 'TestRack$$' -timeout 30m ./lab
	@cat dist/lab-result

.PHONY: lab-two-racks
lab-two-racks: ## two such racks, smaller, joined by inter-rack switches: a coordinator and two agents image them at once (needs root; 5 to 15 minutes)
	@mkdir -p dist && rm -f dist/lab-two-racks-result
	LAB_RESULT=$(CURDIR)/dist/lab-two-racks-result; export LAB_RESULT; $(LAB_RACK) -run 'TestTwoRacks$$' -timeout 60m ./lab
	@cat dist/lab-two-racks-result

.PHONY: lab-faults
lab-faults: ## the same rack with faults: a failing installer, a dead BMC, wrong disks, a silent server, a killed agent, a coordinator that is away (35 minutes at most)
	$(LAB_RACK) -run 'TestRackFault' -timeout 60m ./lab

.PHONY: lab-ci
lab-ci: ## the rack and two of its faults
	$(LAB_RACK) -run 'TestRack$$|TestRackFaultBMC|TestRackFaultAgentKilled' -timeout 30m ./lab

# Needs Debian's packages qemu-system-x86, busybox, iproute2 and linux-image-cloud-amd64, or
# LAB_KERNEL, the folder where that is unpacked.
.PHONY: lab-switch
lab-switch: ## a management switch in QEMU keeps VLANs apart as its platform says, and takes a bad one back (2 minutes)
	$(GO) test -tags lab -count=1 -v -run TestSwitchVLANs -timeout 10m ./lab

.PHONY: fleet-faults
fleet-faults: ## the same at full length: minutes away, a full disk, a NATS cluster that loses its leader, a lost agent, clocks that are an hour off (7 minutes)
	$(NETNS) -run 'TestFleetFault' -timeout 20m ./cmd/rackreach

.PHONY: bundles
bundles: ## bundles to and from Debian's docker-registry, and on a full disk (needs that package, and root)
	$(GO) test -tags system -count=1 -run 'RealRegistry|FullDisk' -timeout 5m ./internal/bundle

# Needs Debian's packages openipmi, ipmitool and freeipmi-tools; the tests say what is missing.
.PHONY: bmc-peers
bmc-peers: ## a BMC that others wrote against our client, and clients that others wrote against our BMC
	$(GO) test -tags system -race -count=1 -run TestPeer -timeout 2m ./internal/power ./internal/sim

# Needs Debian's package openssh-server; the tests say what is missing.
.PHONY: peers
peers: ## SSH against Debian's OpenSSH server on loopback (needs root)
	$(GO) test -tags system -race -count=1 -run OpenSSH -timeout 5m ./internal/ssh

.PHONY: lint
lint: ## gofmt, vet, staticcheck, tidy go.mod, buf lint
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags kill,crashtest,bench ./cmd/rackreach
	$(GO) vet -tags netns ./cmd/rackreach ./discovery/... ./internal/adjacency ./internal/nstest ./internal/snmp ./internal/tftp
	$(GO) vet -tags lab ./lab ./internal/installer
	$(GO) vet -tags bench ./cmd/rackreach ./cmd/rackreach/testdata/nullresponder ./cmd/rackreach/testdata/bootserver
	$(GO) vet -tags bench ./actors ./internal/installer ./internal/power
	$(GO) vet -tags proof ./internal/bus
	$(GO) vet -tags system ./internal/bundle ./internal/power ./internal/sim ./internal/ssh ./internal/tftp
	$(GO) vet -tags answers ./internal/answerfile
	$(GO) vet -tags prometheus ./cmd/rackreach ./deploy/...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) tool buf lint

.PHONY: generate
generate: ## generate messages/ and the API's reference from proto/
	$(GO) tool buf generate

.PHONY: generate-check
generate-check: ## fail when what is generated is not what proto/ says
	$(GO) tool buf generate
	git diff --exit-code -- messages docs/api.md docs/openapi.yaml

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what we call
	$(GO) tool govulncheck ./...

FUZZTIME ?= 10s
FUZZ ?= .
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each; with FUZZ=PATTERN those whose "FOLDER NAME" has it: FUZZ=lease FUZZTIME=1h
	@set -e; ran=; for d in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$d/*_test.go | cut -c6-); do \
			echo "$$d $$f" | grep -q -e '$(FUZZ)' || continue; ran=yes; \
			echo "fuzz $$d $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$d; done; done; \
		test -n "$$ran" || { echo "no fuzz target is called $(FUZZ)"; exit 2; }

# Needs Debian's packages prometheus and systemd, and dpkg; the tests say what is missing.
.PHONY: prometheus
prometheus: ## rules by promtool, a fleet and every query of the dashboard by a real Prometheus
	$(GO) test -tags prometheus -count=1 -timeout 10m -skip 'Package|Unit|EmptyRoot' ./deploy/...
	$(GO) test -tags prometheus -count=1 -timeout 10m -run 'TestPrometheus' ./cmd/rackreach

.PHONY: deploy-check
deploy-check: ## what else deploy/ holds: units by systemd-analyze, the Debian package by dpkg, the program in an empty root
	$(GO) test -tags prometheus -count=1 -timeout 20m -run 'Package|Unit|EmptyRoot' ./deploy/...

# The last release and what came after it; 0.0.0+gitDATE.COMMIT before the first one.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-/+/' | grep . || git log -1 --format=0.0.0+git%cd.%h --date=format:%Y%m%d)
ARCH ?= $(shell $(GO) env GOARCH)
NFPM = $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
.PHONY: build-static
build-static: ## build dist/root/rackreach and rackreach-init, which need no library, for packages and containers
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w' -o dist/root/rackreach ./cmd/rackreach
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w' -o dist/root/rackreach-init ./cmd/rackreach-init

# The same source makes the same package: its times are that of the commit.
.PHONY: package
package: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
package: build-static ## build dist/rackreach_VERSION_ARCH.deb
	rm -rf dist/root/man dist/root/completion
	mkdir -p dist/root/completion
	$(GO) build -o dist/host/rackreach ./cmd/rackreach
	dist/host/rackreach man dist/root/man
	gzip -9n dist/root/man/*.1
	for shell in bash zsh fish; do dist/host/rackreach completion $$shell >dist/root/completion/rackreach.$$shell || exit 1; done
	VERSION='$(VERSION)' ARCH='$(ARCH)' $(NFPM) package --config deploy/nfpm.yaml --packager deb --target dist/rackreach_$(VERSION)_$(ARCH).deb

.PHONY: demo
demo: ## image the three example racks
	$(GO) run ./cmd/rackreach demo
	$(GO) run ./cmd/rackreach demo --rack examples/rack-2.yaml
	$(GO) run ./cmd/rackreach demo --rack examples/rack-42u.yaml

.PHONY: ci
ci: ## everything that CI runs
	./.ci/run
