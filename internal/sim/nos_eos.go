package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// eosSwitch is Arista's EOS, with which its switches ship (protocol facts §1b, §2, §6).
// Without a startup-config it asks by DHCP, and lets nobody in.
var eosSwitch = &conduct{
	machine: "DCS-7050SX3-48YC8",
	ships:   true,
	static:  true,
	identity: func(d *device) identity {
		return identity{vendorClass("Arista;" + d.machine + ";01.23;" + d.serial), requests(1, 3, 6, 12, 15, 28, 42, 66, 67)}
	},
	firstBoot: eosZTP,
	run:       eosCommand,
}

// eosZTP fetches what option 67 names: a script when it begins with #!, else a
// startup-config.
func eosZTP(ctx context.Context, h *host, e *end, l *lease) (bool, error) {
	if !strings.Contains(l.file, "://") { // the whole URL
		return false, nil
	}
	d := h.dev
	header := http.Header{
		"X-Arista-Systemmac": {e.mac.String()}, "X-Arista-Modelname": {d.machine}, "X-Arista-Serial": {d.serial},
		"X-Arista-Hardwareversion": {"01.23"}, "X-Arista-Softwareversion": {h.readDisk().version}, "X-Arista-Architecture": {"i386"},
	}
	b, err := d.fetchSmall(ctx, e, l.file, header)
	if err != nil {
		return true, err
	}
	start := b
	if bytes.HasPrefix(b, []byte("#!")) {
		files, err := h.runScript(ctx, e, b, header)
		if err != nil {
			return true, err
		}
		start = files["/mnt/flash/startup-config"].head
		if err := h.flashed(files); err != nil {
			return true, err
		}
	}
	name, address, err := startupConfig(start)
	if err != nil {
		return true, err
	}
	key := ""
	if m := sshKeyLine.FindSubmatch(start); m != nil {
		key = string(m[1])
	}
	h.writeDisk(func(x *disk) { x.first.hostname, x.first.address, x.first.key = name, address, key })
	return true, nil
}

// flashed takes in what boot-config names, if it names something.
func (h *host) flashed(files map[string]scriptFile) error {
	config, ok := files["/mnt/flash/boot-config"]
	if !ok {
		return nil
	}
	name, ok := strings.CutPrefix(strings.TrimSpace(string(config.head)), "SWI=flash:")
	image, there := files["/mnt/flash"+name]
	if !ok || !there {
		return errors.New("boot-config: the image that boot-config names is not there")
	}
	digest := "sha256:" + image.digest
	version, _, _ := strings.Cut(string(bytes.TrimPrefix(image.head, []byte("SWI_VERSION="))), "\n")
	if !bytes.HasPrefix(image.head, []byte("SWI_VERSION=")) {
		version = ""
	}
	h.writeDisk(func(x *disk) {
		*x = disk{bootable: true, version: version, receipt: receipt{Digest: digest, State: receiptInstalled}}
	})
	h.dev.sim.record.add(kindInstallCompleted, h.dev.spec.Name, nil, detail{"digest": digest})
	return nil
}

// startupConfig is the name and the management address in a startup-config.
func startupConfig(b []byte) (name string, address netip.Prefix, err error) {
	on := ""
	for l := range strings.Lines(string(b)) {
		words := strings.Fields(l)
		switch {
		case len(words) == 2 && words[0] == "hostname":
			name = words[1]
		case len(words) == 2 && words[0] == "interface":
			on = words[1]
		case len(words) == 3 && words[0] == "ip" && words[1] == "address" && on == "Management1":
			if address, err = netip.ParsePrefix(words[2]); err != nil {
				return "", netip.Prefix{}, fmt.Errorf("startup-config: %w", err)
			}
		}
	}
	if name == "" || !address.IsValid() {
		return "", netip.Prefix{}, errors.New("the startup-config names no host and no address")
	}
	return name, address, nil
}

// sshKeyLine is a user's key in a startup-config.
var sshKeyLine = regexp.MustCompile(`(?m)^username \S+ ssh-key (\S+ \S+)$`)

var committing = regexp.MustCompile(`^commit timer (\d\d):(\d\d):(\d\d)$`)

// eosCommand is what EOS' command line knows.
func eosCommand(h *shell, command string, c io.ReadWriter) (bool, error) {
	x := h.host.readDisk()
	switch {
	case strings.HasPrefix(command, "configure session rackreach\n"):
		return true, h.configureSession(command)
	case command == "configure session rackreach commit":
		if !h.confirmed() {
			return true, errors.New("% No pending commit")
		}
		return true, nil
	case command == "write memory":
		return true, h.shows(c, "Copy completed successfully.\n")
	case command == "show running-config | include rackreach-receipt":
		return true, h.shows(c, string(x.files["alias"]))
	case command == "show hostname":
		return true, h.shows(c, "Hostname: "+h.host.named()+"\n")
	case command == "show version":
		return true, h.shows(c, "Arista "+h.host.dev.machine+"\nSoftware image version: "+x.version+"\n")
	case strings.HasPrefix(command, "sh -c "):
		return true, errors.New("% Invalid input") // it is no POSIX shell
	}
	return true, fmt.Errorf("%% Invalid input at %.40q", command)
}

// eosSession is what a configuration session says.
type eosSession struct {
	name    string
	alias   string // the receipt
	ports   []string
	seconds string // of the commit timer; empty: none
}

// readSession reads the lines of a configuration session.
func readSession(text string) eosSession {
	s, on := eosSession{ports: []string{}}, ""
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		words := strings.Fields(l)
		m := committing.FindStringSubmatch(l)
		switch {
		case m != nil:
			n := 0
			for _, part := range m[1:] {
				v, err := strconv.Atoi(part)
				if err == nil {
					n = n*60 + v
				}
			}
			s.seconds = strconv.Itoa(n)
		case len(words) == 2 && words[0] == "hostname":
			s.name = words[1]
		case len(words) == 2 && words[0] == "interface":
			on = words[1]
		case l == "switchport" && on != "":
			s.ports = append(s.ports, on)
		case l == "exit":
			on = ""
		case len(words) > 2 && words[0] == "alias":
			s.alias = l + "\n"
		}
	}
	return s
}

// configureSession carries a configuration session out.
func (h *shell) configureSession(text string) error {
	s := readSession(text)
	body, err := h.configOf(s.ports)
	if err != nil {
		return err
	}
	if err := h.put("session", body); err != nil {
		return err
	}
	if s.name != "" {
		h.host.rename(s.name)
	}
	if err := h.take("session", s.seconds); err != nil {
		return err
	}
	return h.put("alias", []byte(s.alias))
}
