// Package archtest holds the tests of the architecture itself: which package may
// import which, and that every package says what it is for.
package archtest
