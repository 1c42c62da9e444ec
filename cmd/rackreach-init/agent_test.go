//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/installer"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

// rig is the product's services with one ticket for a disk image of a real bundle, and a
// file that stands for a disk.
type rig struct {
	*boot.Services
	images boot.DiskImages
	ticket boot.Ticket
	raw    []byte
	disk   string

	mu      sync.Mutex
	reports []boot.Report
	fetched []rack.Evidence
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{raw: make([]byte, 11*mib+512), disk: filepath.Join(dir, "disk")}
	if _, err := rand.NewChaCha8([32]byte{1}).Read(r.raw[:9*mib]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "raw"), r.raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.disk, make([]byte, 32*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := bundle.Init(t.Context(), filepath.Join(dir, "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	added, err := l.Add(t.Context(), bundle.Input{Path: filepath.Join(dir, "raw"), Name: "tiny", Kind: bundle.DiskImage, FrameSize: frames.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.SetRelease(t.Context(), (&bundle.Release{Name: "one"}).With(added...))
	if err != nil {
		t.Fatal(err)
	}
	images, err := bundle.NewImages(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	image, err := b.Describe("tiny")
	if err != nil {
		t.Fatal(err)
	}
	r.ticket = boot.Ticket{ID: "r1/server-01/1", Token: boot.Token([]byte("s"), "r1/server-01/1"), Rack: "r1", Run: "run-1", Device: "server-01", Role: rack.Server, Platform: "p", Image: image, Open: true}
	r.images = images
	r.serve(t, images, "127.0.0.1:0")
	return r
}

// serve is a life of the agent, until stop is called or the test ends.
func (r *rig) serve(t *testing.T, images boot.Images, at string) (stop func()) {
	t.Helper()
	web, err := net.Listen("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	files, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r.Services, err = boot.New(boot.Options{HTTP: web, TFTP: files, BaseURL: "http://" + web.Addr().String(), Images: images, Drain: time.Millisecond,
		Report: func(_ context.Context, x boot.Report) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reports = append(r.reports, x)
			return nil
		},
		Fetched: func(_ boot.Ticket, e rack.Evidence, _ rack.Source) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.fetched = append(r.fetched, e)
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetTickets([]boot.Ticket{r.ticket}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	services := r.Services
	go func() { ended <- services.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (r *rig) run(t *testing.T) (installer.Outcome, error) {
	t.Helper()
	u, err := url.Parse(r.JobURL(r.ticket))
	if err != nil {
		t.Fatal(err)
	}
	return installer.Run(t.Context(), installer.Options{URL: u, Patience: time.Minute,
		Disks:    func() ([]job.Disk, error) { return []job.Disk{{Path: r.disk, Size: 32 * mib, Serial: "D"}}, nil },
		Hardware: func(context.Context) job.Hardware { return job.Hardware{Serial: "M"} }})
}

// The installer and the agent's own services understand each other: an image out of a
// bundle gets on the disk, the agent sees every byte of it go out and takes the report.
func TestWithTheAgent(t *testing.T) {
	r := newRig(t)
	out, err := r.run(t)
	if err != nil || out.State != job.Installed || out.Kept {
		t.Fatalf("%+v, %v", out, err)
	}
	b, err := os.ReadFile(r.disk)
	if err != nil || !bytes.Equal(b[:len(r.raw)], r.raw) {
		t.Errorf("the disk does not hold the image: %v", err)
	}
	served, size := r.Progress("server-01")
	if served != size || size != r.ticket.Image.Size {
		t.Errorf("served %d of %d", served, size)
	}
	if h := r.Hardware("server-01"); h == nil || h.Serial != "M" {
		t.Errorf("hardware %+v", h)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) != 1 || r.reports[0].Observation().Proves != rack.ReportedInstalled || len(r.fetched) != 1 || r.fetched[0] != rack.FetchedImage {
		t.Errorf("%+v %v", r.reports, r.fetched)
	}
}

// stuck is a store that stops in the middle of an image, and says so.
type stuck struct {
	boot.DiskImages
	began, over chan struct{}
	once        *sync.Once
}

func (s stuck) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	f, i, err := s.DiskImages.Open(name)
	return stuckFile{f, s}, i, err
}

type stuckFile struct {
	io.ReadSeekCloser
	s stuck
}

func (f stuckFile) Read(b []byte) (int, error) {
	f.s.once.Do(func() { close(f.s.began) })
	<-f.s.over
	return 0, io.ErrUnexpectedEOF
}

// The agent goes away while an image is on its way, and comes back: the installer has
// waited, goes on under the same ticket, and reports to the new one.
func TestAgentGoesAway(t *testing.T) {
	r := newRig(t)
	first := &rig{images: r.images, ticket: r.ticket, raw: r.raw, disk: r.disk}
	s := stuck{r.images, make(chan struct{}), make(chan struct{}), &sync.Once{}}
	stop := first.serve(t, s, "127.0.0.1:0")
	host := strings.TrimPrefix(first.JobURL(r.ticket), "http://")
	host = host[:strings.IndexByte(host, '/')]
	ended := make(chan error, 1)
	var out installer.Outcome
	go func() {
		var err error
		out, err = first.run(t)
		ended <- err
	}()
	<-s.began
	close(s.over)
	stop()
	second := &rig{images: r.images, ticket: r.ticket, raw: r.raw, disk: r.disk}
	second.ticket.Resumed = true
	second.serve(t, r.images, host)
	if err := <-ended; err != nil || out.State != job.Installed {
		t.Fatalf("%+v, %v", out, err)
	}
	if b, err := os.ReadFile(r.disk); err != nil || !bytes.Equal(b[:len(r.raw)], r.raw) {
		t.Errorf("the disk does not hold the image: %v", err)
	}
	second.mu.Lock()
	defer second.mu.Unlock()
	if len(first.reports) != 0 || len(second.reports) != 1 || second.reports[0].State != boot.Installed || len(second.fetched) != 1 {
		t.Errorf("%+v and %+v, %v", first.reports, second.reports, second.fetched)
	}
}

// What the agent hears of a disk that holds something, it can order to be overwritten,
// word for word.
func TestRefusalNamesWhatIsThere(t *testing.T) {
	r := newRig(t)
	f, err := os.OpenFile(r.disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("somebody's data"), 5*mib)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := r.run(t)
	if err != nil || out.State != job.KeptBack {
		t.Fatalf("%+v, %v", out, err)
	}
	r.mu.Lock()
	holds := r.reports[0].Holds
	r.mu.Unlock()
	if !strings.HasPrefix(holds, "foreign:") {
		t.Errorf("it holds %q", holds)
	}
	r.ticket.ID, r.ticket.Overwrites = "r1/server-01/2", holds
	r.ticket.Token = boot.Token([]byte("s"), r.ticket.ID)
	if err := r.SetTickets([]boot.Ticket{r.ticket}); err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t); err != nil || out.State != job.Installed {
		t.Errorf("%+v, %v", out, err)
	}
}

// A ticket that was closed is no job.
func TestClosedTicket(t *testing.T) {
	r := newRig(t)
	r.ticket.Open = false
	if err := r.SetTickets([]boot.Ticket{r.ticket}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.run(t); !errors.Is(err, installer.ErrNoJob) {
		t.Error(err)
	}
}

// Files of a job are written within their file system, whatever links stand there.
func TestPut(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "root"), 0o755), os.Symlink(dir, filepath.Join(dir, "root", "out"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "root", "var"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := put(root, job.File{Path: "/var/lib/cloud/seed/nocloud/user-data", Mode: 0o640, Content: "#cloud-config\n"}); err != nil {
		t.Fatal(err)
	}
	f, err := root.Open("var/lib/cloud/seed/nocloud/user-data")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "#cloud-config\n" {
		t.Errorf("%q, %v", b, err)
	}
	if err := put(root, job.File{Path: "/out/escaped", Content: "x"}); err == nil {
		t.Error("a link led out")
	}
	if _, err := os.Stat(filepath.Join(dir, "escaped")); err == nil {
		t.Error("it was written outside")
	}
}

// A file system that has not the folder of the system that is to read a file (an EFI
// system partition, the top of a btrfs whose system is in a subvolume) is the wrong one:
// the file would never be read, and the installation be called one.
func TestPutInTheWrongFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "EFI"), 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, at := range []string{"/var/lib/cloud/seed/nocloud/user-data", "/file/user-data"} {
		if err := put(root, job.File{Path: at, Content: "x"}); err == nil || !strings.Contains(err.Error(), "root file system") {
			t.Errorf("%s: %v", at, err)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
		t.Errorf("it was written: %v, %v", all, err)
	}
	if err := put(root, job.File{Path: "/EFI/x/loader.conf", Content: "x"}); err != nil {
		t.Error(err)
	}
	if err := put(root, job.File{Path: "/meta-data", Content: "x"}); err != nil {
		t.Error(err)
	}
}
