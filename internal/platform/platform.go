// Package platform is the table of platforms that rackreach knows: how each
// kind of hardware and software is discovered, installed and configured, as
// data that the core's machine carries out.
//
// The platforms here are those of the simulated rack. Their conduct follows
// real products (IPMI and PXE, ONIE, ZTP by a network operating system), their
// images do not install on anything real.
package platform

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Names of the simulated platforms.
const (
	SimManagement = "sim-mgmt"
	SimToR        = "sim-tor"
	SimSpine      = "sim-spine"
	SimServer     = "sim-server"
)

// All returns every platform by name. The map is the caller's.
func All() map[string]rack.Platform {
	out := map[string]rack.Platform{}
	for _, p := range []rack.Platform{management(), onie(SimToR, rack.ToRSwitch, "sim_tor48"), onie(SimSpine, rack.InterRackSwitch, "sim_spine32"), server()} {
		out[p.Name] = p
	}
	return out
}

// Scaled returns every platform with its limits divided by speed, but none
// below floor (rack.Platform.Scaled).
func Scaled(speed float64, floor time.Duration) map[string]rack.Platform {
	out := All()
	for n, p := range out {
		out[n] = p.Scaled(speed, floor)
	}
	return out
}

// Names lists the platforms of a table, sorted, for messages.
func Names(t map[string]rack.Platform) string {
	var names []string
	for n := range t {
		names = append(names, n)
	}
	slices.Sort(names)
	return fmt.Sprintf("%d platforms: %s", len(names), strings.Join(names, ", "))
}

// declined is what ends a step in which a device may refuse its address.
var declined = []rack.Evidence{rack.DHCPDeclined}

// reached is the gate to what hangs on the management switch. A switch that
// still forwards from an earlier run opens nothing.
var reached = []rack.Gate{rack.ManagementReady}

// inUse is what keeps a device from being touched before anything was done to it.
var inUse = []rack.Evidence{rack.ReceiptForeign}

// The time limits below are for real hardware: a server's power-on self test
// takes minutes, a BMC answers slowly while its host boots (estimates, protocol
// facts §7). A simulation scales them.

func management() rack.Platform {
	return rack.Platform{
		Name: SimManagement, Roles: []rack.Role{rack.ManagementSwitch},
		Description: "simulated management switch: IPMI and PXE, Linux-based NOS image",
		Match:       rack.Match{Stages: []rack.Stage{rack.StageBMC, rack.StagePXE, rack.StageIPXE, rack.StageNOS}},
		Image:       "sim-nos-mgmt", TicketEnds: rack.ReportedInstalled,
		Steps: append(append([]rack.Step{
			{Name: "bmc-login", Phase: rack.Discovery, Action: rack.BMCLogin, Limit: time.Minute, Retries: 3, Backoff: 5 * time.Second, Weight: 2},
			{Name: "boot-device", Phase: rack.Discovery, Action: rack.BootPXE, Limit: time.Minute, Retries: 3, Backoff: 5 * time.Second, Weight: 1},
			{Name: "power-cycle", Phase: rack.Discovery, Action: rack.PowerCycle, Unless: inUse, Limit: 2 * time.Minute, Retries: 3, Backoff: 10 * time.Second, Weight: 2},
			{Name: "network-boot", Phase: rack.Discovery, Until: rack.DHCPPXE, Unless: declined, Limit: 10 * time.Minute, Retries: 1, Backoff: 10 * time.Second, Weight: 5, RetryFrom: "boot-device"},
		}, pxeInstallation(rack.DHCPNOS)...), configuration()...),
	}
}

func onie(name string, role rack.Role, machine string) rack.Platform {
	return rack.Platform{
		Name: name, Roles: []rack.Role{role},
		Description: "simulated switch with ONIE: installer image, Linux-based NOS",
		Match:       rack.Match{Stages: []rack.Stage{rack.StageONIE, rack.StageNOS}, Machines: []string{machine}},
		Image:       "sim-nos-onie", TicketEnds: rack.DHCPNOS,
		Steps: append([]rack.Step{
			{Name: "boot-installer", Phase: rack.Discovery, Action: rack.BootInstaller, Needs: reached, Limit: 2 * time.Minute, Retries: 2, Backoff: 10 * time.Second, OnReimage: true},
			{Name: "onie", Phase: rack.Discovery, Until: rack.DHCPONIE, Unless: []rack.Evidence{rack.DHCPDeclined, rack.ReceiptForeign}, Limit: 10 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 10},
			{Name: "ticket", Phase: rack.Installation, Action: rack.IssueTicket, Needs: reached, Limit: time.Minute, Weight: 1},
			{Name: "image-transfer", Phase: rack.Installation, Until: rack.FetchedImage, Unless: declined, Limit: 20 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 24, Destructive: true, RetryFrom: "ticket"},
			{Name: "install", Phase: rack.Installation, Until: rack.DHCPNOS, Unless: []rack.Evidence{rack.DHCPONIE}, Limit: 30 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 50, Destructive: true, RetryFrom: "ticket"},
		}, configuration()...),
	}
}

