package reply

import (
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// writer appends options to a header, in the order given, within a limit. Room
// for option 82, which comes last (RFC 3046 section 2.1), is kept from the
// start; where it cannot be had, option 82 is left out (section 2.2).
type writer struct {
	out       []byte
	room      int // what is left for options
	last      []byte
	truncated bool
	// closed: a pad stands behind the boot file. PXE firmware is known that takes option 67
	// up to a zero byte, wherever its length says that it ends, and asks for a file of that
	// name (netboot.xyz issue 1198; of 2000 to 2015). A zero in it would be against RFC 2132
	// section 2, one behind it is section 3.1's.
	closed bool
}

// mandatory is the room, in bytes, that an answer needs besides options 61 and 82.
const mandatory = 3 + 6 + 6 // 53, 54, 51

// closed reports whether a client gets a zero byte behind its boot file.
func closed(c *Client) bool { return c.Stage == rack.StagePXE && c.says("PXEClient") }

func newWriter(header []byte, c *Client, m *Message) *writer {
	w := &writer{out: header, room: c.Limit - len(header) - 1, last: m.Relay, closed: closed(c)}
	if len(w.last) > w.room-mandatory-len(m.ClientID) {
		w.last, w.truncated = nil, len(w.last) > 0
	}
	w.room -= len(w.last)
	return w
}

// option writes an option, in pieces if it is longer than 255 bytes (RFC 3396), or
// not at all if it does not fit.
func (w *writer) option(o dhcpv4.Option) {
	code, value := o.Code.Code(), o.Value.ToBytes()
	pieces := max(1, (len(value)+254)/255)
	if len(value)+2*pieces > w.room {
		w.truncated = true
		return
	}
	w.room -= len(value) + 2*pieces
	for range pieces {
		n := min(len(value), 255)
		w.out = append(append(w.out, code, byte(n)), value[:n]...)
		value = value[n:]
	}
	if code == optionBootFile && w.closed && w.room > 0 {
		w.room--
		w.out = append(w.out, optionPad)
	}
}

// echo writes options as they came.
func (w *writer) echo(raw []byte) {
	if len(raw) > w.room {
		w.truncated = true
		return
	}
	w.room -= len(raw)
	w.out = append(w.out, raw...)
}
