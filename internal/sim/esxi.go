package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// httpBoot reports whether the firmware boots over HTTP: that of a server which is to be
// installed with ESXi.
func (d *device) httpBoot() bool {
	return d.spec.Install != nil && d.spec.Install.Installer == rack.ESXi
}

// bootHTTP is UEFI HTTP boot (protocol facts §1a, §2): an offer without a URL is no offer
// to it. It returns as bootNetwork does.
func (h *host) bootHTTP(ctx context.Context) bool {
	h.booted("http-boot")
	d := h.dev
	if len(d.nics) == 0 {
		return false
	}
	s := d.sim
	first, most := s.tempo.scaled(pxeFirst, floorDHCP), s.tempo.scaled(pxeMost, floorDHCP)
	backoff := retries{first, most, 0}
	named := func(l *lease) bool { return strings.HasPrefix(l.file, "http://") }
	for n, nic := 0, 0; ctx.Err() == nil; n++ {
		if s.withoutDHCP(ctx, d.spec.Name, rack.Discovery, first) {
			continue
		}
		e := d.nics[nic]
		if d.phase() == rack.Discovery && d.take(rack.Discovery, FaultSilent) {
			return h.fallSilent(ctx, e, httpBoot(d.guid))
		}
		l, err := s.acquireOf(ctx, e, httpBoot(d.guid), retries{first, most, 4}, d.declines, named)
		switch {
		case errors.Is(err, errNoAnswer):
			nic = (nic + 1) % len(d.nics)
			continue
		case err == nil && s.fabric.hold(l.address, e) && !d.fetchesNothing():
			d.enter(rack.Installation)
			return h.installESXi(ctx, e, l.file)
		}
		if pause(ctx, backoff.wait(min(n, 8))) != nil {
			return false
		}
	}
	return false
}

// bootConfig is what mboot reads of a boot.cfg.
type bootConfig struct {
	files []string // URLs: the kernel, then its modules
	ks    string   // URL of the answers
}

// parseBootCfg reads a boot.cfg: prefix=, kernel=, modules= and the ks= of kernelopt=
// (VMware ESXi Installation and Setup, "About the boot.cfg File").
func parseBootCfg(text []byte) (*bootConfig, error) {
	keys := map[string]string{}
	for l := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
			keys[key] = value
		}
	}
	c := &bootConfig{}
	for name := range strings.SplitSeq(keys["kernel"]+" --- "+keys["modules"], "---") {
		name, _, _ := strings.Cut(strings.TrimSpace(name), " ") // what follows are its options
		if name == "" || strings.HasPrefix(name, "/") || !strings.HasPrefix(keys["prefix"], "http://") {
			return nil, fmt.Errorf("boot.cfg names %q with the prefix %q: there is no such file", name, keys["prefix"])
		}
		c.files = append(c.files, keys["prefix"]+"/"+name)
	}
	for w := range strings.FieldsSeq(keys["kernelopt"]) {
		if u, ok := strings.CutPrefix(w, "ks="); ok {
			c.ks = u
		}
	}
	if c.ks == "" {
		return nil, errors.New("boot.cfg names no answers: the installer would ask a person")
	}
	return c, nil
}

// answersESXi is what weasel, the installer, reads of a ks.cfg, and what its scripts do.
type answersESXi struct {
	ticket     string
	disk       string
	overwrites string // what %pre lets be overwritten
	blank      string // SHA-256 of the head of a blank disk
	report     string // URL of the reports, without the state
	ssh        bool   // %firstboot lets SSH in
}

var (
	ksTicket     = regexp.MustCompile(`(?m)^# rackreach: .* ticket (\S+)$`)
	ksDisk       = regexp.MustCompile(`(?m)^install --disk=(\S+)`)
	ksRoot       = regexp.MustCompile(`(?m)^rootpw --iscrypted \S+$`)
	ksJudge      = regexp.MustCompile(`(?m)^if head != "([0-9a-f]{64})" and holds != "([^"]*)":$`)
	ksInstalled  = regexp.MustCompile(`urlopen\("(http://[^"]+/report)/installed"`)
	ksStartSSH   = regexp.MustCompile(`(?m)^vim-cmd hostsvc/start_ssh$`)
	ksEULA       = regexp.MustCompile(`(?m)^vmaccepteula$`)
	ksFirstboot  = regexp.MustCompile(`(?m)^%firstboot --interpreter=busybox$`)
	ksBootsAgain = regexp.MustCompile(`(?m)^reboot$`)
)

