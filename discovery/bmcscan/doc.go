// Package bmcscan finds BMCs that do not speak up by themselves: it asks every address
// of a network for RMCP, and hears who answers (IPMI 2.0 section 13.2.3; ASF 2.0
// section 3.2.4). Who an answer belongs to is decided elsewhere (rack.Binder.BindBMC).
//
// A scan is slow on purpose: DefaultRate questions a second. Each question to an
// address that nobody has costs the kernel an entry in its table of neighbours for a
// few seconds, and every host of the segment a broadcast.
//
// # Concurrency
//
// [Scan] has two goroutines: the caller's, which asks, and one that hears. Both end
// before it returns.
package bmcscan
