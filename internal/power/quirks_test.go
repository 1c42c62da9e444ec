package power

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

// Every row says who, what and where it was reported, does something or advises, and
// stands in the docs.
func TestQuirkTableIsComplete(t *testing.T) {
	page, err := os.ReadFile("../../docs/bmc.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range QuirkTable() {
		if len(q.Makers) == 0 || q.What == "" || q.Reference == "" {
			t.Errorf("incomplete: %+v", q)
		}
		if q.Advice == "" && q.EFIDisk == 0 && !q.DeviceOnly && q.LateOn == (LateOn{}) {
			t.Errorf("%s: nothing is done about it", q.What)
		}
		if !strings.Contains(string(page), q.Reference) {
			t.Errorf("docs/bmc.md lacks %q", q.Reference)
		}
	}
}

func TestQuirks(t *testing.T) {
	for _, maker := range []uint32{makerSupermicro, makerSupermicro2} {
		if q := quirksOf(identity{maker: maker}); q.EFIDisk != 0x24 || !strings.Contains(q.advice(OverrideLost, "x"), "bmclib#459") {
			t.Errorf("Supermicro %d: %+v", maker, q)
		}
	}
	if q := quirksOf(identity{maker: 1}); q.EFIDisk != 0 || q.advice(OverrideLost, "usual") != "usual" {
		t.Errorf("unknown maker: %+v", q)
	}
	// Who answers over IPMI is not told to switch it on.
	for _, after := range []Showing{OverrideLost, OverrideRefused} {
		if q := quirksOf(identity{maker: makerFujitsu}); q.advice(after, "usual") != "usual" {
			t.Errorf("Fujitsu: %+v", q)
		}
	}
	for _, maker := range []uint32{makerHP, makerHPE} {
		if q := quirksOf(identity{maker: maker}); q.advice(OverrideLost, "usual") != "usual" || !strings.Contains(q.advice(OverrideRefused, "usual"), "past POST") {
			t.Errorf("HPE %d: %+v", maker, q)
		}
	}
}

// What goes out is what §28.13 says, but for the disk of Supermicro under UEFI.
func TestBootFlags(t *testing.T) {
	supermicro := quirksOf(identity{maker: makerSupermicro})
	tests := []struct {
		boot  Boot
		q     Quirks
		bytes []byte
	}{
		{Boot{}, Quirks{}, []byte{0xa0, 0x04, 0, 0, 0}},
		{Boot{Persistent: true}, Quirks{}, []byte{0xe0, 0x04, 0, 0, 0}},
		{Boot{BIOS: true}, Quirks{}, []byte{0x80, 0x04, 0, 0, 0}},
		{Boot{BIOS: true, Persistent: true}, Quirks{}, []byte{0xc0, 0x04, 0, 0, 0}},
		{Boot{From: FromDisk}, Quirks{}, []byte{0xa0, 0x08, 0, 0, 0}},
		{Boot{From: FromDisk}, supermicro, []byte{0xa0, 0x24, 0, 0, 0}},
		{Boot{From: FromDisk, BIOS: true}, supermicro, []byte{0x80, 0x08, 0, 0, 0}},
		{Boot{From: IntoSetup}, Quirks{}, []byte{0xa0, 0x18, 0, 0, 0}},
	}
	for _, tt := range tests {
		f := tt.boot.flags(tt.q)
		if got := f.Pack(); !slices.Equal(got, tt.bytes) {
			t.Errorf("%s: % x, want % x", tt.boot, got, tt.bytes)
		}
	}
}

// What the table says of a refusal is told where an override is refused.
func TestAdviceAfterARefusal(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
		f.with(func() {
			f.bmc.Info.ManufacturerID = makerHPE
			f.code[types.CommandSetSystemBootOptions.Key()] = types.CodeNodeBusy
		})
		var e *Error
		if err := c.BootPXE(t.Context(), f.target); !errors.As(err, &e) || !errors.Is(err, ErrBusy) || !strings.Contains(e.Next, "past POST") {
			t.Error(err)
		}
	})
}

