package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Bounds of one file.
const (
	MaxBytes  = 256 << 20 // that are read of a file
	MaxRecord = 256 << 10 // bytes of one record, the longest that tcpdump writes
)

// The ports of DHCP servers (RFC 2131 section 4.1; 4011: PXE's boot servers).
const (
	serverPort = 67
	bootPort   = 4011
)

// Message is a DHCP message to a server, as it was captured.
type Message struct {
	Number  int       // of its packet in the file, from 1
	Time    time.Time // zero when the file does not say
	VLANs   []uint16  // outermost first
	From    netip.Addr
	To      netip.Addr
	Payload []byte // valid until the next one
}

// Summary counts the packets of a file; Requests, Replies, Cut, Fragments and Other
// add up to Packets.
type Summary struct {
	Packets   int
	Requests  int // handed on
	Replies   int // of servers
	Cut       int // of DHCP, but shorter in the file than on the wire
	Fragments int // of IP packets
	Other     int
}

// Problem is why a file cannot be read any further, and what to do.
type Problem struct {
	What string
	Do   string
}

func (p *Problem) Error() string { return p.What + ": " + p.Do }

const filter = "'udp port 67 or udp port 68 or udp port 4011'"

// file is the part of the library's readers that is used.
type file interface {
	ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

// Read hands every DHCP message to a server that is in a file to f. It returns an
// error of f as it is, and a *Problem when the file ends in another way than it
// should; what was counted until then stands in the summary.
func Read(r io.Reader, f func(Message) error) (sum Summary, err error) {
	counted := &counter{r: r, left: MaxBytes}
	in, link, err := open(counted)
	if err != nil {
		return sum, err
	}
	for {
		data, info, err := next(in)
		switch {
		case errors.Is(err, io.EOF) && !counted.over:
			return sum, nil
		case counted.over:
			return sum, &Problem{fmt.Sprintf("the file is larger than %d MiB", MaxBytes>>20), "keep only what is needed: tcpdump -r FILE -w SMALLER " + filter}
		case err != nil:
			return sum, &Problem{fmt.Sprintf("packet %d cannot be read: %v", sum.Packets+1, err), "the packets before it were looked at; capture again with tcpdump -w FILE " + filter}
		}
		sum.Packets++
		m, what := decode(data, link(info))
		if *what.count(&sum)++; what != request {
			continue
		}
		m.Number, m.Time = sum.Packets, info.Timestamp
		if err := f(m); err != nil {
			return sum, err
		}
	}
}

// open finds out which kind of file it is.
func open(r io.Reader) (in file, link func(gopacket.CaptureInfo) layers.LinkType, err error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(4)
	const begin = "a file of tcpdump -w FILE, or of Wireshark"
	switch {
	case len(magic) == 0 && errors.Is(err, io.EOF):
		return nil, nil, &Problem{"the file is empty", begin}
	case len(magic) < 4 && errors.Is(err, io.EOF):
		return nil, nil, &Problem{"it is no capture", begin}
	case err != nil:
		return nil, nil, &Problem{"it cannot be read", err.Error()}
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return nil, nil, &Problem{"it is compressed", "zcat FILE | rackreach classify --pcap -"}
	}
	defer func() {
		if reason := recover(); reason != nil {
			err = &Problem{"it is no capture that can be read", begin}
		}
	}()
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		ng, err := pcapgo.NewNgReader(buffered, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, nil, &Problem{"it is no pcapng file that can be read: " + err.Error(), begin}
		}
		return ng, func(i gopacket.CaptureInfo) layers.LinkType {
			if len(i.AncillaryData) > 0 {
				if t, ok := i.AncillaryData[0].(layers.LinkType); ok {
					return t
				}
			}
			return layers.LinkTypeNull
		}, nil
	}
	p, err := pcapgo.NewReader(buffered)
	if err != nil {
		return nil, nil, &Problem{"it is no capture: " + err.Error(), begin}
	}
	if p.Snaplen() > MaxRecord {
		p.SetSnaplen(MaxRecord)
	}
	// The upper half of the word is no part of the type (draft-ietf-opsawg-pcap).
	return p, func(gopacket.CaptureInfo) layers.LinkType { return p.LinkType() & 0xffff }, nil
}

// next reads one packet. The library's panics over damaged files become errors.
func next(in file) (data []byte, info gopacket.CaptureInfo, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = errors.New("the file is damaged")
		}
	}()
	data, info, err = in.ZeroCopyReadPacketData()
	if err == nil && len(data) > MaxRecord {
		err = fmt.Errorf("it has %d bytes, more than %d", len(data), MaxRecord)
	}
	return data, info, err
}

// counter bounds what is read.
type counter struct {
	r    io.Reader
	left int64
	over bool // there was more
}

func (c *counter) Read(b []byte) (int, error) {
	if c.left == 0 {
		n, err := c.r.Read(b[:min(1, len(b))])
		if n > 0 {
			c.over = true
			return 0, io.ErrUnexpectedEOF
		}
		return 0, err
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}
