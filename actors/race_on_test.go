//go:build race

package actors

// underRace: the detector makes everything several times slower; the longest
// tests then take samples of what they take whole without it.
const underRace = true
