package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/rack"
)

// snapshots keep where racks stand, each in a file, so that a coordinator that is
// started reads only the rest of the log. They are a cache: a file is written whole
// but not synced, and one that is torn, of another program, or of another log is
// left out. The first line of a file is a sum of the two behind it: what Saved says,
// and the run.
type snapshots struct {
	dir    string
	build  string // which program this is: what another one makes of the events may differ
	logger *slog.Logger

	mu     sync.Mutex
	closed bool
	failed bool // the last write
}

const (
	snapshotSuffix = ".snapshot"
	snapshotTemp   = "writing-*" // no name of a rack ends so
	maxSnapshot    = 8 << 20     // bytes; a rack of 42 devices has 20 KB
)

// snapshotHead is the second line of a file.
type snapshotHead struct {
	Build string
	actors.Saved
}

var errClosed = errors.New("the coordinator has ended")

// save writes where a rack stands.
func (s *snapshots) save(x *actors.Saved) error {
	head, err := json.Marshal(snapshotHead{s.build, *x})
	if err != nil {
		return err
	}
	run, err := json.Marshal(x.Run)
	if err != nil {
		return err
	}
	says := bytes.Join([][]byte{head, run}, []byte("\n"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	err = s.write(x.Rack, fmt.Appendf(nil, "%x\n%s", sha256.Sum256(says), says))
	if err != nil && !s.failed {
		s.logger.Warn("where racks stand cannot be saved: the next start of the coordinator takes longer", "error", err)
	}
	s.failed = err != nil
	return err
}

func (s *snapshots) write(rackName string, b []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, snapshotTemp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.file(rackName))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// close lets nothing be written any more.
func (s *snapshots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *snapshots) file(rackName string) string {
	return filepath.Join(s.dir, rackName+snapshotSuffix)
}

// read is what a file says: of the rack, and of its run.
func (s *snapshots) read(rackName string) (*actors.Saved, []byte, error) {
	info, err := os.Stat(s.file(rackName))
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > maxSnapshot {
		return nil, nil, fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxSnapshot)
	}
	b, err := os.ReadFile(s.file(rackName))
	if err != nil {
		return nil, nil, err
	}
	sum, says, _ := bytes.Cut(b, []byte("\n"))
	if string(sum) != fmt.Sprintf("%x", sha256.Sum256(says)) {
		return nil, nil, errors.New("it is not as it was written")
	}
	head, run, _ := bytes.Cut(says, []byte("\n"))
	var h snapshotHead
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, nil, err
	}
	switch {
	case h.Build != s.build:
		return nil, nil, errors.New("another build of rackreach wrote it")
	case h.Rack != rackName:
		return nil, nil, fmt.Errorf("it is of rack %.80q", h.Rack)
	}
	return &h.Saved, run, nil
}

// run is the run of what was saved.
func (s *snapshots) run(x *actors.Saved) (*rack.Snapshot, error) {
	again, b, err := s.read(x.Rack)
	if err != nil {
		return nil, err
	}
	if again.Position != x.Position {
		return nil, errors.New("it was written anew meanwhile")
	}
	var out rack.Snapshot
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// known is what the log holds of every rack, with what was saved of it, and the
// position behind which the log must be followed to know the rest.
func (s *snapshots) known(ctx context.Context, log *fleetlog.Log) (k *actors.Known, from uint64, err error) {
	from, err = log.Last(ctx)
	if err != nil {
		return nil, 0, err
	}
	newest, err := log.Newest(ctx)
	if err != nil {
		return nil, 0, err
	}
	s.tidy(newest)
	k = &actors.Known{}
	for name, n := range newest {
		x, err := s.fits(ctx, log, name, n)
		if err != nil {
			return nil, 0, err
		}
		k.Racks = append(k.Racks, actors.KnownRack{Rack: name, Due: n.Seq, Saved: x})
		switch {
		case x == nil:
			first, err := log.First(ctx, name)
			if err != nil {
				return nil, 0, err
			}
			from = min(from, first-1)
		case x.Position < n.Position:
			from = min(from, x.Position)
		}
	}
	return k, from, nil
}

// fits is what was saved of a rack, if it is of this log; nil: there is nothing.
func (s *snapshots) fits(ctx context.Context, log *fleetlog.Log, name string, n fleetlog.Newest) (*actors.Saved, error) {
	if s.build == "" {
		return nil, nil
	}
	x, _, err := s.read(name)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.logger.Info("where a rack stood was saved, but is of no use; its log is read instead", "rack", name, "why", err)
		}
		return nil, nil
	}
	is := x.Position == n.Position && x.Time.Equal(n.Time)
	if x.Position > 0 && x.Position < n.Position {
		if is, err = log.Has(ctx, name, x.Position, x.Time); err != nil {
			return nil, err
		}
	}
	if !is || x.Followed > n.Seq {
		s.logger.Warn("where a rack stood was saved, but of another log; its log is read instead", "rack", name)
		return nil, nil
	}
	return x, nil
}

// tidy removes what is left of racks that the log does not hold, and of writes that
// were cut off.
func (s *snapshots) tidy(newest map[string]fleetlog.Newest) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return // there is none
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), snapshotSuffix)
		if _, known := newest[name]; ok && known {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
			s.logger.Info("a file that is of no use any more stays", "error", err)
		}
	}
}
