package actors

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

// errKilled is what an agent gets of its journal once it is to be dead.
var errKilled = errors.New("the process was killed")

// cut is the moment at which an agent dies.
type cut struct {
	events int  // of its journal that are durable
	before bool // it dies as it appends the next event, with all acted on that came before; else directly after the last, with nothing of it acted on
	down   time.Duration
}

// cutLog is a journal whose process dies at a cut. From then on it takes in and
// gives out nothing.
type cutLog struct {
	journal.Log
	cut    cut
	die    func()        // called once, at the cut
	killed chan struct{} // closed at the cut
	gone   chan struct{} // closed when the process may end

	mu   sync.Mutex
	n    int
	dead bool
}

func (l *cutLog) Append(events ...rack.Event) ([]rack.Event, error) {
	l.mu.Lock()
	if !l.dead && l.n+len(events) > l.cut.events {
		l.kill()
	}
	if l.dead {
		l.mu.Unlock()
		<-l.gone
		return nil, errKilled
	}
	defer l.mu.Unlock()
	stored, err := l.Log.Append(events...)
	l.n += len(stored)
	if l.n == l.cut.events && !l.cut.before {
		l.kill()
		l.mu.Unlock()
		<-l.gone
		l.mu.Lock()
		return nil, errKilled
	}
	return stored, err
}

func (l *cutLog) kill() {
	l.dead = true
	l.die()
	close(l.killed)
}

func (l *cutLog) alive() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errKilled
	}
	return nil
}

func (l *cutLog) Read(from uint64, limit int) ([]rack.Event, error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	return l.Log.Read(from, limit)
}

func (l *cutLog) Wait(ctx context.Context, from uint64) error {
	if err := l.Log.Wait(ctx, from); err != nil {
		return err
	}
	return l.alive()
}
