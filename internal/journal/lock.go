package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Files of a journal's directory besides the database.
const (
	lockFile = "lock" // locked by the process that writes; shared by those that only read
	pidFile  = "pid"  // who holds the lock, for people; says nothing when the lock is free
)

// lockPoll is how often a lock that is held is tried again.
const lockPoll = 20 * time.Millisecond

// InUse says that another process holds a journal.
type InUse struct {
	Dir string
	PID int // 0: not known
}

func (e *InUse) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the state directory %s is in use by %s: let that one do it, or stop it first, or give another directory with --state", e.Dir, who)
}

// lockToWrite locks a directory against all others and says who it is.
func lockToWrite(dir string, wait time.Duration) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	if err := acquire(dir, wait, lock.TryLockContext); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write into the state directory: %w", err), lock.Close())
	}
	return lock, nil
}

// lockToRead holds off writers. A directory without a lock file, a copy
// somewhere, has no writer.
func lockToRead(dir string, wait time.Duration) (unlock func() error, err error) {
	path := filepath.Join(dir, lockFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	if err := acquire(dir, wait, lock.TryRLockContext); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil
}

func acquire(dir string, wait time.Duration, try func(context.Context, time.Duration) (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, err := try(ctx, lockPoll)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &InUse{Dir: dir, PID: holder(dir)}
	case err != nil:
		return fmt.Errorf("lock the state directory %s: %w", dir, err)
	}
	return nil
}

// holder is the process that the pid file names; 0 when it names none.
func holder(dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
