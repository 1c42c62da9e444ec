// Package examples embeds the example rack files and the fleet file of two of
// them, so that the demo runs from the binary alone, in any directory.
package examples

import "embed"

// Files are the example rack files, their inventories, and a fleet of them.
//
//go:embed *.yaml *.csv
var Files embed.FS
