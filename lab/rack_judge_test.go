//go:build lab

package lab

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// event is a line of the product's journal, as far as it is judged here.
type event struct {
	Seq    int       `json:"seq"`
	Time   time.Time `json:"time"`
	Device string    `json:"device"`
	Event  string    `json:"event"`
	Phase  string    `json:"phase"`
	Detail struct {
		Step string `json:"step"`
		Seen struct {
			Via     string `json:"via"`
			Message string `json:"message"`
		} `json:"seen"`
	} `json:"detail"`
}

// events are those of the rack, as the product tells them.
func (r *labRack) events() []event {
	r.t.Helper()
	text, code := r.ask("events", r.name, "--json")
	if code != 0 {
		r.t.Fatalf("events ended with %d: %s", code, text)
	}
	return parseEvents(text)
}

// parseEvents passes over lines that are none.
func parseEvents(text string) (out []event) {
	for line := range strings.Lines(text) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Seq > 0 {
			out = append(out, e)
		}
	}
	return out
}

// when is the time of a device's first event of a kind, at a step; "": of any.
func when(events []event, device, kind, step string) time.Time {
	for _, e := range events {
		if e.Device == device && e.Event == kind && (step == "" || e.Detail.Step == step) {
			return e.Time
		}
	}
	return time.Time{}
}

// judge holds what a rack that was imaged must show, besides what the product says of it.
func (r *labRack) judge() {
	r.t.Helper()
	if out, code := r.ask("verify", r.name); code != 0 {
		r.t.Errorf("verify ended with %d and says:\n%s", code, out)
	}
	events := r.events()
	r.judgeOrder(events)
	r.judgeCables(events)
	for _, s := range r.switches()[1:] { // ONIE was on their disks
		r.judgeSaid(s, "discover: discovery: SN-"+r.nodes[s].serial)
		r.judgeSaid(s, "os-install: LabNOS: installed")
	}
	r.judgeSystems()
	r.judgeDisks(slices.Concat([]string{"mgmt-1"}, r.hosts())...)
	r.timeline(events)
}

// judgeOrder: no server's BMC was told anything before all switches were ready.
func (r *labRack) judgeOrder(events []event) {
	r.t.Helper()
	var ready time.Time
	for _, s := range r.switches() {
		at := when(events, s, "device-ready", "")
		if at.IsZero() {
			r.t.Errorf("%s was never ready", s)
		}
		if at.After(ready) {
			ready = at
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notes {
		if strings.HasPrefix(n.Who, "server") && n.At.Before(ready) {
			r.t.Errorf("%s: %s, %s before all switches were ready", n.Who, n.What, ready.Sub(n.At))
		}
	}
}

// judgeSaid: a switch that had ONIE sent these words over its management port.
func (r *labRack) judgeSaid(s, words string) {
	r.t.Helper()
	n := r.nodes[s]
	files, err := n.recordings(n.nics[0])
	for _, name := range files {
		b, e := os.ReadFile(name)
		if err = errors.Join(err, e); bytes.Contains(b, []byte(words)) {
			return
		}
	}
	r.t.Errorf("%s sent no line %q: %v", s, words, err)
}

// judgeSystems: every machine runs from its own disk, is who it should be, and shows the
// host key that was recorded when it was configured.
func (r *labRack) judgeSystems() {
	r.t.Helper()
	kept, err := os.ReadFile(filepath.Join(r.state, "racks", r.name, "hostkeys"))
	if err != nil {
		r.t.Error(err)
	}
	ids, keys := map[string]string{}, map[string]string{}
	for _, name := range r.devices() {
		said, key, err := r.login(name, "hostname; cat /etc/machine-id; grep -c '^/dev/vda2 /etc ' /proc/mounts; cat /etc/rackreach-receipt 2>/dev/null || sh /etc/rackreach/switch show | head -n 1")
		if err != nil {
			r.t.Errorf("%s: %v", name, err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(said), "\n")
		if len(lines) != 4 || lines[0] != name || len(lines[1]) != 32 || lines[2] != "1" || !strings.Contains(lines[3], "device="+name+" ") {
			r.t.Errorf("%s says of itself:\n%s", name, said)
			continue
		}
		if other := ids[lines[1]]; other != "" {
			r.t.Errorf("%s and %s have the same machine-id", name, other)
		}
		ids[lines[1]] = name
		if other := keys[string(key)]; other != "" {
			r.t.Errorf("%s and %s show the same host key", name, other)
		}
		keys[string(key)] = name
		if pinned := pinnedKey(kept, name); pinned != "ssh-ed25519 "+base64.StdEncoding.EncodeToString(key) {
			r.t.Errorf("%s shows a host key that is not the one that was recorded of it: %q", name, pinned)
		}
	}
}

// pinnedKey is the newest key that a device showed at first contact, as the file hostkeys
// has it; empty: none.
func pinnedKey(file []byte, device string) (key string) {
	for line := range bytes.Lines(file) {
		var p struct{ Device, Key string }
		if json.Unmarshal(line, &p) == nil && p.Device == device {
			key = p.Key
		}
	}
	return key
}

// notTicketed fails when one of the devices got the right to be written; with is one that did:
// else the journal tells such things by another name.
func notTicketed(events []event, with string, devices ...string) (err error) {
	if when(events, with, "ticket-issued", "").IsZero() {
		err = fmt.Errorf("the journal tells of no ticket of %s, which has one", with)
	}
	for _, d := range devices {
		if at := when(events, d, "ticket-issued", ""); !at.IsZero() {
			err = errors.Join(err, fmt.Errorf("%s got a ticket at %s", d, at))
		}
	}
	return err
}

// dial connects to a device's SSH server, by its own network.
func (r *labRack) dial(name string, limit time.Duration) (conn net.Conn, err error) {
	r.agent.Do(func() { conn, err = net.DialTimeout("tcp", r.address(name)+":22", limit) })
	return conn, err
}

// login runs a command on a device.
func (r *labRack) login(name, command string) (said string, hostKey []byte, err error) {
	conn, err := r.dial(name, 5*time.Second)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return "", nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, r.address(name), &ssh.ClientConfig{User: "root", HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Auth: []ssh.AuthMethod{ssh.Password(rackPassword)},
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error { hostKey = k.Marshal(); return nil }})
	if err != nil {
		return "", nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", nil, err
	}
	out, err := session.Output(command)
	return string(out), hostKey, err
}

// judgeDisks: what was written is what was signed, where a system does not write itself.
func (r *labRack) judgeDisks(devices ...string) {
	r.t.Helper()
	for _, name := range devices {
		image := r.stock.os
		if name == "mgmt-1" {
			image = r.stock.nos
		}
		want, err1 := part(image)
		got, err2 := part(r.nodes[name].disk)
		if err := errors.Join(err1, err2); err != nil {
			r.t.Error(err)
		} else if !bytes.Equal(got, want) {
			r.t.Errorf("the boot partition of %s is not that of the image", name)
		}
	}
}

// part is the partition that firmware boots from.
func part(disk string) ([]byte, error) {
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, mib, rackESP))
}

// timeline logs when which device was how far.
func (r *labRack) timeline(events []event) {
	begun := events[0].Time
	for _, e := range events {
		if e.Event == "device-ready" || e.Event == "phase-completed" {
			r.t.Logf("%6.1f s  %s %s %s", e.Time.Sub(begun).Seconds(), e.Device, e.Event, e.Phase)
		}
	}
}
