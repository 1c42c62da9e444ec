package boot

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// A ticket from an earlier life of the agent: what the device holds counts, once,
// and only if it goes on where it was.
func TestResumedTicket(t *testing.T) {
	const half = imageSize / 2
	from := func(n int64) string { return fmt.Sprintf("bytes=%d-", n) }
	whole := []rack.Evidence{rack.FetchedImage}
	for name, tt := range map[string]struct {
		fresh  bool // issued in this life
		header [][]string
		served int64
		want   []rack.Evidence
	}{
		"it goes on":                     {false, [][]string{{"Range", from(half)}}, imageSize, whole},
		"it goes on, told by this life":  {true, [][]string{{"Range", from(half)}}, imageSize - half, nil},
		"it goes on with the same image": {false, [][]string{{"Range", from(half), "If-Range", "ETAG"}}, imageSize, whole},
		"a part in the middle":           {false, [][]string{{"Range", fmt.Sprintf("bytes=%d-%d", half, half+9)}}, 10, nil},
		"it starts over":                 {false, [][]string{{"Range", "bytes=0-9"}, {"Range", from(half)}}, imageSize - half + 10, nil},
		"it held another image":          {false, [][]string{{"Range", "bytes=0-9", "If-Range", `"other"`}}, imageSize, whole}, // all of it was sent
		"only the first range counts":    {false, [][]string{{"Range", "bytes=100-199"}, {"Range", from(half)}}, imageSize - half + 100, nil},
		"beyond the end":                 {false, [][]string{{"Range", from(imageSize)}}, 0, nil},
		"several ranges":                 {false, [][]string{{"Range", "bytes=5-6,9-10"}}, imageSize, whole}, // all of it was sent
		"nonsense":                       {false, [][]string{{"Range", "bytes=-5"}}, 5, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ticket := b.open
			ticket.ID, ticket.Resumed = "run-1/server-01/7", !tt.fresh
			ticket.Token = Token([]byte("s"), ticket.ID)
			for range 2 { // tickets are set again and again
				if err := b.SetTickets([]Ticket{ticket}); err != nil {
					t.Fatal(err)
				}
			}
			for _, h := range tt.header {
				for i := range h {
					if h[i] == "ETAG" {
						h[i] = `"` + ticket.Image.Digest + `"`
					}
				}
				b.do("GET", "/image/"+ticket.Token, nil, h...)
			}
			b.stop() // a byte counts once its handler is through with it, which the device does not wait for
			served, _ := b.Progress("server-01")
			if got := b.evidence(); served != tt.served || !slices.Equal(got, tt.want) {
				t.Errorf("served %d, evidence %v; want %d, %v", served, got, tt.served, tt.want)
			}
		})
	}
}

// What was delivered in an earlier life is not begun again, and not told again.
func TestDeliveredTicket(t *testing.T) {
	b := newBench(t)
	ticket := b.open
	ticket.ID, ticket.Resumed, ticket.Delivered = "run-1/server-01/7", true, true
	ticket.Token = Token([]byte("s"), ticket.ID)
	if err := b.SetTickets([]Ticket{ticket}); err != nil {
		t.Fatal(err)
	}
	if served, size := b.Progress("server-01"); served != size || size != imageSize {
		t.Errorf("served %d of %d", served, size)
	}
	for _, tt := range []struct {
		want   int
		path   string
		header []string
	}{
		{410, "/image/", nil}, {410, "/image/", []string{"Range", "bytes=0-"}},
		{206, "/image/", []string{"Range", fmt.Sprintf("bytes=%d-", imageSize-10)}}, {200, "/job/", nil},
	} {
		if got, _, _ := b.do("GET", tt.path+ticket.Token, nil, tt.header...); got != tt.want {
			t.Errorf("GET %s %v: %d, want %d", tt.path, tt.header, got, tt.want)
		}
	}
	b.stop()
	if got := b.evidence(); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
}
