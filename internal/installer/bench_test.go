//go:build bench

package installer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/job"
)

// Sizes of the images, in raw bytes.
const (
	noiseSize = 2 << 30 // half of it noise, half zeros: zstd has little to do
	filesSize = 1 << 30 // files of this machine's Go, over and over: zstd has much to do
)

// goalInstaller is the goal: of the limit, at least (issue of images).
const goalInstaller = 0.9

// How often all is measured; the medians count.
const (
	noiseRounds = 5
	filesRounds = 3
)

// TestInstallerBench measures an installation on a file of this machine's disk, over
// loopback, and beside it, in turns, what limits it: the network alone, zstd alone, the
// disk alone. The disk counts as an installation uses it, written and read back, since
// that is what is promised; what it takes without reading back is shown too, and so is
// the ratio to that. The result is the median of the rounds, of that image with which it
// is worse.
//
// Everything shares the processors of one machine here, the agent's too: on a rack, agent
// and machine have their own. What each takes of them, in seconds for a GB of raw bytes,
// says how much of a ratio below 1 that is: with files, two processors have no time left
// to digest what the disk gives back while they unpack as fast as zstd alone can.
func TestInstallerBench(t *testing.T) {
	files := benchRounds(t, "files", newBenchImage(t, filesSize, goFiles), filesRounds)
	noise := benchRounds(t, "noise", newBenchImage(t, noiseSize, noiseAndZeros), noiseRounds)
	fmt.Printf("of the limit: with an image of files %.2f, of noise %.2f\n", files, noise)
	worse := min(files, noise)
	if worse < goalInstaller {
		fmt.Println("MISSED: the goal of installer_ratio_limit")
	}
	fmt.Printf("RESULT installer_ratio_limit %.2f\n", worse)
}

// benchRounds measures with one image, and returns the median of the ratios to the limit.
func benchRounds(t *testing.T, what string, b *benchImage, rounds int) float64 {
	t.Helper()
	var ratios, written []float64
	for range rounds {
		net, decode := b.network(t), b.decode(t)
		disk, once := b.disk(t, true), b.disk(t, false)
		all := b.install(t)
		ratios = append(ratios, all.rate/min(net.rate, decode.rate, disk.rate))
		written = append(written, all.rate/min(net.rate, decode.rate, once.rate))
		fmt.Printf("%s: network %v, zstd %v, disk %v (written only: %v), installation %v: %.2f of its limit (%.2f); processors busy: %.2f, with zstd alone %.2f\n", what, net, decode, disk, once, all, ratios[len(ratios)-1], written[len(written)-1], all.busy(), decode.busy())
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Error(err)
	}
	fmt.Printf("%s: compressed to %.2f; of the limit with a disk that is written only: %.2f\n", what, float64(b.index.Size())/float64(b.index.RawSize), middle(written))
	return middle(ratios)
}

