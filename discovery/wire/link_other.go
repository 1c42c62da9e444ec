//go:build !linux

package wire

import "fmt"

// Inspect fails with ErrLinuxOnly.
func Inspect(name string) (*Link, error) {
	return nil, fmt.Errorf("look at interface %s: %w", name, ErrLinuxOnly)
}

// Holders is empty.
func Holders(string, uint16) []string { return nil }