func parseKS(text []byte) (*answersESXi, error) {
	for what, r := range map[string]*regexp.Regexp{"vmaccepteula": ksEULA, "rootpw": ksRoot, "reboot": ksBootsAgain, "%firstboot": ksFirstboot} {
		if !r.Match(text) {
			return nil, fmt.Errorf("ks.cfg has no %s", what)
		}
	}
	one := func(r *regexp.Regexp, n int) string {
		if m := r.FindSubmatch(text); m != nil {
			return string(m[n])
		}
		return ""
	}
	k := &answersESXi{ticket: one(ksTicket, 1), disk: one(ksDisk, 1), blank: one(ksJudge, 1), overwrites: one(ksJudge, 2), report: one(ksInstalled, 1), ssh: ksStartSSH.Match(text)}
	if k.disk == "" || k.blank == "" || k.report == "" {
		return nil, errors.New("ks.cfg names no disk, judges none, or reports to nobody")
	}
	return k, nil
}

// installESXi loads what mboot.efi loads, in its order, and installs as ks.cfg says. It
// returns false when the machine stands still: mboot and the installer stop at an error,
// and wait for a person.
func (h *host) installESXi(ctx context.Context, e *end, mboot string) (installed bool) {
	d := h.dev
	k, err := h.loadESXi(ctx, e, mboot)
	if err != nil {
		d.sim.record.add(kindInstallFailed, d.spec.Name, nil, detail{"reason": short(err.Error())})
		return false
	}
	found := h.readDisk()
	head := ""
	if what := found.holds(); what != "" {
		sum := sha256.Sum256([]byte(what))
		head = hex.EncodeToString(sum[:])
	}
	if holds := "foreign:head-" + head; head != "" && holds != k.overwrites {
		d.sim.record.add(kindInstallRefused, d.spec.Name, nil, detail{"ticket": k.ticket, "holds": found.holds()})
		d.post(ctx, e, k.report+"/refused", []byte(holds))
		return false
	}
	d.sim.record.add(kindInstallStarted, d.spec.Name, nil, detail{"ticket": k.ticket, "answers": "ks.cfg"})
	h.writeDisk(func(x *disk) { *x = disk{foreign: "half an ESXi of " + k.ticket} })
	if d.take(rack.Installation, FaultError) {
		d.sim.record.add(kindInstallFailed, d.spec.Name, nil, detail{"reason": "input/output error (injected)"})
		return false // it stops at its red screen: no script of a ks.cfg is run then
	}
	if d.write(ctx) != nil {
		d.sim.record.add(kindInstallFailed, d.spec.Name, nil, detail{"reason": "power was lost"})
		return false
	}
	h.writeDisk(func(x *disk) {
		*x = disk{bootable: true, foreign: "ESXi of " + k.ticket, system: systemESXi, hostname: "localhost", console: k.ssh}
	})
	d.sim.record.add(kindInstallCompleted, d.spec.Name, nil, detail{"ticket": k.ticket})
	d.post(ctx, e, k.report+"/installed", []byte("the installer of ESXi is done"))
	return ctx.Err() == nil
}

