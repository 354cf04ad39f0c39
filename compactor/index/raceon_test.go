//go:build race

package index

// manyFolds is fewer where the race detector makes each ten times as slow.
const manyFolds = 150

// fewer divides the rounds of tests that try random files. Each round has the same goroutines, so a few show the race detector all of
// them; make test-places runs every round.
const fewer = 5
