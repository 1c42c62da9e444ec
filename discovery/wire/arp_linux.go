package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
)

// Resolve asks by ARP who has an address on the segment of an interface, once, and waits
// for the answer until ctx ends. The question is from one of our addresses there (RFC
// 826). It needs CAP_NET_RAW.
func Resolve(ctx context.Context, name string, from, address netip.Addr) (_ net.HardwareAddr, err error) {
	fail := func(err error) (net.HardwareAddr, error) {
		return nil, fmt.Errorf("ask for %s on interface %s: %w", address, name, permitted(err))
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fail(err)
	}
	question, err := arp.NewPacket(arp.OperationRequest, link.HardwareAddr, from, ethernet.Broadcast, address)
	if err != nil {
		return fail(err)
	}
	c, err := arp.Dial(link)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if err := c.WriteTo(question, ethernet.Broadcast); err != nil {
		return fail(err)
	}
	for {
		p, _, err := c.Read()
		switch {
		case ctx.Err() != nil:
			return fail(ctx.Err())
		case errors.As(err, new(net.Error)):
			return fail(err)
		case err != nil: // a frame that is no ARP: anybody may send one
		case p.Operation == arp.OperationReply && p.SenderIP == address:
			return p.SenderHardwareAddr, nil
		}
	}
}
