// Package bench holds benchmarks that compare runfold with what a user would write instead. See
// README.md.
package bench
