package power

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"
)

var (
	keyControl = types.CommandChassisControl.Key()
	keyStatus  = types.CommandGetChassisStatus.Key()
	keySetBoot = types.CommandSetSystemBootOptions.Key()
	keyGUID    = types.CommandGetSystemGUID.Key()
	keyClose   = types.CommandCloseSession.Key()
)

func TestProbe(t *testing.T) {
	for _, open := range []bool{true, false} {
		f := newBMC(t)
		f.with(func() { f.tellsAll = open })
		c := testClient(t)
		guid, err := c.Probe(t.Context(), f.target)
		c.Close()
		if err != nil || guid != testGUID {
			t.Fatalf("guid %q, %v; want %s", guid, err, testGUID)
		}
		f.with(func() {
			if loggedIn := slices.Contains(f.commands, keyClose); loggedIn == open {
				t.Errorf("logged in: %t, although it answers strangers: %t", loggedIn, open)
			}
		})
	}
}

// logins counts attempts to log in (RAKP message 1, IPMI 2.0 §13.20).
type logins struct {
	net.Conn
	n *atomic.Int32
}

func (l logins) Write(p []byte) (int, error) {
	if len(p) > 5 && p[4] == 6 && p[5]&0x3f == 0x12 {
		l.n.Add(1)
	}
	return l.Conn.Write(p)
}

