package classify

import (
	"encoding/binary"
	"errors"
)

// Bounds of what is read from one packet.
const (
	maxUserClasses = 8 // user classes that are looked at
	maxBlocks      = 8 // enterprises of option 124 or 125 that are looked at
)

// The options that are read in a way of their own. All others are bytes.
const (
	optionHostName       = 12
	optionVendorSpecific = 43
	optionRequested      = 55
	optionClass          = 60
	optionUserClass      = 77  // RFC 3004, or raw
	optionRelay          = 82  // the relay's word, not the device's
	optionArch           = 93  // RFC 4578 section 2.1
	optionUNDI           = 94  // RFC 4578 section 2.2
	optionMachineID      = 97  // RFC 4578 section 2.3
	optionVendorClass    = 124 // RFC 3925 section 3
	optionVendorInfo     = 125 // RFC 3925 section 4
	optionEtherboot      = 175 // iPXE
)

// EnterpriseOCP is the enterprise number of the Open Compute Project, under which
// ONIE speaks (IANA).
const EnterpriseOCP = 42623

// ONIEInstallerURL is the sub-option of option 125 under EnterpriseOCP by which a
// server names an installer (ONIE, lib/onie/functions).
const ONIEInstallerURL = 1

// ErrSubOption: a sub-option runs past the end of its option.
var ErrSubOption = errors.New("a sub-option runs past the end of its option")

// SubOptions calls f for every code-length-value of an encapsulated option. It
// returns ErrSubOption when one runs past the end.
func SubOptions(value []byte, f func(code byte, v []byte)) error {
	for len(value) > 0 {
		if len(value) < 2 || len(value) < 2+int(value[1]) {
			return ErrSubOption
		}
		n := 2 + int(value[1])
		f(value[0], value[2:n:n])
		value = value[n:]
	}
	return nil
}

// subOption is the first sub-option of that code; nil when there is none, or when
// any of them runs past the end.
func subOption(value []byte, code byte) (out []byte) {
	if SubOptions(value, func(c byte, v []byte) {
		if c == code && out == nil {
			out = v
		}
	}) != nil {
		return nil
	}
	return out
}

// userClasses reads option 77 both ways: iPXE and SONiC send the bare string,
// ONIE the length-prefixed list of RFC 3004. A list of more than maxUserClasses is
// taken for a string. It returns how many there are.
func userClasses(v []byte, into *[maxUserClasses][]byte) int {
	n := 0
	for rest := v; len(rest) > 0; n++ {
		size := int(rest[0])
		if size == 0 || size >= len(rest) || n == maxUserClasses {
			into[0] = trimNUL(v)
			return 1
		}
		into[n] = trimNUL(rest[1 : 1+size])
		rest = rest[1+size:]
	}
	return n
}

// blocks calls f for what each enterprise says in option 124 or 125: a number of 4
// bytes, a length of one, data (RFC 3925 sections 3 and 4). What follows a block
// that runs past the end is passed over.
func blocks(v []byte, f func(enterprise uint32, data []byte) (more bool)) {
	for i := 0; len(v) >= 5 && i < maxBlocks; i++ {
		n := 5 + int(v[4])
		if n > len(v) {
			return
		}
		if !f(binary.BigEndian.Uint32(v), v[5:n:n]) {
			return
		}
		v = v[n:]
	}
}

func trimNUL(v []byte) []byte {
	for len(v) > 0 && v[len(v)-1] == 0 {
		v = v[:len(v)-1]
	}
	return v
}
