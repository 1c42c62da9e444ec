//go:build linux

package installer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rawSize is that of the images of these tests: three frames, the last one short and
// no multiple of a page.
const rawSize = 2*frames.MinSize + 3*512 + 1<<20

const diskSize = 32 << 20

// image is a disk image with a partition table: one partition from 1 MiB to its end.
func image(seed byte) []byte {
	raw := make([]byte, rawSize)
	if _, err := rand.NewChaCha8([32]byte{seed}).Read(raw[1<<20:]); err != nil {
		panic(err)
	}
	const blocks = rawSize / 512
	le := binary.LittleEndian
	table := make([]byte, 128*128)
	copy(table, espKind[:])
	copy(table[16:], "partition id   "+string('0'+seed%10))
	le.PutUint64(table[32:], 2048)
	le.PutUint64(table[40:], blocks-34)
	head := make([]byte, 92)
	copy(head, "EFI PART\x00\x00\x01\x00")
	le.PutUint32(head[gptSize:], 92)
	le.PutUint64(head[gptSelf:], 1)
	le.PutUint64(head[gptOther:], blocks-1)
	le.PutUint64(head[gptFirst:], 34)
	le.PutUint64(head[gptLast:], blocks-34)
	copy(head[gptDisk:], fmt.Sprintf("disk of image %02d", seed))
	le.PutUint64(head[gptEntries:], 2)
	le.PutUint32(head[gptCount:], 128)
	le.PutUint32(head[gptEach:], 128)
	le.PutUint32(head[gptEntriesCRC:], crc32.ChecksumIEEE(table))
	le.PutUint32(head[gptCRC:], crc32.ChecksumIEEE(head))
	raw[446+4], raw[510], raw[511] = 0xee, 0x55, 0xaa
	le.PutUint32(raw[446+8:], 1)
	le.PutUint32(raw[446+12:], blocks-1)
	copy(raw[512:], head)
	copy(raw[1024:], table)
	return raw
}

// agent hands out one job, and does to its image what a test wants.
type agent struct {
	*httptest.Server
	t          *testing.T
	raw        []byte
	compressed []byte
	index      []byte
	job        job.Job

	mu       sync.Mutex
	cut      func(request int) int       // bytes of the image before the connection breaks; negative: all
	hurt     func(request int, b []byte) // changes what goes out
	each     func(request int)           // before a request for the image is answered
	busy     int                         // requests that are answered 503
	closed   int                         // status of a ticket that is closed; 0: it is open
	requests int                         // for the image
	served   int                         // bytes of the image
	reports  []job.Report
	progress []job.Progress
	hardware []job.Hardware
}

