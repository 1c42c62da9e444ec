package bus

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/messages"
)

func TestServerIDs(t *testing.T) {
	many := make([]string, 3*MaxServerIDs)
	for i := range many {
		many[i] = fmt.Sprintf("10.0.0.%d", len(many)-i)
	}
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{nil, "[]"},
		{[]string{"10.0.2.254", "10.0.1.254", "10.0.2.254"}, "[10.0.1.254 10.0.2.254]"},
		{[]string{"127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "169.254.1.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "", "x", "10.0.0.1/24", strings.Repeat("1", 1<<20)}, "[]"},
		{many[:MaxServerIDs+1], "[10.0.0.16 10.0.0.17 10.0.0.18 10.0.0.19 10.0.0.20 10.0.0.21 10.0.0.22 10.0.0.23]"},
	} {
		if got := fmt.Sprint(ServerIDs(c.texts, MaxServerIDs)); got != c.want {
			t.Errorf("%.100q: %s, want %s", c.texts, got, c.want)
		}
	}
	if got := len(ServerIDs(many, MaxServerIDs)); got != MaxServerIDs {
		t.Errorf("%d are kept", got)
	}
}

func FuzzServerIDs(f *testing.F) {
	f.Add("10.0.1.254 127.0.0.1 ::1 255.255.255.255")
	f.Fuzz(func(t *testing.T, text string) {
		ids := ServerIDs(strings.Fields(text), 4)
		if len(ids) > 4 {
			t.Errorf("%d are kept", len(ids))
		}
		for _, a := range ids {
			if !a.Is4() || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() {
				t.Errorf("%s", a)
			}
		}
	})
}

// heardSiblings is what an agent was told, word by word.
type heardSiblings struct {
	mu   sync.Mutex
	told [][]string
}

func (h *heardSiblings) hear(ids []string) { h.mu.Lock(); h.told = append(h.told, ids); h.mu.Unlock() }

func (h *heardSiblings) last() (ids []string, words int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.told) == 0 {
		return nil, 0
	}
	return h.told[len(h.told)-1], len(h.told)
}

// TestSiblings: an agent is told who its siblings are, once it is known; again when they
// have changed, also to none; and not otherwise.
func TestSiblings(t *testing.T) {
	var mu sync.Mutex
	var ids []string
	version := uint64(0)
	become := func(now ...string) { mu.Lock(); ids, version = now, version+1; mu.Unlock() }
	asked := 0
	c := newCoordinator(t, newRecord())
	c.door.o.Siblings = func(rack string, known uint64) ([]string, uint64) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if rack != "r1" {
			t.Errorf("asked for %s", rack)
		}
		if known == version {
			return nil, known
		}
		return ids, version
	}
	rounds := func() {
		mu.Lock()
		n := asked
		mu.Unlock()
		until(t, "more is asked", func() bool { mu.Lock(); defer mu.Unlock(); return asked > n+3 })
	}
	var h heardSiblings
	newAgent(t, c.server.URL, newOwn(), func(o *UplinkOptions) { o.Siblings = h.hear })
	rounds()
	if _, words := h.last(); words != 0 {
		t.Errorf("%d words before anything is known", words)
	}
	for i, now := range [][]string{{"10.0.2.254"}, {"10.0.2.254", "10.0.3.254"}, nil} {
		become(now...)
		until(t, fmt.Sprint(now), func() bool {
			got, words := h.last()
			return words == i+1 && slices.Equal(got, now)
		})
	}
	rounds()
	if _, words := h.last(); words != 3 {
		t.Errorf("%d words, want 3", words)
	}
	become("10.0.4.254")
	var second heardSiblings // at once with the welcome
	newAgent(t, c.server.URL, newOwn(), func(o *UplinkOptions) { o.Siblings = second.hear })
	until(t, "a welcome", func() bool { got, _ := second.last(); return slices.Equal(got, []string{"10.0.4.254"}) })
}

// TestSiblingsOfAnotherRelease: an agent that knows nothing of siblings goes on when it is
// told of them, and what an agent of before said in its hello is read over.
func TestSiblingsOfAnotherRelease(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	version := uint64(0)
	var mu sync.Mutex
	c.door.o.Siblings = func(string, uint64) ([]string, uint64) {
		mu.Lock()
		defer mu.Unlock()
		version++
		return []string{"10.0.2.254"}, version
	}
	a := newAgent(t, c.server.URL, j, func(o *UplinkOptions) {
		o.Hello = func() *messages.Hello {
			h := &messages.Hello{Version: "before"}
			h.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 7, protowire.BytesType), "127.0.0.1"))
			return h
		}
	})
	until(t, "it is told a few times", func() bool { mu.Lock(); defer mu.Unlock(); return version > 5 })
	j.add(3)
	until(t, "its events are there", func() bool { return log.seq("r1") == 3 })
	if s := func() State { a.mu.Lock(); defer a.mu.Unlock(); return a.state }(); !s.Connected {
		t.Errorf("%+v", s)
	}
	// To an agent of before, the word is a message without one.
	b, err := proto.Marshal(&messages.ConnectResponse{Message: &messages.ConnectResponse_Siblings{Siblings: &messages.Siblings{ServerIds: []string{"10.0.2.254"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, _ := protowire.ConsumeTag(b); n != 4 {
		t.Errorf("siblings are field %d: agents of before know 1 to 3", n)
	}
}
