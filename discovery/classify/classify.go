package classify

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"github.com/rackreach/rackreach/internal/rack"
)

// maxEvidence bounds Class.Evidence, in characters.
const maxEvidence = 256

// ArchBIOS is the only architecture whose firmware needs PXE's own menu
// options to skip server discovery.
const ArchBIOS = "x86-bios"

// Class is what one packet says of its sender. All strings are bounded and
// escaped; an empty one was not said.
type Class struct {
	Device   Device     // what it is
	Stage    rack.Stage // what it is doing; rack.StageUnknown when nothing is recognised
	Vendor   string
	Model    string // for ONIE the machine, "accton_as7726_32x"
	Serial   string
	Arch     string // "x86_64-uefi", "x86-bios", for switches "x86_64"
	Evidence string // which options said so: `77="iPXE" 93=7`
}

// Rules say what a packet means. They are made once and never change; any number
// of goroutines may use them.
type Rules struct {
	rules   []rule
	sources []source  // by code
	asText  uint64    // bit i: a rule looks at the text of source i
	byArch  condition // what Classify itself takes from option 93
	archs   map[int]string
	ouis    map[oui]string
}

// rule is one row of a rules file.
//
// One chassis passes through several rows over time (PXE ROM, iPXE, installer,
// operating system; ONIE, network operating system): a row names a class and a
// stage, never an identity.
type rule struct {
	name         string
	file         string
	line         int
	source, mark string
	own          bool // of the user's file

	device              Device
	stage               rack.Stage // "" for none
	vendor, model, arch string
	when                []condition // all of them
	reads               []condition // where they fit
	need, without       uint64      // sources that must be there, and that must not
}

// Classify says in which boot stage the sender of a packet is, and what it is.
// The first rule that applies and names a stage decides it; the others fill in
// what is still open, as long as they do not speak of another stage. The MAC's
// vendor stands for one that nobody named. It never fails: what it cannot read it
// passes over.
func (r *Rules) Classify(p Packet) Class {
	out, _ := r.decide(p, false)
	return out
}

// decide is Classify, and tells what each rule did when that is wanted.
func (r *Rules) decide(p Packet, tell bool) (out Class, steps []Step) {
	var v view
	r.look(p, &v)
	out.Stage = rack.StageUnknown
	var said evidence
	for i := range r.rules {
		rule := &r.rules[i]
		if rule.need&^v.present != 0 || rule.without&v.present != 0 {
			continue
		}
		var got filled
		mark := said.count
		if !rule.applies(r, &v, &got, &said) {
			said.count = mark
			continue
		}
		if !joins(out.Stage, rule.stage) {
			said.count = mark
			if tell {
				steps = append(steps, rule.passed(r, &v, out.Stage))
			}
			continue
		}
		before := out
		r.add(&out, rule, &got)
		if tell {
			steps = append(steps, rule.did(r, &v, &before, &out))
		}
	}
	before := out
	r.addArch(&out, &v, &said)
	if tell && out.Arch != before.Arch {
		steps = append(steps, tableStep(architectures, "93="+strconv.Itoa(arch(v.values[r.byArch.from])), Said{"arch", out.Arch, "93"}))
	}
	prefix := r.addOUI(&out, p.MAC)
	if tell && prefix != nil {
		steps = append(steps, tableStep(ouis, "oui="+hex.EncodeToString(prefix), Said{"vendor", out.Vendor, "MAC"}))
	}
	out.Evidence = said.text(r, prefix)
	return out, steps
}

// applies reports whether all conditions of a rule hold.
func (rule *rule) applies(r *Rules, v *view, got *filled, said *evidence) bool {
	for i := range rule.when {
		c := &rule.when[i]
		source := r.sources[c.from]
		value, ok := c.holds(v, source.code, got)
		if !ok {
			return false
		}
		said.add(c, value)
	}
	for i := range rule.reads {
		c := &rule.reads[i]
		c.read(v, r.sources[c.from].code, got)
	}
	return true
}

// add fills in the fields that are still empty.
func (r *Rules) add(out *Class, rule *rule, got *filled) {
	if out.Stage == rack.StageUnknown && rule.stage != "" {
		out.Stage = rule.stage
	}
	if out.Device == "" {
		out.Device = rule.device
	}
	fill(&out.Vendor, got[fieldVendor], rule.vendor)
	fill(&out.Model, got[fieldModel], rule.model)
	fill(&out.Serial, got[fieldSerial], "")
	if n := got[fieldArchNumber]; out.Arch == "" && len(n) > 0 {
		if n, err := strconv.ParseUint(string(n), 10, 16); err == nil {
			out.Arch = r.archName(int(n))
		}
	}
	fill(&out.Arch, got[fieldArch], rule.arch)
}