// A BMC is looked for again and again; one that refused our login is not locked by that.
func TestProbesDoNotLockTheAccount(t *testing.T) {
	f := newBMC(t)
	f.with(func() { f.tellsAll = false })
	var n atomic.Int32
	c, err := New(Options{Timeout: time.Second, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return logins{conn, &n}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wrong := f.target
	wrong.Password = "not-this-one"
	first := int32(0)
	for range 5 {
		if _, err := c.Probe(t.Context(), wrong); !errors.Is(err, ErrLogin) {
			t.Fatal(err)
		}
		if first == 0 {
			first = n.Load()
		}
	}
	if n.Load() != first || first == 0 {
		t.Errorf("%d logins were tried, %d of them by the first probe", n.Load(), first)
	}
	if _, err := c.Probe(t.Context(), f.target); err != nil {
		t.Errorf("with another password: %v", err)
	}
}

func TestLogin(t *testing.T) {
	for _, suite := range []types.CipherSuiteID{17, 3} {
		t.Run(fmt.Sprint("suite ", suite), func(t *testing.T) {
			f := newBMC(t, server.WithCipherSuites([]types.CipherSuiteID{suite}))
			f.with(func() { f.on = true })
			c := testClient(t)
			got, err := c.Login(t.Context(), f.target)
			c.Close()
			if want := (Info{GUID: testGUID, PowerOn: true, ManufacturerID: 674, ProductID: 256, Firmware: "2.00"}); err != nil || got != want {
				t.Fatalf("got %+v, %v; want %+v", got, err, want)
			}
			f.with(func() {
				if !slices.Contains(f.commands, keyClose) {
					t.Error("the session was not closed")
				}
			})
		})
	}
}

// The BMC holds four sessions: ten clients only pass if each closes its own, and the
// GUID of RAKP message 2 stands in for the command that some BMCs lack.
func TestSessionsAreClosed(t *testing.T) {
	f := newBMC(t)
	f.with(func() { f.code[keyGUID] = types.CodeInvalidCommand })
	for i := range 10 {
		c := testClient(t)
		got, err := c.Login(t.Context(), f.target)
		if err != nil || got.GUID != testGUID {
			t.Fatalf("login %d: %+v, %v", i, got, err)
		}
		c.Close()
	}
}

// A lost reply to a question is repaired by asking again.
func TestLossyWire(t *testing.T) {
	f := newBMC(t)
	f.with(func() { f.lose[keyGUID], f.lose[keyStatus] = 1, 2 })
	if _, err := testClient(t).Login(t.Context(), f.target); err != nil {
		t.Fatal(err)
	}
	f.with(func() {
		if f.lose[keyGUID]+f.lose[keyStatus] != 0 {
			t.Errorf("nothing was lost: %v", f.lose)
		}
	})
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fakeBMC)
		do     func(*Client, context.Context, Target) error
		kind   error
		says   string
	}{
		{"wrong password", func(f *fakeBMC) { f.target.Password = "guess" }, login, ErrLogin, "does not fit our user and password; correct"},
		{"unknown user", func(f *fakeBMC) { f.target.User = "root" }, login, ErrLogin, "correct the user or password"},
		{"long user", func(f *fakeBMC) { f.target.User = strings.Repeat("x", 17) }, login, ErrBadInput, "17 bytes"},
		{"long password", func(f *fakeBMC) { f.target.Password = strings.Repeat("x", 21) }, login, ErrBadInput, "21 bytes"},
		{"busy power", func(f *fakeBMC) { f.code[keyControl] = types.CodeNodeBusy }, (*Client).PowerOn, ErrRefused, "0xC0, Node busy; wait a minute"},
		{"busy boot device", func(f *fakeBMC) { f.code[keySetBoot] = types.CodeNodeBusy }, (*Client).BootPXE, ErrRefused, "boot from the network next time: it answered completion code 0xC0"},
		{"no privilege", func(f *fakeBMC) { f.code[keyControl] = types.CodeInsufficientPrivilege }, (*Client).PowerOn, ErrRefused, "Administrator"},
		{"forgets flags", func(f *fakeBMC) { f.forgets = true }, (*Client).BootPXE, ErrNotKept, "reads back boot flags 00 00 00 00 00 instead of a0 04 00 00 00"},
		{"power stuck", func(f *fakeBMC) { f.deaf = true }, (*Client).PowerOn, ErrNotKept, "still off"},
		{"state unreadable", func(f *fakeBMC) { f.code[keyStatus] = types.CodeUnspecifiedError }, (*Client).PowerCycle, ErrRefused, "0xFF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newBMC(t)
			f.with(func() { tt.change(f) })
			err := tt.do(testClient(t), t.Context(), f.target)
			var e *Error
			if !errors.Is(err, tt.kind) || !errors.As(err, &e) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want %v with %q", err, tt.kind, tt.says)
			}
			if !strings.HasPrefix(err.Error(), "server-01: BMC 127.0.0.1:") || strings.Contains(err.Error(), "secret") {
				t.Errorf("message %q names no BMC, or the password", err)
			}
		})
	}
}

func login(c *Client, ctx context.Context, t Target) error {
	_, err := c.Login(ctx, t)
	return err
}

func TestBootPXE(t *testing.T) {
	f := newBMC(t)
	if err := testClient(t).BootPXE(t.Context(), f.target); err != nil {
		t.Fatal(err)
	}
	f.with(func() {
		if f.flags != [5]byte{0xa0, 0x04} || !slices.Equal(f.options, []byte{3, 5}) {
			t.Errorf("flags % x, parameters % x; want one-time UEFI PXE after parameter 3", f.flags, f.options)
		}
	})
}

func TestPower(t *testing.T) {
	tests := []struct {
		name string
		on   bool
		lost int // replies to power commands
		do   func(*Client, context.Context, Target) error
		want []bool
	}{
		{"on", false, 0, (*Client).PowerOn, []bool{true}},
		{"on when on", true, 0, (*Client).PowerOn, nil},
		{"on, reply lost", false, 1, (*Client).PowerOn, []bool{true}},
		{"cycle", true, 0, (*Client).PowerCycle, []bool{false, true}},
		{"cycle when off", false, 0, (*Client).PowerCycle, []bool{true}},
		{"cycle, first reply lost", true, 1, (*Client).PowerCycle, []bool{false, true}},
		{"cycle, both replies lost", true, 2, (*Client).PowerCycle, []bool{false, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newBMC(t)
			f.with(func() { f.on, f.lose[keyControl] = tt.on, tt.lost })
			if err := tt.do(testClient(t), t.Context(), f.target); err != nil {
				t.Fatal(err)
			}
			if got := f.powers(); !slices.Equal(got, tt.want) {
				t.Errorf("carried out %v, want %v", got, tt.want)
			}
			f.with(func() {
				if !f.on {
					t.Error("the host is off")
				}
			})
		})
	}
}

