//go:build !race && !386

package compactor_test

const sparse = 1
