package rackagent

import (
	"net"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// NoticeKind says what a notice is about.
type NoticeKind string

// The kinds of notices.
const (
	NoticeService    NoticeKind = "service"         // something is served from now on, or no more
	NoticeSeen       NoticeKind = "seen"            // a component was seen in a stage, and bound to a slot
	NoticeAddress    NoticeKind = "address"         // a component was given its address
	NoticeDeclined   NoticeKind = "declined"        // a component refuses its address: somebody else has it
	NoticeStranger   NoticeKind = "stranger"        // no slot fits; it gets an address of a pool for strangers, or no answer
	NoticeAmbiguous  NoticeKind = "ambiguous"       // more than one slot fits; it is not answered
	NoticeBMC        NoticeKind = "bmc"             // a BMC answered
	NoticeNeighbour  NoticeKind = "neighbour"       // what is at the other end of our cable
	NoticeInUse      NoticeKind = "in-use"          // somebody has an address
	NoticeForeign    NoticeKind = "foreign-server"  // another DHCP server
	NoticeSibling    NoticeKind = "sibling"         // the agent of another rack of the fleet is on the segment
	NoticeAlarm      NoticeKind = "alarm"           // a person must see to something
	NoticeTrouble    NoticeKind = "trouble"         // something does not work; the rest goes on
	NoticeStrangers  NoticeKind = "strangers-muted" // so many that no more of them are told
	maxNotices                  = 4096              // different things that are told at most, so that strangers fill no memory
	noticesStrangers            = maxNotices * 3 / 4
)

// Notice is one thing that was learnt. Its strings are bounded and printable.
type Notice struct {
	Time     time.Time  `json:"time"`
	Kind     NoticeKind `json:"kind"`
	Rack     string     `json:"rack,omitempty"`
	Device   string     `json:"device,omitempty"` // slot
	By       rack.How   `json:"by,omitempty"`     // the key that bound it
	MAC      string     `json:"mac,omitempty"`
	UUID     string     `json:"uuid,omitempty"`
	Stage    rack.Stage `json:"stage,omitempty"`
	Vendor   string     `json:"vendor,omitempty"`
	Model    string     `json:"model,omitempty"`
	Serial   string     `json:"serial,omitempty"`
	Via      string     `json:"via,omitempty"` // the switch port that it came through, as option 82 names it
	Address  string     `json:"address,omitempty"`
	Evidence string     `json:"evidence,omitempty"`
	Text     string     `json:"text"` // the same, for people
}

// teller tells each thing once.
type teller struct {
	rack string
	tell func(Notice)
	now  func() time.Time

	mu        sync.Mutex
	told      map[Notice]struct{}
	strangers int
}

func newTeller(rack string, tell func(Notice)) *teller {
	return &teller{rack: rack, tell: tell, now: time.Now, told: map[Notice]struct{}{}}
}

// say tells a notice unless the same was told before. Calls come one after the
// other.
func (t *teller) say(n Notice) { t.once(n, nil) }

// once is say, with a text that is made only when it is told and that does not count
// for what is the same: a busy network says most things again and again.
func (t *teller) once(n Notice, text func() string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stranger := n.Kind == NoticeStranger || n.Kind == NoticeAmbiguous
	if stranger && t.strangers >= noticesStrangers {
		return
	}
	n.Rack, n.Time = t.rack, time.Time{}
	if _, ok := t.told[n]; ok {
		return
	}
	if len(t.told) >= maxNotices {
		clear(t.told) // what is learnt once more is told once more
	}
	t.told[n] = struct{}{}
	n.Time = t.now()
	if text != nil {
		n.Text = text()
	}
	t.tell(n)
	if stranger {
		if t.strangers++; t.strangers == noticesStrangers {
			t.tell(Notice{Kind: NoticeStrangers, Rack: t.rack, Time: n.Time, Text: "so many unknown components that no more of them are told; they are counted"})
		}
	}
}

// again tells a notice although the same may have been told before.
func (t *teller) again(n Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.Rack, n.Time = t.rack, t.now()
	t.tell(n)
}

// named is a component in a sentence.
func named(mac string) string {
	if _, err := net.ParseMAC(mac); err != nil {
		return "a component"
	}
	return mac
}
