package ordercheck

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Violation is one breach of a rule.
type Violation struct {
	Rule     int       // as numbered in the package's documentation; 3: overlap
	Seq      int64     // line of the record; 0 where it is about the whole
	Time     time.Time // of that line; zero where it is about the whole
	Device   string    // what was touched too early, or did not overlap
	What     string
	NotReady []string // switches that were not ready, in the order of the rack file
}

// String is one line for people.
func (v Violation) String() string {
	s := fmt.Sprintf("rule %d: %s: %s", v.Rule, v.Device, v.What)
	if v.Seq > 0 {
		s += fmt.Sprintf(" at %s (line %d)", v.Time.Format(time.RFC3339Nano), v.Seq)
	}
	if len(v.NotReady) > 0 {
		s += "; not ready: " + strings.Join(v.NotReady, ", ")
	}
	return s
}

// Check holds rules 1 and 2 against a record of a rack, whether its run
// completed or not. The error says that the inputs cannot be read or prove
// nothing; then nothing is known about the order.
func Check(rackYAML, record io.Reader) ([]Violation, error) {
	c, lines, err := read(rackYAML, record)
	if err != nil {
		return nil, err
	}
	s := &state{c: c, forwards: map[string]bool{}, forwarded: map[string]bool{}, receipt: map[string]bool{}}
	var out []Violation
	for i := range lines {
		l := &lines[i]
		switch l.Kind {
		case forwardingStarted:
			s.forwards[l.Device], s.forwarded[l.Device] = true, true
		case forwardingStopped:
			s.forwards[l.Device] = false
		case receiptRead:
			s.receipt[l.Device] = true
		}
		if l.touches() {
			v, err := s.touched(l)
			if err != nil {
				return nil, err
			}
			out = append(out, v...)
		}
	}
	return out, nil
}

func read(rackYAML, record io.Reader) (*cabling, []line, error) {
	c, err := readCabling(rackYAML)
	if err != nil {
		return nil, nil, err
	}
	lines, err := readRecord(record, c)
	return c, lines, err
}

// state is where the switches stand at a line of the record.
type state struct {
	c         *cabling
	forwards  map[string]bool // now
	forwarded map[string]bool // at any time before
	receipt   map[string]bool
}

// touched holds both rules for one touch of a device.
func (s *state) touched(l *line) ([]Violation, error) {
	network, err := l.network(s.c)
	if err != nil {
		return nil, err
	}
	var out []Violation
	if bad, wrong := s.blocked(l, network); wrong {
		out = append(out, Violation{1, l.Seq, l.Time, l.Device, fmt.Sprintf("%s through the %s network without an open way%s", l.describe(), network, through(l.Via)), bad})
	}
	if s.c.role[l.Device] == server && (l.Kind == bmcPower || l.Kind == bmcBootDevice || l.Kind == imageByte) {
		var bad []string
		for _, name := range s.c.switches() {
			if !s.forwarded[name] || !s.receipt[name] {
				bad = append(bad, name)
			}
		}
		if len(bad) > 0 {
			out = append(out, Violation{2, l.Seq, l.Time, l.Device, l.describe() + " before every switch was ready", bad})
		}
	}
	return out, nil
}

// describe names a touch with what the record says about it.
func (l *line) describe() string {
	for _, key := range []string{"command", "protocol"} {
		if word, ok := l.Detail[key].(string); ok {
			return l.Kind + " (" + word + ")"
		}
	}
	return l.Kind
}

// through names the way that the record gives.
func through(via []string) string {
	if len(via) == 0 {
		return ""
	}
	return " (the record says by " + strings.Join(via, ", ") + ")"
}

// blocked reports whether no way of forwarding switches leads to the device on
// that network, and the switches in its way that do not forward. The way that
// the record itself names must be one of those.
func (s *state) blocked(l *line, network string) ([]string, bool) {
	if l.Device == s.c.gate {
		return nil, false // it hangs on the agent's own cable
	}
	ends := s.c.data[l.Device]
	if network == "management" {
		ends = nil
		if on, ok := s.c.management[l.Device]; ok {
			ends = []string{on}
		}
	}
	open := s.reached(network, func(name string) bool { return s.forwards[name] })
	wrong := !slices.ContainsFunc(ends, func(on string) bool { return open[on] })
	bad := map[string]bool{}
	if wrong {
		for _, on := range ends {
			for _, name := range s.way(on, network) {
				bad[name] = !s.forwards[name]
			}
		}
	}
	for _, name := range l.Via {
		if !s.forwards[name] {
			bad[name], wrong = true, true
		}
	}
	if n := len(l.Via); n > 0 && !slices.Contains(ends, l.Via[n-1]) {
		wrong = true // not cabled so in the rack file
	}
	return s.inOrder(bad), wrong
}

// reached is the set of switches that a packet gets to from the agent through
// switches that pass. Management ends hang on the management switch only.
func (s *state) reached(network string, pass func(string) bool) map[string]bool {
	out := map[string]bool{}
	if !pass(s.c.gate) {
		return out
	}
	out[s.c.gate] = true
	if network == "management" {
		return out
	}
	for queue := []string{s.c.gate}; len(queue) > 0; queue = queue[1:] {
		for _, next := range s.c.trunks[queue[0]] {
			if !out[next] && pass(next) {
				out[next] = true
				queue = append(queue, next)
			}
		}
	}
	return out
}

// way is the shortest way from the agent to a switch, itself included, or the
// switch alone when no cable leads there.
func (s *state) way(to, network string) []string {
	if network == "management" {
		return []string{to}
	}
	from := map[string]string{s.c.gate: ""}
	for queue := []string{s.c.gate}; len(queue) > 0; queue = queue[1:] {
		for _, next := range s.c.trunks[queue[0]] {
			if _, seen := from[next]; !seen {
				from[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	if _, ok := from[to]; !ok {
		return []string{to}
	}
	var out []string
	for at := to; at != ""; at = from[at] {
		out = append(out, at)
	}
	return out
}

func (s *state) inOrder(set map[string]bool) []string {
	var out []string
	for _, name := range s.c.names {
		if set[name] {
			out = append(out, name)
		}
	}
	return out
}
