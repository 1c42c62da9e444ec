package boot

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// handler routes requests. base lives as long as the services do: a report is
// made durable also when its sender hangs up.
func (s *Services) handler(base context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /job/{token}", s.serveJob)
	mux.HandleFunc("GET /loader/{token}/{file}", s.serveLoader)
	mux.HandleFunc("GET /image/{token}", s.serveImage)
	s.handleInstaller(mux)
	mux.HandleFunc("POST /report/{token}", func(w http.ResponseWriter, r *http.Request) { s.takeReport(base, w, r) })
	s.handleNative(base, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.begin() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		defer s.handling.Done()
		if r.ContentLength != 0 {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit)); err != nil {
				http.Error(w, "cannot bound the time for your body", http.StatusInternalServerError)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// begin counts a request in, unless the services wait for the last ones.
func (s *Services) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.handling.Add(1)
	}
	return !s.ending
}

// find gives the ticket of a request, or answers 404 or, when it is closed,
// with the given status. Before there are any tickets it answers 503: an agent
// that has just come back must not turn away a device whose ticket it is about
// to find in its journal.
func (s *Services) find(w http.ResponseWriter, r *http.Request, what string, closed int) *entry {
	d := s.desk.Load()
	e := d.byToken[r.PathValue("token")]
	switch {
	case !d.known:
		w.Header().Set("Retry-After", "5")
		s.refuse(w, what, "the agent does not have its tickets yet, come again", http.StatusServiceUnavailable)
	case e == nil:
		s.refuse(w, what, "no such ticket", http.StatusNotFound)
	case !e.ticket.Open:
		s.refuse(w, what, ErrClosed.Error(), closed)
	case s.anothers(e, addressOf(r)):
		s.refuse(w, what, "the ticket is another device's", http.StatusForbidden)
	default:
		return e
	}
	return nil
}

// anothers reports whether somebody at an address is another device than that of a ticket,
// and says so once.
func (s *Services) anothers(e *entry, at netip.Addr) bool {
	name, ok := s.o.DeviceAt(at)
	if !ok || name == e.ticket.Device {
		return false
	}
	if !e.served.told.stolen.Swap(true) {
		s.o.Log.Warn("a device asks with the token of another one, and gets nothing: look what runs on it", "ticket", e.ticket.ID, "device", name, "address", at)
	}
	return true
}

