package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrRevoked says that a certificate was revoked. It is wrapped.
var ErrRevoked = errors.New("the certificate is revoked")

// generation is the row of a rack in the table: it is there once the rack was
// revoked.
type generation struct {
	// Generation is how often the rack was revoked. A certificate of an earlier
	// generation is worth nothing.
	Generation uint64 `json:"generation"`
	// Revoked is when it was last. Certificates of foreign authorities carry no
	// generation; those that began to hold at or before this are worth nothing.
	Revoked time.Time `json:"revoked"`
}

// refuses reports whether a certificate is revoked.
func (g generation) refuses(is claim, c *x509.Certificate) bool {
	if is.counted {
		return is.generation < g.Generation
	}
	return g.Generation > 0 && !c.NotBefore.After(g.Revoked)
}

// View is the table of generations in memory, so that every handshake can ask
// it. Whoever follows the table tells it of each row.
type View struct {
	revoked func(rack string)

	mu   sync.RWMutex
	rows map[string]viewed
}

type viewed struct {
	generation
	revision uint64
}

// NewView makes a view. revoked, which may be nil, is called for each rack whose
// certificates are newly revoked, also by Load, so that its open connections can
// be closed: those that Check refuses. It must not block.
func NewView(revoked func(rack string)) *View {
	return &View{revoked: revoked, rows: map[string]viewed{}}
}

// Set tells of a row of the table. What is older than what is known changes
// nothing; neither does a row that cannot be read, which is an error.
func (v *View) Set(rack string, value []byte, revision uint64) error {
	var g generation
	if err := json.Unmarshal(value, &g); err != nil {
		return fmt.Errorf("read the generation of rack %.80q: %w", rack, err)
	}
	v.set(rack, g, revision)
	return nil
}

func (v *View) set(rack string, g generation, revision uint64) {
	v.mu.Lock()
	old := v.rows[rack]
	newer := revision > old.revision && g.Generation > old.Generation // it only ever grows
	if newer {
		v.rows[rack] = viewed{g, revision}
	}
	v.mu.Unlock()
	if newer && v.revoked != nil {
		v.revoked(rack)
	}
}

// Load reads the whole table.
func (v *View) Load(ctx context.Context, t Table) error {
	racks, err := t.Keys(ctx)
	if err != nil {
		return fmt.Errorf("read which racks are revoked: %w", err)
	}
	for _, rack := range racks {
		value, revision, err := t.Get(ctx, rack)
		if err == nil {
			err = v.Set(rack, value, revision)
		}
		if err != nil && !errors.Is(err, ErrNone) {
			return fmt.Errorf("read which racks are revoked: %w", err)
		}
	}
	return nil
}

// Racks is the racks of which a certificate was ever revoked, sorted.
func (v *View) Racks() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []string
	for rack := range v.rows {
		out = append(out, rack)
	}
	slices.Sort(out)
	return out
}

// Revoked reports whether a certificate is revoked. One that names no rack is.
func (v *View) Revoked(c *x509.Certificate) bool {
	is, err := claimOf(c)
	if err != nil {
		return true
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.rows[is.rack].refuses(is, c)
}

// Check judges the certificate of a connection as it is now, also of one that
// has been open for long. Errors: ErrNoCertificate, ErrNoRack, ErrRevoked,
// ErrExpired.
func (v *View) Check(s tls.ConnectionState) error {
	c, err := verified(s)
	if err != nil {
		return err
	}
	rack, _, err := RackOf(s)
	switch {
	case err != nil:
		return err
	case v.Revoked(c):
		return fmt.Errorf("%w: that of rack %s: enroll its agent again", ErrRevoked, rack)
	case time.Now().After(c.NotAfter):
		return fmt.Errorf("%w: that of rack %s, at %s: enroll its agent again", ErrExpired, rack, c.NotAfter.Format(time.RFC3339))
	}
	return nil
}
