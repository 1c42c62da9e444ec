package classify

import (
	"slices"
	"strconv"
)

// Bounds of Packet.Sent.
const (
	maxSent      = 64  // options and sub-options
	maxSentValue = 128 // characters of one value
)

// unsaid are options of the protocol, which say nothing about who sends them: pad,
// address, lease, overload, message type, server, size, relay, end.
var unsaid = [...]uint8{0, 50, 51, 52, 53, 54, 57, optionRelay, 255}

// Sent lists what a packet says about its sender, as a rules file names it and in
// its order: 60="ACME|AX-48", 55=1,3,6, 125/42623/3="x". It is for people who write
// a rule.
func (p Packet) Sent() []string {
	var out []string
	add := func(s source, value []byte) {
		if len(out) < maxSent {
			out = append(out, string(appendSent(nil, s, value)))
		}
	}
	for code := range 256 {
		if slices.Contains(unsaid[:], uint8(code)) {
			continue
		}
		value := p.Options(uint8(code))
		if value == nil {
			continue
		}
		sentOption(uint8(code), value, add)
	}
	return out
}

// sentOption adds an option, or its parts.
func sentOption(code uint8, value []byte, add func(source, []byte)) {
	whole := source{code: code, sub: -1}
	switch code {
	case optionVendorClass, optionVendorInfo:
		blocks(value, func(enterprise uint32, data []byte) bool {
			s := source{code: code, enterprise: enterprise, sub: -1}
			if code == optionVendorClass || !subOptions(s, data, add) {
				add(s, data)
			}
			return true
		})
		return
	case optionVendorSpecific, optionEtherboot:
		if subOptions(whole, value, add) {
			return
		}
	case optionUserClass:
		var parts [maxUserClasses][]byte
		if len(value) > 0 {
			for _, part := range parts[:userClasses(value, &parts)] {
				add(whole, part)
			}
			return
		}
	}
	add(whole, value)
}

// subOptions adds the sub-options of a value that has some.
func subOptions(s source, value []byte, add func(source, []byte)) bool {
	if len(value) == 0 || SubOptions(value, func(byte, []byte) {}) != nil {
		return false
	}
	return SubOptions(value, func(code byte, v []byte) {
		s.sub = int(code)
		add(s, v)
	}) == nil
}

// appendSent appends an option and its value.
func appendSent(b []byte, s source, value []byte) []byte {
	b = appendSource(b, s)
	if s.sub < 0 {
		switch s.code {
		case optionRequested:
			return appendNumbers(append(b, '='), value[:min(len(value), maxCodes)], 1)
		case optionArch:
			if len(value)%2 == 0 && len(value) > 0 {
				return appendNumbers(append(b, '='), value[:min(len(value), 2*maxCodes)], 2)
			}
		case optionUNDI:
			if v := version(value, true); v != nil {
				value = v
			}
		case optionMachineID:
			if v := uuid(value, true); v != nil {
				value = v
			}
		}
	}
	if len(value) == 0 {
		return b
	}
	return append(appendPrintable(append(b, '=', '"'), value, maxSentValue), '"')
}

// appendNumbers appends big-endian numbers of a size of 1 or 2 bytes.
func appendNumbers(b, value []byte, size int) []byte {
	for i := 0; i < len(value); i += size {
		n := uint64(value[i])
		if size == 2 {
			n = n<<8 | uint64(value[i+1])
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return b
}
