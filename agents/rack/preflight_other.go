//go:build !linux

package rackagent

import "github.com/rackreach/rackreach/discovery/wire"

func lacking() ([]string, error)       { return nil, wire.ErrLinuxOnly }
func freeSpace(string) (uint64, error) { return 0, wire.ErrLinuxOnly }
func clockSynchronised() (bool, error) { return false, wire.ErrLinuxOnly }
