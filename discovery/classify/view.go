package classify

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"
)

// maxSources bounds the options and sub-options that all rules together look at.
const maxSources = 64

// Options returns the value of a DHCPv4 option of one packet, nil when it is not
// there; one without a value is empty and not nil. Repeated options are joined
// (RFC 3396).
type Options func(code uint8) []byte

// OptionsOf is the options of a packet that a library has read into a map. Most of what
// is asked for is not there: that is told without looking it up.
func OptionsOf(m map[uint8][]byte) Options {
	var there [256 / 64]uint64
	for code := range m {
		there[code/64] |= 1 << (code % 64)
	}
	return func(code uint8) []byte {
		if there[code/64]>>(code%64)&1 == 0 {
			return nil
		}
		v := m[code]
		if v == nil {
			v = []byte{}
		}
		return v
	}
}

// Packet is what is looked at of one packet.
type Packet struct {
	Options Options
	MAC     []byte // chaddr; may be nil
}

// source is one place of a packet at which rules look: an option, or one of its
// sub-options.
type source struct {
	code       uint8
	enterprise uint32 // of options 124 and 125
	sub        int    // -1: none
}

// String is as a rules file writes it: 60, 124/9, 125/42623/3.
func (s source) String() string {
	out := strconv.Itoa(int(s.code))
	if s.code == optionVendorClass || s.code == optionVendorInfo {
		out += "/" + strconv.FormatUint(uint64(s.enterprise), 10)
	}
	if s.sub >= 0 {
		out += "/" + strconv.Itoa(s.sub)
	}
	return out
}

// view is a packet as the rules see it: the value of each source, by its index in
// Rules.sources; nil when it is not there.
type view struct {
	values  [maxSources][]byte
	present uint64 // bit i: source i is there

	users    [maxUserClasses][]byte // option 77, in its parts
	userSize int
}

// look reads all sources from a packet.
func (r *Rules) look(p Packet, v *view) {
	var raw []byte
	code := 0
	for i, s := range r.sources {
		if int(s.code) != code { // sources of one option stand together
			code = int(s.code)
			raw = p.Options(s.code)
		}
		if raw == nil {
			continue
		}
		if x := v.read(s, raw, r.asText>>i&1 == 1); x != nil {
			v.values[i] = x
			v.present |= 1 << i
		}
	}
}

// read takes the value of a source out of its option; nil when nothing is said.
// Numbers become text only when a rule looks at it.
func (v *view) read(s source, raw []byte, asText bool) []byte {
	switch s.code {
	case optionHostName, optionClass:
		if raw = trimNUL(raw); len(raw) == 0 {
			return nil
		}
	case optionUserClass:
		if len(raw) == 0 {
			return nil
		}
		v.userSize = userClasses(raw, &v.users)
		return v.users[0]
	case optionArch:
		if len(raw) < 2 {
			return nil
		}
		return raw[:2] // one or more big-endian numbers; the first is the one that counts
	case optionUNDI:
		return version(raw, asText)
	case optionMachineID:
		return uuid(raw, asText)
	case optionVendorClass:
		return vendorClass(raw, s.enterprise)
	case optionVendorInfo:
		return vendorInfo(raw, s.enterprise, s.sub)
	case optionEtherboot:
		if len(raw) == 0 || s.sub < 0 && SubOptions(raw, func(byte, []byte) {}) != nil {
			return nil
		}
	}
	if s.sub >= 0 {
		return subOption(raw, byte(s.sub))
	}
	return raw
}

// version reads option 94: type 1 (UNDI), major, minor; as text "1.3.16".
func version(raw []byte, asText bool) []byte {
	if len(raw) != 3 {
		return nil
	}
	if !asText {
		return raw
	}
	return fmt.Appendf(nil, "%d.%d.%d", raw[0], raw[1], raw[2])
}

// uuid reads option 97: type 0 and 16 bytes, of which the first three fields come
// with their lowest byte first (captured); as text as a BMC's GUID is written.
func uuid(raw []byte, asText bool) []byte {
	if len(raw) != 17 || raw[0] != 0 {
		return nil
	}
	if !asText {
		return raw
	}
	b := raw[1:]
	return fmt.Appendf(nil, "%x-%x-%x-%x-%x", []byte{b[3], b[2], b[1], b[0]}, []byte{b[5], b[4]}, []byte{b[7], b[6]}, b[8:10], b[10:16])
}

// vendorClass is what an enterprise says in option 124: its first item when the
// data is a list of length-prefixed items (RFC 3925 section 3), else all of it.
func vendorClass(raw []byte, enterprise uint32) (out []byte) {
	blocks(raw, func(number uint32, data []byte) bool {
		var parts [maxUserClasses][]byte
		if number == enterprise && len(data) > 0 {
			userClasses(data, &parts)
			out = parts[0]
		}
		return len(out) == 0
	})
	return out
}

// vendorInfo is a sub-option that an enterprise sends in option 125, or all of its
// data.
func vendorInfo(raw []byte, enterprise uint32, sub int) (out []byte) {
	blocks(raw, func(number uint32, data []byte) bool {
		if number != enterprise {
			return true
		}
		if out = data; sub >= 0 {
			out = subOption(data, byte(sub))
		}
		return len(out) == 0
	})
	return out
}

// arch is the first number of option 93.
func arch(value []byte) int { return int(binary.BigEndian.Uint16(value)) }

// compare orders sources by option.
func (s source) compare(o source) int {
	return cmp.Or(cmp.Compare(s.code, o.code), cmp.Compare(s.enterprise, o.enterprise), cmp.Compare(s.sub, o.sub))
}

// oui is the first three bytes of a MAC.
type oui uint32

func ouiOf(mac []byte) oui { return oui(mac[0])<<16 | oui(mac[1])<<8 | oui(mac[2]) }
