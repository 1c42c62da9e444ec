package depot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rackreach/rackreach/internal/blob"
)

// Options are what a depot is made of.
type Options struct {
	Dir string // of a bundle; it may come to be later
	// Who is the agent that asks, by which turns are taken.
	Who func(*http.Request) string
	// Allowed says why who asks may have nothing more; it is asked again at each turn of
	// a long transfer. nil: everybody may have all.
	Allowed func(*http.Request) error

	Transfers int          // 0: DefaultTransfers
	PerAgent  int          // 0: DefaultPerAgent
	Waiting   int          // 0: DefaultWaiting
	Log       *slog.Logger // nil: nothing is logged
}

// Depot hands out a bundle. See the package comment.
type Depot struct {
	o     Options
	mux   *http.ServeMux
	turns *turns
	sent  atomic.Int64
}

var _ http.Handler = (*Depot)(nil)

// New makes a depot.
func New(o Options) *Depot {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Allowed == nil {
		o.Allowed = func(*http.Request) error { return nil }
	}
	def := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	def(&o.Transfers, DefaultTransfers)
	def(&o.PerAgent, DefaultPerAgent)
	def(&o.Waiting, DefaultWaiting)
	d := &Depot{o: o, mux: http.NewServeMux(), turns: newTurns(o.Transfers, o.PerAgent, o.Waiting)}
	for _, name := range []string{"oci-layout", "index.json"} {
		d.mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) { d.small(w, name) })
	}
	d.mux.HandleFunc("GET /blobs/sha256/{hex}", d.blob)
	return d
}

// ServeHTTP implements http.Handler. The path begins at the layout.
func (d *Depot) ServeHTTP(w http.ResponseWriter, q *http.Request) { d.mux.ServeHTTP(w, q) }

// Stand is how many blobs are sent at this moment, how many requests wait for their
// turn, and how many bytes of blobs were sent so far.
func (d *Depot) Stand() (active, waiting int, sent int64) {
	active, waiting = d.turns.stand()
	return active, waiting, d.sent.Load()
}

// small sends a file that changes.
func (d *Depot) small(w http.ResponseWriter, name string) {
	b, err := readSmall(filepath.Join(d.o.Dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "this coordinator has no bundle: rackreach bundle pull one into "+d.o.Dir, http.StatusNotFound)
		return
	case err != nil:
		d.o.Log.Error("the depot cannot be read", "error", err)
		http.Error(w, "the depot cannot be read: look at the coordinator's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	d.deadline(w)
	if _, err := w.Write(b); err != nil {
		d.o.Log.Debug("whoever asked the depot has gone", "error", err)
	}
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSmall)
	}
	return b, errors.Join(err, f.Close())
}

// blob sends a blob, or a part of it.
func (d *Depot) blob(w http.ResponseWriter, q *http.Request) {
	digest, err := blob.ParseDigest("sha256:" + q.PathValue("hex"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	who := d.o.Who(q)
	switch err := d.turns.enter(q.Context(), who); {
	case errors.Is(err, errTooMany):
		w.Header().Set("Retry-After", strconv.Itoa(comeAgain))
		http.Error(w, "too many wait for blobs: come again", http.StatusServiceUnavailable)
		return
	case err != nil:
		return // who asked has gone
	}
	t := &transfer{d: d, w: w, q: q, who: who, turn: true}
	defer t.end()
	f, err := os.Open(filepath.Join(d.o.Dir, "blobs", "sha256", digest.Hex()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "no such blob here", http.StatusNotFound)
		return
	case err != nil:
		d.o.Log.Error("a blob cannot be opened", "blob", digest, "error", err)
		http.Error(w, "the blob cannot be read: look at the coordinator's log", http.StatusInternalServerError)
		return
	}
	defer f.Close() // it was only read
	if err := t.send(f, digest); err != nil {
		d.o.Log.Debug("a transfer of a blob ended early", "to", who, "blob", digest, "error", err)
		panic(http.ErrAbortHandler) // so that who asked does not take a part for the whole
	}
}

// deadline bounds the next writing. A connection without deadlines has none.
func (d *Depot) deadline(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stallLimit))
}

// span is the part of a blob that is sent.
type span struct{ from, to int64 }

// errRange says that a range cannot be sent.
var errRange = errors.New("write Range: bytes=FROM-TO, one range within the blob")

// parseRange reads a Range header; "" is the whole.
func parseRange(h string, size int64) (s span, part bool, err error) {
	if h == "" {
		return span{0, size}, false, nil
	}
	text, ok := strings.CutPrefix(h, "bytes=")
	first, last, dash := strings.Cut(text, "-")
	from, err := strconv.ParseUint(first, 10, 63)
	if !ok || !dash || err != nil || int64(from) >= size {
		return span{}, false, errRange
	}
	s = span{int64(from), size}
	if last != "" {
		to, err := strconv.ParseUint(last, 10, 63)
		if err != nil || to < from {
			return span{}, false, errRange
		}
		if int64(to) < size-1 { // a last byte beyond the end is the end (RFC 9110 section 14.1.2)
			s.to = int64(to) + 1
		}
	}
	return s, true, nil
}
