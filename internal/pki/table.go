package pki

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Errors of a Table. They may be wrapped.
var (
	// ErrNone says that a table has no such key.
	ErrNone = errors.New("the table has no such key")
	// ErrConflict says that somebody else has written a key.
	ErrConflict = errors.New("somebody else has written it")
)

// Table is a small table that all coordinators share. Keys are letters, digits
// and "-".
type Table interface {
	// Get is a value and its revision. Errors: ErrNone.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Update writes a value if its revision is still this one; 0: if there is
	// none. It returns the new revision. Errors: ErrConflict.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a key; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Keys is all keys, in no order.
	Keys(ctx context.Context) ([]string, error)
}

// Memory is a Table in memory, for tests and for a coordinator that forgets.
type Memory struct {
	mu   sync.Mutex
	rows map[string]row
	last uint64
}

type row struct {
	value    []byte
	revision uint64
}

var _ Table = (*Memory)(nil)

// Get implements Table.
func (m *Memory) Get(_ context.Context, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[key]
	if !ok {
		return nil, 0, ErrNone
	}
	return slices.Clone(r.value), r.revision, nil
}

// Update implements Table.
func (m *Memory) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows[key].revision != revision {
		return 0, ErrConflict
	}
	if m.rows == nil {
		m.rows = map[string]row{}
	}
	m.last++
	m.rows[key] = row{slices.Clone(value), m.last}
	return m.last, nil
}

// Delete implements Table.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, key)
	return nil
}

// Keys implements Table.
func (m *Memory) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for key := range m.rows {
		out = append(out, key)
	}
	return out, nil
}
