package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// read is everything that Read hands on.
func read(t testing.TB, r io.Reader) (out []Message, sum Summary, err error) {
	t.Helper()
	sum, err = Read(r, func(m Message) error {
		m.Payload = bytes.Clone(m.Payload)
		out = append(out, m)
		return nil
	})
	if n := sum.Requests + sum.Replies + sum.Cut + sum.Fragments + sum.Other; n != sum.Packets || sum.Requests != len(out) {
		t.Fatalf("%+v, %d messages", sum, len(out))
	}
	return out, sum, err
}

// Files that tcpdump wrote of real clients (testdata/capture.sh).
func TestCapturedFiles(t *testing.T) {
	for _, x := range []struct {
		file, from, to string
		count          int
	}{{"clients.pcap", "0.0.0.0", "255.255.255.255", 5}, {"relayed.pcap", "10.8.0.1", "10.8.0.2", 1}} {
		data, err := os.ReadFile("testdata/" + x.file)
		if err != nil {
			t.Fatal(err)
		}
		got, sum, err := read(t, bytes.NewReader(data))
		if err != nil || len(got) != x.count || sum.Packets != x.count {
			t.Fatalf("%s: %d messages, %+v, %v", x.file, len(got), sum, err)
		}
		for i, m := range got {
			if m.Number != i+1 || m.From.String() != x.from || m.To.String() != x.to || m.Time.Year() < 2020 || len(m.VLANs) > 0 {
				t.Errorf("%s: %+v", x.file, m)
			}
			if len(m.Payload) < 240 || string(m.Payload[236:240]) != "\x63\x82\x53\x63" {
				t.Errorf("%s: packet %d is no DHCP message", x.file, m.Number)
			}
		}
	}
}

// message is a DHCP message with a mark by which it is found again.
func message(op byte, mark string) []byte {
	b := make([]byte, 300)
	b[0], b[1], b[2] = op, 1, 6
	copy(b[44:], mark)
	copy(b[236:], "\x63\x82\x53\x63\x35\x01\x01\xff")
	return b
}

// packet is the headers around a message: VLAN tags, IP, UDP.
type packet struct {
	vlans    []uint16
	from, to layers.UDPPort
	payload  []byte
	frag     bool
	ipOnly   bool
}

