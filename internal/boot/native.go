package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/rackreach/rackreach/internal/printable"
	"github.com/rackreach/rackreach/internal/rack"
)

// Native knows what devices read that are installed by the installer of their own
// operating system, and what systems ask for at their first boot. It is called from many
// goroutines.
type Native interface {
	// Boots says what a device loads from its boot script: the artifact that is its
	// kernel, as a file below base, with what that is told, and its image as initramfs;
	// or, when loader is given, that file and nothing else.
	Boots(t Ticket, base string) (loader, kernel string, args []string, err error)
	// File is a file that was made for this ticket, and what a device that has it
	// whole has shown; base is the URL below which the device finds its files.
	// ErrNoFile, wrapped: there is none of that name.
	File(t Ticket, base, name string) (text []byte, shows rack.Evidence, err error)
	// Artifact is the artifact that a file below base stands for, and what a device
	// that has it whole has shown. ErrNoFile, wrapped: none.
	Artifact(t Ticket, name string) (artifact string, shows rack.Evidence, err error)
}

// ErrNoFile says that a device's installer has no file of that name.
var ErrNoFile = errors.New("no such file")

// maxNative bounds the name of a file that an installer asks for, in bytes.
const maxNative = 256

// nativeReports are the last parts of the URLs that installers report to which can
// send no JSON.
var nativeReports = map[string]string{"installed": Installed, "failed": Failed, "refused": KeptBack}

// NativeURL is the URL below which the installer of a device's own operating system
// finds its files.
func (s *Services) NativeURL(t Ticket) string { return s.baseOf(t) + "/native/" + t.Token }

// handleNative adds what such installers ask for:
//
//	GET  /native/TOKEN/FILE           answer files and boot files
//	POST /native/TOKEN/report/STATE   installed, failed or refused; the body is words
func (s *Services) handleNative(base context.Context, mux *http.ServeMux) {
	mux.HandleFunc("GET /native/{token}/{file...}", s.serveNative)
	mux.HandleFunc("POST /native/{token}/report/{state}", func(w http.ResponseWriter, r *http.Request) { s.takeNativeReport(base, w, r) })
}

// native gives the ticket of such a request, or answers.
func (s *Services) native(w http.ResponseWriter, r *http.Request, what string, closed int) *entry {
	e := s.find(w, r, what, closed)
	if e != nil && (!e.ticket.Native && e.ticket.Provision == nil || s.o.Native == nil) {
		s.refuse(w, what, "this device is not installed by its system's own installer, and given nothing at its first boot", http.StatusNotFound)
		return nil
	}
	return e
}

func (s *Services) serveNative(w http.ResponseWriter, r *http.Request) {
	e := s.native(w, r, "answer", http.StatusGone)
	if e == nil {
		return
	}
	t, file := e.ticket, r.PathValue("file")
	if len(file) > maxNative {
		s.refuse(w, "answer", ErrNoFile.Error(), http.StatusNotFound)
		return
	}
	b, shows, err := s.o.Native.File(t, s.NativeURL(t), file)
	switch {
	case errors.Is(err, ErrNoFile):
		s.serveArtifact(w, r, e, file)
		return
	case err != nil:
		// What is wrong is told to the operator; the device would print it.
		s.o.Log.Error("cannot fill in an answer file", "ticket", t.ID, "file", word(file), "cause", err)
		s.refuse(w, "answer", "the file cannot be made: the agent's log says why", http.StatusInternalServerError)
		return
	}
	defer e.served.flights.begin()()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store") // it holds secrets
	whole, sent, err := sendSmall(w, r, bytes.NewReader(b))
	if whole && shows != rack.NoEvidence {
		s.fetched(t, shows, rack.FromHTTP)
	}
	s.o.Count(Served{Protocol: "http", What: "answer", Outcome: outcome(err), Bytes: sent})
}

