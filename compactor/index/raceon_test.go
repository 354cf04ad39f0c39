//go:build race

package index

// manyFolds is fewer where the race detector makes each ten times as slow.
const manyFolds = 150
