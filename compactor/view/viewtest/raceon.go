//go:build race

package viewtest

const underRace = true
