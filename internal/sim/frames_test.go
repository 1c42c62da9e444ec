package sim

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"
)

// A deadline in the middle of a frame loses nothing.
func TestFramesSurviveDeadlines(t *testing.T) {
	t.Parallel()
	x, y := net.Pipe()
	defer x.Close()
	f := newFramed(y)
	defer f.Close()
	want := randomBytes(maxFrame)
	whole := append([]byte{byte(frameData), 0xff, 0xff}, want...)
	for _, part := range [][]byte{whole[:2], whole[2:100], whole[100:60_000]} {
		sent := make(chan error, 1)
		go func() {
			_, err := x.Write(part) // returns when all of it was read
			sent <- errors.Join(err, f.SetReadDeadline(interrupted))
		}()
		if k, _, err := f.receive(); !isTimeout(err) {
			t.Fatalf("half a frame: %d %v", k, err)
		}
		if err := errors.Join(<-sent, f.SetReadDeadline(time.Time{})); err != nil {
			t.Fatal(err)
		}
	}
	go x.Write(append(whole[60_000:], byte(frameEnd), 0, 0))
	if k, got, err := f.receive(); k != frameData || !bytes.Equal(got, want) || err != nil {
		t.Errorf("kind %d, %d bytes, %v", k, len(got), err)
	}
	if k, got, err := f.receive(); k != frameEnd || len(got) != 0 || err != nil {
		t.Errorf("kind %d, %d bytes, %v", k, len(got), err)
	}
	if err := f.send(frameData, make([]byte, maxFrame+1)); err == nil {
		t.Error("a frame that is too long")
	}
}

// Whatever arrives, frames are within their bounds and nothing is read twice.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{1, 0, 2, '{', '}', 3, 0, 0}, uint8(3))
	f.Add([]byte{2, 0xff, 0xff, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, sent []byte, step uint8) {
		x, y := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer x.Close()
			for rest := sent; len(rest) > 0; {
				n := min(int(step)+1, len(rest))
				if _, err := x.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		r := newFramed(y)
		at := 0
		for {
			_, content, err := r.receive()
			if err != nil {
				break
			}
			if at += frameHeader; !bytes.Equal(content, sent[at:at+len(content)]) {
				t.Fatalf("at %d: % x", at, content)
			}
			at += len(content)
		}
		y.Close()
		<-done
	})
}
