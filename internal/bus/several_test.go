package bus

import (
	"crypto/tls"
	"errors"
	"testing"
)

func noTLS(string) (*tls.Config, error) { return nil, nil }

// TestAnAgentTriesTheOtherCoordinators: one that is away from the beginning, and one that
// goes away later, cost a connection each, and no event.
func TestAnAgentTriesTheOtherCoordinators(t *testing.T) {
	log, j := newRecord(), newOwn()
	away, a, b := newCoordinator(t, log), newCoordinator(t, log), newCoordinator(t, log)
	away.stop()
	s, err := DialSeveral([]string{away.server.URL, a.server.URL, b.server.URL}, noTLS)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j.add(3)
	newAgent(t, a.server.URL, j, func(o *UplinkOptions) { o.Client, o.LetGo = s, s.Next })
	until(t, "the events are in the log", func() bool { return log.seq("r1") == 3 })
	if s.URL() != a.server.URL {
		t.Errorf("it speaks with %s", s.URL())
	}
	a.stop()
	j.add(4)
	until(t, "the rest is in the log", func() bool { return log.seq("r1") == 7 })
	if s.URL() != b.server.URL {
		t.Errorf("it speaks with %s", s.URL())
	}
}

// Of several URLs each is judged.
func TestDialSeveral(t *testing.T) {
	if _, err := DialSeveral([]string{"http://127.0.0.1:1", "http://192.0.2.1:80"}, noTLS); err == nil {
		t.Error("one without TLS that is not on this machine is taken")
	}
	no := errors.New("not trusted")
	if _, err := DialSeveral([]string{"https://a:1", "https://b:1"}, func(u string) (*tls.Config, error) {
		if u == "https://b:1" {
			return nil, no
		}
		return nil, nil
	}); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
}