func (p packet) bytes(t testing.TB) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{0, 0, 0, 0}, DstIP: []byte{255, 255, 255, 255}}
	if p.frag {
		ip.Flags = layers.IPv4MoreFragments
	}
	udp := &layers.UDP{SrcPort: p.from, DstPort: p.to}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	all := []gopacket.SerializableLayer{}
	if !p.ipOnly {
		ethernet := &layers.Ethernet{SrcMAC: []byte{0x52, 0x54, 0, 1, 2, 3}, DstMAC: []byte{255, 255, 255, 255, 255, 255}, EthernetType: layers.EthernetTypeIPv4}
		all = append(all, ethernet)
		for i, v := range p.vlans {
			tag := &layers.Dot1Q{VLANIdentifier: v, Type: layers.EthernetTypeIPv4}
			if i == 0 {
				ethernet.EthernetType = layers.EthernetTypeDot1Q
			} else {
				all[len(all)-1].(*layers.Dot1Q).Type = layers.EthernetTypeDot1Q
			}
			all = append(all, tag)
		}
	}
	all = append(all, ip, udp, gopacket.Payload(p.payload))
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pcap is a file of packets.
func pcap(t testing.TB, link layers.LinkType, packets ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65536, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1700000000, 0), CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// pcapng is a file of two interfaces, one Ethernet and one of bare IP.
func pcapng(t testing.TB, ethernet, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeRaw})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range [][]byte{ethernet, raw} {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1700000000, 0), CaptureLength: len(p), Length: len(p), InterfaceIndex: i * second}
		if err := w.WritePacket(info, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// cooked is a packet of Linux's "any" interface: SLL around the IP packet.
func cooked(ip []byte) []byte {
	return append([]byte{0, 1, 0, 1, 0, 6, 0x52, 0x54, 0, 1, 2, 3, 0, 0, 8, 0}, ip...)
}

func TestKindsOfFiles(t *testing.T) {
	request := func(mark string) packet { return packet{from: 68, to: 67, payload: message(1, mark)} }
	tagged, twice := request("tagged"), request("twice")
	tagged.vlans, twice.vlans = []uint16{100}, []uint16{7, 4094}
	bare := request("bare")
	bare.ipOnly = true
	fragment := request("fragment")
	fragment.frag = true
	whole := request("whole").bytes(t)
	for _, x := range []struct {
		name string
		file []byte
		want string // marks and VLANs
		sum  Summary
	}{
		{"plain", pcap(t, layers.LinkTypeEthernet, whole), "whole[]", Summary{Packets: 1, Requests: 1}},
		{"tags", pcap(t, layers.LinkTypeEthernet, tagged.bytes(t), twice.bytes(t)), "tagged[100] twice[7 4094]", Summary{Packets: 2, Requests: 2}},
		{"any", pcap(t, layers.LinkTypeLinuxSLL, cooked(bare.bytes(t))), "bare[]", Summary{Packets: 1, Requests: 1}},
		{"bare IP", pcap(t, layers.LinkTypeRaw, bare.bytes(t)), "bare[]", Summary{Packets: 1, Requests: 1}},
		{"pcapng", pcapng(t, whole, bare.bytes(t)), "whole[] bare[]", Summary{Packets: 2, Requests: 2}},
		{"a boot server's port", pcap(t, layers.LinkTypeEthernet, packet{from: 4011, to: 4011, payload: message(1, "4011")}.bytes(t)), "4011[]", Summary{Packets: 1, Requests: 1}},
		{"answers", pcap(t, layers.LinkTypeEthernet, packet{from: 67, to: 68, payload: message(2, "")}.bytes(t), packet{from: 67, to: 67, payload: message(2, "")}.bytes(t)), "", Summary{Packets: 2, Replies: 2}},
		{"others", pcap(t, layers.LinkTypeEthernet, packet{from: 53, to: 53, payload: message(1, "")}.bytes(t), packet{from: 68, to: 67, payload: []byte{9}}.bytes(t), packet{from: 68, to: 67}.bytes(t), []byte{1, 2, 3}, nil), "", Summary{Packets: 5, Other: 5}},
		{"a fragment", pcap(t, layers.LinkTypeEthernet, fragment.bytes(t)), "", Summary{Packets: 1, Fragments: 1}},
		{"cut", pcap(t, layers.LinkTypeEthernet, whole[:100]), "", Summary{Packets: 1, Cut: 1}},
	} {
		t.Run(x.name, func(t *testing.T) {
			got, sum, err := read(t, iotest.HalfReader(bytes.NewReader(x.file)))
			if err != nil || sum != x.sum {
				t.Errorf("%+v, %v", sum, err)
			}
			var marks []string
			for _, m := range got {
				mark := strings.TrimRight(string(m.Payload[44:60]), "\x00")
				marks = append(marks, mark+fmt.Sprint(m.VLANs))
			}
			if s := strings.Join(marks, " "); s != x.want {
				t.Errorf("got %s, want %s", s, x.want)
			}
		})
	}
}

// TestWhatIsNoCapture says what to do.
func TestWhatIsNoCapture(t *testing.T) {
	whole := packet{from: 68, to: 67, payload: message(1, "x")}.bytes(t)
	good := pcap(t, layers.LinkTypeEthernet, whole, whole)
	long := slices.Clone(good)
	binary.LittleEndian.PutUint32(long[24+8:], 1<<30)
	claimed := slices.Clone(long) // and the file says that its records may be as long
	binary.LittleEndian.PutUint32(claimed[16:], 1<<31)
	for _, x := range []struct {
		name, want string
		file       []byte
		packets    int
	}{
		{"empty", "the file is empty: a file of tcpdump -w FILE, or of Wireshark", nil, 0},
		{"short", "it is no capture: a file of tcpdump -w FILE, or of Wireshark", []byte("abc"), 0},
		{"text", "it is no capture: ", []byte("apiVersion: rackreach/v1\nkind: Rack"), 0},
		{"compressed", "it is compressed: zcat FILE | rackreach classify --pcap -", []byte("\x1f\x8b\x08\x00"), 0},
		{"a broken pcapng", "it is no pcapng file that can be read: ", []byte("\x0a\x0d\x0d\x0a\x00\x00\x00\x00\x01\x02\x03\x04"), 0},
		{"cut off", "packet 2 cannot be read: ", good[:len(good)-10], 1},
		{"a record that is too long", "packet 1 cannot be read: capture length exceeds snap length", long, 0},
		{"a file of records that are too long", "packet 1 cannot be read: capture length exceeds snap length", claimed, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, sum, err := read(t, bytes.NewReader(x.file))
			var p *Problem
			if !errors.As(err, &p) || p.Do == "" || !strings.HasPrefix(err.Error(), x.want) || sum.Packets != x.packets {
				t.Errorf("%+v, %v", sum, err)
			}
		})
	}
	if _, _, err := read(t, iotest.ErrReader(errors.New("the disk is gone"))); err == nil || err.Error() != "it cannot be read: the disk is gone" {
		t.Errorf("%v", err)
	}
}

