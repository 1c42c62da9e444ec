//go:build linux

package main

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// A network card that cannot be brought up, such as one whose driver wants a firmware file
// that the initramfs does not have, does not keep the others from being used.
func TestRaise(t *testing.T) {
	link := func(name, mac string, flags net.Flags) netlink.Link {
		hw, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: hw, Flags: flags}}
	}
	all := []netlink.Link{link("lo", "00:00:00:00:00:00", net.FlagLoopback), link("eth0", "02:00:00:00:00:01", 0), link("eth1", "02:00:00:00:00:02", 0)}
	for _, x := range []struct {
		what, broken, mac string
		names, fails      string
		says              string
	}{
		{"all", "", "", "eth0 eth1", "", ""},
		{"one", "eth0", "", "eth1", "", "interface eth0 cannot be brought up: no firmware"},
		{"one that is not meant", "eth0", "02:00:00:00:00:02", "eth1", "", "interface eth0 cannot be brought up: no firmware"},
		{"the one that is meant", "eth1", "02:00:00:00:00:02", "", "eth1 cannot be brought up: no firmware", "interface eth1 cannot be brought up: no firmware"},
		{"none that is meant", "", "02:00:00:00:00:03", "", "there are 02:00:00:00:00:01, 02:00:00:00:00:02", ""},
		{"loopback", "lo", "", "eth0 eth1", "", "interface lo cannot be brought up: no firmware"},
	} {
		t.Run(x.what, func(t *testing.T) {
			var mac net.HardwareAddr
			if x.mac != "" {
				var err error
				if mac, err = net.ParseMAC(x.mac); err != nil {
					t.Fatal(err)
				}
			}
			var said, names []string
			out, err := raise(all, mac, func(l netlink.Link) error {
				if l.Attrs().Name == x.broken {
					return errors.New("no firmware")
				}
				return nil
			}, func(s string) { said = append(said, s) })
			for _, l := range out {
				names = append(names, l.Attrs().Name)
			}
			if strings.Join(names, " ") != x.names || (err == nil) != (x.fails == "") || err != nil && !strings.Contains(err.Error(), x.fails) || strings.Join(said, "\n") != x.says {
				t.Errorf("%v, %v, said %v", names, err, said)
			}
		})
	}
}
