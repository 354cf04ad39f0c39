//go:build race || 386

package compactor_test

// sparse is how many places the loops over all places pass over, plus one. The race detector makes each place five times as slow. At
// every place the same goroutines run, so a few places show it all of them; make test-places goes to every place. Nor does it depend on the
// place how long an int is (make test-32).
const sparse = 13
