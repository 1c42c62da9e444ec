package state

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/rackreach/rackreach/internal/durable"
)

// WriteNames keeps by which names a coordinator is reached.
func WriteNames(h Home, names []string) error {
	return durable.Write(filepath.Join(h.CoordinatorDir(), "names"), []byte(strings.Join(names, "\n")+"\n"))
}

// ReadNames is by which names a coordinator is reached; none when it has no
// authority.
func ReadNames(h Home) ([]string, error) {
	b, err := read(filepath.Join(h.CoordinatorDir(), "names"))
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	return strings.Fields(string(b)), err
}
