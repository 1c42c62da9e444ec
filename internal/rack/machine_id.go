package rack

import (
	"encoding/hex"
	"slices"
)

// SameMachine reports whether two numbers are one machine's: a BMC's system GUID and
// the option 97 of its host, in whatever order their makers put the bytes. Both are
// 32 hex digits; a number that says nothing is nobody's.
func SameMachine(a, b string) bool {
	k := machineKey(a)
	return k != "" && k == machineKey(b)
}

// machineKey is the same for all orders in which makers write the 16 bytes of one
// machine's number, and different for different numbers; "" for one that says
// nothing: of another length, or with all bytes the same, as boards without a number
// send.
//
// RFC 4122 has all fields big-endian; SMBIOS, and so option 97, the first three
// little-endian; IPMI the whole backwards (IPMI 2.0 section 20.8), and makers mix
// these (protocol facts §1; ipmitool guesses one order, FreeIPMI another).
func machineKey(number string) string {
	u, err := hex.DecodeString(number)
	if err != nil || len(u) != 16 || !slices.ContainsFunc(u, func(b byte) bool { return b != u[0] }) {
		return ""
	}
	key := ""
	for range 2 {
		for range 2 {
			for range 2 {
				if s := string(u); key == "" || s < key {
					key = s
				}
				swapFields(u)
			}
			slices.Reverse(u)
			swapFields(u)
			slices.Reverse(u)
		}
		slices.Reverse(u)
	}
	return hex.EncodeToString([]byte(key))
}

// swapFields turns the first three fields of a UUID around: 4, 2 and 2 bytes.
func swapFields(u []byte) {
	slices.Reverse(u[0:4])
	slices.Reverse(u[4:6])
	slices.Reverse(u[6:8])
}
