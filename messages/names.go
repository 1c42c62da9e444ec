package messages

import (
	"fmt"
	"strings"
)

// RackName is the resource name of a rack: "racks/r1".
func RackName(rack string) string { return "racks/" + rack }

// DeviceName is the resource name of a device: "racks/r1/devices/tor-1".
func DeviceName(rack, device string) string { return "racks/" + rack + "/devices/" + device }

// ParseRack is the rack of a resource name.
func ParseRack(name string) (string, error) {
	rack, ok := strings.CutPrefix(name, "racks/")
	if !ok || rack == "" || strings.Contains(rack, "/") {
		return "", fmt.Errorf("%.80q is not the name of a rack: write racks/RACK", name)
	}
	return rack, nil
}

// ParseDevice is the rack and the device of a resource name.
func ParseDevice(name string) (rack, device string, err error) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "racks" || parts[2] != "devices" || parts[1] == "" || parts[3] == "" {
		return "", "", fmt.Errorf("%.80q is not the name of a device: write racks/RACK/devices/DEVICE", name)
	}
	return parts[1], parts[3], nil
}
