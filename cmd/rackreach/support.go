package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/inventory"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/support"
	"github.com/rackreach/rackreach/messages"
)

const (
	// metricsLimit bounds the asking for metrics, and maxMetrics what is read.
	metricsLimit = 10 * time.Second
	maxMetrics   = 8 << 20 // bytes
	// maxLogTail bounds what is read of a log, from its end.
	maxLogTail = 4 << 20 // bytes
)

type supportBundle struct {
	env                         func(string) (string, bool)
	state, output, metrics, log string
}

func newSupportBundle(env func(string) (string, bool)) *cobra.Command {
	s := &supportBundle{env: env}
	cmd := &cobra.Command{
		Use:   "support-bundle [RACK] -o FILE.tar.gz",
		Short: "Gather what somebody needs who is asked for help",
		Long: `Gather what somebody needs who is asked for help, in one archive: version, rack and
plan, every event, timeline, inventory, findings, and why each device is where it is; with
--metrics and --log also what an agent measures and says. It holds references to secrets
and never a secret: the values of those references, tokens, private keys and passwords are
taken out of every file. Its manifest.json says what is in it and what is not.`,
		Example: "  rackreach support-bundle r1 -o r1.tar.gz\n  rackreach support-bundle r1 -o r1.tar.gz --metrics http://127.0.0.1:9464/metrics --log agent.log",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			return s.run(cmd.Context(), cmd.OutOrStdout(), append(given, "")[0])
		},
	}
	stateFlag(cmd.Flags(), &s.state)
	cmd.Flags().StringVarP(&s.output, "output", "o", "", "the archive to write; it must not exist; required")
	cmd.Flags().StringVar(&s.metrics, "metrics", "", "URL of the agent's metrics, as it printed it at its start")
	cmd.Flags().StringVar(&s.log, "log", "", "file with what the agent logged, such as journalctl -u rackreach-agent@RACK prints")
	return cmd
}

func (s *supportBundle) run(ctx context.Context, out io.Writer, name string) error {
	if s.output == "" {
		return badInput(errors.New("support-bundle: no file is named: write -o FILE.tar.gz"))
	}
	if _, err := os.Lstat(s.output); err == nil {
		return badInput(fmt.Errorf("support-bundle: %s is there already: name another file, or remove it", s.output))
	}
	var log []byte
	if s.log != "" {
		var err error
		if log, err = tailOf(s.log, maxLogTail); err != nil {
			return badInput(fmt.Errorf("support-bundle: --log: %w", err))
		}
	}
	c, err := reach(ctx, s.state, s.env, name)
	if err != nil {
		return err
	}
	a, err := s.gather(ctx, c, log)
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := a.Write(&b); err != nil {
		return err
	}
	if err := writeBundle(s.output, b.Bytes()); err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("%s: %d files of rack %s, %d bytes, %d secrets taken out", s.output, len(a.Files)+1, c.rack, b.Len(), a.Removed)}
	for _, x := range a.LeftOut {
		lines = append(lines, fmt.Sprintf("  not in it: %s: %s", x.What, x.Why))
	}
	return printLines(out, append(lines, "Next: look into it before you send it"))
}

// writeBundle writes a file that must not exist, for its owner only.
func writeBundle(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return badInput(fmt.Errorf("support-bundle: %s is there already: name another file, or remove it", path))
	}
	if err != nil {
		return badInput(fmt.Errorf("support-bundle: %w: name a file in a directory that you may write to", err))
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("support-bundle: %w: make room, or name a file elsewhere", err), os.Remove(path))
	}
	return nil
}

// tailOf is the end of a file, from the begin of a line on.
func tailOf(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path) // opening a FIFO waits for somebody who writes
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	skip := max(info.Size()-most, 0)
	b, err := io.ReadAll(io.NewSectionReader(f, skip, most))
	if i := bytes.IndexByte(b, '\n'); skip > 0 && i >= 0 {
		b = b[i+1:]
	}
	return b, err
}

