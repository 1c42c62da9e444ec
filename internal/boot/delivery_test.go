package boot

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// One ticket, one delivery: a device that starts over is refused at once, while
// the end of a transfer that broke off, the job and the report stay open to it.
// A new ticket serves the image again.
func TestOneTicketOneDelivery(t *testing.T) {
	b := newBench(t)
	get := func(want int, path string, header ...string) {
		t.Helper()
		if got, _, _ := b.do("GET", path, nil, header...); got != want {
			t.Errorf("GET %s %q: %d, want %d", path, header, got, want)
		}
	}
	image, job := "/image/"+b.open.Token, "/job/"+b.open.Token
	get(206, image, "Range", "bytes=0-99") // a part is no delivery
	get(200, image)
	for _, header := range [][]string{nil, {"Range", "bytes=0-"}, {"Range", "bytes=0-99"}, {"Range", "bytes=5-6,0-1"}, {"Range", "lines=1-2"}} {
		get(410, image, header...)
	}
	get(206, image, "Range", fmt.Sprintf("bytes=%d-", imageSize-10))
	get(200, job)
	if got := b.evidence(); !slices.Equal(got, []rack.Evidence{rack.FetchedImage}) {
		t.Errorf("evidence %v, want one whole image", got)
	}
	if got, _, _ := b.do("POST", "/report/"+b.open.Token, strings.NewReader(`{"state":"failed","message":"disk"}`)); got != 204 {
		t.Errorf("its report: %d, want 204", got)
	}

	next := b.open
	next.ID = "run-1/server-01/2"
	next.Token = Token([]byte("s"), next.ID)
	old := b.open
	old.Open = false
	if err := b.SetTickets([]Ticket{old, next}); err != nil {
		t.Fatal(err)
	}
	get(410, image)
	get(200, "/image/"+next.Token)
}

// A transfer that ends when its device has a new ticket is no evidence for that one.
func TestDeliveredTooLate(t *testing.T) {
	b := newBenchSize(t, 24<<20)
	r, err := b.web.Get(b.InstallerURL(b.open))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	old, next := b.open, b.open
	old.Open = false
	next.ID = "run-1/server-01/2"
	next.Token = Token([]byte("s"), next.ID)
	if err := b.SetTickets([]Ticket{old, next}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r.Body); n != 24<<20 || err != nil {
		t.Fatal(n, err)
	}
	b.stop()
	if got := b.evidence(); len(got) != 0 {
		t.Errorf("evidence %v", got)
	}
}
