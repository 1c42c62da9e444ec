package tftp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// story plays a transfer: each line is what happens, and what must follow. Times
// are milliseconds after the last line.
//
//	ack N [after MS]   the client acknowledges block N
//	wait               the wait is over
func story(t *testing.T, x *transfer, lines string) {
	t.Helper()
	now := time.Unix(1000, 0)
	x.until = now.Add(totalLimit)
	s := x.begin(now)
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		does, want, _ := strings.Cut(strings.TrimSpace(line), "->")
		does, want = strings.TrimSpace(does), strings.TrimSpace(want)
		var number, ms int
		switch {
		case does == "begin":
		case does == "wait":
			now = s.wake
			s = x.expired(now)
		default:
			if _, err := fmt.Sscanf(does, "ack %d after %d", &number, &ms); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			now = now.Add(time.Duration(ms) * time.Millisecond)
			s = x.acknowledged(uint16(number), now)
		}
		if got := tell(s, now); got != want {
			t.Fatalf("%s: %s, want %s", does, got, want)
		}
	}
}

// tell says a step in words.
func tell(s step, now time.Time) string {
	switch s.how {
	case whole:
		return "whole"
	case silent:
		return "silent"
	case late:
		return "late"
	}
	what := "nothing"
	switch {
	case s.oack:
		what = "options"
	case s.from < s.to:
		what = fmt.Sprintf("%d-%d", s.from, s.to-1)
	}
	return fmt.Sprintf("%s, %s", what, s.wake.Sub(now))
}

func TestTransferStories(t *testing.T) {
	for name, x := range map[string]struct {
		agreed
		size  int64
		oack  bool
		lines string
	}{
		"one block": {agreed{512, 1, 0}, 511, false, `
			begin -> 1-1, 1s
			ack 1 after 5 -> whole`},
		"an empty file": {agreed{512, 1, 0}, 0, false, `
			begin -> 1-1, 1s
			ack 1 after 5 -> whole`},
		"a last block without bytes": {agreed{512, 1, 0}, 512, false, `
			begin -> 1-1, 1s
			ack 1 after 50 -> 2-2, 200ms
			ack 2 after 5 -> whole`},
		"options first": {agreed{512, 1, 0}, 100, true, `
			begin -> options, 1s
			ack 7 after 1 -> nothing, 999ms
			wait -> options, 2s
			ack 0 after 1 -> 1-1, 1s
			ack 0 after 1 -> nothing, 999ms
			ack 1 after 1 -> whole`},
		"an echo is not answered": {agreed{512, 1, 0}, 1500, false, `
			begin -> 1-1, 1s
			ack 1 after 50 -> 2-2, 200ms
			ack 1 after 10 -> nothing, 190ms
			ack 2 after 40 -> 3-3, 200ms
			ack 2 after 10 -> nothing, 190ms
			ack 1 after 10 -> nothing, 180ms
			ack 3 after 30 -> whole`},
		"lost, with the wait of the path": {agreed{512, 1, 0}, 1000, false, `
			begin -> 1-1, 1s
			ack 1 after 1 -> 2-2, 100ms
			wait -> 2-2, 200ms
			wait -> 2-2, 400ms
			ack 2 after 1 -> whole`},
		"lost, with a time-out of the client's own": {agreed{512, 1, 3 * time.Second}, 1000, false, `
			begin -> 1-1, 3s
			ack 1 after 1 -> 2-2, 3s
			wait -> 2-2, 3s
			wait -> 2-2, 3s
			ack 2 after 1 -> whole`},
		"silence": {agreed{512, 1, 0}, 1000, false, `
			begin -> 1-1, 1s
			wait -> 1-1, 2s
			wait -> 1-1, 4s
			wait -> 1-1, 8s
			wait -> 1-1, 8s
			wait -> 1-1, 8s
			wait -> 1-1, 8s
			wait -> 1-1, 8s
			wait -> silent`},
		"silence from the begin, whatever it asked for": {agreed{512, 1, 255 * time.Second}, 1000, false, `
			begin -> 1-1, 47s
			wait -> silent`},
		"silence after two of its time-outs": {agreed{512, 1, 20 * time.Second}, 1000, false, `
			begin -> 1-1, 20s
			wait -> 1-1, 20s
			wait -> 1-1, 7s
			wait -> silent`},
		"too slow to wait for": {agreed{512, 1, 255 * time.Second}, 1000, false, `
			begin -> 1-1, 47s
			ack 1 after 10 -> 2-2, 4m15s
			wait -> 2-2, 4m15s
			wait -> 2-2, 1m29.99s
			wait -> late`},
		"windows": {agreed{512, 4, 0}, 512 * 9, false, `
			begin -> 1-4, 1s
			ack 4 after 50 -> 5-8, 200ms
			ack 8 after 50 -> 9-10, 200ms
			ack 10 after 50 -> whole`},
		"a block lost inside a window": {agreed{512, 4, 0}, 512 * 9, false, `
			begin -> 1-4, 1s
			ack 2 after 50 -> 3-6, 200ms
			ack 2 after 0 -> nothing, 200ms
			ack 2 after 0 -> nothing, 200ms
			ack 6 after 50 -> 7-10, 200ms
			ack 10 after 50 -> whole`},
		"the first block of a window lost": {agreed{512, 4, 0}, 512 * 9, false, `
			begin -> 1-4, 1s
			ack 4 after 50 -> 5-8, 200ms
			ack 4 after 50 -> 5-8, 200ms
			ack 4 after 0 -> nothing, 200ms
			ack 8 after 50 -> 9-10, 200ms
			ack 10 after 50 -> whole`},
		"doubled acknowledgements die out": {agreed{512, 4, 0}, 512 * 15, false, `
			begin -> 1-4, 1s
			ack 4 after 50 -> 5-8, 200ms
			ack 4 after 0 -> 5-8, 200ms
			ack 8 after 50 -> 9-12, 200ms
			ack 8 after 0 -> nothing, 200ms
			ack 12 after 50 -> 13-16, 200ms
			ack 12 after 0 -> nothing, 200ms
			ack 16 after 50 -> whole`},
	} {
		t.Run(name, func(t *testing.T) { story(t, newTransfer(x.agreed, x.size, x.oack, time.Unix(1000, 0)), x.lines) })
	}
}

