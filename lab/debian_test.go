//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
)

const (
	debianFiles  = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64" // of Debian's package debian-installer-12-netboot-amd64
	debianKernel = "linux"
	debianInitrd = "initrd.gz"

	// debianLimit is how long it may take from power-on to the first file of the
	// mirror: measured are 89 s alone on two cores, 126 s beside a load of ten.
	debianLimit = 170 * time.Second
)

// TestDebianInstaller: Debian's own installer boots from our services, fetches the
// answer file of its ticket, and does what that says: it asks the mirror that the rack
// file names.
func TestDebianInstaller(t *testing.T) {
	kernel, initrd := filepath.Join(debianFiles, debianKernel), filepath.Join(debianFiles, debianInitrd)
	if _, err := os.Stat(kernel); err != nil {
		t.Fatalf("the lab needs %s: install Debian's package debian-installer-12-netboot-amd64", kernel)
	}
	s := newSegment(t)
	agent := s.agent(agentConfig{Image: initrd, Kernel: kernel})
	m := s.powerOn(bios, "1024")
	began, from := time.Now(), 0
	for _, step := range []string{
		"seen DISCOVER ipxe", "fetched fetched:boot-loader", "artifact kernel", "fetched fetched:image",
		"gave " + machineIP, // to the installer's own DHCP client
		"file preseed.cfg", "mirror: GET /debian/dists/",
	} {
		await(t, debianLimit-time.Since(began), "the agent says "+step, func() bool { return strings.Contains(agent.String()[from:], step) })
		from += strings.Index(agent.String()[from:], step) + len(step)
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), step)
	}
	if text := m.text(); strings.Contains(text, "Failed to retrieve the preconfiguration file") || strings.Contains(text, "Failed to process the preconfiguration file") {
		t.Errorf("the installer is not content with its answer file:\n%s", text)
	}
}

// mirror says what the installer asks its mirror for, and has none of it.
func mirror(ctx context.Context) error {
	l, err := net.Listen("tcp4", mirrorIP+":80")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("mirror: %s %s\n", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// debian knows what the one machine's installer reads.
type debian struct{ rack *rack.Rack }

func newDebian() debian {
	return debian{&rack.Rack{Name: "lab", Data: netip.MustParsePrefix("10.77.0.0/16"), Devices: []rack.Device{{
		Name: "server-01", Role: rack.Server, Address: netip.MustParseAddr(machineIP),
		Install: &rack.Install{Installer: rack.Preseed, Kernel: debianKernel, Source: "http://" + mirrorIP + "/debian",
			Keys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmDkZ5fVb6mPzFzqGk0m3Qm0n7dQe9yV5sYw2u3nq0M lab"}},
	}}}}
}

func (d debian) job(t boot.Ticket, base string) *answerfile.Job {
	return &answerfile.Job{Rack: d.rack, Device: t.Device, Ticket: t.ID, Run: t.Run, Base: base, Overwrites: t.Overwrites}
}

// Boots implements boot.Native. Without IPv6 the installer need not wait for a router.
func (d debian) Boots(t boot.Ticket, base string) (loader, kernel string, args []string, err error) {
	return "", "kernel", append(d.job(t, base).Args(), "console=ttyS0", "DEBIAN_FRONTEND=text", "ipv6.disable=1"), nil
}

// File implements boot.Native.
func (d debian) File(t boot.Ticket, base, name string) ([]byte, rack.Evidence, error) {
	b, err := d.job(t, base).File(name)
	if errors.Is(err, answerfile.ErrNoFile) {
		return nil, rack.NoEvidence, boot.ErrNoFile
	}
	fmt.Println("file", name, err)
	return b, rack.NoEvidence, err
}

// Artifact implements boot.Native.
func (debian) Artifact(_ boot.Ticket, name string) (string, rack.Evidence, error) {
	fmt.Println("artifact", name)
	if name != "kernel" {
		return "", rack.NoEvidence, boot.ErrNoFile
	}
	return debianKernel, rack.NoEvidence, nil
}

// TestDebianInstallerScripts runs the scripts of an answer file with the programs that
// Debian's installer has: a shell and busybox without many of their options.
func TestDebianInstallerScripts(t *testing.T) {
	root := folder(t)
	unpack := exec.Command("sh", "-c", `zcat "$1" | busybox cpio -idm 2>/dev/null; test -x bin/busybox`, "-", filepath.Join(debianFiles, debianInitrd))
	unpack.Dir = root
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack the initramfs (Debian's packages debian-installer-12-netboot-amd64 and busybox): %v\n%s", err, out)
	}
	told := make(chan string, 1)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		told <- fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, b)
	}))
	defer agent.Close()
	d := newDebian()
	for _, x := range []struct {
		file string
		ends bool   // by itself; one that must write nothing waits for ever
		told string // to the agent
		left string // behind, in a file of the installed system
	}{
		{"late.sh", true, "POST /native/t/report/installed Debian's installer is done", "target/etc/rackreach/receipt"},
		{"disk.sh", false, "POST /native/t/report/failed no disk is as the rack file says under install.disk", ""},
	} {
		text, err := d.job(boot.Ticket{ID: "lab/server-01/1", Run: "run", Device: "server-01"}, agent.URL+"/native/t").File(x.file)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, x.file), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, "chroot", root, "/bin/sh", "/"+x.file)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		out := &said{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-told:
			if got != x.told {
				t.Errorf("%s told %q, want %q", x.file, got, x.told)
			}
		case <-ctx.Done():
			t.Errorf("%s told nothing", x.file)
		}
		if !x.ends {
			cancel()
		}
		if err := cmd.Wait(); (err == nil) != x.ends {
			t.Errorf("%s ended with %v", x.file, err)
		}
		cancel()
		if t.Failed() {
			t.Logf("%s said:\n%s", x.file, out)
		}
		if x.left == "" {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(root, x.left)); err != nil || string(b) != "receipt:run/lab/server-01/1\n" {
			t.Errorf("%s left %q, %v", x.file, b, err)
		}
	}
}
