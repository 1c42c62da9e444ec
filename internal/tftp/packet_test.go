package tftp

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	for _, x := range []struct {
		packet string
		want   request
		err    error
	}{
		{"\x00\x01a/b\x00octet\x00", request{name: "a/b"}, nil},
		{"\x00\x01x\x00NetASCII\x00", request{name: "x", text: true}, nil},
		{"\x00\x01\x00octet\x00", request{}, nil}, // Open refuses it
		{"\x00\x01x\x00octet\x00BlkSize\x001428\x00tsize\x000\x00", request{name: "x", options: []option{{"blksize", "1428"}, {"tsize", "0"}}}, nil},
		{"\x00\x01x\x00octet\x00tsize\x00", request{name: "x"}, nil},        // half an option
		{"\x00\x01x\x00octet\x00tsize", request{name: "x"}, nil},            // cut off
		{"\x00\x01x\x00octet\x00\x00\x00\x00\x00", request{name: "x"}, nil}, // filled up
		{"\x00\x01x\x00octet\x00a\x00\x00", request{name: "x", options: []option{{"a", ""}}}, nil},
		{"\x00\x02x\x00octet\x00", request{}, errWrite},
		{"\x00\x01x\x00mail\x00", request{}, errMode},
		{"\x00\x01x\x00octet", request{}, errForm},
		{"\x00\x01x", request{}, errForm},
		{"\x00\x01", request{}, errForm},
		{"\x00\x03\x00\x01data", request{}, errIgnore},
		{"\x00\x05\x00\x00no\x00", request{}, errIgnore},
		{"\x00\x09x\x00octet\x00", request{}, errIgnore},
		{"\x00", request{}, errIgnore},
		{"", request{}, errIgnore},
	} {
		got, err := parseRequest([]byte(x.packet))
		if !errors.Is(err, x.err) || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%q: %+v, %v; want %+v, %v", x.packet, got, err, x.want, x.err)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	for _, x := range []struct {
		packet string
		block  uint16
		ok     bool
		said   string
	}{
		{"\x00\x04\x12\x34", 0x1234, true, ""},
		{"\x00\x04\x00\x01more", 1, true, ""},
		{"\x00\x05\x00\x08no options\x00junk", 0, false, "it says 8 no options"},
		{"\x00\x05\x00\x00\x1b[2J\xff", 0, false, "it says 0  [2J?"},
		{"\x00\x05\x00\x00" + strings.Repeat("x", 5000), 0, false, "it says 0 " + strings.Repeat("x", maxSaid)},
		{"\x00\x03\x00\x01data", 0, false, ""},
		{"\x00\x04\x00", 0, false, ""},
		{"", 0, false, ""},
	} {
		block, ok, said := parseAnswer([]byte(x.packet))
		if block != x.block || ok != x.ok || (said == nil) != (x.said == "") || said != nil && (!errors.Is(said, ErrAborted) || !strings.HasSuffix(said.Error(), x.said)) {
			t.Errorf("%.40q: %d %t %v", x.packet, block, ok, said)
		}
	}
}

func TestNegotiate(t *testing.T) {
	const size, most = 100_000, 1468
	for _, x := range []struct {
		options string // name=value, separated by spaces
		want    agreed
		answer  string
	}{
		{"", agreed{512, 1, 0}, ""},
		{"blksize=1428", agreed{1428, 1, 0}, "blksize=1428"},
		{"blksize=9000", agreed{1468, 1, 0}, "blksize=1468"},
		{"blksize=8", agreed{8, 1, 0}, "blksize=8"},
		{"blksize=7", agreed{512, 1, 0}, ""},
		{"blksize=65465", agreed{512, 1, 0}, ""},
		{"blksize=-1", agreed{512, 1, 0}, ""},
		{"blksize=99999999999999999999", agreed{512, 1, 0}, ""},
		{"blksize=1000 blksize=2000", agreed{1000, 1, 0}, "blksize=1000"},
		{"tsize=0", agreed{512, 1, 0}, "tsize=100000"},
		{"tsize=x", agreed{512, 1, 0}, ""},
		{"timeout=3", agreed{512, 1, 3e9}, "timeout=3"},
		{"timeout=0", agreed{512, 1, 0}, ""},
		{"timeout=256", agreed{512, 1, 0}, ""},
		{"windowsize=16", agreed{512, 16, 0}, "windowsize=16"},
		{"windowsize=65535", agreed{512, 64, 0}, "windowsize=64"},
		{"windowsize=0", agreed{512, 1, 0}, ""},
		{"multicast= utimeout=5 rollover=0", agreed{512, 1, 0}, ""},
		{"windowsize=4 tsize=0 blksize=1024 timeout=1", agreed{1024, 4, 1e9}, "windowsize=4 tsize=100000 blksize=1024 timeout=1"},
	} {
		r := request{}
		for o := range strings.FieldsSeq(x.options) {
			name, value, _ := strings.Cut(o, "=")
			r.options = append(r.options, option{name, value})
		}
		got, answer := negotiate(r, size, most)
		var said []string
		for _, o := range answer {
			said = append(said, o.name+"="+o.value)
		}
		if got != x.want || strings.Join(said, " ") != x.answer {
			t.Errorf("%s: %+v %q, want %+v %q", x.options, got, said, x.want, x.answer)
		}
	}
}

// What a window holds in memory is bounded, whatever the order of the options.
func TestNegotiateWindowBytes(t *testing.T) {
	for _, options := range [][]option{{{"blksize", "65464"}, {"windowsize", "64"}}, {{"windowsize", "64"}, {"blksize", "65464"}}} {
		got, answer := negotiate(request{options: options}, 1, greatestBlock)
		if got.block != greatestBlock || got.window != maxWindowBytes/greatestBlock || !bytes.Contains(oackPacket(answer), []byte("windowsize\x004\x00")) {
			t.Errorf("%+v %v", got, answer)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, p := range []string{"\x00\x01a\x00octet\x00", "\x00\x01a\x00netascii\x00blksize\x001428\x00tsize\x000\x00windowsize\x0016\x00timeout\x001\x00",
		"\x00\x02a\x00octet\x00", "\x00\x01../../etc/passwd\x00octet\x00\x00", "\x00\x05\x00\x01\x00", "\x00\x04\xff\xff"} {
		f.Add([]byte(p), int64(1000), 1468)
	}
	f.Fuzz(func(t *testing.T, p []byte, size int64, most int) {
		_, ok, said := parseAnswer(p)
		if ok && said != nil || said != nil && (len(said.Error()) > 4*maxSaid+100 || strings.ContainsAny(said.Error(), "\n\x1b")) {
			t.Errorf("answer %t %v", ok, said)
		}
		r, err := parseRequest(p)
		if err != nil {
			return
		}
		size, most = max(size, 0), min(max(most, plainBlock), greatestBlock)
		a, answer := negotiate(r, size, most)
		if a.block < leastBlock || a.block > most || a.window < 1 || a.window > maxWindow || a.window*a.block > max(maxWindowBytes, a.block) || a.timeout < 0 {
			t.Errorf("%q: agreed on %+v", p, a)
		}
		if len(oackPacket(answer)) > 200 {
			t.Errorf("%q: an answer of %d bytes", p, len(oackPacket(answer)))
		}
	})
}
