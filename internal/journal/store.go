package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"

	"github.com/rackreach/rackreach/internal/durable"
	"github.com/rackreach/rackreach/internal/rack"
)

// Defaults and bounds of a Store.
const (
	// DefaultLockWait is how long Open waits for another process to let go.
	DefaultLockWait = 2 * time.Second
	// tailCache is how many of the newest events followers read from memory.
	tailCache = 1024
)

// Options say which journal to open.
type Options struct {
	// Rack is whose journal it is; one of another rack is refused. Empty: any,
	// and then the journal must exist.
	Rack string
	// Run is the run's id for a journal that is created; empty: a random one.
	Run string
	// LockWait bounds the wait for another process; 0: DefaultLockWait.
	LockWait time.Duration

	committed func() // tests: called between two commits, when the file is at rest
}

// ErrOtherRack says that a directory holds the journal of another rack.
var ErrOtherRack = errors.New("it is the journal of another rack")

// Store is a Log on disk, in a directory of its own. An event that Append
// returned survives the end of the process and of the machine's power.
//
// Times: an event's Time is the machine's clock when it was appended, in UTC,
// and never before that of the event before it. When the clock is set back,
// events carry the last time until the clock has passed it again.
//
// After a write error the store is broken: each Append returns that error, with
// ErrBroken, and reading goes on up to the last event that was acknowledged. Whether the events
// of the failed Append are durable is known once the journal is opened again.
type Store struct {
	dir  string
	meta Meta
	lock *flock.Flock
	db   *bbolt.DB
	hook func()

	queue   chan *request // bounded: queueLen
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the committer ended

	closing sync.Once
	closeEr error

	mu     sync.Mutex
	last   uint64        // sequence of the last durable event
	tail   []rack.Event  // the newest events, at most tailCache, ending with last
	grown  chan struct{} // closed and replaced when last grows or the store closes
	closed bool
	broken error // the first write error

	// Of the committer alone.
	head     head
	lastTime time.Time
}

var _ Log = (*Store)(nil)

// Open opens the journal in a directory, or creates it, and checks all of it
// before it may write. Errors: *InUse, *Unwritable, *Damaged, ErrNewer, ErrOtherRack, one of
// the file system. After each of them the files are as they were.
func Open(dir string, o Options) (*Store, error) {
	if o.LockWait == 0 {
		o.LockWait = DefaultLockWait
	}
	path := filepath.Join(dir, dbFile)
	_, err := os.Stat(path)
	if o.Rack == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the journal: there is none in %s: give the directory that `apply` used with --state: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(fmt.Errorf("create the state directory: %w", err))
	}
	lock, err := lockToWrite(dir, o.LockWait)
	if err != nil {
		return nil, unwritable(err)
	}
	s, err := openLocked(dir, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	go s.commitAll()
	return s, nil
}

func openLocked(dir string, o Options) (*Store, error) {
	path := filepath.Join(dir, dbFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		meta := Meta{Rack: o.Rack, Run: o.Run, Created: time.Now().UTC().Round(0)}
		if meta.Run == "" {
			meta.Run = rand.Text()
		}
		if err := create(dir, meta, dbFile); err != nil {
			return nil, err
		}
	}
	s := &Store{
		dir: dir, hook: o.committed, grown: make(chan struct{}),
		queue: make(chan *request, queueLen), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	n, err := inspect(path, func(e rack.Event) error {
		s.remember(e)
		return nil
	})
	if n != nil {
		err = errors.Join(err, n.file.Close())
	}
	if err != nil {
		return nil, err
	}
	s.meta, s.head, s.last, s.lastTime = n.contents.meta, n.contents.last, n.contents.last.seq, n.contents.time
	if o.Rack != "" && o.Rack != s.meta.Rack {
		return nil, fmt.Errorf("the state directory %s belongs to the rack %s, not %s: give another one with --state, or the rack file of %s: %w",
			dir, s.meta.Rack, o.Rack, s.meta.Rack, ErrOtherRack)
	}
	if s.db, err = openDB(path, o.LockWait); err != nil {
		return nil, err
	}
	return s, nil
}

func openDB(path string, wait time.Duration) (db *bbolt.DB, err error) {
	err = guard(func() error {
		// The freelist is kept on disk: without it bbolt rebuilds it in a goroutine whose panic ends the process.
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: wait, FreelistType: bbolt.FreelistArrayType})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	return db, nil
}

// create makes an empty journal under another name and renames it to name, so
// that there is never half a one.
func create(dir string, meta Meta, name string) error {
	fresh := filepath.Join(dir, dbFile+".new")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create a journal: %w", err)
	}
	sealed, err := sealMeta(meta)
	if err != nil {
		return err
	}
	db, err := openDB(fresh, DefaultLockWait)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		about, err := tx.CreateBucket([]byte(journalBucket))
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket([]byte(eventsBucket)); err != nil {
			return err
		}
		return errors.Join(about.Put([]byte(metaKey), sealed), about.Put([]byte(headKey), head{}.seal()))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("create a journal in %s: %w", dir, err)
	}
	if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("create a journal: %w", err)
	}
	return errors.Join(durable.SyncDir(dir), durable.SyncDir(filepath.Dir(dir)))
}

// Meta is what the journal says about itself.
func (s *Store) Meta() Meta { return s.meta }

// Last is the sequence of the newest durable event, 0 when there is none.
func (s *Store) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Close implements Log. Events of an Append that has not returned by then are
// durable or not there at all. The journal can be read afterwards, unless
// another process has taken it over.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.stop)
		<-s.stopped
		s.closeEr = errors.Join(guard(s.db.Close), s.lock.Close())
		s.mu.Lock()
		close(s.grown)
		s.grown = make(chan struct{})
		s.mu.Unlock()
	})
	return s.closeEr
}
