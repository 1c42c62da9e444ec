package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rackreach/rackreach/internal/durable"
)

// Epoch is whose turn it is to write the history of a rack, as its agent was told.
// A coordinator counts epochs: each agent that takes a rack over has the next one.
type Epoch struct {
	Version int    `json:"version"`
	Number  uint64 `json:"epoch"` // in which this agent writes; 0: it was never welcomed
	// Superseded says that another agent owns the rack: this one must not act.
	Superseded *Successor `json:"superseded,omitempty"`
}

// Successor is the agent that took a rack over.
type Successor struct {
	Epoch   uint64    `json:"epoch"`
	Journal string    `json:"journal"` // the name of its journal
	Time    time.Time `json:"time"`    // when this was learned
}

// ReadEpoch is the epoch of a rack's agent; the zero one where none was given.
// Errors: one of the file system; one that says what is wrong with the file.
func (d Dir) ReadEpoch() (Epoch, error) {
	b, err := read(d.file("epoch"))
	if errors.Is(err, ErrNone) {
		return Epoch{Version: version}, nil
	}
	if err != nil {
		return Epoch{}, err
	}
	var e Epoch
	if err := json.Unmarshal(b, &e); err != nil {
		return Epoch{}, Unfitf("%s is damaged: restore it from a backup; or move %s away, and start the agent with --adopt: %w", d.file("epoch"), d, err)
	}
	if e.Version > version {
		return Epoch{}, Unfitf("%s: a newer rackreach wrote it (version %d, this one knows %d): use that one", d.file("epoch"), e.Version, version)
	}
	return e, nil
}

// WriteEpoch keeps the epoch of a rack's agent, durably.
func (d Dir) WriteEpoch(e Epoch) error {
	e.Version = version
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	return durable.Write(d.file("epoch"), append(b, '\n'))
}

// Fresh is an empty directory in which the state of a rack is made before it has
// its place (Place). What an earlier attempt left there is removed.
func (h Home) Fresh(rack string) (Dir, error) {
	d := Dir(filepath.Join(string(h), "adopting", rack))
	if err := errors.Join(os.RemoveAll(string(d)), os.MkdirAll(string(d), 0o700)); err != nil {
		return "", fmt.Errorf("make room for the state of rack %s: %w", rack, err)
	}
	return d, nil
}

// Place gives a whole directory that was made by Fresh its place. What stands
// there is moved to the directory aside, and stays as it is; where that went is
// returned, or empty. Nobody may hold either.
func (h Home) Place(d Dir, rack string, at time.Time) (aside string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("put the state of rack %s in its place: %w", rack, err)
		}
	}()
	to := string(h.Rack(rack))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	if _, err := os.Lstat(to); err == nil {
		aside = filepath.Join(string(h), "aside", rack+at.UTC().Format("-20060102T150405.000000000Z"))
		if err := errors.Join(os.MkdirAll(filepath.Dir(aside), 0o700), os.Rename(to, aside), durable.SyncDir(filepath.Dir(aside))); err != nil {
			return "", err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return aside, errors.Join(os.Rename(string(d), to), durable.SyncDir(filepath.Dir(to)))
}
