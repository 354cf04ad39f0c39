// Package lint finds one mistake that the compiler and vet accept: a statement whose meaning depends on which of its
// operands is evaluated first.
//
//	return next, f.write(&next)
//
// The language orders calls among each other, and leaves open whether a variable is read before or after a call that
// stands beside it. So next may be what it was before the call, or after it. The mistake is mended by a statement of its own
// for the call. The test of this package goes through the whole module.
package lint