// serveArtifact serves a boot file of the ticket's installer.
func (s *Services) serveArtifact(w http.ResponseWriter, r *http.Request, e *entry, file string) {
	t := e.ticket
	name, shows, err := s.o.Native.Artifact(t, file)
	if errors.Is(err, ErrNoFile) {
		s.refuse(w, "boot-file", ErrNoFile.Error(), http.StatusNotFound)
		return
	}
	var f io.ReadSeekCloser
	var image rack.Image
	if err == nil {
		f, image, err = s.o.Images.Open(name)
	}
	if err != nil {
		s.o.Log.Error("cannot open a boot file", "ticket", t.ID, "artifact", word(name), "cause", err)
		s.refuse(w, "boot-file", "the file cannot be opened", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	defer e.served.flights.begin()()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+image.Digest+`"`)
	whole, sent, err := s.send(w, r, t.Device, f)
	if whole && shows != rack.NoEvidence {
		s.fetched(t, shows, rack.FromHTTP)
	}
	s.o.Count(Served{Protocol: "http", What: "boot-file", Outcome: outcome(err), Bytes: sent})
}

// takeNativeReport takes the word of an installer that was told the digest of its job
// by us: what it has carried out is what its ticket says, or nothing.
func (s *Services) takeNativeReport(base context.Context, w http.ResponseWriter, r *http.Request) {
	e := s.native(w, r, "report", http.StatusConflict)
	if e == nil {
		return
	}
	state, ok := nativeReports[r.PathValue("state")]
	if !ok {
		s.refuse(w, "report", "write report/installed, report/failed or report/refused", http.StatusNotFound)
		return
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxReport+1))
	if err != nil || len(b) > maxReport {
		s.refuse(w, "report", fmt.Sprintf("at most %d bytes of words", maxReport), http.StatusBadRequest)
		return
	}
	report := Report{Ticket: e.ticket, State: state, Message: printable.Line(string(b), maxMessage), Remote: r.RemoteAddr}
	switch state {
	case Installed:
		report.Digest = e.ticket.Image.Digest
	case KeptBack:
		report.Holds = printable.Line(string(b), maxHolds)
		if !strings.HasPrefix(report.Holds, "receipt:") && !strings.HasPrefix(report.Holds, "foreign:") {
			s.refuse(w, "report", "the body must be receipt:RUN/TICKET or foreign:TEXT, what the disk holds", http.StatusBadRequest)
			return
		}
	}
	s.hand(base, w, e, report)
}

// scriptOf is the iPXE script of a ticket.
func (s *Services) scriptOf(t Ticket) (string, error) {
	switch {
	case !t.Native:
		return s.script(t), nil
	case s.o.Native == nil:
		return "", errors.New("nobody knows how this device's installer boots")
	}
	base := s.NativeURL(t)
	loader, kernel, args, err := s.o.Native.Boots(t, base)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("#!ipxe\n")
	fmt.Fprintf(&b, "# rackreach: rack %s, device %s (%s), ticket %s\n", word(t.Rack), word(t.Device), word(string(t.Role)), word(t.ID))
	fmt.Fprintf(&b, "# image %s %s\n", word(t.Image.Name), word(t.Image.Digest))
	if loader != "" {
		fmt.Fprintf(&b, "chain %s/%s\n", base, word(loader))
		return b.String(), nil
	}
	// UEFI finds the initramfs by its name on the command line.
	fmt.Fprintf(&b, "kernel %s/%s initrd=initrd rackreach.job=%s", base, word(kernel), s.JobURL(t))
	for _, a := range args {
		b.WriteString(" " + argument(a))
	}
	fmt.Fprintf(&b, "\ninitrd --name initrd %s\nboot\n", s.InstallerURL(t))
	return b.String(), nil
}

// argument keeps of a kernel's argument what neither iPXE nor the kernel takes for
// anything else; what it does not know is written as %XX.
func argument(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte("=;,+@", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteString(word(s[i : i+1]))
		}
	}
	return b.String()
}
