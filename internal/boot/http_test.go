package boot

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestJob(t *testing.T) {
	b := newBench(t)
	b.open.Overwrites = `foreign:ext4 "old"`
	if err := b.SetTickets([]Ticket{b.open}); err != nil {
		t.Fatal(err)
	}
	status, header, body := b.do("GET", "/job/"+b.open.Token, nil)
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil || status != 200 || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %q: %v", status, body, err)
	}
	want := fmt.Sprintf(`{"rack":"r1","device":"server-01","run":"run-1","ticket":"run-1/server-01/1","role":"server","platform":"sim-server",`+
		`"image":{"name":"sim-hypervisor","url":%q,"digest":%q,"size":%d},"report":%q,"overwrites":"foreign:ext4 \"old\"","hardware":%q}`,
		b.InstallerURL(b.open), b.open.Image.Digest, imageSize, b.base+"/report/"+b.open.Token, b.base+"/hardware/"+b.open.Token)
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestStatus(t *testing.T) {
	b := newBench(t)
	other := Token([]byte("s"), "unknown")
	good := `{"state":"failed","message":"disk"}`
	tests := []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/job/" + b.closed.Token, "", 410},
		{"GET", "/image/" + b.closed.Token, "", 410},
		{"POST", "/report/" + b.closed.Token, good, 409},
		{"GET", "/job/" + other, "", 404},
		{"GET", "/image/" + other, "", 404},
		{"GET", "/image/" + strings.ToUpper(b.open.Token), "", 404},
		{"GET", "/image/", "", 404},
		{"GET", "/image/../../etc/passwd", "", 404},
		{"GET", "/image/%2e%2e%2fetc%2fpasswd", "", 404},
		{"POST", "/report/" + other, good, 404},
		{"POST", "/report/" + b.open.Token, "", 400},
		{"POST", "/report/" + b.open.Token, `{"state":"done"}`, 400},
		{"POST", "/report/" + b.open.Token, `{"state":"installed"}`, 400},
		{"POST", "/report/" + b.open.Token, `{"state":"installed","digest":"md5:1"}`, 400},
		{"POST", "/report/" + b.open.Token, good + good, 400},
		{"POST", "/report/" + b.open.Token, `{"state":"refused"}`, 400},
		{"POST", "/report/" + b.open.Token, `{"state":"refused","holds":"\u0007"}`, 400},
		{"POST", "/report/" + b.open.Token, `{"state":"refused","holds":"something"}`, 400},
		{"POST", "/report/" + b.open.Token, `{"state":"refused","holds":"foreign:ext4"}`, 204},
		{"POST", "/report/" + b.open.Token, `{"state":"failed","message":"` + strings.Repeat("x", maxReport) + `"}`, 400},
		{"POST", "/image/" + b.open.Token, "", 405},
		{"GET", "/report/" + b.open.Token, "", 405},
		{"POST", "/report/" + b.open.Token, good, 204},
	}
	for _, tt := range tests {
		if got, _, body := b.do(tt.method, tt.path, strings.NewReader(tt.body)); got != tt.want {
			t.Errorf("%s %s %.40q: %d %q, want %d", tt.method, tt.path, tt.body, got, body, tt.want)
		}
	}
	if len(b.reports) != 2 || b.reports[0].Holds != "foreign:ext4" || len(b.evidence()) != 0 {
		t.Errorf("told of %+v and %v", b.reports, b.fetched)
	}
}

func TestWholeImage(t *testing.T) {
	b := newBench(t)
	status, header, body := b.do("GET", "/image/"+b.open.Token, nil)
	if status != 200 || !bytes.Equal(body, b.shelf.data) || header.Get("ETag") != `"`+b.open.Image.Digest+`"` {
		t.Fatalf("%d, %d bytes, %v", status, len(body), header)
	}
	b.do("GET", "/image/"+b.open.Token, nil)
	b.stop()
	if served, size := b.Progress("server-01"); served != imageSize || size != imageSize {
		t.Errorf("progress %d of %d", served, size)
	}
	if got := b.evidence(); !slices.Equal(got, []rack.Evidence{rack.FetchedImage}) {
		t.Errorf("evidence %v, want the image once", got)
	}
}

