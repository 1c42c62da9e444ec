package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/rack"
)

// pinned is who pins blobs in a cache.
const pinned = "plan"

// Doing is what is being done with an artifact, in words.
type Doing string

// What Prepare does.
const (
	Checking       Doing = "checking"
	Fetching       Doing = "fetching"
	FetchingAnew   Doing = "the cache holds altered or damaged bytes: fetching anew"
	FetchingUnread Doing = "the cache cannot be read: fetching anew"
)

// Prepare makes sure that what a plan needs can be served, and reads all of it: what the
// cache has not is pulled into it, what it has is held against its digest and pulled anew
// where it is not that, and stays until the next plan; what is on this machine is checked
// where it is. Indexes of frames go with their disk images. say is told of each artifact
// before it is begun, and of one that is pulled anew. What Remember's memory knows is not
// read again, and nothing is said of it.
// Afterwards the cache's directory is itself a bundle of what the plan needs, signatures
// and all: OpenKept opens it when the place cannot be reached.
func (x *Images) Prepare(ctx context.Context, plan *rack.Plan, say func(what Doing, name string, size int64)) error {
	if err := x.b.Fits(plan); err != nil {
		return err
	}
	artifacts := x.b.Needs(plan)
	var words manifests
	if x.cache != nil {
		var err error
		if words, err = x.words(ctx); err != nil {
			return err
		}
		blobs := words.digests()
		for _, a := range artifacts {
			for _, b := range a.blobs() {
				blobs = append(blobs, b.Digest)
			}
		}
		x.cache.Pin(pinned, blobs)
	}
	for _, a := range artifacts {
		todo := x.unread(a)
		if len(todo) > 0 {
			say(x.doing(a), a.Name, a.Size)
		}
		for _, b := range todo {
			if err := x.prepare(ctx, b, func(why Doing) { say(why, a.Name, b.Size) }); err != nil {
				return fmt.Errorf("image %s of %s: %w", a.Name, x.b.Place, err)
			}
		}
	}
	if x.cache == nil {
		return nil
	}
	for _, f := range words.files {
		if err := fetch(ctx, x.cache, f.Blob, f.from, func(Doing) {}); err != nil {
			return fmt.Errorf("keep what the release says of itself: %w", err)
		}
	}
	return words.keep(x.cache)
}

// unread are the blobs of an artifact that this process has not held against their
// digests, or that have changed since.
func (x *Images) unread(a Artifact) (out []Blob) {
	for _, b := range a.blobs() {
		if !x.checked.has(b, x.stat(b.Digest)) {
			out = append(out, b)
		}
	}
	return out
}

// prepare holds a blob against its digest, and remembers it.
func (x *Images) prepare(ctx context.Context, b Blob, anew func(why Doing)) error {
	file := x.stat(b.Digest)
	if x.cache == nil {
		if err := x.check(ctx, b); err != nil {
			return err
		}
		x.checked.add(b, file)
		return nil
	}
	pulled := file == nil
	if err := fetch(ctx, x.cache, b, x.b.Place, func(why Doing) { pulled = true; anew(why) }); err != nil {
		return err
	}
	if pulled { // it was held against its digest as it came
		file = x.stat(b.Digest)
	}
	x.checked.add(b, file)
	return nil
}

// check reads a blob where it is.
func (x *Images) check(ctx context.Context, b Blob) error {
	err := x.b.checkBlob(ctx, b)
	switch _, inCache := x.b.Place.(*kept); {
	case err == nil || ctx.Err() != nil:
	case inCache:
		err = fmt.Errorf("%w. Next: see that the place that it came from is reached again (the depot, the registry or the web server), and start again: what is missing, altered or damaged here is fetched anew from there", err)
	case errors.Is(err, blob.ErrMismatch):
		err = fmt.Errorf("%w: it was altered or is damaged. Next: do not use it; rackreach bundle pull it again from where it came", err)
	}
	return err
}

// doing is what Prepare begins with.
func (x *Images) doing(a Artifact) Doing {
	if x.cache == nil {
		return Checking
	}
	for _, b := range a.blobs() {
		if _, err := x.cache.Size(b.Digest); err != nil {
			return Fetching
		}
	}
	return Checking
}

// fetch makes sure that a store has a blob as it should be: a disk or a person may have
// changed what was right when it came. anew is told before such a one, or one that the
// disk does not give back (a bad sector), is pulled anew.
func fetch(ctx context.Context, to *blob.Store, b Blob, from blob.Source, anew func(why Doing)) error {
	err := checkBlob(ctx, stored{to}, b)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, passing(err):
		return fmt.Errorf("read what the cache holds: %w", err)
	case !errors.Is(err, blob.ErrNone):
		why := FetchingUnread
		if errors.Is(err, blob.ErrMismatch) {
			why = FetchingAnew
		}
		anew(why)
		if bad := to.Remove(b.Digest); bad != nil {
			return fmt.Errorf("remove what the cache holds (%w): %w", err, bad)
		}
	}
	return to.Pull(ctx, b.Digest, b.Size, from)
}

// passing reports whether an error says nothing of the blob: this machine lacks files or
// memory for now. What the cache holds is not thrown away for that; its place may be out
// of reach.
func passing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// stored is a store that blobs are read from.
type stored struct{ *blob.Store }

// Fetch implements blob.Source.
func (s stored) Fetch(_ context.Context, d blob.Digest, _, from int64) (io.ReadCloser, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err // not a nil *os.File
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
