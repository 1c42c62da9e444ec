// Package lab boots machines with real firmware, in QEMU, from our own services:
// DHCP, router advertisements, TFTP and HTTP, which know nothing of the lab.
//
// It holds tests only, with the build tag lab; see "make lab-firmware" and "make lab-debian". They need
// root and QEMU, and no hardware acceleration: /dev/kvm can be there and not work,
// so every machine is emulated in software and waits are long.
//
// # How it is built
//
// A segment is a network namespace without a name (internal/nstest) that holds a
// bridge, the agent and a tap for each machine. The agent is a process of its own on
// the segment: this test binary, which then assembles discovery, internal/boot and
// discovery/ra as the product does. A machine is a QEMU process. Everything ends with
// the test's process, however that ends: nothing is left over.
//
// The installer's tests (make lab-installer) make their stock once: an initramfs by
// internal/initramfs, a bootable disk image whose system says on the console what it
// finds, and a bundle with it.
//
// The rack (make lab, make lab-faults; docs/lab.md) is another matter: there the product's own
// program images seven machines behind one cable, from a rack file and a signed bundle.
// Two of them, joined by inter-rack switches, are imaged by a coordinator and two agents
// (make lab-two-racks). What stands in a rack is its layout.
// What its machines are made of stands in testdata/rack, and is cached by digest.
//
// # What counts
//
// Only what a machine does over the network or writes on its console: the file that
// it asks for next, the words of what it has loaded.
package lab
