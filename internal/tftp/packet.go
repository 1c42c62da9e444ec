package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Opcodes (RFC 1350 §5, RFC 2347).
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// Error codes (RFC 1350 appendix I).
const (
	codeOther     = 0
	codeNotFound  = 1
	codeIllegal   = 4
	codeUnknownID = 5
)

// headerLen is the length of DATA and ACK without the data, in bytes.
const headerLen = 4

// option is one option of a request or of its answer, its name in lower case.
type option struct{ name, value string }

// request is a read request.
type request struct {
	name    string
	text    bool // netascii, not octet
	options []option
}

// Why a packet is no read request.
var (
	errIgnore = errors.New("not a request") // unanswered: an answer could start a loop
	errWrite  = errors.New("this server is read only")
	errForm   = errors.New("malformed request")
	errMode   = errors.New("the mode must be octet or netascii")
)

// parseRequest reads a request. Errors: errIgnore, errWrite, errForm, errMode.
func parseRequest(p []byte) (request, error) {
	if len(p) < 2 {
		return request{}, errIgnore
	}
	switch binary.BigEndian.Uint16(p) {
	case opRead:
	case opWrite:
		return request{}, errWrite
	default:
		return request{}, errIgnore
	}
	rest := p[2:]
	name, ok1 := field(&rest)
	mode, ok2 := field(&rest)
	if !ok1 || !ok2 {
		return request{}, errForm
	}
	r := request{name: name}
	switch strings.ToLower(mode) {
	case "octet":
	case "netascii":
		r.text = true
	default:
		return request{}, errMode
	}
	for {
		name, ok1 := field(&rest)
		value, ok2 := field(&rest)
		if !ok1 || !ok2 || name == "" { // some firmware fills the packet up
			return r, nil
		}
		r.options = append(r.options, option{strings.ToLower(name), value})
	}
}

// field cuts a string that ends in a zero byte off the front of p.
func field(p *[]byte) (string, bool) {
	i := bytes.IndexByte(*p, 0)
	if i < 0 {
		return "", false
	}
	s := string((*p)[:i])
	*p = (*p)[i+1:]
	return s, true
}

// putHeader writes the header of a DATA packet.
func putHeader(p []byte, block int64) {
	binary.BigEndian.PutUint16(p, opData)
	binary.BigEndian.PutUint16(p[2:], uint16(block)) // rolls over to 0
}

// oackPacket is the packet that says which options count (RFC 2347).
func oackPacket(options []option) []byte {
	p := []byte{0, opOAck}
	for _, o := range options {
		p = append(p, o.name...)
		p = append(p, 0)
		p = append(p, o.value...)
		p = append(p, 0)
	}
	return p
}

// errorPacket is the packet that ends a transfer.
func errorPacket(code uint16, text string) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0, opError}, code)
	return append(append(p, text...), 0)
}

// parseAnswer reads what a client sends in a transfer. ok is false for what says
// nothing; said is an error that ends it.
func parseAnswer(p []byte) (block uint16, ok bool, said error) {
	if len(p) < headerLen {
		return 0, false, nil
	}
	n := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case opAck:
		return n, true, nil
	case opError:
		text, _, _ := bytes.Cut(p[headerLen:], []byte{0})
		return 0, false, fmt.Errorf("%w: it says %d %s", ErrAborted, n, printable(text))
	}
	return 0, false, nil
}

// printable bounds a stranger's words, and keeps them on one line.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), maxSaid)]), "?"))
}