// Behind block 65535 comes block 0, and nothing is taken for something of the round
// before.
func TestTransferRollsOver(t *testing.T) {
	for _, window := range []int{1, 7, 64} {
		now := time.Unix(1000, 0)
		x := newTransfer(agreed{8, window, 0}, 8*200_000, false, now)
		s := x.begin(now)
		for n := int64(0); s.how == goesOn; {
			if s.from != n+1 || s.to <= s.from {
				t.Fatalf("window %d: %d-%d after %d", window, s.from, s.to, n)
			}
			n = s.to - 1
			if old := x.acknowledged(uint16(n-1000), now); old.from != old.to {
				t.Fatalf("window %d: block %d of the past is answered", window, n-1000)
			}
			s = x.acknowledged(uint16(n), now)
		}
		if s.how != whole || x.acked != 200_001 {
			t.Errorf("window %d: %d, %d blocks", window, s.how, x.acked)
		}
	}
}

// client is a client as RFC 7440 describes it, over a path that loses, doubles and
// delays.
type client struct {
	window, has, since int64
}

// takes a block and says what it acknowledges; ok is false for nothing.
func (c *client) takes(block, blocks int64) (number uint16, ok bool) {
	if block != c.has+1 {
		c.since = 0
		return uint16(c.has), true
	}
	c.has++
	if c.since++; c.since == c.window || c.has == blocks {
		c.since = 0
		return uint16(c.has), true
	}
	return 0, false
}

