package answerfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Job is one installation of one device.
type Job struct {
	Rack   *rack.Rack // validated
	Device string     // with an Install

	Ticket string // its id
	Run    string
	// Base is the URL below which the device finds its files, with its one-time token.
	Base string
	// Overwrites is what may be overwritten on the disk, word for word as the files
	// say that it holds it; empty: nothing.
	Overwrites string
	// PasswordHash is what the device's reference stands for.
	PasswordHash Secret
	Template     []byte // for the main file; nil: the one that is embedded
	// BootCfg is the boot.cfg of the ESXi that is installed, and Folder lists the
	// files beside it, as they are kept.
	BootCfg []byte
	Folder  []string
}

// The files that an installer reads, the main one first.
var files = map[rack.Installer][]string{
	rack.ESXi:        {"ks.cfg", "boot.cfg"},
	rack.Kickstart:   {"ks.cfg"},
	rack.Preseed:     {"preseed.cfg", "disk.sh", "late.sh"},
	rack.Autoinstall: {"user-data", "meta-data", "vendor-data"},
	rack.DiskImage:   {"user-data", "meta-data"}, // of cloud-init in the image
}

// Files lists the files that an installer reads, the main one first.
func Files(i rack.Installer) []string { return slices.Clone(files[i]) }

// FilesOf lists those of a device as it is installed, the main one first.
func FilesOf(x *rack.Install) []string {
	out := Files(x.Installer)
	if x.Installer == rack.DiskImage && x.Static {
		out = append(out, "network-config")
	}
	return out
}

// Below the base URL: where a device tells how it ended.
const (
	Installed = "report/installed"
	Failed    = "report/failed"
	Refused   = "report/refused" // the body is what the disk holds
)

// MBoot is the name under which ESXi's boot loader is asked for.
const MBoot = "mboot.efi"

// Args are what the kernel of a Linux installer is told besides its own; none for
// ESXi, whose boot.cfg says it.
func (j *Job) Args() []string {
	d, ok := j.Rack.Device(j.Device)
	if !ok || !d.Answered() {
		return nil
	}
	switch d.Install.Installer {
	case rack.Preseed:
		// What is asked before the file is fetched is answered here (installation-guide,
		// appendix B.2.2 and B.2.3); a network without a router, or without name servers,
		// is asked about too (measured).
		domain := j.Rack.Services.Domain
		if domain == "" {
			domain = "unassigned-domain"
		}
		nameserver := "" // and no question
		if dns := j.Rack.Services.DNS; len(dns) > 0 {
			nameserver = dns[0].String()
		}
		return []string{"auto=true", "priority=critical", "interface=auto", "netcfg/no_default_route=true", "netcfg/get_nameservers=" + nameserver, "hostname=" + d.Name, "domain=" + domain, "url=" + j.url("preseed.cfg")}
	case rack.Kickstart:
		return []string{"inst.ks=" + j.url("ks.cfg"), "inst.repo=" + d.Install.Source, "inst.text", "ip=dhcp"}
	case rack.Autoinstall:
		return []string{"autoinstall", "ip=dhcp", "url=" + d.Install.Source, "cloud-config-url=/dev/null", "ds=nocloud-net;s=" + j.Base + "/"}
	}
	return nil
}

func (j *Job) url(file string) string { return j.Base + "/" + file }

// What of a disk is looked at to find whether it is blank.
const (
	// lookedAt is how many bytes at each of its ends: partition tables, the heads of file
	// systems, LVM and RAID members, and their copies at the end are there.
	lookedAt = 1 << 20
	// samples is how many samples of sampled bytes in between, which a disk whose tables
	// were wiped still has: 64 seeks take a slow disk a second.
	samples = 64
	sampled = 64 << 10
)

// values are what templates print.
type values struct {
	Rack, Device, Host, Domain, FQDN string
	Ticket, Instance, Receipt        string
	Address, Netmask, Gateway        string
	CIDR                             string
	DNS, NTP                         []netip.Addr
	MAC                              string // of the first own interface; empty: unknown
	Static                           bool
	Source                           string
	SourceHost, SourcePath           string
	SourceScheme                     string
	DiskPath, DiskSerial             string
	DiskName                         string // last element of its path
	DiskMin, DiskMax                 int64  // bytes; 0: no bound
	Overwrites                       string
	Blank                            string // SHA-256 of both ends of a disk that holds nothing
	BlankHead                        string // of the first end
	BlankMiddle                      string // of the samples between
	LookedAt                         int
	Samples                          int
	PasswordHash                     Secret
	HasPassword                      bool
	Keys                             []string
	Syslog                           string // URL of the site's log server, as ESXi writes it; empty: none
	LogsIn                           bool   // rackreach logs in to the installed system
	Base                             string
	Report, Installed                string // URLs: of all reports, of that of success
	Failed, Refused                  string
	ReportPath, AgentHost, AgentPort string // parts of Report
	Installer                        rack.Installer
}