// loadESXi fetches the boot loader and what it boots, and then its answers.
func (h *host) loadESXi(ctx context.Context, e *end, mboot string) (*answersESXi, error) {
	d := h.dev
	if err := d.fetchAll(ctx, e, mboot); err != nil {
		return nil, err
	}
	folder := mboot[:strings.LastIndexByte(mboot, '/')]
	// Beside it, unless this version of mboot has none (protocol facts §2).
	if err := d.fetchAll(ctx, e, folder+"/crypto64.efi"); err != nil && !final(err) {
		return nil, err
	}
	text, err := d.request(ctx, e, http.MethodGet, folder+"/01-"+strings.ReplaceAll(e.mac.String(), ":", "-")+"/boot.cfg", nil, http.StatusOK)
	if final(err) {
		text, err = d.request(ctx, e, http.MethodGet, folder+"/boot.cfg", nil, http.StatusOK)
	}
	if err != nil {
		return nil, err
	}
	c, err := parseBootCfg(text)
	if err != nil {
		return nil, err
	}
	for i, url := range c.files {
		if i > 0 {
			if err := d.fetchAll(ctx, e, url); err != nil {
				return nil, err
			}
			continue
		}
		sum := sha256.New()
		damaged := d.take(rack.Installation, FaultCorruptImage)
		n, err := d.download(ctx, e, url, nil, sum)
		if err != nil {
			return nil, err
		}
		d.sim.recordVia(kindImageCompleted, e, detail{"bytes": strconv.FormatInt(n, 10), "digest": hexOf(sum.Sum(nil))})
		if damaged {
			return nil, errors.New("mboot: the kernel is damaged") // it holds a signature
		}
	}
	ks, err := d.request(ctx, e, http.MethodGet, c.ks, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(ks, []byte(d.spec.Name)) {
		return nil, fmt.Errorf("the ks.cfg at %s does not know %s", c.ks, d.spec.Name)
	}
	return parseKS(ks)
}

// fetchAll reads a file to its end.
func (d *device) fetchAll(ctx context.Context, e *end, url string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	a, err := d.sim.httpClient(e).Do(q)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, a.Body)
	err = errors.Join(err, a.Body.Close())
	switch {
	case a.StatusCode != http.StatusOK:
		return &statusError{"GET " + url, a.StatusCode}
	case err == nil && n == 0:
		return fmt.Errorf("GET %s: it is empty", url)
	}
	return err
}

// Commands of ESXi (ESXCLI Reference 8.0).
const esxiAdvanced = "esxcli system settings advanced "

var (
	esxiHostname = regexp.MustCompile(`^esxcli system hostname set --fqdn=([a-z0-9.-]+)$`)
	esxiMOTD     = regexp.MustCompile(`^` + esxiAdvanced + `set --option=/Config/Etc/motd --string-value='([^']+)'$`)
	esxiDNS      = regexp.MustCompile(`^(?:esxcli network ip dns server add --server=[0-9.]+; )*true$`)
	esxiNTP      = regexp.MustCompile(`^esxcli system ntp set --enabled=true(?: --server=[0-9.]+)+$`)
	esxiSyslog   = regexp.MustCompile(`^esxcli system syslog config set --loghost=udp://[0-9.]+:514 && esxcli system syslog reload$`)
)

// motd is where the setting is kept.
const motd = "/etc/motd"

// obeyESXi runs a command of ESXi.
func (h *shell) obeyESXi(command string, c io.ReadWriter) error {
	if m := esxiHostname.FindStringSubmatch(command); m != nil {
		h.host.writeDisk(func(x *disk) { x.hostname = m[1] })
		return nil
	}
	if m := esxiMOTD.FindStringSubmatch(command); m != nil {
		return h.put(motd, []byte(m[1]))
	}
	if esxiDNS.MatchString(command) || esxiNTP.MatchString(command) || esxiSyslog.MatchString(command) {
		return nil
	}
	x := h.host.readDisk()
	name, domain, _ := strings.Cut(x.hostname, ".")
	var err error
	switch command {
	case "/sbin/auto-backup.sh":
		h.host.dev.sim.record.add(kindConfigApplied, h.host.dev.spec.Name, nil, detail{})
	case esxiAdvanced + "list --option=/Config/Etc/motd":
		err = h.shows(c, fmt.Sprintf("   Path: /Config/Etc/motd\n   Type: string\n   Int Value: 0\n   Default Int Value: 0\n   Min Value: 0\n   Max Value: 0\n   String Value: %s\n   Default String Value: \n   Valid Characters: ^.*$\n   Description: Message of the day\n", x.files[motd]))
	case "esxcli system hostname get":
		_, err = fmt.Fprintf(c, "   Domain Name: %s\n   Fully Qualified Domain Name: %s\n   Host Name: %s\n", domain, x.hostname, name)
	case "vmware -v":
		_, err = io.WriteString(c, "VMware ESXi 8.0.3 build-simulated\n")
	default:
		err = fmt.Errorf("%.40q: not found", command)
	}
	return err
}
