package fleetlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rackreach/rackreach/internal/durable"
)

// markFile says how far each stream of the store reached when the log was last
// opened and closed. A server that finds a file damaged cuts the stream, or leaves
// it out, and goes on; by this file the loss is seen.
const markFile = "reached.json"

// markLimit bounds asking our own server for the ends of its streams.
const markLimit = 10 * time.Second

// checkMark compares the streams with what they held before. Errors: ErrDamaged.
func (l *Log) checkMark(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(l.o.Dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new one
	}
	if err != nil {
		return fmt.Errorf("open the log in %s: %w", l.o.Dir, err)
	}
	var reached map[string]uint64
	if err := json.Unmarshal(b, &reached); err != nil {
		return fmt.Errorf("open the log in %s: read %s: %w: %w", l.o.Dir, markFile, ErrDamaged, err)
	}
	now, err := l.ends(ctx)
	if err != nil {
		return err
	}
	for name, last := range reached {
		if now[name] < last {
			return l.damaged(fmt.Sprintf("its stream %s ends with message %d, but held %d", name, now[name], last))
		}
	}
	return nil
}

// damaged says what to do with a store that has lost something.
func (l *Log) damaged(what string) error {
	if l.o.URL != "" {
		return fmt.Errorf("open the log at %s: %w: %s: nothing was changed. Next: restore the stream from a copy (nats stream restore)", l.o.URL, ErrDamaged, what)
	}
	return fmt.Errorf("open the log in %s: %w: %s. Next: restore the directory from a copy; without one, move it away and start with an empty log: agents report again what their journals hold, but orders, tokens, certificates and epochs are lost", l.o.Dir, ErrDamaged, what)
}

// ends is the last message of each stream.
func (l *Log) ends(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, markLimit)
	defer cancel()
	out := map[string]uint64{}
	list := l.js.ListStreams(ctx)
	for s := range list.Info() {
		out[s.Config.Name] = s.State.LastSeq
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("ask the log for its streams: %w", err)
	}
	return out, nil
}

// mark writes how far the streams reach now.
func (l *Log) mark(ctx context.Context) error {
	now, err := l.ends(ctx)
	if err != nil {
		return err
	}
	b, err := json.Marshal(now)
	if err == nil {
		err = durable.Write(filepath.Join(l.o.Dir, markFile), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s of the log in %s: %w", markFile, l.o.Dir, err)
	}
	return nil
}

// whole checks that no message of the events is missing, for nothing may delete
// one, and that the last can be read: of any other, Follow would see that it is
// left out. Errors: ErrDamaged.
func (l *Log) whole(ctx context.Context) error {
	s := l.events.CachedInfo()
	if s.State.Msgs != s.State.LastSeq {
		return l.damaged(fmt.Sprintf("its stream %s holds %d of its %d messages", s.Config.Name, s.State.Msgs, s.State.LastSeq))
	}
	if s.State.LastSeq == 0 || l.server == nil { // a cluster repairs a replica from the others
		return nil
	}
	_, err := l.events.GetMsg(ctx, s.State.LastSeq)
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		return l.damaged(fmt.Sprintf("message %d, the last of its stream %s, cannot be read: %v", s.State.LastSeq, s.Config.Name, err))
	}
	if err != nil {
		return fmt.Errorf("read the last message of the log at %s: %w", l.where(), explained(err))
	}
	return nil
}
