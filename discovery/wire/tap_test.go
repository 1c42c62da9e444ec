package wire

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

// The kernel's filter, in the VM of the library.
func TestFilter(t *testing.T) {
	udp := func(from, to uint16, change func([]byte) []byte) []byte {
		b, err := UDP{From: make(net.HardwareAddr, 6), To: make(net.HardwareAddr, 6), Source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), from),
			Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2}), to), Payload: []byte("x")}.AppendFrame(nil)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			b = change(b)
		}
		return b
	}
	message := func(op, giaddr byte) func([]byte) []byte {
		return func(b []byte) []byte {
			b = append(b[:42:42], make([]byte, 240)...)
			b[42], b[42+27] = op, giaddr
			return b
		}
	}
	etherType := func(hi, lo byte) []byte {
		b := make([]byte, 60)
		b[12], b[13] = hi, lo
		return b
	}
	for _, c := range []struct {
		name  string
		heard Heard
		frame []byte
		want  bool
	}{
		{"request", DHCP(), udp(68, 67, nil), true},
		{"reply", DHCP(), udp(67, 68, nil), true},
		{"relayed", DHCP(), udp(67, 67, nil), true},
		{"proxy", DHCP(), udp(4011, 1024, nil), true},
		{"to the proxy", DHCP(), udp(68, 4011, nil), true},
		{"other ports", DHCP(), udp(53, 53, nil), false},
		{"TCP", DHCP(), udp(68, 67, func(b []byte) []byte { b[14+9] = 6; return b }), false},
		{"later fragment", DHCP(), udp(68, 67, func(b []byte) []byte { b[14+7] = 1; return b }), false},
		{"first fragment", DHCP(), udp(68, 67, func(b []byte) []byte { b[14+6] = 0x20; return b }), true},
		{"IP options", DHCP(), udp(53, 53, func(b []byte) []byte {
			b[14] = 0x46
			return append(b[:34:34], append([]byte{0, 0, 0, 0, 0, 68, 0, 67}, b[38:]...)...)
		}), true},
		{"request on the segment", Servers(), udp(68, 67, message(1, 0)), true},
		{"relayed request", Servers(), udp(67, 67, message(1, 9)), false},
		{"relayed reply", Servers(), udp(67, 67, message(2, 9)), true},
		{"reply", Servers(), udp(67, 68, message(2, 0)), true},
		{"reply of a proxy", Servers(), udp(4011, 68, message(2, 0)), true},
		{"other ports, with a message", Servers(), udp(53, 53, message(2, 0)), false},
		{"cut short", DHCP(), udp(68, 67, nil)[:30], false},
		{"LLDP", DHCP(), etherType(0x88, 0xcc), false},
		{"LLDP", LLDP(), etherType(0x88, 0xcc), true},
		{"IPv4", LLDP(), etherType(8, 0), false},
		{"ARP", ARP(), etherType(8, 6), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			vm, err := bpf.NewVM(c.heard.filter())
			if err != nil {
				t.Fatal(err)
			}
			if n, err := vm.Run(c.frame); err != nil || n > 0 != c.want {
				t.Errorf("%d bytes, %v", n, err)
			}
			if _, err := bpf.Assemble(c.heard.filter()); err != nil {
				t.Error(err)
			}
		})
	}
}
