//go:build unix

package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// ownedByCaller refuses a directory of another user: what we write there that user could
// not read.
func ownedByCaller(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return notMine(err)
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(is.Uid) == os.Geteuid() {
		return nil
	}
	name := strconv.FormatUint(uint64(is.Uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return badInput(fmt.Errorf("%s belongs to the user %s, whose coordinator could not read what you write there. Nothing was changed. Next: the same as that user: sudo -u %s rackreach …", dir, name, name))
}