// A BMC that refuses an override to this user is no better off past POST.
func TestAdviceAfterARefusalOfTheUser(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
		f.with(func() {
			f.bmc.Info.ManufacturerID = makerHPE
			f.code[types.CommandSetSystemBootOptions.Key()] = types.CodeInsufficientPrivilege
		})
		var e *Error
		if err := c.BootPXE(t.Context(), f.target); !errors.As(err, &e) || !strings.Contains(e.Next, "privilege Administrator") || strings.Contains(e.Next, "POST") {
			t.Error(err)
		}
	})
}

// A Dell that refuses power-on just after off is asked again.
func TestLateOn(t *testing.T) {
	var told []rack.Recovery
	inMemory(t, func(t *testing.T, f *fakeBMC, _ *memory, c *Client) {
		f.with(func() { f.refuseOn = 2 })
		if err := c.PowerOn(t.Context(), f.target); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, []rack.Recovery{rack.PowerAgain, rack.PowerAgain}) || !slices.Equal(f.powers(), []bool{true}) {
			t.Errorf("told %v, power %v", told, f.powers())
		}
		f.with(func() { f.on, f.refuseOn = false, 100 })
		if err := c.PowerOn(t.Context(), f.target); !errors.Is(err, ErrRefused) || Retryable(err) {
			t.Errorf("got %v, want ErrRefused", err)
		}
	}, func(o *Options) { o.Recovered = func(_ Target, r rack.Recovery) { told = append(told, r) } })
}

func TestIdentify(t *testing.T) {
	f := newBMC(t)
	c := testClient(t)
	if err := errors.Join(c.Identify(t.Context(), f.target, true), c.Identify(t.Context(), f.target, false)); err != nil {
		t.Fatal(err)
	}
	f.with(func() {
		if len(f.light) < 2 || f.light[0] == 0 || f.light[len(f.light)-1] != 0 {
			t.Errorf("light %v, want on and off", f.light)
		}
	})
}

func TestFindings(t *testing.T) {
	for _, open := range []bool{true, false} {
		suites := []types.CipherSuiteID{17, 3}
		if open {
			suites = append(suites, 0)
		}
		f := newBMC(t, server.WithCipherSuites(suites))
		found, err := testClient(t).SuiteZero(t.Context(), f.target)
		if err != nil || found != nil != open {
			t.Errorf("suite 0 there: %t; found %+v, %v", open, found, err)
		}
	}
	if f, ok := Delivered("root", "calvin"); !ok || !strings.Contains(f.What, "Dell") {
		t.Errorf("%+v", f)
	}
	if _, ok := Delivered("root", "something else"); ok {
		t.Error("a password of one's own was found")
	}
	if _, ok := Delivered("root", ""); !ok {
		t.Error("an empty password was not found")
	}
}

// The login of one maker is not tried at the BMC of another.
func TestDefaults(t *testing.T) {
	if got := Defaults(Info{ManufacturerID: makerDell}); len(got) != 1 || got[0].User != "root" {
		t.Errorf("%d logins", len(got))
	}
	for _, maker := range []uint32{0, makerOpenIPMI, 12345} {
		if got := Defaults(Info{ManufacturerID: maker}); len(got) != 0 {
			t.Errorf("maker %d: %d logins", maker, len(got))
		}
	}
	for l, maker := range wellKnown {
		if n := len(Defaults(Info{ManufacturerID: map[string]uint32{"Dell": makerDell, "Supermicro": makerSupermicro, "Lenovo": makerLenovo}[maker]})); n > MaxLogins {
			t.Errorf("%s: %d logins of %s", l.User, n, maker)
		}
	}
}

// Only what was listed is tried, and no more than a BMC forgives.
func TestTryLogins(t *testing.T) {
	f := newBMC(t)
	c := testClient(t)
	if found, err := c.TryLogins(t.Context(), f.target, []Credentials{{"root", "calvin"}, {"admin", "secret"}}); err != nil || found == nil || strings.Contains(found.What, "secret") {
		t.Errorf("found %+v, %v", found, err)
	}
	if found, err := c.TryLogins(t.Context(), f.target, []Credentials{{"root", "calvin"}}); err != nil || found != nil {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := c.TryLogins(t.Context(), f.target, make([]Credentials, MaxLogins+1)); !errors.Is(err, ErrBadInput) {
		t.Errorf("a long list: %v", err)
	}
}
