package pki

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shifted is a coordinator whose clock is ahead of ours; less than 0: behind.
func shifted(t *testing.T, by time.Duration) *coordinator {
	t.Helper()
	c := newCoordinator(t, lives{})
	theirs, err := newAuthority(time.Now().Add(by), AuthorityLife)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(theirs.store(filepath.Join(c.authorities.dir, theirs.Fingerprint())), c.authorities.Sign(theirs.Fingerprint())); err != nil {
		t.Fatal(err)
	}
	c.goesWrong(t, by)
	return c
}

// goesWrong moves the clock of a coordinator.
func (c *coordinator) goesWrong(t *testing.T, by time.Duration) {
	t.Helper()
	c.server.looked.Store(time.Now().Add(time.Hour).UnixNano()) // by its own clock nothing is due
	state, err := c.server.make(time.Now().Add(by), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.server.state.Store(state)
	c.ahead.Store(int64(by))
}

// late is the handler of a server whose clock is not ours.
func (c *coordinator) late(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if by := c.ahead.Load(); by != 0 {
			w.Header().Set("Date", time.Now().Add(time.Duration(by)).UTC().Format(http.TimeFormat))
		}
		h.ServeHTTP(w, r)
	})
}

func TestClocksApart(t *testing.T) {
	for _, x := range []struct {
		name string
		by   time.Duration
		want string // empty: it goes well
	}{
		{"the same", 0, ""},
		{"the agent an hour behind", time.Hour, ""},
		{"the agent an hour ahead", -time.Hour, ""},
		{"the agent five hours behind", 5 * time.Hour, "the clock of this machine is 5h0m0s behind that of the coordinator"},
		{"the agent forty days ahead", -40 * 24 * time.Hour, "the clock of this machine is 960h0m0s ahead of that of the coordinator"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := shifted(t, x.by)
			text, _, err := c.enrollments.Create(t.Context(), "r1", time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Enroll(t.Context(), text, filepath.Join(t.TempDir(), "identity"))
			if x.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			// A second may pass between two readings.
			if err == nil || !strings.Contains(strings.NewReplacer("4h59m59s", "5h0m0s", "5h0m1s", "5h0m0s", "959h59m59s", "960h0m0s", "960h0m1s", "960h0m0s").Replace(err.Error()), x.want) {
				t.Errorf("%v, want %q", err, x.want)
			}
		})
	}
}

// An agent whose clock goes wrong after it was enrolled is told so, not that it be
// enrolled again.
func TestClockOfAnEnrolledAgent(t *testing.T) {
	c := newCoordinator(t, lives{})
	id := c.enroll(t, "r1")
	c.goesWrong(t, 5*time.Hour)
	_, err := c.who(id.ClientTLS("127.0.0.1"))
	if err == nil {
		t.Fatal("a certificate that does not hold yet was believed")
	}
	if err = id.Explain(t.Context(), c.url, err); !strings.Contains(err.Error(), "this clock is behind by") || !strings.Contains(err.Error(), " behind that of the coordinator: set the one that is wrong") || strings.Contains(err.Error(), "enroll --rack") {
		t.Error(err)
	}
}

// A certificate that has expired by the coordinator's clock as well is no matter of the
// clock: what renews it is said, beside what is wrong with the clock.
func TestExpiryBesidesTheClock(t *testing.T) {
	const clocks, again = "set the one that is wrong", "enroll --rack r1"
	for _, x := range []struct {
		name          string
		ahead         time.Duration // of the coordinator
		expired       time.Duration // ago, by our clock; less than 0: it will
		clocks, again bool
	}{
		{"the clocks agree", 0, time.Minute, false, true},
		{"ours is behind", 5 * time.Hour, time.Minute, true, true},
		{"ours is behind, and it has not expired by ours", 5 * time.Hour, -time.Hour, true, true},
		{"ours is ahead, and it has expired by both", -5 * time.Hour, 6 * time.Hour, true, true},
		{"ours is ahead, and that is all", -5 * time.Hour, 4 * time.Hour, true, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCoordinator(t, lives{})
			id := c.enroll(t, "r1")
			if x.ahead != 0 {
				c.goesWrong(t, x.ahead)
			}
			_, err := c.who(id.ClientTLS("127.0.0.1"))
			err = errors.Join(errors.New("refused"), err)
			state := *id.state.Load()
			leaf := *state.certificate.Leaf
			leaf.NotAfter = time.Now().Add(-x.expired)
			state.certificate.Leaf = &leaf
			id.state.Store(&state)
			err = id.Explain(t.Context(), c.url, err)
			if got := err.Error(); strings.Contains(got, clocks) != x.clocks || strings.Contains(got, again) != x.again || errors.Is(err, ErrExpired) != x.again {
				t.Errorf("%v: the clocks: %v, enroll again: %v", err, x.clocks, x.again)
			}
		})
	}
}

// What is wrong besides the clock is not put down to it.
func TestClockIsNoExcuse(t *testing.T) {
	c := shifted(t, 5*time.Hour)
	stranger, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]func() error{
		"another authority": func() error {
			_, err := c.who(pinned("127.0.0.1", stranger.Fingerprint()))
			return err
		},
		"another name": func() error {
			_, err := c.who(pinned("192.0.2.1", c.server.Fingerprint()))
			return err
		},
	} {
		if err := config(); err == nil || ofTime(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
