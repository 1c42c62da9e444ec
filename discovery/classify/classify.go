package classify

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of what is read from vendor strings.
const (
	maxEvidence    = 256 // characters of Class.Evidence
	maxUserClasses = 8   // user classes of one packet that are looked at
	maxBlocks      = 8   // enterprises of option 124 or 125 that are looked at
)

// The options that are looked at.
const (
	optionHostName    = 12
	optionClass       = 60
	optionClientID    = 61
	optionUserClass   = 77  // RFC 3004, or raw
	optionArch        = 93  // RFC 4578 section 2.1
	optionVendorClass = 124 // RFC 3925 section 3
	optionVendorInfo  = 125 // RFC 3925 section 4
	optionEtherboot   = 175 // iPXE
)

// Options returns the value of a DHCPv4 option of one packet, nil when it is not
// there. Repeated options are joined (RFC 3396).
type Options func(code uint8) []byte

// Class is what the vendor strings of one packet say. All strings are bounded
// and escaped; an empty one was not said.
type Class struct {
	Stage    rack.Stage // rack.StageUnknown when nothing is recognised
	Vendor   string
	Model    string // for ONIE the machine, "accton_as7726_32x"
	Serial   string
	Arch     string // "x86_64-uefi", "x86-bios", for switches "x86_64"
	Evidence string // which options said so: `77="iPXE" 93=7`
}

// Classify says in which boot stage the sender of a packet is, and what it is.
// The strongest option decides the stage: 77, 175, 125, 124, 60, then 93, in
// that order; the others fill in what it left open, as long as they do not
// speak of another stage. It never fails: what it cannot read it passes over.
func Classify(options Options) Class {
	v := newStrings(options)
	out := Class{Stage: rack.StageUnknown}
	var evidence []string
	last := ""
	for i := range vendorRules {
		rule := &vendorRules[i]
		got, said, ok := rule.apply(v)
		if !ok || !joins(out.Stage, got.Stage) {
			continue
		}
		out.add(got)
		if said != last {
			evidence = append(evidence, said)
			last = said
		}
	}
	if arch := v.arch(); arch != "" && firmware(out.Stage) {
		out.Arch = arch
		evidence = append(evidence, "93="+strconv.Itoa(int(binary.BigEndian.Uint16(v.archs))))
	}
	out.Evidence = cut(strings.Join(evidence, " "))
	return out
}

// add fills in the fields that are still empty.
func (c *Class) add(more Class) {
	if c.Stage == rack.StageUnknown {
		c.Stage = more.Stage
	}
	for _, f := range []struct{ to, from *string }{
		{&c.Vendor, &more.Vendor}, {&c.Model, &more.Model}, {&c.Serial, &more.Serial}, {&c.Arch, &more.Arch},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
}

// joins reports whether a rule of one stage may add to what was found. iPXE
// sends the strings of the firmware that it replaces.
func joins(found, more rack.Stage) bool {
	return found == rack.StageUnknown || found == more || (found == rack.StageIPXE && firmware(more))
}

// firmware reports whether a stage is network boot firmware.
func firmware(s rack.Stage) bool {
	return s == rack.StagePXE || s == rack.StageIPXE || s == rack.StageHTTPBoot
}

func cut(s string) string {
	if len(s) > maxEvidence {
		return s[:maxEvidence-len(cutMark)] + cutMark
	}
	return s
}

// vendorStrings are the options of one packet that rules look at.
type vendorStrings struct {
	class       string              // 60, as it came
	users       []string            // 77: the raw value, and its parts if it is well formed by RFC 3004
	clientID    string              // 61, as it came
	host        string              // 12
	archs       []byte              // 93
	ipxe        bool                // 175 is there and well formed
	vendorClass []enterprise        // 124
	vendorInfo  []enterpriseOptions // 125
}

// enterprise is one block of option 124.
type enterprise struct {
	number uint32
	data   []byte
}

// enterpriseOptions is one block of option 125, its sub-options by code.
type enterpriseOptions struct {
	number uint32
	subs   map[byte]string
}

func newStrings(get Options) *vendorStrings {
	v := &vendorStrings{
		class:       trimNUL(get(optionClass)),
		users:       userClasses(get(optionUserClass)),
		clientID:    string(get(optionClientID)),
		host:        trimNUL(get(optionHostName)),
		archs:       get(optionArch),
		vendorClass: enterprises(get(optionVendorClass)),
	}
	if b := get(optionEtherboot); len(b) > 0 {
		v.ipxe = SubOptions(b, func(byte, []byte) {}) == nil
	}
	for _, e := range enterprises(get(optionVendorInfo)) {
		subs := map[byte]string{}
		if SubOptions(e.data, func(code byte, x []byte) { subs[code] = string(x) }) == nil {
			v.vendorInfo = append(v.vendorInfo, enterpriseOptions{e.number, subs})
		}
	}
	return v
}

// arch names the first processor architecture of option 93 (RFC 4578 section
// 2.1: one or more big-endian numbers).
func (v *vendorStrings) arch() string {
	if len(v.archs) < 2 {
		return ""
	}
	return archName(int(binary.BigEndian.Uint16(v.archs)))
}

// userClasses reads option 77 both ways: iPXE and SONiC send the bare string,
// ONIE the length-prefixed list of RFC 3004.
func userClasses(v []byte) []string {
	if len(v) == 0 {
		return nil
	}
	out := []string{trimNUL(v)}
	for rest := v; len(rest) > 0; {
		n := int(rest[0])
		if n == 0 || n >= len(rest) || len(out) > maxUserClasses {
			return out[:1]
		}
		out = append(out, string(rest[1:1+n]))
		rest = rest[1+n:]
	}
	return out[1:]
}

// enterprises reads the blocks of option 124 or 125: a number of 4 bytes, a
// length of one, data (RFC 3925 sections 3 and 4). What follows a block that
// runs past the end is passed over.
func enterprises(v []byte) []enterprise {
	var out []enterprise
	for len(v) >= 5 && len(out) < maxBlocks {
		n := 5 + int(v[4])
		if n > len(v) {
			break
		}
		out = append(out, enterprise{binary.BigEndian.Uint32(v), v[5:n:n]})
		v = v[n:]
	}
	return out
}

func trimNUL(v []byte) string { return strings.TrimRight(string(v), "\x00") }

// show makes a string of a packet fit to store.
func show(s string) string { return Printable([]byte(s), MaxString) }

// ErrSubOption: a sub-option runs past the end of its option.
var ErrSubOption = errors.New("a sub-option runs past the end of its option")

// SubOptions calls f for every code-length-value of an encapsulated option. It
// returns ErrSubOption when one runs past the end.
func SubOptions(value []byte, f func(code byte, v []byte)) error {
	for len(value) > 0 {
		if len(value) < 2 || len(value) < 2+int(value[1]) {
			return ErrSubOption
		}
		n := 2 + int(value[1])
		f(value[0], value[2:n:n])
		value = value[n:]
	}
	return nil
}
