//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// commandLine is what the kernel was told for us.
type commandLine struct {
	job *url.URL
	mac net.HardwareAddr // nil: none was named
}

func readCommandLine(root string) (commandLine, error) {
	b, err := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return commandLine{}, fmt.Errorf("read the kernel's command line: %w", err)
	}
	return parseCommandLine(string(b))
}

// parseCommandLine reads what is ours; what stands twice counts as it stands last.
func parseCommandLine(s string) (c commandLine, err error) {
	for _, w := range strings.Fields(s) {
		switch k, v, _ := strings.Cut(w, "="); k {
		case "rackreach.job":
			if c.job, err = url.Parse(v); err != nil || c.job.Scheme != "http" || c.job.User != nil {
				return c, errors.New("rackreach.job on the kernel's command line is no URL http://ADDRESS/…")
			}
			if _, err := netip.ParseAddr(c.job.Hostname()); err != nil {
				return c, fmt.Errorf("rackreach.job on the kernel's command line names %.80q: give its address, there is no name service here", c.job.Hostname())
			}
		case "rackreach.mac":
			if c.mac, err = net.ParseMAC(v); err != nil || len(c.mac) != 6 {
				return c, fmt.Errorf("rackreach.mac on the kernel's command line is %.40q, which is no MAC", v)
			}
		}
	}
	if c.job == nil {
		return c, errors.New("the kernel's command line has no rackreach.job=URL: boot this from the script that the agent hands out")
	}
	return c, nil
}
