// Package nstest makes hosts that are network namespaces, for tests that need a
// real network. A host is the network of one OS thread: nothing has a name, and
// everything is gone with the test, however it ended.
//
// It needs root. Tests that use it have the build tag netns; see "make netns".
package nstest
