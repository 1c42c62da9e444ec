//go:build netns

package foreign_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hosts are our machine and one that is cabled to it.
func hosts(t *testing.T) (us, them *nstest.Host) {
	t.Helper()
	us, them = nstest.New(t), nstest.New(t)
	us.Cable("rr0", them, "rr0")
	us.Address("rr0", "10.0.0.1/24")
	them.Address("rr0", "10.0.0.9/24")
	return us, them
}

// udhcpd starts a DHCP server that nobody here wrote.
func udhcpd(t *testing.T, h *nstest.Host) {
	t.Helper()
	nstest.Needs(t, "busybox", "busybox")
	dir := t.TempDir()
	config := filepath.Join(dir, "udhcpd.conf")
	text := fmt.Sprintf("start 10.0.0.50\nend 10.0.0.60\ninterface rr0\nlease_file %s/leases\npidfile %s/pid\noption router 10.0.0.7\nboot_file pxelinux.0\n", dir, dir)
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "leases"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	h.Start(exec.Command("busybox", "udhcpd", "-f", "-S", config))
}

func look(t *testing.T, h *nstest.Host, window time.Duration) (found []foreign.Server) {
	t.Helper()
	var err error
	h.Do(func() {
		var link *wire.Link
		if link, err = wire.Inspect("rr0"); err != nil {
			return
		}
		found, err = foreign.Look(context.Background(), link, window)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLookAtAQuietSegment(t *testing.T) {
	us, _ := hosts(t)
	before := us.Sent("rr0")
	if found := look(t, us, 400*time.Millisecond); found != nil {
		t.Errorf("%v", found)
	}
	if n := us.Sent("rr0") - before; n != 4 {
		t.Errorf("%d frames were sent, want 4", n)
	}
}

func TestLookFindsAServer(t *testing.T) {
	us, them := hosts(t)
	udhcpd(t, them)
	found := look(t, us, 6*time.Second)
	if len(found) != 1 || found[0].Address.String() != "10.0.0.9" || found[0].MAC != them.MAC("rr0").String() || found[0].Router.String() != "10.0.0.7" || found[0].BootFile != "pxelinux.0" || found[0].Message != "OFFER" {
		t.Errorf("%+v", found)
	}
}

// A server that only says what to boot answers the question of a PXE ROM, and no other,
// whatever firmware it serves.
func TestLookFindsAProxy(t *testing.T) {
	nstest.Needs(t, "dnsmasq", "dnsmasq-base")
	for _, firmware := range []string{"x86PC", "X86-64_EFI"} {
		t.Run(firmware, func(t *testing.T) {
			us, them := hosts(t)
			them.Start(exec.Command("dnsmasq", "-d", "-C", os.DevNull, "--port=0", "--interface=rr0", "--bind-interfaces", "--user=root", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"),
				"--dhcp-range=10.0.0.0,proxy", "--pxe-service="+firmware+",boot,file"))
			found := look(t, us, 3*time.Second)
			if len(found) != 1 || found[0].Address.String() != "10.0.0.9" || found[0].Offered.IsValid() || found[0].Message != "OFFER" {
				t.Errorf("%+v", found)
			}
		})
	}
}
