// Package answerfile answers the installers that operating systems come with: it
// fills in the files which they read instead of asking a person, out of the rack
// file and a ticket.
//
// # Usage
//
// New takes a Job; its File renders one of Files by name, its Args are what the
// installer's kernel is told. Templates are embedded, a file each; a job may bring
// its own for the main file, out of a bundle.
//
// # What keeps a value inside its place
//
// A template is data that somebody wrote, and so are the values. Every action of a
// template that prints ends in an escaper of its format (see escape.go): where its
// author named none, it is added when the template is parsed, as html/template does.
// A value that the format cannot hold in one piece is an error, and so is a key that
// is not there. What a rack file may say at all is narrower still: rack.Validate.
//
// # Secrets
//
// A Secret prints as "(secret)" however it is printed, logged or encoded; only an
// escaper gets at it. Rendered files hold secrets: they are handed to the device with
// the ticket, and belong in no log, event or plan. Redacted renders the same without.
//
// # Untested
//
// Debian's installer is run up to its answer file (lab). The files for ESXi,
// Anaconda and Ubuntu were held against what their makers document; no such product
// has read them.
package answerfile
