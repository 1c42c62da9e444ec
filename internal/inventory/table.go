package inventory

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes the document as one indented JSON object.
func (x Document) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(x)
}

// WriteTable writes what fits into the lines of a terminal, and then every finding.
func (x Document) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var err error
	line := func(to io.Writer, format string, a ...any) {
		if err == nil {
			_, err = fmt.Fprintf(to, format, a...)
		}
	}
	line(t, "rack %s  %s\n\n", x.Rack, x.State)
	line(t, "DEVICE\tSTATE\tADDRESS\tMAC\tSERIAL\tBMC\tTHREADS\tMEMORY\tDISKS\tIMAGE\n")
	for _, d := range x.Devices {
		line(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.State, dash(first(d.Addresses)), dash(first(d.MACs)), dash(d.Serial), dash(d.BMC.String()),
			dash(number(int64(d.Threads))), dash(size(d.Memory)), dash(d.disks()), dash(d.Image))
	}
	if err == nil {
		err = t.Flush()
	}
	for _, d := range x.Devices {
		for _, f := range d.Findings {
			line(w, "finding  %s: %s\n", d.Name, f)
		}
	}
	return err
}

// columns of the CSV.
var columns = []string{"device", "role", "platform", "state", "addresses", "macs", "bmc_address", "bmc_mac", "bmc_vendor", "bmc_firmware", "vendor", "model", "serial",
	"uuid", "cpu", "threads", "memory_bytes", "disks", "nics", "image", "digest", "receipts", "recoveries", "findings", "error"}

// WriteCSV writes a row for each device (RFC 4180); lists are separated by a semicolon.
func (x Document) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = false
	if err := c.Write(columns); err != nil {
		return err
	}
	for _, d := range x.Devices {
		b := d.BMC
		if b == nil {
			b = &BMC{}
		}
		var disks, nics []string
		for _, k := range d.Disks {
			disks = append(disks, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", k.Path, k.Size, k.Model, k.Serial)))
		}
		for _, n := range d.NICs {
			nics = append(nics, strings.TrimSpace(fmt.Sprintf("%s %s %s", n.Name, n.MAC, n.Driver)))
		}
		row := []string{d.Name, d.Role, d.Platform, d.State, list(d.Addresses), list(d.MACs), b.Address, b.MAC, b.Vendor, b.Firmware, d.Vendor, d.Model, d.Serial,
			d.UUID, d.CPU, number(int64(d.Threads)), number(d.Memory), list(disks), list(nics), d.Image, d.Digest, list(d.Receipts), list(d.recoveries()), list(d.Findings), d.Error}
		for i := range row {
			row[i] = harmless(row[i])
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// harmless keeps a spreadsheet from taking a stranger's text for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func list(s []string) string { return strings.Join(s, "; ") }

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// number is a number, or nothing for one that is not known.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// size is a number of bytes for people.
func size(n int64) string {
	const unit = 1 << 10
	if n == 0 {
		return ""
	}
	out, in := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if out < unit {
			break
		}
		out, in = out/unit, u
	}
	return strings.TrimSuffix(strconv.FormatFloat(out, 'f', 1, 64), ".0") + " " + in
}

// String is who made the BMC, and its firmware; its address where that is not known.
func (b *BMC) String() string {
	switch {
	case b == nil:
		return ""
	case b.Vendor == "":
		return b.Address
	}
	return b.Vendor + " " + b.Firmware
}

// disks are how many there are, and how large together.
func (d *Device) disks() string {
	var all int64
	for _, k := range d.Disks {
		all += k.Size
	}
	if len(d.Disks) == 0 {
		return ""
	}
	return fmt.Sprintf("%d, %s", len(d.Disks), size(all))
}

// recoveries are the names with how often, sorted.
func (d *Device) recoveries() (out []string) {
	for name, n := range d.Recovered {
		out = append(out, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(out)
	return out
}
