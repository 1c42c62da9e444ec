package boot

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// accepted is a connection of a device with a small receive buffer, and our end of it.
func accepted(t *testing.T) (device net.Conn, ours *conn) {
	t.Helper()
	in, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(in, 1)
	t.Cleanup(func() { _ = l.Close() })
	small := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if cerr := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	device, err = small.Dial("tcp4", in.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return device, c.(*conn)
}

// An image that the kernel has taken whole is not delivered while its device takes
// nothing, and is when the device has it.
func TestWhatTheKernelHolds(t *testing.T) {
	const size = 200 << 10 // less than a send buffer, and more than a device has in its kernel
	for name, ends := range map[string]func(t *testing.T, device net.Conn, ours *conn) error{
		"the device goes on": func(t *testing.T, device net.Conn, _ *conn) error {
			if n, err := io.CopyN(io.Discard, device, size); err != nil {
				t.Errorf("it got %d bytes: %v", n, err)
			}
			return nil
		},
		"the device takes all and hangs up": func(t *testing.T, device net.Conn, _ *conn) error {
			if n, err := io.CopyN(io.Discard, device, size); err != nil {
				t.Errorf("it got %d bytes: %v", n, err)
			}
			if err := device.Close(); err != nil {
				t.Error(err)
			}
			return nil
		},
		"the agent ends": func(t *testing.T, _ net.Conn, ours *conn) error {
			if err := ours.Close(); err != nil {
				t.Error(err)
			}
			return net.ErrClosed
		},
		"the device hangs up": func(t *testing.T, device net.Conn, _ *conn) error {
			if err := device.Close(); err != nil {
				t.Error(err)
			}
			return net.ErrClosed
		},
	} {
		t.Run(name, func(t *testing.T) {
			device, ours := accepted(t)
			if err := ours.Conn.(*net.TCPConn).SetWriteBuffer(size); err != nil {
				t.Fatal(err)
			}
			whole := false
			body := &content{ReadSeeker: bytes.NewReader(make([]byte, size)), to: newTransfer(size, func() { whole = true })}
			if n, err := ours.ReadFrom(&io.LimitedReader{R: body, N: size}); n != size || err != nil {
				t.Fatal(n, err)
			}
			if served, _ := body.to.progress(); served == size || whole {
				t.Errorf("%d bytes count, and whole is %t", served, whole)
			}
			ended := make(chan error, 1)
			go func() { ended <- ours.drain(body) }()
			want := ends(t, device, ours)
			if err := <-ended; !errors.Is(err, want) {
				t.Errorf("drain: %v, want %v", err, want)
			}
			if served, _ := body.to.progress(); (served == size) != (want == nil) || whole != (want == nil) {
				t.Errorf("%d bytes count in the end, and whole is %t", served, whole)
			}
		})
	}
}

// look is what is seen of a connection's queue: bytes beside what counts anyway.
type look struct {
	waits  int64
	closed bool
}

// looks is a connection with these looks at its queue, the last one for ever.
func looks(seen ...look) *conn {
	return &conn{queue: func() (int64, bool) {
		l := seen[0]
		seen = seen[min(1, len(seen)-1):]
		return l.waits + unacknowledged, !l.closed
	}}
}

func TestDrain(t *testing.T) {
	const mib = 1 << 20
	var slow, trickle []look // a look takes mostPause
	for i := range int64(20_000) {
		slow = append(slow, look{waits: max(0, 5*mib-i*512)})
		trickle = append(trickle, look{waits: 5*mib - i})
	}
	for name, tt := range map[string]struct {
		owed   int64
		c      *conn
		err    error
		served int64
		takes  time.Duration
	}{
		"nothing waits":                 {owed: 100, c: looks(look{}), served: 100},
		"all is acknowledged":           {owed: 100, c: looks(look{waits: -unacknowledged}), served: 100},
		"it empties":                    {owed: 100, c: looks(look{waits: 90}, look{waits: 50}, look{}), served: 100},
		"other bytes wait as well":      {owed: 100, c: looks(look{waits: 300}, look{waits: 100}, look{}), served: 100},
		"slowly, but fast enough":       {owed: 5 * mib, c: looks(slow...), served: 5 * mib, takes: 204 * time.Second},
		"it stalls":                     {owed: 100, c: looks(look{waits: 90}, look{waits: 50}), err: os.ErrDeadlineExceeded, served: 50, takes: stallLimit},
		"it trickles":                   {owed: 5 * mib, c: looks(trickle...), err: os.ErrDeadlineExceeded, served: 3_006, takes: stallLimit},
		"it was reset":                  {owed: 100, c: looks(look{waits: 90}, look{waits: 80, closed: true}), err: net.ErrClosed, served: 20},
		"it had all and was reset":      {owed: 100, c: looks(look{waits: 90}, look{closed: true}), served: 100},
		"we closed it":                  {owed: 100, c: looks(look{waits: 90}, look{waits: -1 - unacknowledged, closed: true}), err: net.ErrClosed, served: 10},
		"a write failed":                {owed: 100, c: &conn{broken: true, queue: func() (int64, bool) { return unacknowledged + 30, true }}, err: net.ErrClosed, served: 70},
		"no body, an answer that waits": {owed: 0, c: looks(look{waits: 70})},
		"no connection of ours":         {owed: 100, served: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cut := 0
				if tt.c != nil {
					tt.c.Conn, tt.c.free = from{closed: &cut}, func() {}
				}
				body := &content{to: newTransfer(5*mib, func() {}), owed: span{0, tt.owed}}
				begun := time.Now()
				if err := tt.c.drain(body); !errors.Is(err, tt.err) {
					t.Errorf("%v, want %v", err, tt.err)
				}
				if served, _ := body.to.progress(); served != tt.served {
					t.Errorf("%d bytes count, want %d", served, tt.served)
				}
				if d := time.Since(begun); d < tt.takes || d > tt.takes+time.Second {
					t.Errorf("after %v, want %v", d, tt.takes)
				}
				if stalls := errors.Is(tt.err, os.ErrDeadlineExceeded); stalls != (cut == 1) {
					t.Errorf("cut off %d times", cut)
				}
			})
		})
	}
}
