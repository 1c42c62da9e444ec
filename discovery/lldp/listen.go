package lldp

import (
	"context"

	"github.com/rackreach/rackreach/discovery/wire"
)

// Listen listens until ctx ends, and then returns nil, or until that fails for good.
// found is called for every announcement; it must not block. Listen closes what it
// listens to.
func Listen(ctx context.Context, frames wire.Frames, found func(Neighbour)) error {
	return wire.Hear(ctx, frames, func(frame []byte) {
		if n, err := Parse(frame); err == nil {
			found(n)
		}
	})
}