func newAgent(t *testing.T, raw []byte) *agent {
	t.Helper()
	a := &agent{t: t, raw: raw}
	var b bytes.Buffer
	x, err := frames.Write(t.Context(), &b, bytes.NewReader(raw), frames.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	a.compressed = b.Bytes()
	if a.index, err = x.Encode(); err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	a.job = job.Job{Rack: "r1", Device: "server-01", Run: "run-1", Ticket: "r1/server-01/1", Role: "server", Platform: "debian-server",
		Image: job.Image{Name: "debian-13", URL: a.URL + "/image/t", Digest: digestOf(a.compressed), Size: int64(len(a.compressed)),
			Raw: &job.Blob{Digest: x.RawDigest, Size: x.RawSize}, Frames: &job.Source{URL: a.URL + "/frames/t", Blob: job.Blob{Digest: digestOf(a.index), Size: int64(len(a.index))}}},
		Report: a.URL + "/report/t", Progress: a.URL + "/progress/t", Hardware: a.URL + "/hardware/t", Install: &job.Install{}}
	return a
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (a *agent) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	busy, closed := a.busy > 0, a.closed
	if busy {
		a.busy--
	}
	a.mu.Unlock()
	switch {
	case busy:
		http.Error(w, "come again", http.StatusServiceUnavailable)
		return
	case closed != 0:
		http.Error(w, "the ticket is closed", closed)
		return
	}
	switch r.URL.Path {
	case "/job/t":
		b, err := json.Marshal(a.job)
		if err != nil {
			a.t.Error(err)
		}
		_, _ = w.Write(b)
	case "/frames/t":
		_, _ = w.Write(a.index)
	case "/image/t":
		a.image(w, r)
	default:
		a.take(w, r)
	}
}

func (a *agent) image(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	n := a.requests
	a.requests++
	cut, each := -1, a.each
	if a.cut != nil {
		cut = a.cut(n)
	}
	b := bytes.Clone(a.compressed)
	if a.hurt != nil {
		a.hurt(n, b)
	}
	a.mu.Unlock()
	if each != nil {
		each(n)
	}
	c := &cutter{ResponseWriter: w, left: cut}
	http.ServeContent(c, r, "", time.Time{}, bytes.NewReader(b))
	a.mu.Lock()
	a.served += c.n
	a.mu.Unlock()
	if cut >= 0 && c.left == 0 {
		panic(http.ErrAbortHandler) // the connection breaks
	}
}

// cutter breaks off after so many bytes.
type cutter struct {
	http.ResponseWriter
	left, n int
}

func (c *cutter) Write(b []byte) (int, error) {
	if c.left >= 0 && len(b) > c.left {
		b = b[:c.left]
	}
	n, err := c.ResponseWriter.Write(b)
	c.n += n
	if c.left >= 0 {
		if c.left -= n; c.left == 0 {
			c.ResponseWriter.(http.Flusher).Flush()
			return n, errors.New("cut")
		}
	}
	return n, err
}

func (a *agent) take(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return // the installer was stopped
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.URL.Path {
	case "/report/t":
		var x job.Report
		err = json.Unmarshal(b, &x)
		a.reports = append(a.reports, x)
	case "/progress/t":
		var x job.Progress
		x, err = job.ParseProgress(b)
		a.progress = append(a.progress, x)
	case "/hardware/t":
		var x job.Hardware
		x, err = job.ParseHardware(b)
		a.hardware = append(a.hardware, x)
	default:
		err = fmt.Errorf("asked for %s", r.URL)
	}
	if err != nil {
		a.t.Error(err)
	}
	w.WriteHeader(http.StatusNoContent)
}

// with does something while no request is begun or ended: those of an installer that was
// stopped may still be.
func (a *agent) with(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// blank is a file that stands for a blank disk.
func blank(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(name)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// options are those of a machine whose one disk is a file.
func (a *agent) options(disk string) Options {
	u, err := url.Parse(a.URL + "/job/t")
	if err != nil {
		a.t.Fatal(err)
	}
	st, err := os.Stat(disk)
	if err != nil {
		a.t.Fatal(err)
	}
	return Options{
		URL: u, Patience: time.Minute, Memory: 32 << 20, Say: func(s string) { a.t.Log(s) },
		Disks:    func() ([]job.Disk, error) { return []job.Disk{{Path: disk, Size: st.Size(), Serial: "DISK-1"}}, nil },
		Hardware: func(context.Context) job.Hardware { return job.Hardware{Serial: "MACHINE-1"} },
	}
}

// run does the job.
func (a *agent) run(disk string) Outcome {
	a.t.Helper()
	out, err := Run(a.t.Context(), a.options(disk))
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// on is what a disk holds.
func on(t *testing.T, disk string) (c Content, all []byte) {
	t.Helper()
	all, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = Inspect(bytes.NewReader(all), int64(len(all)), "DISK-1"); err != nil {
		t.Fatal(err)
	}
	return c, all
}

// holdsImage holds that a disk has the image, and nothing else but receipts.
func holdsImage(t *testing.T, disk string, raw []byte) {
	t.Helper()
	_, all := on(t, disk)
	clear(all[headAt:][:receiptSize])
	if !bytes.Equal(all[:len(raw)], raw) {
		t.Error("the disk does not hold the image")
	}
	clear(all[tailAt(int64(len(all))):][:receiptSize])
	if strings.Trim(string(all[len(raw):]), "\x00") != "" {
		t.Error("there is more on the disk than the image and its receipts")
	}
}
