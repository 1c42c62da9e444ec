//go:build netns

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// A real rack of one switch, as far as a client goes that is none: its last steps need a
// system that runs.
const (
	applyRack = `apiVersion: rackreach/v1
kind: Rack
name: r4
number: 4
agent: {cable: "mgmt-1:48", interface: rr0}
networks: {management: {cidr: 192.168.104.0/24}, data: {cidr: 10.0.4.0/24}}
devices:
  - name: mgmt-1
    role: management-switch
    platform: bench-switch
    address: 192.168.104.1
    bmc: {protocol: ipmi, address: 192.168.104.100, credentials: "env:RACK_BMC"}
    access: {credentials: "env:RACK_SSH"}
`
	applyPlatform = `apiVersion: rackreach/v1
kind: Platform
name: bench-switch
description: a switch whose power nobody commands
roles: [management-switch]
match: {stages: [bmc, pxe, ipxe, nos]}
image: nos
ticketEnds: dhcp:nos
steps:
  discovery:
    - {name: bmc-login, power: login, limit: 1m, retries: 3, backoff: 5s}
    - {name: network-boot, wait: dhcp:pxe, limit: 10m}
  installation:
    - {name: ticket, serve: image, limit: 1m}
    - {name: image-transfer, wait: fetched:image, limit: 10m, destructive: true}
    - {name: first-boot, wait: dhcp:nos, limit: 10m, destructive: true}
  configuration:
    - {name: verify, verify: {ssh: {run: [cat /receipt], expect: ["{{.Receipt}}"]}}, limit: 1m}
`
)

// realRack is the files of that rack, beside those of w.
func realRack(w *onWire) (args []string) {
	w.t.Helper()
	dir := filepath.Dir(w.file)
	for name, text := range map[string]string{"real.yaml": applyRack, "platforms/bench.yaml": applyPlatform, "nos": strings.Repeat("a network operating system\n", 4000)} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, a := range [][]string{{"bundle", "init", dir + "/images"}, {"bundle", "add", dir + "/images", "--release", "1", "--kind", "kernel", "--name", "nos", dir + "/nos"}} {
		if out, code := w.try(a...); code != 0 {
			w.t.Fatalf("%v: %s", a, out)
		}
	}
	return []string{"apply", dir + "/real.yaml", "--platforms", dir + "/platforms", "--bundle", dir + "/images", "--allow-unsigned", "--hear", "1s", "--json"}
}

// talking is a command that prints a line for each event.
type talking struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	said  strings.Builder // by its other stream
}

func (w *onWire) talk(args ...string) *talking {
	w.t.Helper()
	c := &talking{t: w.t, cmd: w.command(args...), lines: make(chan string, 1000)}
	c.cmd.Env = append(c.cmd.Env, "RACK_BMC=admin:"+nstest.Password, "RACK_SSH=root:"+nstest.Password)
	c.cmd.Stderr = &c.said
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent.Start(c.cmd)
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

// await waits for a line that holds all of some texts.
func (c *talking) await(texts ...string) {
	c.t.Helper()
	c.within(nsSoon, texts...)
}

// within does, for so long.
func (c *talking) within(limit time.Duration, texts ...string) {
	c.t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	var seen []string
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("it ended without %q, and said:\n%s\n%s", texts, strings.Join(seen, "\n"), c.said.String())
			}
			seen = append(seen, line)
			fits := true
			for _, text := range texts {
				fits = fits && strings.Contains(line, text)
			}
			if fits {
				return
			}
		case <-late.C:
			c.t.Fatalf("within %s there was no %q, only:\n%s\n%s", limit, texts, strings.Join(seen, "\n"), c.said.String())
		}
	}
}

// kill ends it as a power cut does.
func (c *talking) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	for range c.lines {
	}
	_ = c.cmd.Wait() // it was killed
}

// booted asks for an address as iPXE does, and is what the answer names as boot file.
func (w *onWire) booted() string {
	w.t.Helper()
	script := filepath.Join(filepath.Dir(w.file), "bound.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" != bound ] || echo \"boot file: $boot_file\"\n"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	var b []byte
	w.devices.Do(func() {
		b, _ = exec.Command("busybox", "udhcpc", "-f", "-n", "-q", "-i", "rr0", "-s", script, "-t", "20", "-T", "1", "-V", pxeClass, "-x", "0x4d:69505845").CombinedOutput()
	})
	_, rest, _ := strings.Cut(string(b), "boot file: ")
	file, _, _ := strings.Cut(rest, "\n")
	return file
}

