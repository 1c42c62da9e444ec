package sim

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// linuxSwitch is a system based on Linux that ONIE installs, with ifupdown2: the simulated
// device of platform onie. Its DHCP client is busybox.
var linuxSwitch = &conduct{
	machine:  "accton_as7726_32x",
	identity: func(*device) identity { return osIdentity() },
	run: func(h *shell, command string, c io.ReadWriter) (bool, error) {
		switch {
		case command == "ifreload -a":
			ports, err := bridged(h.host.readDisk().files["/etc/network/interfaces.d/rackreach"], h.host.dev.sim.sockets(h.host.dev.spec.Name))
			if err != nil {
				return true, err
			}
			return true, h.inForce(ports)
		case command == "cat /etc/os-release":
			return true, h.shows(c, "NAME=\"Switch Linux\"\nVERSION_ID=\""+h.host.readDisk().version+"\"\n")
		}
		return linuxCommand(h, command, c)
	},
}

var (
	copying    = regexp.MustCompile(`^cp (/\S+) (/\S+)$`)
	hostnaming = regexp.MustCompile(`^hostnamectl set-hostname ([A-Za-z0-9.-]{1,63})$`)
	scripting  = regexp.MustCompile(`^(?:sh|bash) (/\S+)$`)
)

// linuxCommand is what the shells of all systems based on Linux know.
func linuxCommand(h *shell, command string, c io.ReadWriter) (bool, error) {
	command = strings.TrimPrefix(command, "sudo ")
	if m := hostnaming.FindStringSubmatch(command); m != nil {
		h.host.rename(m[1])
		return true, nil
	}
	if m := copying.FindStringSubmatch(command); m != nil {
		b, ok := h.host.readDisk().files[m[1]]
		if !ok {
			return true, fmt.Errorf("cp: cannot stat '%s': No such file or directory", m[1])
		}
		return true, h.put(m[2], b)
	}
	if m := scripting.FindStringSubmatch(command); m != nil {
		if _, ok := h.host.readDisk().files[m[1]]; !ok {
			return true, fmt.Errorf("%s: No such file or directory", m[1])
		}
		return true, nil
	}
	if command == "hostname" {
		return true, h.shows(c, h.host.named()+"\n")
	}
	return false, nil
}

// bridged are those of a switch's sockets that are ports of the bridge in a file of
// ifupdown2, by name or by regular expression.
func bridged(interfaces []byte, sockets []string) ([]string, error) {
	ports, bridge := []string{}, false
	for l := range strings.Lines(string(interfaces)) {
		words := strings.Fields(l)
		if len(words) == 0 || words[0] != "bridge-ports" {
			continue
		}
		bridge = true
		if len(words) != 3 || words[1] != "regex" {
			ports = append(ports, words[1:]...)
			continue
		}
		is, err := regexp.Compile("^(?:" + words[2] + ")$")
		if err != nil {
			return nil, fmt.Errorf("ifreload: %w", err)
		}
		for _, p := range sockets {
			if is.MatchString(p) {
				ports = append(ports, p)
			}
		}
	}
	if !bridge {
		return nil, errors.New("ifreload: no bridge is defined")
	}
	return ports, nil
}

// sockets are the ports of a switch that the rack file names.
func (s *Sim) sockets(device string) []string {
	out := []string{}
	add := func(p rack.Port) {
		if p.Device == device {
			out = append(out, p.Name)
		}
	}
	add(s.rack.Agent.Cable)
	for i := range s.rack.Devices {
		add(s.rack.Devices[i].Management)
		for _, p := range s.rack.Devices[i].Data {
			add(p)
		}
	}
	for _, l := range s.rack.Links {
		add(l.A)
		add(l.B)
	}
	return out
}
