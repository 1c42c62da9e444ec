package state

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rackreach/rackreach/internal/durable"
)

// siblings is the file of that name.
type siblings struct {
	Version   int      `json:"version"`
	ServerIDs []string `json:"serverIds"`
}

// maxSiblings bounds the file, in bytes.
const maxSiblings = 1 << 20

// ReadSiblings is the addresses that the agents of other racks answer DHCP from, as a
// coordinator said last; none where none did. Errors: one of the file system; one that
// says what is wrong with the file.
func (d Dir) ReadSiblings() ([]string, error) {
	b, err := read(d.file("siblings"))
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s siblings
	if len(b) > maxSiblings {
		return nil, Unfitf("%s is damaged: it has %d bytes", d.file("siblings"), len(b))
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, Unfitf("%s is damaged: %w", d.file("siblings"), err)
	}
	if s.Version > version {
		return nil, Unfitf("%s: a newer rackreach wrote it (version %d, this one knows %d)", d.file("siblings"), s.Version, version)
	}
	return s.ServerIDs, nil
}

// WriteSiblings keeps them, durably.
func (d Dir) WriteSiblings(ids []string) error {
	b, err := json.Marshal(siblings{version, ids})
	if err != nil {
		return fmt.Errorf("write the siblings: %w", err)
	}
	return durable.Write(d.file("siblings"), append(b, '\n'))
}
