//go:build !race

package viewtest

const underRace = false