func server() rack.Platform {
	power := []rack.Gate{rack.SwitchesReady, rack.ManagementOpen, rack.DataReady}
	steps := []rack.Step{
		{Name: "bmc-login", Phase: rack.Discovery, Action: rack.BMCLogin, Needs: []rack.Gate{rack.ManagementOpen}, Limit: time.Minute, Retries: 3, Backoff: 5 * time.Second, Weight: 2},
		{Name: "boot-device", Phase: rack.Discovery, Action: rack.BootPXE, Needs: power, Limit: time.Minute, Retries: 3, Backoff: 5 * time.Second, Weight: 1},
		{Name: "power-on", Phase: rack.Discovery, Action: rack.PowerCycle, Needs: power, Unless: inUse, Limit: 2 * time.Minute, Retries: 3, Backoff: 10 * time.Second, Weight: 2},
		{Name: "network-boot", Phase: rack.Discovery, Until: rack.DHCPPXE, Unless: declined, Limit: 15 * time.Minute, Retries: 1, Backoff: 10 * time.Second, Weight: 5, RetryFrom: "boot-device"},
	}
	install := pxeInstallation(rack.DHCPOS)
	for i := range install {
		if install[i].Action != rack.Wait {
			install[i].Needs = power
		}
	}
	install[0].Needs = []rack.Gate{rack.SwitchesReady, rack.DataOpen}
	config := configuration()
	config[0].Needs = []rack.Gate{rack.DataReady}
	return rack.Platform{
		Name: SimServer, Roles: []rack.Role{rack.Server},
		Description: "simulated server: IPMI and PXE, hypervisor image",
		Match:       rack.Match{Stages: []rack.Stage{rack.StageBMC, rack.StagePXE, rack.StageIPXE, rack.StageOS}},
		Image:       "sim-hypervisor", TicketEnds: rack.ReportedInstalled,
		Steps: append(append(steps, install...), config...),
	}
}

// pxeInstallation is the installation of a device that boots our installer from
// the network. A failed attempt gets a new ticket and boots again; that holds
// for the booting too, since every failed step of an installation closes its
// ticket.
func pxeInstallation(up rack.Evidence) []rack.Step {
	failed := []rack.Evidence{rack.ReportedFailed, rack.ReportedRefused}
	in := rack.Installation
	return []rack.Step{
		{Name: "ticket", Phase: in, Action: rack.IssueTicket, Limit: time.Minute, Weight: 1},
		{Name: "boot-device-again", Phase: in, Action: rack.BootPXE, Limit: time.Minute, Retries: 3, Backoff: 5 * time.Second, RetryFrom: "ticket", OnRetry: true},
		{Name: "power-cycle-again", Phase: in, Action: rack.PowerCycle, Limit: 2 * time.Minute, Retries: 3, Backoff: 10 * time.Second, RetryFrom: "ticket", OnRetry: true},
		{Name: "boot-loader", Phase: in, Until: rack.FetchedBootLoader, Unless: failed, Limit: 15 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 4, RetryFrom: "ticket"},
		{Name: "image-transfer", Phase: in, Until: rack.FetchedImage, Unless: failed, Limit: 20 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 25, Destructive: true, RetryFrom: "ticket"},
		{Name: "write", Phase: in, Until: rack.ReportedInstalled, Unless: failed, Limit: 30 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 30, Destructive: true, RetryFrom: "ticket"},
		{Name: "first-boot", Phase: in, Until: up, Limit: 15 * time.Minute, Weight: 15},
	}
}

func configuration() []rack.Step {
	return []rack.Step{
		{Name: "push", Phase: rack.Configuration, Action: rack.PushConfig, Limit: 5 * time.Minute, Retries: 2, Backoff: 10 * time.Second, Weight: 8, Uninterruptible: true},
		{Name: "verify", Phase: rack.Configuration, Action: rack.VerifyDevice, Limit: 2 * time.Minute, Retries: 3, Backoff: 10 * time.Second, Weight: 5},
	}
}
