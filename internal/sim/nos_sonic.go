package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// sonicSwitch is SONiC, that ONIE installs (protocol facts §1b, §2, §6: sonic-ztp,
// sonic-buildimage).
var sonicSwitch = &conduct{
	machine: "accton_as7726_32x",
	static:  true,
	identity: func(d *device) identity {
		return identity{
			option(optionUserClass, []byte("SONiC-ZTP")), // raw, not RFC 3004
			option(optionClientID, []byte("SONiC##"+d.machine+"##"+d.serial)),
			requests(1, 3, 6, 12, 15, 28, 42, 66, 67, 224, 225, 226, 239),
		}
	},
	firstBoot: sonicZTP,
	run:       sonicCommand,
}

// sonicHeader is what SONiC sends with what it fetches.
func sonicHeader(d *device) http.Header {
	return http.Header{"User-Agent": {"SONiC-ZTP/0.1"}, "Product-Name": {d.machine}, "Serial-Number": {d.serial}}
}

// ztpSection is a section of ztp.json, as far as it is played here.
type ztpSection struct {
	URL    ztpURL `json:"url"`
	Plugin *struct {
		URL ztpURL `json:"url"`
	} `json:"plugin"`
	Clear *bool `json:"clear-config"`
	Halt  bool  `json:"halt-on-failure"`
}

// ztpURL is a string, or an object with one.
type ztpURL struct{ Source string }

// UnmarshalJSON reads both.
func (u *ztpURL) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &u.Source)
	}
	var x struct {
		Source string `json:"source"`
	}
	err := json.Unmarshal(b, &x)
	u.Source = x.Source
	return err
}

// ztpSections are the sections of ztp.json in the order of their names.
func ztpSections(b []byte) (names []string, sections map[string]ztpSection, err error) {
	var file struct {
		ZTP map[string]json.RawMessage `json:"ztp"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, nil, fmt.Errorf("ztp.json: %w", err)
	}
	if len(file.ZTP) == 0 {
		return nil, nil, errors.New("ztp.json has no sections")
	}
	sections = map[string]ztpSection{}
	for name, raw := range file.ZTP {
		if len(raw) == 0 || raw[0] != '{' {
			continue // an option of the whole
		}
		var s ztpSection
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, nil, fmt.Errorf("section %.40q of ztp.json: %w", name, err)
		}
		sections[name] = s
	}
	return slices.Sorted(maps.Keys(sections)), sections, nil
}

// sonicZTP fetches what option 67, or else 239, names: the JSON, or a script.
func sonicZTP(ctx context.Context, h *host, e *end, l *lease) (bool, error) {
	d := h.dev
	switch {
	case l.file == "" && l.script == "":
		return false, nil
	case l.file == "":
		b, err := d.fetchSmall(ctx, e, l.script, sonicHeader(d))
		if err == nil {
			_, err = h.runScript(ctx, e, b, sonicHeader(d))
		}
		return true, err
	}
	b, err := d.fetchSmall(ctx, e, l.file, sonicHeader(d))
	if err != nil {
		return true, err
	}
	names, sections, err := ztpSections(b)
	if err != nil {
		return true, err
	}
	var failed error
	for _, name := range names {
		s := sections[name]
		switch {
		case s.Plugin != nil:
			if b, err = d.fetchSmall(ctx, e, s.Plugin.URL.Source, sonicHeader(d)); err == nil {
				_, err = h.runScript(ctx, e, b, sonicHeader(d))
			}
		case strings.HasSuffix(name, "configdb-json"):
			if b, err = d.fetchSmall(ctx, e, s.URL.Source, sonicHeader(d)); err == nil {
				err = h.loadConfigDB(b, s.Clear == nil || *s.Clear)
			}
		default:
			err = fmt.Errorf("section %.40q: no such plugin", name)
		}
		failed = errors.Join(failed, err)
		if err != nil && s.Halt {
			break
		}
	}
	return true, failed
}

// configDB is as much of config_db.json as is played here.
type configDB struct {
	Device map[string]struct {
		Hostname string `json:"hostname"`
	} `json:"DEVICE_METADATA"`
	Management map[string]json.RawMessage `json:"MGMT_INTERFACE"`
	Ports      map[string]json.RawMessage `json:"PORT"`
	Members    map[string]json.RawMessage `json:"VLAN_MEMBER"`
}

// loadConfigDB loads a patch of config_db, or all of it. All of it without ports would
// take them from the switch.
func (h *host) loadConfigDB(b []byte, clears bool) error {
	var c configDB
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("config_db.json: %w", err)
	}
	if clears && len(c.Ports) == 0 {
		return errors.New("config reload: there is no PORT table")
	}
	var address netip.Prefix
	for key := range c.Management {
		_, a, _ := strings.Cut(key, "|")
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return fmt.Errorf("config load: MGMT_INTERFACE %.60q", key)
		}
		address = p
	}
	h.writeDisk(func(x *disk) {
		if n := c.Device["localhost"].Hostname; n != "" {
			x.first.hostname = n
		}
		if address.IsValid() {
			x.first.address = address
		}
	})
	return nil
}

var loading = regexp.MustCompile(`^config load -y (/\S+)$`)

// sonicCommand is a command of SONiC.
func sonicCommand(h *shell, command string, c io.ReadWriter) (bool, error) {
	command = strings.TrimPrefix(command, "sudo ")
	if m := loading.FindStringSubmatch(command); m != nil {
		b, ok := h.host.readDisk().files[m[1]]
		if !ok {
			return true, fmt.Errorf("%s: no such file", m[1])
		}
		if err := h.host.loadConfigDB(b, false); err != nil {
			return true, err
		}
		ports, err := members(b)
		if err != nil {
			return true, err
		}
		return true, h.inForce(ports)
	}
	switch command {
	case "config save -y":
		return true, nil
	case "show version":
		return true, h.shows(c, "SONiC Software Version: SONiC."+h.host.readDisk().version+"\nSONiC OS Version: 12\n")
	}
	return linuxCommand(h, command, c)
}

// members are the ports that are members of a VLAN.
func members(b []byte) ([]string, error) {
	var c configDB
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	ports := []string{}
	for _, key := range slices.Sorted(maps.Keys(c.Members)) {
		_, port, ok := strings.Cut(key, "|")
		if !ok {
			return nil, fmt.Errorf("config load: VLAN_MEMBER %.60q", key)
		}
		ports = append(ports, port)
	}
	return ports, nil
}
