//go:build !race

package index

const (
	manyFolds = 1000
	fewer     = 1
)
