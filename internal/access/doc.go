// Package access says who may do what with the API, and writes down what was
// ordered and what was refused.
//
//   - Tokens: what people and programs show; each has a role. They stand in a
//     table that all coordinators share, as hashes, and in memory, where every
//     call finds them.
//   - The policy: what each procedure needs, in one table.
//   - Gate: the interceptor of all handlers. It finds out who calls, refuses who
//     may not, and writes the audit trail.
//   - Audit: that trail, a file of JSON lines in the state directory.
//   - Service: the AccessService over these.
//
// A call that changes something is written down, durably, before it is let
// through; when that fails, it is refused.
//
// Everything exported may be used from any goroutine. No goroutine is started.
package access
