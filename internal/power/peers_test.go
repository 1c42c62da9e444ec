//go:build system

package power

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// A BMC that nobody here wrote: OpenIPMI's ipmi_sim. It passes what concerns the host
// to a script, which notes it.

type openIPMI struct {
	t      *testing.T
	dir    string
	target Target
}

const chassisScript = `#!/bin/sh
cd %s
op=$1; shift
if [ $op = get ]; then
	for p; do echo "$p:$(cat $p)"; done
	exit
fi
while [ $# -gt 1 ]; do
	echo "$1=$2" >>log
	case $1 in
	power|boot) echo $2 >$1;;
	shutdown) if [ -e obeys ]; then echo 0 >power; fi;;
	esac
	shift 2
done
`

func startOpenIPMI(t *testing.T) *openIPMI {
	t.Helper()
	if _, err := exec.LookPath("ipmi_sim"); err != nil {
		t.Fatalf("this test needs ipmi_sim: apt-get install openipmi")
	}
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(probe.LocalAddr().String())
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	s := &openIPMI{t: t, dir: t.TempDir(), target: Target{Device: "server-01", Address: at.Addr(), Port: at.Port(), User: "admin", Password: "secret"}}
	s.write("lan.conf", fmt.Sprintf("name \"sim\"\nset_working_mc 0x20\n  startlan 1\n    addr %s %d\n    priv_limit admin\n    allowed_auths_admin none md2 md5 straight\n"+
		"    guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"%s/chassis\"\n  user 2 true \"admin\" \"secret\" admin 10 none md2 md5 straight\n", at.Addr(), at.Port(), s.dir))
	s.write("sim.emu", "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n")
	s.write("chassis", fmt.Sprintf(chassisScript, s.dir))
	s.write("power", "0\n")
	s.write("boot", "none\n")
	s.write("log", "")
	cmd := exec.Command("ipmi_sim", "-n", "-c", s.path("lan.conf"), "-f", s.path("sim.emu"), "-s", s.dir)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = null
	if err := errors.Join(cmd.Start(), null.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	c := testClient(t)
	for late := time.Now().Add(30 * time.Second); ; { // it says nothing when it is ready
		_, err := c.PowerState(t.Context(), s.target)
		if err == nil {
			return s
		}
		if time.Now().After(late) {
			t.Fatalf("ipmi_sim does not answer: %v", err)
		}
	}
}

func (s *openIPMI) path(name string) string { return filepath.Join(s.dir, name) }

func (s *openIPMI) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// took is what the host was told, and forgets it.
func (s *openIPMI) took() []string {
	s.t.Helper()
	b, err := os.ReadFile(s.path("log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("log", "")
	return strings.Fields(string(b))
}

func TestPeerOpenIPMI(t *testing.T) {
	s := startOpenIPMI(t)
	var told []rack.Recovery
	c := testClient(t, func(o *Options) {
		o.Timeout, o.Soft, o.Poll = time.Second, 100*time.Millisecond, 50*time.Millisecond
		o.Recovered = func(_ Target, r rack.Recovery) { told = append(told, r) }
	})
	ctx := t.Context()
	info, err := c.Login(ctx, s.target)
	if want := (Info{GUID: "a123456789abcdefa123456789abcdef", ManufacturerID: makerOpenIPMI, ProductID: 0xf02, Firmware: "9.08"}); err != nil || info != want {
		t.Fatalf("got %+v, %v; want %+v", info, err, want)
	}
	// It does not tell strangers who it is: it does not answer them at all.
	if guid, err := c.Probe(ctx, s.target); err != nil || guid != info.GUID {
		t.Errorf("asked who it is: %q, %v", guid, err)
	}
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"boot from the network", func() error { return c.BootPXE(ctx, s.target) }, []string{"boot=pxe"}},
		{"boot from disk", func() error { return c.SetBoot(ctx, s.target, Boot{From: FromDisk, Persistent: true}) }, []string{"boot=default"}},
		{"power on", func() error { return c.PowerOn(ctx, s.target) }, []string{"power=1"}},
		{"power on when on", func() error { return c.PowerOn(ctx, s.target) }, nil},
		{"a host that does not listen", func() error { return c.PowerCycle(ctx, s.target) }, []string{"shutdown=1", "power=0", "power=1"}},
		{"a host that listens", func() error { s.write("obeys", ""); return c.PowerOff(ctx, s.target) }, []string{"shutdown=1"}},
		// The identify light is left out: its answer to that is memory that nobody has
		// written to, with a completion code that is sometimes 0.
	}
	s.took()
	for _, x := range steps {
		if err := x.do(); err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if got := s.took(); !slices.Equal(got, x.want) {
			t.Errorf("%s: its host was told %q, want %q", x.name, got, x.want)
		}
	}
	if !slices.Equal(told, []rack.Recovery{rack.PowerCut}) {
		t.Errorf("told %v, want %v", told, rack.PowerCut)
	}
	if found, err := c.SuiteZero(ctx, s.target); err != nil || found == nil {
		t.Errorf("cipher suite 0, which it accepts, was not found: %v", err)
	}
	wrong := s.target
	wrong.Password = "guess"
	if _, err := c.Login(ctx, wrong); !errors.Is(err, ErrLogin) {
		t.Errorf("wrong password: %v, want ErrLogin", err)
	}
}

// It holds few sessions too: each of many clients gets one, since each gives it back.
func TestPeerOpenIPMISessions(t *testing.T) {
	s := startOpenIPMI(t)
	for i := range 100 {
		c := testClient(t, func(o *Options) { o.Timeout = time.Second })
		if _, err := c.PowerState(t.Context(), s.target); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		c.Close()
	}
}
