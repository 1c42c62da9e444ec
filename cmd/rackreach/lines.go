package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// view shows a run. show is called with the journal's events, in order.
type view interface {
	begin(preamble []string) error
	onQuit(stop func()) // what to call when the user asks to stop through the view
	show(events []rack.Event) error
	end(o outcome) error
}

// jsonView writes one object a line, and everything else elsewhere.
type jsonView struct {
	out, notes io.Writer
	after      uint64 // the last event that is not shown
}

func (v *jsonView) begin(preamble []string) error { return printLines(v.notes, preamble) }

func (v *jsonView) onQuit(func()) {}

func (v *jsonView) show(events []rack.Event) error {
	for _, e := range events {
		if e.Seq <= v.after {
			continue
		}
		b, err := messages.JSONLine(e)
		if err != nil {
			return err
		}
		if _, err := v.out.Write(append(b, '\n')); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	return nil
}

func (v *jsonView) end(o outcome) error { return printLines(v.notes, o.last) }

// lineView writes one plain line per event that a person waits for.
type lineView struct {
	out   io.Writer
	after uint64 // the last event that is not shown
	began time.Time
}

func (v *lineView) begin(preamble []string) error { return printLines(v.out, preamble) }

func (v *lineView) onQuit(func()) {}

func (v *lineView) show(events []rack.Event) error {
	for _, e := range events {
		if e.Seq <= v.after {
			continue
		}
		if v.began.IsZero() {
			v.began = e.Time
		}
		text := audit.Sentence(e)
		if text == "" {
			continue
		}
		who := e.Device
		if who == "" {
			who = e.Rack
		}
		if _, err := fmt.Fprintf(v.out, "%7.2fs  %-14s %s\n", e.Time.Sub(v.began).Seconds(), who, text); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	return nil
}

func (v *lineView) end(o outcome) error { return printLines(v.out, append([]string{""}, o.last...)) }

func printLines(w io.Writer, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		return fmt.Errorf("write the outcome: %w", err)
	}
	return nil
}

// newView picks how a run is shown: JSON lines, a live table in a terminal, or
// plain lines; lines only of the events after a sequence. transferred may be nil.
func newView(json bool, t terminal, r *rack.Rack, platforms map[string]rack.Platform, transferred func(string) (int64, int64), after uint64) view {
	switch {
	case json:
		return &jsonView{out: t.out, notes: t.notes, after: after}
	case t.draws():
		return newTableView(t.out, r, platforms, transferred, t.colors())
	default:
		return &lineView{out: t.out, after: after}
	}
}

// terminal is where a command writes to, and what it is told about that.
type terminal struct {
	in         io.Reader
	out, notes io.Writer
	env        func(string) (string, bool)
}

// draws reports whether a table can be drawn.
func (t terminal) draws() bool {
	term, _ := t.env("TERM")
	return isTerminal(t.out) && !strings.EqualFold(term, "dumb")
}

// colors reports whether colours are wanted (no-color.org).
func (t terminal) colors() bool {
	v, set := t.env("NO_COLOR")
	return !set || v == ""
}
