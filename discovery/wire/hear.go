package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// maxReadErrors is how many reads may fail one after the other before Hear gives
// up; an interface that went down fails one.
const maxReadErrors = 16

// Frames is where frames are heard, such as a *Tap.
type Frames interface {
	Read() ([]byte, error) // valid until the next Read; net.ErrClosed, wrapped, after Close
	Close() error
}

var _ Frames = (*Tap)(nil)

// Hear calls f for every frame until ctx ends, and then returns nil, or until
// listening fails for good. It closes what it listens to.
func Hear(ctx context.Context, frames Frames, f func(frame []byte)) (err error) {
	var closeErr error
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(closed); closeErr = frames.Close() })
	defer func() {
		if stop() {
			closeErr = frames.Close()
		} else {
			<-closed
		}
		err = errors.Join(err, closeErr)
	}()
	for failed := 0; ; {
		frame, err := frames.Read()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
			f(frame)
		default:
			if failed++; errors.Is(err, net.ErrClosed) || failed >= maxReadErrors {
				return fmt.Errorf("listen to frames: %w", err)
			}
		}
	}
}
