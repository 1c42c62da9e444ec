package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// maxSocketPath bounds the path of a unix socket, in bytes: the kernel has room
// for 108 on Linux and for 104 elsewhere.
const maxSocketPath = 100

// Listen opens the unix socket that Serve serves on. It makes the directory,
// and replaces the socket of a process that died. It fails when somebody serves
// there, when something else has that name, and when the path is too long.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the socket: %w: name another socket", err)
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, err
	}
	l, err := listenLocked(ctx, path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &socketListener{l, lock}, nil
}

func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %s: the path has %d bytes, a unix socket's may have %d: name a shorter one", path, len(path), maxSocketPath)
	}
	return nil
}

// lockSocket holds a lock beside the socket for as long as it is served: of two
// racks that find the socket of a dead one, only one may replace it. The file
// stays; the kernel takes the lock from a process that dies.
func lockSocket(path string) (*flock.Flock, error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	switch held, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the socket: %w: name a socket in a directory that you may write to", err)
	case !held:
		return nil, errServed(path)
	}
	return lock, nil
}

func errServed(path string) error {
	return fmt.Errorf("socket %s: a simulated rack is served there already: stop it, or name another socket", path)
}

// listenLocked is called by the holder of the lock.
func listenLocked(ctx context.Context, path string) (net.Listener, error) {
	switch i, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look at the socket: %w", err)
	case i.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("socket %s: there is a file of that name which is no socket: name another one", path)
	default:
		// Somebody who does not know of the lock may serve there all the same.
		var d net.Dialer
		if c, err := d.DialContext(ctx, "unix", path); err == nil {
			return nil, errors.Join(errServed(path), c.Close())
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("replace the socket of a simulated rack that died: %w", err)
		}
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the socket: %w", err)
	}
	return l, nil
}

// socketListener gives the lock back when it is closed.
type socketListener struct {
	net.Listener
	lock *flock.Flock
}

// Close removes the socket, then gives up its name.
func (l *socketListener) Close() error {
	return errors.Join(l.Listener.Close(), l.lock.Close())
}