// endless repeats a record for ever.
type endless struct{ head, record []byte }

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.head)
	e.head = e.head[n:]
	for n < len(b) {
		c := copy(b[n:], e.record)
		n += c
		e.head = e.record[c:]
	}
	return n, nil
}

// TestAnEndlessFile ends.
func TestAnEndlessFile(t *testing.T) {
	big := make([]byte, 60000)
	file := pcap(t, layers.LinkTypeEthernet, big)
	sum, err := Read(&endless{head: file[:24], record: file[24:]}, func(Message) error { return nil })
	var p *Problem
	if !errors.As(err, &p) || p.What != "the file is larger than 256 MiB" || !strings.HasPrefix(p.Do, "keep only what is needed: tcpdump -r") || sum.Packets != MaxBytes/(16+60000) {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestAFileOfTheLargestSize is read to its end.
func TestAFileOfTheLargestSize(t *testing.T) {
	c := &counter{r: strings.NewReader("abcd"), left: 4}
	if b, err := io.ReadAll(c); string(b) != "abcd" || err != nil || c.over {
		t.Errorf("%q, %v", b, err)
	}
	c = &counter{r: strings.NewReader("abcde"), left: 4}
	if b, err := io.ReadAll(c); string(b) != "abcd" || err == nil || !c.over {
		t.Errorf("%q, %v", b, err)
	}
}

// TestTheReaderMayEnd: its error is passed on as it is.
func TestTheReaderMayEnd(t *testing.T) {
	whole := packet{from: 68, to: 67, payload: message(1, "x")}.bytes(t)
	enough := errors.New("enough")
	sum, err := Read(bytes.NewReader(pcap(t, layers.LinkTypeEthernet, whole, whole)), func(Message) error { return enough })
	if err != enough || sum.Packets != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// FuzzRead: whatever the bytes, reading ends, without a panic, and what is handed
// on is a message that a client may have sent.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"clients.pcap", "relayed.pcap"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	tagged := packet{vlans: []uint16{7, 8}, from: 68, to: 67, payload: message(1, "x")}.bytes(f)
	bare := packet{ipOnly: true, from: 67, to: 67, payload: message(1, "x")}.bytes(f)
	f.Add(pcap(f, layers.LinkTypeEthernet, tagged, tagged))
	f.Add(pcap(f, layers.LinkTypeLinuxSLL, cooked(bare)))
	f.Add(pcap(f, layers.LinkTypeRaw, bare))
	f.Add(pcapng(f, tagged, bare))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _, err := read(t, bytes.NewReader(data))
		var p *Problem
		if err != nil && (!errors.As(err, &p) || p.What == "" || p.Do == "") {
			t.Fatalf("not a problem that helps: %v", err)
		}
		for _, m := range got {
			if len(m.Payload) == 0 || m.Payload[0] != 1 || len(m.Payload) > MaxRecord || !m.From.Is4() || !m.To.Is4() || len(m.VLANs) > maxLayers {
				t.Fatalf("%+v", m)
			}
		}
	})
}
