package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/rackreach/rackreach/internal/rack"
)

// job is what the agent wants done: the answer to GET /job/TOKEN.
type job struct {
	Rack     string `json:"rack"`
	Device   string `json:"device"`
	Run      string `json:"run"`
	Ticket   string `json:"ticket"`
	Role     string `json:"role"`
	Platform string `json:"platform"`
	Image    struct {
		Name   string `json:"name"`
		URL    string `json:"url"`
		Digest string `json:"digest"`
		Size   int64  `json:"size"`
	} `json:"image"`
	Report     string `json:"report"`
	Hardware   string `json:"hardware"`   // where to say what the machine has; empty: nowhere
	Overwrites string `json:"overwrites"` // what may be overwritten; empty: nothing
}

// report is how the job ended: the body of POST /report/TOKEN.
type report struct {
	State   string `json:"state"`
	Message string `json:"message"`
	Digest  string `json:"digest"`
	Holds   string `json:"holds,omitempty"`
}

// States of a report.
const (
	stateInstalled = "installed"
	stateFailed    = "failed"
	stateRefused   = "refused"
)

const maxReason = 200 // bytes of a reason in a report and in the record

// runInstaller does the job at url, then reports; own is the installer of an
// operating system's maker, nil for ours. ran is false when there was no job to be
// had; installed says that the disk holds what the job asks for.
func (h *host) runInstaller(ctx context.Context, e *end, url string, own *native) (ran, installed bool) {
	d := h.dev
	j, err := d.fetchJob(ctx, e, url)
	if err != nil {
		return false, false
	}
	if own == nil && j.Hardware != "" {
		d.tellHardware(ctx, e, j.Hardware)
	}
	found := h.readDisk()
	switch found.judge(j) {
	case keep:
		d.sim.record.add(kindInstallKept, d.spec.Name, nil, detail{"ticket": j.Ticket, "holds": found.holds()})
		d.report(ctx, e, j, own, report{State: stateInstalled, Digest: found.receipt.Digest})
		return true, ctx.Err() == nil
	case keepOut:
		d.sim.record.add(kindInstallRefused, d.spec.Name, nil, detail{"ticket": j.Ticket, "holds": found.holds()})
		d.report(ctx, e, j, own, report{State: stateRefused, Message: "the job does not name what the disk holds", Holds: found.holds()})
		return true, false
	}
	answers, err := own.answers(ctx, d, e)
	started := detail{"ticket": j.Ticket}
	if answers != "" {
		started["answers"] = answers
	}
	d.sim.record.add(kindInstallStarted, d.spec.Name, nil, started)
	digest := ""
	if err == nil {
		digest, err = h.install(ctx, e, j, d.personaOf(own))
	}
	if ctx.Err() != nil {
		d.sim.record.add(kindInstallFailed, d.spec.Name, nil, detail{"reason": "power was lost"})
		return true, false
	}
	if err != nil {
		d.sim.record.add(kindInstallFailed, d.spec.Name, nil, detail{"reason": short(err.Error())})
		d.report(ctx, e, j, own, report{State: stateFailed, Message: short(err.Error()), Digest: digest})
		return true, false
	}
	d.sim.record.add(kindInstallCompleted, d.spec.Name, nil, detail{"ticket": j.Ticket})
	d.report(ctx, e, j, own, report{State: stateInstalled, Digest: digest})
	return true, ctx.Err() == nil
}

func short(s string) string {
	if len(s) > maxReason {
		return s[:maxReason]
	}
	return s
}

