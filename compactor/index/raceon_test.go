//go:build race

package index

// manyFolds is fewer where the race detector makes each ten times as slow.
const manyFolds = 150

// fewer divides the rounds of tests that try random files. They have one goroutine, so few rounds show the race detector all of it; make
// test-places runs all of them.
const fewer = 5