// A command that never arrives is sent again once the state shows it.
func TestPowerCommandLost(t *testing.T) {
	f := newBMC(t)
	f.with(func() { f.deaf, f.lose[keyControl] = true, powerTries })
	err := testClient(t).PowerOn(t.Context(), f.target)
	if !errors.Is(err, ErrNotKept) || len(f.powers()) != powerTries {
		t.Fatalf("%v after %v", err, f.powers())
	}
}

func TestNobodyThere(t *testing.T) {
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := silent.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	c := testClient(t)
	if _, err := c.Probe(t.Context(), loopback(port)); !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "check its cable") {
		t.Errorf("silent: %v", err)
	}
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Probe(t.Context(), loopback(port)); !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Probe(t.Context(), Target{Device: "x"}); !errors.Is(err, ErrBadInput) {
		t.Errorf("no address: %v", err)
	}
}

// A BMC that stops answering in mid-command must not hold its caller.
func TestCancelWhileItHangs(t *testing.T) {
	f := newBMC(t)
	waits := make(chan struct{})
	defer close(waits)
	f.with(func() { f.waits = waits })
	c := testClient(t, func(o *Options) { o.Timeout = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.PowerOn(ctx, f.target) }()
	for heard := false; !heard; {
		f.with(func() { heard = len(f.commands) > 0 })
	}
	cancel()
	if err := <-result; !errors.Is(err, ErrCanceled) {
		t.Fatalf("got %v, want ErrCanceled", err)
	}
}

// One BMC has one caller at a time, and the bound on sessions holds, although each of
// them is kept for the next call.
func TestBounds(t *testing.T) {
	const most = 3
	var open, peak atomic.Int32
	c := testClient(t, func(o *Options) {
		o.MaxSessions = most
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			for n := open.Add(1); ; {
				p := peak.Load()
				if n <= p || peak.CompareAndSwap(p, n) {
					break
				}
			}
			wire, err := dial(ctx, network, address)
			return &counted{Conn: wire, open: &open}, err
		}
	})
	var wg sync.WaitGroup
	for range 8 {
		f := newBMC(t)
		for range 3 {
			wg.Go(func() {
				if _, err := c.Login(t.Context(), f.target); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	c.Close()
	if peak.Load() > most || open.Load() != 0 {
		t.Errorf("at most %d sessions at once, %d left open; want %d and 0", peak.Load(), open.Load(), most)
	}
}

func TestWaitingForTheTurnEnds(t *testing.T) {
	f := newBMC(t)
	waits := make(chan struct{})
	f.with(func() { f.waits = waits })
	c := testClient(t, func(o *Options) { o.Timeout = time.Hour })
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := c.PowerState(t.Context(), f.target); err != nil {
			t.Error(err)
		}
	})
	for heard := false; !heard; {
		f.with(func() { heard = len(f.commands) > 0 })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Probe(ctx, f.target); !errors.Is(err, ErrCanceled) {
		t.Fatalf("got %v, want ErrCanceled", err)
	}
	close(waits)
	first.Wait()
}

// counted notes when a wire is closed.
type counted struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func TestNewNeedsADialer(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Fatal("no error")
	}
}

func TestTargetKeepsItsPassword(t *testing.T) {
	x := loopback(623)
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(f, x); strings.Contains(s, "secret") {
			t.Errorf("%s prints %q", f, s)
		}
	}
}
