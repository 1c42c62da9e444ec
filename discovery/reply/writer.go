package reply

import "github.com/insomniacslk/dhcp/dhcpv4"

// writer appends options to a header, in the order given, within a limit. Room
// for option 82, which comes last (RFC 3046 section 2.1), is kept from the
// start; where it cannot be had, option 82 is left out (section 2.2).
type writer struct {
	out       []byte
	room      int // what is left for options
	last      []byte
	truncated bool
}

// mandatory is the room, in bytes, that an answer needs besides options 61 and 82.
const mandatory = 3 + 6 + 6 // 53, 54, 51

func newWriter(header []byte, limit int, m *Message) *writer {
	w := &writer{out: header, room: limit - len(header) - 1, last: m.Relay}
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
