package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	xssh "golang.org/x/crypto/ssh"
)

// talk is one connection to one device.
type talk struct {
	c      *Client
	t      Target
	hide   hidden
	keep   int         // bytes of the beginning of an output
	signer xssh.Signer // nil: none

	pinned  []byte                // nil: none yet; belongs to checkKey once there is a connection
	stopped atomic.Pointer[Error] // why we ended it ourselves
	login   login
	client  *xssh.Client
	end     context.CancelCauseFunc // closes the connection
	ended   context.Context
}

// fail completes an error.
func (k *talk) fail(e Error) *Error {
	e.Device, e.Address = short(k.t.Device, maxName), k.t.addrPort()
	for _, s := range []*string{&e.Asked, &e.Answer, &e.Next} {
		*s = k.hideIn(*s)
	}
	return &e
}

func (k *talk) hideIn(s string) string {
	if k.hide.in == nil {
		return s
	}
	return k.hide.from(s)
}

// stop notes why the connection is ended by us; the first reason stays.
func (k *talk) stop(e *Error) error {
	k.stopped.CompareAndSwap(nil, e)
	return e
}

// close ends the connection and waits for its end.
func (k *talk) close() {
	k.end(nil)
	_ = k.client.Wait() // it tells that the connection was closed, as it was
}

// upload writes a file.
func (k *talk) upload(ctx context.Context, f File) error {
	asked := "take the file " + short(f.Path, maxQuoted)
	o, err := k.exec(ctx, asked, f.command(), f.Content)
	switch {
	case err != nil:
		return err
	case o.Status == 0 && f.taken(o.Text):
		return nil
	case o.Status == 0:
		return k.fail(Error{Asked: asked, Kind: ErrFailed, Answer: "it does not say that the file is in place, but: " + ending(o),
			Next: "give this user a POSIX shell on the device, or configure it by commands alone"})
	}
	return k.fail(Error{Asked: asked, Kind: ErrFailed, Status: o.Status, Answer: "it did not: " + ending(o),
		Next: "see to it that the directory exists, has room and may be written by this user"})
}

// run runs a command.
func (k *talk) run(ctx context.Context, command string) (Output, error) {
	shown := k.hide.from(command)
	asked := fmt.Sprintf("run %q", short(shown, maxQuoted))
	o, err := k.exec(ctx, asked, command, nil)
	o.Command = shown
	if err != nil || o.Status == 0 {
		return o, err
	}
	return o, k.fail(Error{Asked: asked, Kind: ErrFailed, Status: o.Status, Answer: "it failed: " + ending(o),
		Next: "run it by hand on the device, correct the platform or the rack file, and retry"})
}

// ending says how a command ended.
func ending(o Output) string {
	said := lastLines(o.Text)
	if said == "" {
		said = "it printed nothing"
	}
	if o.Status < 0 {
		return said
	}
	return fmt.Sprintf("status %d: %s", o.Status, said)
}

// session opens a session. OpenSSH with MaxSessions 1 counts one that has just
// ended for a moment longer; nothing has run yet, so it is asked again.
func (k *talk) session(ctx context.Context) (*xssh.Session, error) {
	pause := openPause
	for try := 1; ; try++ {
		s, err := k.client.NewSession()
		if err == nil || try == openTries || !errors.As(err, new(*xssh.OpenChannelError)) {
			return s, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		pause *= 2
	}
}

// exec runs a command with an input, to its end. Its error is one of the
// connection; a status other than 0 is none, and -1 stands for a signal.
func (k *talk) exec(ctx context.Context, asked, command string, input []byte) (Output, error) {
	o := Output{Status: -1}
	s, err := k.session(ctx)
	if err != nil {
		return o, k.broken(ctx, asked, "it opens no session; when it takes one command per connection only, ask one per exchange", err)
	}
	defer s.Close()
	got := &gathered{hide: k.hide, keep: k.keep, endless: func() { k.end(errEndless) }}
	s.Stdout, s.Stderr = got, got
	if input != nil {
		s.Stdin = bytes.NewReader(input)
	}
	if s.Start(command) != nil { // its error holds the command
		return o, k.broken(ctx, asked, "it refuses to run commands", nil)
	}
	err = s.Wait()
	o.Text = got.text()
	exit := (*xssh.ExitError)(nil)
	switch {
	case k.stopped.Load() != nil || errors.Is(context.Cause(k.ended), errEndless):
		return o, k.broken(ctx, asked, "", err)
	case err == nil || errors.Is(err, io.EOF): // EOF: it ended before it read all of its input
		o.Status = 0
	case errors.As(err, &exit) && exit.Signal() == "":
		o.Status = exit.ExitStatus()
	case errors.As(err, &exit):
		if o.Text != "" {
			o.Text += "\n"
		}
		o.Text += "[ended by signal " + short(exit.Signal(), maxQuoted) + "]"
	case errors.As(err, new(*xssh.ExitMissingError)):
		return o, k.broken(ctx, asked, "it ended without a status, so that nobody knows whether it worked", err)
	default:
		return o, k.broken(ctx, asked, "it ended in a way that cannot be read", err)
	}
	return o, nil
}

// broken says why a command has no status: by our own doing, by the end of the
// time or the connection, or else for the reason given.
func (k *talk) broken(ctx context.Context, asked, reason string, cause error) error {
	if e := k.stopped.Load(); e != nil {
		return e
	}
	switch {
	case errors.Is(context.Cause(k.ended), errEndless):
		return k.fail(Error{Asked: asked, Kind: ErrFailed, Status: -1, Answer: fmt.Sprintf("it printed more than %d MiB and was broken off", maxOutput>>20),
			Next: "let the platform ask for less"})
	case errors.Is(ctx.Err(), context.Canceled):
		return k.fail(Error{Asked: asked, Kind: ErrCanceled, Cause: ctx.Err(), Answer: "given up before it was done",
			Next: "nothing to do: the run was stopped; what ran may have been carried out"})
	case ctx.Err() != nil:
		return k.fail(Error{Asked: asked, Kind: ErrLost, Cause: ctx.Err(), Answer: "it was not done in the time that it was given",
			Next: "give the step more time, or look why the device is slow; what ran may have been carried out"})
	case reason != "" && k.alive():
		return k.fail(Error{Asked: asked, Kind: ErrFailed, Status: -1, Answer: reason, Next: "look which user may run commands over SSH on this device, and retry"})
	}
	return k.fail(Error{Asked: asked, Kind: ErrLost, Cause: cause, Answer: "the connection broke before it was done",
		Next: "check its cable, and whether the device restarted; what ran may have been carried out"})
}

// alive asks whether the device is still there; any answer will do.
func (k *talk) alive() bool {
	t := time.AfterFunc(aliveLimit, func() { k.end(nil) })
	defer t.Stop()
	_, _, err := k.client.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}
