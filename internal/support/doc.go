// Package support makes the archive that somebody sends who asks for help: a tar of text
// files, compressed, with a manifest, and without secrets.
//
// # Usage
//
// Add the files in the order in which they are to stand, say what is left out, Write.
// The same files make the same bytes.
//
// # Secrets
//
// Nothing that is added should hold one: rack files hold references, and events none. A
// Redactor goes over every file all the same. It takes out the values that it was told
// of, however they may be written down, and what has the form of a secret: private keys,
// passwords in URLs, tokens. It would rather take out too much.
//
// # Bounds
//
// MaxFile bytes of each file are kept, the end of it, and MaxFiles files.
package support
