package rackfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// header is the first row of an inventory.
var header = []string{"slot", "mac", "serial"}

const maxSerial = 64 // characters

// item is what an inventory says about one slot.
type item struct {
	slot       string
	line       int // of its first row
	macs       []string
	macLines   []int
	serial     string
	serialLine int
}

// addInventory reads the inventory that the rack file names and gives each
// device what it says.
func (f *file) addInventory(r *reader, open func(string) ([]byte, error)) {
	line := f.top.find("inventory")
	if !filepath.IsLocal(f.inventory) {
		r.say(line, "the name of a file in the rack file's folder or below it", "inventory %s is not beside the rack file", shown(f.inventory))
		return
	}
	f.inventoryPath = beside(r.file, f.inventory)
	data, err := open(f.inventoryPath)
	if err != nil {
		r.say(line, "the name of a file in the rack file's folder, or leave inventory out", "inventory %s %s", shown(f.inventory), unreadable(err))
		return
	}
	items, problems := parseInventory(f.inventoryPath, data)
	r.problems = append(r.problems, problems...)
	f.macLines = make([][]int, len(f.rack.Devices))
	f.serialLines = make([]int, len(f.rack.Devices))
	slots := map[string]int{}
	for i := range f.rack.Devices {
		slots[f.rack.Devices[i].Name] = i
	}
	for _, it := range items {
		i, ok := slots[it.slot]
		if !ok {
			if !f.lost {
				r.problems = append(r.problems, Problem{File: f.inventoryPath, Line: it.line, What: fmt.Sprintf("the rack file has no device named %s", shown(it.slot)), Fix: "the name of a device of the rack file, or leave the row out"})
			}
			continue
		}
		f.rack.Devices[i].MACs, f.rack.Devices[i].Serial = it.macs, it.serial
		f.macLines[i], f.serialLines[i] = it.macLines, it.serialLine
	}
}

// inventoryLine is the line of the inventory that a problem is about, or 0.
func (f *file) inventoryLine(at rack.Ref) int {
	if at.List != "devices" || at.Index >= len(f.macLines) {
		return 0
	}
	if at.Field == "serial" {
		return f.serialLines[at.Index]
	}
	var n int
	if _, err := fmt.Sscanf(at.Field, "macs[%d]", &n); err == nil && n < len(f.macLines[at.Index]) {
		return f.macLines[at.Index][n]
	}
	return 0
}

// parseInventory reads a CSV of slot, MACs and serial number. A slot with
// several MACs has them in one row, separated by spaces, or has several rows.
// The MACs of the host's own interfaces come first, in their order, then that of
// its BMC.
func parseInventory(name string, data []byte) ([]item, Problems) {
	p := &inventoryReader{file: name, at: map[string]int{}}
	if len(data) > MaxFileSize {
		p.say(0, "one row for each device", "the file is larger than %d bytes", MaxFileSize)
		return nil, p.problems
	}
	// Spreadsheets begin their files with a byte order mark.
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	c.FieldsPerRecord = -1
	for first := true; ; first = false {
		row, err := c.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			if first {
				p.say(1, strings.Join(header, ","), "the inventory is empty")
			}
			return p.items, p.problems
		case errors.As(err, &bad):
			p.say(bad.Line, `a row such as server-01,02:00:00:00:00:01,SN1; quotes in pairs`, "not CSV: %s", bad.Err)
			return p.items, p.problems
		case err != nil:
			p.say(0, "a readable file", "%s", err)
			return p.items, p.problems
		}
		line, _ := c.FieldPos(0)
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		switch {
		case first && !slices.Equal(row, header):
			p.say(line, strings.Join(header, ","), "the first row is not the header")
			return nil, p.problems
		case first:
		case len(row) != len(header):
			p.say(line, "slot,mac,serial; several MACs separated by spaces", "the row has %d fields, not %d", len(row), len(header))
		default:
			p.row(line, row[0], strings.Fields(row[1]), row[2])
		}
	}
}

// inventoryReader collects the rows and problems of one inventory.
type inventoryReader struct {
	file     string
	items    []item
	at       map[string]int // index in items, by slot
	problems Problems
}

func (p *inventoryReader) say(line int, fix, format string, args ...any) {
	p.problems = append(p.problems, Problem{File: p.file, Line: line, What: fmt.Sprintf(format, args...), Fix: fix})
}

func (p *inventoryReader) row(line int, slot string, macs []string, serial string) {
	switch {
	case slot == "":
		p.say(line, "the name of a device first", "the row names no slot")
		return
	case len(macs) == 0 && serial == "":
		p.say(line, "a MAC or a serial number, or leave the row out", "the row of %s says nothing", shown(slot))
		return
	}
	i, ok := p.at[slot]
	if !ok {
		i = len(p.items)
		p.at[slot] = i
		p.items = append(p.items, item{slot: slot, line: line})
	}
	it := &p.items[i]
	for _, s := range macs {
		m, ok := hardwareAddress(s)
		switch {
		case !ok:
			p.say(line, "a MAC such as 02:00:5e:10:00:01", "%s is not the MAC of a device", shown(s))
		case len(it.macs) == MaxMACs:
			p.say(line, fmt.Sprintf("at most %d", MaxMACs), "slot %s has too many MACs", shown(slot))
			return
		default:
			it.macs, it.macLines = append(it.macs, m), append(it.macLines, line)
		}
	}
	switch {
	case serial == "" || serial == it.serial:
	case len(serial) > maxSerial || strings.ContainsFunc(serial, func(r rune) bool { return r < ' ' || r > '~' }):
		p.say(line, fmt.Sprintf("1 to %d printable ASCII characters", maxSerial), "%s is not a serial number", shown(serial))
	case it.serial != "":
		p.say(line, "the same number in each row of a slot, or only in one", "slot %s has two serial numbers: %s and %s", shown(slot), shown(it.serial), shown(serial))
	default:
		it.serial, it.serialLine = serial, line
	}
}

// hardwareAddress reads a MAC in any usual notation and writes it in lower case
// with colons. Group addresses and zero are nobody's (IEEE 802, clause 8.2).
func hardwareAddress(s string) (string, bool) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 || m[0]&1 == 1 || slices.Max(m) == 0 {
		return "", false
	}
	return m.String(), true
}
