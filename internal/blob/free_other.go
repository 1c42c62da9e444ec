//go:build !linux

package blob

// free is not known here.
func free(string) int64 { return -1 }
