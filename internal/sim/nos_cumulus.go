package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cumulusSwitch is Cumulus Linux, that ONIE installs (protocol facts §1b, §2).
var cumulusSwitch = &conduct{
	machine:  "mlnx_sn2700",
	static:   false, // eth0 asks by DHCP until NVUE says otherwise, and the fabric knows no difference
	identity: func(*device) identity { return nosIdentity() },
	firstBoot: func(ctx context.Context, h *host, e *end, l *lease) (bool, error) {
		if l.script == "" {
			return false, nil
		}
		header := http.Header{"User-Agent": {"CumulusLinux-AutoProvision/0.4"}}
		b, err := h.dev.fetchSmall(ctx, e, l.script, header)
		if err != nil {
			return true, err
		}
		if !bytes.Contains(b, []byte("CUMULUS-AUTOPROVISIONING")) {
			return true, errors.New("the script does not say CUMULUS-AUTOPROVISIONING: it is not run")
		}
		_, err = h.runScript(ctx, e, b, header)
		return true, err
	},
	run: func(h *shell, command string, c io.ReadWriter) (bool, error) {
		if m := nvueApplying.FindStringSubmatch(command); m != nil {
			name, ports, err := nvueSets(h.host.readDisk().files["/tmp/rackreach-nvue.sh"], h.host.dev.sim.sockets(h.host.dev.spec.Name))
			if err != nil {
				return true, err
			}
			body, err := h.configOf(ports)
			if err != nil {
				return true, err
			}
			h.host.rename(name)
			if err := h.put("nvue", body); err != nil {
				return true, err
			}
			return true, h.take("nvue", m[1])
		}
		switch command {
		case "sudo cmp -s /tmp/rackreach-receipt /etc/rackreach-receipt || sudo nv config apply --confirm-yes":
			x := h.host.readDisk()
			if kept, ok := x.files["/etc/rackreach-receipt"]; !h.confirmed() && !(ok && bytes.Equal(kept, x.files["/tmp/rackreach-receipt"])) {
				return true, errors.New("Error: nothing to confirm")
			}
			return true, nil
		case "sudo bash /tmp/rackreach-nvue.sh":
			_, ok := h.host.readDisk().files["/tmp/rackreach-nvue.sh"]
			if !ok {
				return true, errors.New("bash: no such file")
			}
			return true, nil
		case "sudo nv config save", "sudo onie-select -i -f":
			return true, nil
		case "sudo systemd-run --on-active=3 systemctl reboot":
			h.host.chooseInstaller()
			time.AfterFunc(h.host.dev.sim.tempo.scaled(rebootWait, floorNet), h.stop)
			return true, nil
		case "cat /etc/lsb-release":
			return true, h.shows(c, "DISTRIB_ID=\"Cumulus Linux\"\nDISTRIB_RELEASE="+h.host.readDisk().version+"\n")
		}
		return linuxCommand(h, command, c)
	},
}

// nvueApplying is how NVUE applies what it was told, until it is confirmed in time.
var nvueApplying = regexp.MustCompile(`^sudo nv config apply -y --confirm (\d+)s$`)

// eachPort is a port in the loop over all ports, which are called swpN.
const eachPort = `"${port##*/}"`

// nvueSets are the host's name and the ports of the bridge in what NVUE was told.
func nvueSets(text []byte, sockets []string) (name string, ports []string, err error) {
	ports = []string{}
	for l := range strings.Lines(string(text)) {
		words := strings.Fields(l)
		if len(words) < 4 || words[0] != "nv" || words[1] != "set" {
			continue
		}
		switch {
		case words[2] == "system" && words[3] == "hostname" && len(words) == 5:
			name = words[4]
		case words[2] != "interface" || len(words) < 7 || !slices.Equal(words[4:7], []string{"bridge", "domain", "br_default"}):
		case words[3] != eachPort:
			ports = append(ports, words[3])
		default:
			for _, p := range sockets {
				if strings.HasPrefix(p, "swp") {
					ports = append(ports, p)
				}
			}
		}
	}
	if name == "" {
		return "", nil, fmt.Errorf("nv config apply: nothing to apply")
	}
	slices.Sort(ports)
	return name, slices.Compact(ports), nil
}
