package discovery

import "time"

const (
	// mostAnswers is how many answers leave in a second, at most, but for burst of them.
	// What has queued up here, since the disk or the machine was busy, must not overrun
	// who receives it: a socket of 208 KiB has room for some 270 messages. Measured at
	// 16,500 clients a second: bounded by 50,000, and with bursts of 16, what has queued
	// up stays; with bursts of 40 and more, more is lost.
	mostAnswers = 60_000
	burst       = 32
)

// pace keeps the answers apart (the generic cell rate algorithm, ITU-T I.371).
type pace struct {
	due time.Time // of the next answer; burst of them may leave before
}

// sent takes note of n answers that left and returns how long to wait before more
// leave.
func (p *pace) sent(n int, now time.Time) time.Duration {
	const each = time.Second / mostAnswers
	if soonest := now.Add(-burst * each); p.due.Before(soonest) {
		p.due = soonest
	}
	p.due = p.due.Add(time.Duration(n) * each)
	return p.due.Sub(now)
}