// fill writes what a packet said, else what the rule says of its own, where
// nothing stands yet.
func fill(to *string, said []byte, fixed string) {
	switch {
	case *to != "":
	case len(bytes.TrimSpace(said)) > 0:
		*to = Printable(bytes.TrimSpace(said), MaxString)
	default:
		*to = fixed
	}
}

// joins reports whether a rule of one stage may add to what was found. iPXE
// sends the strings of the firmware that it replaces.
func joins(found, more rack.Stage) bool {
	return found == rack.StageUnknown || more == "" || found == more || (found == rack.StageIPXE && firmware(more))
}

// firmware reports whether a stage is network boot firmware.
func firmware(s rack.Stage) bool {
	return s == rack.StagePXE || s == rack.StageIPXE || s == rack.StageHTTPBoot
}

// addArch takes the architecture of boot firmware from option 93, where it stands
// as a number for machines.
func (r *Rules) addArch(out *Class, v *view, said *evidence) {
	if !firmware(out.Stage) {
		return
	}
	if value := v.values[r.byArch.from]; value != nil {
		out.Arch = r.archName(arch(value))
		said.add(&r.byArch, value)
	}
}

// archName names an architecture number; one that is not in the table keeps its
// number.
func (r *Rules) archName(n int) string {
	if s, ok := r.archs[n]; ok {
		return s
	}
	return "arch-" + strconv.Itoa(n)
}

// addOUI names the vendor by the MAC when nobody did, and returns the bytes that
// said so. One vendor's numbers stand on its BMCs, NICs and switches: they say
// nothing about the device.
func (r *Rules) addOUI(out *Class, mac []byte) []byte {
	if out.Vendor != "" || len(mac) != 6 {
		return nil
	}
	vendor, ok := r.ouis[ouiOf(mac)]
	if !ok {
		return nil
	}
	out.Vendor = vendor
	return mac[:3]
}

// maxSaid bounds the options that evidence names.
const maxSaid = 16

// evidence collects which options said something, each once.
type evidence struct {
	count int
	said  [maxSaid]struct {
		by    *condition
		value []byte
	}
}

func (e *evidence) add(c *condition, value []byte) {
	if c.test == absent || e.count == maxSaid {
		return
	}
	for i := range e.said[:e.count] {
		if e.said[i].by.from == c.from {
			return
		}
	}
	e.said[e.count].by, e.said[e.count].value = c, value
	e.count++
}

// text is the options and their values, for people.
func (e *evidence) text(r *Rules, prefix []byte) string {
	var buf [2 * maxEvidence]byte
	b := buf[:0]
	for i := range e.said[:e.count] {
		if len(b) > maxEvidence {
			break
		}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		by := e.said[i].by
		b = by.appendSaid(b, r.sources[by.from], e.said[i].value)
	}
	if prefix != nil {
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = hex.AppendEncode(append(b, "oui="...), prefix)
	}
	if len(b) > maxEvidence {
		b = append(b[:maxEvidence-len(cutMark)], cutMark...)
	}
	return string(b)
}

// appendSaid appends an option and its value, for people: 60="iDRAC", 93=7, 175.
func (c *condition) appendSaid(b []byte, s source, value []byte) []byte {
	b = appendSource(b, s)
	switch {
	case s.code == optionArch && s.sub < 0:
		return strconv.AppendInt(append(b, '='), int64(arch(value)), 10)
	case c.test == asks || c.test == listed:
		for i, code := range value[:min(len(value), maxCodes)] {
			b = strconv.AppendUint(append(b, "=,"[min(i, 1)]), uint64(code), 10)
		}
		return b
	case c.test == present:
		return b
	}
	return append(appendPrintable(append(b, '=', '"'), value, MaxString), '"')
}

// appendSource is source.String without a string.
func appendSource(b []byte, s source) []byte {
	b = strconv.AppendUint(b, uint64(s.code), 10)
	if s.code == optionVendorClass || s.code == optionVendorInfo {
		b = strconv.AppendUint(append(b, '/'), uint64(s.enterprise), 10)
	}
	if s.sub >= 0 {
		b = strconv.AppendUint(append(b, '/'), uint64(s.sub), 10)
	}
	return b
}
