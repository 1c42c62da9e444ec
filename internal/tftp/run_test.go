package tftp

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSocket is a socket whose peer is a channel, for virtual time.
type fakeSocket struct {
	sent     chan sentPacket
	answers  chan []byte
	deadline chan time.Time
	due      time.Time
}

type sentPacket struct {
	at     time.Time
	packet []byte
}

func newFakeSocket() *fakeSocket {
	return &fakeSocket{sent: make(chan sentPacket, 1000), answers: make(chan []byte, 10), deadline: make(chan time.Time, 10)}
}

// receive waits for an answer until the newest deadline. One that was set before
// counts from the beginning, as a socket's does: the one before it has passed.
func (f *fakeSocket) receive(p []byte) (int, error) {
	for len(f.deadline) > 0 {
		f.due = <-f.deadline
	}
	for {
		wait := time.NewTimer(time.Until(f.due))
		select {
		case a := <-f.answers:
			wait.Stop()
			return copy(p, a), nil
		case f.due = <-f.deadline:
			wait.Stop()
		case <-wait.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (f *fakeSocket) setDeadline(t time.Time) error { f.deadline <- t; return nil }

func (f *fakeSocket) send(headers, bodies [][]byte) error {
	for i := range headers {
		p := bytes.Clone(headers[i])
		if bodies != nil {
			p = append(p, bodies[i]...)
		}
		f.sent <- sentPacket{time.Now(), p}
	}
	return nil
}

func (*fakeSocket) mostBlock() int { return 1468 }

func (*fakeSocket) Close() error { return nil }

// serves one request for a file of that size on a socket in virtual time.
func serves(t *testing.T, f *fakeSocket, options string, size int) (ended chan ending) {
	t.Helper()
	ended = make(chan ending, 1)
	s := New(Options{
		Open: func(string, netip.AddrPort) (*File, error) {
			return &File{bytes.NewReader(make([]byte, size)), int64(size), func(n int64, err error) { ended <- ending{n, err} }}, nil
		},
		dial: func(netip.Addr, netip.AddrPort) (socket, error) { return f, nil },
	})
	r, err := parseRequest([]byte("\x00\x01x\x00octet\x00" + options))
	if err != nil {
		t.Fatal(err)
	}
	go s.serve(context.Background(), &place{}, r, netip.Addr{}, netip.AddrPort{})
	return ended
}

// A client that never answers is sent the same packet again, at longer and longer
// intervals, and is gone after 47 seconds.
func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFakeSocket(), time.Now()
		ended := serves(t, f, "blksize\x001428\x00", 5000)
		e := <-ended
		if took := time.Since(began); !errors.Is(e.err, ErrSilent) || took != 47*time.Second {
			t.Errorf("%+v after %s", e, took)
		}
		close(f.sent)
		n := 0
		for p := range f.sent {
			if string(p.packet) != "\x00\x06blksize\x001428\x00" {
				t.Errorf("%q at %s", p.packet, p.at.Sub(began))
			}
			n++
		}
		if n != 1+maxResends {
			t.Errorf("sent %d times", n)
		}
	})
}

// A client that asked for a time-out is sent a lost block after that time.
func TestLostBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSocket()
		ended := serves(t, f, "timeout\x002\x00", 100)
		<-f.sent // the options
		f.answers <- []byte{0, opAck, 0, 0}
		first := <-f.sent
		again := <-f.sent
		if wait := again.at.Sub(first.at); wait != 2*time.Second || !bytes.Equal(first.packet, again.packet) || first.packet[1] != opData {
			t.Errorf("again after %s", wait)
		}
		f.answers <- []byte{0, opAck, 0, 1}
		if e := <-ended; e.err != nil || e.bytes != 100 {
			t.Errorf("%+v", e)
		}
	})
}

// A client that acknowledges a block every now and then holds its place for
// totalLimit, not longer.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFakeSocket(), time.Now()
		ended := serves(t, f, "", 1<<20)
		var e ending
		for open := true; open; {
			select {
			case p := <-f.sent:
				if p.packet[1] == opData {
					time.Sleep(900 * time.Millisecond)
					f.answers <- []byte{0, opAck, p.packet[2], p.packet[3]}
				}
			case e = <-ended:
				open = false
			}
		}
		if took := time.Since(began); !errors.Is(e.err, ErrLate) || took < totalLimit || took > totalLimit+time.Second {
			t.Errorf("%+v after %s", e, took)
		}
	})
}