// Ranges, in any order and overlapping, make a whole; their sum does not.
func TestRanges(t *testing.T) {
	b := newBench(t)
	get := func(want int, from, to int) {
		t.Helper()
		status, _, body := b.do("GET", "/image/"+b.open.Token, nil, "Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
		if status != want || want == 206 && !bytes.Equal(body, b.shelf.data[from:to]) {
			t.Fatalf("%d-%d: %d with %d bytes", from, to, status, len(body))
		}
	}
	check := func(want int64, whole bool) {
		t.Helper()
		b.do("HEAD", "/image/"+b.open.Token, nil) // on the same connection: the last response is accounted for
		if served, _ := b.Progress("server-01"); served != want || (len(b.evidence()) == 1) != whole {
			t.Fatalf("served %d, evidence %v; want %d, %t", served, b.evidence(), want, whole)
		}
	}
	get(206, 1<<20, imageSize)
	get(206, 1<<20, imageSize)
	check(imageSize-1<<20, false)
	get(416, imageSize, imageSize+1)
	get(206, 0, 100)
	check(imageSize-1<<20+100, false)
	get(206, 50, 1<<20-1)
	check(imageSize-1, false)
	get(206, 1<<20-1, 1<<20)
	check(imageSize, true)
}

func TestManyRangesAtOnce(t *testing.T) {
	b := newBench(t)
	status, _, body := b.do("GET", "/image/"+b.open.Token, nil, "Range", "bytes=0-1,5-9")
	if status != 200 || len(body) != imageSize {
		t.Errorf("%d with %d bytes, want the whole image", status, len(body))
	}
}

// A device that goes away in the middle has not fetched the image; it may come
// back for the rest.
func TestAbortAndResume(t *testing.T) {
	const size = 24 << 20 // beyond what both sockets' buffers can hold
	b := newBenchSize(t, size)
	c, err := net.Dial("tcp4", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /image/%s HTTP/1.1\r\nHost: x\r\n\r\n", b.open.Token)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	// The chunk on its way counts when it was handed over whole.
	if served, _ := b.Progress("server-01"); served < 1<<20-chunkSize || served >= size {
		t.Errorf("served %d after one MiB was read", served)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if len(b.evidence()) != 0 {
		t.Errorf("evidence %v after an abort", b.evidence())
	}
	_, _, body := b.do("GET", "/image/"+b.open.Token, nil, "Range", "bytes=1048576-")
	if !bytes.Equal(body, b.shelf.data[1<<20:]) {
		t.Error("the rest differs")
	}
	b.stop()
	if !slices.Equal(b.evidence(), []rack.Evidence{rack.FetchedImage}) {
		t.Errorf("evidence %v", b.evidence())
	}
}

// A device that stops reading holds Serve for the drain, not longer.
func TestSlowClientAtTheEnd(t *testing.T) {
	b := newBenchSize(t, 24<<20)
	c, err := net.Dial("tcp4", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /image/%s HTTP/1.1\r\nHost: x\r\n\r\n", b.open.Token)
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if len(b.evidence()) != 0 {
		t.Errorf("evidence %v", b.evidence())
	}
}

// A ticket that closes while its image is on the way is served to the end, and
// keeps its progress.
func TestCloseWhileServing(t *testing.T) {
	b := newBenchSize(t, 24<<20)
	r, err := b.web.Get(b.InstallerURL(b.open))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	shut := b.open
	shut.Open = false
	if err := b.SetTickets([]Ticket{shut}); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(body, b.shelf.data) {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	b.stop()
	if served, _ := b.Progress("server-01"); served != 24<<20 {
		t.Errorf("served %d", served)
	}
}

func TestStoreTrouble(t *testing.T) {
	b := newBench(t)
	b.shelf.image.Digest = "sha256:" + strings.Repeat("0", 64)
	if status, _, body := b.do("GET", "/image/"+b.open.Token, nil); status != 500 || !strings.Contains(string(body), "changed") {
		t.Errorf("%d %q", status, body)
	}
	b.shelf.err = errors.New("disk error at /secret/path")
	if status, _, body := b.do("GET", "/image/"+b.open.Token, nil); status != 500 || strings.Contains(string(body), "secret") {
		t.Errorf("%d %q", status, body)
	}
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		answer error
		want   int
	}{{nil, 204}, {ErrClosed, 409}, {errors.New("disk full"), 503}} {
		b := newBench(t)
		b.answer = tt.answer
		body := fmt.Sprintf(`{"state":"installed","message":"all \u001b[31mgood\n","digest":%q}`, b.open.Image.Digest)
		if status, _, text := b.do("POST", "/report/"+b.open.Token, strings.NewReader(body)); status != tt.want || strings.Contains(string(text), "disk") {
			t.Errorf("%v: %d %q, want %d", tt.answer, status, text, tt.want)
		}
		o := b.reports[0].Observation()
		if o.Proves != rack.ReportedInstalled || o.Device != "server-01" || o.Source != rack.FromHTTP || o.Message != "all [31mgood" {
			t.Errorf("observation %+v", o)
		}
	}
}

// A store of files keeps the image's bytes out of user space: the connection
// sees the file itself, whole or in a tar.
func TestFileReachesTheConnection(t *testing.T) {
	const size, before = 2*chunkSize + 7, 512 // of an image, and of what stands before it in the tar
	all := newShelf(before + size + 100).data
	path := filepath.Join(t.TempDir(), "images.tar")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(*os.File) (io.ReadSeeker, []byte){
		"a file": func(f *os.File) (io.ReadSeeker, []byte) { return f, all[:size] },
		"a part of a file": func(f *os.File) (io.ReadSeeker, []byte) {
			if _, err := f.Seek(before, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			return &tarred{f: f, size: size}, all[before : before+size]
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			image, want := open(f)
			w := &fileSpy{}
			body := &content{ReadSeeker: image, to: newTransfer(size, func() {})}
			n, err := (&conn{Conn: w, queue: func() (int64, bool) { return 0, true }}).ReadFrom(&io.LimitedReader{R: body, N: size})
			if err != nil || n != size || w.files != 3 || !bytes.Equal(w.got.Bytes(), want) {
				t.Errorf("%d bytes, %v, the connection saw the file %d times, want 3", n, err, w.files)
			}
			if served, _ := body.to.progress(); served != size {
				t.Errorf("progress %d", served)
			}
			if at, err := image.Seek(0, io.SeekCurrent); err != nil || at != size {
				t.Errorf("the image is at %d, %v", at, err)
			}
		})
	}
}

// spied is a connection that tells how often it was given a file.
type spied struct {
	*net.TCPConn
	files *atomic.Int64
}

func (s spied) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			s.files.Add(1)
		}
	}
	return s.TCPConn.ReadFrom(r)
}

// spy is a listener for such connections.
type spy struct {
	net.Listener
	files atomic.Int64
}

func (s *spy) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return spied{c.(*net.TCPConn), &s.files}, nil
}

