package classify

import (
	"slices"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Enterprise numbers (IANA).
const (
	enterpriseCisco = 9
	EnterpriseOCP   = 42623 // Open Compute Project: ONIE
)

// Sub-options of option 125 under EnterpriseOCP (ONIE, lib/onie/functions).
const (
	ONIEInstallerURL = 1 // server to client
	onieMachine      = 3
	onieArch         = 4
)

// source is the option that a rule looks at.
type source int

const (
	userClass source = iota // 77, exact
	etherboot               // 175, there and well formed
	idPrefix                // 61, prefix
	vendorOCP               // 125, a block of the OCP's number with a machine
	vendorSN                // 124, a block of Cisco's number
	class                   // 60, exact
	classPfx                // 60, prefix
	archOnly                // 93 without option 60
)

// vendorRule is one row: if the source says the text, the sender is in that
// stage. details, where given, reads more from what follows the text.
type vendorRule struct {
	from    source
	text    string
	stage   rack.Stage
	vendor  string
	details func(rest string, v *vendorStrings) Class
}

// vendorRules is the table, strongest first. It is never written to.
//
// One chassis passes through several rows over time (PXE ROM, iPXE, installer,
// operating system; ONIE, network operating system): a row names a stage, never
// an identity.
var vendorRules = [...]vendorRule{
	{userClass, "iPXE", rack.StageIPXE, "iPXE", nil},
	{userClass, "xNBA", rack.StageIPXE, "xNBA", nil},
	{userClass, "Tinkerbell", rack.StageIPXE, "Tinkerbell", nil},
	{userClass, "onie_dhcp_user_class", rack.StageONIE, "", onieSerial},
	{userClass, "SONiC-ZTP", rack.StageNOS, "SONiC", nil},
	{userClass, "Cisco-POAP", rack.StageNOS, "Cisco", idSerial},
	{etherboot, "", rack.StageIPXE, "iPXE", nil},
	{idPrefix, "SONiC##", rack.StageNOS, "SONiC", sonicID},

	{vendorOCP, "", rack.StageONIE, "", onieBlock},
	{vendorSN, "", rack.StageNOS, "Cisco", ciscoBlock},

	{classPfx, "onie_vendor:", rack.StageONIE, "", onieClass},
	{classPfx, "HTTPClient", rack.StageHTTPBoot, "", bootArch},
	{classPfx, "PXEClient", rack.StagePXE, "", bootArch},
	{classPfx, "U-Boot", rack.StagePXE, "U-Boot", nil},
	{class, "cumulus-linux", rack.StageNOS, "Cumulus", nil},
	{classPfx, "cumulus-linux ", rack.StageNOS, "Cumulus", restIsArch},
	{classPfx, "Arista;", rack.StageNOS, "Arista", fields(";", 0, 2)},
	{classPfx, "Juniper:", rack.StageNOS, "Juniper", fields(":", 0, 1)},
	{classPfx, "Juniper-", rack.StageNOS, "Juniper", juniperDashes},
	{classPfx, "ZPESystems:", rack.StageNOS, "ZPESystems", fields(":", 0, 1)},
	{class, "FPR4100", rack.StageNOS, "Cisco", firepower},
	{class, "FPR9300", rack.StageNOS, "Cisco", firepower},
	{class, "ciscopnp", rack.StageNOS, "Cisco", nil},
	{class, "iDRAC", rack.StageBMC, "Dell", nil},
	{class, "CPQRIB3", rack.StageBMC, "HPE", nil},
	{class, "NVIDIA/BF/BMC", rack.StageBMC, "NVIDIA", nil},
	{classPfx, "OpenBMC:", rack.StageBMC, "OpenBMC", restIsSerial},
	{classPfx, "udhcp ", rack.StageOS, "busybox", nil},
	{classPfx, "dhcpcd-", rack.StageOS, "dhcpcd", nil},
	{class, "MSFT 5.0", rack.StageOS, "Microsoft", nil},

	{archOnly, "", rack.StagePXE, "", nil},
}

// apply matches one row. said is the option and its value, for people.
func (r *vendorRule) apply(v *vendorStrings) (c Class, said string, ok bool) {
	rest, ok := r.match(v)
	if !ok {
		return Class{}, "", false
	}
	if r.details != nil {
		c = r.details(rest, v)
	}
	c.Stage = r.stage
	if r.from == archOnly {
		c.Stage = archStage(v)
	}
	if c.Vendor == "" {
		c.Vendor = r.vendor
	}
	return c, r.said(v), true
}

// match reports whether the row's option says its text, and what follows it.
func (r *vendorRule) match(v *vendorStrings) (rest string, ok bool) {
	switch r.from {
	case userClass:
		return "", slices.Contains(v.users, r.text)
	case etherboot:
		return "", v.ipxe
	case idPrefix:
		return strings.CutPrefix(v.clientID, r.text)
	case vendorOCP:
		return "", slices.ContainsFunc(v.vendorInfo, func(e enterpriseOptions) bool {
			return e.number == EnterpriseOCP && e.subs[onieMachine] != ""
		})
	case vendorSN:
		return "", slices.ContainsFunc(v.vendorClass, func(e enterprise) bool {
			return e.number == enterpriseCisco && strings.HasPrefix(string(e.data), "SN:")
		})
	case class:
		return "", v.class == r.text
	case classPfx:
		return strings.CutPrefix(v.class, r.text)
	default:
		return "", v.class == "" && v.arch() != ""
	}
}

// said is the option that matched and its value.
func (r *vendorRule) said(v *vendorStrings) string {
	switch r.from {
	case userClass:
		return "77=" + quoted(r.text)
	case etherboot:
		return "175"
	case idPrefix:
		return "61=" + quoted(v.clientID)
	case vendorOCP:
		return "125/" + strconv.Itoa(EnterpriseOCP)
	case vendorSN:
		return "124/" + strconv.Itoa(enterpriseCisco)
	case class, classPfx:
		return "60=" + quoted(v.class)
	default:
		return "" // Classify names option 93 itself
	}
}

func quoted(s string) string { return `"` + show(s) + `"` }

// onieClass reads "<arch>-<machine>-r<rev>".
func onieClass(rest string, _ *vendorStrings) Class {
	arch, machine, ok := strings.Cut(rest, "-")
	if !ok {
		return Class{}
	}
	if i := strings.LastIndex(machine, "-r"); i >= 0 {
		machine = machine[:i]
	}
	return Class{Vendor: onieVendor(machine), Model: show(machine), Arch: show(arch)}
}

// onieVendor is the first part of a machine's name, "<vendor>_<model>".
func onieVendor(machine string) string {
	vendor, _, ok := strings.Cut(machine, "_")
	if !ok {
		return ""
	}
	return show(vendor)
}

func onieBlock(_ string, v *vendorStrings) Class {
	for _, e := range v.vendorInfo {
		if e.number == EnterpriseOCP {
			return Class{Vendor: onieVendor(e.subs[onieMachine]), Model: show(e.subs[onieMachine]), Arch: show(e.subs[onieArch])}
		}
	}
	return Class{}
}

// onieSerial reads option 61: type 0, then the serial number.
func onieSerial(_ string, v *vendorStrings) Class {
	serial, ok := strings.CutPrefix(v.clientID, "\x00")
	if !ok {
		return Class{}
	}
	return Class{Serial: show(serial)}
}

// idSerial reads option 61 where it is a serial number, with or without type 0.
func idSerial(_ string, v *vendorStrings) Class {
	return Class{Serial: show(strings.TrimPrefix(v.clientID, "\x00"))}
}

// sonicID reads "<product>##<serial>".
func sonicID(rest string, _ *vendorStrings) Class {
	product, serial, ok := strings.Cut(rest, "##")
	if !ok {
		return Class{}
	}
	return Class{Model: show(product), Serial: show(serial)}
}

// ciscoBlock reads "SN:<serial>;PID:<model>".
func ciscoBlock(_ string, v *vendorStrings) Class {
	var c Class
	for _, e := range v.vendorClass {
		if e.number != enterpriseCisco {
			continue
		}
		for field := range strings.SplitSeq(string(e.data), ";") {
			key, value, ok := strings.Cut(field, ":")
			switch {
			case !ok:
			case key == "SN":
				c.Serial = show(value)
			case key == "PID":
				c.Model = show(value)
			}
		}
	}
	return c
}

// bootArch reads ":Arch:00007:UNDI:003010", decimal.
func bootArch(rest string, _ *vendorStrings) Class {
	number, ok := strings.CutPrefix(rest, ":Arch:")
	if !ok {
		return Class{}
	}
	number, _, _ = strings.Cut(number, ":")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return Class{}
	}
	return Class{Arch: archName(int(n))}
}

func restIsArch(rest string, _ *vendorStrings) Class   { return Class{Arch: show(rest)} }
func restIsSerial(rest string, _ *vendorStrings) Class { return Class{Serial: show(rest)} }

// fields reads model and serial at their places between separators.
func fields(separator string, model, serial int) func(string, *vendorStrings) Class {
	return func(rest string, _ *vendorStrings) Class {
		p := strings.SplitN(rest, separator, serial+2)
		if len(p) <= serial {
			return Class{}
		}
		return Class{Model: show(p[model]), Serial: show(p[serial])}
	}
}

// juniperDashes reads "<model>-<serial>", where the model may hold dashes too,
// or the model alone, with the serial number in option 12.
func juniperDashes(rest string, v *vendorStrings) Class {
	i := strings.LastIndexByte(rest, '-')
	if i < 0 {
		return Class{Model: show(rest), Serial: show(v.host)}
	}
	return Class{Model: show(rest[:i]), Serial: show(rest[i+1:])}
}

func firepower(_ string, v *vendorStrings) Class {
	c := idSerial("", v)
	c.Model = show(v.class)
	return c
}