// Whatever the path does to packets, the client gets every block in order, the
// invariants hold, and the server does not send without end.
func TestTransferProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 12).Draw(t, "window")
		blocks := rapid.Int64Range(1, 60).Draw(t, "blocks")
		loss := rapid.IntRange(0, 30).Draw(t, "loss")
		double := rapid.IntRange(0, 30).Draw(t, "double")
		chance := rapid.IntRange(0, 99)
		now := time.Unix(1000, 0)
		x := newTransfer(agreed{512, window, 0}, 512*blocks-1, false, now)
		c := &client{window: int64(window)}
		sent := int64(0)
		s := x.begin(now)
		var answers []uint16
		for s.how == goesOn {
			if x.acked > x.sent || x.sent > x.acked+int64(window) || x.sent > x.blocks || x.acked > c.has || !s.wake.After(now) && s.from == s.to && len(answers) == 0 {
				t.Fatalf("%+v, client has %d", x, c.has)
			}
			for n := s.from; n < s.to; n++ {
				if sent++; sent > 1000*blocks {
					t.Fatalf("%d blocks sent, of %d, and no end", sent, blocks)
				}
				copies := 1
				switch r := chance.Draw(t, "block"); {
				case r < loss:
					copies = 0
				case r < loss+double:
					copies = 2
				}
				for range copies {
					if number, ok := c.takes(n, blocks); ok {
						answers = append(answers, number)
					}
				}
			}
			if len(answers) == 0 {
				now = s.wake
				s = x.expired(now)
				continue
			}
			number := answers[0]
			answers = answers[1:]
			now = now.Add(time.Millisecond)
			if chance.Draw(t, "ack") < loss {
				s = x.idle(now)
				continue
			}
			s = x.acknowledged(number, now)
		}
		if s.how == whole && c.has != blocks {
			t.Fatalf("whole, and the client has %d of %d", c.has, blocks)
		}
		if loss == 0 && s.how != whole {
			t.Fatalf("%v without a loss", s.how)
		}
		if loss == 0 && double == 0 && sent != blocks {
			t.Fatalf("%d blocks sent, of %d", sent, blocks)
		}
		// A block that comes twice looks like a gap: each acknowledgement that is news
		// costs a window at most.
		if loss == 0 && sent > (blocks+1)*int64(window) {
			t.Fatalf("%d blocks sent, of %d in windows of %d", sent, blocks, window)
		}
	})
}

// Where every acknowledgement comes twice, the file does not.
func TestEchoesDieOut(t *testing.T) {
	for _, window := range []int64{1, 2, 16, 64} {
		const blocks = 1000
		now := time.Unix(1000, 0)
		x := newTransfer(agreed{512, int(window), 0}, 512*blocks-1, false, now)
		c := &client{window: window}
		sent := int64(0)
		var answers []uint16
		for s := x.begin(now); s.how == goesOn; {
			for n := s.from; n < s.to; n++ {
				if sent++; sent > 10*blocks {
					t.Fatalf("window %d: %d blocks sent, of %d", window, sent, blocks)
				}
				if number, ok := c.takes(n, blocks); ok {
					answers = append(answers, number, number)
				}
			}
			if len(answers) == 0 {
				t.Fatalf("window %d: nothing is on its way", window)
			}
			now = now.Add(time.Millisecond)
			s = x.acknowledged(answers[0], now)
			answers = answers[1:]
		}
		if most := blocks*3/2 + 2*window; sent > most || window == 1 && sent != blocks {
			t.Errorf("window %d: %d blocks sent, of %d", window, sent, blocks)
		}
	}
}

func FuzzTransfer(f *testing.F) {
	f.Add(uint8(4), int64(9), true, []byte{0, 0, 0, 4, 0, 8, 0, 9})
	f.Add(uint8(1), int64(70000), false, []byte{0, 1, 255, 255, 0, 2, 0, 2})
	f.Fuzz(func(t *testing.T, window uint8, blocks int64, oack bool, acks []byte) {
		now := time.Unix(1000, 0)
		w := int64(window%maxWindow) + 1
		x := newTransfer(agreed{8, int(w), 0}, 8*min(max(blocks, 1), 1<<40)-1, oack, now)
		s := x.begin(now)
		for i := 0; i+1 < len(acks) && s.how == goesOn; i += 2 {
			before := x.acked
			if n := uint16(acks[i])<<8 | uint16(acks[i+1]); n == 0xfefe {
				now = s.wake
				s = x.expired(now)
			} else {
				s = x.acknowledged(n, now)
			}
			if x.acked < before || x.acked > x.sent && s.how == goesOn || x.sent > x.blocks || s.to-s.from > w || s.how == goesOn && s.from != s.to && s.from != x.acked+1 || s.from != s.to && x.oack {
				t.Fatalf("%+v %+v", x, s)
			}
		}
	})
}
