package sim

import (
	"encoding/binary"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// oui of the Open Compute Project, under which ONIE sends option 125.
const ocpEnterprise = 42623

// ONIE's sub-options of option 125, enterprise 42623.
const (
	onieInstallerURL = 1
	onieMachine      = 3
	onieArch         = 4
	onieRevision     = 5
)

// What systems send that are provisioned at their first boot.
const (
	optionUserClass = dhcpv4.OptionUserClassInformation
	optionClientID  = dhcpv4.OptionClientIdentifier
)

// identity is the options by which a boot stage gives itself away (protocol
// facts §1).
type identity []dhcpv4.Modifier

func option(code dhcpv4.OptionCode, value []byte) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptGeneric(code, value))
}

func vendorClass(s string) dhcpv4.Modifier {
	return option(dhcpv4.OptionClassIdentifier, []byte(s))
}

func requests(codes ...byte) dhcpv4.Modifier {
	return option(dhcpv4.OptionParameterRequestList, codes)
}

// firmware is iPXE on UEFI x64, as captured.
func firmware(guid [16]byte) identity {
	return identity{
		vendorClass("PXEClient:Arch:00007:UNDI:003010"),
		option(dhcpv4.OptionUserClassInformation, []byte("iPXE")),       // raw, not RFC 3004
		option(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7}), // RFC 4578 §2.1: x64 UEFI
		option(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 10}),
		option(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, guid[:]...)), // RFC 4578 §2.3
		option(dhcpv4.GenericOptionCode(175), []byte{0xb1, 5, 1, 0x80, 0x86, 0x10, 0xd3, 0xeb, 3, 1, 0, 0, 0x13, 1, 1, 0x15, 1, 1, 0x18, 1, 1, 0x24, 1, 1}),
		option(dhcpv4.OptionMaximumDHCPMessageSize, []byte{0x05, 0xc0}), // 1472
		requests(1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203),
	}
}

// httpBoot is UEFI firmware that boots over HTTP, as captured from EDK2 on x64; it sends
// no client identifier.
func httpBoot(guid [16]byte) identity {
	return identity{
		dhcpv4.WithBroadcast(true),
		vendorClass("HTTPClient:Arch:00016:UNDI:003000"),
		option(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 16}),
		option(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 0}),
		option(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, guid[:]...)),
		option(dhcpv4.OptionMaximumDHCPMessageSize, []byte{0x05, 0xc0}), // 1472
		requests(1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 67, 97, 235),
	}
}

// onie is the Open Network Install Environment in its service discovery.
func onie(machine, serial string) identity {
	const class = "onie_dhcp_user_class"
	block := []byte{}
	for _, sub := range []struct {
		code  byte
		value string
	}{{onieMachine, machine}, {onieArch, "x86_64"}, {onieRevision, "0"}} {
		block = append(append(block, sub.code, byte(len(sub.value))), sub.value...)
	}
	vivso := append(binary.BigEndian.AppendUint32(nil, ocpEnterprise), byte(len(block))) // RFC 3925 §4
	return identity{
		vendorClass("onie_vendor:x86_64-" + machine + "-r0"),
		option(dhcpv4.OptionUserClassInformation, append([]byte{byte(len(class))}, class...)), // RFC 3004 §4
		option(dhcpv4.OptionClientIdentifier, append([]byte{0}, serial...)),
		option(dhcpv4.OptionVendorIdentifyingVendorSpecific, append(vivso, block...)),
		requests(1, 3, 6, 7, 12, 15, 28, 42, 43, 54, 66, 67, 72, 114, 125),
	}
}

func nosIdentity() identity {
	return identity{vendorClass("cumulus-linux x86_64"), requests(1, 3, 6, 12, 15, 28, 42, 239)}
}

func osIdentity() identity {
	return identity{vendorClass("udhcp 1.35.0"), requests(1, 3, 6, 12, 15, 28, 42)}
}

func bmcIdentity() identity {
	return identity{vendorClass("iDRAC"), requests(1, 3, 6, 12, 15, 43, 60)}
}
