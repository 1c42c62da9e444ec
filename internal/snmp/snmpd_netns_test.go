//go:build netns

package snmp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/adjacency"
	"github.com/rackreach/rackreach/internal/nstest"
)

// Net-snmp's snmpd, with lldpd as its subagent, is understood: a switch that hears a
// server, whom nobody here wrote.
func TestSNMPD(t *testing.T) {
	nstest.Needs(t, "snmpd", "snmpd")
	nstest.Needs(t, "lldpd", "lldpd")
	sw, server := nstest.New(t), nstest.New(t)
	sw.Cable("rr0", server, "rr1")
	sw.Up("lo", true)
	// The daemons give up their rights, and must reach their sockets all the same.
	dir, err := os.MkdirTemp("", "rr-snmp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agentx := filepath.Join(dir, "agentx")
	conf := filepath.Join(dir, "snmpd.conf")
	text := "agentAddress udp:127.0.0.1:161\nrocommunity hushhush 127.0.0.1\nmaster agentx\nagentXSocket " + agentx + "\nagentXPerms 0777 0777\npass_persist .1.3.6.1.2.1.17 " + program + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(on *nstest.Host, name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+dir, "SNMPCONFPATH="+dir, passVariable+"=yes")
		on.Start(cmd)
	}
	start(sw, "snmpd", "-f", "-Lf", filepath.Join(dir, "log"), "-C", "-c", conf)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	until(ctx, t, func() bool { _, err := os.Stat(agentx); return err == nil })
	start(sw, "lldpd", "-d", "-I", "rr0", "-u", filepath.Join(dir, "a"), "-O", os.DevNull, "-x", "-X", agentx)
	start(server, "lldpd", "-d", "-I", "rr1", "-u", filepath.Join(dir, "b"), "-O", os.DevNull)

	c := New(func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		var d net.Dialer
		sw.Do(func() { conn, err = d.DialContext(ctx, network, address) })
		return conn, err
	})
	at := netip.MustParseAddrPort("127.0.0.1:161")
	var neighbours []adjacency.Neighbour
	until(ctx, t, func() bool {
		neighbours, err = c.Neighbours(ctx, at, "hushhush")
		return err == nil && len(neighbours) > 0
	})
	mac := server.MAC("rr1").String()
	if n := neighbours[0]; len(neighbours) != 1 || n.Port != "rr0" || n.RemotePort != mac || n.Description != "rr1" || n.System == "" || n.Chassis == "" {
		t.Errorf("%+v", neighbours)
	}
	var stations []adjacency.Station
	until(ctx, t, func() bool { // the program that answers for bridges has to start first
		stations, err = c.Stations(ctx, at, "hushhush")
		return err == nil
	})
	if want := []adjacency.Station{{Port: "lo", MAC: "02:00:00:00:00:01"}}; err != nil || !reflect.DeepEqual(stations, want) {
		t.Errorf("%+v %v", stations, err)
	}
	if _, err := c.Stations(ctx, at, "guessed"); err == nil {
		t.Error("a wrong community was answered")
	}
}

// until waits for what another program brings about.
func until(ctx context.Context, t *testing.T, so func() bool) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("it did not come about in time")
		}
	}
}
