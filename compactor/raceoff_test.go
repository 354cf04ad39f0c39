//go:build !race

package compactor_test

const sparse = 1
