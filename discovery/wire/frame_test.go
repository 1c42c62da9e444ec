package wire_test

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"

	"github.com/rackreach/rackreach/discovery/wire"
)

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// The frame of a datagram of odd length, with its checksums, byte by byte.
func TestFrame(t *testing.T) {
	u := wire.UDP{
		From: mac("02:00:00:00:00:01"), To: mac("02:00:00:00:00:02"),
		Source: netip.MustParseAddrPort("192.168.0.1:67"), Target: netip.MustParseAddrPort("192.168.0.199:68"), Payload: []byte("odd"),
	}
	got, err := u.AppendFrame([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	// Worked out by hand: the words of the IPv4 header add up to 0x24748, folded
	// 0x474a; those of UDP with its pseudo header to 0x2562a, folded 0x562c.
	want, err := hex.DecodeString("020000000002" + "020000000001" + "0800" +
		"4500001f000040004011b8b5c0a80001c0a800c7" + "00430044000b" + "a9d3" + hex.EncodeToString([]byte("odd")))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, append([]byte("before"), want...)) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	back, err := wire.ParseUDP(got[len("before"):])
	if err != nil || back.Source != u.Source || back.Target != u.Target || !bytes.Equal(back.Payload, u.Payload) || back.From.String() != u.From.String() || back.To.String() != u.To.String() {
		t.Errorf("%+v %v", back, err)
	}
}

func TestFrameRefuses(t *testing.T) {
	good := wire.UDP{From: mac("02:00:00:00:00:01"), To: mac("02:00:00:00:00:02"), Source: netip.MustParseAddrPort("10.0.0.1:67"), Target: netip.MustParseAddrPort("10.0.0.2:68")}
	for name, change := range map[string]func(*wire.UDP){
		"no MAC":      func(u *wire.UDP) { u.To = nil },
		"long MAC":    func(u *wire.UDP) { u.From = make(net.HardwareAddr, 8) },
		"IPv6":        func(u *wire.UDP) { u.Target = netip.MustParseAddrPort("[fe80::1]:68") },
		"no address":  func(u *wire.UDP) { u.Source = netip.AddrPort{} },
		"too much":    func(u *wire.UDP) { u.Payload = make([]byte, 65508) },
		"much enough": nil,
	} {
		t.Run(name, func(t *testing.T) {
			u := good
			if change == nil {
				u.Payload = make([]byte, 65507)
				if _, err := u.AppendFrame(nil); err != nil {
					t.Error(err)
				}
				return
			}
			change(&u)
			if b, err := u.AppendFrame(nil); err == nil {
				t.Errorf("made %d bytes", len(b))
			}
		})
	}
}

func FuzzParseUDP(f *testing.F) {
	good, err := wire.UDP{From: mac("02:00:00:00:00:01"), To: mac("02:00:00:00:00:02"), Source: netip.MustParseAddrPort("10.0.0.1:67"), Target: netip.MustParseAddrPort("10.0.0.2:68"), Payload: []byte("x")}.AppendFrame(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	options := append([]byte(nil), good...)
	options[14] = 0x4f // a header of 15 words, of which most are not there
	f.Add(options)
	f.Fuzz(func(t *testing.T, frame []byte) {
		u, err := wire.ParseUDP(frame)
		if err != nil {
			return
		}
		b, err := u.AppendFrame(nil)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if again, err := wire.ParseUDP(b); err != nil || !bytes.Equal(again.Payload, u.Payload) || again.Source != u.Source || again.Target != u.Target {
			t.Errorf("%+v became %+v (%v)", u, again, err)
		}
	})
}

func TestParseARP(t *testing.T) {
	good := "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x05\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x05\x0a\x00\x00\x09\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x01"
	if m, a, err := wire.ParseARP([]byte(good + "filled up")); err != nil || m.String() != "02:00:00:00:00:05" || a.String() != "10.0.0.9" {
		t.Errorf("%s %s %v", m, a, err)
	}
	change := func(at int, to byte) []byte { b := []byte(good); b[at] = to; return b }
	for name, f := range map[string][]byte{
		"short": []byte(good)[:41], "not ARP": change(13, 0), "not Ethernet": change(15, 6), "long addresses": change(18, 8),
		"a group": change(22, 1), "no address": append(append([]byte(good)[:28], 0, 0, 0, 0), good[32:]...), "multicast": change(28, 224),
	} {
		if m, a, err := wire.ParseARP(f); err == nil {
			t.Errorf("%s: %s %s", name, m, a)
		}
	}
}