// addressOf is where a request comes from; invalid: its connection has no address, as
// those inside of one process.
func addressOf(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

func (s *Services) refuse(w http.ResponseWriter, what, text string, status int) {
	http.Error(w, text, status)
	s.o.Count(Served{Protocol: "http", What: what, Outcome: Refused})
}

func (s *Services) serveJob(w http.ResponseWriter, r *http.Request) {
	e := s.find(w, r, "job", http.StatusGone)
	if e == nil {
		return
	}
	t := e.ticket
	j, err := s.jobOf(t)
	if err != nil {
		s.o.Log.Error("cannot make the files of a job", "ticket", t.ID, "cause", err)
		s.refuse(w, "job", "the files of the job cannot be made, the agent's log says why", http.StatusInternalServerError)
		return
	}
	b, err := json.Marshal(j)
	if err != nil {
		s.o.Log.Error("cannot encode a job", "ticket", t.ID, "cause", err)
		s.refuse(w, "job", "cannot encode the job", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	n, err := w.Write(b)
	s.o.Count(Served{Protocol: "http", What: "job", Outcome: outcome(err), Bytes: int64(n)})
}

// serveImage serves the bytes that the ticket names, or none: a store whose
// image changed since the plan is an error.
func (s *Services) serveImage(w http.ResponseWriter, r *http.Request) {
	e := s.find(w, r, "image", http.StatusGone)
	if e == nil {
		return
	}
	t := e.ticket
	// One ticket, one attempt: a device that starts over asks for its image
	// anew, and must not be installing under one ticket while it is given the
	// next. The end of a transfer that broke off may still be fetched.
	if e.served.delivered() && fromTheStart(r.Header.Get("Range")) && !s.inParts(t, r.Header.Get("Range")) {
		s.refuse(w, "image", "the image was delivered under this ticket: a new attempt needs a new one", http.StatusGone)
		return
	}
	f, image, err := s.o.Images.Open(t.Image.Name)
	if err != nil {
		s.o.Log.Error("cannot open an image", "ticket", t.ID, "image", t.Image.Name, "cause", err)
		s.refuse(w, "image", "the image cannot be opened", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	if image.Digest != t.Image.Digest || image.Size != t.Image.Size {
		s.o.Log.Error("an image changed since its ticket was issued: plan again", "ticket", t.ID, "image", t.Image.Name, "was", t.Image.Digest, "is", image.Digest)
		s.refuse(w, "image", "the image changed since the ticket was issued", http.StatusInternalServerError)
		return
	}
	// A device would run a part of it: what is served need not be disk frames with digests.
	if size, err := f.Seek(0, io.SeekEnd); err != nil || size != t.Image.Size {
		s.o.Log.Error("an image has not the bytes that its ticket names: rackreach bundle verify it", "ticket", t.ID, "image", t.Image.Name, "bytes", size, "want", t.Image.Size, "cause", err)
		s.refuse(w, "image", "the image is damaged", http.StatusInternalServerError)
		return
	}
	oneRange(r)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+t.Image.Digest+`"`) // for If-Range (RFC 9110 §13.1.5)
	body := &content{ReadSeeker: f, to: e.served, device: t.Device, pace: s.pace, gone: r.Context().Done()}
	if r.Method == http.MethodGet { // HEAD asks, and takes nothing
		e.served.resume(goesOnAt(r.Header, w.Header().Get("ETag")))
	}
	defer e.served.flights.begin()()
	before, _ := e.served.progress()
	err = deliver(w, r, body)
	after, _ := e.served.progress()
	s.o.Count(Served{Protocol: "http", What: "image", Outcome: outcome(err), Bytes: after - before})
}

// oneRange leaves out several ranges at once, which may be ignored (RFC 9110 §14.2): the
// parts would go through a pipe, past the count, and multiply the work of one request.
func oneRange(r *http.Request) {
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range")
	}
}

// send serves a file that is no image as images are served: by the kernel, within the
// bounds of bandwidth, to who takes it in time. whole: the device has all of it. err is not
// nil when it has less than it asked for.
func (s *Services) send(w http.ResponseWriter, r *http.Request, device string, f io.ReadSeeker) (whole bool, bytes int64, err error) {
	return send(w, r, &content{ReadSeeker: f, device: device, pace: s.pace})
}

// sendSmall is send for what does not count as to bandwidth.
func sendSmall(w http.ResponseWriter, r *http.Request, f io.ReadSeeker) (whole bool, bytes int64, err error) {
	return send(w, r, &content{ReadSeeker: f})
}

func send(w http.ResponseWriter, r *http.Request, body *content) (whole bool, bytes int64, err error) {
	size, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		http.Error(w, "the file cannot be read", http.StatusInternalServerError)
		return false, 0, err
	}
	oneRange(r)
	body.to, body.gone = newTransfer(size, func() {}), r.Context().Done()
	err = deliver(w, r, body)
	bytes, _ = body.to.progress()
	if want, parseErr := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil && parseErr == nil && r.Method == http.MethodGet && bytes < want {
		err = io.ErrUnexpectedEOF // what could not be read is told to nobody else
	}
	return err == nil && bytes == size, bytes, err
}

// fromTheStart reports whether a request asks for the first byte.
func fromTheStart(rangeHeader string) bool {
	return !strings.HasPrefix(rangeHeader, "bytes=") || strings.HasPrefix(rangeHeader, "bytes=0-") || strings.Contains(rangeHeader, ",")
}

// goesOnAt is the byte at which a device goes on with the image of that ETag; 0
// when it begins anew, or takes a part: that says nothing of what is before it.
func goesOnAt(h http.Header, etag string) int64 {
	first, end, _ := strings.Cut(strings.TrimPrefix(h.Get("Range"), "bytes="), "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if unchanged := h.Get("If-Range"); err != nil || n < 0 || end != "" || fromTheStart(h.Get("Range")) || unchanged != "" && unchanged != etag {
		return 0
	}
	return n
}

func (s *Services) takeReport(base context.Context, w http.ResponseWriter, r *http.Request) {
	e := s.find(w, r, "report", http.StatusConflict)
	if e == nil {
		return
	}
	report, err := parseReport(r.Body)
	if err != nil {
		s.refuse(w, "report", err.Error(), http.StatusBadRequest)
		return
	}
	report.Ticket, report.Remote = e.ticket, r.RemoteAddr
	s.hand(base, w, e, report)
}

// hand hands a report to the owner, and answers when it is durable.
func (s *Services) hand(base context.Context, w http.ResponseWriter, e *entry, report Report) {
	ctx, cancel := context.WithTimeout(base, reportLimit)
	defer cancel()
	e.served.flights.wait(ctx, landLimit)
	switch err := s.o.Report(ctx, report); {
	case errors.Is(err, ErrClosed):
		s.refuse(w, "report", ErrClosed.Error(), http.StatusConflict)
	case err != nil:
		s.o.Log.Error("a report could not be made durable", "ticket", report.Ticket.ID, "cause", err)
		w.Header().Set("Retry-After", "5")
		s.refuse(w, "report", "not taken, send it again", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusNoContent)
		s.o.Count(Served{Protocol: "http", What: "report", Outcome: OK})
	}
}

func outcome(err error) string {
	if err != nil {
		return Aborted
	}
	return OK
}
