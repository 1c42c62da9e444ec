// Package examples embeds the example rack files, so that the demo runs from
// the binary alone, in any directory.
package examples

import "embed"

// Files are the example rack files and their inventories.
//
//go:embed *.yaml *.csv
var Files embed.FS
