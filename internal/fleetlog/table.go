package fleetlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of a Table. They are wrapped.
var (
	// ErrNone says that a table has no such key.
	ErrNone = errors.New("the table has no such key")
	// ErrConflict says that somebody else has written a key.
	ErrConflict = errors.New("somebody else has written it")
)

// Bounds of a value.
const (
	maxValue       = 16 << 20 // bytes, unpacked
	roomForHeaders = 4 << 10  // bytes of a message that a value does not get
)

// Table is a small table that all coordinators share. Keys are letters, digits,
// "-", "_", "/", "=" and ".". A value has at most 16 MiB. Larger ones than 4 KiB are
// packed with gzip; one that does not fit into a message then is refused, with the
// setting that helps. The embedded server takes all; a cluster takes 1 MiB unless
// its max_payload is raised. Cutting values in pieces would make a write of one key
// many writes, which no condition on a revision holds together.
type Table struct {
	name string
	kv   jetstream.KeyValue
	conn *nats.Conn
}

// pack makes what is stored of a value. It says when no server would take it.
func (t *Table) pack(value []byte) ([]byte, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("it has %d bytes, at most %d are kept", len(value), maxValue)
	}
	b, err := pack(value)
	if limit := t.conn.MaxPayload() - roomForHeaders; err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("packed it has %d bytes, but the servers of the log take %d: raise max_payload there, to %d for any value", len(b), limit, maxPayload)
	}
	return b, err
}

// Table opens the table of that name, and makes it where there is none.
func (l *Log) Table(ctx context.Context, name string) (*Table, error) {
	bucket := "rackreach-" + name
	kv, err := l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, Storage: jetstream.FileStorage, Replicas: l.o.Replicas})
	if err == nil {
		err = l.readLeader(ctx, "KV_"+bucket)
	}
	if err == nil {
		kv, err = l.js.KeyValue(ctx, bucket)
	}
	if err != nil {
		return nil, fmt.Errorf("open the table %s of the log: %w", name, explained(err))
	}
	return &Table{name: name, kv: kv, conn: l.conn}, nil
}

// readLeader has a bucket read from its leader only: by default any replica
// answers, one that lags too, and a coordinator would not see what it wrote itself.
func (l *Log) readLeader(ctx context.Context, stream string) error {
	s, err := l.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	c := s.CachedInfo().Config
	if !c.AllowDirect {
		return nil
	}
	c.AllowDirect = false
	_, err = l.js.UpdateStream(ctx, c)
	return err
}

func (t *Table) wrap(do, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		err = ErrNone
	case isWrongSequence(err) || errors.Is(err, jetstream.ErrKeyExists):
		err = ErrConflict
	}
	return fmt.Errorf("%s %s in the table %s: %w", do, key, t.name, err)
}

// Get is a value and its revision. Errors: ErrNone.
func (t *Table) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := t.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, t.wrap("read", key, err)
	}
	v, err := unpack(e.Value())
	return v, e.Revision(), t.wrap("read", key, err)
}

// Put writes a value, whatever was there.
func (t *Table) Put(ctx context.Context, key string, value []byte) error {
	b, err := t.pack(value)
	if err == nil {
		_, err = t.kv.Put(ctx, key, b)
	}
	return t.wrap("write", key, err)
}

// Update writes a value if its revision is still this one; 0: if there is none.
// It returns the new revision. Errors: ErrConflict.
func (t *Table) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	b, err := t.pack(value)
	if err != nil {
		return 0, t.wrap("write", key, err)
	}
	var n uint64
	if revision == 0 {
		n, err = t.kv.Create(ctx, key, b)
	} else {
		n, err = t.kv.Update(ctx, key, b, revision)
	}
	return n, t.wrap("write", key, err)
}

// Delete removes a key; one that is not there is no error.
func (t *Table) Delete(ctx context.Context, key string) error {
	err := t.wrap("delete", key, t.kv.Purge(ctx, key))
	if errors.Is(err, ErrNone) {
		return nil
	}
	return err
}

// Keys is all keys, in no order.
func (t *Table) Keys(ctx context.Context) ([]string, error) {
	keys, err := t.kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	return keys, t.wrap("list", "the keys", err)
}

// KeysOf is the keys that a pattern says (see WatchKeys), those that were written first
// before the others.
func (t *Table) KeysOf(ctx context.Context, pattern string) ([]string, error) {
	l, err := t.kv.ListKeysFiltered(ctx, pattern) // which stops by itself behind the last one
	if err != nil {
		return nil, t.wrap("list", pattern, err)
	}
	var keys []string
	for key := range l.Keys() {
		// One that is written meanwhile is told again: it is a new one then.
		keys = append(slices.DeleteFunc(keys, func(k string) bool { return k == key }), key)
	}
	return keys, ctx.Err()
}

// Watch calls fn with every value, and with each that is written or deleted (then
// value is nil), until ctx ends; that is an error, as is one of fn.
func (t *Table) Watch(ctx context.Context, fn func(key string, value []byte, revision uint64) error) error {
	return t.WatchKeys(ctx, ">", fn, func() {})
}

// WatchKeys is Watch of the keys that a pattern says: "*" stands for what is between
// two dots, ">" for all that follows. told is called once, when what was there has
// been told.
func (t *Table) WatchKeys(ctx context.Context, pattern string, fn func(key string, value []byte, revision uint64) error, told func()) error {
	return t.WatchEntries(ctx, pattern, func(e TableEntry) error { return fn(e.Key, e.Value, e.Revision) }, told)
}

// TableEntry is a key as it was written or deleted.
type TableEntry struct {
	Key      string
	Value    []byte // nil: it was deleted
	Revision uint64
	Time     time.Time // when, by the clock of the server that leads the table
}

// WatchEntries is WatchKeys that says also when.
func (t *Table) WatchEntries(ctx context.Context, pattern string, fn func(e TableEntry) error, told func()) (err error) {
	w, err := t.kv.Watch(ctx, pattern)
	if err != nil {
		return t.wrap("watch", "the keys", err)
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok && ctx.Err() != nil:
				return ctx.Err()
			case !ok:
				return fmt.Errorf("the table %s cannot be followed any more", t.name)
			case e == nil:
				told()
				continue
			}
			var value []byte
			if e.Operation() == jetstream.KeyValuePut {
				if value, err = unpack(e.Value()); err != nil {
					return t.wrap("read", e.Key(), err)
				}
			}
			if err := fn(TableEntry{e.Key(), value, e.Revision(), e.Created()}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// How a value is packed, its first byte.
const (
	plainValue  = 0
	zippedValue = 1
	zipAbove    = 4 << 10 // bytes
)

func pack(v []byte) ([]byte, error) {
	if len(v) <= zipAbove {
		return append([]byte{plainValue}, v...), nil
	}
	var b bytes.Buffer
	b.WriteByte(zippedValue)
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = z.Write(v)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("it is empty")
	}
	if b[0] == plainValue {
		return b[1:], nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b[1:]))
	if err != nil {
		return nil, err
	}
	v, err := io.ReadAll(io.LimitReader(z, maxValue+1))
	if err == nil && len(v) > maxValue {
		err = fmt.Errorf("it has more than %d bytes", maxValue)
	}
	return v, err
}
