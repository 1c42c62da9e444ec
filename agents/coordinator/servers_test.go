package coordinator

import (
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/messages"
)

// mouth is an agent that says where it answers DHCP from, and hears of its siblings.
type mouth struct {
	mu    sync.Mutex
	says  []string // with the next heartbeat or hello
	heard []string
	words int
}

func (m *mouth) change(o *bus.UplinkOptions) {
	hello, beat := o.Hello, o.Heartbeat
	says := func() []string { m.mu.Lock(); defer m.mu.Unlock(); return m.says }
	o.Hello = func() *messages.Hello { h := hello(); h.ServerIds = says(); return h }
	o.Heartbeat = func() *messages.Heartbeat { h := beat(); h.ServerIds = says(); return h }
	o.Siblings = func(ids []string) { m.mu.Lock(); m.heard, m.words = ids, m.words+1; m.mu.Unlock() }
}

func (m *mouth) say(ids ...string) { m.mu.Lock(); m.says = ids; m.mu.Unlock() }

// hears waits until its siblings are these.
func (m *mouth) hears(t *testing.T, what string, ids ...string) {
	t.Helper()
	until(t, what, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.words > 0 && slices.Equal(m.heard, ids) })
}

// TestSiblings: each agent is told where the others of the fleet answer DHCP from, but not
// itself; also of one that is away, and by a coordinator that has just been started. What
// cannot be a server's address is not told. A rack whose certificate is revoked is no
// sibling any more, and is one again once it is enrolled anew.
func TestSiblings(t *testing.T) {
	dir := home(t, true)
	s := serve(t, dir, "", "127.0.0.1:0")
	var one, two, three mouth
	one.say("127.0.0.1") // a simulation, as an agent of before said it
	first := s.agent("r1", s.enroll("r1"), nil, one.change)
	two.say("192.168.102.254", "127.0.0.1", "224.0.0.1", "x")
	second := s.agent("r2", s.enroll("r2"), nil, two.change)
	one.hears(t, "r1 is told of r2", "192.168.102.254")
	two.hears(t, "r2 is told of nobody")
	one.say("192.168.101.254", "10.0.1.254")
	two.hears(t, "r2 is told of r1, with a heartbeat", "10.0.1.254", "192.168.101.254")
	one.say() // its interface has gone, and comes back
	first.stop()

	third := s.enroll("r3")
	s.agent("r3", third, nil, three.change)
	three.hears(t, "r3 is told of both, of which one is away", "10.0.1.254", "192.168.101.254", "192.168.102.254")
	at := s.url[len("https://"):]
	s.stop()
	s = serve(t, dir, "", at)
	var again mouth
	s.agent("r4", s.enroll("r4"), nil, again.change)
	again.hears(t, "the coordinator was started again", "10.0.1.254", "192.168.101.254", "192.168.102.254")

	if _, err := s.admin.Access.RevokeAgent(t.Context(), connect.NewRequest(&messages.RevokeAgentRequest{Rack: "r2"})); err != nil {
		t.Fatal(err)
	}
	again.hears(t, "r2 is revoked", "10.0.1.254", "192.168.101.254")
	until(t, "that is kept", func() bool { _, _, err := s.c.servers.table.Get(t.Context(), "r2"); return err != nil })
	second.stop()
	s.agent("r2", s.enroll("r2"), second.journal, two.change)
	again.hears(t, "r2 is enrolled anew", "10.0.1.254", "192.168.101.254", "192.168.102.254")
}

// serversRead is a coordinator without certificates that has read its table.
func serversRead(t *testing.T) *servers {
	t.Helper()
	s := serve(t, home(t, false), "", "127.0.0.1:0").c.servers
	until(t, "the table is read", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.version > 0 })
	return s
}

// TestWordOfARevokedAgent: what a connection says that is open yet counts no more.
func TestWordOfARevokedAgent(t *testing.T) {
	s := serversRead(t)
	told := func(what, rack string, want ...string) {
		t.Helper()
		until(t, what, func() bool { ids, _ := s.besides(rack, 0); return slices.Equal(ids, want) })
	}
	w := s.connected("r1")
	w.say([]string{"10.0.1.254"})
	told("r1 is known", "r2", "10.0.1.254")
	s.revoked("r1")
	until(t, "r1 is removed", func() bool { _, _, err := s.table.Get(t.Context(), "r1"); return err != nil })
	told("r1 is revoked", "r2")
	w.at = time.Time{} // long ago
	w.say([]string{"10.0.1.253"})
	if _, _, err := s.table.Get(t.Context(), "r1"); err == nil {
		t.Error("a revoked agent has a say")
	}
	s.connected("r1").say([]string{"10.0.1.254"})
	told("r1 is known again", "r2", "10.0.1.254")
	told("r1 is not its own sibling", "r1")
	s.connected("r2").say([]string{"10.0.1.254", "10.0.2.254"}) // two have one address: each is told
	told("r1 of both", "r1", "10.0.1.254", "10.0.2.254")
	told("r2 of r1", "r2", "10.0.1.254")
	told("r3 of both", "r3", "10.0.1.254", "10.0.2.254")
}

// TestHostileWord: an agent that says much, or ever something else, keeps to its bounds.
func TestHostileWord(t *testing.T) {
	s := serversRead(t)
	w := s.connected("r1")
	var many []string
	for i := range 250 {
		many = append(many, "10.0.1."+string(rune('0'+i%10)), "10.0.2."+string(rune('0'+i%10)))
	}
	w.say(many)
	if ids, _ := s.besides("r2", 0); len(ids) != bus.MaxServerIDs {
		t.Errorf("%d are told", len(ids))
	}
	_, version := s.besides("r2", 0)
	w.say([]string{"10.0.9.9"}) // at once: it waits for a later heartbeat
	if _, now := s.besides("r2", version); now != version {
		t.Error("it changes as often as the agent likes")
	}
}
