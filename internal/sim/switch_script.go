package sim

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// managementLinux is a management switch with Linux, whose configuration is one script.
var managementLinux = &conduct{
	identity: func(*device) identity {
		return identity{vendorClass("linux-switch"), requests(1, 3, 6, 12, 15, 28, 42)}
	},
	run: func(h *shell, command string, c io.ReadWriter) (bool, error) {
		m := switchCommand.FindStringSubmatch(command)
		if m == nil {
			return false, nil
		}
		return true, h.onSwitch(m[1], m[2], m[3], c)
	},
}

// switchCommand is a command of a script that holds a configuration, as management switches
// with Linux are given one.
var switchCommand = regexp.MustCompile(`^sh (/\S+) (apply|confirm|show)(?: (\d{1,5}))?$`)

// keptScript is where such a script puts itself once it is confirmed.
const keptScript = "/etc/rackreach/switch"

// cutOffVLAN is a VLAN that nobody who speaks to the switch is in.
const cutOffVLAN = 4095

// parseSwitch reads the lines of a configuration out of its script:
//
//	receipt rackreach-receipt: rack=RACK device=DEVICE run=RUN ticket=TICKET …
//	vlan ID
//	port NAME UNTAGGED TAGGED ROLE PEER
//
// The agent's cable carries no tags: unless its port is untagged in the VLAN of the
// switch itself, nobody reaches it, nor anything through it.
func parseSwitch(text string) (c configuration) {
	_, text, _ = strings.Cut(text, "\n\tcat <<'END'\n")
	text, _, _ = strings.Cut(text, "\nEND\n")
	home, agent := "-", ""
	for line := range strings.Lines(text) {
		switch w := strings.Fields(line); {
		case len(w) < 2:
		case w[0] == "receipt":
			for _, x := range w[1:] {
				key, value, _ := strings.Cut(x, "=")
				switch key {
				case "rack":
					c.Rack = value
				case "device":
					c.Device = value
				case "run":
					c.Run = value
				case "ticket":
					c.Ticket = value
				}
			}
		case w[0] == "vlan":
			home = w[1]
		case w[0] == "port" && len(w) == 6:
			c.Ports = append(c.Ports, configPort{w[1]})
			if w[4] == "agent" {
				agent = w[2]
			}
		}
	}
	if agent != home {
		c.VLAN, c.Ports = cutOffVLAN, nil
	}
	return c
}

// onSwitch does what the script at a path would do.
func (h *shell) onSwitch(path, command, seconds string, out io.Writer) error {
	x := h.host.readDisk()
	content, ok := x.files[path]
	if !ok {
		return fmt.Errorf("sh: 0: cannot open %s: No such file", path)
	}
	switch command {
	case "apply":
		if slices.Equal(x.files[keptScript], content) && slices.Equal(x.config, content) {
			return nil // it is in force already
		}
		return h.take(path, seconds)
	case "confirm":
		if !h.confirmed() && !slices.Equal(x.files[keptScript], content) {
			return fmt.Errorf("nothing waits to be confirmed: what it was given was taken back")
		}
		return h.put(keptScript, content)
	}
	c, err := parseConfig(content)
	if err != nil {
		return err
	}
	state := "everything is in force"
	if !slices.Equal(x.config, content) {
		state = "not in force: it was taken back"
	}
	_, receipt, _ := strings.Cut(string(content), "\nreceipt ")
	receipt, _, _ = strings.Cut(receipt, "\n")
	return h.shows(out, fmt.Sprintf("%s\nname %s\n%s\n", receipt, c.Device, state))
}
