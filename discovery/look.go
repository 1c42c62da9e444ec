package discovery

import (
	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// Look is what a packet says, read as a Server reads it.
type Look struct {
	Message string // DISCOVER, REQUEST, DECLINE, RELEASE, INFORM
	Keys    rack.Keys
	Said    classify.Packet // for Rules.Explain; it holds parts of the packet
	Class   classify.Class
}

// LookAt reads a packet and decides nothing about it. It returns an error for
// whatever RFC 2131 lets a server drop.
func LookAt(packet []byte, rules *classify.Rules) (Look, error) {
	var r request
	if err := r.parse(packet, rules, nil); err != nil {
		return Look{}, err
	}
	return Look{Message: messageName(r.kind), Keys: r.keys, Said: r.said(), Class: r.class}, nil
}
