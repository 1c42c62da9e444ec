package bundle

import (
	"context"
	"fmt"
)

// OpenPlace opens a directory, a tar, or a release of a registry.
func OpenPlace(_ context.Context, name string) (Place, error) {
	l, err := OpenLocal(name)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	return l, nil
}
