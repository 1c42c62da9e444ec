package ssh

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

// Options are what a Client needs. Dial and Keys are required.
type Options struct {
	// Dial opens the wire to a device: network is "tcp", address "host:port".
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Keys   HostKeys
	Login  time.Duration // for connecting and logging in; 0: DefaultLogin
	Logger *slog.Logger  // nil: nothing is logged
}

// Client talks to devices. See the package comment.
type Client struct{ o Options }

// New makes a client. It fails only without a dialer or a place for host keys.
func New(o Options) (*Client, error) {
	if o.Dial == nil || o.Keys == nil {
		return nil, errors.New("ssh: no dialer or no place for host keys given")
	}
	if o.Login <= 0 {
		o.Login = DefaultLogin
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{o: o}, nil
}

// Do logs in to a device, writes the files and runs the commands. It returns the
// outputs of the commands that were begun, also when it fails; the last of them
// is then the one that failed.
//
// Errors: an *Error of any kind.
func (c *Client) Do(ctx context.Context, t Target, x Exchange) ([]Output, error) {
	k := &talk{c: c, t: t, keep: max(x.Keep, keptHead)}
	if err := errors.Join(t.check(), x.check()); err != nil {
		return nil, k.badInput(err)
	}
	k.hide = hide(t, x)
	var err error
	if k.signer, err = t.signer(); err != nil {
		return nil, k.badInput(err)
	}
	if err := k.connect(ctx); err != nil {
		return nil, err
	}
	defer k.close()
	for _, f := range x.Files {
		if err := k.upload(ctx, f); err != nil {
			return nil, err
		}
	}
	var out []Output
	for _, command := range x.Run {
		o, err := k.run(ctx, command)
		out = append(out, o)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (k *talk) badInput(err error) error {
	return k.fail(Error{Asked: asksLogin, Kind: ErrBadInput, Answer: err.Error(), Next: "correct that in the rack file or the platform"})
}
