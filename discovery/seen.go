package discovery

import (
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// Seen is what one packet told. Strings in it are bounded and escaped.
type Seen struct {
	// Observation carries Proves and Address only when the answer that they
	// speak of is sent next (or, for a DECLINE, when the address was ours). Its
	// Device is the slot of Binding.
	Observation rack.Observation
	Keys        rack.Keys
	Binding     rack.Binding // zero when Err is set
	Err         error        // wraps rack.ErrUnknown or rack.ErrAmbiguous; a component of the latter kind is not answered
	Address     string       // that is acknowledged next, also to a stranger; empty: none
	Offered     string       // that is offered next, likewise; empty: none
	Alarm       string       // what a person must see to: an address in use, a pool that is empty; empty: nothing
	Message     string       // DISCOVER, REQUEST, DECLINE, RELEASE, INFORM
	Evidence    string       // which options gave the stage away, for people
}

// Outcome says what became of a packet; it is a label of a metric.
type Outcome string

// The outcomes. Every packet is counted under exactly one; Truncated is counted
// besides it.
const (
	Offered             Outcome = "offered"
	Acknowledged        Outcome = "acknowledged"
	Refused             Outcome = "refused-address"    // DHCPNAK: the address that it asks for is not its own
	RefusedTaken        Outcome = "refused-taken"      // DHCPNAK: the address was given to another in between
	RefusedBlank        Outcome = "refused-no-address" // DHCPNAK: it names no address
	RefusedUnknown      Outcome = "refused-unknown"    // DHCPNAK: there is no record of it, and Authoritative is set
	Declined            Outcome = "declined"
	Released            Outcome = "released"
	IgnoredUnknown      Outcome = "ignored-unknown"
	IgnoredAmbiguous    Outcome = "ignored-ambiguous"
	IgnoredOtherServer  Outcome = "ignored-other-server"
	IgnoredWrongAddress Outcome = "ignored-wrong-address" // a known device that speaks from a foreign address, where RFC 2131 has no refusal
	IgnoredNoAddress    Outcome = "ignored-no-address"    // a known end without an address in the table
	IgnoredNotBoot      Outcome = "ignored-not-boot"      // a proxy answers firmware only, and only with something to boot
	IgnoredPending      Outcome = "ignored-pending"       // firmware that is to ask again, when it is decided what it boots
	IgnoredNoLease      Outcome = "ignored-no-lease"      // its pool has no address left
	StoreFailed         Outcome = "store-failed"          // the lease could not be made durable, so the acknowledgement did not leave
	MalformedLength     Outcome = "malformed-length"      // too long, or shorter than a header
	MalformedRequest    Outcome = "malformed-request"     // not a client's packet
	MalformedHardware   Outcome = "malformed-hardware"    // hlen or chaddr
	MalformedOptions    Outcome = "malformed-options"     // no cookie, an option past the end
	MalformedType       Outcome = "malformed-type"        // option 53 is missing or unknown
	MalformedAddress    Outcome = "malformed-address"     // one that no machine can have, or none where there must be one
	MalformedClientID   Outcome = "malformed-client-id"   // longer than can be returned
	MalformedRelay      Outcome = "malformed-relay"       // option 82 twice, or a sub-option past its end
	Panicked            Outcome = "panicked"
	SendFailed          Outcome = "send-failed" // the answer did not leave

	Truncated Outcome = "truncated" // an option did not fit the client's maximum message size
)

// Malformed reports whether a packet could not be read.
func (o Outcome) Malformed() bool { return strings.HasPrefix(string(o), "malformed-") }

// Refused reports whether a packet was answered with DHCPNAK.
func (o Outcome) Refused() bool { return strings.HasPrefix(string(o), "refused-") }

// noMessage is the label of a packet whose message type could not be read.
const noMessage = "none"

// messageName is the label of a message type: one of a fixed few, whatever a
// stranger sends.
func messageName(t dhcpv4.MessageType) string {
	switch t {
	case dhcpv4.MessageTypeDiscover:
		return "DISCOVER"
	case dhcpv4.MessageTypeRequest:
		return "REQUEST"
	case dhcpv4.MessageTypeDecline:
		return "DECLINE"
	case dhcpv4.MessageTypeRelease:
		return "RELEASE"
	case dhcpv4.MessageTypeInform:
		return "INFORM"
	}
	return noMessage
}

// question is the evidence of an offer to a device in that stage. UEFI firmware that boots
// from the network asks again and again, and requests no address from a server that names
// nothing to boot (edk2: HttpBootDhcp4.c; PXE of OVMF 2022.11, measured): that it asks is
// all that it shows before there is a ticket. iPXE in a ROM requests it all the same.
func question(s rack.Stage) rack.Evidence {
	if s == rack.StageHTTPBoot || s == rack.StagePXE {
		return rack.DHCPPXE
	}
	return rack.NoEvidence
}

// firmware reports whether a device in that stage boots what it is told by DHCP.
func firmware(s rack.Stage) bool {
	return s == rack.StageHTTPBoot || s == rack.StagePXE || s == rack.StageIPXE
}

// proof is the evidence of an acknowledgement to a device in that stage.
func proof(s rack.Stage) rack.Evidence {
	switch s {
	case rack.StageBMC:
		return rack.DHCPBMC
	case rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot:
		return rack.DHCPPXE
	case rack.StageONIE:
		return rack.DHCPONIE
	case rack.StageNOS:
		return rack.DHCPNOS
	case rack.StageOS:
		return rack.DHCPOS
	}
	return rack.NoEvidence
}

// seen reports a packet before anything is decided about it.
func seen(r *request) *Seen {
	return &Seen{
		Keys:     r.keys,
		Message:  messageName(r.kind),
		Evidence: r.class.Evidence,
		Observation: rack.Observation{
			Source: rack.FromDHCP,
			MAC:    r.keys.MAC,
			UUID:   r.keys.UUID,
			Via:    r.keys.Via,
			Stage:  r.class.Stage,
			Vendor: r.class.Vendor,
			Model:  r.class.Model,
			Serial: r.class.Serial,
		},
	}
}