// onDisk is a store whose image is a file.
type onDisk struct {
	*shelf
	path string
}

func (o onDisk) Open(string) (io.ReadSeekCloser, rack.Image, error) {
	f, err := os.Open(o.path)
	return f, o.image, err
}

// Through the whole service the file itself reaches the connection, so the kernel sends
// it: nothing on the way hides ReadFrom.
func TestSendfile(t *testing.T) {
	var l *spy
	path := filepath.Join(t.TempDir(), "image")
	b := newBenchWith(t, 3*chunkSize, func(o *Options) {
		l = &spy{Listener: o.HTTP}
		o.HTTP, o.Images = l, onDisk{o.Images.(*shelf), path}
	})
	if err := os.WriteFile(path, b.shelf.data, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, body := b.do("GET", "/image/"+b.open.Token, nil); status != 200 || !bytes.Equal(body, b.shelf.data) || l.files.Load() != 3 {
		t.Errorf("%d, %d bytes, the file reached the connection %d times, want 3", status, len(body), l.files.Load())
	}
}

// tarred is a part of a file, as bundle.Section is.
type tarred struct {
	f        *os.File
	at, size int64
}

var (
	_ part = (*tarred)(nil)
	_ part = (*bundle.Section)(nil)
)

func (p *tarred) File() (*os.File, int64) { return p.f, p.size - p.at }

func (p *tarred) Read([]byte) (int, error) { panic("bytes of a file go through user space") }

func (p *tarred) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent {
		panic("only forwards")
	}
	p.at += offset
	return p.at, nil
}

// What a device asks for with HEAD costs it nothing, and counts for nothing.
func TestHead(t *testing.T) {
	b := newBench(t)
	status, header, body := b.do("HEAD", "/image/"+b.open.Token, nil)
	if status != 200 || header.Get("Content-Length") != fmt.Sprint(imageSize) || header.Get("Accept-Ranges") != "bytes" || len(body) != 0 {
		t.Errorf("%d %v", status, header)
	}
	status, header, _ = b.do("HEAD", "/image/"+b.open.Token, nil, "Range", "bytes=5-9")
	if status != 206 || header.Get("Content-Length") != "5" || header.Get("Content-Range") != fmt.Sprintf("bytes 5-9/%d", imageSize) {
		t.Errorf("%d %v", status, header)
	}
	if status, _, _ = b.do("HEAD", "/job/"+b.open.Token, nil); status != 200 {
		t.Errorf("job: %d", status)
	}
	if status, _, _ = b.do("HEAD", "/image/"+b.closed.Token, nil); status != 410 {
		t.Errorf("closed: %d", status)
	}
	b.stop()
	if served, _ := b.Progress("server-01"); served != 0 || len(b.evidence()) != 0 {
		t.Errorf("served %d, evidence %v", served, b.evidence())
	}
}
