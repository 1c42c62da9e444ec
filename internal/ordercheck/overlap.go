package ordercheck

import "io"

// window is a stretch of the record, by line numbers, both ends included.
type window struct{ from, to int64 }

func (w window) overlaps(o window) bool { return w.from < o.to && o.from < w.to }

func (w window) holds(seq int64) bool { return w.from < seq && seq < w.to }

// CheckOverlap holds rule 3 against the record of a run that completed: every
// installation of a ToR or inter-rack switch overlaps another one of them in
// time, and so does every server's with another server's; and some server was
// first heard, or its BMC first spoken to, before a ToR switch was imaged, from
// the moment on in which the management switch opened the way to both.
// A rack that has only one of a kind has nothing to overlap. The error says that
// the inputs cannot be read or prove nothing.
func CheckOverlap(rackYAML, record io.Reader) ([]Violation, error) {
	c, lines, err := read(rackYAML, record)
	if err != nil {
		return nil, err
	}
	installs := installations(lines)
	var switches, servers []string
	for _, name := range c.names {
		switch c.role[name] {
		case managementSwitch:
		case server:
			servers = append(servers, name)
		default:
			switches = append(switches, name)
		}
	}
	out := alone(switches, installs, "no other ToR or inter-rack switch", true)
	out = append(out, alone(servers, installs, "no other server", false)...)
	out = append(out, discoveryOverlap(c, lines)...)
	for i := range out {
		if n := out[i].Seq; n > 0 {
			out[i].Time = lines[n-1].Time
		}
	}
	return out, nil
}

// installations are the attempts of each device, from the first byte of
// its image to the end of its installation, good or bad. An attempt that never
// ended is none.
func installations(lines []line) map[string][]window {
	out, began := map[string][]window{}, map[string]int64{}
	for i := range lines {
		switch l := &lines[i]; l.Kind {
		case imageByte:
			began[l.Device] = l.Seq
		case installCompleted, installFailed:
			if from := began[l.Device]; from > 0 {
				out[l.Device] = append(out[l.Device], window{from, l.Seq})
				began[l.Device] = 0
			}
		}
	}
	return out
}

// alone names the devices of a group whose installations all ran alone. Where
// all is false, devices that were never installed are passed over, as long as
// two were: a server may fail on its own.
func alone(group []string, installs map[string][]window, whom string, all bool) []Violation {
	if len(group) < 2 {
		return nil
	}
	var out []Violation
	installed := 0
	for _, name := range group {
		if len(installs[name]) == 0 {
			if all {
				out = append(out, Violation{Rule: 3, Device: name, What: "the record holds no whole installation of it"})
			}
			continue
		}
		installed++
		if !overlapsAny(name, group, installs) {
			w := installs[name][0]
			out = append(out, Violation{Rule: 3, Seq: w.from, Device: name, What: "its installation overlapped with that of " + whom})
		}
	}
	if !all && installed < 2 {
		out = append(out, Violation{Rule: 3, Device: group[0], What: "fewer than two of its kind were installed, so nothing ran in parallel"})
	}
	return out
}

func overlapsAny(name string, group []string, installs map[string][]window) bool {
	for _, other := range group {
		if other == name {
			continue
		}
		for _, a := range installs[name] {
			for _, b := range installs[other] {
				if a.overlaps(b) {
					return true
				}
			}
		}
	}
	return false
}

// discoveryOverlap holds that some server was first heard, or its BMC first
// spoken to, between the management switch's first forwarding and the reading
// of a ToR switch's receipt.
func discoveryOverlap(c *cabling, lines []line) []Violation {
	opened, first, command, receipt := map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	for i := range lines {
		l := &lines[i]
		for kind, seen := range map[string]map[string]int64{forwardingStarted: opened, packet: first, bmcCommand: command, receiptRead: receipt} {
			if l.Kind == kind && seen[l.Device] == 0 {
				seen[l.Device] = l.Seq
			}
		}
	}
	tors, servers, earliest, open := 0, 0, int64(0), int64(0)
	for _, t := range c.names {
		switch c.role[t] {
		case torSwitch:
			tors++
		case managementSwitch:
			open = opened[t]
		}
	}
	for _, s := range c.names {
		if c.role[s] != server {
			continue
		}
		servers++
		for _, at := range []int64{first[s], command[s]} {
			if at > 0 && (earliest == 0 || at < earliest) {
				earliest = at
			}
			for _, t := range c.names {
				if c.role[t] == torSwitch && open > 0 && (window{open, receipt[t]}).holds(at) {
					return nil
				}
			}
		}
	}
	if tors == 0 || servers == 0 {
		return nil
	}
	return []Violation{{Rule: 3, Seq: earliest, Device: "servers", What: "none was first heard, nor its BMC spoken to, while a ToR switch was being imaged"}}
}
