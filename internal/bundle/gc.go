package bundle

import (
	"context"
	"fmt"
	"slices"

	"github.com/rackreach/rackreach/internal/blob"
)

// Collected is what a collection removed.
type Collected struct {
	Blobs int
	Bytes int64 // beginnings of pulls included
}

// Collect removes what no manifest refers to, and the beginnings of pulls that broke
// off; before, it drops the given releases. When a manifest cannot be read nothing is
// removed: it cannot be told what it refers to. Error: ErrNoRelease, in an *Unfit.
func (l *Layout) Collect(ctx context.Context, drop ...string) (out Collected, err error) {
	refs, err := l.Refs(ctx)
	if err != nil {
		return out, err
	}
	for _, name := range drop {
		before := len(refs)
		if refs = slices.DeleteFunc(refs, func(r Ref) bool { return r.Tag == name && name != "" }); len(refs) == before {
			return out, &Unfit{fmt.Errorf("%s: %w as %s, and nothing was removed: %s", l.dir, ErrNoRelease, cut(name), thereIs(refs))}
		}
	}
	if refs, err = l.current(ctx, refs); err != nil {
		return out, err
	}
	kept, err := l.reachable(ctx, refs)
	if err != nil {
		return out, err
	}
	if err := l.writeIndex(refs); err != nil {
		return out, err
	}
	for _, d := range l.store.All() {
		if kept[d] {
			continue
		}
		n, err := l.store.Size(d)
		if err == nil {
			err = l.store.Remove(d)
		}
		if err != nil {
			return out, err
		}
		out.Blobs++
		out.Bytes += n
	}
	n, err := l.store.Clear()
	out.Bytes += n
	return out, err
}

// thereIs names the releases that can be dropped.
func thereIs(refs []Ref) string {
	var names []string
	for _, r := range refs {
		if r.Tag != "" {
			names = append(names, r.Tag)
		}
	}
	if len(names) == 0 {
		return "there is none"
	}
	return "give one that is there, " + some(names)
}

// reachable is what manifests refer to, themselves included.
func (l *Layout) reachable(ctx context.Context, refs []Ref) (map[blob.Digest]bool, error) {
	kept := map[blob.Digest]bool{emptyBlob.Digest: true}
	for _, r := range refs {
		kept[r.Digest] = true
		b, err := manifest(ctx, l, r, maxManifest)
		if err != nil {
			return nil, fmt.Errorf("%s: nothing was removed: %s is in index.json and cannot be read: %w. Next: rackreach bundle pull it again", l.dir, r.Digest.Short(), err)
		}
		m, err := parseManifest(b)
		if err != nil {
			return nil, fmt.Errorf("%s: nothing was removed: %s is not understood: %w", l.dir, r.Digest.Short(), err)
		}
		for _, x := range m.Layers {
			kept[blob.Digest(x.Digest)] = true
		}
	}
	return kept, nil
}
