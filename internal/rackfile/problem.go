package rackfile

import "github.com/rackreach/rackreach/internal/strictyaml"

// Problem is one thing that is wrong with a rack file or its inventory.
type Problem = strictyaml.Problem

// Problems is everything that is wrong, by file and line. It is the error of
// Read and Parse.
type Problems = strictyaml.Problems

func shown(s string) string { return strictyaml.Shown(s) }
