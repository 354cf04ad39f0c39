// Package outside uses the packages of runfold as a program of another module does: it is one, so nothing under internal/ can
// be named here. Its tests also hold the code in docs/library.md.
package outside
