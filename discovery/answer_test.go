package discovery

import (
	"testing"
)

func TestNoTableNoAnswer(t *testing.T) {
	s := testServer(t, Options{Table: func() Table { return nil }})
	if res := s.Handle(discover().bytes(), sender); res.Reply.Payload != nil || res.Outcome != IgnoredUnknown {
		t.Errorf("%+v", res)
	}
	s = testServer(t, Options{Table: func() Table { return &fixed{mac: map[string]Entry{"52:54:00:01:02:03": {Device: "x"}}} }})
	if res := s.Handle(discover().bytes(), sender); res.Reply.Payload != nil || res.Outcome != IgnoredNoAddress {
		t.Errorf("%+v", res)
	}
}

func BenchmarkHandle(b *testing.B) {
	s := testServer(b, Options{})
	in := asks().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(77, "\x14onie_dhcp_user_class").str(61, "\x00SN-0001").
		addr(50, torAddr).addr(54, ours).via(relayAddr, "mgmt-1", "45", 19, 0).bytes()
	b.ReportAllocs()
	for b.Loop() {
		if s.Handle(in, sender).Outcome != Acknowledged {
			b.Fatal("not acknowledged")
		}
	}
}
