//go:build netns || bench

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// perfdhcp (package kea-admin) is a relay in front of many clients: it sends their
// DISCOVERs from its own address as giaddr, one socket for all.

// traffic is what perfdhcp is to send.
type traffic struct {
	server  string
	clients int
	rate    int           // exchanges begun a second; 0: all clients at once, an avalanche
	lasts   time.Duration // of a rate
	count   int           // exchanges; 0: as many as go into lasts
}

// loadWait is how long perfdhcp waits for answers after its last packet; it is also
// how late an answer may be (its -d), so that nothing is counted that nobody waits for.
const loadWait = time.Second

func (l traffic) args() []string {
	a := []string{"-4", "-l", "eth0", "-R", strconv.Itoa(l.clients)}
	switch {
	case l.rate == 0:
		a = append(a, "--scenario", "avalanche")
	default:
		a = append(a, "-r", strconv.Itoa(l.rate), "-x", "t", "-W", strconv.FormatInt(loadWait.Microseconds(), 10),
			"-d", strconv.FormatFloat(loadWait.Seconds(), 'f', -1, 64))
		if l.count > 0 {
			a = append(a, "-n", strconv.Itoa(l.count))
		} else {
			a = append(a, "-p", strconv.FormatFloat(l.lasts.Seconds(), 'f', -1, 64))
		}
	}
	return append(a, l.server)
}

// exchange is one half of a DORA, over all clients.
type exchange struct {
	sent, received int
	rejected, orphans,
	duplicates int // answers with an address that another client has
	first, last time.Duration   // from the first packet to the last answer
	delays      []time.Duration // of those that were answered, sorted
}

// lost is the share of the packets that were never answered in time.
func (e exchange) lost() float64 {
	if e.sent == 0 {
		return 1
	}
	return 1 - float64(e.received)/float64(e.sent)
}

// p99 is the delay within which 99 of 100 answers came.
func (e exchange) p99() time.Duration {
	if len(e.delays) == 0 {
		return 0
	}
	return e.delays[(len(e.delays)*99+99)/100-1]
}

// loaded is what perfdhcp found.
type loaded struct {
	offers, acks exchange
	rate         float64 // exchanges a second as perfdhcp says it, with all of its waiting
}

// dora is the rate of completed exchanges, from the first DISCOVER to the last ACK:
// what a server piles up and answers later is not faster than what it answers.
func (r loaded) dora() float64 {
	took := r.acks.last - r.offers.first
	if took <= 0 {
		return 0
	}
	return float64(r.acks.received) / took.Seconds()
}

// lost is the worse of both halves.
func (r loaded) lost() float64 { return max(r.offers.lost(), r.acks.lost()) }

// perfdhcp runs the load on a host, within a limit.
func (h *host) perfdhcp(l traffic, limit time.Duration) (loaded, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := h.command(ctx, "perfdhcp", l.args()...).CombinedOutput()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return loaded{}, fmt.Errorf("perfdhcp %s: not done within %s", strings.Join(l.args(), " "), limit)
	case errors.As(err, &ended) && ended.ExitCode() == 3: // some exchanges were not completed
	case err != nil:
		return loaded{}, fmt.Errorf("perfdhcp %s: %w\n%.2000s", strings.Join(l.args(), " "), err, out)
	}
	return readLoaded(strings.NewReader(string(out)))
}

var (
	loadRate  = regexp.MustCompile(`^Rate: ([0-9.e+]+) 4-way exchanges/second`)
	loadTitle = regexp.MustCompile(`^\*\*\*(Statistics for|Timestamps for packets): (DISCOVER-OFFER|REQUEST-ACK)\*\*\*`)
	loadTimes = regexp.MustCompile(`^sent / received: (\d+)\.(\d{6}) / (\d+)\.(\d{6})`)
)

