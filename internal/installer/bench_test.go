//go:build bench

package installer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/job"
)

// benchSize is the raw bytes of the image, half of which is noise.
const benchSize = 1 << 30

// benchRounds is how often all is measured; the medians count.
const benchRounds = 5

// TestInstallerBench measures an installation on a file of this machine's disk, over
// loopback, and beside it, in turns, what limits it: the network alone, decoding alone,
// the disk alone (written and read back, as an installation does). Everything shares the
// processors of one machine here: on a rack, agent and machine have their own.
func TestInstallerBench(t *testing.T) {
	b := newBenchImage(t)
	var ratios []float64
	for range benchRounds {
		net, decode, disk := b.network(t), b.decode(t), b.disk(t)
		limit := min(net, decode, disk)
		all := b.install(t)
		ratios = append(ratios, all/limit)
		t.Logf("network %.0f, decode %.0f, disk %.0f, installation %.0f MB/s raw: %.2f of its limit", net, decode, disk, all, all/limit)
	}
	slices.Sort(ratios)
	fmt.Printf("RESULT installer_ratio_limit %.2f\n", ratios[len(ratios)/2])
}

type benchImage struct {
	dir   string
	index frames.Index
	job   job.Job
	*httptest.Server
}

func newBenchImage(t *testing.T) *benchImage {
	t.Helper()
	b := &benchImage{dir: t.TempDir()}
	raw, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		t.Fatal(err)
	}
	w, noise, block := bufio.NewWriterSize(raw, 1<<20), rand.NewChaCha8([32]byte{}), make([]byte, 4096)
	for range benchSize / len(block) {
		_, _ = noise.Read(block[:len(block)/2])
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
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
	if err = errors.Join(err, os.WriteFile(filepath.Join(b.dir, "frames"), index, 0o600), raw.Close(), compressed.Close(), os.Remove(raw.Name())); err != nil {
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

// rate is raw MB/s of something that takes all frames.
func rate(t *testing.T, f func() error) float64 {
	t.Helper()
	runtime.GC()
	began := time.Now()
	if err := f(); err != nil {
		t.Fatal(err)
	}
	return benchSize / time.Since(began).Seconds() / 1e6
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

func (b *benchImage) network(t *testing.T) float64 {
	w := &writer{x: b.index}
	at, client := w.offsets(), newClient()
	defer client.CloseIdleConnections()
	src := newSource(client, time.Minute, func(string) {})
	return rate(t, func() error {
		return b.each(func() (func(int) error, error) {
			into := make([]byte, w.largest())
			return func(i int) error {
				return src.bytes(context.Background(), b.URL+"/image", into[:b.index.Frames[i].Size], at[i])
			}, nil
		})
	})
}

func (b *benchImage) decode(t *testing.T) float64 {
	w := &writer{x: b.index}
	at := w.offsets()
	f, err := os.Open(filepath.Join(b.dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return rate(t, func() error {
		return b.each(func() (func(int) error, error) {
			d, err := frames.NewDecoder(b.index)
			compressed, raw := make([]byte, w.largest()), aligned(int(b.index.FrameSize)+page)
			return func(i int) error {
				c := compressed[:b.index.Frames[i].Size]
				if _, err := f.ReadAt(c, at[i]); err != nil {
					return err
				}
				_, err := d.Decode(i, c, raw[:0])
				return err
			}, err
		})
	})
}

func (b *benchImage) disk(t *testing.T) float64 {
	x, err := openTarget(b.blank(t))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	return rate(t, func() error {
		err := b.each(func() (func(int) error, error) {
			raw := aligned(int(b.index.FrameSize))
			return func(i int) error {
				n, at := b.index.RawSizeOf(i), int64(i)*b.index.FrameSize
				return errors.Join(x.writeAligned(raw[:n], at), x.readAligned(raw[:n], at))
			}, nil
		})
		return errors.Join(err, x.sync())
	})
}

func (b *benchImage) install(t *testing.T) float64 {
	disk := b.blank(t)
	u, err := url.Parse(b.URL + "/job")
	if err != nil {
		t.Fatal(err)
	}
	return rate(t, func() error {
		out, err := Run(t.Context(), Options{URL: u, Disks: func() ([]job.Disk, error) { return []job.Disk{{Path: disk, Size: benchSize + 64<<20}}, nil }})
		if err == nil && out.State != job.Installed {
			err = errors.New(out.Message)
		}
		return err
	})
}

// blank is a file that has its blocks, as a disk has: the last one, wiped.
func (b *benchImage) blank(t *testing.T) string {
	t.Helper()
	name := filepath.Join(b.dir, "disk")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	const size = benchSize + 64<<20
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}
