package sim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// The systems that a server may be installed with, besides the simulation's own. Each has
// the commands over SSH that a person would use on it, as far as these lead to a file or a
// setting: a process that runs is not simulated.
const (
	systemDebian = "debian"
	systemRocky  = "rocky"
	systemUbuntu = "ubuntu"
	systemLinux  = "linux" // from a disk image
	systemESXi   = "esxi"
)

// quiet is a DHCP client that says nothing of itself, as dhclient, NetworkManager and
// systemd-networkd do (protocol facts §1c); what that of ESXi says nobody has shown.
func quiet() identity { return identity{requests(1, 3, 6, 12, 15, 28, 42)} }

// personas are the identities of the systems' DHCP clients.
var personas = map[string]identity{systemDebian: quiet(), systemRocky: quiet(), systemUbuntu: quiet(), systemLinux: osIdentity(), systemESXi: quiet()}

// persona is what an installer makes of a server.
type persona struct{ system, hostname string }

// personaOf is what an installer makes of a device, by the answers that it reads. A
// platform that speaks to simulated devices only gets the simulation's own system.
func (d *device) personaOf(own *native) persona {
	switch {
	case d.mimic || d.spec.Role.IsSwitch():
		return persona{}
	case own == nil:
		return persona{system: systemLinux}
	}
	by := map[string]string{"preseed.cfg": systemDebian, "ks.cfg": systemRocky, "user-data": systemUbuntu}
	return persona{by[own.answer[strings.LastIndexByte(own.answer, '/')+1:]], own.hostname}
}

// files are those that the system has when it starts first (os-release(5), machine-id(5)).
func (p persona) files() map[string][]byte {
	if p.system == "" || p.system == systemESXi {
		return nil
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	names := map[string]string{systemDebian: "Debian GNU/Linux", systemRocky: "Rocky Linux", systemUbuntu: "Ubuntu", systemLinux: "Linux"}
	return map[string][]byte{
		"/etc/machine-id": []byte(hex.EncodeToString(id) + "\n"),
		"/etc/os-release": fmt.Appendf(nil, "NAME=%q\nID=%s\n", names[p.system], p.system),
	}
}

// hostnames are how answer files give a system its name: Debian, Anaconda, cloud-init.
var hostnames = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^d-i netcfg/get_hostname string (\S+)$`),
	regexp.MustCompile(`(?m)^network .*--hostname=(\S+)`),
	regexp.MustCompile(`(?m)^ *hostname: "?([A-Za-z0-9.-]+)"?$`),
}

// hostnameOf reads an answer file; empty: it gives no name.
func hostnameOf(answers []byte) string {
	for _, r := range hostnames {
		if m := r.FindSubmatch(answers); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// christen gives a system that starts its name: that of its installer, else that of DHCP.
func (h *host) christen(byDHCP string) {
	h.writeDisk(func(x *disk) {
		if x.hostname == "" {
			x.hostname = byDHCP
		}
		if x.system == "" {
			return
		}
		x.files = maps.Clone(x.files)
		if x.files == nil {
			x.files = map[string][]byte{}
		}
		x.files["/etc/hostname"] = []byte(x.hostname + "\n")
	})
}

// notEmpty is a test of a shell.
var notEmpty = regexp.MustCompile(`^test -n "\$\(cat (/\S+)\)"$`)

// obey runs a command of a server's system.
func (h *shell) obey(system, command string, c io.ReadWriter) error {
	d := h.host.dev
	if !reading(command) {
		switch {
		case d.take(rack.Configuration, FaultHang):
			<-h.ctx.Done()
			return errSilent
		case d.take(rack.Configuration, FaultError):
			return errors.New("no space left on device (injected)")
		}
	}
	if m := showing.FindStringSubmatch(command); m != nil {
		content, ok := h.host.readDisk().files[m[1]]
		if !ok {
			return fmt.Errorf("cat: %s: No such file or directory", m[1])
		}
		return h.shows(c, string(content))
	}
	if system == systemESXi {
		return h.obeyESXi(command, c)
	}
	if m := notEmpty.FindStringSubmatch(command); m != nil {
		if len(h.host.readDisk().files[m[1]]) == 0 {
			return errors.New("it is empty")
		}
		h.host.dev.sim.record.add(kindConfigApplied, d.spec.Name, nil, detail{})
		return nil
	}
	return fmt.Errorf("%.40q: command not found", command)
}

// reading reports whether a command changes nothing.
func reading(command string) bool {
	return showing.MatchString(command) || command == "vmware -v" || strings.HasSuffix(command, " get") || strings.HasPrefix(command, esxiAdvanced+"list ")
}