// fetched is what a device gets by an URL.
func (w *onWire) fetched(url string) string {
	w.t.Helper()
	nstest.Needs(w.t, "curl", "curl")
	var out []byte
	var err error
	w.devices.Do(func() { out, err = exec.Command("curl", "-sf", "--max-time", "20", url).Output() })
	if err != nil {
		w.t.Fatalf("%s: %v", url, err)
	}
	return string(out)
}

// TestApplyInNamespaces: the real binary images a switch over a cable, as far as there
// is one: BMC, DHCP, TFTP and HTTP on one interface only; it is killed in the middle,
// and goes on.
func TestApplyInNamespaces(t *testing.T) {
	w := newOnWire(t)
	args := realRack(w)
	w.devices.Address("rr0", "192.168.104.100/24")
	w.devices.BMC("192.168.104.100", [16]byte{1}, true)
	run := w.talk(args...)
	run.await(`"step-completed"`, "bmc-login")
	if out := w.dhcp(pxeClass, "5"); !strings.Contains(out, "lease of 192.168.104.1 obtained from 192.168.104.254") {
		t.Errorf("the client said:\n%s", out)
	}
	run.await(`"ticket-issued"`)
	run.kill()

	// A rehearsal must not go on with it.
	t.Setenv("RACK_BMC", "admin:"+nstest.Password)
	t.Setenv("RACK_SSH", "root:"+nstest.Password)
	if out, code := w.try(append(slices.Clone(args), "--simulate")...); code != 2 || !strings.Contains(out, "rack r4 was begun on the real rack, and this asks for the other") {
		t.Errorf("a simulation of it ended with %d and said\n%s", code, out)
	}
	// Nor is it gone on with by somebody who has not the passwords.
	t.Setenv("RACK_SSH", "")
	if out, code := w.try("resume", "r4"); code != 2 || !strings.Contains(out, "credentials of access of mgmt-1") {
		t.Errorf("resume ended with %d and said\n%s", code, out)
	}

	run = w.talk(args...)
	w.devices.Address("rr0", "192.168.104.1/24")
	script := w.fetched(w.booted())
	_, line, _ := strings.Cut(script, "kernel ")
	url, _, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(url, "http://192.168.104.254:80/image/") {
		t.Fatalf("the script is\n%s", script)
	}
	image, err := os.ReadFile(filepath.Join(filepath.Dir(w.file), "nos"))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.fetched(url); got != string(image) {
		t.Errorf("%d bytes of another image", len(got))
	}
	run.await(`"step-completed"`, "image-transfer")
	// Only the rack's interface is served.
	w.agent.Do(func() {
		out, err := exec.Command("curl", "-s", "--max-time", "2", "http://127.0.0.1/").CombinedOutput()
		if err == nil {
			t.Errorf("loopback is served, too: %s", out)
		}
	})
	out, code := w.try("status", "r4")
	if code != 0 || !strings.Contains(out, "mgmt-1") || !strings.Contains(out, "installation") {
		t.Errorf("status ended with %d and says\n%s", code, out)
	}
	run.kill()
	if text := run.said.String(); shown([]byte(text), nstest.Password) != "" {
		t.Errorf("it said a secret:\n%s", text)
	}
}

// TestApplyIsRefused: a real rack is not begun on a guess.
func TestApplyIsRefused(t *testing.T) {
	w := newOnWire(t)
	args := realRack(w)
	run := func(with []string, env ...string) string {
		t.Helper()
		cmd := w.command(with...)
		cmd.Env = append(cmd.Env, env...)
		var b []byte
		w.agent.Do(func() { b, _ = cmd.CombinedOutput() })
		if cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%v ended with %d and said\n%s", with, cmd.ProcessState.ExitCode(), b)
		}
		return string(b)
	}
	logins := []string{"RACK_BMC=admin:" + nstest.Password, "RACK_SSH=root:" + nstest.Password}
	if out := run(args, "RACK_BMC=admin:"+nstest.Password); !strings.Contains(out, "credentials of access of mgmt-1: the variable RACK_SSH is not set") {
		t.Error(out)
	}
	without := append([]string{}, args[:4]...)
	if out := run(without, logins...); !strings.Contains(out, "give --bundle") {
		t.Error(out)
	}
	if out := run(append(append([]string{}, args...), "--loaders", "/nowhere"), logins...); !strings.Contains(out, "--loaders: /nowhere has no boot loader") {
		t.Error(out)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(w.file), "state", "racks", "r4")); err == nil {
		t.Error("something was begun")
	}
}
