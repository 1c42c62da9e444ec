package power

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

// inMemory runs a test in virtual time with the defaults, one BMC and one client.
func inMemory(t *testing.T, test func(*testing.T, *fakeBMC, *memory, *Client), change ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		f := newBMCOn(t, m)
		o := Options{Dial: m.dial}
		for _, c := range change {
			c(&o)
		}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		test(t, f, m, c)
	})
}

func count[T comparable](in []T, of T) (n int) {
	for _, x := range in {
		if x == of {
			n++
		}
	}
	return n
}

// A session is kept for the next call, and closed when none comes.
func TestSessionIsKeptAndClosedWhenIdle(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, m *memory, c *Client) {
		for range 20 {
			if _, err := c.PowerState(t.Context(), f.target); err != nil {
				t.Fatal(err)
			}
			time.Sleep(DefaultIdle - time.Second)
		}
		if m.dials() != 1 {
			t.Errorf("%d sessions for 20 looks", m.dials())
		}
		f.with(func() {
			if count(f.commands, keyClose) != 0 || count(f.commands, keyStatus) != 20 {
				t.Errorf("commands %v", f.commands)
			}
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f.with(func() {
			if count(f.commands, keyClose) != 1 {
				t.Error("the idle session is still open")
			}
		})
		if len(c.owners) != 0 {
			t.Error("its owner is still there")
		}
	})
}

// A BMC whose sessions are all taken, by an agent that was killed again and again, is
// asked until it has forgotten one, as long as the call may take.
func TestSessionsThatAreLeftBehind(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, m *memory, c *Client) {
		var left []*Client
		for range 4 {
			other, err := New(Options{Dial: m.dial, Idle: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(other.Close)
			if _, err := other.PowerState(t.Context(), f.target); err != nil {
				t.Fatal(err)
			}
			left = append(left, other)
		}
		began := time.Now()
		if _, err := c.PowerState(t.Context(), f.target); !errors.Is(err, ErrBusy) || time.Since(began) < callLimit-DefaultPoll {
			t.Errorf("a full BMC: %v after %s", err, time.Since(began))
		}
		short, cancel := context.WithTimeout(t.Context(), callLimit/5)
		defer cancel()
		var said *Error
		if _, err := c.PowerState(short, f.target); !errors.As(err, &said) || !said.Answered() || !errors.Is(err, ErrBusy) {
			t.Errorf("a full BMC, and a step that is over before: %v", err)
		}
		time.AfterFunc(callLimit/2, left[0].Close)
		if _, err := c.PowerState(t.Context(), f.target); err != nil {
			t.Error(err)
		}
	})
}

// Changes of one BMC keep their distance; questions do not wait for them.
func TestGapBetweenChanges(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
		f.with(func() { f.on = true })
		began := time.Now()
		if err := c.BootPXE(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- c.PowerCycle(t.Context(), f.target) }()
		synctest.Wait() // it waits for the gap
		if _, err := c.PowerState(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("a question waited %s", waited)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		// Soft-off after one gap, ignored for DefaultSoft, then off, a gap, on.
		if took, want := time.Since(began), DefaultGap+DefaultSoft+DefaultGap; took < want || took > want+2*DefaultPoll {
			t.Errorf("took %s, want %s and little more", took, want)
		}
		f.with(func() {
			if f.soft != 1 || !slices.Equal(f.power, []bool{false, true}) {
				t.Errorf("asked %d times, then %v; want once, then off and on", f.soft, f.power)
			}
		})
	})
}

func TestPowerOff(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fakeBMC)
		soft   int
		cut    []bool
		told   []rack.Recovery
		takes  time.Duration
	}{
		{"it shuts itself down", func(f *fakeBMC) { f.obeys = true }, 1, nil, nil, time.Second},
		{"it does not listen", func(*fakeBMC) {}, 1, []bool{false}, []rack.Recovery{rack.PowerCut}, DefaultSoft + time.Second},
		{"the answer is lost", func(f *fakeBMC) { f.obeys, f.lose[keyControl] = true, 1 }, 1, nil, nil, 2 * time.Second},
		{"it is off", func(f *fakeBMC) { f.on = false }, 0, nil, nil, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var told []rack.Recovery
			inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
				f.with(func() { f.on = true; tt.change(f) })
				began := time.Now()
				if err := c.PowerOff(t.Context(), f.target); err != nil {
					t.Fatal(err)
				}
				f.with(func() {
					if f.on || f.soft != tt.soft || !slices.Equal(f.power, tt.cut) || !slices.Equal(told, tt.told) {
						t.Errorf("on %t, asked %d times, then %v, told %v; want %d, %v, %v", f.on, f.soft, f.power, told, tt.soft, tt.cut, tt.told)
					}
				})
				if took := time.Since(began); took > tt.takes {
					t.Errorf("took %s, want %s at most", took, tt.takes)
				}
			}, func(o *Options) { o.Recovered = func(_ Target, r rack.Recovery) { told = append(told, r) } })
		})
	}
}

