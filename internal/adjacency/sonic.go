package adjacency

import (
	"errors"
	"strings"
)

// sonicLLDP reads `show lldp table`: columns that may be empty, below a line of dashes
// that says how wide each is.
func sonicLLDP(s string) (out []Neighbour, err error) {
	lines := strings.Split(s, "\n")
	for len(lines) > 0 && !strings.HasPrefix(strings.TrimSpace(lines[0]), "LocalPort") {
		lines = lines[1:]
	}
	if len(lines) < 2 {
		return nil, errors.New("it has no column LocalPort")
	}
	from := starts(lines[1])
	if len(from) < 3 {
		return nil, errors.New("there is no line of dashes below LocalPort")
	}
	for _, l := range lines[2:] {
		if strings.HasPrefix(strings.TrimSpace(l), "--") || strings.TrimSpace(l) == "" {
			break
		}
		n := Neighbour{Port: column(l, from, 0), System: column(l, from, 1), RemotePort: column(l, from, 2), Description: column(l, from, 4)}
		out = append(out, n)
	}
	return out, nil
}

// starts are where the columns begin, by a line of dashes.
func starts(dashes string) (from []int) {
	if strings.Trim(dashes, "- ") != "" {
		return nil
	}
	for i := range dashes {
		if dashes[i] == '-' && (i == 0 || dashes[i-1] == ' ') {
			from = append(from, i)
		}
	}
	return from
}

func column(line string, from []int, n int) string {
	if n >= len(from) || from[n] >= len(line) {
		return ""
	}
	end := len(line)
	if n+1 < len(from) {
		end = min(from[n+1], end)
	}
	return strings.TrimSpace(line[from[n]:end])
}

// sonicMAC reads `show mac`: number, VLAN, MAC, port and kind of each row.
func sonicMAC(s string) (out []Station, err error) {
	known := false
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		known = known || len(f) == 5 && f[2] == "MacAddress"
		if len(f) == 5 && known && !strings.EqualFold(f[4], "static") {
			out = append(out, Station{f[3], f[2]}) // a row of dashes has no MAC
		}
	}
	if !known {
		return nil, errors.New("it has no column MacAddress")
	}
	return out, nil
}
