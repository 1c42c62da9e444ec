//go:build !race

package actors

// underRace: see race_on_test.go.
const underRace = false
