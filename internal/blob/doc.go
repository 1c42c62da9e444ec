// Package blob keeps blobs by their digest, in a directory that is shaped as the
// blobs of an OCI image layout.
//
//	DIR/blobs/sha256/HEX   blobs, whole and checked
//	DIR/ingest/HEX         the beginning of one that is on its way
//	DIR/ingest/new-*       one whose digest is not known yet
//	DIR/lock               locked by the process that uses the store
//
// # Usage
//
// Open the store, then Pull what comes from elsewhere, Create what is made here,
// and Open what is there. It gives files, so that the kernel can send them.
//
// # What is promised
//
// A blob is checked while it is written and stands under its name only once it is
// whole and on disk: whoever is killed leaves nothing half visible. A pull goes on
// where the one before it broke off, also in a later process. Many that ask for
// one blob fetch it once.
//
// # Bounds
//
// With Options.Limit, blobs that were not used for the longest time make room,
// never pinned ones. A pull that gets no further gives up after maxAttempts.
//
// # Concurrency
//
// Everything is safe for concurrent use in one process; the lock keeps others out.
package blob
