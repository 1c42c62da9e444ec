package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// strict reads one JSON object into v: no key that v does not have, none twice,
// however it is written, nothing behind it.
func strict(b []byte, most int, v any) error {
	if len(b) > most {
		return fmt.Errorf("it has more than %d bytes", most)
	}
	if err := unique(json.NewDecoder(bytes.NewReader(b))); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: use an installer and an agent of one release", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind it")
	}
	return nil
}

// unique walks one JSON value, and refuses a key that stands twice in its object:
// encoding/json would take the last, whatever its case.
func unique(d *json.Decoder) error {
	var open []map[string]bool // nil: an array
	key := false               // the next token is a key
	for {
		t, err := d.Token()
		if err != nil {
			return errors.New("it is not JSON")
		}
		switch x := t.(type) {
		case json.Delim:
			switch x {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return errors.New("it is nested too deeply")
			}
		case string:
			if key {
				k, seen := strings.ToLower(x), open[len(open)-1]
				if seen[k] {
					return fmt.Errorf("%.40q stands there twice", x)
				}
				seen[k], key = true, false
				continue
			}
		}
		if len(open) == 0 {
			return nil
		}
		key = open[len(open)-1] != nil
	}
}
