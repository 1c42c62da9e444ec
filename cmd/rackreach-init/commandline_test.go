//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"console=ttyS0 rackreach.job=http://10.77.0.1/job/0011 quiet\n":                          "http://10.77.0.1/job/0011 ",
		"rackreach.job=http://10.0.0.1/ rackreach.job=http://10.77.0.1/job/0011":                 "http://10.77.0.1/job/0011 ",
		"rackreach.job=http://[fd00::1]:8080/job/1 rackreach.mac=52:54:00:77:00:01":              "http://[fd00::1]:8080/job/1 52:54:00:77:00:01",
		"rackreach.job=http://10.77.0.1/job/1 rackreach.mac=52:54":                               "",
		"rackreach.job=http://10.77.0.1/job/1 rackreach.mac=00:00:00:00:fe:80:00:00:00:00:00:00": "",
		"rackreach.job=https://10.77.0.1/job/1":                                                  "",
		"rackreach.job=http://u:p@10.77.0.1/job/1":                                               "",
		"rackreach.job=http://agent.example.net/job/1":                                           "",
		"quiet": "",
		"":      "",
	} {
		c, err := parseCommandLine(line)
		got := ""
		if err == nil {
			got = c.job.String() + " " + c.mac.String()
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
		if got != want {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
}

func FuzzCommandLine(f *testing.F) {
	f.Add("console=ttyS0 rackreach.job=http://10.77.0.1/job/0011 rackreach.mac=52:54:00:77:00:01")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseCommandLine(s); err == nil && (c.job == nil || c.job.Scheme != "http" || c.mac != nil && len(c.mac) != 6) {
			t.Errorf("%+v", c)
		}
	})
}

func TestPartition(t *testing.T) {
	for want, disk := range map[string]string{"/dev/sda3": "/dev/sda", "/dev/nvme0n1p3": "/dev/nvme0n1", "/dev/mmcblk0p3": "/dev/mmcblk0"} {
		if got := partition(disk, 3); got != want {
			t.Errorf("%s: %s", disk, got)
		}
	}
}
