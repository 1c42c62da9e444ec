package bundle

import (
	"bytes"
	"context"
	"io"

	"github.com/rackreach/rackreach/internal/blob"
)

// parts sends a blob 1,000 bytes at a time.
type parts struct {
	*local
	data []byte
}

func (p *parts) Fetch(_ context.Context, _ blob.Digest, _, from int64) (io.ReadCloser, error) {
	from = min(from, int64(len(p.data)))
	return io.NopCloser(bytes.NewReader(p.data[from:min(from+1000, int64(len(p.data)))])), nil
}
