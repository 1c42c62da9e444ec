package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/time/rate"
)

// Outcome is what became of a packet.
type Outcome string

// The outcomes.
const (
	Taken    Outcome = "taken"
	Unknown  Outcome = "unknown"  // from an address that no device has
	Empty    Outcome = "empty"    // nothing in it to tell
	Repeated Outcome = "repeated" // the device said so a moment ago
	Dropped  Outcome = "dropped"  // too many
)

// Outcomes lists them.
func Outcomes() []Outcome { return []Outcome{Taken, Unknown, Empty, Repeated, Dropped} }

// Options are what a receiver needs.
type Options struct {
	// Device is the name of the device that has an address; ok is false for none.
	Device func(netip.Addr) (name string, ok bool)
	// Line is told of each line of a device. It must not block.
	Line func(device string, from netip.Addr, l Line)
	// Awaited reports whether somebody waits for a line: it is told although the device
	// said it a moment ago, and although the device says too much. Nil: nobody does.
	Awaited func(device string, from netip.Addr, l Line) bool
	Count   func(Outcome) // nil: nobody counts
}

// Receiver receives lines. See the package comment.
type Receiver struct {
	o    Options
	all  *rate.Limiter
	from map[string]*sender // by device: bounded by what Options.Device knows
}

// sender is what is kept of a device.
type sender struct {
	pace    *rate.Limiter
	awaited *rate.Limiter // of lines that somebody waits for
	said    []Line        // the last ones, the oldest first
}

// New makes a receiver; nothing is received before Serve.
func New(o Options) *Receiver {
	if o.Count == nil {
		o.Count = func(Outcome) {}
	}
	if o.Awaited == nil {
		o.Awaited = func(string, netip.Addr, Line) bool { return false }
	}
	return &Receiver{o: o, all: rate.NewLimiter(perRack, rackBurst), from: map[string]*sender{}}
}

// Serve receives on a socket until ctx ends, which is no error, or the socket
// fails. It closes the socket. Call it once.
func (r *Receiver) Serve(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	p := make([]byte, maxPacket)
	for {
		n, from, err := conn.ReadFrom(p)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // it was closed for this
		case err != nil:
			return errors.Join(fmt.Errorf("receive syslog: %w", err), conn.Close())
		}
		if u, ok := from.(*net.UDPAddr); ok {
			r.o.Count(r.take(u.AddrPort().Addr().Unmap(), p[:n]))
		}
	}
}

// take takes a packet in.
func (r *Receiver) take(from netip.Addr, p []byte) Outcome {
	device, ok := r.o.Device(from)
	if !ok {
		return Unknown
	}
	l, ok := parse(p)
	if !ok {
		return Empty
	}
	s := r.from[device]
	if s == nil {
		s = &sender{pace: rate.NewLimiter(perDevice, deviceBurst), awaited: rate.NewLimiter(perAwaited, awaitedBurst)}
		r.from[device] = s
	}
	if r.o.Awaited(device, from, l) {
		if !s.awaited.Allow() {
			return Dropped
		}
		r.o.Line(device, from, l)
		return Taken
	}
	if slices.Contains(s.said, l) {
		return Repeated
	}
	// First its own bound: what it is not let through takes nothing from the others.
	if !s.pace.Allow() || !r.all.Allow() {
		return Dropped
	}
	if len(s.said) == repeats {
		s.said = slices.Delete(s.said, 0, 1)
	}
	s.said = append(s.said, l)
	r.o.Line(device, from, l)
	return Taken
}