// ErrJob says that a job cannot be done as the rack file says it. It is wrapped.
var ErrJob = errors.New("no answer file")

func (j *Job) values() (*values, *rack.Install, error) {
	d, ok := j.Rack.Device(j.Device)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s is not a device of rack %s", ErrJob, j.Device, j.Rack.Name)
	}
	x := d.Install
	if !d.Answered() && !d.Seeded() {
		return nil, nil, fmt.Errorf("%w: %s is installed by rackreach itself: write install: into the rack file for its system's own installer, or seed: for cloud-init in its image", ErrJob, d.Name)
	}
	prefix, gateway := j.Rack.Prefix(d.Home()), j.Rack.Router(d.Home())
	v := &values{
		Rack: j.Rack.Name, Device: d.Name, Host: d.Name, Domain: j.Rack.Services.Domain, FQDN: d.Name,
		Ticket: j.Ticket, Instance: j.Ticket, Receipt: "receipt:" + j.Run + "/" + j.Ticket,
		Address: d.Address.String(), Netmask: netmask(prefix), CIDR: netip.PrefixFrom(d.Address, prefix.Bits()).String(),
		DNS: j.Rack.Services.DNS, NTP: j.Rack.Services.NTP, Static: x.Static, Source: x.Source,
		DiskPath: x.Disk.Path, DiskSerial: x.Disk.Serial, DiskMin: x.Disk.MinSize, DiskMax: x.Disk.MaxSize,
		Overwrites: j.Overwrites, Blank: zeros(2 * lookedAt), BlankHead: zeros(lookedAt), BlankMiddle: zeros(samples * sampled), LookedAt: lookedAt, Samples: samples,
		PasswordHash: j.PasswordHash, HasPassword: !j.PasswordHash.IsZero(), Keys: x.Keys,
		Base: j.Base, Installed: j.url(Installed), Failed: j.url(Failed), Refused: j.url(Refused), Installer: x.Installer,
	}
	agent, err := url.Parse(j.url("report"))
	if err != nil || agent.Scheme != "http" || agent.Hostname() == "" {
		return nil, nil, fmt.Errorf("%w: %.80q is no URL of an agent", ErrJob, j.Base)
	}
	v.Report, v.ReportPath, v.AgentHost, v.AgentPort = agent.String(), agent.EscapedPath(), agent.Hostname(), agent.Port()
	if v.AgentPort == "" {
		v.AgentPort = "80"
	}
	if v.Domain != "" {
		v.FQDN += "." + v.Domain
	}
	v.LogsIn = d.Access != nil
	if s := j.Rack.Services.Syslog; s.IsValid() {
		v.Syslog = "udp://" + s.String() + ":514"
	}
	if x.Disk.Path != "" {
		v.DiskName = path.Base(x.Disk.Path)
	}
	if gateway.IsValid() {
		v.Gateway = gateway.String()
	}
	if len(d.MACs) > 0 {
		v.MAC = d.MACs[0]
	}
	if x.Source != "" {
		u, err := url.Parse(x.Source)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: source of %s: %w", ErrJob, d.Name, err)
		}
		v.SourceScheme, v.SourceHost, v.SourcePath = u.Scheme, u.Host, "/"+strings.Trim(u.Path, "/")
	}
	switch {
	case x.Static && v.MAC == "" && (x.Installer == rack.Autoinstall || x.Installer == rack.DiskImage):
		return nil, nil, fmt.Errorf("%w: %s is to have a static address, and which of its interfaces is meant is told by its MAC: write that into the inventory, or leave static out", ErrJob, d.Name)
	case x.PasswordHash != "" && j.PasswordHash.IsZero():
		return nil, nil, fmt.Errorf("%w: %s: %s holds no hash of a password", ErrJob, d.Name, x.PasswordHash)
	case x.PasswordHash == "" && len(x.Keys) == 0 && x.Installer != rack.DiskImage: // an image may have its own
		return nil, nil, fmt.Errorf("%w: nobody could log in to %s: write passwordHash or keys under install", ErrJob, d.Name)
	}
	return v, x, nil
}

// netmask is a prefix as four decimal numbers.
func netmask(p netip.Prefix) string {
	var b [4]byte
	for bit := range max(0, min(p.Bits(), 32)) {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b).String()
}

// zeros is the SHA-256 of n zero bytes.
func zeros(n int) string {
	sum := sha256.Sum256(make([]byte, n))
	return hex.EncodeToString(sum[:])
}

// quoted lists names for a message.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return strings.Join(out, ", ")
}
