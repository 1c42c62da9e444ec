package classify

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// test is how a condition looks at its value.
type test int

const (
	fits    test = iota // the value fits one of the patterns
	present             // it is there
	absent              // it is not
	oneOf               // option 93 is one of the numbers
	asks                // option 55 holds all of the codes
	listed              // option 55 is this list
	keyed               // the value is a list of key and value, some of which fit
)

// condition is what a rule demands of one source, or reads from it.
type condition struct {
	from     int // index in Rules.sources
	test     test
	patterns []pattern
	numbers  []uint16
	codes    []byte
	keys     keys
}

// keys is how a value such as "SN:0;PID:R-IOSXRV9000-CC" is taken apart.
type keys struct {
	separator []byte
	equals    []byte
	fields    []keyField
}

type keyField struct {
	key     []byte
	pattern pattern
}

// holds reports whether a condition is met, and fills in got. said is the value
// that met it.
func (c *condition) holds(v *view, code uint8, got *filled) (said []byte, ok bool) {
	value := v.values[c.from]
	switch c.test {
	case present:
		return value, value != nil
	case absent:
		return nil, value == nil
	case oneOf:
		return value, value != nil && slices.Contains(c.numbers, binary.BigEndian.Uint16(value))
	case asks:
		for _, code := range c.codes {
			if bytes.IndexByte(value, code) < 0 {
				return nil, false
			}
		}
		return c.codes, true
	case listed:
		return value, bytes.Equal(value, c.codes)
	case keyed:
		return value, value != nil && c.keys.all(value, got)
	}
	if value == nil {
		return nil, false
	}
	if code == optionUserClass {
		for _, u := range v.users[:v.userSize] {
			if c.fit(u, got) {
				return u, true
			}
		}
		return nil, false
	}
	return value, c.fit(value, got)
}

// fit tries the patterns in their order.
func (c *condition) fit(value []byte, got *filled) bool {
	for i := range c.patterns {
		if !bytes.HasPrefix(value, c.patterns[i].prefix) {
			continue // most end here
		}
		into := *got
		if c.patterns[i].match(value, &into) {
			*got = into
			return true
		}
	}
	return false
}

// read is holds for what a rule reads and does not demand: of a list of keys it
// takes those that are there.
func (c *condition) read(v *view, code uint8, got *filled) (said []byte, ok bool) {
	if c.test != keyed {
		return c.holds(v, code, got)
	}
	value := v.values[c.from]
	for i := range c.keys.fields {
		ok = c.keys.one(value, &c.keys.fields[i], got) || ok
	}
	return value, ok
}

// all reports whether every key is there and fits.
func (k *keys) all(value []byte, got *filled) bool {
	for i := range k.fields {
		if !k.one(value, &k.fields[i], got) {
			return false
		}
	}
	return true
}

// one looks for a key; the first that fits counts.
func (k *keys) one(value []byte, f *keyField, got *filled) bool {
	for rest := value; len(rest) > 0; {
		part, after, _ := bytes.Cut(rest, k.separator)
		rest = after
		key, text, ok := bytes.Cut(part, k.equals)
		if !ok || !bytes.Equal(key, f.key) {
			continue
		}
		into := *got
		if f.pattern.match(text, &into) {
			*got = into
			return true
		}
	}
	return false
}
