package boot

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
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
	for name, ends := range map[string]func(t *testing.T, device net.Conn) error{
		"the device goes on": func(t *testing.T, device net.Conn) error {
			if n, err := io.CopyN(io.Discard, device, size); err != nil {
				t.Errorf("it got %d bytes: %v", n, err)
			}
			return nil
		},
		"the device hangs up": func(t *testing.T, device net.Conn) error {
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
			gone := make(chan struct{})
			whole := false
			body := &content{ReadSeeker: bytes.NewReader(make([]byte, size)), to: newTransfer(size, func() { whole = true }), gone: gone}
			if n, err := ours.ReadFrom(&io.LimitedReader{R: body, N: size}); n != size || err != nil {
				t.Fatal(n, err)
			}
			if served, _ := body.to.progress(); served == size || whole {
				t.Errorf("%d bytes count, and whole is %t", served, whole)
			}
			ended := make(chan error, 1)
			go func() { ended <- ours.drain(body) }()
			want := ends(t, device)
			if want != nil {
				close(gone)
			}
			if err := <-ended; !errors.Is(err, want) {
				t.Errorf("drain: %v, want %v", err, want)
			}
			if served, _ := body.to.progress(); (served == size) != (want == nil) || whole != (want == nil) {
				t.Errorf("%d bytes count in the end, and whole is %t", served, whole)
			}
		})
	}
}

// queues is a connection whose queue holds what they say, beside what counts anyway, a look
// each, the last one for ever.
func queues(looks ...int64) *conn {
	return &conn{queue: func() int64 {
		n := looks[0] + unacknowledged
		looks = looks[min(1, len(looks)-1):]
		return n
	}}
}

func TestDrain(t *testing.T) {
	slow := make([]int64, 40) // one byte at each look, of which there are some in a second
	for i := range slow {
		slow[i] = int64(len(slow) - i)
	}
	for name, tt := range map[string]struct {
		owed   int64
		c      *conn
		gone   bool
		err    error
		served int64
		least  time.Duration
	}{
		"nothing waits":                     {owed: 100, c: queues(0), served: 100},
		"all is acknowledged":               {owed: 100, c: queues(-unacknowledged), served: 100},
		"it empties":                        {owed: 100, c: queues(90, 50, 0), served: 100},
		"other bytes wait as well":          {owed: 100, c: queues(300, 100, 0), served: 100},
		"slowly, but it goes on":            {owed: 100, c: queues(append(slices.Clone(slow), 0)...), served: 100},
		"it stalls":                         {owed: 100, c: queues(90, 50), err: os.ErrDeadlineExceeded, served: 50, least: stallLimit},
		"its device is gone":                {owed: 100, c: queues(90), gone: true, err: net.ErrClosed, served: 10},
		"it had the rest and hung up":       {owed: 100, c: queues(90, 0), gone: true, served: 100},
		"a device that has all may be gone": {owed: 100, c: queues(0), gone: true, served: 100},
		"the connection broke":              {owed: 100, c: &conn{broken: true, queue: func() int64 { return unacknowledged + 30 }}, err: net.ErrClosed, served: 70},
		"no body, an answer that waits":     {owed: 0, c: queues(70)},
		"no connection of ours":             {owed: 100, served: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan struct{})
				if tt.gone {
					close(gone)
				}
				body := &content{to: newTransfer(100, func() {}), owed: span{0, tt.owed}, gone: gone}
				begun := time.Now()
				if err := tt.c.drain(body); !errors.Is(err, tt.err) {
					t.Errorf("%v, want %v", err, tt.err)
				}
				if served, _ := body.to.progress(); served != tt.served {
					t.Errorf("%d bytes count, want %d", served, tt.served)
				}
				if d := time.Since(begun); d < tt.least || d > tt.least+time.Second {
					t.Errorf("after %v, want %v", d, tt.least)
				}
			})
		})
	}
}
