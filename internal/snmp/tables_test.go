package snmp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gosnmp/gosnmp"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/adjacency"
)

func TestMain(m *testing.M) {
	if os.Getenv(passVariable) != "" {
		pass(os.Stdin, os.Stdout)
		return
	}
	goleak.VerifyTestMain(m)
}

func octets(b ...byte) any { return b }

func walked(t *tables, root string, values map[string]any) {
	for oid, v := range values {
		t.add(root, gosnmp.SnmpPDU{Name: root + "." + oid, Value: v})
	}
}

func TestNeighbours(t *testing.T) {
	x := newTables(lldpRem, lldpLoc)
	walked(x, lldpLoc, map[string]any{
		"2.6": 3, "3.6": octets(2, 0, 0, 0, 0, 6), "4.6": octets([]byte("swp6")...), // as lldpd tells it
		"2.7": 5, "3.7": octets([]byte("Ethernet7")...), "4.7": octets([]byte("to server-07")...),
	})
	walked(x, lldpRem, map[string]any{
		"4.300.6.1": 4, "5.300.6.1": octets(2, 0, 0, 0, 0, 1), "6.300.6.1": 3, "7.300.6.1": octets(2, 0, 0, 0, 0, 1), "8.300.6.1": octets([]byte("eth0")...), "9.300.6.1": octets([]byte("server-01")...),
		"4.300.7.2": 5, "5.300.7.2": octets(1, 10, 0, 0, 1), "6.300.7.2": 5, "7.300.7.2": octets([]byte("Et\x1b[2J1")...),
		"7.300.9.3": octets([]byte("nowhere")...), "7.1.2.3.4.5.6.7.8.9": octets(1), "7.300.7.x": 5,
	})
	want := []adjacency.Neighbour{{Port: "swp6", System: "server-01", Chassis: "02:00:00:00:00:01", RemotePort: "02:00:00:00:00:01", Description: "eth0"},
		{Port: "Ethernet7", Chassis: "10.0.0.1", RemotePort: "Et [2J1"}}
	if got, err := x.neighbours(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestStations(t *testing.T) {
	x := newTables(qFDB, dFDB, basePort, ifName)
	walked(x, basePort, map[string]any{"7": 1007, "8": 1008})
	walked(x, ifName, map[string]any{"1007": octets([]byte("swp7")...)})
	walked(x, dFDB, map[string]any{"2.2.0.0.0.0.1": 7, "3.2.0.0.0.0.1": 3, "2.2.0.0.0.0.2": 7, "3.2.0.0.0.0.2": 4, "2.2.0.0.0.0.3": 8, "2.2.0.0.0.0.4": 0, "2.2.0.0.0.0.999": 7, "2.1.0.94.0.0.1": 7})
	want := []adjacency.Station{{Port: "swp7", MAC: "02:00:00:00:00:01"}}
	if got, err := x.stations(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without VLANs: %+v %v", got, err)
	}
	walked(x, qFDB, map[string]any{"2.100.2.0.0.0.0.5": 7, "3.100.2.0.0.0.0.5": 3})
	want[0].MAC = "02:00:00:00:00:05"
	if got, err := x.stations(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with VLANs: %+v %v", got, err)
	}
}

// Who does not answer, or answers with anything, is told of without the community.
func TestSilenceAndNoise(t *testing.T) {
	for name, answer := range map[string][]byte{"silence": nil, "noise": []byte("\x30\x82\xff\xff\x1b[2J"), "an echo": {0}} {
		t.Run(name, func(t *testing.T) {
			p, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				b := make([]byte, 2048)
				for {
					n, from, err := p.ReadFrom(b)
					if err != nil {
						return
					}
					if out := answer; out != nil {
						if len(out) == 1 {
							out = b[:n]
						}
						if _, err := p.WriteTo(out, from); err != nil {
							return
						}
					}
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			var d net.Dialer
			rows, err := New(d.DialContext).Neighbours(ctx, netip.MustParseAddrPort(p.LocalAddr().String()), "hushhush")
			if len(answer) == 1 && err == nil && len(rows) == 0 {
				err = errors.New("an empty table")
			}
			if err == nil || strings.Contains(err.Error(), "hushhush") || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%v", err)
			}
			if err := errors.Join(p.Close()); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
}

// FuzzAnswer takes any packet for an answer.
func FuzzAnswer(f *testing.F) {
	g := &gosnmp.GoSNMP{Version: gosnmp.Version2c, Community: "public"}
	for _, v := range []gosnmp.SnmpPDU{
		{Name: lldpRem + ".7.300.6.1", Type: gosnmp.OctetString, Value: []byte("swp1")}, {Name: lldpRem + ".6.300.6.1", Type: gosnmp.Integer, Value: 5},
		{Name: qFDB + ".2.100.2.0.0.0.0.1", Type: gosnmp.Integer, Value: 7}, {Name: basePort + ".7", Type: gosnmp.Integer, Value: 1},
	} {
		p := g.MkSnmpPacket(gosnmp.GetResponse, []gosnmp.SnmpPDU{v}, 0, 0)
		b, err := p.MarshalMsg()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newTables(lldpRem, lldpLoc, qFDB, dFDB, basePort, ifName)
		for _, v := range decoded(b) {
			for root := range x.values {
				x.add(root, v)
			}
		}
		neighbours, err := x.neighbours()
		for _, n := range neighbours {
			for _, s := range []string{n.Port, n.System, n.Chassis, n.RemotePort, n.Description} {
				if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q", s)
				}
			}
		}
		if _, err2 := x.stations(); err != nil || err2 != nil {
			t.Errorf("%v %v", err, err2)
		}
	})
}

// decoded are the values of a packet. Where the library panics, Client.read returns an
// error.
func decoded(b []byte) (out []gosnmp.SnmpPDU) {
	defer func() {
		if recover() != nil {
			out = nil
		}
	}()
	g := &gosnmp.GoSNMP{Version: gosnmp.Version2c, Community: "public"}
	if p, err := g.SnmpDecodePacket(b); err == nil {
		return p.Variables
	}
	return nil
}

// A value keeps what can stand in a name, and no packet alive.
func TestLongValues(t *testing.T) {
	x := newTables(ifName)
	packet := make([]byte, 1<<16)
	for i := range packet {
		packet[i] = 'a'
	}
	x.add(ifName, gosnmp.SnmpPDU{Name: ifName + ".1", Value: packet})
	x.add(ifName, gosnmp.SnmpPDU{Name: ifName + ".2", Value: packet[:4]})
	packet[0] = 'b'
	long, short := x.values[ifName]["1"].bytes, x.values[ifName]["2"].bytes
	if cap(long) > 512 || cap(short) > 512 || len(long) != 255 || string(short) != "aaaa" {
		t.Errorf("%d bytes of %d, %q of %d", len(long), cap(long), short, cap(short))
	}
}
