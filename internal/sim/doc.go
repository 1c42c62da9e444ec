// Package sim is a simulated rack: switches and servers as real network
// clients over real sockets on loopback. Nothing in it is a short cut: devices
// send DHCP packets, fetch over TFTP and HTTP, hash what they received, answer
// IPMI through an RMCP+ server, and take their configuration over HTTP.
//
// # The fabric
//
// Every packet and every byte, in both directions, passes the fabric
// (fabric.go). It knows the cables of the rack file and which switches forward:
// those that run their own imaged operating system with the configuration they
// were given over the wire, and only between the ports of that configuration.
// What has no path is dropped and counted; a switch that reboots resets the
// connections that went through it.
//
// # Use
//
// New opens the sockets. The agent's DHCP server listens on DHCPConn; Connect
// tells the devices where the agent's services are; Start switches the rack on;
// Dial takes the agent to the devices by their logical addresses; Close stops
// everything and waits for it. The simulator shares no memory with the agent
// besides these sockets, and it derives its topology itself, so that an error in
// the product's cabling graph is not mirrored here.
//
// # Disks
//
// A device that boots by PXE keeps a receipt of what was installed, and its
// installer overwrites nothing that its job does not name: foreign data
// (Options.Holds), another run's receipt, another run's half of a write
// (disk.go). An ONIE installer does not look; there, the running system goes back
// into ONIE only when it is told what it holds.
//
// # In a process of its own
//
// Serve lets an agent in another process do all this through a unix socket, so
// that the devices live on when the agent is killed. Join is the agent's side: a
// Remote has Dial, ListenDHCP and Connect as the Sim has. DHCP, TFTP and HTTP
// still go over real sockets of both processes; what the agent dials is carried
// in frames (frames.go), and ends with it. Devices reach the agent's HTTP service
// at AgentHTTP, whichever port the agent of the hour has. One agent at a time may
// connect its services.
//
// # Neighbours
//
// A switch that runs its image with its configuration speaks LLDP on the ports of
// the rack file's links, and answers what it hears. Racks in processes of their
// own tell each other over their sockets of the cables between them (lldp.go,
// peers.go): one file names the cable, and both switches have a neighbour. What a
// rack said is forgotten when it goes, or has been silent for too long.
//
// # Time
//
// Durations are those of real hardware (timing.go) divided by Options.Speed.
//
// # The record
//
// Options.Record receives one JSON object a line: what happened on the devices
// and on the wires, in order (record.go). It is evidence against the product,
// therefore an event is written before what it allows can happen.
package sim
