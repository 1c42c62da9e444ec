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
	begin(s *simulation, d *demo) error
	onQuit(stop func()) // what to call when the user asks to stop through the view
	show(events []rack.Event) error
	end(o outcome) error
}

// jsonView writes one object a line, and everything else elsewhere.
type jsonView struct{ out, notes io.Writer }

func (v *jsonView) begin(s *simulation, d *demo) error { return preamble(v.notes, s, d) }

func (v *jsonView) onQuit(func()) {}

func (v *jsonView) show(events []rack.Event) error {
	for _, e := range events {
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
	began time.Time
}

func (v *lineView) begin(s *simulation, d *demo) error { return preamble(v.out, s, d) }

func (v *lineView) onQuit(func()) {}

func (v *lineView) show(events []rack.Event) error {
	for _, e := range events {
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
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		return fmt.Errorf("write the outcome: %w", err)
	}
	return nil
}

func preamble(w io.Writer, s *simulation, d *demo) error {
	_, err := fmt.Fprintf(w, "rack %s, %d devices, plan %s, simulated at %gx, seed %d\nmetrics: %s\n\n", s.rack.Name, len(s.rack.Devices), s.plan.Hash, d.speed, d.seed, s.url)
	return err
}