// A BMC that was restarted knows nothing of a session that was kept: a question finds
// that out, and is asked in another one.
func TestLostSession(t *testing.T) {
	var told []rack.Recovery
	inMemory(t, func(t *testing.T, f *fakeBMC, m *memory, c *Client) {
		if err := c.PowerOn(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
		f.with(func() {
			if err := f.bmc.Sessions.Close(f.session); err != nil {
				t.Fatal(err)
			}
		})
		began := time.Now()
		if on, err := c.PowerState(t.Context(), f.target); err != nil || !on {
			t.Fatalf("on %t, %v", on, err)
		}
		if took := time.Since(began); took > (warmTries+2)*DefaultTimeout {
			t.Errorf("took %s", took)
		}
		if m.dials() != 2 || !slices.Equal(told, []rack.Recovery{rack.SessionRenewed}) {
			t.Errorf("%d sessions, told %v", m.dials(), told)
		}
	}, func(o *Options) { o.Recovered = func(_ Target, r rack.Recovery) { told = append(told, r) } })
}

// A session belongs to a login.
func TestOtherLoginOtherSession(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
		if _, err := c.PowerState(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
		wrong := f.target
		wrong.Password = "guess"
		if _, err := c.PowerState(t.Context(), wrong); !errors.Is(err, ErrLogin) || Retryable(err) {
			t.Fatalf("got %v, want ErrLogin", err)
		}
		if _, err := c.PowerState(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
	})
}

// All sessions taken is no wrong password, and passes.
func TestNoRoomForASession(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, m *memory, c *Client) {
		var others []*Client
		for range bmc.MaxSessions {
			o, err := New(Options{Dial: m.dial})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(o.Close)
			others = append(others, o)
			if _, err := o.PowerState(t.Context(), f.target); err != nil {
				t.Fatal(err)
			}
		}
		_, err := c.PowerState(t.Context(), f.target)
		if !errors.Is(err, ErrBusy) || errors.Is(err, ErrLogin) || !Retryable(err) || !strings.Contains(err.Error(), "all its sessions are taken") {
			t.Fatalf("got %v, want ErrBusy", err)
		}
		others[0].Close()
		if _, err := c.PowerState(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
	})
}

// Close gives up what is under way, and lets nothing begin.
func TestClose(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
		f.with(func() { f.deaf = true })
		ended := make(chan error)
		go func() { ended <- c.PowerOn(t.Context(), f.target) }()
		time.Sleep(time.Second) // it polls
		c.Close()
		if err := <-ended; !errors.Is(err, ErrCanceled) {
			t.Errorf("got %v, want ErrCanceled", err)
		}
		if err := c.PowerOn(t.Context(), f.target); !errors.Is(err, ErrCanceled) {
			t.Errorf("afterwards: %v, want ErrCanceled", err)
		}
		f.with(func() {
			if count(f.commands, keyClose) != 1 {
				t.Error("its session was not closed")
			}
		})
	})
}

// A boot override that does not take is set once more, and then told.
func TestOverrideThatDoesNotTake(t *testing.T) {
	for _, forgets := range []int{1, 2} {
		var told []rack.Recovery
		inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
			f.with(func() { f.forgetsFirst = forgets })
			err := c.BootPXE(t.Context(), f.target)
			if forgets < overrideTries != (err == nil) || err != nil && (!errors.Is(err, ErrOverride) || !errors.Is(err, ErrNotKept) || !Retryable(err) || errors.Is(err, ErrStuck)) {
				t.Errorf("forgotten %d times: %v", forgets, err)
			}
			if !slices.Equal(told, []rack.Recovery{rack.OverrideAgain}) {
				t.Errorf("told %v", told)
			}
		}, func(o *Options) { o.Recovered = func(_ Target, r rack.Recovery) { told = append(told, r) } })
	}
}

// Codes that pass are told from those that do not.
func TestRetryable(t *testing.T) {
	for code, want := range map[types.CompletionCode]bool{
		types.CodeNodeBusy: true, types.CodeProcessTimeout: true, types.CodeOutOfSpace: true, types.CodeCannotProvideResponseBMCInitialize: true,
		types.CodeInsufficientPrivilege: false, types.CodeInvalidCommand: false, types.CodeNotSupported: false, types.CodeUnspecifiedError: false,
	} {
		inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
			f.with(func() { f.code[keyStatus] = code })
			_, err := c.PowerState(t.Context(), f.target)
			if !errors.Is(err, ErrRefused) || errors.Is(err, ErrBusy) != want || Retryable(err) != want {
				t.Errorf("code %02Xh: retryable %t, want %t (%v)", uint8(code), Retryable(err), want, err)
			}
		})
	}
}
