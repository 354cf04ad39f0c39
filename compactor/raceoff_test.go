//go:build !race

package compactor

const sparse = 1
