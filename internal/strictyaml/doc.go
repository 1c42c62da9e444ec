// Package strictyaml is the part of reading a YAML file that all of our files
// share: bounded bytes, one document, no anchors and aliases, no unknown or
// repeated keys, and every problem with file and line, what is wrong and what to
// write instead.
//
// A file is a stranger's: text of it that stands in a message is escaped and cut.
package strictyaml
