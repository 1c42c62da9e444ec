package boot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// failing is a store whose disk fails in the middle of every image.
type failing struct{ *shelf }

type failingImage struct {
	io.ReadSeekCloser
	left *int64
}

func (f failingImage) Read(p []byte) (int, error) {
	if *f.left <= 0 {
		return 0, errors.New("the disk fails")
	}
	n, err := f.ReadSeekCloser.Read(p[:min(int64(len(p)), *f.left)])
	*f.left -= int64(n)
	return n, err
}

func (s failing) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	f, i, err := s.shelf.Open(name)
	left := i.Size / 2
	return failingImage{f, &left}, i, err
}

// A boot file that did not go out whole proves nothing, whoever is to blame.
func TestHalfABootFileIsNoEvidence(t *testing.T) {
	b, native, _ := newNativeBench(t, "")
	b.o.Images = failing{b.shelf}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/native/"+native.Token+"/kernel", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.web.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	if err == nil {
		t.Errorf("the device takes %d bytes for all", n)
	}
	b.stop()
	if got := b.evidence(); len(got) != 0 {
		t.Errorf("half a kernel is evidence: %v", got)
	}
	for _, c := range b.counts {
		if c.What == "boot-file" && c.Outcome != Aborted {
			t.Errorf("counted as %+v", c)
		}
	}
}

// A question about the image is no fetching of it: it takes from a device that goes on
// nothing of what it holds, and gives it nothing.
func TestHeadIsNoTransfer(t *testing.T) {
	const half = imageSize / 2
	for name, header := range map[string][]string{"of all": nil, "of the rest": {"Range", fmt.Sprintf("bytes=%d-", half)}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ticket := b.open
			ticket.ID, ticket.Resumed = "run-1/server-01/7", true
			ticket.Token = Token([]byte("s"), ticket.ID)
			if err := b.SetTickets([]Ticket{ticket}); err != nil {
				t.Fatal(err)
			}
			b.do("HEAD", "/image/"+ticket.Token, nil, header...)
			if served, _ := b.Progress("server-01"); served != 0 {
				t.Errorf("%d bytes count as served", served)
			}
			b.do("GET", "/image/"+ticket.Token, nil, "Range", fmt.Sprintf("bytes=%d-", half))
			b.stop()
			if served, size := b.Progress("server-01"); served != size || !slices.Equal(b.evidence(), []rack.Evidence{rack.FetchedImage}) {
				t.Errorf("served %d of %d, evidence %v", served, size, b.evidence())
			}
		})
	}
}

// An image that is not as long as its ticket says is none, or a device would run a part
// of it.
func TestImageThatWasCutOff(t *testing.T) {
	b := newBench(t)
	b.shelf.data = b.shelf.data[:imageSize/2]
	if status, _, body := b.do("GET", "/image/"+b.open.Token, nil); status != http.StatusInternalServerError {
		t.Errorf("%d with %d bytes", status, len(body))
	}
}

// What an operating system's own installer loads, and the initramfs of ours, is bounded
// as images are: ESXi is nothing but boot files.
func TestBandwidthOfBootFiles(t *testing.T) {
	for name, path := range map[string]string{"native": "/native/%s/kernel", "installer": "/installer/%s/kernel"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size, rate = 256 << 10, 8 << 10
				images, open, dial := virtualWith(t, Bandwidth{Device: rate}, size, func(o *Options) {
					o.Images, o.Native = diskShelf{o.Images.(*held).shelf, nil}, nativeFake{}
				})
				open.Native, open.Platform = true, "sim-server"
				if err := images.s.SetTickets([]Ticket{open}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				c := dial()
				if _, err := fmt.Fprintf(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", open.Token); err != nil {
					t.Fatal(err)
				}
				r, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r.Body)
				if err != nil || !bytes.Equal(got, images.data) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if took := time.Since(began).Seconds(); took < 0.9*size/rate || took > 1.1*size/rate {
					t.Errorf("took %.1f s at %d B/s, want %d", took, rate, size/rate)
				}
			})
		})
	}
}

// A device that has heard another's token, as every device does whose neighbour asks DHCP
// to be answered by broadcast, gets nothing by it, and ends nobody's job.
func TestAnotherDevicesToken(t *testing.T) {
	who := atomic.Pointer[string]{}
	var asked atomic.Value
	b := newBenchWith(t, 100, func(o *Options) {
		o.DeviceAt = func(a netip.Addr) (string, bool) {
			asked.Store(a)
			if n := who.Load(); n != nil {
				return *n, true
			}
			return "", false
		}
	})
	b.o.Images, b.o.Native = diskShelf{b.shelf, nil}, nativeFake{}
	b.open.Native = true
	if err := b.SetTickets([]Ticket{b.open}); err != nil {
		t.Fatal(err)
	}
	paths := []string{"GET /job/%s", "GET /image/%s", "GET /frames/%s", "GET /installer/%s/kernel", "GET /native/%s/ks.cfg", "GET /loader/%s/ipxe.efi",
		"POST /report/%s", "POST /progress/%s", "POST /hardware/%s", "POST /native/%s/report/installed"}
	other, own := "server-02", "server-01"
	for _, n := range []*string{&other, &own, nil} {
		who.Store(n)
		for _, p := range paths {
			method, path, _ := strings.Cut(fmt.Sprintf(p, b.open.Token), " ")
			status, _, _ := b.do(method, path, strings.NewReader("{}"))
			if (status == http.StatusForbidden) != (n == &other) {
				t.Errorf("%s: %d", p, status)
			}
		}
		f, err := b.openFile(b.BootFile(b.open), netip.MustParseAddrPort("10.0.0.9:2070"))
		if (err != nil) != (n == &other) {
			t.Errorf("TFTP: %v, %v", f, err)
		}
		if a := asked.Load(); a != netip.MustParseAddr("10.0.0.9") {
			t.Errorf("asked about %v", a)
		}
	}
	b.stop()
	for _, r := range b.reports {
		if r.Remote == "" {
			t.Errorf("%+v", r)
		}
	}
}
