package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rackreach/rackreach/internal/printable"
	"github.com/rackreach/rackreach/internal/rack"
)

// States of a report.
const (
	Installed = "installed"
	Failed    = "failed"
	// KeptBack: nothing was written, since the disk holds something that the
	// job does not name. On the wire it is "refused".
	KeptBack = "refused"
)

// ErrClosed is what Options.Report returns for a ticket that is closed.
var ErrClosed = errors.New("the ticket is closed")

// Report is a device's own word on how its job ended.
type Report struct {
	Ticket  Ticket
	State   string // Installed, Failed or KeptBack
	Message string // the device's words: one line, printable, bounded
	Digest  string // of what it installed: "sha256:" and 64 hex digits; may be empty in a failure
	Holds   string // KeptBack: what the disk holds, "receipt:RUN/TICKET" or "foreign:TEXT", printable, bounded
	Remote  string // address that it came from
}

// Observation is what the report proves. A device that installed something
// else than its ticket says has failed, whatever it thinks.
func (r Report) Observation() rack.Observation {
	o := rack.Observation{Source: rack.FromHTTP, Device: r.Ticket.Device, Address: r.Remote, Proves: rack.ReportedFailed, Message: r.Message}
	switch {
	case r.State == Installed && r.Digest == r.Ticket.Image.Digest:
		o.Proves = rack.ReportedInstalled
	case r.State == KeptBack:
		o.Proves, o.Holds, o.Message = rack.ReportedRefused, r.Holds, "its disk holds "+r.Holds
	case r.State == Installed:
		o.Message = fmt.Sprintf("it installed %s, its ticket says %s", r.Digest, r.Ticket.Image.Digest)
	}
	return o
}

// errReport is the reason for which a report is bad input.
var errReport = errors.New("bad report")

// parseReport reads a report's body, at most maxReport bytes. Unknown keys are
// ignored: the installer on the device may be newer than the agent.
func parseReport(r io.Reader) (Report, error) {
	var in struct {
		State   string `json:"state"`
		Message string `json:"message"`
		Digest  string `json:"digest"`
		Holds   string `json:"holds"`
	}
	b, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return Report{}, fmt.Errorf("%w: its body did not arrive whole", errReport)
	}
	if len(b) > maxReport {
		return Report{}, fmt.Errorf("%w: more than %d bytes", errReport, maxReport)
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return Report{}, fmt.Errorf(`%w: write {"state":"installed","message":"…","digest":"sha256:…"}`, errReport)
	}
	holds := printable.Line(in.Holds, maxHolds)
	switch {
	case in.State != Installed && in.State != Failed && in.State != KeptBack:
		return Report{}, fmt.Errorf("%w: state must be %q, %q or %q", errReport, Installed, Failed, KeptBack)
	case in.State == KeptBack && !strings.HasPrefix(holds, "receipt:") && !strings.HasPrefix(holds, "foreign:"):
		return Report{}, fmt.Errorf("%w: holds must be receipt:RUN/TICKET or foreign:TEXT, what the disk holds", errReport)
	case in.Digest != "" && !validDigest(in.Digest):
		return Report{}, fmt.Errorf("%w: digest must be sha256: and 64 lower hex digits", errReport)
	case in.State == Installed && in.Digest == "":
		return Report{}, fmt.Errorf("%w: digest of what was installed is missing", errReport)
	}
	out := Report{State: in.State, Message: printable.Line(in.Message, maxMessage), Digest: in.Digest}
	if out.State == KeptBack {
		out.Holds = holds
	}
	return out, nil
}

// validDigest reports whether s is "sha256:" and 64 lower hex digits.
func validDigest(s string) bool {
	hexed, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hexed) == 64 && validToken(hexed[:32]) && validToken(hexed[32:])
}
