//go:build netns

package bmcscan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ipmiSim starts OpenIPMI's simulator, a BMC that nobody here wrote.
func ipmiSim(t *testing.T, h *nstest.Host, address string) {
	t.Helper()
	nstest.Needs(t, "ipmi_sim", "openipmi")
	dir := t.TempDir()
	config, commands := filepath.Join(dir, "lan.conf"), filepath.Join(dir, "sim.emu")
	text := fmt.Sprintf("name \"sim\"\nset_working_mc 0x20\n  startlan 1\n    addr %s 623\n    priv_limit admin\n    allowed_auths_admin none md2 md5 straight\n    guid a123456789abcdefa123456789abcdef\n  endlan\n  user 2 true \"admin\" \"secret\" admin 10 none md2 md5 straight\n", address)
	for path, text := range map[string]string{config: text, commands: "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("ipmi_sim", "-n", "-c", config, "-f", commands, "-s", dir)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = null
	h.Start(cmd)
	if err := null.Close(); err != nil {
		t.Fatal(err)
	}
}

// scanned scans a network from a host until the BMCs that are there were found: a
// program that is being started may miss the first questions.
func scanned(t *testing.T, us *nstest.Host, want ...string) *wire.Link {
	t.Helper()
	var conn net.PacketConn
	var link *wire.Link
	var err error
	us.Do(func() {
		if link, err = wire.Inspect("rr0"); err == nil {
			conn, err = wire.ListenUDP("rr0")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	found := map[string]bool{}
	for late := time.Now().Add(30 * time.Second); len(found) < len(want) && time.Now().Before(late); {
		err := Scan(context.Background(), Options{Conn: conn, Range: netip.MustParsePrefix("10.0.0.0/26"), Rate: 500, Linger: 300 * time.Millisecond, Skip: func(a netip.Addr) bool { return a.String() == "10.0.0.1" || found[a.String()] }},
			func(a Answer) { found[a.Address.String()] = a.IPMI })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range want {
		if !found[w] || len(found) != len(want) {
			t.Errorf("found %v, want %v", found, want)
		}
	}
	return link
}

func TestScanFindsIPMISim(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	us.Cable("rr0", them, "rr0")
	us.Address("rr0", "10.0.0.1/26")
	them.Address("rr0", "10.0.0.60/26")
	ipmiSim(t, them, "10.0.0.60")
	scanned(t, us, "10.0.0.60")
}

func TestScanARealNetwork(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	us.Cable("rr0", them, "rr0")
	us.Address("rr0", "10.0.0.1/26")
	for _, a := range []string{"10.0.0.7/26", "10.0.0.9/26", "10.0.0.60/26"} {
		them.Address("rr0", a)
	}
	for _, a := range []string{"10.0.0.9", "10.0.0.60"} {
		them.BMC(a, [16]byte{1}, false)
	}
	link := scanned(t, us, "10.0.0.9", "10.0.0.60")
	var err error
	us.Do(func() {
		for _, a := range []string{"10.0.0.7", "10.0.0.9"} {
			if mac, ok := wire.Station(link, netip.MustParseAddr(a)); !ok || !slices.Equal(mac, them.MAC("rr0")) {
				err = fmt.Errorf("%s is at %s", a, mac)
			}
		}
		if mac, ok := wire.Station(link, netip.MustParseAddr("10.0.0.8")); ok {
			err = fmt.Errorf("nobody is at %s", mac)
		}
	})
	if err != nil {
		t.Error(err)
	}
}
