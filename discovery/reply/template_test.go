package reply

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// asking is all that an answer is made from.
type asking struct {
	e Entry
	c Client
	m Message
}

// others are x with one thing changed each, every field of the entry among them.
func others(t *testing.T, x asking) map[string]asking {
	t.Helper()
	out := map[string]asking{}
	vary := func(name string, f func(*asking)) {
		y := x
		f(&y)
		out[name] = y
	}
	for i := range reflect.TypeFor[Entry]().NumField() {
		name := reflect.TypeFor[Entry]().Field(i).Name
		vary("Entry."+name, func(y *asking) {
			switch p := reflect.ValueOf(&y.e).Elem().Field(i).Addr().Interface().(type) {
			case *string:
				*p += ".json"
			case *Servers:
				p[1] = netip.MustParseAddr("192.168.100.77")
			case *netip.Addr:
				*p = netip.MustParseAddr("192.168.100.77")
			case *netip.Prefix:
				*p = netip.MustParsePrefix("192.168.0.0/16")
			case *time.Duration:
				*p = 7 * time.Hour
			default: // Pool: nothing of an answer depends on it
			}
		})
	}
	for _, v := range []string{"", "Cisco", "Juniper", "SONiC", "Cumulus", "Arista"} {
		vary("Vendor "+v, func(y *asking) { y.c.Vendor = v })
	}
	for _, s := range []rack.Stage{rack.StageUnknown, rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot, rack.StageONIE, rack.StageNOS, rack.StageOS, rack.StageBMC} {
		vary("Stage "+string(s), func(y *asking) { y.c.Stage = s })
	}
	for _, s := range []string{"", "PXEClient:Arch:00007", "HTTPClient:Arch:00016", "x"} {
		vary("Class "+s, func(y *asking) { y.c.Class = s })
	}
	vary("IOSXR", func(y *asking) { y.c.IOSXR = true })
	vary("Item", func(y *asking) { y.c.Item = []byte{0, 1, 0, 0} })
	vary("Wants", func(y *asking) { y.c.Wants = []byte{6, 3, 42, 7, 51, 58} })
	vary("no Wants", func(y *asking) { y.c.Wants = nil })
	vary("INFORM", func(y *asking) { y.c.Kind, y.m.Kind = dhcpv4.MessageTypeInform, dhcpv4.MessageTypeAck })
	vary("REQUEST", func(y *asking) { y.c.Kind = dhcpv4.MessageTypeRequest })
	vary("ACK", func(y *asking) { y.m.Kind = dhcpv4.MessageTypeAck })
	vary("ServerID", func(y *asking) { y.m.ServerID = netip.MustParseAddr("10.0.1.254") })
	vary("Proxy", func(y *asking) { y.m.Proxy = true })
	return out
}

// A template is taken for no other answer than its own: whatever two clients differ
// in is part of its key.
func TestTemplatesAreNotMixed(t *testing.T) {
	for _, stage := range []rack.Stage{rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot, rack.StageONIE, rack.StageNOS, rack.StageOS} {
		for _, vendor := range []string{"Cisco", "Juniper", "SONiC", "Cumulus", "Arista"} {
			for _, class := range []string{"PXEClient", "HTTPClient", ""} {
				x := asking{full(), client(stage, vendor, class, 1, 3, 6, 7, 12, 28, 42, 58, 59, 66, 150), offer()}
				builder := NewBuilder()
				builder.Append(nil, &x.e, &x.c, &x.m)
				for name, y := range others(t, x) {
					got, _ := builder.Append(nil, &y.e, &y.c, &y.m)
					if want, _ := compose(nil, &y.e, &y.c, &y.m); !bytes.Equal(got, want) {
						t.Errorf("%s %s %q, another %s:\ngot  % x\nwant % x", stage, vendor, class, name, got[HeaderSize:], want[HeaderSize:])
					}
				}
			}
		}
	}
}