// middle is the median.
func middle(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

type benchImage struct {
	dir   string
	index frames.Index
	job   job.Job
	*httptest.Server
}

// noiseAndZeros writes them by turns.
func noiseAndZeros(w io.Writer, size int64) error {
	noise, block := rand.NewChaCha8([32]byte{}), make([]byte, 4096)
	for range size / int64(len(block)) {
		_, _ = noise.Read(block[:len(block)/2])
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// goFiles writes sources and programs, as a file system has them: files begin at blocks.
func goFiles(w io.Writer, size int64) error {
	for left := size; left > 0; {
		before := left
		err := filepath.WalkDir(runtime.GOROOT(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || left == 0 {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b = append(b, make([]byte, -len(b)&4095)...)
			b = b[:min(int64(len(b)), left)]
			left -= int64(len(b))
			_, err = w.Write(b)
			return err
		})
		if err != nil {
			return err
		}
		if left == before {
			return fmt.Errorf("%s has no files", runtime.GOROOT())
		}
	}
	return nil
}

func newBenchImage(t *testing.T, size int64, fill func(io.Writer, int64) error) *benchImage {
	t.Helper()
	b := &benchImage{dir: t.TempDir()}
	raw, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(raw, 1<<20)
	if err := fill(w, size); err != nil {
		t.Fatal(err)
	}
	compressed, err := os.Create(filepath.Join(b.dir, "image"))
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		_, err = raw.Seek(0, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.index, err = frames.Write(t.Context(), compressed, raw, 0); err != nil {
		t.Fatal(err)
	}
	index, err := b.index.Encode()
	if err = errors.Join(err, os.WriteFile(filepath.Join(b.dir, "frames"), index, 0o600), raw.Close(), compressed.Sync(), compressed.Close(), os.Remove(raw.Name())); err != nil {
		t.Fatal(err)
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name := filepath.Base(r.URL.Path); name {
		case "image", "frames":
			http.ServeFile(w, r, filepath.Join(b.dir, name))
		case "job":
			text, err := job.Marshal(b.job)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(text)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(b.Close)
	b.job = job.Job{Rack: "r", Device: "d", Run: "run", Ticket: "t", Role: "server", Platform: "p", Report: b.URL + "/report", Install: &job.Install{},
		Image: job.Image{Name: "i", URL: b.URL + "/image", Digest: digestOf(nil), Size: b.index.Size(), Raw: &job.Blob{Digest: b.index.RawDigest, Size: b.index.RawSize},
			Frames: &job.Source{URL: b.URL + "/frames", Blob: job.Blob{Digest: digestOf(index), Size: int64(len(index))}}}}
	return b
}

// measured is how fast something took all frames.
type measured struct {
	rate float64 // raw MB/s
	cpu  float64 // seconds of processors for a raw GB
}

func (m measured) String() string { return fmt.Sprintf("%.0f MB/s (%.2f CPU s/GB)", m.rate, m.cpu) }

// busy is how many processors it had. zstd alone takes all that there are, which on a
// machine that others share is less than their number.
func (m measured) busy() float64 { return m.rate / 1e3 * m.cpu }

// rate measures something that takes all frames.
func (b *benchImage) rate(t *testing.T, f func() error) measured {
	t.Helper()
	runtime.GC()
	began, before := time.Now(), processors(t)
	if err := f(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	return measured{float64(b.index.RawSize) / took.Seconds() / 1e6, (processors(t) - before).Seconds() / (float64(b.index.RawSize) / 1e9)}
}

// processors is the time of processors that this process has taken.
func processors(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// each does something for all frames, so many at a time as an installation does.
func (b *benchImage) each(worker func() (func(i int) error, error)) error {
	var g errgroup.Group
	var next atomic.Int64
	for range maxWorkers {
		g.Go(func() error {
			f, err := worker()
			if err != nil {
				return err
			}
			for {
				i := int(next.Add(1) - 1)
				if i >= len(b.index.Frames) {
					return nil
				}
				if err := f(i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

func (b *benchImage) network(t *testing.T) measured {
	w := &writer{x: b.index}
	at, client := w.offsets(), newClient()
	defer client.CloseIdleConnections()
	src := newSource(client, time.Minute, func(string) {})
	return b.rate(t, func() error {
		return b.each(func() (func(int) error, error) {
			into := make([]byte, w.largest())
			return func(i int) error {
				return src.bytes(context.Background(), b.URL+"/image", into[:b.index.Frames[i].Size], at[i])
			}, nil
		})
	})
}

// decode is zstd, and nothing else.
func (b *benchImage) decode(t *testing.T) measured {
	w := &writer{x: b.index}
	at := w.offsets()
	f, err := os.Open(filepath.Join(b.dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return b.rate(t, func() error {
		return b.each(func() (func(int) error, error) {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
			compressed, raw := make([]byte, w.largest()), aligned(int(b.index.FrameSize)+page)
			return func(i int) error {
				c := compressed[:b.index.Frames[i].Size]
				if _, err := f.ReadAt(c, at[i]); err != nil {
					return err
				}
				_, err := d.DecodeAll(c, raw[:0])
				return err
			}, err
		})
	})
}

func (b *benchImage) disk(t *testing.T, back bool) measured {
	x, err := openTarget(b.blank(t))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	return b.rate(t, func() error {
		err := b.each(func() (func(int) error, error) {
			raw := aligned(int(b.index.FrameSize))
			return func(i int) error {
				n, at := b.index.RawSizeOf(i), int64(i)*b.index.FrameSize
				if err := x.writeAligned(raw[:n], at); err != nil || !back {
					return err
				}
				return x.readAligned(raw[:n], at)
			}, nil
		})
		return errors.Join(err, x.sync())
	})
}

func (b *benchImage) install(t *testing.T) measured {
	disk := b.blank(t)
	u, err := url.Parse(b.URL + "/job")
	if err != nil {
		t.Fatal(err)
	}
	return b.rate(t, func() error {
		out, err := Run(t.Context(), Options{URL: u, Disks: func() ([]job.Disk, error) { return []job.Disk{{Path: disk, Size: b.diskSize()}}, nil }})
		if err == nil && out.State != job.Installed {
			err = errors.New(out.Message)
		}
		return err
	})
}

func (b *benchImage) diskSize() int64 { return b.index.RawSize + 64<<20 }

// blank is a file that has its blocks, and nothing in the page cache, as a disk has: the
// last one, wiped.
func (b *benchImage) blank(t *testing.T) string {
	t.Helper()
	name := filepath.Join(b.dir, "disk")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	size := b.diskSize()
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	x, err := openTarget(name)
	if err != nil {
		t.Fatal(err)
	}
	zeros := aligned(16 << 20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if err := x.writeAligned(zeros, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(x.sync(), x.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}
