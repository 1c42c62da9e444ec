// Package config generates the configuration of a device from the rack file: what the
// templates of a platform are filled in with, and how.
//
// A template is one of text/template. Its values are names, addresses and numbers that
// the rack file was checked for: letters, digits, and . - _ / : only, so that they mean
// the same in the syntax of any device. Secrets are not among them: they stay in the
// connection that a configuration is sent through.
package config