// install fetches the image, checks it against the job, and writes it.
func (h *host) install(ctx context.Context, e *end, j *job, p persona) (digest string, err error) {
	d := h.dev
	mine := receipt{Rack: j.Rack, Device: j.Device, Run: j.Run, Ticket: j.Ticket, Image: j.Image.Name, State: receiptWriting}
	h.writeDisk(func(x *disk) { *x = disk{receipt: mine} }) // from here on nothing bootable is left
	whole := sha256.New()
	n, err := d.download(ctx, e, j.Image.URL, nil, whole)
	if err != nil {
		return "", err
	}
	digest = hexOf(whole.Sum(nil))
	d.sim.recordVia(kindImageCompleted, e, detail{"bytes": strconv.FormatInt(n, 10), "digest": digest})
	switch {
	case n != j.Image.Size:
		return digest, fmt.Errorf("the image has %d bytes, the job says %d", n, j.Image.Size)
	case digest != j.Image.Digest:
		return digest, fmt.Errorf("the image's digest is %s, the job says %s", digest, j.Image.Digest)
	case d.take(rack.Installation, FaultError):
		return digest, errors.New("writing to the disk failed: input/output error (injected)")
	}
	if err := d.write(ctx); err != nil {
		return digest, err
	}
	mine.Digest, mine.State = digest, receiptInstalled
	h.writeDisk(func(x *disk) {
		*x = disk{bootable: true, receipt: mine, system: p.system, hostname: p.hostname}
		x.files = p.files()
	})
	return digest, nil
}

// write is the time that writing the image takes.
func (d *device) write(ctx context.Context) error {
	took := writeServer
	if d.spec.Role.IsSwitch() {
		took = writeSwitch
	}
	d.host.mu.Lock()
	n := d.host.boots
	d.host.mu.Unlock()
	return pause(ctx, d.sim.tempo.around(took, d.spec.Name, "write", n))
}

// download reads a whole image into sink.
func (d *device) download(ctx context.Context, e *end, url string, header http.Header, sink io.Writer) (n int64, err error) {
	i := d.openImage(ctx, e, url, header)
	defer func() { err = errors.Join(err, i.close()) }()
	return io.CopyBuffer(struct{ io.Writer }{sink}, i, make([]byte, readSize))
}

// fetchJob reads the job; a few tries, as an installer does.
func (d *device) fetchJob(ctx context.Context, e *end, url string) (*job, error) {
	var lastErr error
	for range 3 {
		body, err := d.request(ctx, e, http.MethodGet, url, nil, http.StatusOK)
		if err == nil {
			j := &job{}
			if err := json.Unmarshal(body, j); err != nil {
				return nil, fmt.Errorf("read the job at %s: %w", url, err)
			}
			return j, nil
		}
		lastErr = err
		if final(err) || pause(ctx, d.sim.tempo.scaled(netRetry, floorNet)) != nil {
			break
		}
	}
	return nil, lastErr
}

// report reports as the installer does that ran.
func (d *device) report(ctx context.Context, e *end, j *job, own *native, r report) {
	if own != nil {
		url, words := own.report(r)
		d.post(ctx, e, url, []byte(words))
		return
	}
	if body, err := json.Marshal(r); err == nil {
		d.post(ctx, e, j.Report, body)
	}
}

// post sends a report until the agent has it or says that it does not want it.
func (d *device) post(ctx context.Context, e *end, url string, body []byte) {
	var err error
	for err == nil && ctx.Err() == nil {
		_, perr := d.request(ctx, e, http.MethodPost, url, body, http.StatusNoContent)
		if perr == nil || final(perr) {
			return
		}
		err = pause(ctx, d.sim.tempo.scaled(netRetry, floorNet))
	}
}

// request is one small HTTP exchange.
func (d *device) request(ctx context.Context, e *end, method, url string, body []byte, want int) (answer []byte, err error) {
	q, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	a, err := d.sim.httpClient(e).Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Body.Close()) }()
	if a.StatusCode != want {
		return nil, &statusError{method + " " + url, a.StatusCode}
	}
	answer, err = io.ReadAll(io.LimitReader(a.Body, maxJob+1))
	if err == nil && len(answer) > maxJob {
		err = fmt.Errorf("%s %s: more than %d bytes", method, url, maxJob)
	}
	return answer, err
}
