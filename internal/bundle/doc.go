// Package bundle makes, reads, signs, checks and moves bundles: the images of a
// release and their manifest, by digest.
//
// # What a bundle is
//
// An OCI image layout (image-spec v1.1), a directory or a tar of one, with one image
// manifest for each release. Each layer of it is an artifact:
//
//	org.opencontainers.image.title   its name, which a rack file says as image:
//	dev.rackreach.kind               boot-file, kernel, initramfs, nos-installer, disk-image, template
//	dev.rackreach.platforms          which platforms it is for, with commas
//	dev.rackreach.raw.digest, .size  of a disk image: its raw bytes
//	dev.rackreach.frames             of a disk image: the digest of its index of frames (internal/frames), a layer too
//
// A disk image is zstd in independent frames. Signatures are OCI referrers of the
// manifest in the form of cosign: a payload that names the manifest's digest, and an
// Ed25519 signature of the payload's bytes.
//
// # What is promised
//
// The same files make the same digest. What is written is whole or not there. What
// Check lets pass was signed by a trusted key, down to each byte that is served by
// digest.
//
// # Bounds
//
// What comes from elsewhere is bounded before it is read: manifests, their layers and
// names, the files of a tar, signatures. The bounds are in limits.go.
//
// # Concurrency
//
// A Layout belongs to one process, which its lock holds; reading needs no lock. All
// types are safe for concurrent use unless they say otherwise.
package bundle
