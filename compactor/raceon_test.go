//go:build race

package compactor_test

// sparse is how many places the loops over all places pass over, plus one. The race detector makes each place five times as slow. At
// every place the same goroutines run, so a few places show it all of them; make test-places goes to every place.
const sparse = 13