// readLoaded reads the report of perfdhcp 2.2, with the times of "-x t" or without.
func readLoaded(from io.Reader) (loaded, error) {
	var r loaded
	x := &exchange{} // of no interest
	for s := bufio.NewScanner(from); s.Scan(); {
		line := s.Text()
		if m := loadRate.FindStringSubmatch(line); m != nil {
			var err error
			if r.rate, err = strconv.ParseFloat(m[1], 64); err != nil {
				return r, fmt.Errorf("perfdhcp says %q: %w", line, err)
			}
		}
		if m := loadTitle.FindStringSubmatch(line); m != nil {
			x = &r.offers
			if m[2] == "REQUEST-ACK" {
				x = &r.acks
			}
		}
		x.read(line)
	}
	if r.offers.sent == 0 {
		return r, errors.New("perfdhcp sent nothing, or its report is not the one of version 2.2")
	}
	for _, e := range []*exchange{&r.offers, &r.acks} {
		slices.Sort(e.delays)
	}
	return r, nil
}

// read takes one line of an exchange.
func (e *exchange) read(line string) {
	if m := loadTimes.FindStringSubmatch(line); m != nil {
		sent, received := loadTime(m[1], m[2]), loadTime(m[3], m[4])
		if len(e.delays) == 0 {
			e.first = sent
		}
		e.first, e.last = min(e.first, sent), max(e.last, received)
		e.delays = append(e.delays, received-sent)
		return
	}
	name, value, ok := strings.Cut(line, ": ")
	if !ok {
		return
	}
	for _, f := range []struct {
		name string
		to   *int
	}{{"sent packets", &e.sent}, {"received packets", &e.received}, {"orphans", &e.orphans}, {"rejected leases", &e.rejected}, {"non unique addresses", &e.duplicates}} {
		if f.name != name {
			continue
		}
		if n, err := strconv.Atoi(value); err == nil {
			*f.to = n
		}
	}
}

// loadTime reads seconds and microseconds, which the expression holds to be digits.
func loadTime(seconds, micros string) time.Duration {
	s, _ := strconv.ParseInt(seconds, 10, 64)
	u, _ := strconv.ParseInt(micros, 10, 64)
	return time.Duration(s)*time.Second + time.Duration(u)*time.Microsecond
}

func TestReadLoaded(t *testing.T) {
	r, err := readLoaded(strings.NewReader(`Running: perfdhcp -4
***Rate statistics***
Rate: 332.913 4-way exchanges/second, expected rate: 500

***Statistics for: DISCOVER-OFFER***
sent packets: 4
received packets: 3
drops: 1
drops ratio: 25 %
orphans: 2
rejected leases: 0
non unique addresses: 1

***Statistics for: REQUEST-ACK***
sent packets: 3
received packets: 3
drops ratio: 0.000 %

***Timestamps for packets: DISCOVER-OFFER***
sent / received: 000000.500000 / 000000.501350
sent / received: 000000.504163 / 000000.504427
sent / received: 000000.506151 / 000000.506276
***Timestamps for packets: REQUEST-ACK***
sent / received: 000000.501400 / 000000.502000
sent / received: 000000.504500 / 000002.000000
sent / received: 000000.506300 / 000000.507000
`))
	if err != nil {
		t.Fatal(err)
	}
	o := r.offers
	if r.rate != 332.913 || o.sent != 4 || o.received != 3 || o.orphans != 2 || o.duplicates != 1 || r.lost() != 0.25 {
		t.Errorf("%+v", r)
	}
	if got, want := o.p99(), 1350*time.Microsecond; got != want {
		t.Errorf("p99 of the offers is %s, want %s", got, want)
	}
	if got, want := r.dora(), 2.0; got != want { // 3 in 1.5 s
		t.Errorf("%v DORA/s, want %v", got, want)
	}
	if _, err := readLoaded(strings.NewReader("perfdhcp: cannot")); err == nil {
		t.Error("a report without figures was taken")
	}
}
