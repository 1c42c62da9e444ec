package depot

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/rackreach/rackreach/internal/blob"
)

// transfer is a blob on its way.
type transfer struct {
	d    *Depot
	w    http.ResponseWriter
	q    *http.Request
	who  string
	turn bool // it has a place
}

func (t *transfer) end() {
	if t.turn {
		t.d.turns.leave(t.who)
	}
	t.turn = false
}

// send answers with a blob or a part of it. Its error is about a connection that has
// begun to take bytes.
func (t *transfer) send(f *os.File, digest blob.Digest) error {
	i, err := f.Stat()
	if err != nil || !i.Mode().IsRegular() {
		http.Error(t.w, "no such blob here", http.StatusNotFound)
		return nil
	}
	s, part, err := parseRange(t.q.Header.Get("Range"), i.Size())
	h := t.w.Header()
	if err != nil {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", i.Size()))
		http.Error(t.w, err.Error(), http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	if _, err := f.Seek(s.from, io.SeekStart); err != nil {
		http.Error(t.w, "the blob cannot be read", http.StatusInternalServerError)
		return nil
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(s.to-s.from, 10))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Etag", `"`+string(digest)+`"`)
	h.Set("Cache-Control", "public, max-age=31536000, immutable") // a digest names one content for ever
	status := http.StatusOK
	if part {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", s.from, s.to-1, i.Size()))
		status = http.StatusPartialContent
	}
	t.w.WriteHeader(status)
	if t.q.Method == http.MethodHead {
		return nil
	}
	return t.copy(f, s)
}

// copy sends a part of a file, turn by turn.
func (t *transfer) copy(f *os.File, s span) error {
	inTurn := int64(0)
	for s.from < s.to {
		if inTurn >= turnBytes {
			t.end()
			if err := t.d.turns.enter(t.q.Context(), t.who); err != nil {
				return err
			}
			t.turn, inTurn = true, 0
			if err := t.d.o.Allowed(t.q); err != nil {
				return err
			}
		}
		t.d.deadline(t.w)
		n, err := io.Copy(t.w, io.LimitReader(f, min(s.to-s.from, chunkBytes)))
		s.from += n
		inTurn += n
		t.d.sent.Add(n)
		switch {
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF // somebody has cut the file
		}
	}
	return nil
}
