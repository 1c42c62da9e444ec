// Package platform knows how each kind of hardware and software is discovered,
// installed, configured and verified. That is data: a platform is a YAML file, those
// that rackreach comes with are embedded (files), and a folder of the user's goes on
// top, where a platform of the same name takes the place of an embedded one.
//
// A platform is a straight list of steps for each phase, without loops and
// expressions; the core's machine carries them out (rack.Platform). What must hold of
// any list, so that it wipes nothing on a guess and proves what it claims, is checked
// when a file is read (sound.go).
//
// docs/platforms.md tells how one is written.
package platform
