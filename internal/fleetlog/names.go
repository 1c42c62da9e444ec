package fleetlog

import "fmt"

// Bounds of names that become part of a subject.
const (
	maxRack  = 63  // characters: the name of a rack can be a host name (RFC 1123 §2.1)
	maxOrder = 128 // characters of the id of an order
)

// checkRack refuses what internal/rack refuses as the name of a rack: nothing of
// it has a meaning in a subject.
func checkRack(rack string) error {
	ok := rack != "" && len(rack) <= maxRack && rack[0] != '-' && rack[len(rack)-1] != '-'
	for i := range len(rack) {
		b := rack[i]
		ok = ok && (b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-')
	}
	if !ok {
		return fmt.Errorf("%.80q is not the name of a rack: 1 to %d lower-case letters, digits and hyphens, no hyphen first or last", rack, maxRack)
	}
	return nil
}

// checkOrder refuses an order that no subject can carry.
func checkOrder(rack, id string) error {
	if err := checkRack(rack); err != nil {
		return err
	}
	ok := id != "" && len(id) <= maxOrder
	for i := range len(id) {
		b := id[i]
		ok = ok && b > ' ' && b < 0x7f && b != '.' && b != '*' && b != '>'
	}
	if !ok {
		return fmt.Errorf("%.80q is not the id of an order: 1 to %d letters, digits and signs, without space, dot, star and >", id, maxOrder)
	}
	return nil
}
