//go:build race

package compactor_test

// sparse is how many places the loops over all places pass over, plus one: the race detector makes them
// five times as slow, and they run in one goroutine.
const sparse = 5
