//go:build !linux

package file

// thisClock is the clock of this process: a system without a boot id does not tell its boots apart. So a daemon passes a holder over here,
// and processes that end at once never do.
func thisClock() Clock { return processClock() }
