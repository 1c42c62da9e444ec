// Package pki says who is who between a coordinator and its agents: the
// authority, its certificates, the enrollment of agents, renewal, revocation and
// live rotation. Its cryptography is that of the standard library.
//
// # Who holds what
//
//   - Authorities: a directory of certificate authorities. One signs, all are
//     trusted; that is how one follows another without a restart.
//   - Server: the coordinator's own certificate, made by the authority that signs
//     or given by files; its TLS configuration.
//   - Enrollments: one-time tokens, and the generation of each rack, in tables
//     that all coordinators share. Service is the EnrollmentService over them.
//   - View: the generations in memory, so that every handshake can ask.
//   - Identity: the agent's side: key, certificate, and the authorities it trusts.
//
// # Who an agent is
//
// A certificate names its rack by the URI "rackreach://rack/NAME" and by nothing
// else, and carries the generation in which it was issued as
// "rackreach://generation/N". To revoke a rack is to count its generation up: all
// certificates and all unused enrollment tokens of earlier generations are then
// worth nothing, whatever the clocks of the machines say.
//
// # Concurrency
//
// Everything exported may be used from any goroutine. No goroutine is started;
// Identity.RenewLoop runs in its caller's.
package pki
