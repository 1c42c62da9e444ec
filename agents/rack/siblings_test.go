package rackagent

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// TestSiblingsAreKept: the word of the coordinator outlives the process; what was
// damaged counts for none.
func TestSiblingsAreKept(t *testing.T) {
	dir := state.Home(t.TempDir()).Rack("r4")
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	s := openSiblings(dir, log)
	has := func(want bool) {
		t.Helper()
		if s.Has(netip.MustParseAddr("10.0.2.254")) != want || s.Any() != want || s.Has(netip.MustParseAddr("10.0.2.253")) {
			t.Errorf("it is a sibling: %v, want %v", !want, want)
		}
	}
	has(false)
	s.Tell([]string{"10.0.2.254"})
	has(true)
	s = openSiblings(dir, log)
	has(true)
	s.Tell(nil)
	has(false)
	s = openSiblings(dir, log)
	has(false)
	if said.Len() > 0 {
		t.Errorf("it said %s", &said)
	}
	s.Tell([]string{"10.0.2.254", "127.0.0.1", "x"})
	has(true)
	if !strings.Contains(said.String(), "said=3 taken=1") {
		t.Errorf("it said %s", &said)
	}
	if err := os.WriteFile(filepath.Join(string(dir), "siblings"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openSiblings(dir, log)
	has(false)
	if !strings.Contains(said.String(), "is not known until the coordinator says so again") {
		t.Errorf("it said %s", &said)
	}
	many := make([]string, 2*bus.MaxSiblings)
	for i := range many {
		many[i] = fmt.Sprintf("10.1.%d.%d", i/250, i%250)
	}
	s.Tell(many)
	if n := len(s.all()); n != bus.MaxSiblings {
		t.Errorf("%d are kept", n)
	}
	var none *Siblings
	if none.Any() || none.Has(netip.MustParseAddr("10.0.2.254")) {
		t.Error("nobody has siblings")
	}
}

// TestSiblingOnTheSegment: a sibling keeps nobody from beginning and is told quietly,
// once; any other server is an alarm, and so is one with an address of ours, although the
// coordinator calls it a sibling.
func TestSiblingOnTheSegment(t *testing.T) {
	sibling := foreign.Server{Address: netip.MustParseAddr("10.0.2.254"), MAC: "02:00:00:00:00:02", Message: "OFFER", Client: "02:00:00:00:00:03"}
	other, ours := sibling, sibling
	other.Address, ours.Address = netip.MustParseAddr("10.0.2.253"), netip.MustParseAddr("10.0.1.254")
	chosen := ours
	chosen.MAC, chosen.Message = "", "REQUEST"
	known := openSiblings(state.Home(t.TempDir()).Rack("r1"), slog.New(slog.DiscardHandler))
	known.Tell([]string{"10.0.2.254", "10.0.1.254"})
	type word struct {
		kind NoticeKind
		text string
	}
	for _, c := range []struct {
		name     string
		siblings *Siblings
		s        foreign.Server
		refused  string // empty: it begins
		word     word
		counts   string
	}{
		{"a sibling", known, sibling, "", word{NoticeSibling, "the agent of another rack of the fleet is on this segment: 10.0.2.254"}, "sibling"},
		{"without the coordinator's word", nil, sibling, "another DHCP server is on the segment of interface rr9: 10.0.2.254", word{NoticeForeign, "ANOTHER DHCP SERVER: 10.0.2.254"}, "no"},
		{"another one", known, other, "another DHCP server is on the segment of interface rr9: 10.0.2.253", word{NoticeForeign, "ANOTHER DHCP SERVER: 10.0.2.253"}, "no"},
		{"our own address", known, ours, "10.0.1.254 is our own address on interface rr9, and MAC 02:00:00:00:00:02 has it too", word{NoticeForeign, "ANOTHER DHCP SERVER HAS OUR ADDRESS: 10.0.1.254"}, "no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []Notice
			l := &Line{rack: &rack.Rack{}, link: &wire.Link{Name: "rr9", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.1.254/24")}},
				tell: newTeller("r1", func(n Notice) { told = append(told, n) }), metrics: newLineMetrics("r1"), siblings: c.siblings}
			err := l.judge([]foreign.Server{c.s})
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v, want %s", err, c.refused)
			}
			l.overheard(c.s)
			l.overheard(c.s)
			if len(told) != 1 || told[0].Kind != c.word.kind || !strings.Contains(told[0].Text, c.word.text) {
				t.Errorf("%+v", told)
			}
			for _, label := range []string{"yes", "no", "sibling"} {
				want := 0.0
				if label == c.counts {
					want = 2
				}
				if got := testutil.ToFloat64(l.metrics.foreign.WithLabelValues("r1", label)); got != want {
					t.Errorf("%s: %g", label, got)
				}
			}
			if is, heard := l.company(); is != (c.siblings != nil) || heard != (c.counts == "sibling") {
				t.Errorf("company: %v %v", is, heard)
			}
			if err := l.judge([]foreign.Server{chosen}); err != nil {
				t.Errorf("a client that chooses us: %v", err)
			}
		})
	}
}
