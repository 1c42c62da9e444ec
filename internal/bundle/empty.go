package bundle

import (
	"bytes"
	"context"
	"io"

	"github.com/rackreach/rackreach/internal/blob"
)

// emptyPlace holds the empty config, which needs not be fetched.
type emptyPlace struct{}

var _ Place = emptyPlace{}

func (emptyPlace) String() string                                { return "the empty config" }
func (emptyPlace) Refs(context.Context) ([]Ref, error)           { return nil, nil }
func (emptyPlace) Referrers(context.Context, Ref) ([]Ref, error) { return nil, nil }
func (emptyPlace) Close() error                                  { return nil }
func (emptyPlace) Fetch(_ context.Context, _ blob.Digest, _, from int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte("{}")[from:])), nil
}
