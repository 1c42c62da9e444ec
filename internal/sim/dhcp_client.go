package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// lease is what a client takes from an ACK.
type lease struct {
	address   netip.Addr
	server    netip.Addr // siaddr, else option 54
	file      string     // option 67, else the file field
	installer string     // ONIE: option 125/42623 sub-option 1, else option 114
	script    string     // SONiC, Cumulus: option 239
	hostname  string     // option 12
}

// Why a client goes without an address.
var (
	errDeclined = errors.New("address declined")
	errRefused  = errors.New("address refused by the server")
	errUseless  = errors.New("the offer has nothing to boot from")
)

// retries is the time between transmissions: first, doubled each time, at most
// most. tries bounds them; 0: until ctx ends.
type retries struct {
	first, most time.Duration
	tries       int
}

func (r retries) wait(n int) time.Duration {
	d := r.first
	for ; n > 0 && d < r.most; n-- {
		d *= 2
	}
	return min(d, r.most)
}

// acquire gets an address for an end: DISCOVER, OFFER, REQUEST, ACK (RFC 2131
// §3.1). decline makes it refuse what it is offered. It returns errNoAnswer,
// errDeclined, errRefused or the error of ctx.
func (s *Sim) acquire(ctx context.Context, e *end, id identity, r retries, decline func() bool) (*lease, error) {
	return s.acquireOf(ctx, e, id, r, decline, func(*lease) bool { return true })
}

// acquireOf is acquire for a client that takes only offers that will do; errUseless says
// that the first one does not.
func (s *Sim) acquireOf(ctx context.Context, e *end, id identity, r retries, decline func() bool, will func(*lease) bool) (*lease, error) {
	discover, err := packet(dhcpv4.MessageTypeDiscover, e, id)
	if err != nil {
		return nil, err
	}
	x := s.wires.open(e, discover.TransactionID)
	defer x.close()
	offer, err := x.repeat(ctx, discover, r, dhcpv4.MessageTypeOffer)
	if err != nil {
		return nil, err
	}
	if !will(leaseOf(offer)) {
		return nil, errUseless
	}
	offered := addrOf(offer.YourIPAddr)
	chosen := append(identity{
		dhcpv4.WithTransactionID(discover.TransactionID),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())),
	}, id...)
	if !offered.IsValid() || s.fabric.held(offered, e) || decline() {
		no, err := packet(dhcpv4.MessageTypeDecline, e, chosen)
		if err != nil {
			return nil, err
		}
		return nil, errors.Join(errDeclined, s.wires.send(e, no))
	}
	request, err := packet(dhcpv4.MessageTypeRequest, e, chosen)
	if err != nil {
		return nil, err
	}
	ack, err := x.repeat(ctx, request, retries{r.first, r.most, 4}, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)
	if err != nil {
		return nil, err
	}
	if ack.MessageType() == dhcpv4.MessageTypeNak {
		return nil, errRefused
	}
	return leaseOf(ack), nil
}

// discover asks for an address and takes none. It returns nil once it was offered one,
// errNoAnswer, or the error of ctx.
func (s *Sim) discover(ctx context.Context, e *end, id identity, r retries) error {
	p, err := packet(dhcpv4.MessageTypeDiscover, e, id)
	if err != nil {
		return err
	}
	x := s.wires.open(e, p.TransactionID)
	defer x.close()
	_, err = x.repeat(ctx, p, r, dhcpv4.MessageTypeOffer)
	return err
}

// inform tells the server about an address that the device already has (RFC
// 2131 §3.4); the packet proves the link.
func (s *Sim) inform(ctx context.Context, e *end, address netip.Addr, id identity, r retries) error {
	p, err := packet(dhcpv4.MessageTypeInform, e, append(identity{dhcpv4.WithClientIP(address.AsSlice())}, id...))
	if err != nil {
		return err
	}
	x := s.wires.open(e, p.TransactionID)
	defer x.close()
	_, err = x.repeat(ctx, p, r, dhcpv4.MessageTypeAck)
	return err
}

func packet(t dhcpv4.MessageType, e *end, id identity) (*dhcpv4.DHCPv4, error) {
	p, err := dhcpv4.New(append(identity{dhcpv4.WithMessageType(t), dhcpv4.WithHwAddr(e.mac)}, id...)...)
	if err != nil {
		return nil, fmt.Errorf("build %s of %s: %w", t, e.device, err)
	}
	return p, nil
}

func (x *exchange) repeat(ctx context.Context, p *dhcpv4.DHCPv4, r retries, want ...dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	begun := time.Now()
	for n := 0; r.tries == 0 || n < r.tries; n++ {
		p.NumSeconds = uint16(min(time.Since(begun)/time.Second, 65535)) // RFC 2131 §2: secs
		a, err := x.ask(ctx, p, r.wait(n), want...)
		if !errors.Is(err, errNoAnswer) {
			return a, err
		}
	}
	return nil, errNoAnswer
}

func leaseOf(ack *dhcpv4.DHCPv4) *lease {
	l := &lease{hostname: ack.HostName(), address: addrOf(ack.YourIPAddr), server: addrOf(ack.ServerIPAddr), file: ack.BootFileNameOption()}
	if !l.server.IsValid() || l.server.IsUnspecified() {
		l.server = addrOf(ack.ServerIdentifier())
	}
	if l.file == "" {
		l.file = ack.BootFileName
	}
	l.installer = ocpOption(ack.Options.Get(dhcpv4.OptionVendorIdentifyingVendorSpecific), onieInstallerURL)
	if l.installer == "" {
		l.installer = string(ack.Options.Get(dhcpv4.GenericOptionCode(114)))
	}
	l.script = string(ack.Options.Get(dhcpv4.GenericOptionCode(239)))
	return l
}

// ocpOption finds a sub-option of enterprise 42623 in option 125 (RFC 3925 §4),
// or "".
func ocpOption(b []byte, sub byte) string {
	for len(b) >= 5 {
		enterprise, n := binary.BigEndian.Uint32(b), int(b[4])
		b = b[5:]
		if n > len(b) {
			return ""
		}
		block := b[:n]
		b = b[n:]
		for enterprise == ocpEnterprise && len(block) >= 2 && int(block[1]) <= len(block)-2 {
			if block[0] == sub {
				return string(block[2 : 2+block[1]])
			}
			block = block[2+block[1]:]
		}
	}
	return ""
}
