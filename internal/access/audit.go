package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of the audit trail.
const (
	// AuditSize is when a new file is begun; the one before is kept, all earlier
	// ones are not.
	AuditSize = 16 << 20 // bytes
	maxText   = 256      // bytes of a stranger's text
	maxList   = 1000     // entries that are told at once
	usualList = 100
)

// Entry is a call that changed something, or that was refused.
type Entry struct {
	Time      time.Time `json:"time"`
	Who       string    `json:"who,omitempty"`
	Role      string    `json:"role,omitempty"`
	From      string    `json:"from,omitempty"`
	Procedure string    `json:"procedure"`
	Resource  string    `json:"resource,omitempty"`
	Refused   string    `json:"refused,omitempty"` // why; empty: it was let through
}

// Audit is the audit trail of a coordinator: a file of JSON lines, and the one
// before it, "….1". One process writes it.
type Audit struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

// OpenAudit opens the trail, or begins it. limit is the size of a file; 0:
// AuditSize.
func OpenAudit(path string, limit int64) (*Audit, error) {
	if limit == 0 {
		limit = AuditSize
	}
	a := &Audit{path: path, limit: limit}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open the audit trail: %w", err)
	}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("open the audit trail: %w", err)
	}
	return a, nil
}

func (a *Audit) open() error {
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.file, a.size = f, info.Size()
	if a.size > 0 {
		// A crash may have left half a line: it must not swallow the next one.
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, a.size-1); err != nil {
			return errors.Join(err, f.Close())
		}
		if last[0] != '\n' {
			if err := a.append([]byte("\n")); err != nil {
				return errors.Join(err, f.Close())
			}
		}
	}
	return syncDir(filepath.Dir(a.path))
}

// append writes whole or not at all. The caller holds mu.
func (a *Audit) append(b []byte) error {
	n, err := a.file.Write(b)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, a.file.Truncate(a.size))
		}
		return err
	}
	a.size += int64(n)
	return nil
}

// Write writes an entry. What was let through is durable when it returns; a
// refusal may be lost to a power cut. Text from outside is escaped and cut.
func (a *Audit) Write(e Entry) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	for _, s := range []*string{&e.Who, &e.Role, &e.From, &e.Procedure, &e.Resource, &e.Refused} {
		*s = clean(*s, maxText)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the audit trail: %w", err)
	}
	b = append(b, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return fmt.Errorf("write the audit trail: %w", fs.ErrClosed)
	}
	if a.size > 0 && a.size+int64(len(b)) > a.limit {
		if err := a.rotate(); err != nil {
			return fmt.Errorf("begin a new file of the audit trail: %w", err)
		}
	}
	err = a.append(b)
	if err == nil && e.Refused == "" {
		err = a.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the audit trail: %w", err)
	}
	return nil
}

// rotate begins a new file. The caller holds mu.
func (a *Audit) rotate() error {
	if err := a.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(a.path, a.path+".1"); err != nil {
		return err
	}
	old := a.file
	if err := a.open(); err != nil {
		a.file = old // goes on, under its new name
		return err
	}
	return old.Close()
}

// List is the newest entries, newest first. limit 0: 100; at most 1,000. A line
// that cannot be read is left out.
func (a *Audit) List(limit int) ([]Entry, error) {
	if limit <= 0 {
		limit = usualList
	}
	limit = min(limit, maxList)
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Entry
	for _, path := range []string{a.path, a.path + ".1"} {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the audit trail: %w", err)
		}
		for len(b) > 0 && len(out) < limit {
			b = bytes.TrimSuffix(b, []byte("\n"))
			start := bytes.LastIndexByte(b, '\n') + 1
			var e Entry
			if json.Unmarshal(b[start:], &e) == nil && !e.Time.IsZero() {
				out = append(out, e)
			}
			b = b[:start]
		}
	}
	return out, nil
}

// Close closes the trail. Nothing can be written any more.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	err := errors.Join(a.file.Sync(), a.file.Close())
	a.file = nil
	if err != nil {
		return fmt.Errorf("close the audit trail: %w", err)
	}
	return nil
}

// clean is a stranger's text in at most limit bytes and a mark that it was cut,
// with everything escaped that is not printable.
func clean(s string, limit int) string {
	var b strings.Builder
	for i, r := range s {
		if r == utf8.RuneError && strings.HasPrefix(s[i:], "\xef\xbf\xbd") || strconv.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
		} else if r == utf8.RuneError {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		if b.Len() > limit {
			cut := b.String()[:limit]
			for !utf8.ValidString(cut) {
				cut = cut[:len(cut)-1]
			}
			return cut + "…"
		}
	}
	return b.String()
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