// gather makes the archive. What cannot be had is said in it, and keeps nothing else out.
func (s *supportBundle) gather(ctx context.Context, c *reached, log []byte) (*support.Archive, error) {
	h, err := c.history(ctx)
	if err != nil {
		return nil, err
	}
	known, unread := secretsOf(h, s.state, s.env)
	redact, short := support.NewRedactor(known)
	var at time.Time
	if n := len(h.events); n > 0 {
		at = h.events[n-1].Time
	}
	a := support.New(c.rack, version(), at, redact)
	a.Add("version.txt", "the program that made this", []byte(buildWords()))
	a.AddJSON("rack.json", "the rack as it was read; secrets are references", h.plan.Rack)
	a.AddJSON("plan.json", "what the run carries out", h.plan)
	if m, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)})); err != nil {
		a.LeaveOut("status.json", c.explain(err).Error())
	} else if v, err := plainValue(m.Msg.GetRack()); err != nil {
		a.LeaveOut("status.json", err.Error())
	} else {
		a.AddJSON("status.json", "where the rack and its devices stand", v)
	}
	if err := addEvents(a, h.events); err != nil {
		return nil, err
	}
	if err := addStories(a, h); err != nil {
		return nil, err
	}
	s.addMetrics(ctx, a)
	if s.log != "" {
		a.Add("agent.log", "the end of what the agent logged", log)
	} else {
		a.LeaveOut("agent.log", "no --log was given: journalctl -u rackreach-agent@RACK > agent.log, then --log agent.log")
	}
	for _, reference := range unread {
		a.LeaveOut("a check for the secret "+reference, "it cannot be read on this machine; rackreach writes no secret into what is in here")
	}
	if short > 0 {
		a.LeaveOut(fmt.Sprintf("a check for %d secrets", short), fmt.Sprintf("they have fewer than %d bytes", support.MinSecret))
	}
	a.LeaveOut("images, leases and host keys", "nobody needs them to tell what happened")
	return a, nil
}

// buildWords is which program this is.
func buildWords() string {
	words := "rackreach " + version() + "\n"
	if info, ok := debug.ReadBuildInfo(); ok {
		words += info.String()
	}
	return words
}

// addEvents adds the journal, a line for each event.
func addEvents(a *support.Archive, events []rack.Event) error {
	var b bytes.Buffer
	for _, e := range events {
		line, err := messages.JSONLine(e)
		if err != nil {
			return err
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	a.Add("events.jsonl", "every event of the journal", b.Bytes())
	return nil
}

// addStories adds what follows from the journal.
func addStories(a *support.Archive, h history) error {
	r, platforms := h.plan.Rack, h.plan.Platforms
	story, err := audit.Timeline(r, platforms, h.events, "", time.Time{})
	if err != nil {
		return err
	}
	a.Add("timeline.txt", "the milestones of the rack", []byte(strings.Join(story.Lines(), "\n")+"\n"))
	var why, devices strings.Builder
	for i := range r.Devices {
		x, err := audit.Why(r, platforms, h.events, r.Devices[i].Name)
		if err != nil {
			return err
		}
		fmt.Fprintln(&why, strings.Join(x.Lines(), "\n"))
		if story, err = audit.Timeline(r, platforms, h.events, r.Devices[i].Name, time.Time{}); err != nil {
			return err
		}
		fmt.Fprintf(&devices, "%s\n\n", strings.Join(story.Lines(), "\n"))
	}
	a.Add("why.txt", "why each device is where it is", []byte(why.String()))
	a.Add("devices.txt", "the timeline of each device", []byte(devices.String()))
	x := inventory.Of(r, platforms, h.events)
	a.AddJSON("inventory.json", "what the rack consists of", x)
	var findings strings.Builder
	for _, d := range x.Devices {
		for _, f := range d.Findings {
			fmt.Fprintf(&findings, "%s: %s\n", d.Name, f)
		}
	}
	a.Add("findings.txt", "what somebody should look at", []byte(findings.String()))
	proof := "the order held, and every phase has evidence\n"
	if _, err := audit.Prove(r, platforms, h.events); err != nil {
		proof = err.Error() + "\n"
	}
	a.Add("verify.txt", "whether the journal proves that the order held", []byte(proof))
	return nil
}

// addMetrics adds what an agent measures, if somebody said where.
func (s *supportBundle) addMetrics(ctx context.Context, a *support.Archive) {
	if s.metrics == "" {
		a.LeaveOut("metrics.txt", "no --metrics was given: an agent that runs printed the URL at its start")
		return
	}
	b, err := fetchMetrics(ctx, s.metrics)
	if err != nil {
		a.LeaveOut("metrics.txt", err.Error())
		return
	}
	a.Add("metrics.txt", "what the agent measures", b)
}

func fetchMetrics(ctx context.Context, url string) (b []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, metricsLimit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, maxMetrics))
}
