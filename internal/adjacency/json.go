package adjacency

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

type object = map[string]any

// parsed is a JSON object.
func parsed(text string) (object, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, err
	}
	o, ok := v.(object)
	if !ok {
		return nil, errors.New("it is no JSON object")
	}
	return o, nil
}

// objects are an object, or those of an array: lldpctl writes one of something without
// the array, -f json0 does not.
func objects(v any) (out []object) {
	switch v := v.(type) {
	case object:
		return []object{v}
	case []any:
		for _, x := range v {
			if o, ok := x.(object); ok {
				out = append(out, o)
			}
		}
	}
	return out
}

// text is a value, or the first of several.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case object:
		return text(v["value"])
	case []any:
		if len(v) > 0 {
			return text(v[0])
		}
	}
	return ""
}

// lldpctl reads `lldpctl -f json` and `-f json0`.
func lldpctl(s string) (out []Neighbour, err error) {
	root, err := parsed(s)
	if err != nil {
		return nil, err
	}
	if _, ok := root["lldp"]; !ok {
		return nil, errors.New("it has no lldp")
	}
	for _, l := range objects(root["lldp"]) {
		for _, i := range objects(l["interface"]) {
			if n, ok := i["name"].(string); ok { // json0
				out = append(out, heardBy(n, i)...)
				continue
			}
			for _, port := range slices.Sorted(maps.Keys(i)) {
				for _, x := range objects(i[port]) {
					out = append(out, heardBy(port, x)...)
				}
			}
		}
	}
	return out, nil
}

// heardBy is what lldpctl tells of one port.
func heardBy(port string, i object) (out []Neighbour) {
	n := Neighbour{Port: port}
	for _, p := range objects(i["port"]) {
		n.RemotePort, n.Description = text(p["id"]), text(p["descr"])
	}
	for _, c := range objects(i["chassis"]) {
		if _, ok := c["id"]; ok { // json0, or one without a name
			n.Chassis, n.System = text(c["id"]), text(c["name"])
			out = append(out, n)
			continue
		}
		for _, system := range slices.Sorted(maps.Keys(c)) {
			for _, x := range objects(c[system]) {
				n.System, n.Chassis = system, text(x["id"])
				out = append(out, n)
			}
		}
	}
	return out
}

// bridge reads `bridge -j fdb show`.
func bridge(s string) (out []Station, err error) {
	var rows []struct {
		MAC    string   `json:"mac"`
		Port   string   `json:"ifname"`
		Flags  []string `json:"flags"`
		Master string   `json:"master"`
		State  string   `json:"state"`
	}
	if err := json.Unmarshal([]byte(s), &rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		// Those of the switch itself are permanent; static is what somebody set.
		if r.Master != "" && r.State != "permanent" && r.State != "static" && !slices.Contains(r.Flags, "self") {
			out = append(out, Station{r.Port, r.MAC})
		}
	}
	return out, nil
}

// eosLLDP reads `show lldp neighbors detail | json`.
func eosLLDP(s string) (out []Neighbour, err error) {
	var root struct {
		Ports map[string]struct {
			Info []struct {
				Chassis string `json:"chassisId"`
				System  string `json:"systemName"`
				Port    struct {
					ID          string `json:"interfaceId"` // in quotes; later versions have one without
					ID2         string `json:"interfaceId_v2"`
					Description string `json:"interfaceDescription"`
				} `json:"neighborInterfaceInfo"`
			} `json:"lldpNeighborInfo"`
		} `json:"lldpNeighbors"`
	}
	if err := json.Unmarshal([]byte(s), &root); err != nil {
		return nil, err
	}
	if root.Ports == nil {
		return nil, errors.New("it has no lldpNeighbors")
	}
	for _, port := range slices.Sorted(maps.Keys(root.Ports)) {
		for _, i := range root.Ports[port].Info {
			id := i.Port.ID2
			if id == "" {
				id = i.Port.ID
			}
			if n := len(id); n >= 2 && id[0] == '"' && id[n-1] == '"' {
				id = id[1 : n-1]
			}
			out = append(out, Neighbour{port, i.System, i.Chassis, id, i.Port.Description})
		}
	}
	return out, nil
}

// eosMAC reads `show mac address-table | json`.
func eosMAC(s string) (out []Station, err error) {
	var root struct {
		Unicast *struct {
			Rows []struct {
				MAC  string `json:"macAddress"`
				Port string `json:"interface"`
				Type string `json:"entryType"`
			} `json:"tableEntries"`
		} `json:"unicastTable"`
	}
	if err := json.Unmarshal([]byte(s), &root); err != nil {
		return nil, err
	}
	if root.Unicast == nil {
		return nil, errors.New("it has no unicastTable")
	}
	for _, r := range root.Unicast.Rows {
		if r.Type != "static" {
			out = append(out, Station{r.Port, r.MAC})
		}
	}
	return out, nil
}
