package sim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// frameKind is what a frame between a rack and an agent in another process
// holds.
type frameKind byte

const (
	frameMessage frameKind = iota + 1 // JSON: what a connection is for, and the answer
	frameData                         // bytes of a stream, or one datagram
	frameEnd                          // of a stream
	frameReset                        // of a stream: the path closed
)

const (
	frameHeader = 3         // bytes: the kind, then the length, big endian
	maxFrame    = 1<<16 - 1 // bytes of a frame's content; no datagram is longer
)

// framed is a connection on which frames keep their boundaries. One goroutine
// at a time may receive; any number may send.
type framed struct {
	net.Conn

	sending sync.Mutex
	buf     []byte // arrived: [from, to)
	from    int
	to      int
}

func newFramed(c net.Conn) *framed {
	return &framed{Conn: c, buf: make([]byte, frameHeader+maxFrame)}
}

// send writes one frame. When a deadline cuts it in two, the connection is
// closed: the other side could not tell where the next one begins.
func (f *framed) send(k frameKind, content []byte) error {
	if len(content) > maxFrame {
		return fmt.Errorf("a frame of %d bytes, more than %d", len(content), maxFrame)
	}
	b := binary.BigEndian.AppendUint16([]byte{byte(k)}, uint16(len(content)))
	f.sending.Lock()
	defer f.sending.Unlock()
	n, err := f.Write(append(b, content...))
	if err != nil && n > 0 {
		return errors.Join(err, f.Close())
	}
	return err
}

// receive returns the next frame; its content is valid until the next call. A
// deadline that passes loses nothing: the next call goes on where it was.
func (f *framed) receive() (frameKind, []byte, error) {
	for {
		have := f.buf[f.from:f.to]
		if len(have) >= frameHeader {
			end := frameHeader + int(binary.BigEndian.Uint16(have[1:]))
			if len(have) >= end {
				f.from += end
				return frameKind(have[0]), have[frameHeader:end], nil
			}
		}
		f.from, f.to = 0, copy(f.buf, have)
		n, err := f.Read(f.buf[f.to:])
		f.to += n
		if n == 0 && err != nil {
			return 0, nil, err
		}
	}
}

// say sends a message.
func (f *framed) say(message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return f.send(frameMessage, b)
}

// hear receives a message.
func (f *framed) hear(message any) error {
	k, b, err := f.receive()
	if err != nil {
		return err
	}
	if k != frameMessage {
		return fmt.Errorf("a frame of kind %d where a message was expected", k)
	}
	return json.Unmarshal(b, message)
}

// interrupted is a read deadline that has passed already.
var interrupted = time.Unix(1, 0)

// whileOpen runs f until it returns, and ends its context's life when the other
// side closes the connection meanwhile. It reports whether it did.
func (f *framed) whileOpen(closed func(), do func()) (open bool, err error) {
	gone := make(chan bool, 1)
	go func() {
		_, _, err := f.receive() // nothing is sent before the answer
		left := !errors.Is(err, os.ErrDeadlineExceeded)
		if left {
			closed()
		}
		gone <- left
	}()
	do()
	err = f.SetReadDeadline(interrupted)
	if left := <-gone; left {
		return false, nil
	}
	return true, errors.Join(err, f.SetReadDeadline(time.Time{}))
}
